//! Feeds the results of the steps back into the facts and updates the plan.
//!
//! The decision is made once. What the steps taught (a refusal, a surprise) goes into the recorded status and
//! Events, which are decided anew. The change of phase is not: every possible one was part of the plan from the
//! beginning.
//!
//! **Architecture invariant:** this module adds no transition. The only one that it applies is a field of the
//! plan already.

use super::observed::{Child, Moment, Observed, Presence, Refusal, Settings, Target, Unanswered};
use super::plan::{Plan, PlannedEvent};
use super::situation::Situation;
use super::{conditions, diagnosis};
use crate::api::ApiGateway;

/// A result of a step that the facts did not contain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Learned {
    /// A child differs from the cache; its actual state.
    Surprise(Child, Presence),
    /// The API server refused a write.
    Refused(Refusal),
    /// A write failed without a refusal.
    Unanswered(Unanswered),
    /// The registry could not be written to; the error.
    RegistryFailed(String),
    /// Our finalizer is on a gateway that no registry records, and this operator may not remove it.
    MayNotRemoveFinalizer,
}

impl Learned {
    /// The Event for a failed write that no status can mention.
    pub fn event(&self) -> Option<PlannedEvent> {
        let cause = match self {
            Self::Refused(refusal) => diagnosis::of_refusal(refusal),
            Self::Unanswered(unanswered) => diagnosis::of_unanswered(unanswered),
            Self::Surprise(..) | Self::RegistryFailed(_) | Self::MayNotRemoveFinalizer => return None,
        };
        Some(PlannedEvent { warning: true, reason: cause.reason, message: conditions::sentence(&cause) })
    }
}

impl Observed {
    /// Adds the result of a step to the facts.
    pub fn learn(&mut self, learned: Learned) {
        match learned {
            Learned::Surprise(child, presence) => *self.child_mut(child) = presence,
            Learned::Refused(refusal) => {
                // An environment also has a reconcile of its own.
                let is_anothers = |unanswered: &Unanswered| {
                    matches!(unanswered.what, Target::Environment(_)) && unanswered.what != refusal.what
                };
                self.unanswered = self.unanswered.take().filter(is_anothers);
                self.refusal = Some(refusal);
            }
            Learned::Unanswered(unanswered) => self.unanswered = Some(unanswered),
            Learned::RegistryFailed(words) => self.registry.unavailable = Some(words),
            Learned::MayNotRemoveFinalizer => self.registry.may_remove_finalizer = false,
        }
    }
}

impl Plan {
    /// The plan as it is recorded: with the steps that were carried out, and the status and Events that follow
    /// from the facts by now.
    pub fn in_the_light_of(
        mut self,
        gateway: &ApiGateway,
        observed: &Observed,
        moment: &Moment,
        settings: &Settings,
    ) -> Self {
        // Only plans with a registry that answered have a change of phase for this case, or a status that waits
        // for a write.
        if observed.registry.unavailable.is_some() {
            self.movement = self.movement.or(self.if_registry_fails.take());
            self.moves = self.movement.is_some();
            self.status_after = self.status_after.filter(|step| !step.is_registrys());
        }
        self.told(&Situation::of(gateway, observed, moment, settings))
    }
}
