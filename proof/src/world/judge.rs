//! What must hold: of every write when it is carried out, of every decision when it is made, and of every state
//! in which the world comes to rest.

use phasegate_core::decide::Place;
use phasegate_core::decide::observed::Child;
use phasegate_core::decide::phase::EDGES;

use super::objects::{Asked, ChildObject, Gateway, KINDS, Owner, StatusId};
use super::operator::Memory;
use super::server::Broken;
use super::{State, World};
use crate::bridge::Bridge;

/// A child is written or deleted only for the gateway that owns it.
pub(super) fn touches(child: &ChildObject, owner: u8) -> Result<(), Broken> {
    if child.owner == Owner::Gateway(owner) {
        return Ok(());
    }
    Err("a child of another owner is changed".to_owned())
}

/// A status follows from the stored one, along the edges, and no attempt ends before its deadline.
pub(super) fn records(
    bridge: &Bridge,
    there: &Gateway,
    base: &Gateway,
    status: StatusId,
    moves: bool,
    ran: u8,
) -> Result<(), Broken> {
    if there.uid != base.uid || there.status != base.status {
        return Err("a status goes back to an older truth".to_owned());
    }
    let (before, after) = (bridge.info(there.status), bridge.info(status));
    let (Some(from), Some(to)) = (before.place, after.place) else {
        return Err("a phase of the machine becomes one of another version".to_owned());
    };
    let is_transition = before.attempt != after.attempt || from != to;
    if is_transition && !moves {
        return Err(format!("{from:?} becomes {to:?} without a transition in the plan"));
    }
    if moves && !EDGES.contains(&(from, to)) {
        return Err(format!("{from:?} becomes {to:?}, which is no edge of the machine"));
    }
    let gives_up = from.is_attempt() && matches!(to, Place::Started | Place::TimedOut) && after.failed;
    if gives_up && ran == 0 {
        return Err("an attempt ends before its deadline".to_owned());
    }
    Ok(())
}

/// The finalizer goes last.
pub(super) fn removes_finalizer(state: &State, slot: usize, ours: bool) -> Result<(), Broken> {
    let Some(gateway) = &state.gateways[slot] else { return Ok(()) };
    let is_recorded = state.documents[slot].is_some_and(|document| document.uid == gateway.uid);
    if !ours && gateway.deleting && is_recorded {
        return Err("the finalizer goes while the registry still has the gateway".to_owned());
    }
    Ok(())
}

impl World {
    /// Whether an attempt may end at its deadline by what is stored.
    pub(super) fn may_give_up(
        &self,
        bridge: &Bridge,
        state: &State,
        gateway: &Gateway,
        memory: &Memory,
    ) -> Result<(), Broken> {
        let slot = self.slot_of(state, gateway);
        let Some(slot) = slot else { return Ok(()) };
        let any_inactive = slot == 0 && state.environments.iter().flatten().any(|environment| !environment.active);
        // Then the operator does not know what admission changed.
        let is_exempt = self.admission && memory.missed;
        if !is_exempt && !any_inactive && self.is_ready(bridge, state, slot, gateway) {
            return Err("an attempt ends at its deadline although the gateway is ready".to_owned());
        }
        Ok(())
    }

    fn slot_of(&self, state: &State, gateway: &Gateway) -> Option<usize> {
        state.gateways.iter().position(|other| other.is_some_and(|other| other == *gateway))
    }

    /// Whether the stored children of a gateway are as its spec and status ask, and complete.
    fn is_ready(&self, bridge: &Bridge, state: &State, slot: usize, gateway: &Gateway) -> bool {
        KINDS.iter().enumerate().all(|(kind, child)| match &state.children[slot][kind] {
            None => *child == Child::Ingress && !self.host,
            Some(there) => {
                let complete = *child != Child::Deployment || there.rollout.complete;
                complete && self.is_as_desired(bridge, gateway, there)
            }
        })
    }

    fn is_as_desired(&self, bridge: &Bridge, gateway: &Gateway, there: &ChildObject) -> bool {
        there.owner == Owner::Gateway(gateway.uid)
            && !there.deleting
            && !there.content.edited
            && there.content.image == gateway.image
            && there.content.restarts == bridge.info(gateway.status).restarts
    }

    /// Why a state in which nothing happens any more is not what was requested last.
    pub fn unmet(&self, bridge: &mut Bridge, state: &State) -> Option<String> {
        if state.leader.is_none() {
            return Some("no operator leads".to_owned());
        }
        (0..self.gateways)
            .find_map(|slot| self.unmet_of(bridge, state, slot).map(|why| format!("{}: {why}", name(slot))))
    }

    fn unmet_of(&self, bridge: &mut Bridge, state: &State, slot: usize) -> Option<String> {
        let children = state.children[slot].iter().flatten();
        let gateway_uid = state.gateways[slot].map(|gateway| gateway.uid);
        if children.clone().any(|there| matches!(there.owner, Owner::Gateway(uid) if Some(uid) != gateway_uid)) {
            return Some("a child of an earlier gateway is left".to_owned());
        }
        let foreign = children.clone().any(|there| there.owner == Owner::Foreign);
        let of_others = foreign && self.foreign;
        if foreign && !self.foreign {
            return Some("a child has no owner".to_owned());
        }
        let has_children = children.clone().any(|there| there.owner != Owner::Foreign);
        let any_active = slot == 0 && state.environments.iter().flatten().any(|environment| environment.active);
        let rests = |what: &str| {
            let left = if has_children {
                Some("a child is left")
            } else if state.pods[slot].running || state.pods[slot].terminating {
                Some("a pod is left")
            } else if any_active {
                Some("an environment is Active")
            } else {
                None
            };
            left.map(|left| format!("{left} of a gateway that {what}"))
        };
        let Some(gateway) = state.gateways[slot] else {
            if state.documents[slot].is_some() {
                return Some("the registry still has a gateway that is gone".to_owned());
            }
            return rests("is gone");
        };
        let info = bridge.info(gateway.status).clone();
        if gateway.deleting {
            let is_held = gateway.others && info.place == Some(Place::Deleting);
            return if is_held { rests("is deleted") } else { Some("its deletion does not end".to_owned()) };
        }
        if self.registry && !gateway.suspended {
            let is_told =
                |document: super::objects::Document| document.uid == gateway.uid && document.seq == info.transitions;
            if !state.documents[slot].is_some_and(is_told) {
                return Some("the registry does not have its last transition".to_owned());
            }
        }
        if gateway.suspended {
            return None;
        }
        if gateway.asked == Asked::Stopped {
            if info.place != Some(Place::Stopped) {
                return Some(format!("Stopped is requested, and it is {:?}", info.place));
            }
            return rests("is stopped");
        }
        let requests = bridge.has_requests(&gateway);
        let blocked = of_others || self.waits_for_host(bridge, state, slot);
        match info.place {
            Some(Place::Started) => {
                let all_active = slot != 0 || state.environments.iter().flatten().all(|environment| environment.active);
                if requests {
                    return Some("a request is not taken up".to_owned());
                }
                if blocked {
                    return None;
                }
                if !all_active {
                    return Some("an environment is Inactive".to_owned());
                }
                let complete = state.sick[slot] || self.is_ready(bridge, state, slot, &gateway);
                if !complete {
                    return Some("it is Started, and its children are not as requested".to_owned());
                }
                let told = state.sick[slot] || (info.ready && !info.failed);
                (!told).then(|| "its conditions do not report that it is ready".to_owned())
            }
            Some(Place::Stopped) if blocked => rests("waits for a name or a host"),
            Some(Place::Stopped) if info.failed && info.was_asked && !requests => rests("timed out"),
            Some(Place::Created | Place::Starting | Place::Restarting) if blocked => None,
            // Only its deadline ends it.
            Some(Place::Starting | Place::Restarting) if state.sick[slot] && state.ticks == 0 => None,
            place => Some(format!("Running is requested, and it is {place:?}")),
        }
    }

    fn waits_for_host(&self, bridge: &Bridge, state: &State, slot: usize) -> bool {
        let other = 1 - slot;
        let holds = |gateway: Gateway| bridge.info(gateway.status).hosts;
        let routed = state.children[other][2].is_some();
        self.host && self.gateways > 1 && (state.gateways[other].is_some_and(holds) || routed)
    }

    /// What must hold in every state.
    ///
    /// # Errors
    /// If it does not.
    pub fn safe(&self, bridge: &Bridge, state: &State) -> Result<(), Broken> {
        let holds = |slot: usize| state.gateways[slot].is_some_and(|gateway| bridge.info(gateway.status).hosts);
        if self.host && self.gateways > 1 {
            if holds(0) && holds(1) {
                return Err("two gateways hold one host".to_owned());
            }
            let routes = |slot: usize| state.children[slot][2].is_some_and(|there| !there.deleting);
            if routes(0) && routes(1) {
                return Err("two gateways route one host".to_owned());
            }
        }
        Ok(())
    }
}

/// The name of a gateway.
pub fn name(slot: usize) -> &'static str {
    ["shop", "blog"][slot]
}
