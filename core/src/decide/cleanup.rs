//! What a stop waits for, and what it leaves alone, in words.

use super::diagnosis;
use super::observed::{Child, Leaving, PodLeft, Presence};
use super::situation::Situation;
use super::words::say;
use crate::children::NAME_LABEL;

/// What a stop waits for: the first in the order in which things are taken away.
pub(super) fn remaining(s: &Situation<'_>) -> String {
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
            format!("{} {name:?}, which is being deleted: look at its finalizers", child.kind())
        }
        (Some((child, _)), _) => match diagnosis::cause_of_child(observed, child) {
            Some(cause) => format!("{} {name:?} to be deleted: {}", child.kind(), cause.message),
            None => format!("{} {name:?} to be deleted", child.kind()),
        },
        (None, Some(environment)) => format!("Environment {:?} to be switched off", environment.name),
        (None, None) => last_pods(&observed.pods.left, observed.pods.total),
    }
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
            format!(
                "{node}, kept by finalizers ({}): have their owner finish, or remove them",
                say(&several.join(", "))
            )
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
