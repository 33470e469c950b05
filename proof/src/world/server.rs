//! The modelled API server and registry: what a write does to the stored objects.
//!
//! **Architecture invariant:** a write is checked here against what must never happen, when it is carried out.

use phasegate_core::decide::observed::Child;

use super::canonical::fresh;
use super::judge;
use super::objects::{ChildObject, Content, Document, Environment, Gateway, KINDS, Owner, Rollout, StatusId};
use super::{Planted, State, World};
use crate::bridge::Bridge;

/// A write of an operator. It names the gateway that it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Write {
    /// POST of a child.
    Create {
        /// The gateway's place.
        slot: u8,
        /// The kind of the child.
        kind: u8,
        /// The uid of the gateway.
        owner: u8,
        /// What is written.
        content: Content,
    },
    /// PUT of a child over the version that was read.
    Update {
        /// The gateway's place.
        slot: u8,
        /// The kind of the child.
        kind: u8,
        /// The uid of the gateway.
        owner: u8,
        /// The version that was read.
        read: ChildObject,
        /// What is written.
        content: Content,
    },
    /// DELETE of a child, with its uid as the precondition.
    Delete {
        /// The gateway's place.
        slot: u8,
        /// The kind of the child.
        kind: u8,
        /// The uid of the gateway.
        owner: u8,
        /// The uid.
        uid: u8,
    },
    /// PUT of a status over the version that was read.
    Status {
        /// The gateway's place.
        slot: u8,
        /// The version that was read.
        base: Gateway,
        /// What is written.
        status: StatusId,
        /// Whether it is a transition.
        moves: bool,
    },
    /// PATCH that adds or removes the operator's finalizer of the version that was read.
    Finalizers {
        /// The gateway's place.
        slot: u8,
        /// The version that was read.
        base: Gateway,
        /// Whether the finalizer is there afterwards.
        ours: bool,
    },
    /// PUT of the status of an environment over the version that was read.
    Environment {
        /// The environment.
        number: u8,
        /// The version that was read.
        read: Environment,
        /// Whether it is Active afterwards.
        active: bool,
    },
    /// The registry records the gateway.
    Record {
        /// The gateway's place.
        slot: u8,
        /// The uid.
        uid: u8,
    },
    /// The registry learns of a transition.
    Report {
        /// The gateway's place.
        slot: u8,
        /// The uid.
        uid: u8,
        /// The number of the transition.
        seq: u8,
    },
    /// The registry forgets the gateway.
    Forget {
        /// The gateway's place.
        slot: u8,
        /// The uid.
        uid: u8,
    },
}

/// The answer to a write that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It was carried out; the stored child, if it is one.
    Done(Option<ChildObject>),
    /// The object is gone, or has another version or uid.
    Stale,
    /// A child of that name exists.
    AlreadyExists,
}

/// What must not happen and did.
pub type Broken = String;

impl World {
    /// Carries out a write.
    ///
    /// # Errors
    /// If it breaks what must hold.
    pub(super) fn carry_out(&self, bridge: &mut Bridge, state: &mut State, write: Write) -> Result<Reply, Broken> {
        match write {
            Write::Create { slot, kind, owner, content } => {
                let there = &mut state.children[usize::from(slot)][usize::from(kind)];
                if there.is_some() {
                    return Ok(Reply::AlreadyExists);
                }
                let owner = if self.plants(Planted::OwnerForgotten) { Owner::Foreign } else { Owner::Gateway(owner) };
                let rollout = Rollout { behind: KINDS[usize::from(kind)] == Child::Deployment, ..Rollout::default() };
                let content = Content { admitted: self.admission, ..content };
                *there = Some(ChildObject { uid: 32, version: 32, owner, content, deleting: false, rollout });
                Ok(Reply::Done(*there))
            }
            Write::Update { slot, kind, owner, read, content } => {
                let Some(there) = &mut state.children[usize::from(slot)][usize::from(kind)] else {
                    return Ok(Reply::Stale);
                };
                let is_same = there.uid == read.uid && there.version == read.version;
                if !is_same {
                    return Ok(Reply::Stale);
                }
                judge::touches(there, owner)?;
                let content = Content { admitted: self.admission, ..content };
                if there.content != content {
                    there.content = content;
                    there.version = fresh(there.version);
                    if KINDS[usize::from(kind)] == Child::Deployment {
                        there.rollout = Rollout { behind: true, complete: false, ..there.rollout };
                    }
                }
                Ok(Reply::Done(Some(*there)))
            }
            Write::Delete { slot, kind, owner, uid } => {
                let Some(there) = &state.children[usize::from(slot)][usize::from(kind)] else {
                    return Ok(Reply::Done(None));
                };
                if there.uid != uid {
                    return Ok(Reply::Stale);
                }
                judge::touches(there, owner)?;
                self.delete_child(state, usize::from(slot), usize::from(kind));
                Ok(Reply::Done(None))
            }
            Write::Status { slot, base, status, moves } => {
                let slot = usize::from(slot);
                let Some(there) = &state.gateways[slot] else { return Ok(Reply::Stale) };
                if !is_as_read(there, &base) && !self.plants(Planted::StatusOverwritten) {
                    return Ok(Reply::Stale);
                }
                judge::records(bridge, there, &base, status, moves, state.ran[slot])?;
                if bridge.info(there.status).attempt != bridge.info(status).attempt {
                    state.ran[slot] = 0;
                }
                state.edit(slot, |gateway| gateway.status = status);
                Ok(Reply::Done(None))
            }
            Write::Finalizers { slot, base, ours } => {
                let slot = usize::from(slot);
                let Some(there) = &state.gateways[slot] else { return Ok(Reply::Stale) };
                if !is_as_read(there, &base) {
                    return Ok(Reply::Stale);
                }
                judge::removes_finalizer(state, slot, ours)?;
                state.edit(slot, |gateway| gateway.ours = ours);
                state.remove_if_free(slot);
                Ok(Reply::Done(None))
            }
            Write::Environment { number, read, active } => {
                let Some(there) = &mut state.environments[usize::from(number)] else { return Ok(Reply::Stale) };
                if there.version != read.version {
                    return Ok(Reply::Stale);
                }
                *there = Environment { version: fresh(there.version), active };
                Ok(Reply::Done(None))
            }
            Write::Record { slot, uid } => {
                let there = &mut state.documents[usize::from(slot)];
                // Uids grow, as the creation of the objects does.
                if there.is_none_or(|document| document.uid < uid) {
                    *there = Some(Document { uid, seq: 0 });
                }
                Ok(Reply::Done(None))
            }
            Write::Report { slot, uid, seq } => {
                if let Some(there) = &mut state.documents[usize::from(slot)]
                    && there.uid == uid
                {
                    there.seq = there.seq.max(seq);
                }
                Ok(Reply::Done(None))
            }
            Write::Forget { slot, uid } => {
                let there = &mut state.documents[usize::from(slot)];
                *there = there.filter(|document| document.uid != uid);
                Ok(Reply::Done(None))
            }
        }
    }

    /// Deletes a child, or marks it if a finalizer keeps it.
    pub(super) fn delete_child(&self, state: &mut State, slot: usize, kind: usize) {
        let is_kept = self.finalizers && KINDS[kind] == Child::Deployment;
        match &mut state.children[slot][kind] {
            Some(there) if is_kept && !there.deleting => {
                there.deleting = true;
                there.version = fresh(there.version);
            }
            Some(_) if !is_kept => state.remove_child(slot, kind),
            _ => {}
        }
    }
}

fn is_as_read(there: &Gateway, base: &Gateway) -> bool {
    there.uid == base.uid && there.version == base.version
}

impl State {
    /// Edits a stored gateway, which gets a new version.
    pub(super) fn edit(&mut self, slot: usize, edit: impl FnOnce(&mut Gateway)) {
        if let Some(gateway) = &mut self.gateways[slot] {
            edit(gateway);
            gateway.version = fresh(gateway.version);
        }
    }

    /// Removes a deleted gateway that no finalizer keeps.
    pub(super) fn remove_if_free(&mut self, slot: usize) {
        let is_free = |gateway: &Gateway| gateway.deleting && !gateway.ours && !gateway.others;
        if self.gateways[slot].as_ref().is_some_and(is_free) {
            self.gateways[slot] = None;
            self.ran[slot] = 0;
        }
    }

    /// Removes a child. The pods of a Deployment begin to terminate.
    pub(super) fn remove_child(&mut self, slot: usize, kind: usize) {
        self.children[slot][kind] = None;
        if KINDS[kind] == Child::Deployment && self.pods[slot].running {
            self.pods[slot].running = false;
            self.pods[slot].terminating = true;
        }
    }
}
