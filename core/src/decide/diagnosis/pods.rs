//! Policies about pods: what a pod's status and Events say is wrong.

use super::grace_period::{GracePeriod, is_over, was_read_late};
use super::{Cause, kubelet_messages};
use crate::api::{Reason, condition};
use crate::children;
use crate::decide::observed::{
    DEFAULT_SCHEDULER, Observed, PodEvent, PodTrouble, ProbeResult, Trouble, UnexplainedWait,
};
use crate::decide::situation::Situation;
use crate::decide::words::{say, say_last};

/// The first trouble of a kind. Pods are sorted by name, so the same pods give the same message.
fn first(observed: &Observed, tell: impl Fn(&PodTrouble) -> Option<Cause>) -> Option<Cause> {
    observed.troubles().find_map(tell)
}

/// The pod, and the container if the pod has several. Whoever may write Events may name a container in them that
/// no API server would accept.
fn who(pod: &PodTrouble) -> String {
    match &pod.container {
        Some(container) => format!("pod {}, container {}", pod.pod, say(container)),
        None => format!("pod {}", pod.pod),
    }
}

/// Whether the container is not from the spec.
fn is_foreign(pod: &PodTrouble) -> bool {
    pod.container.as_ref().is_some_and(|container| container != children::CONTAINER)
}

const FOREIGN: &str = "The gateway's spec has no such container: ask the cluster administrator what injects it.";

/// The hint for the gateway's own container. The spec has no say about others.
fn hint(pod: &PodTrouble, hint: &str) -> String {
    if is_foreign(pod) { FOREIGN.to_owned() } else { hint.to_owned() }
}

/// What the Events of the followed pod say.
fn pod_event(observed: &Observed) -> Option<(&PodTrouble, &PodEvent)> {
    let UnexplainedWait { about, pod_event, .. } = observed.pods.unexplained.as_ref()?;
    Some((about, pod_event.as_ref()?))
}

pub(super) fn crash_loop(s: &Situation<'_>, grace: GracePeriod) -> Option<Cause> {
    first(s.observed, |pod| {
        let (what, words, advice) = match &pod.trouble {
            Trouble::Ended { code, out_of_memory, message, .. } => {
                if pod.trouble.may_be_a_probes() && !ended_by_itself(s, pod, grace) {
                    return None;
                }
                let how = if *out_of_memory { " (OOMKilled: out of memory)" } else { "" };
                let told = format!("terminated{how} with exit code {code}");
                (told, say_last(message), what_ends(*code, *out_of_memory, message))
            }
            Trouble::CannotStart(message) => {
                ("cannot start".to_owned(), say(kubelet_messages::innermost(message)), what_cannot_start(message))
            }
            _ => return None,
        };
        let words = if words.is_empty() { words } else { format!(": {words}") };
        Some(Cause::new(Reason::CrashLoop, format!("{}: {what}{words}", who(pod)), hint(pod, advice)))
    })
}

/// Whether no probe ended the container, as far as known. The pod whose Events were read stands for the others,
/// which run the same program.
fn ended_by_itself(s: &Situation<'_>, pod: &PodTrouble, grace: GracePeriod) -> bool {
    match &s.observed.pods.unexplained {
        Some(UnexplainedWait { about, read_at, pod_event, .. }) if about.trouble.may_be_a_probes() => {
            let was_read = read_at.is_some() || grace == GracePeriod::Over || is_told(s, Reason::CrashLoop);
            about.pod == pod.pod && was_read && !matches!(pod_event, Some(PodEvent::Killed(_)))
        }
        _ => true,
    }
}

/// Whether the status already has this cause. A reported cause stays until the Events were read.
fn is_told(s: &Situation<'_>, reason: Reason) -> bool {
    let conditions = s.gateway.status.iter().flat_map(|status| &status.conditions);
    let mut told = conditions.filter(|told| told.type_ == condition::RECONCILING && told.status == "True");
    told.any(|told| told.reason == reason.as_str())
}

const NO_PROGRAM: &str = "Check that the image contains spec.command and spec.args.";
const MORE_MEMORY: &str = "Raise spec.resources.limits.memory, or reduce the gateway's memory use.";
const OTHER_ARCHITECTURE: &str = "The image is not built for the node's CPU architecture: build it for that one, or \
                                  set spec.nodeSelector (kubernetes.io/arch).";

fn what_ends(code: i32, out_of_memory: bool, words: &str) -> &'static str {
    match code {
        _ if out_of_memory => MORE_MEMORY,
        _ if kubelet_messages::is_of_another_architecture(words) => OTHER_ARCHITECTURE,
        0 => "A gateway must keep running: check spec.command and spec.args.",
        126 | 127 => NO_PROGRAM,
        // 128 and the signal, KILL or TERM. Runtimes do not always see that it was for memory.
        137 => "It was killed: check the pod's Events, its other containers, and spec.resources.limits.memory.",
        143 => "It was killed from outside the container: check the pod's Events and its other containers.",
        _ => {
            "Check spec.env, spec.args and spec.volumes, and kubectl logs --previous of the pod while the attempt \
             runs."
        }
    }
}

fn what_cannot_start(words: &str) -> &'static str {
    if kubelet_messages::wants_memory(words) {
        MORE_MEMORY
    } else if kubelet_messages::is_of_another_architecture(words) {
        OTHER_ARCHITECTURE
    } else {
        NO_PROGRAM
    }
}

/// The message of a failed probe and the container: the probed one, or the one in trouble.
fn probed(s: &Situation<'_>, about: &PodTrouble, answer: &ProbeResult) -> (PodTrouble, String) {
    let container = about.container.as_ref().and(answer.container.as_ref()).or(about.container.as_ref()).cloned();
    let pod = PodTrouble { container, ..about.clone() };
    let words = say(&answer.words);
    if !is_foreign(&pod) && words.contains("connection refused") {
        let port = s.gateway.spec.port;
        return (pod, format!("nothing listens on spec.port {port}: {words}"));
    }
    (pod, words)
}

const LISTEN: &str =
    "Check that the gateway listens on spec.port and answers on spec.readinessPath, and check its log.";

pub(super) fn killed_by_its_probe(s: &Situation<'_>, _: GracePeriod) -> Option<Cause> {
    match pod_event(s.observed)? {
        (about, PodEvent::Killed(answer)) => {
            let (pod, words) = probed(s, about, answer);
            let message = format!("{}: the kubelet killed it because its probe failed: {words}", who(&pod));
            Some(Cause::new(Reason::ReadinessFailing, message, hint(&pod, LISTEN)))
        }
        _ => None,
    }
}

const NUMERIC_USER: &str = "Give the image a numeric user other than 0 (USER 65532 in its Dockerfile).";

pub(super) fn runs_as_root(observed: &Observed) -> Option<Cause> {
    first(observed, |pod| match &pod.trouble {
        Trouble::RunsAsRoot(words) => {
            let message = format!("{}: the image must not run as root: {}", who(pod), say(words));
            Some(Cause::new(Reason::RunsAsRoot, message, hint(pod, NUMERIC_USER)))
        }
        _ => None,
    })
}

const FOREIGN_VOLUME: &str = "The gateway's spec has no such volume: ask the cluster administrator what injects it \
                              and what creates its source.";

pub(super) fn config_missing(s: &Situation<'_>, _: GracePeriod) -> Option<Cause> {
    let observed = s.observed;
    let cause = |who: String, words: &str, hint: String| {
        let message = format!("{who}: a Secret, ConfigMap or key is missing: {}", say(words));
        Cause::new(Reason::ConfigMissing, message, hint)
    };
    let own = "Create it in the gateway's namespace, or correct spec.env, spec.envFrom or spec.volumes.";
    let in_status = first(observed, |pod| match &pod.trouble {
        Trouble::Config(words) => Some(cause(who(pod), words, hint(pod, own))),
        _ => None,
    });
    in_status.or_else(|| match pod_event(observed)? {
        (about, PodEvent::MissingVolume(words)) => {
            let volumes = &s.gateway.spec.volumes;
            let is_foreign =
                kubelet_messages::volume(words).is_some_and(|name| !volumes.iter().any(|volume| volume.name == name));
            let hint = if is_foreign { FOREIGN_VOLUME } else { own };
            Some(cause(format!("pod {}", about.pod), words, hint.to_owned()))
        }
        _ => None,
    })
}

pub(super) fn image_not_pullable(observed: &Observed) -> Option<Cause> {
    first(observed, |pod| match &pod.trouble {
        Trouble::ImagePull { image, message } => {
            let words = kubelet_messages::registrys_words(message, image);
            let told = format!("{}: image {:?} cannot be pulled: {}", who(pod), say(image), say(words));
            let advice = if kubelet_messages::is_of_another_architecture(words) {
                OTHER_ARCHITECTURE
            } else {
                kubelet_messages::why_not_pulled(words)
            };
            let cause = Cause::new(Reason::ImagePullFailed, told, hint(pod, advice));
            Some(Cause { image: Some(image.clone()), ..cause })
        }
        _ => None,
    })
}

/// The followed pod is set up, and a trouble that might have passed did not.
pub(super) fn not_ready(s: &Situation<'_>, grace: GracePeriod) -> Option<Cause> {
    let unexplained = s.observed.pods.unexplained.as_ref()?;
    let over = is_over(s, unexplained, grace);
    match (&unexplained.about.trouble, &unexplained.pod_event) {
        (Trouble::Unready { .. }, Some(PodEvent::Probe(answer))) if was_read_late(s, unexplained, grace) => {
            let (pod, words) = probed(s, &unexplained.about, answer);
            let message = format!("{}: running but not ready: {words}", who(&pod));
            Some(Cause::new(Reason::ReadinessFailing, message, hint(&pod, LISTEN)))
        }
        (Trouble::Ended { .. }, None) if unexplained.read_at.is_none() && is_told(s, Reason::ReadinessFailing) => {
            let message = format!("{}: its container terminated while its probe failed", who(&unexplained.about));
            Some(Cause::new(Reason::ReadinessFailing, message, hint(&unexplained.about, LISTEN)))
        }
        (Trouble::Unready { .. }, None) if over && is_foreign(&unexplained.about) => {
            let message = format!("{}, which is not in the spec: running but not ready", who(&unexplained.about));
            Some(Cause::new(Reason::ReadinessFailing, message, FOREIGN))
        }
        (Trouble::NotTakenUp, _) if over => {
            let message = format!("pod {}: {} has not started it", unexplained.about.pod, its_node(&unexplained.about));
            Some(Cause::new(Reason::NodeFailed, message, ASK_ABOUT_NODE))
        }
        (Trouble::ReadinessGate { gate, words }, _) if over => Some(Cause::new(
            Reason::ReadinessGatesNotReady,
            format!("pod {}: its containers are ready, but {}", unexplained.about.pod, of_gate(gate, words.as_deref())),
            "The gateway's spec has no readiness gate: ask the cluster administrator what injects it and which \
             controller sets it.",
        )),
        (Trouble::Initializing { sidecar, .. }, _) if over => Some(Cause::new(
            Reason::ContainersNotInitialized,
            format!("{}, which is not in the spec: {}", who(&unexplained.about), of_init(unexplained, *sidecar)),
            FOREIGN,
        )),
        _ => None,
    }
}

fn of_gate(gate: &str, words: Option<&str>) -> String {
    let words = words.map_or_else(|| "its condition is not set".to_owned(), say);
    format!("readiness gate {:?} is not: {words}", say(gate))
}

/// What an init container does.
fn of_init(unexplained: &UnexplainedWait, sidecar: bool) -> String {
    let since = match &unexplained.about.trouble {
        Trouble::Initializing { since: Some(since), .. } => format!(" since {since}"),
        _ => String::new(),
    };
    let what = if sidecar { "is not started" } else { "does not finish" };
    let words = match &unexplained.pod_event {
        Some(PodEvent::Probe(answer)) => format!(": {}", say(&answer.words)),
        _ => String::new(),
    };
    format!("it has run{since} and {what}{words}")
}

/// What a start with healthy pods waits for, in words without a pod's name.
pub fn not_ready_yet(s: &Situation<'_>) -> Option<String> {
    let unexplained = s.observed.pods.unexplained.as_ref()?;
    if unexplained.lasted < super::grace_period::SOON {
        return None;
    }
    let container = unexplained.about.container.as_deref().unwrap_or_default();
    match (&unexplained.about.trouble, &unexplained.pod_event) {
        (Trouble::Unready { .. }, Some(PodEvent::Probe(answer))) => Some(probed(s, &unexplained.about, answer).1),
        (Trouble::ReadinessGate { gate, .. }, _) => Some(format!("readiness gate {:?} is not set", say(gate))),
        (Trouble::Initializing { sidecar, .. }, _) => {
            let what = if *sidecar { "is not started" } else { "has not finished" };
            Some(format!("container {container}, which is not in the spec, {what}"))
        }
        _ => None,
    }
}

/// How far the followed pod came, if nothing is known to be wrong with it.
pub(super) fn how_far(observed: &Observed) -> Option<String> {
    let UnexplainedWait { about, .. } = observed.pods.unexplained.as_ref()?;
    match about.trouble {
        Trouble::SettingUp => Some(format!("pod {} is being created on {}", about.pod, its_node(about))),
        Trouble::Unready { .. } => Some(format!("pod {} is running but not ready", about.pod)),
        _ => None,
    }
}

fn its_node(pod: &PodTrouble) -> String {
    pod.node.as_ref().map_or_else(|| "its node".to_owned(), |node| format!("its node {node}"))
}

const ASK_ABOUT_NODE: &str = "Ask the cluster administrator about the node.";

pub(super) fn node_failed(observed: &Observed) -> Option<Cause> {
    let cause = |pod: &PodTrouble, what: String, hint: &str| {
        Cause::new(Reason::NodeFailed, format!("pod {}: {} {what}", pod.pod, its_node(pod)), hint)
    };
    let in_status = first(observed, |pod| match &pod.trouble {
        Trouble::GivenUp { reason, message } => {
            let words = [reason, message].into_iter().filter(|words| !words.is_empty()).map(|words| say(words));
            let words = words.collect::<Vec<_>>().join(": ");
            let why = if words.is_empty() { words } else { format!(": {words}") };
            Some(cause(pod, format!("terminated it{why}"), what_gives_up(reason)))
        }
        Trouble::NodeUnreachable => Some(cause(pod, "does not respond".to_owned(), ASK_ABOUT_NODE)),
        _ => None,
    });
    in_status.or_else(|| match pod_event(observed)? {
        (about, PodEvent::Node(words)) => {
            Some(cause(about, format!("cannot create it: {}", say(words)), ASK_ABOUT_NODE))
        }
        _ => None,
    })
}

fn what_gives_up(reason: &str) -> &'static str {
    if reason == "Evicted" || reason.starts_with("OutOf") {
        "Pods that use more than their requests are evicted first: raise spec.resources.requests, or ask the cluster \
         administrator."
    } else {
        "The ReplicaSet replaces the pod; if none becomes ready, ask the cluster administrator about the node."
    }
}

pub(super) fn unschedulable(s: &Situation<'_>, _: GracePeriod) -> Option<Cause> {
    first(s.observed, |pod| match &pod.trouble {
        Trouble::Unschedulable(words) => {
            let message = format!("{}: not scheduled: {}", who(pod), say(kubelet_messages::first_sentence(words)));
            Some(Cause::new(Reason::Unschedulable, message, kubelet_messages::what_is_short(words, &s.gateway.spec)))
        }
        _ => None,
    })
}

/// The followed pod waits before it gets a node.
pub(super) fn not_scheduled(s: &Situation<'_>, grace: GracePeriod) -> Option<Cause> {
    let unexplained = s.observed.pods.unexplained.as_ref().filter(|unexplained| is_over(s, unexplained, grace))?;
    let pod = &unexplained.about.pod;
    match &unexplained.about.trouble {
        Trouble::Gated(gates) => {
            let names: Vec<String> = gates.iter().map(|gate| format!("{:?}", say(gate))).collect();
            let (gates, are) = if names.len() == 1 { ("gate", "is") } else { ("gates", "are") };
            let names = names.join(", ");
            Some(Cause::new(
                Reason::SchedulingGated,
                format!("pod {pod}: not scheduled until scheduling {gates} {names}, not in the spec, {are} removed"),
                "The gateway's spec has no scheduling gate: ask the cluster administrator what injects it and which \
                 controller removes it.",
            ))
        }
        Trouble::SchedulerFailed(words) => Some(Cause::new(
            Reason::Unschedulable,
            format!("pod {pod}: the scheduler failed: {}", say(words)),
            "The scheduler retries. If that does not help, ask the cluster administrator about its log.",
        )),
        Trouble::NoScheduler(scheduler) => {
            let hint = if scheduler == DEFAULT_SCHEDULER {
                "Ask the cluster administrator whether the scheduler runs."
            } else {
                "The gateway's spec names no scheduler: ask the cluster administrator what sets this one, and whether \
                 it runs."
            };
            let whose = if scheduler == DEFAULT_SCHEDULER { "" } else { ", not in the spec," };
            let message = format!("pod {pod}: scheduler {:?}{whose} has not processed it", say(scheduler));
            Some(Cause::new(Reason::Unschedulable, message, hint))
        }
        _ => None,
    }
}
