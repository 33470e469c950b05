//! What a pod's status says is wrong with it. Pure.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod, PodCondition, PodStatus};
use k8s_openapi::jiff::Timestamp;
use kube::Resource;

use super::watched::Watched;
use crate::decide::observed::Trouble;

/// A trouble, and what it is with.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The pod's `pod-template-hash`.
    pub template: Option<String>,
    /// The container, where the pod has more than one.
    pub container: Option<String>,
    /// What is wrong.
    pub trouble: Trouble,
}

/// What is wrong with a pod; `None` for one in good order.
pub fn of(pod: &Watched<Pod>) -> Option<Found> {
    let status = pod.status.as_ref()?;
    let (container, trouble) = with_container(status).or_else(|| Some((None, with_pod(status)?)))?;
    let template = pod.meta().labels.as_ref().and_then(|labels| labels.get("pod-template-hash").cloned());
    Some(Found { template, container, trouble })
}

fn containers(status: &PodStatus) -> impl Iterator<Item = &ContainerStatus> {
    status.container_statuses.iter().chain(&status.init_container_statuses).flatten()
}

/// Containers that are not the gateway's own, which somebody's webhook adds, can keep it from starting as well.
fn with_container(status: &PodStatus) -> Option<(Option<String>, Trouble)> {
    if status.phase.as_deref() == Some("Failed") {
        // They ended with it.
        return None;
    }
    let several = containers(status).count() > 1;
    let unready_since = condition(status, "Ready").filter(|ready| ready.status == "False").and_then(turned);
    containers(status).find_map(|container| {
        let trouble = of_container(container, unready_since)?;
        Some((several.then(|| container.name.clone()), trouble))
    })
}

fn of_container(container: &ContainerStatus, unready_since: Option<Timestamp>) -> Option<Trouble> {
    if container.ready {
        return None;
    }
    let state = container.state.as_ref()?;
    let last = container.last_state.as_ref().and_then(|last| last.terminated.as_ref());
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.as_deref().unwrap_or_default();
        let message = waiting.message.clone().unwrap_or_else(|| reason.to_owned());
        return match reason {
            "ErrImagePull"
            | "ImagePullBackOff"
            | "InvalidImageName"
            | "ErrImageNeverPull"
            | "ImageInspectError"
            | "RegistryUnavailable"
            | "SignatureValidationFailed" => Some(Trouble::ImagePull { image: container.image.clone(), message }),
            "CreateContainerConfigError" if message.contains("runAsNonRoot") => Some(Trouble::RunsAsRoot(message)),
            "CreateContainerConfigError" => Some(Trouble::Config(message)),
            "CreateContainerError"
            | "RunContainerError"
            | "PreCreateHookError"
            | "PreStartHookError"
            | "PostStartHookError" => Some(Trouble::CannotStart(message)),
            _ => last.map(ended),
        };
    }
    if let Some(running) = &state.running {
        // What ended runs again. It is no news that one ended which has been ready since.
        let started = running.started_at.as_ref().map(|at| at.0);
        return last.filter(|_| unready_since <= started).map(ended);
    }
    state.terminated.as_ref().map(ended)
}

fn ended(run: &ContainerStateTerminated) -> Trouble {
    let message = run.message.clone().unwrap_or_default();
    match run.reason.as_deref() {
        Some("StartError" | "ContainerCannotRun") => Trouble::CannotStart(message),
        reason => Trouble::Ended { code: run.exit_code, out_of_memory: reason == Some("OOMKilled"), message },
    }
}

fn with_pod(status: &PodStatus) -> Option<Trouble> {
    if status.phase.as_deref() == Some("Failed") {
        let words = [&status.reason, &status.message].into_iter().flatten().map(String::as_str);
        return Some(Trouble::GivenUp(words.collect::<Vec<_>>().join(": ")));
    }
    if let Some(scheduled) = condition(status, "PodScheduled").filter(|scheduled| scheduled.status == "False") {
        let refused = scheduled.reason.as_deref() == Some("Unschedulable");
        return refused.then(|| Trouble::Unschedulable(scheduled.message.clone().unwrap_or_default()));
    }
    let waits = |container: &ContainerStatus| {
        let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
        waiting
            .is_some_and(|waiting| matches!(waiting.reason.as_deref(), Some("ContainerCreating" | "PodInitializing")))
    };
    if containers(status).any(waits) {
        return Some(Trouble::SettingUp);
    }
    let ready = condition(status, "Ready")?;
    if ready.status != "False" || status.container_statuses.is_none() {
        return None;
    }
    // Only who watches over nodes says so of a pod whose containers are ready.
    let abandoned = ready.reason.as_deref() != Some("ReadinessGatesNotReady")
        && containers(status).all(|container| container.ready);
    Some(if abandoned { Trouble::NodeIsAway } else { Trouble::Unready })
}

fn condition<'a>(status: &'a PodStatus, type_: &str) -> Option<&'a PodCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == type_)
}

fn turned(condition: &PodCondition) -> Option<Timestamp> {
    condition.last_transition_time.as_ref().map(|at| at.0)
}

#[cfg(test)]
mod tests;
