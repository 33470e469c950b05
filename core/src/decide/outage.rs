//! Who is away without whom a start cannot go on. No gateway is to blame for it, so the clock is held.

use super::answer::{Said, said};
use super::observed::{Absent, Child, Observed, Target, Unanswered};

/// Something that a start needs cannot be written, and whose fault that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage<'a> {
    /// What cannot be written.
    pub what: What<'a>,
    /// Who is away.
    pub by: Absent,
    /// What was said about it.
    pub words: &'a str,
}

/// What cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What<'a> {
    /// What the operator writes.
    Written(&'a Target),
    /// The pods that a controller makes for the Deployment.
    Pods,
}

/// The outage that a start waits for, if any. The PodDisruptionBudget is nothing that it needs.
pub fn of(observed: &Observed) -> Option<Outage<'_>> {
    let budget = Target::Child(Child::PodDisruptionBudget);
    let written = observed.unanswered.as_ref().filter(|unanswered| unanswered.what != budget);
    written.and_then(of_write).or_else(|| of_pods(observed))
}

/// The outage that kept something from being written. Where nobody knows whose fault it was, there is none.
pub fn of_write(unanswered: &Unanswered) -> Option<Outage<'_>> {
    let Unanswered { what, by, words, lasted: _ } = unanswered;
    by.holds_the_clock().then(|| Outage { what: What::Written(what), by: by.clone(), words })
}

/// A Deployment repeats what its controller was told when it created pods, or that it was told nothing.
pub fn of_pods(observed: &Observed) -> Option<Outage<'_>> {
    let failure = observed.rollout.replica_failure.as_deref()?;
    let (by, words) = match said(failure) {
        Said::WebhookAway { webhook, words } => (Absent::Webhook(webhook.to_owned()), words),
        Said::StorageAway | Said::NotReady => (Absent::Cluster, failure),
        Said::Denied | Said::NotPermitted | Said::Else => return None,
    };
    Some(Outage { what: What::Pods, by, words })
}
