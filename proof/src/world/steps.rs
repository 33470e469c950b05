//! What users, controllers, watches and time do to a state. Each returns whether it can happen.

use phasegate_core::decide::Place;

use super::actions::{Item, has_pods};
use super::canonical::fresh;
use super::objects::{Asked, ChildObject, Content, Gateway, Owner, Rollout};
use super::operator::{Cache, Expected, Memory, Operator};
use super::server::{Broken, Write};
use super::{Edit, State, World};
use crate::bridge::Bridge;

impl State {
    pub(super) fn create(&mut self, slot: usize) {
        self.gateways[slot] = Some(Gateway {
            uid: 32,
            version: 32,
            generation: 1,
            asked: Asked::Running,
            image: 0,
            suspended: false,
            retry: 0,
            restart: 0,
            deleting: false,
            ours: false,
            others: false,
            status: 0,
        });
        self.ran[slot] = 0;
    }

    pub(super) fn user(&mut self, slot: usize, edit: Edit) -> bool {
        if edit == Edit::Create && self.gateways[slot].is_none() {
            self.create(slot);
            self.budget.edits -= 1;
            return true;
        }
        let Some(mut gateway) = self.gateways[slot].filter(|gateway| !gateway.deleting) else { return false };
        let before = gateway;
        match edit {
            Edit::Run => gateway.asked = Asked::Running,
            Edit::Stop => gateway.asked = Asked::Stopped,
            Edit::Restart => gateway.asked = Asked::Restarting,
            Edit::RequestRestart => gateway.restart += 1,
            Edit::Retry => gateway.retry += 1,
            Edit::Image => gateway.image = 1 - gateway.image,
            Edit::Suspend => gateway.suspended = !gateway.suspended,
            Edit::Delete => gateway.deleting = true,
            Edit::Create => return false,
        }
        if gateway == before {
            return false;
        }
        // A deletion timestamp is a change of the generation, too.
        let annotates = matches!(edit, Edit::RequestRestart | Edit::Retry);
        gateway.generation += u8::from(!annotates);
        self.edit(slot, |there| *there = gateway);
        self.remove_if_free(slot);
        self.budget.edits -= 1;
        true
    }

    pub(super) fn deliver(&mut self, item: Item) -> bool {
        let Some(leader) = &mut self.leader else { return false };
        match item {
            Item::Gateway(slot) => {
                let slot = usize::from(slot);
                leader.cache.gateways[slot] = self.gateways[slot];
                leader.memory[slot].written = None;
                leader.memory[slot].reserved = false;
                if self.gateways[slot].is_none() {
                    leader.memory[slot] = Memory::default();
                }
            }
            Item::Child(slot, kind) => {
                let (slot, kind) = (usize::from(slot), usize::from(kind));
                leader.cache.children[slot][kind] = self.children[slot][kind];
                leader.memory[slot].expected[kind] = Expected::Nothing;
            }
            Item::Pods(slot) => leader.cache.pods[usize::from(slot)] = self.pods[usize::from(slot)],
            Item::Environment(number) => {
                leader.cache.environments[usize::from(number)] = self.environments[usize::from(number)];
            }
        }
        true
    }

    pub(super) fn lead(&mut self) -> bool {
        if self.leader.is_some() {
            return false;
        }
        let cache = Cache {
            gateways: self.gateways,
            children: self.children,
            pods: self.pods,
            environments: self.environments,
        };
        self.leader = Some(Operator { cache, ..Operator::default() });
        true
    }

    /// No time passes within a pass.
    pub(super) fn tick(&mut self, bridge: &mut Bridge) -> bool {
        let Self { gateways, leader, late, ran, ticks, .. } = self;
        if *ticks == 0 || leader.as_ref().is_some_and(|leader| leader.pass.is_some()) {
            return false;
        }
        *ticks -= 1;
        for (gateway, ran) in gateways.iter().zip(ran) {
            let Some(info) = gateway.map(|gateway| bridge.info(gateway.status)) else { continue };
            let runs = info.place.is_some_and(Place::is_attempt) && !info.is_held;
            *ran = (*ran + u8::from(runs)).min(2);
        }
        let mut stored: Vec<&mut Gateway> = gateways.iter_mut().flatten().collect();
        if let Some(leader) = leader {
            stored.extend(leader.cache.gateways.iter_mut().flatten());
            stored.extend(leader.memory.iter_mut().filter_map(|memory| memory.written.as_mut()));
        }
        match late {
            Some(Write::Status { base, status, .. }) => {
                stored.push(base);
                *status = bridge.aged(*status);
            }
            Some(Write::Finalizers { base, .. }) => stored.push(base),
            _ => {}
        }
        stored.into_iter().for_each(|gateway| gateway.status = bridge.aged(gateway.status));
        true
    }

    pub(super) fn release(&mut self, slot: usize) -> bool {
        let is_held = self.children[slot][0].is_some_and(|there| there.deleting);
        if is_held {
            self.remove_child(slot, 0);
        }
        is_held
    }

    /// The Deployment controller creates pods of the current template.
    pub(super) fn observe(&mut self, slot: usize) -> bool {
        self.progress(slot, |there| there.rollout.behind && !there.deleting, |there| there.rollout.behind = false) && {
            self.pods[slot].running = true;
            true
        }
    }

    pub(super) fn ready(&mut self, slot: usize) -> bool {
        let ready = Rollout { behind: false, complete: true, available: true };
        let may = |there: &ChildObject| !there.rollout.behind && !there.rollout.complete && !there.deleting;
        !self.sick[slot] && self.progress(slot, may, |there| there.rollout = ready)
    }

    pub(super) fn sicken(&mut self, slot: usize) -> bool {
        if self.sick[slot] {
            return false;
        }
        self.sick[slot] = true;
        self.progress(
            slot,
            |there| there.rollout.available,
            |there| {
                there.rollout = Rollout { complete: false, available: false, ..there.rollout };
            },
        );
        self.spends_mishap()
    }

    fn progress(
        &mut self,
        slot: usize,
        may: impl Fn(&ChildObject) -> bool,
        act: impl FnOnce(&mut ChildObject),
    ) -> bool {
        match &mut self.children[slot][0] {
            Some(there) if may(there) => {
                act(there);
                there.version = fresh(there.version);
                true
            }
            _ => false,
        }
    }

    pub(super) fn edit_child(&mut self, slot: usize, kind: usize) -> bool {
        match &mut self.children[slot][kind] {
            Some(there) if there.owner != Owner::Foreign && !there.content.edited && !there.deleting => {
                there.content.edited = true;
                there.version = fresh(there.version);
                if has_pods(kind) {
                    there.rollout = Rollout { behind: true, complete: false, ..there.rollout };
                }
                self.spends_mishap()
            }
            _ => false,
        }
    }

    pub(super) fn spends_mishap(&mut self) -> bool {
        self.budget.mishaps -= 1;
        true
    }

    pub(super) fn spends_crash(&mut self) -> bool {
        self.budget.crashes -= 1;
        true
    }
}

impl World {
    pub(super) fn add_foreign(&self, state: &mut State) {
        let content = Content { image: 0, restarts: 0, admitted: false, edited: true };
        let rollout = Rollout::default();
        state.children[0][1] =
            Some(ChildObject { uid: 32, version: 32, owner: Owner::Foreign, content, deleting: false, rollout });
    }

    pub(super) fn collect(&self, state: &mut State, slot: usize, kind: usize) -> bool {
        let uid = state.gateways[slot].map(|gateway| gateway.uid);
        let is_orphan = |there: &ChildObject| matches!(there.owner, Owner::Gateway(owner) if Some(owner) != uid);
        let is_due = state.children[slot][kind].as_ref().is_some_and(|there| is_orphan(there) && !there.deleting);
        if is_due {
            self.delete_child(state, slot, kind);
        }
        is_due
    }

    /// Lets the leader act on the rest of the state.
    pub(super) fn with_leader(
        &self,
        state: &mut State,
        act: impl FnOnce(&mut State, &mut Operator) -> Result<bool, Broken>,
    ) -> Result<bool, Broken> {
        let Some(mut leader) = state.leader.take() else { return Ok(false) };
        let done = act(state, &mut leader);
        state.leader = Some(leader);
        done
    }
}
