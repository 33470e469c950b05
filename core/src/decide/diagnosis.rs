//! Why a gateway does not start: two ordered lists of small policies, one of what the pods say and one of what became of our
//! writes. Where both have a cause both are told. `pods` holds those that ask the pods, `patience` says how long a trouble may
//! last that may pass by itself, and `kubelets` reads the words of node, runtime and registry.
//!
//! May import `api`, `children`, and of `decide` the facts and what follows from them: `observed`, `situation`,
//! `outage`, `readiness`, `deadline` and `words`. Invariants: pure; the order of a list alone says which of its causes is told;
//! and a cause says only what was observed.

mod kubelets;
mod patience;
mod pods;

use super::allowance::NotAllowed;
use super::observed::{Absent, Child, Going, Observed, Presence, Refusal, Repair, Target, Unanswered};
use super::outage::{self, Outage, What};
use super::place::Place;
use super::situation::{Obstacle, Situation};
use super::words::{ended, plain, say};
use super::{deadline, readiness};
use crate::api::{ADOPT_ANNOTATION, RETRY_ANNOTATION, Reason, State};
use crate::children::Unfit;

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
    /// The reason of the cause that is told with it.
    pub beside: Option<Reason>,
}

impl Cause {
    fn new(reason: Reason, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { reason, message: plain(&message.into()), hint: plain(&hint.into()), image: None, beside: None }
    }

    /// This cause, and another that is there as well.
    fn and(self, other: Self) -> Self {
        Self {
            reason: self.reason,
            message: format!("{}; besides, {}", self.message.trim_end_matches('.'), other.message),
            hint: format!("{} {}", ended(&self.hint), other.hint),
            image: self.image.or(other.image),
            beside: Some(other.reason),
        }
    }
}

pub use patience::{Patience, events_are_due_in, patience_ends_in};
pub use pods::not_ready_yet;

/// What the pods say: first match wins. What a pod says is deeper than what its Deployment says. Of pods, that one is asked
/// first which came furthest: whatever keeps the others, its own trouble would be theirs next. Only what may pass by itself
/// comes after all that is sure to be wrong: a probe may fail because the gateway takes its time.
const OF_PODS: &[fn(&Situation<'_>, Patience) -> Option<Cause>] = &[
    pods::crash_loop,
    pods::killed_by_its_probe,
    |s, _| pods::runs_as_root(s.observed),
    pods::config_missing,
    |s, _| pods::image_not_pullable(s.observed),
    pods::not_ready,
    |s, _| pods::node_failed(s.observed),
    pods::unschedulable,
    pods::not_scheduled,
    |s, _| pods_refused(s.observed),
];

/// What became of our writes: first match wins.
const OF_WRITES: &[fn(&Situation<'_>) -> Option<Cause>] =
    &[waits_for_others, needed_child_going, write_refused, write_unanswered, |s| contested(s.observed)];

/// The cause that is visible now, if any.
pub fn visible_cause(s: &Situation<'_>) -> Option<Cause> {
    cause(s, Patience::Usual).or_else(|| cause_beside(s))
}

/// What is known to be wrong where there is no time left in which it could pass.
pub fn known_cause(s: &Situation<'_>) -> Option<Cause> {
    cause(s, Patience::Over)
}

/// What the pods say is deeper than what the API server said to the operator, unless the pods are not those that are asked
/// for. First of all comes what holds the clock, or nobody would understand why no deadline passes, and what somebody has to
/// remove before anything can be made.
fn cause(s: &Situation<'_>, patience: Patience) -> Option<Cause> {
    let pods = OF_PODS.iter().find_map(|policy| policy(s, patience));
    let writes = OF_WRITES.iter().find_map(|policy| policy(s));
    let (Some(pods), Some(writes)) = (&pods, &writes) else { return pods.or(writes) };
    let (pods, writes) = (pods.clone(), writes.clone());
    let holds = waits_for_others(s).is_some() || needed_child_going(s).is_some();
    let is_asked_otherwise = s.observed.is_hindered(&Target::Child(Child::Deployment));
    Some(if holds || is_asked_otherwise { writes.and(pods) } else { pods.and(writes) })
}

/// What a gateway that has started does not wait for, and without which it is not as asked: the PodDisruptionBudget, and its
/// environments.
pub fn cause_beside(s: &Situation<'_>) -> Option<Cause> {
    let budget = &s.observed.disruption_budget;
    let is_there = budget.is_settled() || *budget == Presence::Expected;
    let hindered = cause_of(s.observed, |what| *what == Target::Child(Child::PodDisruptionBudget));
    let without_budget = || hindered.or_else(|| child_going(s));
    let environments = || cause_of(s.observed, |what| matches!(what, Target::Environment(_)));
    if is_there { None } else { without_budget() }.or_else(environments)
}

/// Why something is not written, or deleted, where it was tried.
pub fn cause_of(observed: &Observed, is_meant: impl Fn(&Target) -> bool) -> Option<Cause> {
    let refused = observed.refusal.as_ref().filter(|refused| is_meant(&refused.what));
    let unanswered = observed.unanswered.as_ref().filter(|unanswered| is_meant(&unanswered.what));
    refused.map(of_refusal).or_else(|| unanswered.map(of_unanswered))
}

/// Whether nothing goes on without a write: where the gateway is, and whoever else is to make it.
fn is_needed(s: &Situation<'_>, what: &Target) -> bool {
    match what {
        Target::Child(child) => *child != Child::PodDisruptionBudget,
        Target::Environment(_) => s.place().is_some_and(Place::is_attempt),
        Target::Finalizers | Target::Status => true,
    }
}

/// The cause of a failed attempt, after which the gateway is in a state: the known one, what was in the way, or how far it came.
pub fn cause_of_failure(s: &Situation<'_>, state: State) -> Cause {
    known_cause(s)
        .or_else(|| s.obstacle().map(|obstacle| obstacle_cause(s, &obstacle)))
        .unwrap_or_else(|| slow_start(s, state))
}

fn needed_child_going(s: &Situation<'_>) -> Option<Cause> {
    s.late_child().filter(|going| going.child != Child::PodDisruptionBudget).and_then(|_| child_going(s))
}

/// A child that was deleted stays, and nothing can be made in its place.
pub fn child_going(s: &Situation<'_>) -> Option<Cause> {
    let Going { child, finalizers, .. } = s.late_child()?;
    let (kind, name) = (child.kind(), s.gateway.name_or_empty());
    let held_by = match finalizers.as_slice() {
        [] => "no finalizer holds it".to_owned(),
        some => format!("held by {}", first_of(some)),
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

fn write_refused(s: &Situation<'_>) -> Option<Cause> {
    s.observed.refusal.as_ref().filter(|refused| is_needed(s, &refused.what)).map(of_refusal)
}

/// A write that was refused.
pub fn of_refusal(refused: &Refusal) -> Cause {
    let Refusal { what, message, quota } = refused;
    let mut cause = refusal(&what.in_words(), message, *quota);
    // There is no field in it that a user could change.
    if !matches!(what, Target::Child(_)) {
        cause.hint = format!("Ask who runs the cluster about the rule: the operator has to write {}.", what.in_words());
    }
    cause
}

fn waits_for_others(s: &Situation<'_>) -> Option<Cause> {
    let is_news = |outage: &Outage<'_>| match outage.what {
        // What a Deployment says about an API server that was away is read once it is back: it is over, and no news.
        What::Pods => outage.by != Absent::Cluster,
        What::Written(what) => is_needed(s, what),
    };
    outage::of(s.observed).filter(is_news).map(|outage| absence(&outage))
}

fn write_unanswered(s: &Situation<'_>) -> Option<Cause> {
    s.observed.unanswered.as_ref().filter(|unanswered| is_needed(s, &unanswered.what)).map(of_unanswered)
}

/// A write that was neither carried out nor refused.
pub fn of_unanswered(unanswered: &Unanswered) -> Cause {
    match outage::of_write(unanswered) {
        Some(outage) => absence(&outage),
        None => Cause::new(
            Reason::WriteUnanswered,
            format!(
                "{} cannot be written: {}, although it answers others",
                unanswered.what.in_words(),
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
        What::Written(what) => what.in_words(),
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
        let hint = kubelets::values_that_a_quota_wants(message).unwrap_or_else(|| kubelets::room(message).to_owned());
        Cause::new(Reason::QuotaExceeded, format!("the namespace's quota refuses {what}: {}", say(message)), hint)
    } else {
        let hint = if kubelets::is_of_limit_range(message) {
            "Keep spec.resources within the LimitRange of the namespace (kubectl describe limitrange), or ask who runs the cluster."
        } else {
            "Change the field that the refusal names, or ask who runs the cluster about the rule."
        };
        Cause::new(Reason::AdmissionRefused, format!("the API server refuses {what}: {}", say(message)), hint)
    }
}

/// What is wrong with a field that is not sent to anybody.
pub fn say_unfit(unfit: &Unfit) -> String {
    let value = unfit.value.as_ref().map_or_else(String::new, |value| format!(" is {:?}, which", say(value)));
    format!("{}{value} is not sent to anybody: {}", say(&unfit.field), unfit.why)
}

/// What is in the gateway's way, in words.
pub fn obstacle_cause(s: &Situation<'_>, obstacle: &Obstacle) -> Cause {
    let name = s.gateway.name_or_empty();
    let reason = obstacle.reason();
    match obstacle {
        Obstacle::Host(refusal) => Cause::new(reason, &refusal.message, refusal.hint),
        Obstacle::NotAllowed(breach) => Cause::new(
            reason,
            format!("{}{}", not_allowed(breach), if runs(s) { "; the pods are left as they are" } else { "" }),
            how_to_be_allowed(breach),
        ),
        Obstacle::IngressClassNotAllowed(breach) => {
            Cause::new(reason, not_allowed(breach), format!("{} Or leave it out.", how_to_be_allowed(breach)))
        }
        Obstacle::Unfit(unfit) => Cause::new(
            reason,
            say_unfit(unfit),
            "Correct the field. Until then no pod is started or changed; a stop works.",
        ),
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

fn slow_start(s: &Situation<'_>, state: State) -> Cause {
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
        match state {
            State::Stopped => "Look at the pods' logs; if the gateway is only slow, raise spec.startDeadline.",
            // What serves is not rolled for a deadline alone.
            _ => {
                "Look at the pods' logs; if the gateway is only slow, raise spec.startDeadline and restart it: its pods keep \
                 the time that they were made with."
            }
        },
    )
}

/// How many of somebody's names are told.
const NAMED: usize = 3;

/// The first of somebody's names, such as finalizers: anybody may write any number of any length.
pub(super) fn first_of(names: &[String]) -> String {
    let others = if names.len() > NAMED { " and others" } else { "" };
    format!("{}{others}", say(&names[..names.len().min(NAMED)].join(", ")))
}

/// How a timed-out gateway is tried again.
pub fn how_to_retry() -> String {
    format!("To try again, change the spec, or set the annotation {RETRY_ANNOTATION} to a new value.")
}
