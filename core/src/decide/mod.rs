//! The decision: [`decide`] takes a gateway, what was observed, a moment and settings, and returns a plan.
//!
//! [`observed`] defines the facts; `situation` derives what follows from them. `phase` is the state machine,
//! [`diagnosis`] finds the cause of a failure, [`conditions`] words it (`cleanup` for a stop), and `status` and
//! `events` turn both into what is recorded. `learned` feeds the results of the steps back into the facts.
//! [`hosts`], [`environment`] and [`allowance`] are decisions of their own. [`replay`] makes recorded decisions
//! again. The other modules are shared helpers.
//!
//! **Architecture invariant:** this module is pure and imports only `api` and `children`. The same arguments
//! give the same plan. A plan that changes the phase has no steps, unless it changes the phase because they
//! failed. Every change of phase is one of [`phase::EDGES`].
//!
//! # Example
//!
//! A new gateway has no children yet. The first decision only records the transition to Starting; the next one
//! creates the children.
//!
//! ```
//! use k8s_openapi::jiff::Timestamp;
//! use phasegate_core::api::{ApiGateway, Phase};
//! use phasegate_core::decide::observed::{Child, Moment, Observed, Settings};
//! use phasegate_core::decide::{Step, decide};
//!
//! let mut gateway: ApiGateway = serde_json::from_value(serde_json::json!({
//!     "apiVersion": "phasegate.dev/v1alpha1",
//!     "kind": "ApiGateway",
//!     "metadata": { "name": "shop", "namespace": "tenants", "uid": "1", "generation": 1 },
//!     "spec": { "image": "acme/gateway:1" },
//! }))?;
//! let observed = Observed::nothing();
//! let moment = Moment::at(Timestamp::UNIX_EPOCH);
//! let settings = Settings::default();
//!
//! let plan = decide(&gateway, &observed, &moment, &settings);
//! assert!(plan.moves && plan.steps.is_empty());
//! let status = plan.status.expect("a transition is recorded");
//! assert_eq!(status.phase, Some(Phase::Starting));
//!
//! gateway.status = Some(status);
//! let plan = decide(&gateway, &observed, &moment, &settings);
//! assert_eq!(plan.steps, [Step::Create(Child::Deployment), Step::Create(Child::Service)]);
//! # Ok::<(), serde_json::Error>(())
//! ```

pub mod allowance;
pub mod api_message;
mod cleanup;
pub mod conditions;
pub mod deadline;
pub mod diagnosis;
pub mod diagram;
pub mod environment;
mod events;
pub mod held;
pub mod hosts;
mod learned;
pub mod observed;
pub mod outage;
pub mod phase;
mod place;
mod plan;
pub mod presence;
pub mod readiness;
pub mod repairs;
pub mod replay;
pub mod requests;
mod rows;
mod situation;
mod status;
mod words;

use std::time::Duration;

use crate::api::ApiGateway;
use observed::{Moment, Observed, Settings, Target};

pub use learned::Learned;
pub use place::Place;
pub use plan::{Move, NextAttempt, Plan, PlannedEvent, Stay, Step, Verdict};
pub use rows::Row;
pub use situation::{Blocker, DueStart, Situation};
pub use words::{human, say};

/// Decides what to do about one gateway.
pub fn decide(gateway: &ApiGateway, observed: &Observed, moment: &Moment, settings: &Settings) -> Plan {
    let situation = Situation::of(gateway, observed, moment, settings);
    Plan::of(phase::judge(&situation)).told(&situation)
}

/// The time until the attempt is judged by its deadline; `None` if no attempt runs or its clock is held.
pub fn judged_in(gateway: &ApiGateway, observed: &Observed, moment: &Moment, settings: &Settings) -> Option<Duration> {
    let s = Situation::of(gateway, observed, moment, settings);
    let runs = s.place().is_some_and(Place::is_attempt) && !s.clock_is_held() && !gateway.is_being_deleted();
    runs.then(|| deadline::left(gateway, moment, settings))
}

impl Plan {
    /// Completes the plan with the status and the Events that follow from the facts.
    fn told(self, s: &Situation<'_>) -> Self {
        // If that step is blocked, the status says why instead.
        let waits = self
            .status_after
            .is_some_and(|step| !step.is_of_finalizers() || !s.observed.is_blocked(&Target::Finalizers));
        if s.is_left_to_garbage_collection() || waits {
            return Self { status: None, events: Vec::new(), ..self };
        }
        let movement = self.movement.as_ref();
        let before = s.gateway.status_or_default();
        let after = status::fold(s, movement, &before);
        let events = events::of(movement, &s.observed.writes.untold, &before, &after);
        let status = status::says_something_new(&before, &after).then_some(after);
        Self { status, events, ..self }
    }
}

#[cfg(test)]
mod tests;
