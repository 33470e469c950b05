//! Why a gateway does not start: an ordered list of small policies, the deepest cause first. `pods` holds those that ask
//! the pods, `patience` says how long a trouble may last that may pass by itself, and `kubelets` reads the words of node,
//! runtime and registry.
//!
//! May import `api`, `children`, and of `decide` the facts and what follows from them: `observed`, `situation`,
//! `outage`, `readiness`, `deadline` and `words`. Invariants: pure; the order of `POLICIES` alone says which of two causes is told;
//! and a cause says only what was observed.

mod kubelets;
mod patience;
mod pods;

use super::allowance::NotAllowed;
use super::observed::{Absent, Child, Going, Observed, Presence, Refusal, Repair, Unanswered};
use super::outage::{self, Outage, What};
use super::situation::{Obstacle, Situation};
use super::words::{plain, say};
use super::{deadline, readiness};
use crate::api::{ADOPT_ANNOTATION, RETRY_ANNOTATION, Reason};

/// A cause, in words for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The cause as one word.
    pub reason: Reason,
    /// The cause as a sentence that names the object.
    pub message: String,
    /// What to do.
    pub hint: String,
    /// The image that it is about, if it is about one.
    pub image: Option<String>,
}

impl Cause {
    fn new(reason: Reason, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { reason, message: plain(&message.into()), hint: plain(&hint.into()), image: None }
    }
}

pub use patience::{Patience, events_are_due_in, patience_ends_in};
pub use pods::not_ready_yet;

type Policy = fn(&Situation<'_>, Patience) -> Option<Cause>;

/// First match wins. What a pod says is deeper than what its Deployment says, and what the Deployment says is
/// deeper than what the API server said to the operator. Of pods, that one is asked first which came furthest:
/// whatever keeps the others, its own trouble would be theirs next. Only what may pass by itself comes after all that is
/// sure to be wrong: a probe may fail because the gateway takes its time. Before all of them comes what
/// holds the clock, or nobody would understand why no deadline passes.
const POLICIES: &[Policy] = &[
    |s, _| waits_for_others(s.observed),
    pods::crash_loop,
    pods::killed_by_its_probe,
    |s, _| pods::runs_as_root(s.observed),
    |s, _| pods::config_missing(s.observed),
    |s, _| pods::image_not_pullable(s.observed),
    pods::not_ready,
    |s, _| pods::node_failed(s.observed),
    |s, _| pods::unschedulable(s.observed),
    pods::not_scheduled,
    |s, _| pods_refused(s.observed),
    |s, _| child_refused(s.observed),
    |s, _| child_unanswered(s.observed),
    |s, _| contested(s.observed),
];

/// The cause that is visible now, if any.
pub fn visible_cause(s: &Situation<'_>) -> Option<Cause> {
    cause(s, Patience::Usual).or_else(|| cause_without_budget(s.observed))
}

/// What is known to be wrong where there is no time left in which it could pass.
pub fn known_cause(s: &Situation<'_>) -> Option<Cause> {
    cause(s, Patience::Over)
}

fn cause(s: &Situation<'_>, patience: Patience) -> Option<Cause> {
    POLICIES.iter().find_map(|policy| policy(s, patience))
}

/// Why the PodDisruptionBudget is not as desired. No start waits for it, and nothing is as asked without it.
pub fn cause_without_budget(observed: &Observed) -> Option<Cause> {
    if observed.disruption_budget.is_settled() || observed.disruption_budget == Presence::Expected {
        return None;
    }
    cause_of_child(observed, Child::PodDisruptionBudget)
}

/// Why a child is not written, or deleted, where it was tried.
pub fn cause_of_child(observed: &Observed, child: Child) -> Option<Cause> {
    let refused = observed.refusal.as_ref().filter(|refused| refused.child == child);
    let unanswered = observed.unanswered.as_ref().filter(|unanswered| unanswered.child == child);
    refused.map(refused_child).or_else(|| unanswered.map(unanswered_child))
}

/// The cause of a failed attempt: the known one, what was in the way, or how far it came.
pub fn cause_of_failure(s: &Situation<'_>) -> Cause {
    known_cause(s)
        .or_else(|| child_going(s))
        .or_else(|| s.obstacle().map(|obstacle| obstacle_cause(s, &obstacle)))
        .unwrap_or_else(|| slow_start(s))
}

/// A child that was deleted stays, and nothing can be made in its place.
pub fn child_going(s: &Situation<'_>) -> Option<Cause> {
    let Going { child, finalizers, .. } = s.late_child()?;
    let (kind, name) = (child.kind(), s.gateway.name_or_empty());
    let held_by = match finalizers.as_slice() {
        [] => "no finalizer holds it".to_owned(),
        some => format!("held by {}", say(&some.join(", "))),
    };
    Some(Cause::new(
        Reason::WaitingForDeletion,
        format!("{kind} {name:?} was deleted and is not gone, {held_by}"),
        format!(
            "It is made anew once it is gone: look at its finalizers, and at who is to remove them (kubectl get {kind} {name} -o yaml)."
        ),
    ))
}

fn pods_refused(observed: &Observed) -> Option<Cause> {
    if outage::of_pods(observed).is_some() {
        return None;
    }
    let message = observed.rollout.replica_failure.as_ref()?;
    Some(refusal("the pods of the Deployment", message, is_quota(message)))
}

fn child_refused(observed: &Observed) -> Option<Cause> {
    observed.refusal.as_ref().filter(|refused| refused.child != Child::PodDisruptionBudget).map(refused_child)
}

fn refused_child(refused: &Refusal) -> Cause {
    refusal(&format!("the {}", refused.child.kind()), &refused.message, refused.quota)
}

fn waits_for_others(observed: &Observed) -> Option<Cause> {
    // What a Deployment says about an API server that was away is read once it is back: it is over, and no news.
    let is_news = |outage: &Outage<'_>| outage.what != What::Pods || outage.by != Absent::Cluster;
    outage::of(observed).filter(is_news).map(|outage| absence(&outage))
}

fn child_unanswered(observed: &Observed) -> Option<Cause> {
    let needed = |unanswered: &&Unanswered| unanswered.child != Child::PodDisruptionBudget;
    observed.unanswered.as_ref().filter(needed).map(unanswered_child)
}

fn unanswered_child(unanswered: &Unanswered) -> Cause {
    match outage::of_child(unanswered) {
        Some(outage) => absence(&outage),
        None => Cause::new(
            Reason::WriteUnanswered,
            format!(
                "the {} cannot be written: {}, although it answers others",
                unanswered.child.kind(),
                say(&unanswered.words)
            ),
            "Ask who runs the cluster. Mostly an admission webhook takes its time: kubectl get \
             validatingwebhookconfigurations,mutatingwebhookconfigurations.",
        ),
    }
}

/// Who is away, and that the gateway is not to blame.
fn absence(outage: &Outage<'_>) -> Cause {
    const GOES_ON: &str = "It goes on by itself, and no deadline runs meanwhile.";
    let what = match outage.what {
        What::Child(child) => format!("the {}", child.kind()),
        What::Pods => "the pods of the Deployment".to_owned(),
    };
    let words = say(outage.words);
    match &outage.by {
        Absent::Webhook(webhook) => Cause::new(
            Reason::WebhookUnavailable,
            format!(
                "{what} cannot be written: the webhook {webhook:?}, which the API server has to ask, is away: {words}"
            ),
            format!("{GOES_ON} Ask who runs that webhook."),
        ),
        Absent::Permission => Cause::new(
            Reason::OperatorNotPermitted,
            format!("the operator may not write {what}: {words}"),
            format!("{GOES_ON} Ask who runs the operator to give it the roles of deploy/rbac."),
        ),
        Absent::Cluster | Absent::Unknown => Cause::new(
            Reason::ClusterUnavailable,
            format!("{what} cannot be written: the API server or its storage is away: {words}"),
            format!("{GOES_ON} Ask who runs the cluster."),
        ),
    }
}

fn contested(observed: &Observed) -> Option<Cause> {
    let repaired = observed.writes.repaired.iter().find(|repaired| repaired.is_contested())?;
    let Repair { child, path, manager } = &repaired.last;
    let kind = child.kind();
    let by = manager.as_ref().map_or_else(String::new, |manager| format!(", last by {}", say(manager)));
    let what = if path.is_empty() {
        format!("the {kind} is deleted again each time it is made anew{by}")
    } else {
        format!("the {kind} is changed again each time it is put right{by}: {path}")
    };
    let hint = "It is put right ever more seldom, and what serves is left alone. Find out who changes it and have that stopped, \
                or set in the gateway's spec what they want.";
    Some(Cause::new(Reason::Contested, what, hint))
}

/// Whether the API server's words speak of a ResourceQuota. It has no reason of its own for them.
pub fn is_quota(message: &str) -> bool {
    ["exceeded quota", "failed quota", "status unknown for quota", "insufficient quota"]
        .iter()
        .any(|words| message.contains(words))
}

fn refusal(what: &str, message: &str, quota: bool) -> Cause {
    if quota {
        let hint = kubelets::values_that_a_quota_wants(message).unwrap_or_else(|| {
            "Free or raise the ResourceQuota of the namespace, or lower spec.replicas or spec.resources.".to_owned()
        });
        Cause::new(Reason::QuotaExceeded, format!("the namespace's quota refuses {what}: {}", say(message)), hint)
    } else {
        Cause::new(
            Reason::AdmissionRefused,
            format!("the API server refuses {what}: {}", say(message)),
            "Change the field that the refusal names, or ask who runs the cluster about the rule.",
        )
    }
}

/// What is in the gateway's way, in words.
pub fn obstacle_cause(s: &Situation<'_>, obstacle: &Obstacle) -> Cause {
    let name = s.gateway.name_or_empty();
    let reason = obstacle.reason();
    match obstacle {
        Obstacle::HostTaken { host, by } => Cause::new(
            reason,
            format!("host {host:?} is held by {}", say(by)),
            "Choose another spec.host, or wait until its holder drops it.",
        ),
        Obstacle::HostNotAllowed { host, allowed } => Cause::new(
            reason,
            format!("host {host:?} is not below what the namespace allows: {}", say(allowed)),
            "Choose another spec.host, or ask who runs the cluster about the namespace's allowed hosts.",
        ),
        Obstacle::NotAllowed(breach) => Cause::new(
            reason,
            format!("{}{}", not_allowed(breach), if runs(s) { "; the pods are left as they are" } else { "" }),
            how_to_be_allowed(breach),
        ),
        Obstacle::IngressClassNotAllowed(breach) => {
            Cause::new(reason, not_allowed(breach), format!("{} Or leave it out.", how_to_be_allowed(breach)))
        }
        Obstacle::NameTaken { child, by } => Cause::new(
            reason,
            format!("{} {name:?} exists and belongs to {}; it is left alone", child.kind(), say(by)),
            format!("Delete or rename that {}, or give the gateway another name.", child.kind()),
        ),
        Obstacle::WaitingForDeletion { child } => Cause::new(
            reason,
            format!("{} {name:?} of an earlier gateway of this name is still there", child.kind()),
            format!(
                "It goes on by itself once garbage collection has deleted that; where it does not, look at its finalizers. To \
                 take it over instead, set the annotation {ADOPT_ANNOTATION} to \"true\"."
            ),
        ),
    }
}

fn not_allowed(breach: &NotAllowed) -> String {
    let NotAllowed { field, asked, by, instead } = breach;
    format!("{field} {asked} is not allowed: {by} {instead}")
}

fn how_to_be_allowed(breach: &NotAllowed) -> String {
    format!("Change {}, or ask who runs the cluster; it goes on by itself once it is allowed.", breach.field)
}

/// Whether pods of the gateway may be there.
fn runs(s: &Situation<'_>) -> bool {
    s.observed.deployment.is_ours()
}

fn slow_start(s: &Situation<'_>) -> Cause {
    let observed = s.observed;
    let rollout = &observed.rollout;
    let step = if let Some((child, presence)) = observed
        .children()
        .into_iter()
        .find(|(child, presence)| *child != Child::PodDisruptionBudget && !presence.is_settled())
    {
        let number = match child {
            Child::Deployment => 2,
            Child::Service => 3,
            Child::Ingress | Child::PodDisruptionBudget => 4,
        };
        let how = match presence {
            Presence::Terminating => "is still being deleted",
            Presence::Missing => "was not created",
            _ => "is not as desired",
        };
        format!("step {number} of 5: the {} {how}", child.kind())
    } else if rollout.behind {
        "step 2 of 5: the Deployment was not taken up by its controller".to_owned()
    } else if !readiness::workload_ready(observed) {
        format!("step 2 of 5: {} of {} replicas are available", rollout.available, rollout.desired)
    } else {
        let waiting = observed.environments.iter().filter(|env| !env.active && !env.refused).count();
        format!("step 5 of 5: {waiting} environments are not active")
    };
    let elapsed = s
        .gateway
        .status
        .as_ref()
        .and_then(|status| status.attempt.as_ref())
        .map(|attempt| deadline::elapsed(attempt, s.moment).as_secs())
        .unwrap_or_default();
    let pod = pods::how_far(observed).unwrap_or_else(|| "nothing says why".to_owned());
    Cause::new(
        Reason::SlowStart,
        format!("{step} after {elapsed} s, and {pod}"),
        "Look at the pods' logs; if the gateway is only slow, raise spec.startDeadline.",
    )
}

/// How a timed-out gateway is tried again.
pub fn how_to_retry() -> String {
    format!("To try again, change the spec, or set the annotation {RETRY_ANNOTATION} to a new value.")
}
