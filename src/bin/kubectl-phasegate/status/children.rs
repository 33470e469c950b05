//! The children of a gateway as a tree, each with its state in a few words and the reason of a failure.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod, Service};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::{Resource, ResourceExt};
use phasegate::api::{ApiGateway, ObjectKey, uid_of};
use phasegate::children::{self, HttpRoute, Parent, Verdict};
use serde::Serialize;

use super::facts::{Facts, Found};
use super::pods;
use crate::output::Style;
use crate::times;

/// The maximum number of pods shown for a ReplicaSet. Pods in trouble come first.
const PODS: usize = 10;

/// An object of the tree.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Node {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its state, in a few words.
    pub state: String,
    /// Its failure, in its own words or its controller's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The objects that it owns.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Self>,
    /// The style of its state.
    #[serde(skip)]
    pub style: Style,
}

fn node(kind: &str, name: String, state: impl Into<String>, style: Style) -> Node {
    Node { kind: kind.to_owned(), name, state: state.into(), cause: None, children: Vec::new(), style }
}

fn name_of(object: &impl Resource) -> String {
    ObjectKey::of(object).name
}

/// The children that exist, and those that could not be read.
pub fn of(facts: &Facts, now: Timestamp) -> Vec<Node> {
    let gateway = &facts.gateway;
    let mut nodes = Vec::new();
    nodes.extend(child(gateway, &facts.deployment, |deployment| workload(facts, deployment, now)));
    nodes.extend(child(gateway, &facts.service, service));
    nodes.extend(child(gateway, &facts.ingress, ingress));
    nodes.extend(child(gateway, &facts.http_route, http_route));
    nodes.extend(child(gateway, &facts.disruption_budget, disruption_budget));
    // ReplicaSets outlive their Deployment for a moment, or longer if a finalizer holds them.
    if matches!(facts.deployment, Ok(None)) {
        nodes.extend(facts.pods.iter().flatten().map(|one| pod(one, now)));
    }
    nodes
}

fn child<K>(gateway: &ApiGateway, found: &Found<Option<K>>, described: impl Fn(&K) -> Node) -> Option<Node>
where
    K: Resource<DynamicType = ()>,
{
    let kind = K::kind(&());
    match found {
        Err(why) => Some(unreadable(&kind, gateway.name_or_empty(), why)),
        Ok(None) => None,
        Ok(Some(object)) => {
            let ours = object.owner_references().iter().any(|owner| owner.uid == gateway.uid());
            let name = name_of(object);
            if !ours {
                return Some(node(&kind, name, "owned by another object", Style::Bad));
            }
            let mut node = described(object);
            if object.meta().deletion_timestamp.is_some() {
                let finalizers = object.finalizers();
                node.state = "being deleted".to_owned();
                node.cause = (!finalizers.is_empty()).then(|| format!("finalizers: {}", finalizers.join(", ")));
                node.style = Style::Busy;
            }
            Some(node)
        }
    }
}

fn unreadable(kind: &str, name: &str, why: &str) -> Node {
    let mut node = node(kind, name.to_owned(), "unknown", Style::Bad);
    node.cause = Some(why.to_owned());
    node
}

fn workload(facts: &Facts, deployment: &Deployment, now: Timestamp) -> Node {
    let status = deployment.status.clone().unwrap_or_default();
    let desired = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let available = status.available_replicas.unwrap_or_default();
    let updated = status.updated_replicas.unwrap_or_default();
    let style = if available >= desired && updated >= desired { Style::Good } else { Style::Busy };
    let mut state = format!("{available} of {desired} available");
    if updated < desired && status.replicas.unwrap_or_default() > updated {
        state = format!("{state}, {updated} updated");
    }
    let mut root = node("Deployment", name_of(deployment), state, style);
    for condition in status.conditions.iter().flatten() {
        let failed = condition.type_ == "ReplicaFailure" && condition.status == "True";
        let stands_still = condition.type_ == "Progressing" && condition.status == "False";
        if failed || (stands_still && root.cause.is_none()) {
            root.cause = condition.message.clone();
            root.style = Style::Bad;
        }
    }
    let pods = match &facts.pods {
        Ok(pods) => pods.as_slice(),
        Err(why) => {
            root.children.push(unreadable("Pod", "", why));
            &[]
        }
    };
    match &facts.replica_sets {
        Ok(sets) => root.children.extend(replica_sets(sets, pods, now)),
        // The pods are shown anyway.
        Err(why) => {
            root.children.push(unreadable("ReplicaSet", "", why));
            root.children.extend(few(pods.iter(), now));
        }
    }
    root
}

/// The ReplicaSets that have pods or should have some, newest first.
fn replica_sets(sets: &[ReplicaSet], pods: &[Pod], now: Timestamp) -> Vec<Node> {
    let revision = |set: &ReplicaSet| -> i64 {
        let text = set.annotations().get("deployment.kubernetes.io/revision");
        text.and_then(|text| text.parse().ok()).unwrap_or_default()
    };
    let mut sets: Vec<&ReplicaSet> = sets.iter().collect();
    sets.sort_by_key(|set| std::cmp::Reverse(revision(set)));
    let newest = sets.first().map(|set| name_of(*set));
    let wanted = |set: &ReplicaSet| set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    sets.retain(|set| {
        wanted(set) > 0 || set.status.as_ref().is_some_and(|s| s.replicas > 0) || Some(name_of(*set)) == newest
    });
    let described = |set: &&ReplicaSet| {
        let status = set.status.clone().unwrap_or_default();
        let (ready, desired) = (status.ready_replicas.unwrap_or_default(), wanted(set));
        let newness = if Some(name_of(*set)) == newest { "" } else { ", old revision" };
        let style = if ready >= desired { Style::Good } else { Style::Busy };
        let state = format!("revision {}: {ready} of {desired} ready{newness}", revision(set));
        let mut node = node("ReplicaSet", name_of(*set), state, style);
        let refused = status.conditions.iter().flatten().find(|c| c.type_ == "ReplicaFailure" && c.status == "True");
        if let Some(refused) = refused {
            node.cause = refused.message.clone();
            node.style = Style::Bad;
        }
        let uid = uid_of(&set.metadata);
        let own = pods.iter().filter(|pod| pod.owner_references().iter().any(|owner| owner.uid == uid));
        node.children = few(own, now);
        node
    };
    sets.iter().map(described).collect()
}

/// Pods in trouble first, and at most [`PODS`] of them.
fn few<'a>(pods: impl Iterator<Item = &'a Pod>, now: Timestamp) -> Vec<Node> {
    let mut nodes: Vec<Node> = pods.map(|one| pod(one, now)).collect();
    nodes.sort_by_key(|node| (node.style == Style::Good, node.name.clone()));
    if nodes.len() > PODS {
        let more = nodes.len() - PODS;
        let rest_tone =
            if nodes[PODS..].iter().all(|node| node.style == Style::Good) { Style::Good } else { Style::Busy };
        nodes.truncate(PODS);
        nodes.push(node("Pod", format!("and {more} more"), "", rest_tone));
    }
    nodes
}

fn pod(pod: &Pod, now: Timestamp) -> Node {
    let status = pod.status.clone().unwrap_or_default();
    let restarts: i32 = status.container_statuses.iter().flatten().map(|container| container.restart_count).sum();
    let (state, cause, style) = state_of(pod, now);
    let state = match restarts {
        0 => state,
        1 => format!("{state}, restarted once"),
        _ => format!("{state}, restarted {restarts} times"),
    };
    Node { cause, ..node("Pod", name_of(pod), state, style) }
}

/// How long ago a pod's deletion began, and its grace period. The deletion timestamp is the end of the grace
/// period.
fn ending(pod: &Pod, until: Timestamp, now: Timestamp) -> (String, Option<String>, Style) {
    let grace = SignedDuration::from_secs(pod.metadata.deletion_grace_period_seconds.unwrap_or_default());
    let since = until.checked_sub(grace).unwrap_or(until);
    let lasted = times::seconds(now.duration_since(since).as_secs());
    let may_last = times::seconds(grace.as_secs());
    let finalizers = pod.finalizers();
    let held = (!finalizers.is_empty()).then(|| format!("finalizers: {}", finalizers.join(", ")));
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
    let late = (until < now).then(|| match node {
        Some(node) => format!("node {node} did not stop it within its grace period"),
        None => "it did not stop within its grace period".to_owned(),
    });
    let style = if late.is_some() { Style::Bad } else { Style::Busy };
    (format!("terminating for {lasted}, grace period {may_last}"), held.or(late), style)
}

fn state_of(pod: &Pod, now: Timestamp) -> (String, Option<String>, Style) {
    let status = pod.status.clone().unwrap_or_default();
    if let Some(until) = &pod.metadata.deletion_timestamp {
        return ending(pod, until.0, now);
    }
    // A pod that restarts its containers ends because of its node, whatever the exit codes of its containers
    // are.
    if matches!(status.phase.as_deref(), Some("Failed" | "Succeeded")) {
        let words = [status.reason, status.message].into_iter().flatten().collect::<Vec<_>>().join(": ");
        return ("terminated by its node".to_owned(), (!words.is_empty()).then_some(words), Style::Bad);
    }
    let containers = status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    if let Some((state, cause)) = containers.clone().find_map(trouble) {
        return (state, cause, Style::Bad);
    }
    if let Some(("False", message)) = pods::condition(pod, "PodScheduled") {
        let gates = pod.spec.iter().flat_map(|spec| spec.scheduling_gates.iter().flatten());
        let gates: Vec<&str> = gates.map(|gate| gate.name.as_str()).collect();
        let held = (!gates.is_empty()).then(|| format!("scheduling gates: {}", gates.join(", ")));
        return ("not scheduled".to_owned(), held.or_else(|| message.map(str::to_owned)), Style::Bad);
    }
    match status.phase.as_deref() {
        Some("Running") if pods::is_ready(pod) => ("ready".to_owned(), None, Style::Good),
        Some("Running") => {
            let message = pods::condition(pod, "Ready").and_then(|(_, message)| message);
            ("running, not ready".to_owned(), message.map(str::to_owned), Style::Busy)
        }
        Some(phase) => (phase.to_lowercase(), None, Style::Busy),
        None => ("unknown".to_owned(), None, Style::Busy),
    }
}

/// Why a container does not run, if something is wrong with it.
fn trouble(container: &ContainerStatus) -> Option<(String, Option<String>)> {
    let ended = |state: Option<&ContainerState>| {
        let terminated = state?.terminated.as_ref()?;
        if terminated.exit_code == 0 {
            return None;
        }
        let why = terminated.reason.as_deref().filter(|reason| *reason != "Error");
        let why = why.map_or_else(String::new, |reason| format!(" ({reason})"));
        let words = terminated.message.as_deref().map(str::trim).filter(|message| !message.is_empty());
        let words = words.map_or_else(String::new, |message| format!(": {message}"));
        Some(format!("container {} terminated with exit code {}{why}{words}", container.name, terminated.exit_code))
    };
    let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
    if let Some(waiting) = waiting {
        let reason = waiting.reason.as_deref().unwrap_or("waiting");
        if matches!(reason, "ContainerCreating" | "PodInitializing" | "waiting") {
            return None;
        }
        return Some((reason.to_owned(), ended(container.last_state.as_ref()).or_else(|| waiting.message.clone())));
    }
    ended(container.state.as_ref()).map(|words| ("failed".to_owned(), Some(words)))
}

fn service(service: &Service) -> Node {
    let spec = service.spec.clone().unwrap_or_default();
    let address = spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty()).unwrap_or("no address");
    let ports: Vec<String> = spec.ports.iter().flatten().map(|port| port.port.to_string()).collect();
    node("Service", name_of(service), format!("{address}:{}", ports.join(",")), Style::Good)
}

fn ingress(ingress: &Ingress) -> Node {
    let rules = ingress.spec.iter().flat_map(|spec| spec.rules.iter().flatten());
    let hosts: Vec<&str> = rules.filter_map(|rule| rule.host.as_deref()).collect();
    let balancer = ingress.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let entries = balancer.iter().flat_map(|balancer| balancer.ingress.iter().flatten());
    let addresses: Vec<&str> = entries.filter_map(|entry| entry.hostname.as_deref().or(entry.ip.as_deref())).collect();
    let at = if addresses.is_empty() { "no address yet".to_owned() } else { format!("at {}", addresses.join(", ")) };
    node("Ingress", name_of(ingress), format!("{} {at}", hosts.join(", ")), Style::Good)
}

fn http_route(route: &HttpRoute) -> Node {
    let parents = route.parents();
    let says = |parent: &Parent| match &parent.verdict {
        Verdict::Accepted => format!("accepted by {}", parent.name),
        Verdict::Refused { .. } => format!("rejected by {}", parent.name),
        Verdict::Silent => format!("no answer from {}", parent.name),
    };
    let hosts: Vec<&str> = children::hostnames(route).collect();
    let state = format!("{} {}", hosts.join(", "), parents.iter().map(says).collect::<Vec<_>>().join(", "));
    let cause = parents.iter().find_map(|parent| match &parent.verdict {
        Verdict::Refused { condition, reason, message } => Some(format!("{condition} {reason}: {message}")),
        Verdict::Accepted | Verdict::Silent => None,
    });
    let style = match () {
        () if cause.is_some() => Style::Bad,
        () if parents.iter().all(|parent| parent.verdict == Verdict::Accepted) => Style::Good,
        () => Style::Busy,
    };
    Node { cause, ..node("HTTPRoute", name_of(route), state, style) }
}

fn disruption_budget(budget: &PodDisruptionBudget) -> Node {
    let allowed = budget.status.as_ref().map_or(0, |status| status.disruptions_allowed);
    let state = format!("{allowed} disruptions allowed");
    node("PodDisruptionBudget", name_of(budget), state, Style::Plain)
}
