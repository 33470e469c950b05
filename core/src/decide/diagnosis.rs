//! Diagnosis: why a gateway does not start. Two ordered lists of small policies, one for pods and one for the
//! operator's writes. If both find a cause, both are reported. `pods` holds the policies about pods,
//! `grace_period` says how long a trouble that may pass is tolerated, and `kubelet_messages` parses messages of
//! nodes, runtimes and registries.
//!
//! **Architecture invariant:** this module is pure. It imports `api`, `children`, and of `decide` only the
//! facts and what follows from them: `observed`, `situation`, `outage`, `readiness`, `deadline` and `words`.
//! The order of each list alone determines which cause is reported. A cause states only what was observed.

mod grace_period;
mod kubelet_messages;
mod pods;
mod route;

use std::time::Duration;

use super::allowance::NotAllowed;
use super::observed::{
    Child, MissingDependency, Observed, Presence, Refusal, Repair, Rollout, Target, TerminatingChild, Unanswered,
    Unsupported,
};
use super::outage::{self, BlockedWrite, Outage};
use super::place::Place;
use super::situation::{Blocker, Situation};
use super::words::{ended, plain, say};
use super::{deadline, readiness};
use crate::api::{ADOPT_ANNOTATION, RETRY_ANNOTATION, Reason, State};
use crate::children::{GATEWAY_API, InvalidField};

/// A cause, worded for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The cause as one word.
    pub reason: Reason,
    /// A sentence that names the object.
    pub message: String,
    /// What to do.
    pub hint: String,
    /// The image that it concerns, if any.
    pub image: Option<String>,
    /// The reason of the second cause that is reported with it.
    pub beside: Option<Reason>,
    /// A word in the message that somebody else chose. With another word the message is rewritten.
    pub word: Option<String>,
}

impl Cause {
    fn new(reason: Reason, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { reason, message: plain(&message.into()), hint: hint.into(), image: None, beside: None, word: None }
    }

    /// Combines this cause with a second one.
    fn and(self, other: Self) -> Self {
        Self {
            reason: self.reason,
            message: format!("{}; also, {}", self.message.trim_end_matches('.'), other.message),
            hint: format!("{} {}", ended(&self.hint), other.hint),
            image: self.image.or(other.image),
            beside: Some(other.reason),
            word: self.word.or(other.word),
        }
    }
}

pub use grace_period::{GracePeriod, events_are_due_in};
pub use pods::not_ready_yet;

/// Policies about pods; the first match wins. A pod's trouble is deeper than its Deployment's. Among pods, the
/// one that came furthest counts, since the others would hit its trouble next. Troubles that may pass come
/// last: a failing probe may only mean that the gateway is slow.
const OF_PODS: &[fn(&Situation<'_>, GracePeriod) -> Option<Cause>] = &[
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
    |s, grace| held_back(&s.observed.rollout, grace),
];

/// Policies about the operator's writes; the first match wins.
const OF_WRITES: &[fn(&Situation<'_>) -> Option<Cause>] =
    &[waits_for_others, needed_child_terminating, write_refused, write_unanswered, |s| contested(s.observed)];

/// The time until a tolerated trouble becomes a cause.
pub fn grace_ends_in(s: &Situation<'_>) -> Option<Duration> {
    grace_period::with_pods_ends_in(s).into_iter().chain(route::grace_ends_in(s)).min()
}

/// The cause that is visible now, if any.
pub fn visible_cause(s: &Situation<'_>) -> Option<Cause> {
    cause(s, GracePeriod::Usual).or_else(|| cause_beside(s))
}

/// The known cause once no time is left for a trouble to pass.
pub fn known_cause(s: &Situation<'_>) -> Option<Cause> {
    cause(s, GracePeriod::Over)
}

/// A cause from the pods is deeper than one from our writes, unless the current pods are not the requested
/// ones. Before both come causes that hold the clock (or nobody would understand why no deadline passes) and
/// objects that somebody must remove first.
fn cause(s: &Situation<'_>, grace: GracePeriod) -> Option<Cause> {
    let pods = OF_PODS.iter().find_map(|policy| policy(s, grace));
    let writes = OF_WRITES.iter().find_map(|policy| policy(s)).or_else(|| route::not_accepted(s, grace));
    let (Some(pods), Some(writes)) = (&pods, &writes) else { return pods.or(writes) };
    let (pods, writes) = (pods.clone(), writes.clone());
    let holds = waits_for_others(s).is_some() || needed_child_terminating(s).is_some();
    let is_asked_otherwise = s.observed.is_blocked(&Target::Child(Child::Deployment));
    Some(if holds || is_asked_otherwise { writes.and(pods) } else { pods.and(writes) })
}

/// The cause for parts that a started gateway does not wait for: the PodDisruptionBudget and the environments.
pub fn cause_beside(s: &Situation<'_>) -> Option<Cause> {
    let budget = &s.observed.disruption_budget;
    let is_there = budget.is_settled() || *budget == Presence::Expected;
    let hindered = cause_of(s.observed, |what| *what == Target::Child(Child::PodDisruptionBudget));
    let without_budget = || hindered.or_else(|| child_terminating(s));
    let environments = || cause_of(s.observed, |what| matches!(what, Target::Environment(_)));
    if is_there { None } else { without_budget() }.or_else(environments)
}

/// Why a write or a deletion fails, if it was tried.
pub fn cause_of(observed: &Observed, is_meant: impl Fn(&Target) -> bool) -> Option<Cause> {
    let refused = observed.refusal.as_ref().filter(|refused| is_meant(&refused.what));
    let unanswered = observed.unanswered.as_ref().filter(|unanswered| is_meant(&unanswered.what));
    refused.map(of_refusal).or_else(|| unanswered.map(of_unanswered))
}

/// Whether progress depends on a write: in this phase, and whoever else would make it.
fn is_needed(s: &Situation<'_>, what: &Target) -> bool {
    match what {
        Target::Child(child) => *child != Child::PodDisruptionBudget,
        Target::Environment(_) => s.place().is_some_and(Place::is_attempt),
        Target::Finalizers | Target::Status => true,
    }
}

/// The cause of a failed attempt that leaves the gateway in `state`: the known cause, the blocker, or how far
/// the start came.
pub fn cause_of_failure(s: &Situation<'_>, state: State) -> Cause {
    known_cause(s)
        .or_else(|| s.blocker().map(|blocker| blocker_cause(s, &blocker)))
        .unwrap_or_else(|| slow_start(s, state))
}

fn needed_child_terminating(s: &Situation<'_>) -> Option<Cause> {
    s.late_child()
        .filter(|terminating| terminating.child != Child::PodDisruptionBudget)
        .and_then(|_| child_terminating(s))
}

/// A deleted child does not go away, so it cannot be recreated.
pub fn child_terminating(s: &Situation<'_>) -> Option<Cause> {
    let TerminatingChild { child, finalizers, .. } = s.late_child()?;
    let (kind, name) = (child.kind(), s.gateway.name_or_empty());
    let held_by = match finalizers.as_slice() {
        [] => "it has no finalizer".to_owned(),
        some => format!("held by {}", first_of(some)),
    };
    Some(Cause::new(
        Reason::WaitingForDeletion,
        format!("{kind} {name:?} is still terminating, {held_by}"),
        format!(
            "The operator recreates it once it is gone. Check its finalizers and their controllers (kubectl get \
             {kind} {name} -o yaml)."
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

/// What stops a rollout although nothing is wrong with its pods.
fn held_back(rollout: &Rollout, grace: GracePeriod) -> Option<Cause> {
    if rollout.complete {
        return None;
    }
    if rollout.paused {
        return Some(Cause::new(
            Reason::DeploymentPaused,
            "the Deployment is paused, so no rollout happens; the gateway's spec does not pause it",
            "Ask the cluster administrator which webhook or policy pauses Deployments. Once that is fixed, set \
             spec.state to Stopped and then to Running to recreate the Deployment.",
        ));
    }
    let Rollout { desired, ready, available, min_ready_seconds: seconds, .. } = *rollout;
    let waits = seconds > 0 && ready >= desired && available < desired;
    (waits && grace == GracePeriod::Over).then(|| {
        let message = format!(
            "the pods are ready but not yet available: the Deployment has minReadySeconds {seconds}, which is not in \
             the gateway's spec"
        );
        let hint = format!(
            "Ask the cluster administrator what sets it, or raise spec.startDeadline by more than {seconds} s."
        );
        Cause::new(Reason::ReadinessFailing, message, hint)
    })
}

fn write_refused(s: &Situation<'_>) -> Option<Cause> {
    s.observed.refusal.as_ref().filter(|refused| is_needed(s, &refused.what)).map(of_refusal)
}

/// The cause for a refused write.
pub fn of_refusal(refused: &Refusal) -> Cause {
    let Refusal { what, message, quota } = refused;
    let mut cause = refusal(&what.in_words(), message, *quota);
    // The target has no field that a user could change.
    if !matches!(what, Target::Child(_)) {
        cause.hint = format!(
            "Ask the cluster administrator about the admission rule: the operator has to write {}.",
            what.in_words()
        );
    }
    cause
}

fn waits_for_others(s: &Situation<'_>) -> Option<Cause> {
    let is_news = |outage: &Outage<'_>| match outage.what {
        // A Deployment's message about an unavailable API server is read once that is back, so the outage is
        // over.
        BlockedWrite::Pods => outage.by != MissingDependency::Cluster,
        BlockedWrite::Written(what) => is_needed(s, what),
    };
    outage::of(s.observed).filter(is_news).map(|outage| absence(&outage))
}

fn write_unanswered(s: &Situation<'_>) -> Option<Cause> {
    s.observed.unanswered.as_ref().filter(|unanswered| is_needed(s, &unanswered.what)).map(of_unanswered)
}

/// The cause for a write that was neither carried out nor refused.
pub fn of_unanswered(unanswered: &Unanswered) -> Cause {
    match outage::of_write(unanswered) {
        Some(outage) => absence(&outage),
        None => Cause::new(
            Reason::WriteUnanswered,
            format!(
                "writing {} failed: {}; the API server answers other requests",
                unanswered.what.in_words(),
                say(&unanswered.words)
            ),
            "Ask the cluster administrator. Usually an admission webhook is slow: kubectl get \
             validatingwebhookconfigurations,mutatingwebhookconfigurations.",
        ),
    }
}

/// The missing dependency, and that the gateway is not at fault.
fn absence(outage: &Outage<'_>) -> Cause {
    const GOES_ON: &str = "The operator retries automatically, and the start deadline is paused.";
    let what = match outage.what {
        BlockedWrite::Written(what) => what.in_words(),
        BlockedWrite::Pods => "the pods of the Deployment".to_owned(),
    };
    let words = say(outage.words);
    match &outage.by {
        MissingDependency::Webhook(webhook) => Cause::new(
            Reason::WebhookUnavailable,
            format!("writing {what} failed: admission webhook {:?} is unavailable: {words}", say(webhook)),
            format!("{GOES_ON} Ask the webhook's owner."),
        ),
        MissingDependency::Permission => Cause::new(
            Reason::OperatorNotPermitted,
            format!("the operator may not write {what}: {words}"),
            format!("{GOES_ON} Ask the cluster administrator to grant the operator the roles in deploy/rbac."),
        ),
        MissingDependency::Cluster | MissingDependency::Unknown => Cause::new(
            Reason::ClusterUnavailable,
            format!("writing {what} failed: the API server or etcd is unavailable: {words}"),
            format!("{GOES_ON} Ask the cluster administrator."),
        ),
    }
}

fn contested(observed: &Observed) -> Option<Cause> {
    let repaired = observed.writes.repaired.iter().find(|repaired| repaired.is_contested())?;
    let Repair { child, path, manager } = &repaired.last;
    let kind = child.kind();
    let by = manager.as_ref().map_or_else(String::new, |manager| format!(" ({})", say(manager)));
    let what = if path.is_empty() {
        format!("another client{by} deletes the {kind} each time the operator recreates it")
    } else {
        format!("another client{by} changes the {kind} each time the operator reverts it: {path}")
    };
    let hint = "The operator reverts it with increasing backoff; pods keep serving. Find and stop that client, or set \
                the value in the gateway's spec.";
    Some(Cause::new(Reason::Contested, what, hint))
}

/// Whether an API server message is about a ResourceQuota. Kubernetes has no reason for it.
pub fn is_quota(message: &str) -> bool {
    ["exceeded quota", "failed quota", "status unknown for quota", "insufficient quota"]
        .iter()
        .any(|words| message.contains(words))
}

fn refusal(what: &str, message: &str, quota: bool) -> Cause {
    if quota {
        let hint = kubelet_messages::values_that_a_quota_wants(message)
            .unwrap_or_else(|| kubelet_messages::room(message).to_owned());
        Cause::new(Reason::QuotaExceeded, format!("the namespace's quota refuses {what}: {}", say(message)), hint)
    } else {
        let hint = if kubelet_messages::is_of_limit_range(message) {
            "Keep spec.resources within the namespace's LimitRange (kubectl describe limitrange), or ask the cluster \
             administrator."
        } else {
            "Change the field that the refusal names, or ask the cluster administrator about the rule."
        };
        Cause::new(Reason::AdmissionRefused, format!("the API server refuses {what}: {}", say(message)), hint)
    }
}

/// The message about a field with an unusable value.
pub fn say_invalid_field(invalid_field: &InvalidField) -> String {
    let value = invalid_field.value.as_ref().map_or_else(String::new, |value| format!(" {:?}", say(value)));
    format!("{}: invalid value{value}: {}", say(&invalid_field.field), invalid_field.why)
}

/// The cause for a blocker.
pub fn blocker_cause(s: &Situation<'_>, blocker: &Blocker) -> Cause {
    let name = s.gateway.name_or_empty();
    let reason = blocker.reason();
    match blocker {
        Blocker::Host(refusal) => Cause::new(reason, &refusal.message, refusal.hint),
        Blocker::NotAllowed(violation) => Cause::new(
            reason,
            format!("{}{}", not_allowed(violation), if runs(s) { "; the running pods are unchanged" } else { "" }),
            how_to_be_allowed("Change", violation),
        ),
        Blocker::IngressClassNotAllowed(violation) | Blocker::ParentRefNotAllowed(violation) => {
            Cause::new(reason, not_allowed(violation), how_to_be_allowed("Change or remove", violation))
        }
        Blocker::ExposureUnsupported(why) => unsupported(s, why),
        Blocker::InvalidField(invalid_field) => Cause::new(
            reason,
            say_invalid_field(invalid_field),
            "Correct the field. Until then operator started and changes no pod; a stop works.",
        ),
        Blocker::NameTaken { child, by } => Cause::new(
            reason,
            format!(
                "{} {name:?} already exists and belongs to {}; the operator does not touch it",
                child.kind(),
                say(by)
            ),
            format!("Delete or rename that {}, or rename the gateway.", child.kind()),
        ),
        Blocker::WaitingForDeletion { child } => Cause::new(
            reason,
            format!("{} {name:?} of a deleted gateway with this name still exists", child.kind()),
            format!(
                "The start continues once garbage collection has deleted it; if it stays, check its finalizers. To \
                 adopt it instead, set the annotation {ADOPT_ANNOTATION} to \"true\"."
            ),
        ),
    }
}

/// The cause why an HTTPRoute cannot be created.
fn unsupported(s: &Situation<'_>, why: &Unsupported) -> Cause {
    let asked = format!("spec.exposure {} needs", s.gateway.spec.exposure());
    let (message, hint) = match why {
        Unsupported::NoDefinition => (
            format!(
                "{asked} the Gateway API, but the cluster has no CustomResourceDefinition httproutes.{GATEWAY_API} \
                 with version v1"
            ),
            "Ask the cluster administrator to install the Gateway API, or set spec.exposure to Ingress. The start \
             continues once it is installed.",
        ),
        Unsupported::NotPermitted(words) => (
            format!("{asked} HTTPRoutes, but the operator may not read them: {}", say(words)),
            "Ask the cluster administrator to grant the operator the roles in deploy/rbac. The start then continues.",
        ),
        Unsupported::NoParent => (
            format!("{asked} a Gateway, but none is named"),
            "Name one in spec.parentRefs, or ask the cluster administrator for a default (--default-parent-refs).",
        ),
    };
    Cause::new(Reason::ExposureUnsupported, message, hint)
}

fn not_allowed(violation: &NotAllowed) -> String {
    let NotAllowed { field, asked, by, instead } = violation;
    format!("{field} {asked} is not allowed: {by} {instead}")
}

fn how_to_be_allowed(what_to_do: &str, violation: &NotAllowed) -> String {
    let field = &violation.field;
    format!("{what_to_do} {field}, or ask the cluster administrator. The operator continues once it is allowed.")
}

/// Whether the gateway may have pods.
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
            Child::Ingress | Child::HttpRoute | Child::PodDisruptionBudget => 4,
        };
        let how = match presence {
            Presence::Terminating => "is still being deleted",
            Presence::Missing => "was not created",
            _ => "differs from its desired state",
        };
        format!("step {number} of 5: the {} {how}", child.kind())
    } else if rollout.behind {
        "step 2 of 5: the Deployment was not observed by its controller".to_owned()
    } else if !readiness::workload_ready(observed) {
        format!("step 2 of 5: {} of {} replicas are available", rollout.available, rollout.desired)
    } else {
        let waiting = observed.environments.iter().filter(|environment| environment.is_awaited()).count();
        format!("step 5 of 5: {waiting} environments are not active")
    };
    let elapsed = s
        .gateway
        .status
        .as_ref()
        .and_then(|status| status.attempt.as_ref())
        .map(|attempt| deadline::elapsed(attempt, s.moment).as_secs())
        .unwrap_or_default();
    let pod = pods::how_far(observed).unwrap_or_else(|| "no pod reports a cause".to_owned());
    Cause::new(
        Reason::SlowStart,
        format!("{step} after {elapsed} s; {pod}"),
        match state {
            State::Stopped => "Check the pods' logs. If the gateway is only slow, raise spec.startDeadline.",
            // A new deadline alone does not roll a gateway that serves.
            _ => {
                "Check the pods' logs. If the gateway is only slow, raise spec.startDeadline and restart it; running \
                 pods keep the startup probe they were created with."
            }
        },
    )
}

/// How many names of others a message lists.
const NAMED: usize = 3;

/// The first names of others, such as finalizers. Anybody may write any number of them, of any length.
pub(super) fn first_of(names: &[String]) -> String {
    let others = if names.len() > NAMED { " and others" } else { "" };
    format!("{}{others}", say(&names[..names.len().min(NAMED)].join(", ")))
}

/// The hint about retrying a gateway that timed out.
pub fn how_to_retry() -> String {
    format!("To retry, change the spec, or set the annotation {RETRY_ANNOTATION} to a new value.")
}
