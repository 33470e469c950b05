//! What a pass reads: from the caches, from its memory, and live where a cache is not enough. As
//! `src/control/gather.rs` and `core/src/decide/presence.rs` do.

use phasegate_core::decide::observed::{Child, Tried};

use super::objects::{ChildObject, Content, Gateway, KINDS, Owner};
use super::operator::{Expected, Memory, Operator};
use super::{Planted, State, World};
use crate::bridge::{Bridge, Facts, Registered, Seen};

impl Operator {
    /// The gateway that a pass decides about: its own last write, until the cache has caught up.
    pub(super) fn newest(&self, slot: usize) -> Option<Gateway> {
        let cached = self.cache.gateways[slot]?;
        let written = self.memory[slot].written.filter(|written| written.uid == cached.uid);
        Some(written.unwrap_or(cached))
    }
}

impl World {
    /// The desired content of a gateway's children; `None` if it has no such child.
    pub(super) fn desired(&self, bridge: &Bridge, gateway: &Gateway, kind: usize) -> Option<Content> {
        if KINDS[kind] == Child::Ingress && !self.host {
            return None;
        }
        let restarts = bridge.info(gateway.status).restarts;
        // Restarts and the image concern pods only.
        let of_pods = KINDS[kind] == Child::Deployment;
        let (image, restarts) = if of_pods { (gateway.image, restarts) } else { (0, 0) };
        Some(Content { image, restarts, admitted: false, edited: false })
    }

    /// Compares a found child with its desired state.
    pub(super) fn compare(
        &self,
        bridge: &Bridge,
        gateway: &Gateway,
        memory: &Memory,
        kind: usize,
        found: Option<&ChildObject>,
    ) -> Seen {
        let desired = self.desired(bridge, gateway, kind);
        let Some(found) = found else {
            return if desired.is_some() { Seen::Missing } else { Seen::NotWanted };
        };
        let is_ours = found.owner == Owner::Gateway(gateway.uid) || self.plants(Planted::OwnerIgnored);
        match (is_ours, found.owner, desired) {
            (false, _, None) => Seen::NotWanted,
            (false, Owner::Foreign, Some(_)) => Seen::Foreign,
            (false, Owner::Gateway(_), Some(_)) => Seen::Predecessor,
            (true, _, _) if found.deleting => Seen::Terminating,
            (true, _, None) => Seen::Different,
            (true, _, Some(desired)) => {
                let is_accepted = match memory.known[kind] {
                    Some((wanted, stored)) if wanted == desired => stored == found.content,
                    Some(_) => desired == found.content,
                    None => {
                        let recorded = bridge.info(gateway.status).accepted[kind];
                        desired == found.content || recorded == Some((desired.code(), found.content.code()))
                    }
                };
                if is_accepted { Seen::Equal } else { Seen::Different }
            }
        }
    }

    /// Gathers facts from the caches, or with live reads of the children and of the environments that are not active.
    pub(super) fn gather(
        &self,
        bridge: &Bridge,
        state: &State,
        operator: &Operator,
        gateway: &Gateway,
        slot: usize,
        live: bool,
    ) -> (Facts, [Option<ChildObject>; KINDS.len()]) {
        let found = if live { state.children[slot] } else { operator.cache.children[slot] };
        let memory = &operator.memory[slot];
        let info = bridge.info(gateway.status);
        let tried = memory.tried.filter(|(attempt, _)| *attempt == info.attempt);
        let tried = tried.map_or(Tried::Never, |(_, tried)| tried);
        let children = [0, 1, 2].map(|kind| {
            let seen = self.compare(bridge, gateway, memory, kind, found[kind].as_ref());
            match (memory.expected[kind], &found[kind]) {
                (Expected::Created, None) if seen == Seen::Missing => Seen::Expected,
                (Expected::Deleted(uid), Some(there)) if there.uid == uid => Seen::Terminating,
                _ => seen,
            }
        });
        let accepted = [0, 1, 2].map(|kind| {
            let known = memory.known[kind].map(|(desired, stored)| (desired.code(), stored.code()));
            let is_ours =
                !matches!(children[kind], Seen::NotWanted | Seen::Missing | Seen::Predecessor | Seen::Foreign);
            known.or(info.accepted[kind]).filter(|_| is_ours && !self.plants(Planted::AcceptedForgotten))
        });
        let mut rollout = found[0].map(|there| there.rollout).unwrap_or_default();
        if self.plants(Planted::StatusBeforeReady) && children[0] == Seen::Equal {
            (rollout.complete, rollout.available) = (true, true);
        }
        let environments = if slot == 0 {
            let (cached, stored) = (operator.cache.environments, state.environments);
            std::array::from_fn(|number| {
                let reads = live && cached[number].is_some_and(|there| !there.active);
                let found = if reads { stored[number] } else { cached[number] };
                found.map(|there| there.active)
            })
        } else {
            Default::default()
        };
        let facts = Facts {
            children,
            rollout,
            pods: operator.cache.pods[slot],
            environments,
            host_taken: self.host_taken(bridge, operator, gateway, slot),
            registry: self
                .registry
                .then(|| registered(bridge, state, gateway, slot, self.plants(Planted::FinalizerEarly))),
            blocked: memory.blocked.filter(|(attempt, _)| *attempt == info.attempt).map(|(_, blocked)| blocked),
            tried,
            accepted,
            // An attempt that was not tried is resumed instead.
            rushed: self.plants(Planted::DeadlineIgnored) && tried != Tried::Never,
        };
        (facts, found)
    }

    /// Whether the other gateway has the host, by its claim or by its Ingress.
    fn host_taken(&self, bridge: &Bridge, operator: &Operator, gateway: &Gateway, slot: usize) -> bool {
        if !self.host || self.gateways < 2 || bridge.info(gateway.status).hosts {
            return false;
        }
        let other = 1 - slot;
        let claims = |gateway: Gateway| bridge.info(gateway.status).hosts;
        operator.memory[other].reserved
            || operator.newest(other).is_some_and(claims)
            || operator.cache.children[other][2].is_some()
    }
}

fn registered(bridge: &Bridge, state: &State, gateway: &Gateway, slot: usize, forgets_early: bool) -> Registered {
    let document = state.documents[slot].filter(|document| document.uid == gateway.uid);
    let transitions = bridge.info(gateway.status).transitions;
    Registered {
        recorded: document.is_some(),
        reported: document.is_some_and(|document| document.seq >= transitions),
        forgotten: document.is_none() || forgets_early,
    }
}
