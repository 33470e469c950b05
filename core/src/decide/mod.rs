//! The decision: a gateway, what was observed and a moment in, a plan out. Pure.
//!
//! `phase` judges, `diagnosis` explains, `conditions` says it, and this module folds the
//! verdict into the status that is to be written. Nothing here reads a clock or knows a client.

pub mod conditions;
pub mod deadline;
pub mod diagnosis;
pub mod diagram;
pub mod environment;
pub mod hosts;
mod notes;
pub mod observed;
pub mod phase;
mod place;
mod plan;
pub mod readiness;
pub mod requests;
mod situation;
mod status;
mod words;

use crate::api::ApiGateway;
use observed::{Moment, Observed, Settings};
use requests::Requests;

pub use place::Place;
pub use plan::{Move, NextAttempt, Note, Plan, Step, Verdict};
pub use situation::{DueStart, Obstacle, Situation};
pub use words::{human, say};

/// Decides what is to be done about one gateway.
pub fn decide(gateway: &ApiGateway, observed: &Observed, moment: &Moment, settings: &Settings) -> Plan {
    let situation = Situation { gateway, observed, moment, settings, requests: Requests::of(gateway) };
    let verdict = phase::judge(&situation);
    if gateway.is_being_deleted() && !situation.has_finalizer() {
        return Plan { steps: Vec::new(), status: None, notes: Vec::new(), wake: None, moves: false };
    }
    if let Verdict::Stay { steps, wake } = &verdict
        && comes_before_the_status(gateway, steps)
    {
        return Plan { steps: steps.clone(), status: None, notes: Vec::new(), wake: *wake, moves: false };
    }
    let before = gateway.status_or_default();
    let after = status::fold(&situation, &verdict, &before);
    let notes = notes::of(&verdict, &before, &after);
    let status = status::says_something_new(&before, &after).then_some(after);
    match verdict {
        Verdict::Stay { steps, wake } => Plan { steps, status, notes, wake, moves: false },
        Verdict::Go(_) => Plan { steps: Vec::new(), status, notes, wake: None, moves: true },
    }
}

/// Whether the status waits until these steps are done: they change the object itself, or come before its
/// first transition.
fn comes_before_the_status(gateway: &ApiGateway, steps: &[Step]) -> bool {
    let begun = gateway.status.as_ref().is_some_and(|status| status.phase.is_some());
    steps.iter().any(|step| match step {
        Step::AddFinalizer | Step::RemoveFinalizer => true,
        Step::Record => !begun,
        _ => false,
    })
}

#[cfg(test)]
mod tests;
