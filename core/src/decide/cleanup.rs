//! What a stop waits for, and what it leaves alone, in words.

use super::diagnosis::{self, Cause};
use super::observed::{Child, EnvironmentFacts, Leaving, Observed, PodLeft, Presence, Target};
use super::situation::Situation;
use crate::api::Reason;
use crate::children::NAME_LABEL;

/// What a stop waits for.
pub(super) struct Remaining {
    /// In words.
    pub(super) message: String,
    /// Who or what keeps it: of other pods that are kept alike the words say the same.
    pub(super) kept_by: String,
}

/// What a stop waits for: the first in the order in which things are taken away.
pub(super) fn remaining(s: &Situation<'_>) -> Remaining {
    let name = s.gateway.name_or_empty();
    let observed = s.observed;
    let child = [
        (Child::Ingress, &observed.ingress),
        (Child::PodDisruptionBudget, &observed.disruption_budget),
        (Child::Service, &observed.service),
        (Child::Deployment, &observed.deployment),
    ]
    .into_iter()
    .find(|(_, presence)| presence.is_ours());
    let active = observed.environments.iter().find(|environment| environment.active);
    match (child, active) {
        (Some((child, Presence::Terminating)), _) => {
            let message = format!("{} {name:?}, which is being deleted: look at its finalizers", child.kind());
            Remaining { message, kept_by: format!("the finalizers of the {}", child.kind()) }
        }
        (Some((child, _)), _) => {
            to_be_written(observed, format!("{} {name:?} to be deleted", child.kind()), &Target::Child(child))
        }
        (None, Some(EnvironmentFacts { name, .. })) => {
            let what = format!("Environment {name:?} to be switched off");
            to_be_written(observed, what, &Target::Environment(name.clone()))
        }
        (None, None) => {
            let pods = &observed.pods;
            let kept_by = pods.left.first().map_or_else(String::new, what_keeps);
            Remaining { message: last_pods(&pods.left, pods.total), kept_by }
        }
    }
}

/// What is to be written, and why it is not, where that is known.
fn to_be_written(observed: &Observed, what: String, target: &Target) -> Remaining {
    match diagnosis::cause_of(observed, |other| other == target) {
        Some(cause) => {
            Remaining { message: format!("{what}: {}", cause.message), kept_by: format!("{what}: {}", cause.reason) }
        }
        None => Remaining { message: what.clone(), kept_by: what },
    }
}

/// What keeps a stop from being carried out, where that is known. It is told at once: it does not pass by itself.
pub(super) fn hindrance(s: &Situation<'_>) -> Option<Cause> {
    let observed = s.observed;
    let cause = diagnosis::cause_of(observed, |what| match what {
        Target::Child(child) => observed.child(*child).is_ours(),
        Target::Environment(name) => observed.environments.iter().any(|other| other.active && other.name == *name),
        Target::Finalizers | Target::Status => false,
    })?;
    let hint = match cause.reason {
        Reason::AdmissionRefused => "Ask who runs the cluster about the rule.".to_owned(),
        _ => cause.hint,
    };
    Some(Cause { message: format!("the stop does not go on: {}", cause.message), hint, ..cause })
}

/// The first pods by name, and what is to be done about each. No numbers: they would be a write per pod.
fn last_pods(left: &[PodLeft], total: usize) -> String {
    let mut told: Vec<String> = left.iter().map(|pod| format!("pod {}{}", pod.pod, what_keeps(pod))).collect();
    if total > left.len() {
        told.push("others".to_owned());
    }
    format!("its last pods to end: {}", told.join("; "))
}

fn what_keeps(pod: &PodLeft) -> String {
    let Some(Leaving { node, finalizers }) = &pod.leaving else {
        return ", which nobody deletes: delete it".to_owned();
    };
    let node = node.as_ref().map_or_else(String::new, |node| format!(" on node {node}"));
    match finalizers.as_slice() {
        [] if node.is_empty() => ", which is being deleted".to_owned(),
        [] => format!("{node}: look at the node; where that is gone for good, delete the pod with --force"),
        several => {
            let names = diagnosis::first_of(several);
            format!("{node}, kept by finalizers ({names}): have their owner finish, or remove them")
        }
    }
}

/// What is left alone although it carries the gateway's label, where there is any.
pub(super) fn left_alone(s: &Situation<'_>) -> Option<String> {
    let first = s.observed.pods.unowned.first()?;
    let others = if s.observed.pods.unowned.len() > 1 { " and others" } else { "" };
    Some(format!(
        "pod {first}{others} carries its label and nobody owns it any more: it is left alone. Delete it, or take the label \
         {NAME_LABEL} from it"
    ))
}
