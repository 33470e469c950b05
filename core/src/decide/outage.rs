//! Outages: dependencies that a start needs and that are unavailable. The gateway is not at fault, so the
//! attempt's clock is held.
//!
//! **Architecture invariant:** this module parses no message: `api_message` does.

use super::api_message::{ApiMessage, classify};
use super::observed::{Child, MissingDependency, Observed, Target, Unanswered};

/// A write that a start needs is blocked by an unavailable dependency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage<'a> {
    /// What is blocked.
    pub what: BlockedWrite<'a>,
    /// The unavailable dependency.
    pub by: MissingDependency,
    /// The message of the failure.
    pub words: &'a str,
}

/// What is blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockedWrite<'a> {
    /// A write of the operator.
    Written(&'a Target),
    /// The creation of pods by the Deployment's controllers.
    Pods,
}

/// The outage that a start waits for, if any. A start does not need the PodDisruptionBudget.
pub fn of(observed: &Observed) -> Option<Outage<'_>> {
    let budget = Target::Child(Child::PodDisruptionBudget);
    let written = observed.unanswered.as_ref().filter(|unanswered| unanswered.what != budget);
    written.and_then(of_write).or_else(|| of_pods(observed))
}

/// The outage behind an unanswered write; `None` if the cause is unknown.
pub fn of_write(unanswered: &Unanswered) -> Option<Outage<'_>> {
    let Unanswered { what, by, words, lasted: _ } = unanswered;
    by.holds_the_clock().then(|| Outage { what: BlockedWrite::Written(what), by: by.clone(), words })
}

/// The outage behind a failed creation of pods: the Deployment repeats the API server's message, or that there
/// was no answer.
pub fn of_pods(observed: &Observed) -> Option<Outage<'_>> {
    let failure = observed.rollout.replica_failure.as_deref()?;
    let (by, words) = match classify(failure) {
        ApiMessage::WebhookUnavailable { webhook, words } => (MissingDependency::Webhook(webhook.to_owned()), words),
        ApiMessage::StorageUnavailable | ApiMessage::NotReady => (MissingDependency::Cluster, failure),
        ApiMessage::Denied | ApiMessage::NotPermitted | ApiMessage::Other => return None,
    };
    Some(Outage { what: BlockedWrite::Pods, by, words })
}
