//! What a stop waits for and what it leaves alone, as messages.
//!
//! **Architecture invariant:** this module only reports what remains. The steps of a stop come from `phase`.

use super::diagnosis::{self, Cause};
use super::observed::{Child, EnvironmentFacts, Observed, PodTermination, Presence, RemainingPod, Target};
use super::situation::Situation;
use crate::api::Reason;
use crate::children::NAME_LABEL;

/// What a stop waits for.
pub(super) struct Remaining {
    /// The message.
    pub(super) message: String,
    /// What keeps it. Other pods that are kept by the same yield the same text, so the message need not change.
    pub(super) kept_by: String,
}

/// What a stop waits for: the first in the order of teardown.
pub(super) fn remaining(s: &Situation<'_>) -> Remaining {
    let name = s.gateway.name_or_empty();
    let observed = s.observed;
    let child = [
        (Child::Ingress, &observed.ingress),
        (Child::HttpRoute, &observed.http_route),
        (Child::PodDisruptionBudget, &observed.disruption_budget),
        (Child::Service, &observed.service),
        (Child::Deployment, &observed.deployment),
    ]
    .into_iter()
    .find(|(_, presence)| presence.is_ours());
    let active = observed.environments.iter().find(|environment| environment.active);
    match (child, active) {
        (Some((child, Presence::Terminating)), _) => {
            let message = format!("the deletion of {} {name:?}: check its finalizers", child.kind());
            Remaining { message, kept_by: format!("the finalizers of the {}", child.kind()) }
        }
        (Some((child, _)), _) => {
            to_be_written(observed, format!("the deletion of {} {name:?}", child.kind()), &Target::Child(child))
        }
        (None, Some(EnvironmentFacts { name, .. })) => {
            let what = format!("the deactivation of Environment {name:?}");
            to_be_written(observed, what, &Target::Environment(name.clone()))
        }
        (None, None) => {
            let pods = &observed.pods;
            let kept_by = pods.remaining.first().map_or_else(String::new, what_keeps);
            Remaining { message: last_pods(&pods.remaining, pods.total), kept_by }
        }
    }
}

/// The pending write, and why it fails, if known.
fn to_be_written(observed: &Observed, what: String, target: &Target) -> Remaining {
    match diagnosis::cause_of(observed, |other| other == target) {
        Some(cause) => {
            Remaining { message: format!("{what}: {}", cause.message), kept_by: format!("{what}: {}", cause.reason) }
        }
        None => Remaining { message: what.clone(), kept_by: what },
    }
}

/// What blocks a stop, if known. It is reported at once, since it does not pass by itself.
pub(super) fn blocking_cause(s: &Situation<'_>) -> Option<Cause> {
    let observed = s.observed;
    let cause = diagnosis::cause_of(observed, |what| match what {
        Target::Child(child) => observed.child(*child).is_ours(),
        Target::Environment(name) => observed.environments.iter().any(|other| other.active && other.name == *name),
        Target::Finalizers | Target::Status => false,
    })?;
    let hint = match cause.reason {
        Reason::AdmissionRefused => "Ask the cluster administrator about the admission rule.".to_owned(),
        _ => cause.hint,
    };
    Some(Cause { message: format!("the stop is blocked: {}", cause.message), hint, ..cause })
}

/// The first pods by name, and what keeps each. Without counts, which would cost a status write per pod.
fn last_pods(left: &[RemainingPod], total: usize) -> String {
    let mut told: Vec<String> = left.iter().map(|pod| format!("pod {}{}", pod.pod, what_keeps(pod))).collect();
    if total > left.len() {
        told.push("others".to_owned());
    }
    format!("its last pods: {}", told.join("; "))
}

fn what_keeps(pod: &RemainingPod) -> String {
    let Some(PodTermination { node, finalizers }) = &pod.termination else {
        return ", which has no deletion timestamp: delete it".to_owned();
    };
    let node = node.as_ref().map_or_else(String::new, |node| format!(" on node {node}"));
    match finalizers.as_slice() {
        [] if node.is_empty() => ", terminating".to_owned(),
        [] => format!("{node}: check the node; if it is gone for good, delete the pod with --force"),
        several => {
            let names = diagnosis::first_of(several);
            format!("{node}, held by finalizers ({names}): check their controllers, or remove them")
        }
    }
}

/// Pods that are left alone although they carry the gateway's label.
pub(super) fn left_alone(s: &Situation<'_>) -> Option<String> {
    let first = s.observed.pods.unowned.first()?;
    let others = if s.observed.pods.unowned.len() > 1 { " and others" } else { "" };
    Some(format!(
        "pod {first}{others} has the gateway's label but no owner reference and is left running. Delete it, or remove \
         its label {NAME_LABEL}"
    ))
}
