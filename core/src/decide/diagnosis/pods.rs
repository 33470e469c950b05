//! What pods say is wrong, in words.

use super::Cause;
use crate::api::Reason;
use crate::children;
use crate::decide::observed::{Complaint, Observed, PodTrouble, Silence, Trouble};
use crate::decide::words::say;

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

/// What to do about the gateway's own container; the spec says nothing of others.
fn hint(pod: &PodTrouble, hint: &str) -> String {
    match &pod.container {
        Some(container) if container != children::CONTAINER => {
            "The gateway's spec has no such container: ask who runs the cluster what adds it to pods.".to_owned()
        }
        _ => hint.to_owned(),
    }
}

pub(super) fn crash_loop(observed: &Observed) -> Option<Cause> {
    first(observed, |pod| {
        let (what, words, advice) = match &pod.trouble {
            Trouble::Ended { code, out_of_memory, message } => {
                let how = if *out_of_memory { " for want of memory (OOMKilled)" } else { "" };
                (format!("it ended{how} with exit code {code}"), message, what_ends(*code, *out_of_memory))
            }
            Trouble::CannotStart(message) => ("it cannot be started".to_owned(), message, NO_PROGRAM),
            _ => return None,
        };
        let words = say(words);
        let words = if words.is_empty() { String::new() } else { format!(": {words}") };
        Some(Cause::new(Reason::CrashLoop, format!("{}: {what}{words}", who(pod)), hint(pod, advice)))
    })
}

const NO_PROGRAM: &str = "Check spec.command and spec.args against what is in the image.";

fn what_ends(code: i32, out_of_memory: bool) -> &'static str {
    match code {
        _ if out_of_memory => "Raise spec.resources.limits.memory, or have the gateway need less.",
        0 => "A gateway is to run on: check spec.command and spec.args.",
        126 | 127 => NO_PROGRAM,
        // 128 and the signal: KILL or TERM.
        137 | 143 => {
            "Something ended it, most often its liveness probe: check that it listens on spec.port within half a minute."
        }
        _ => {
            "Check spec.env, spec.args and spec.volumes; while an attempt runs, kubectl logs --previous of the pod says more."
        }
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

pub(super) fn config_missing(observed: &Observed) -> Option<Cause> {
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
        (pod, Complaint::MissingVolume(words)) => Some(cause(format!("pod {pod}"), words, own.to_owned())),
        _ => None,
    })
}

/// What was heard of a silent pod.
fn complaint(observed: &Observed) -> Option<(&str, &Complaint)> {
    let Silence { pod, complaint, .. } = observed.pods.silence.as_ref()?;
    Some((pod, complaint.as_ref()?))
}

pub(super) fn image_not_pullable(observed: &Observed) -> Option<Cause> {
    first(observed, |pod| match &pod.trouble {
        Trouble::ImagePull { image, message } => {
            let words = registrys_words(message, image);
            let told = format!("{}: image {image:?} cannot be pulled: {}", who(pod), say(words));
            let cause = Cause::new(Reason::ImagePullFailed, told, hint(pod, why_not_pulled(words)));
            Some(Cause { image: Some(image.clone()), ..cause })
        }
        _ => None,
    })
}

/// What comes after the image, which each layer that reports the failure names once more.
fn registrys_words<'a>(message: &'a str, image: &str) -> &'a str {
    let last = message.rsplit_once(image).map_or("", |(_, words)| words);
    let last = last.trim_start_matches(['"', ':', ' ']);
    if last.is_empty() { message } else { last }
}

/// Told from words, since container runtimes give nothing else; so it makes a hint and no reason, which would
/// change with the words.
fn why_not_pulled(words: &str) -> &'static str {
    const INVALID: &[&str] = &["invalid reference format", "couldn't parse image"];
    const UNREACHABLE: &[&str] = &[
        "no such host",
        "server misbehaving",
        "connection refused",
        "connection reset",
        "no route to host",
        "network is unreachable",
        "timeout",
        "deadline exceeded",
        "x509",
        "tls:",
        "registry is unavailable",
        "500 internal",
        "502 bad",
        "503 service",
        "504 gateway",
        "toomanyrequests",
        "too many requests",
    ];
    const UNAUTHORISED: &[&str] =
        &["unauthorized", "authentication required", "denied", "forbidden", "no basic auth", "insufficient_scope"];
    const NOT_FOUND: &[&str] = &["not found", "manifest unknown", "name unknown", "does not exist"];
    let words = words.to_lowercase();
    let say = |any: &[&str]| any.iter().any(|part| words.contains(part));
    if say(INVALID) {
        "It is no valid reference: correct spec.image."
    } else if say(UNREACHABLE) {
        "The registry did not answer the node: check the registry's name in spec.image, the registry, and the way to it."
    } else if say(UNAUTHORISED) {
        "The registry does not give it to the gateway: check spec.imagePullSecrets, and the name in spec.image."
    } else if say(NOT_FOUND) {
        "The registry does not have it: check the name and the tag in spec.image."
    } else {
        "Check spec.image, and spec.imagePullSecrets if its registry is private."
    }
}

pub(super) fn readiness_failing(observed: &Observed) -> Option<Cause> {
    const HINT: &str =
        "Check that the gateway listens on spec.port and answers on spec.readinessPath; its log may say more.";
    match complaint(observed)? {
        (pod, Complaint::Probe(answer)) => {
            let message = format!("pod {pod}: it runs and is not ready: {}", say(answer));
            Some(Cause::new(Reason::ReadinessFailing, message, HINT))
        }
        _ => None,
    }
}

pub(super) fn node_failed(observed: &Observed) -> Option<Cause> {
    const ASK: &str = "Ask who runs the cluster about the node.";
    let cause = |pod: &str, what: String, hint: &str| {
        Cause::new(Reason::NodeFailed, format!("pod {pod}: its node {what}"), hint)
    };
    let in_status = first(observed, |pod| match &pod.trouble {
        Trouble::GivenUp(words) => Some(cause(
            &pod.pod,
            format!("gave it up: {}", say(words)),
            "A pod that needs more than spec.resources.requests is the first to go: raise them, or ask who runs the cluster.",
        )),
        Trouble::NodeIsAway => Some(cause(&pod.pod, "does not answer".to_owned(), ASK)),
        _ => None,
    });
    in_status.or_else(|| match complaint(observed)? {
        (pod, Complaint::Node(words)) => Some(cause(pod, format!("cannot set it up: {}", say(words)), ASK)),
        _ => None,
    })
}

pub(super) fn unschedulable(observed: &Observed) -> Option<Cause> {
    first(observed, |pod| match &pod.trouble {
        Trouble::Unschedulable(words) => {
            let message = format!("{}: no node takes it: {}", who(pod), say(first_sentence(words)));
            Some(Cause::new(Reason::Unschedulable, message, what_is_short(words)))
        }
        _ => None,
    })
}

/// What follows is about pods that might make room, and none do.
fn first_sentence(words: &str) -> &str {
    words.split_once(". ").map_or(words, |(first, _)| first)
}

/// The scheduler's words count nodes by what keeps them from taking a pod.
fn what_is_short(words: &str) -> String {
    const CURES: &[(&str, &str)] = &[
        ("Insufficient", "lower spec.resources.requests or add nodes"),
        ("taint", "tolerate the nodes' taints in spec.tolerations"),
        ("affinity/selector", "correct spec.nodeSelector"),
        ("topology spread", "loosen spec.topologySpread"),
    ];
    let cures: Vec<&str> = CURES.iter().filter(|(part, _)| words.contains(part)).map(|(_, cure)| *cure).collect();
    if cures.is_empty() {
        return "Add nodes, or ask who runs the cluster why those that are there take no pods.".to_owned();
    }
    format!("To be scheduled, {}.", cures.join("; "))
}
