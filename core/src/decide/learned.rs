//! What acting taught, folded into the facts, and the plan in its light.
//!
//! The decision is made once. What it led to is recorded with what was learned on the way; only the status and
//! the Events are decided anew, and every change of phase is one that the plan held from the beginning.

use super::observed::{Child, Moment, Observed, Presence, Refusal, Settings, Target, Unanswered};
use super::plan::{Note, Plan};
use super::situation::Situation;
use super::{conditions, diagnosis};
use crate::api::ApiGateway;

/// What a step taught that nobody knew when it was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Learned {
    /// A child was not as the cache had it: what it is.
    Surprise(Child, Presence),
    /// The API server refused a write.
    Refused(Refusal),
    /// Something could not be written, and nobody refused it.
    Unanswered(Unanswered),
    /// The registry could not be written to: why.
    RegistryFailed(String),
    /// Our finalizer stands on a gateway that is recorded nowhere else, and this operator may not remove it.
    MayNotLetGo,
}

impl Learned {
    /// What is told of a write that was not carried out, where no status can say it.
    pub fn note(&self) -> Option<Note> {
        let cause = match self {
            Self::Refused(refusal) => diagnosis::of_refusal(refusal),
            Self::Unanswered(unanswered) => diagnosis::of_unanswered(unanswered),
            Self::Surprise(..) | Self::RegistryFailed(_) | Self::MayNotLetGo => return None,
        };
        Some(Note { warning: true, reason: cause.reason, message: conditions::sentence(&cause) })
    }
}

impl Observed {
    /// Folds what acting taught into the facts.
    pub fn learn(&mut self, learned: Learned) {
        match learned {
            Learned::Surprise(child, presence) => *self.child_mut(child) = presence,
            Learned::Refused(refusal) => {
                // An environment is written by a pass of its own as well.
                let is_anothers = |unanswered: &Unanswered| {
                    matches!(unanswered.what, Target::Environment(_)) && unanswered.what != refusal.what
                };
                self.unanswered = self.unanswered.take().filter(is_anothers);
                self.refusal = Some(refusal);
            }
            Learned::Unanswered(unanswered) => self.unanswered = Some(unanswered),
            Learned::RegistryFailed(words) => self.registry.unavailable = Some(words),
            Learned::MayNotLetGo => self.registry.may_let_go = false,
        }
    }
}

impl Plan {
    /// The plan that was carried out, as it is recorded: its steps are those that were taken, its status and its
    /// Events say what is known by now.
    pub fn in_the_light_of(
        mut self,
        gateway: &ApiGateway,
        observed: &Observed,
        moment: &Moment,
        settings: &Settings,
    ) -> Self {
        // A move for this case, and a status that waits for a write, are in those plans only whose registry answered.
        if observed.registry.unavailable.is_some() {
            self.movement = self.movement.or(self.if_registry_fails.take());
            self.moves = self.movement.is_some();
            self.status_after = self.status_after.filter(|step| !step.is_registrys());
        }
        self.told(&Situation::of(gateway, observed, moment, settings))
    }
}
