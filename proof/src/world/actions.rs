//! What can happen in a state.

use phasegate_core::decide::observed::Child;

use super::objects::{ENVIRONMENTS, GATEWAYS, KINDS, Owner};
use super::server::{Broken, Reply, Write};
use super::{Answer, Edit, Planted, State, World};
use crate::bridge::Bridge;

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// A user edits a gateway.
    User(u8, Edit),
    /// The operator begins a pass over a gateway.
    Decide(u8),
    /// The pass takes its next step.
    Step(Answer),
    /// The operator reconciles an environment.
    DecideEnvironment(u8, Answer),
    /// A watch delivers the current version of an object.
    Deliver(Item),
    /// A request arrives late.
    Arrive,
    /// The operator crashes.
    Crash,
    /// The operator is frozen, and its claim expires.
    Freeze,
    /// The frozen operator continues.
    Thaw,
    /// An operator takes the Lease.
    Lead,
    /// Garbage collection takes a child whose owner is gone.
    Collect(u8, u8),
    /// A finalizer of a deleted Deployment is removed.
    Release(u8),
    /// The Deployment controller observes a Deployment.
    Observe(u8),
    /// The pods of a gateway become ready.
    Ready(u8),
    /// The terminating pods of a gateway are gone.
    Gone(u8),
    /// The pods of a gateway fail and do not become ready.
    Sicken(u8),
    /// They may become ready again.
    Heal(u8),
    /// A client edits a child.
    EditChild(u8, u8),
    /// A client deletes a child.
    DeleteChild(u8, u8),
    /// The object of others that has a child's name is removed.
    RemoveForeign,
    /// The time of a deadline passes.
    Tick,
}

/// A watched object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Item {
    /// A gateway.
    Gateway(u8),
    /// A child.
    Child(u8, u8),
    /// The pods of a gateway.
    Pods(u8),
    /// An environment.
    Environment(u8),
}

impl Item {
    fn all() -> impl Iterator<Item = Self> {
        let kinds = |slot: u8| (0..KINDS.len() as u8).map(move |kind| Self::Child(slot, kind));
        let of = move |slot: u8| [Self::Gateway(slot), Self::Pods(slot)].into_iter().chain(kinds(slot));
        (0..GATEWAYS as u8).flat_map(of).chain((0..ENVIRONMENTS as u8).map(Self::Environment))
    }
}

/// A step to another state.
pub struct Next {
    /// What happens.
    pub action: Action,
    /// What comes of it, or what it breaks.
    pub state: Result<State, Broken>,
}

impl Action {
    /// The number of its kind, if it happens in the end wherever it stays possible. `None` for what may never
    /// happen: edits of users and faults.
    pub fn fairness(self) -> Option<u8> {
        let number = match self {
            Self::Step(Answer::Given) => 0,
            Self::Thaw => 1,
            Self::Lead => 2,
            Self::Tick => 3,
            Self::Arrive => 4,
            Self::Decide(slot) => 5 + slot,
            Self::DecideEnvironment(number, Answer::Given) => 7 + number,
            Self::Collect(slot, kind) => 9 + 3 * slot + kind,
            Self::Release(slot) => 15 + slot,
            Self::Observe(slot) => 17 + slot,
            Self::Ready(slot) => 19 + slot,
            Self::Gone(slot) => 21 + slot,
            Self::Deliver(Item::Gateway(slot)) => 23 + slot,
            Self::Deliver(Item::Pods(slot)) => 25 + slot,
            Self::Deliver(Item::Environment(number)) => 27 + number,
            Self::Deliver(Item::Child(slot, kind)) => 29 + 3 * slot + kind,
            Self::Step(_)
            | Self::DecideEnvironment(..)
            | Self::User(..)
            | Self::Crash
            | Self::Freeze
            | Self::Sicken(_)
            | Self::Heal(_)
            | Self::EditChild(..)
            | Self::DeleteChild(..)
            | Self::RemoveForeign => return None,
        };
        Some(number)
    }
}

impl World {
    /// The first state: the gateways were just created, and an operator leads.
    pub fn first(&self, bridge: &mut Bridge) -> State {
        let mut state = State { budget: self.budget, ticks: 2, ..State::default() };
        for slot in 0..self.gateways {
            state.create(slot);
        }
        for environment in state.environments.iter_mut().take(self.environments) {
            *environment = Some(super::objects::Environment { version: 32, active: false });
        }
        if self.foreign {
            self.add_foreign(&mut state);
        }
        self.act(bridge, &mut state, Action::Lead).unwrap_or_default();
        self.settle(&mut state);
        state
    }

    /// Every state that can follow.
    pub fn next(&self, bridge: &mut Bridge, before: &State, found: &mut Vec<Next>) {
        for action in self.possible(before) {
            let state = match self.after(bridge, before, action) {
                Ok(None) => continue,
                Ok(Some(after)) => self.safe(bridge, &after).map(|()| after),
                Err(broken) => Err(broken),
            };
            found.push(Next { action, state });
        }
    }

    /// The state after an event; `None` if it cannot happen or changes nothing.
    ///
    /// # Errors
    /// If it breaks what must hold.
    pub fn after(&self, bridge: &mut Bridge, before: &State, action: Action) -> Result<Option<State>, Broken> {
        let mut after = before.clone();
        if !self.act(bridge, &mut after, action)? {
            return Ok(None);
        }
        self.settle(&mut after);
        Ok(Some(after).filter(|after| after != before))
    }

    /// The answer to a write, and the state after it.
    ///
    /// # Errors
    /// If it breaks what must hold.
    pub fn after_write(&self, bridge: &mut Bridge, before: &State, write: Write) -> Result<(Reply, State), Broken> {
        let mut after = before.clone();
        let reply = self.carry_out(bridge, &mut after, write)?;
        self.settle(&mut after);
        Ok((reply, after))
    }

    /// Watches that are never behind deliver at once; numbers are renamed.
    fn settle(&self, state: &mut State) {
        for item in Item::all() {
            let lags = match item {
                Item::Gateway(_) => self.lag.gateways,
                Item::Child(..) => self.lag.children,
                Item::Pods(_) => self.lag.pods,
                Item::Environment(_) => self.lag.environments,
            };
            if !lags {
                state.deliver(item);
            }
        }
        state.canonical();
    }

    fn possible(&self, state: &State) -> Vec<Action> {
        let mut possible = vec![Action::Lead, Action::Thaw, Action::Arrive, Action::Tick];
        let slots = 0..self.gateways as u8;
        let kinds = 0..KINDS.len() as u8;
        if let Some(leader) = &state.leader {
            if leader.pass.is_some() {
                possible.push(Action::Step(Answer::Given));
                if state.budget.answers > 0 {
                    possible.extend(self.answers.iter().map(|answer| Action::Step(*answer)));
                }
            } else {
                possible.extend(slots.clone().map(Action::Decide));
                for number in 0..self.environments as u8 {
                    possible.push(Action::DecideEnvironment(number, Answer::Given));
                    let late = self.answers.iter().filter(|_| state.budget.answers > 0);
                    possible.extend(late.map(|answer| Action::DecideEnvironment(number, *answer)));
                }
            }
            possible.extend(Item::all().map(Action::Deliver));
            if state.budget.crashes > 0 {
                possible.extend([Action::Crash, Action::Freeze]);
            }
        }
        for slot in slots {
            possible.extend([Action::Release, Action::Observe, Action::Ready, Action::Gone].map(|act| act(slot)));
            possible.extend(kinds.clone().map(|kind| Action::Collect(slot, kind)));
            if state.budget.edits > 0 {
                possible.extend(self.edits.iter().map(|edit| Action::User(slot, *edit)));
            }
            if state.budget.mishaps > 0 {
                possible.extend([Action::Sicken(slot), Action::Heal(slot)]);
                possible.extend(
                    kinds.clone().flat_map(|kind| [Action::EditChild(slot, kind), Action::DeleteChild(slot, kind)]),
                );
            }
        }
        if state.budget.mishaps > 0 && self.foreign {
            possible.push(Action::RemoveForeign);
        }
        possible
    }

    /// Lets it happen. Returns whether it can.
    fn act(&self, bridge: &mut Bridge, state: &mut State, action: Action) -> Result<bool, Broken> {
        let done = match action {
            Action::User(slot, edit) => state.user(usize::from(slot), edit),
            Action::Decide(slot) => {
                return self.with_leader(state, |state, leader| self.begin(bridge, state, leader, slot));
            }
            Action::Step(answer) => {
                let is_usual = answer == Answer::Given;
                state.budget.answers -= u8::from(!is_usual);
                return self.with_leader(state, |state, leader| self.step(bridge, state, leader, answer, true));
            }
            Action::DecideEnvironment(number, answer) => {
                state.budget.answers -= u8::from(answer != Answer::Given);
                return self
                    .with_leader(state, |state, leader| self.environment(bridge, state, leader, number, answer));
            }
            Action::Deliver(item) => state.deliver(item),
            Action::Arrive => match state.late.take() {
                Some(write) => self.carry_out(bridge, state, write).map(|_| true)?,
                None => false,
            },
            Action::Crash => state.leader.take().is_some_and(|_| state.spends_crash()),
            Action::Freeze => {
                let is_busy = state.leader.as_ref().is_some_and(|leader| leader.pass.is_some());
                let freezes = is_busy && state.former.is_none();
                if freezes {
                    state.former = state.leader.take().map(Box::new);
                }
                freezes && state.spends_crash()
            }
            Action::Thaw => match state.former.take() {
                // A claim that is over ends the process before its next write.
                Some(mut former) if self.plants(Planted::LeaseUnchecked) => {
                    self.step(bridge, state, &mut former, Answer::Given, false)?;
                    state.former = Some(former).filter(|former| former.pass.is_some());
                    true
                }
                former => former.is_some(),
            },
            Action::Lead => state.lead(),
            Action::Tick => state.tick(bridge),
            Action::Collect(slot, kind) => self.collect(state, usize::from(slot), usize::from(kind)),
            Action::Release(slot) => state.release(usize::from(slot)),
            Action::Observe(slot) => state.observe(usize::from(slot)),
            Action::Ready(slot) => state.ready(usize::from(slot)),
            Action::Gone(slot) => std::mem::take(&mut state.pods[usize::from(slot)].terminating),
            Action::Sicken(slot) => state.sicken(usize::from(slot)),
            Action::Heal(slot) => std::mem::take(&mut state.sick[usize::from(slot)]) && state.spends_mishap(),
            Action::EditChild(slot, kind) => state.edit_child(usize::from(slot), usize::from(kind)),
            Action::DeleteChild(slot, kind) => {
                let there = state.children[usize::from(slot)][usize::from(kind)];
                let is_there = there.is_some_and(|there| !there.deleting && there.owner != Owner::Foreign);
                if is_there {
                    self.delete_child(state, usize::from(slot), usize::from(kind));
                }
                is_there && state.spends_mishap()
            }
            Action::RemoveForeign => {
                let there = &mut state.children[0][1];
                let is_there = there.is_some_and(|there| there.owner == Owner::Foreign);
                if is_there {
                    *there = None;
                }
                is_there && state.spends_mishap()
            }
        };
        Ok(done)
    }
}

/// Whether a kind of child has pods.
pub(super) fn has_pods(kind: usize) -> bool {
    KINDS[kind] == Child::Deployment
}
