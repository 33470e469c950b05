//! What pods say is wrong, in words.

use super::patience::{Patience, is_over, was_heard_late};
use super::{Cause, kubelets};
use crate::api::{Reason, condition};
use crate::children;
use crate::decide::observed::{Answer, Complaint, DEFAULT_SCHEDULER, Observed, PodTrouble, Silence, Trouble};
use crate::decide::situation::Situation;
use crate::decide::words::{say, say_last};

/// The first trouble of a kind: pods come in the order of their names, so that the same pods give the same words.
fn first(observed: &Observed, tell: impl Fn(&PodTrouble) -> Option<Cause>) -> Option<Cause> {
    observed.troubles().find_map(tell)
}

/// A pod, and the container where it has several.
fn who(pod: &PodTrouble) -> String {
    match &pod.container {
        Some(container) => format!("pod {}, container {container}", pod.pod),
        None => format!("pod {}", pod.pod),
    }
}

/// Whether the container is one that the spec does not have.
fn is_foreign(pod: &PodTrouble) -> bool {
    pod.container.as_ref().is_some_and(|container| container != children::CONTAINER)
}

const FOREIGN: &str = "The gateway's spec has no such container: ask who runs the cluster what adds it to pods.";

/// What to do about the gateway's own container; the spec says nothing of others.
fn hint(pod: &PodTrouble, hint: &str) -> String {
    if is_foreign(pod) { FOREIGN.to_owned() } else { hint.to_owned() }
}

/// What was heard of the pod that is followed.
fn complaint(observed: &Observed) -> Option<(&PodTrouble, &Complaint)> {
    let Silence { about, complaint, .. } = observed.pods.silence.as_ref()?;
    Some((about, complaint.as_ref()?))
}

pub(super) fn crash_loop(s: &Situation<'_>, patience: Patience) -> Option<Cause> {
    first(s.observed, |pod| {
        let (what, words, advice) = match &pod.trouble {
            Trouble::Ended { code, out_of_memory, message, .. } => {
                if pod.trouble.may_be_a_probes() && !ended_by_itself(s, pod, patience) {
                    return None;
                }
                let how = if *out_of_memory { " for want of memory (OOMKilled)" } else { "" };
                let told = format!("it ended{how} with exit code {code}");
                (told, say_last(message), what_ends(*code, *out_of_memory, message))
            }
            Trouble::CannotStart(message) => {
                ("it cannot be started".to_owned(), say(kubelets::innermost(message)), what_cannot_start(message))
            }
            _ => return None,
        };
        let words = if words.is_empty() { words } else { format!(": {words}") };
        Some(Cause::new(Reason::CrashLoop, format!("{}: {what}{words}", who(pod)), hint(pod, advice)))
    })
}

/// Whether no probe ended a container, as far as is known. The pod whose Events were read answers for the others: they run
/// the same program.
fn ended_by_itself(s: &Situation<'_>, pod: &PodTrouble, patience: Patience) -> bool {
    match &s.observed.pods.silence {
        Some(Silence { about, read_at, complaint, .. }) if about.trouble.may_be_a_probes() => {
            let was_read = read_at.is_some() || patience == Patience::Over || is_told(s, Reason::CrashLoop);
            about.pod == pod.pod && was_read && !matches!(complaint, Some(Complaint::Killed(_)))
        }
        _ => true,
    }
}

/// Whether the gateway's status has this cause. What is told is not taken back for as long as the next is being read.
fn is_told(s: &Situation<'_>, reason: Reason) -> bool {
    let conditions = s.gateway.status.iter().flat_map(|status| &status.conditions);
    let mut told = conditions.filter(|told| told.type_ == condition::RECONCILING && told.status == "True");
    told.any(|told| told.reason == reason.as_str())
}

const NO_PROGRAM: &str = "Check spec.command and spec.args against what is in the image.";
const MORE_MEMORY: &str = "Raise spec.resources.limits.memory, or have the gateway need less.";
const OTHER_ARCHITECTURE: &str = "The image is not for the processor of the pod's node: build it for that architecture, or \
    choose nodes of the image's by spec.nodeSelector (kubernetes.io/arch).";

fn what_ends(code: i32, out_of_memory: bool, words: &str) -> &'static str {
    match code {
        _ if out_of_memory => MORE_MEMORY,
        _ if kubelets::is_of_another_architecture(words) => OTHER_ARCHITECTURE,
        0 => "A gateway is to run on: check spec.command and spec.args.",
        126 | 127 => NO_PROGRAM,
        // 128 and the signal: KILL or TERM.
        137 | 143 => "Something outside ended it: look at the pod's Events, and at what runs beside it in the pod.",
        _ => {
            "Check spec.env, spec.args and spec.volumes; while an attempt runs, kubectl logs --previous of the pod says more."
        }
    }
}

fn what_cannot_start(words: &str) -> &'static str {
    if kubelets::wants_memory(words) {
        MORE_MEMORY
    } else if kubelets::is_of_another_architecture(words) {
        OTHER_ARCHITECTURE
    } else {
        NO_PROGRAM
    }
}

/// What a probe got, and whose container it was: the one that was asked, or the one that the trouble is with.
fn probed(s: &Situation<'_>, about: &PodTrouble, answer: &Answer) -> (PodTrouble, String) {
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
    "Check that the gateway listens on spec.port and answers on spec.readinessPath; its log may say more.";

pub(super) fn killed_by_its_probe(s: &Situation<'_>, _: Patience) -> Option<Cause> {
    match complaint(s.observed)? {
        (about, Complaint::Killed(answer)) => {
            let (pod, words) = probed(s, about, answer);
            let message = format!("{}: its node ended it since its probe failed: {words}", who(&pod));
            Some(Cause::new(Reason::ReadinessFailing, message, hint(&pod, LISTEN)))
        }
        _ => None,
    }
}

const NUMERIC_USER: &str = "Give the image a numeric user other than 0 (USER 65532 in its Dockerfile).";

pub(super) fn runs_as_root(observed: &Observed) -> Option<Cause> {
    first(observed, |pod| match &pod.trouble {
        Trouble::RunsAsRoot(words) => {
            let message = format!("{}: its image may not run as it is: {}", who(pod), say(words));
            Some(Cause::new(Reason::RunsAsRoot, message, hint(pod, NUMERIC_USER)))
        }
        _ => None,
    })
}

const FOREIGN_VOLUME: &str = "The gateway's spec has no such volume: ask who runs the cluster what adds it to pods, and what makes what it mounts.";

pub(super) fn config_missing(s: &Situation<'_>, _: Patience) -> Option<Cause> {
    let observed = s.observed;
    let cause = |who: String, words: &str, hint: String| {
        let message = format!("{who}: what it is configured with is not there: {}", say(words));
        Cause::new(Reason::ConfigMissing, message, hint)
    };
    let own = "Create it in the gateway's namespace, or correct what spec.env, spec.envFrom or spec.volumes name.";
    let in_status = first(observed, |pod| match &pod.trouble {
        Trouble::Config(words) => Some(cause(who(pod), words, hint(pod, own))),
        _ => None,
    });
    in_status.or_else(|| match complaint(observed)? {
        (about, Complaint::MissingVolume(words)) => {
            let volumes = &s.gateway.spec.volumes;
            let is_foreign =
                kubelets::volume(words).is_some_and(|name| !volumes.iter().any(|volume| volume.name == name));
            let hint = if is_foreign { FOREIGN_VOLUME } else { own };
            Some(cause(format!("pod {}", about.pod), words, hint.to_owned()))
        }
        _ => None,
    })
}

pub(super) fn image_not_pullable(observed: &Observed) -> Option<Cause> {
    first(observed, |pod| match &pod.trouble {
        Trouble::ImagePull { image, message } => {
            let words = kubelets::registrys_words(message, image);
            let told = format!("{}: image {image:?} cannot be pulled: {}", who(pod), say(words));
            let advice = if kubelets::is_of_another_architecture(words) {
                OTHER_ARCHITECTURE
            } else {
                kubelets::why_not_pulled(words)
            };
            let cause = Cause::new(Reason::ImagePullFailed, told, hint(pod, advice));
            Some(Cause { image: Some(image.clone()), ..cause })
        }
        _ => None,
    })
}

/// The pod that is followed is set up, and something that may pass has not passed.
pub(super) fn not_ready(s: &Situation<'_>, patience: Patience) -> Option<Cause> {
    let silence = s.observed.pods.silence.as_ref()?;
    let over = is_over(s, silence, patience);
    match (&silence.about.trouble, &silence.complaint) {
        (Trouble::Unready { .. }, Some(Complaint::Probe(answer))) if was_heard_late(s, silence, patience) => {
            let (pod, words) = probed(s, &silence.about, answer);
            let message = format!("{}: it runs and is not ready: {words}", who(&pod));
            Some(Cause::new(Reason::ReadinessFailing, message, hint(&pod, LISTEN)))
        }
        (Trouble::Ended { .. }, None) if silence.read_at.is_none() && is_told(s, Reason::ReadinessFailing) => {
            let message = format!("{}: its container ended while its probe failed", who(&silence.about));
            Some(Cause::new(Reason::ReadinessFailing, message, hint(&silence.about, LISTEN)))
        }
        (Trouble::Unready { .. }, None) if over && is_foreign(&silence.about) => {
            let message = format!("{}, which is not in the spec: it runs and is not ready", who(&silence.about));
            Some(Cause::new(Reason::ReadinessFailing, message, FOREIGN))
        }
        (Trouble::NotTakenUp, _) if over => {
            let message = format!("pod {}: {} has not taken it up", silence.about.pod, its_node(&silence.about));
            Some(Cause::new(Reason::NodeFailed, message, ASK_ABOUT_NODE))
        }
        (Trouble::ReadinessGate { gate, words }, _) if over => Some(Cause::new(
            Reason::ReadinessGatesNotReady,
            format!("pod {}: its containers are ready, and {}", silence.about.pod, of_gate(gate, words.as_deref())),
            "The gateway's spec has no readiness gate: ask who runs the cluster what adds it to pods, and what is to set it.",
        )),
        (Trouble::Initializing { sidecar, .. }, _) if over => Some(Cause::new(
            Reason::ContainersNotInitialized,
            format!("{}, which is not in the spec: {}", who(&silence.about), of_init(silence, *sidecar)),
            FOREIGN,
        )),
        _ => None,
    }
}

fn of_gate(gate: &str, words: Option<&str>) -> String {
    let words = words.map_or_else(|| "its condition is not set yet".to_owned(), say);
    format!("its readiness gate {:?} is not: {words}", say(gate))
}

/// What a container does that the others wait for.
fn of_init(silence: &Silence, sidecar: bool) -> String {
    let since = match &silence.about.trouble {
        Trouble::Initializing { since: Some(since), .. } => format!(" since {since}"),
        _ => String::new(),
    };
    let what = if sidecar { "is not started" } else { "does not finish" };
    let words = match &silence.complaint {
        Some(Complaint::Probe(answer)) => format!(": {}", say(&answer.words)),
        _ => String::new(),
    };
    format!("it has been running{since} and {what}{words}")
}

/// What a start waits for whose pods are in good health so far, in words that say nothing of a single pod.
pub fn not_ready_yet(s: &Situation<'_>) -> Option<String> {
    let silence = s.observed.pods.silence.as_ref()?;
    if silence.lasted < super::patience::SOON {
        return None;
    }
    let container = silence.about.container.as_deref().unwrap_or_default();
    match (&silence.about.trouble, &silence.complaint) {
        (Trouble::Unready { .. }, Some(Complaint::Probe(answer))) => Some(probed(s, &silence.about, answer).1),
        (Trouble::ReadinessGate { gate, .. }, _) => Some(format!("readiness gate {:?} is not set", say(gate))),
        (Trouble::Initializing { sidecar, .. }, _) => {
            let what = if *sidecar { "is not started" } else { "has not finished" };
            Some(format!("container {container}, which is not in the spec, {what}"))
        }
        _ => None,
    }
}

/// How far the pod came that is followed, where nothing is known to be wrong with it.
pub(super) fn how_far(observed: &Observed) -> Option<String> {
    let Silence { about, .. } = observed.pods.silence.as_ref()?;
    match about.trouble {
        Trouble::SettingUp => Some(format!("pod {} is being set up by {}", about.pod, its_node(about))),
        Trouble::Unready { .. } => Some(format!("pod {} runs and is not ready", about.pod)),
        _ => None,
    }
}

fn its_node(pod: &PodTrouble) -> String {
    pod.node.as_ref().map_or_else(|| "its node".to_owned(), |node| format!("its node {node}"))
}

const ASK_ABOUT_NODE: &str = "Ask who runs the cluster about the node.";

pub(super) fn node_failed(observed: &Observed) -> Option<Cause> {
    let cause = |pod: &PodTrouble, what: String, hint: &str| {
        Cause::new(Reason::NodeFailed, format!("pod {}: {} {what}", pod.pod, its_node(pod)), hint)
    };
    let in_status = first(observed, |pod| match &pod.trouble {
        Trouble::GivenUp { reason, message } => {
            let words = [reason, message].into_iter().filter(|words| !words.is_empty()).map(|words| say(words));
            let words = words.collect::<Vec<_>>().join(": ");
            let why = if words.is_empty() { words } else { format!(": {words}") };
            Some(cause(pod, format!("gave it up{why}"), what_gives_up(reason)))
        }
        Trouble::NodeIsAway => Some(cause(pod, "does not answer".to_owned(), ASK_ABOUT_NODE)),
        _ => None,
    });
    in_status.or_else(|| match complaint(observed)? {
        (about, Complaint::Node(words)) => {
            Some(cause(about, format!("cannot set it up: {}", say(words)), ASK_ABOUT_NODE))
        }
        _ => None,
    })
}

fn what_gives_up(reason: &str) -> &'static str {
    if reason == "Evicted" || reason.starts_with("OutOf") {
        "A pod that needs more than spec.resources.requests is the first to go: raise them, or ask who runs the cluster."
    } else {
        "Another pod takes its place; if none comes up, ask who runs the cluster about the node."
    }
}

pub(super) fn unschedulable(s: &Situation<'_>, _: Patience) -> Option<Cause> {
    first(s.observed, |pod| match &pod.trouble {
        Trouble::Unschedulable(words) => {
            let message = format!("{}: no node takes it: {}", who(pod), say(kubelets::first_sentence(words)));
            Some(Cause::new(Reason::Unschedulable, message, kubelets::what_is_short(words, &s.gateway.spec)))
        }
        _ => None,
    })
}

/// The pod that is followed waits for somebody before it gets a node.
pub(super) fn not_scheduled(s: &Situation<'_>, patience: Patience) -> Option<Cause> {
    let silence = s.observed.pods.silence.as_ref().filter(|silence| is_over(s, silence, patience))?;
    let pod = &silence.about.pod;
    match &silence.about.trouble {
        Trouble::Gated(gates) => {
            let names: Vec<String> = gates.iter().map(|gate| format!("{:?}", say(gate))).collect();
            let (gates, are) = if names.len() == 1 { ("gate", "is") } else { ("gates", "are") };
            let names = names.join(", ");
            Some(Cause::new(
                Reason::SchedulingGated,
                format!(
                    "pod {pod}: it gets no node before its scheduling {gates} {names}, not in the spec, {are} removed"
                ),
                "The gateway's spec has no scheduling gate: ask who runs the cluster what adds it to pods, and what is to remove it.",
            ))
        }
        Trouble::NoScheduler(scheduler) => {
            let hint = if scheduler == DEFAULT_SCHEDULER {
                "Ask who runs the cluster whether its scheduler runs."
            } else {
                "The gateway's spec names no scheduler: ask who runs the cluster what names this one in pods, and whether it runs."
            };
            let whose = if scheduler == DEFAULT_SCHEDULER { "" } else { ", not in the spec," };
            let message = format!("pod {pod}: its scheduler {:?}{whose} has not looked at it", say(scheduler));
            Some(Cause::new(Reason::Unschedulable, message, hint))
        }
        _ => None,
    }
}
