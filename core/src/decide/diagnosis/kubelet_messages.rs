//! Parses messages of kubelets, container runtimes, image registries, schedulers and quotas for hints. They are
//! free text that changes between versions.
//!
//! **Architecture invariant:** these messages determine hints and quotes, never a reason.

use crate::api::ApiGatewaySpec;
use crate::children::CONTAINER;
use crate::decide::words::beginning;

/// Prefixes that each layer adds to the message of the layer below.
const LAYERS: &[&str] = &[
    "rpc error: code = Unknown desc = ",
    "failed to create containerd task: ",
    "failed to start containerd task: ",
    "failed to create shim task: ",
    "container create failed: ",
    "OCI runtime create failed: ",
    "OCI runtime start failed: ",
    "runc create failed: ",
    "runc start failed: ",
    "unable to start container process: ",
    "error during container init: ",
];

/// The message of the innermost layer.
pub(super) fn innermost(words: &str) -> &str {
    let whole = words.trim();
    let mut rest = whole;
    while let Some(inner) = LAYERS.iter().find_map(|layer| rest.strip_prefix(layer)) {
        rest = inner;
    }
    if rest.is_empty() { whole } else { rest }
}

/// Whether a container exceeded its memory limit before its program ran.
pub(super) fn wants_memory(words: &str) -> bool {
    let words = words.to_lowercase();
    ["oom-killed", "oom killed", "memory limit too low"].iter().any(|part| words.contains(part))
}

/// Whether the program is built for another processor architecture.
pub(super) fn is_of_another_architecture(words: &str) -> bool {
    let words = words.to_lowercase();
    words.contains("exec format error") || words.contains("no match for platform in manifest")
}

/// The part after the image. Each layer that reports a failed pull repeats the image, quoted or before a colon,
/// and completes it with registry and tag. The image's name may also be part of a URL.
pub(super) fn registrys_words<'a>(message: &'a str, image: &str) -> &'a str {
    // Each occurrence is searched together with everything before it, so the text is bounded.
    const READ: usize = 4_096;
    let message = beginning(message, READ);
    let ends = message.match_indices(image).filter_map(|(at, _)| {
        let before = &message[..at];
        let is_whole = before.is_empty() || before.ends_with([' ', '"', '/']);
        let is_address = before.rsplit([' ', '"']).next().is_some_and(|word| word.contains("://"));
        let rest = &message[at + image.len()..];
        let rest = rest.strip_prefix(":latest").unwrap_or(rest);
        let is_named = rest.starts_with('"') || rest.starts_with(": ");
        (is_whole && !is_address && is_named).then_some(rest)
    });
    let last = ends.last().unwrap_or_default().trim_start_matches(['"', ':', ' ']);
    if last.is_empty() { message } else { last }
}

/// The hint for a failed pull.
pub(super) fn why_not_pulled(words: &str) -> &'static str {
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
        "spec.image is not a valid image reference: correct it."
    } else if say(UNREACHABLE) {
        "The node cannot reach the registry: check the registry's name in spec.image, the registry, and the network."
    } else if say(UNAUTHORISED) {
        "The registry denied access: check spec.imagePullSecrets and the name in spec.image."
    } else if say(NOT_FOUND) {
        "The registry has no such image: check the name and tag in spec.image."
    } else {
        "Check spec.image, and spec.imagePullSecrets if the registry is private."
    }
}

/// The scheduler's message without the part about preemption.
pub(super) fn first_sentence(words: &str) -> &str {
    words.split_once(". ").map_or(words, |(first, _)| first)
}

/// The hint for an unschedulable pod. The scheduler counts nodes by what keeps them from taking the pod. What
/// the spec does not ask for was added by others.
pub(super) fn what_is_short(words: &str, spec: &ApiGatewaySpec) -> String {
    let asks_for_none =
        spec.resources.as_ref().is_none_or(|asked| asked.requests.is_empty() && asked.limits.is_empty());
    let requests = if asks_for_none {
        "add nodes, or ask the cluster administrator what adds requests to pods (the spec has none)"
    } else {
        "lower spec.resources.requests or add nodes"
    };
    let selector = if spec.node_selector.is_empty() {
        "ask the cluster administrator what restricts pods to nodes (spec.nodeSelector is empty)"
    } else {
        "correct spec.nodeSelector"
    };
    let cures: &[(&str, &str)] = &[
        ("Insufficient", requests),
        ("taint", "tolerate the nodes' taints in spec.tolerations"),
        ("affinity/selector", selector),
        ("topology spread", "loosen spec.topologySpread"),
        ("were unschedulable", "ask the cluster administrator to uncordon nodes (kubectl uncordon)"),
    ];
    let words = first_sentence(words);
    let cures: Vec<&str> = cures.iter().filter(|(part, _)| words.contains(part)).map(|(_, cure)| *cure).collect();
    if cures.is_empty() {
        return "Add nodes, or ask the cluster administrator why the existing nodes accept no pods.".to_owned();
    }
    format!("To be scheduled, {}.", cures.join("; "))
}

/// The volume that a kubelet cannot mount: `MountVolume.SetUp failed for volume "NAME" : WHY`.
pub(super) fn volume(words: &str) -> Option<&str> {
    Some(words.split_once("volume \"")?.1.split_once('"')?.0)
}

/// Whether a LimitRange refuses the pods.
pub(super) fn is_of_limit_range(words: &str) -> bool {
    [" usage per Container is ", " usage per Pod is ", " limit to request ratio per "]
        .iter()
        .any(|part| words.contains(part))
}

/// The hint for an exhausted quota. A spec cannot ask for fewer of what is counted by object.
pub(super) fn room(words: &str) -> &'static str {
    let requested =
        words.split_once("requested: ").map(|(_, rest)| rest.split_once(", used: ").unwrap_or((rest, "")).0);
    let mut names =
        requested.into_iter().flat_map(|list| list.split(',')).map(|one| one.split('=').next().unwrap_or(one));
    let is_object = |name: &str| name != "count/pods" && (name.starts_with("count/") || name.starts_with("services"));
    if words.contains("status unknown for quota") {
        "It continues once the ResourceQuota has been calculated; if it stays, ask the cluster administrator."
    } else if requested.is_some() && names.all(is_object) {
        "Free or raise the namespace's ResourceQuota: it counts objects, and the gateway needs this one."
    } else {
        "Free or raise the namespace's ResourceQuota, or lower spec.replicas or spec.resources."
    }
}

/// The hint for a quota that counts a value which the pod does not set.
pub(super) fn values_that_a_quota_wants(message: &str) -> Option<String> {
    let (_, wanted) = message.split_once("must specify ")?;
    let mut fields = Vec::new();
    let mut others = false;
    for part in wanted.split(';') {
        let (resources, containers) = part.split_once(" for: ").unwrap_or((part, CONTAINER));
        let ours = containers.split(',').any(|container| container.trim() == CONTAINER);
        let named = resources.split(',').filter_map(|resource| field_of(resource.trim()));
        if ours {
            fields.extend(named);
        } else {
            others = true;
        }
    }
    fields.dedup();
    match (fields.is_empty(), others) {
        (false, _) => Some(format!("Set {}: the namespace's ResourceQuota requires it.", fields.join(" and "))),
        (true, true) => Some(
            "Ask the cluster administrator what injects that container: the ResourceQuota requires these values on it."
                .to_owned(),
        ),
        (true, false) => {
            Some("Set the named values in spec.resources: the namespace's ResourceQuota requires them.".to_owned())
        }
    }
}

/// The spec field that a quota counts by this name.
fn field_of(resource: &str) -> Option<String> {
    let resource = resource.trim_end_matches('.');
    let (list, name) = match resource.split_once('.') {
        Some((list @ ("limits" | "requests"), name)) => (list, name),
        _ => ("requests", resource),
    };
    matches!(name, "cpu" | "memory" | "ephemeral-storage").then(|| format!("spec.resources.{list}.{name}"))
}
