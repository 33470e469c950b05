//! What acting taught, folded into the facts, and the plan in its light.
//!
//! The decision is made once. What it led to is recorded with what was learned on the way; only the status and
//! the Events are decided anew, and every change of phase is one that the plan held from the beginning.

use super::observed::{Child, Moment, Observed, Presence, Refusal, Settings, Unanswered};
use super::plan::Plan;
use super::situation::Situation;
use crate::api::ApiGateway;

/// What a step taught that nobody knew when it was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Learned {
    /// A child was not as the cache had it: what it is.
    Surprise(Child, Presence),
    /// The API server refused to write a child.
    Refused(Refusal),
    /// A child could not be written, and nobody refused it.
    Unanswered(Unanswered),
    /// The registry could not be written to: why.
    RegistryFailed(String),
    /// Our finalizer stands on a gateway that is recorded nowhere else, and this operator may not remove it.
    MayNotLetGo,
}

impl Observed {
    /// Folds what acting taught into the facts.
    pub fn learn(&mut self, learned: Learned) {
        match learned {
            Learned::Surprise(child, presence) => *self.child_mut(child) = presence,
            Learned::Refused(refusal) => (self.refusal, self.unanswered) = (Some(refusal), None),
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
