//! The decision: a gateway, what was observed and a moment in, a plan out.
//!
//! [`observed`] holds the facts and `situation` what follows from them alone. `phase` judges, [`diagnosis`] explains,
//! [`conditions`] says it (`cleanup` of a stop), `status` and `notes` fold that into what is recorded. `learned` is what acting taught.
//! [`hosts`], [`environment`] and [`allowance`] decide for themselves. The others are what these share: words, places, the questions
//! that several ask.
//!
//! May import `api` and `children`. Invariants: pure, the same arguments give the same plan; a plan that moves has no
//! steps, unless it moves because they failed; and every change of phase is one of [`phase::EDGES`].

pub mod allowance;
pub mod answer;
mod cleanup;
pub mod conditions;
pub mod deadline;
pub mod diagnosis;
pub mod diagram;
pub mod environment;
pub mod held;
pub mod hosts;
mod learned;
mod notes;
pub mod observed;
pub mod outage;
pub mod phase;
mod place;
mod plan;
pub mod presence;
pub mod readiness;
pub mod repairs;
pub mod requests;
mod situation;
mod status;
mod words;

use std::time::Duration;

use crate::api::ApiGateway;
use observed::{Moment, Observed, Settings, Target};

pub use learned::Learned;
pub use place::Place;
pub use plan::{Move, NextAttempt, Note, Plan, Stay, Step, Verdict};
pub use situation::{DueStart, Obstacle, Situation};
pub use words::{human, say};

/// Decides what is to be done about one gateway.
pub fn decide(gateway: &ApiGateway, observed: &Observed, moment: &Moment, settings: &Settings) -> Plan {
    let situation = Situation::of(gateway, observed, moment, settings);
    Plan::of(phase::judge(&situation)).told(&situation)
}

/// How long it is until the attempt of a gateway is judged by its deadline; `None` where none is, or its clock is held.
pub fn judged_in(gateway: &ApiGateway, observed: &Observed, moment: &Moment, settings: &Settings) -> Option<Duration> {
    let s = Situation::of(gateway, observed, moment, settings);
    let runs = s.place().is_some_and(Place::is_attempt) && !s.clock_is_held() && !gateway.is_being_deleted();
    runs.then(|| deadline::left(gateway, moment, settings))
}

impl Plan {
    /// The same plan, with the status and the Events that follow from it and from the facts.
    fn told(self, s: &Situation<'_>) -> Self {
        // Where that does not come, it is said why.
        let waits = self
            .status_after
            .is_some_and(|step| !step.is_of_finalizers() || !s.observed.is_hindered(&Target::Finalizers));
        if s.is_left_to_garbage_collection() || waits {
            return Self { status: None, notes: Vec::new(), ..self };
        }
        let movement = self.movement.as_ref();
        let before = s.gateway.status_or_default();
        let after = status::fold(s, movement, &before);
        let notes = notes::of(movement, &s.observed.writes.untold, &before, &after);
        let status = status::says_something_new(&before, &after).then_some(after);
        Self { status, notes, ..self }
    }
}

#[cfg(test)]
mod tests;
