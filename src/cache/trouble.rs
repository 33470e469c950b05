//! Derives a pod's trouble from its status. Pure.
//!
//! **Architecture invariant:** this module reads the pod alone. Events and grace periods are applied later.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod, PodCondition, PodStatus};
use k8s_openapi::jiff::Timestamp;
use kube::Resource;

use super::watched::{PodPart, Watched};
use crate::children;
use crate::decide::observed::Trouble;

/// A trouble and the pod's details.
#[derive(Clone, Debug, PartialEq)]
pub struct PodFinding {
    /// The pod's `pod-template-hash`.
    pub template: Option<String>,
    /// The container, if the pod has several.
    pub container: Option<String>,
    /// The pod's node.
    pub node: Option<String>,
    /// The trouble.
    pub trouble: Trouble,
}

/// A trouble, and its container if the pod has several.
type OfContainer = (Option<String>, Trouble);

/// The trouble of a pod; `None` if it is healthy.
pub fn of(pod: &Watched<Pod>) -> Option<PodFinding> {
    let status = pod.status.as_ref()?;
    let nothing = PodPart::default();
    let spec = pod.spec.as_ref().unwrap_or(&nothing);
    let whole = |trouble| (None, trouble);
    let (container, trouble) = given_up(status)
        .or_else(|| unscheduled(spec, status))
        .map(whole)
        .or_else(|| with_container(status))
        .or_else(|| initializing(spec, status))
        .or_else(|| setting_up(spec, status).map(whole))
        .or_else(|| unready(spec, status))?;
    let template = pod.meta().labels.as_ref().and_then(|labels| labels.get("pod-template-hash").cloned());
    Some(PodFinding { template, container, node: spec.node_name.clone(), trouble })
}

fn containers(status: &PodStatus) -> impl Iterator<Item = &ContainerStatus> + Clone {
    status.container_statuses.iter().chain(&status.init_container_statuses).flatten()
}

fn has_several(status: &PodStatus) -> bool {
    containers(status).count() > 1
}

/// Pods with `restartPolicy: Always` end only because of their node (eviction or shutdown), whatever their
/// containers' exit codes say. Containers end a moment before the phase says so.
fn given_up(status: &PodStatus) -> Option<Trouble> {
    let has_ended = matches!(status.phase.as_deref(), Some("Failed" | "Succeeded"));
    let ends = || containers(status).any(|one| one.state.as_ref().is_some_and(|state| state.terminated.is_some()));
    let disrupted = condition(status, "DisruptionTarget").filter(|target| target.status == "True" && ends());
    if !has_ended && disrupted.is_none() {
        return None;
    }
    let of_condition = |of: fn(&PodCondition) -> &Option<String>| disrupted.and_then(|target| of(target).clone());
    Some(Trouble::GivenUp {
        reason: status.reason.clone().or_else(|| of_condition(|target| &target.reason)).unwrap_or_default(),
        message: status.message.clone().or_else(|| of_condition(|target| &target.message)).unwrap_or_default(),
    })
}

/// The condition reason of a pod with scheduling gates.
const GATED: &str = "SchedulingGated";

/// The condition reason of a pod that the scheduler could not process, for example because the API server did not
/// carry out the binding (`PodReasonSchedulerError`).
const SCHEDULER_FAILED: &str = "SchedulerError";

/// Why a pod has no node. A scheduler that considers a pod sets the condition, whatever it finds.
fn unscheduled(spec: &PodPart, status: &PodStatus) -> Option<Trouble> {
    if spec.node_name.is_some() {
        return None;
    }
    if !spec.scheduling_gates.is_empty() {
        return Some(Trouble::Gated(spec.scheduling_gates.iter().map(|gate| gate.name.clone()).collect()));
    }
    match condition(status, "PodScheduled") {
        // It found a node, which the pod gets in a moment.
        Some(scheduled) if scheduled.status == "True" => None,
        Some(scheduled) if scheduled.reason.as_deref() == Some(SCHEDULER_FAILED) => {
            Some(Trouble::SchedulerFailed(scheduled.message.clone().unwrap_or_default()))
        }
        // Schedulers have reasons of their own.
        Some(scheduled) if scheduled.reason.as_deref() != Some(GATED) => {
            let words = [&scheduled.message, &scheduled.reason].into_iter().flatten().find(|words| !words.is_empty());
            Some(Trouble::Unschedulable(words.cloned().unwrap_or_default()))
        }
        // The API server set the reason for gates that are gone, and nobody has updated it.
        _ => Some(Trouble::NoScheduler(spec.scheduler_name.clone()?)),
    }
}

/// Containers that webhooks add can keep the gateway from starting as well.
fn with_container(status: &PodStatus) -> Option<OfContainer> {
    let unready_since = unready_since(status);
    containers(status).find_map(|container| {
        let trouble = of_container(container, unready_since)?;
        Some((has_several(status).then(|| container.name.clone()), trouble))
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
            _ => last.and_then(|run| ended(container, run)),
        };
    }
    if let Some(running) = &state.running {
        // A restarted container runs. Its end is no news if the pod was ready since.
        let started = running.started_at.as_ref().map(|at| at.0);
        return last.filter(|_| unready_since <= started).and_then(|run| ended(container, run));
    }
    state.terminated.as_ref().and_then(|run| ended(container, run))
}

/// The probes of the gateway's container tolerate more than this. Those of other containers are unknown.
const SHORTEST_PATIENCE: Duration = Duration::from_secs(20);

/// How a run ended. Nothing is known if the node lost the container, with its runtime or by a restart of its
/// own.
fn ended(container: &ContainerStatus, run: &ContainerStateTerminated) -> Option<Trouble> {
    let message = run.message.clone().unwrap_or_default();
    match run.reason.as_deref() {
        Some("ContainerStatusUnknown" | "Unknown") => None,
        Some("StartError" | "ContainerCannotRun") => Some(Trouble::CannotStart(message)),
        reason => {
            let ran =
                run.started_at.as_ref().zip(run.finished_at.as_ref()).map(|(from, to)| to.0.duration_since(from.0));
            let brief = container.name == children::CONTAINER
                && ran.is_none_or(|ran| Duration::try_from(ran).is_ok_and(|ran| ran < SHORTEST_PATIENCE));
            let out_of_memory = reason == Some("OOMKilled");
            Some(Trouble::Ended { code: run.exit_code, out_of_memory, message, brief })
        }
    }
}

/// The first init container that the others wait for: one that runs to completion, or a sidecar that has not
/// started.
fn initializing(spec: &PodPart, status: &PodStatus) -> Option<OfContainer> {
    status.init_container_statuses.iter().flatten().find_map(|container| {
        let running = container.state.as_ref()?.running.as_ref()?;
        let of_spec = spec.init_containers.iter().find(|init| init.name == container.name);
        let sidecar = of_spec.is_some_and(|init| init.restart_policy.as_deref() == Some("Always"));
        let held_up = !sidecar || container.started != Some(true);
        let since = running.started_at.as_ref().map(|at| at.0);
        held_up.then(|| (Some(container.name.clone()), Trouble::Initializing { sidecar, since }))
    })
}

/// What the node does before containers run. A kubelet that has taken up a pod reports what its containers wait
/// for.
fn setting_up(spec: &PodPart, status: &PodStatus) -> Option<Trouble> {
    let is_pending = status.phase.as_deref().is_none_or(|phase| phase == "Pending");
    if is_pending && spec.node_name.is_some() && containers(status).next().is_none() {
        return Some(Trouble::NotTakenUp);
    }
    let waits = |container: &ContainerStatus| {
        let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
        waiting
            .is_some_and(|waiting| matches!(waiting.reason.as_deref(), Some("ContainerCreating" | "PodInitializing")))
    };
    containers(status).any(waits).then_some(Trouble::SettingUp)
}

/// Why a pod with running containers is not ready.
fn unready(spec: &PodPart, status: &PodStatus) -> Option<OfContainer> {
    let ready = condition(status, "Ready").filter(|ready| ready.status == "False")?;
    status.container_statuses.as_ref()?;
    let started = containers(status).filter_map(|one| one.state.as_ref()?.running.as_ref()?.started_at.as_ref());
    let was_ready = started.map(|at| at.0).max().zip(unready_since(status)).is_some_and(|(from, since)| since > from);
    let mut unready = containers(status).filter(|container| !container.ready);
    let own = unready.clone().find(|container| container.name == children::CONTAINER);
    if let Some(unready) = own.or_else(|| unready.next()) {
        let container = has_several(status).then(|| unready.name.clone());
        return Some((container, Trouble::Unready { was_ready }));
    }
    // Only the node lifecycle controller reports this for a pod with ready containers and no readiness gates.
    if ready.reason.as_deref() != Some("ReadinessGatesNotReady") {
        return Some((None, Trouble::NodeUnreachable));
    }
    let gate = spec.readiness_gates.iter().map(|gate| &gate.condition_type);
    let mut shut = gate.filter(|gate| condition(status, gate).is_none_or(|gate| gate.status != "True"));
    Some((None, shut.next().map_or(Trouble::Unready { was_ready }, |gate| readiness_gate(status, gate))))
}

fn readiness_gate(status: &PodStatus, gate: &str) -> Trouble {
    let words = condition(status, gate).map(|condition| {
        let words = [&condition.reason, &condition.message].into_iter().flatten().map(String::as_str);
        let words = words.filter(|words| !words.is_empty()).collect::<Vec<_>>().join(": ");
        if words.is_empty() { format!("it is {}", condition.status) } else { words }
    });
    Trouble::ReadinessGate { gate: gate.to_owned(), words }
}

fn condition<'a>(status: &'a PodStatus, type_: &str) -> Option<&'a PodCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == type_)
}

fn unready_since(status: &PodStatus) -> Option<Timestamp> {
    let ready = condition(status, "Ready").filter(|ready| ready.status == "False")?;
    ready.last_transition_time.as_ref().map(|at| at.0)
}

#[cfg(test)]
mod tests;
