//! A pass of the modelled operator, one call at a time: gather, decide, act, record, as `src/control` does.

use phasegate_core::decide::observed::Tried;
use phasegate_core::decide::{Place, Step};

use super::objects::{ENVIRONMENTS, Gateway, KINDS};
use super::operator::{Blocked, Expected, Memory, Operator, Pass, Stage, Worst};
use super::server::{Broken, Reply, Write};
use super::{Answer, Planted, State, World};
use crate::bridge::{Bridge, Learnt, Seen};

/// What a sender learns of a write.
enum Sent {
    Reply(Reply),
    Refused,
    Unavailable,
    Unanswered,
}

impl World {
    /// Begins a pass. If the plan is empty, it also ends.
    pub(super) fn begin(
        &self,
        bridge: &mut Bridge,
        state: &State,
        operator: &mut Operator,
        slot: u8,
    ) -> Result<bool, Broken> {
        if operator.pass.is_some() {
            return Ok(false);
        }
        let Some(base) = operator.newest(usize::from(slot)) else { return Ok(false) };
        let memory = &mut operator.memory[usize::from(slot)];
        if memory.uid != Some(base.uid) {
            *memory = Memory { uid: Some(base.uid), ..Memory::default() };
        }
        self.decide(bridge, state, operator, base, slot, self.plants(Planted::CacheTrusted))?;
        Ok(true)
    }

    fn decide(
        &self,
        bridge: &mut Bridge,
        state: &State,
        operator: &mut Operator,
        base: Gateway,
        slot: u8,
        live: bool,
    ) -> Result<(), Broken> {
        let reads_live = live && !self.plants(Planted::CacheTrusted);
        let (facts, found) = self.gather(bridge, state, operator, &base, usize::from(slot), reads_live);
        let input = bridge.decide(&base, facts);
        let decision = bridge.decision(input);
        let is_done = decision.steps.is_empty() && decision.status.is_none();
        let (confirm, status) = (decision.confirm, decision.status);
        if confirm && live {
            self.may_give_up(bridge, state, &base, &operator.memory[usize::from(slot)])?;
        }
        if let Some(after) = status.map(|status| bridge.info(status))
            && decision.moves
            && after.place == Some(Place::Started)
            && !after.failed
            && !found[0].is_some_and(|there| there.rollout.complete)
        {
            return Err("a gateway becomes Started before its pods are ready".to_owned());
        }
        if is_done {
            // A pass without a failed write forgets the last one.
            operator.memory[usize::from(slot)].blocked = None;
        }
        operator.pass = (!is_done).then(|| Pass {
            slot,
            base,
            input,
            stage: if confirm && !live { Stage::Confirm } else { Stage::Act },
            at: 0,
            environment: 0,
            fresh: None,
            found: found.map(|there| there.map(|there| there.uid)),
            environments: operator.cache.environments,
            worst: Worst::Done,
        });
        self.after_steps(bridge, operator);
        Ok(())
    }

    /// Takes the next step of the pass in progress.
    pub(super) fn step(
        &self,
        bridge: &mut Bridge,
        state: &mut State,
        operator: &mut Operator,
        answer: Answer,
        leads: bool,
    ) -> Result<bool, Broken> {
        let Some(pass) = operator.pass.clone() else { return Ok(false) };
        match pass.stage {
            Stage::Confirm if answer == Answer::Given => {
                self.decide(bridge, state, operator, pass.base, pass.slot, true)?;
                Ok(true)
            }
            Stage::Confirm => {
                operator.pass = None;
                Ok(answer == Answer::Dropped)
            }
            Stage::Record(status, moves) => {
                let write = Write::Status { slot: pass.slot, base: pass.base, status, moves };
                let Some(sent) = self.send(bridge, state, write, answer, leads)? else { return Ok(false) };
                let memory = &mut operator.memory[usize::from(pass.slot)];
                match sent {
                    Sent::Reply(Reply::Done(_)) => {
                        memory.written = state.gateways[usize::from(pass.slot)];
                        memory.reserved |= bridge.info(status).hosts;
                    }
                    Sent::Reply(_) => memory.written = None,
                    _ => {}
                }
                operator.pass = None;
                Ok(true)
            }
            Stage::Act => {
                let step = bridge.decision(pass.input).steps[usize::from(pass.at)];
                let went = self.carry_out_step(bridge, state, operator, step, answer, leads)?;
                if went {
                    self.after_steps(bridge, operator);
                }
                Ok(went)
            }
        }
    }

    /// Sends a write. `None` if it cannot be answered so.
    fn send(
        &self,
        bridge: &mut Bridge,
        state: &mut State,
        write: Write,
        answer: Answer,
        leads: bool,
    ) -> Result<Option<Sent>, Broken> {
        if !leads {
            return Err("an operator writes although its claim is over".to_owned());
        }
        let of_child = matches!(write, Write::Create { .. } | Write::Update { .. });
        let of_registry = matches!(write, Write::Record { .. } | Write::Report { .. } | Write::Forget { .. });
        let sent = match answer {
            Answer::Given => Sent::Reply(self.carry_out(bridge, state, write)?),
            Answer::Dropped => Sent::Unanswered,
            Answer::Lost => {
                self.carry_out(bridge, state, write)?;
                Sent::Unanswered
            }
            Answer::Delayed if state.late.is_none() && !of_registry => {
                state.late = Some(write);
                Sent::Unanswered
            }
            Answer::Doubled if state.late.is_none() && !of_registry => {
                let reply = self.carry_out(bridge, state, write)?;
                state.late = Some(write);
                Sent::Reply(reply)
            }
            Answer::Conflict if !of_registry && !matches!(write, Write::Create { .. }) => Sent::Reply(Reply::Stale),
            Answer::Refused if of_child => Sent::Refused,
            Answer::Unavailable if of_child => Sent::Unavailable,
            _ => return Ok(None),
        };
        Ok(Some(sent))
    }

    fn carry_out_step(
        &self,
        bridge: &mut Bridge,
        state: &mut State,
        operator: &mut Operator,
        step: Step,
        answer: Answer,
        leads: bool,
    ) -> Result<bool, Broken> {
        let Some(mut pass) = operator.pass.take() else { return Ok(false) };
        let (slot, uid) = (pass.slot, pass.base.uid);
        let memory = &mut operator.memory[usize::from(slot)];
        let kind = step.child().and_then(|child| KINDS.iter().position(|kind| *kind == child)).unwrap_or_default();
        let kind_number = kind as u8;
        let desired = self.desired(bridge, &pass.base, kind);
        let write = match step {
            Step::Create(_) => desired.map(|content| Write::Create { slot, kind: kind_number, owner: uid, content }),
            Step::Update(_) => match (pass.fresh, desired) {
                (Some((_, read)), Some(content)) => {
                    Some(Write::Update { slot, kind: kind_number, owner: uid, read, content })
                }
                _ => {
                    let there = state.children[usize::from(slot)][kind];
                    match self.compare(bridge, &pass.base, memory, kind, there.as_ref()) {
                        Seen::Equal => pass.at += 1,
                        seen @ (Seen::Foreign | Seen::Predecessor | Seen::Terminating) => {
                            pass.worst = Worst::Surprise(kind_number, seen);
                        }
                        Seen::Missing | Seen::NotWanted => pass.worst = Worst::Behind,
                        _ => pass.fresh = there.map(|there| (kind_number, there)),
                    }
                    operator.pass = Some(pass);
                    return Ok(answer == Answer::Given);
                }
            },
            Step::Delete(_) => {
                pass.found[kind].map(|found| Write::Delete { slot, kind: kind_number, owner: uid, uid: found })
            }
            Step::ActivateEnvironments => next_environment(&mut pass, true),
            Step::DeactivateEnvironments => next_environment(&mut pass, false),
            Step::AddFinalizer => Some(Write::Finalizers { slot, base: pass.base, ours: true }),
            Step::RemoveFinalizer => Some(Write::Finalizers { slot, base: pass.base, ours: false }),
            Step::Record => Some(Write::Record { slot, uid }),
            Step::Report => Some(Write::Report { slot, uid, seq: bridge.info(pass.base.status).transitions }),
            Step::Forget => Some(Write::Forget { slot, uid }),
            Step::ActivateDocuments | Step::DeactivateDocuments | Step::ReadEvents => None,
        };
        let Some(write) = write else {
            pass.at += 1;
            pass.environment = 0;
            operator.pass = Some(pass);
            return Ok(answer == Answer::Given);
        };
        let Some(sent) = self.send(bridge, state, write, answer, leads)? else { return Ok(false) };
        let is_first = pass.worst == Worst::Done;
        let of_registry = step.is_registrys();
        if step.child().is_some() && bridge.decision(pass.input).is_late {
            memory.missed |= !matches!(sent, Sent::Reply(Reply::Done(_)));
        }
        match sent {
            Sent::Reply(Reply::Done(stored)) => {
                match (step, stored, desired) {
                    (Step::Create(_) | Step::Update(_), Some(stored), Some(desired)) => {
                        if !self.plants(Planted::AcceptedForgotten) {
                            memory.known[kind] = Some((desired, stored.content));
                        }
                        if matches!(step, Step::Create(_)) {
                            memory.expected[kind] = Expected::Created;
                        }
                    }
                    (Step::Delete(_), _, _) => {
                        memory.known[kind] = None;
                        memory.expected[kind] = pass.found[kind].map_or(Expected::Nothing, Expected::Deleted);
                    }
                    (Step::AddFinalizer, _, _) => memory.written = state.gateways[usize::from(slot)],
                    _ => {}
                }
                if bridge.decision(pass.input).yields_after == Some(step) && is_first {
                    pass.worst = Worst::HalfWay;
                } else if !matches!(write, Write::Environment { .. }) {
                    pass.at += 1;
                    pass.fresh = None;
                }
            }
            Sent::Reply(Reply::AlreadyExists) => {
                let there = state.children[usize::from(slot)][kind];
                let seen = self.compare(bridge, &pass.base, &Memory::default(), kind, there.as_ref());
                pass.worst = match seen {
                    Seen::Foreign | Seen::Predecessor | Seen::Terminating => Worst::Surprise(kind_number, seen),
                    _ => Worst::Behind,
                };
            }
            Sent::Reply(Reply::Stale) => pass.worst = Worst::Behind,
            Sent::Unanswered if of_registry => {
                pass.worst = if is_first { Worst::RegistryFailed } else { pass.worst };
                pass.at += 1;
            }
            Sent::Unanswered => {
                pass.worst = if is_first { Worst::Failed } else { pass.worst };
                // An earlier refusal is reported, and no further step follows.
                pass.at = u8::MAX;
            }
            Sent::Refused | Sent::Unavailable => {
                if is_first {
                    let is_refused = matches!(sent, Sent::Refused);
                    pass.worst = if is_refused { Worst::Refused(kind_number) } else { Worst::Unavailable(kind_number) };
                }
                pass.at += 1;
                pass.fresh = None;
            }
        }
        operator.pass = Some(pass);
        Ok(true)
    }

    /// Once the steps are over: remembers, and turns to the status.
    fn after_steps(&self, bridge: &mut Bridge, operator: &mut Operator) {
        let Some(pass) = &mut operator.pass else { return };
        let decision = bridge.decision(pass.input);
        let ends = matches!(pass.worst, Worst::HalfWay | Worst::Behind | Worst::Surprise(..) | Worst::Failed);
        if pass.stage != Stage::Act || (!ends && usize::from(pass.at) < decision.steps.len()) {
            return;
        }
        let memory = &mut operator.memory[usize::from(pass.slot)];
        let attempt = bridge.info(pass.base.status).attempt;
        if decision.moves {
            memory.blocked = memory.blocked.filter(|_| !decision.begins_a_stop);
        } else {
            match pass.worst {
                Worst::Done | Worst::RegistryFailed => memory.blocked = None,
                Worst::Refused(kind) => memory.blocked = Some((attempt, Blocked::Refused(kind))),
                Worst::Unavailable(kind) => memory.blocked = Some((attempt, Blocked::Unavailable(kind))),
                Worst::HalfWay | Worst::Behind | Worst::Surprise(..) | Worst::Failed => {}
            }
            let tries = |step: &Step| step.child().is_some() || *step == Step::ActivateEnvironments;
            if pass.worst != Worst::HalfWay && decision.steps.iter().any(tries) {
                memory.tried = Some((attempt, if decision.is_late { Tried::Late } else { Tried::InTime }));
            }
        }
        let planned = decision.status.map(|status| (status, decision.moves));
        let recorded = match pass.worst {
            Worst::Surprise(kind, seen) => bridge.learn(pass.input, Learnt::Surprise(kind, seen)),
            Worst::Refused(kind) => bridge.learn(pass.input, Learnt::Refused(kind)),
            Worst::Unavailable(kind) => bridge.learn(pass.input, Learnt::Unavailable(kind)),
            Worst::RegistryFailed => bridge.learn(pass.input, Learnt::RegistryFailed),
            Worst::Done | Worst::HalfWay | Worst::Behind | Worst::Failed => planned,
        };
        match recorded {
            Some((status, moves)) => {
                let drops = self.plants(Planted::RequestsDropped);
                let status = if drops { bridge.with_requests_dropped(&pass.base, status) } else { status };
                pass.stage = Stage::Record(status, moves);
            }
            None => operator.pass = None,
        }
    }

    /// Reconciles an environment: its own decision, and one write.
    pub(super) fn environment(
        &self,
        bridge: &mut Bridge,
        state: &mut State,
        operator: &mut Operator,
        number: u8,
        answer: Answer,
    ) -> Result<bool, Broken> {
        let Some(read) = operator.cache.environments[usize::from(number)] else { return Ok(false) };
        let gateway = operator.cache.gateways[0].filter(|gateway| !gateway.deleting);
        let gateway = gateway.map(|gateway| (bridge.info(gateway.status).place, gateway.suspended));
        let active = bridge.environment(read.active, gateway);
        if active == read.active {
            return Ok(false);
        }
        let write = Write::Environment { number, read, active };
        Ok(self.send(bridge, state, write, answer, true)?.is_some())
    }
}

/// The next environment that is to be switched.
fn next_environment(pass: &mut Pass, active: bool) -> Option<Write> {
    while usize::from(pass.environment) < ENVIRONMENTS {
        let number = pass.environment;
        pass.environment += 1;
        if let Some(read) = pass.environments[usize::from(number)]
            && read.active != active
        {
            return Some(Write::Environment { number, read, active });
        }
    }
    None
}
