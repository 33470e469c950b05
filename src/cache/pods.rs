//! Caches the facts about gateways' pods that decisions read.
//!
//! **Architecture invariant:** a pod that is not owned is only named. Its state is no fact about the gateway.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;

use super::index::{Cache, Cached};
use super::trouble;
use super::watched::Watched;
use crate::api::ObjectKey;
use crate::children::NAME_LABEL;
use crate::decide::observed::{DEFAULT_SCHEDULER, PodTermination, PodTrouble, Pods, RemainingPod, Trouble};

/// The facts about one pod. A healthy pod has few.
#[derive(Clone, Debug, PartialEq)]
pub struct PodFacts {
    /// Whether a ReplicaSet of the gateway owns it.
    owned: bool,
    /// What may keep it, if it terminates.
    termination: Option<Box<PodTermination>>,
    // Boxed, since most pods have none.
    trouble: Option<Box<trouble::PodFinding>>,
}

impl Cached for PodFacts {
    type Object = Watched<Pod>;

    fn from_object(pod: Watched<Pod>) -> Option<(ObjectKey, Self)> {
        let label = |name: &str| pod.meta().labels.as_ref()?.get(name).cloned();
        let gateway = ObjectKey { name: label(NAME_LABEL)?, ..ObjectKey::of(&pod) };
        let owned = is_owned(pod.meta(), &gateway.name);
        let trouble = trouble::of(&pod).filter(|_| owned).map(Box::new);
        Some((gateway, Self { owned, termination: termination(&pod).map(Box::new), trouble }))
    }

    fn is_unchanged(&self, newer: &Self) -> bool {
        let quiet = newer.is_quiet() && self.termination.is_none() && !self.is_loud();
        self == newer || (quiet && self.owned == newer.owned)
    }

    /// A healthy new pod is no news; the Deployment reports it. Neither is one that no scheduler or node has
    /// handled yet.
    fn is_quiet(&self) -> bool {
        let is_new = |found: &trouble::PodFinding| match &found.trouble {
            Trouble::NoScheduler(scheduler) => scheduler == DEFAULT_SCHEDULER,
            trouble => *trouble == Trouble::NotTakenUp,
        };
        self.termination.is_none() && self.trouble.as_deref().is_none_or(is_new)
    }
}

impl PodFacts {
    fn is_loud(&self) -> bool {
        self.trouble.as_ref().is_some_and(|found| !found.trouble.is_unexplained())
    }
}

/// Whether a ReplicaSet of the gateway's Deployment controls the pod; it is named after the Deployment. A pod
/// that was removed from its ReplicaSet has no controller, and another controller's pod is that one's: neither
/// ends with the gateway.
fn is_owned(pod: &ObjectMeta, gateway: &str) -> bool {
    let controller = pod.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    controller.is_some_and(|owner| {
        let of_gateway = owner.name.strip_prefix(gateway).is_some_and(|rest| rest.starts_with('-'));
        owner.kind == ReplicaSet::kind(&()) && owner.api_version == ReplicaSet::api_version(&()) && of_gateway
    })
}

fn termination(pod: &Watched<Pod>) -> Option<PodTermination> {
    pod.meta().deletion_timestamp.as_ref()?;
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    Some(PodTermination { node, finalizers: pod.meta().finalizers.clone().unwrap_or_default() })
}

/// How many pods a stop names in its message.
const NAMED: usize = 3;

/// The pods of a gateway.
pub fn of(cache: &Cache<PodFacts>, gateway: &ObjectKey) -> Pods {
    let (pods, unowned): (Vec<_>, Vec<_>) = cache.of(gateway).into_iter().partition(|(_, facts)| facts.owned);
    let left = |(pod, facts): &(String, Arc<PodFacts>)| RemainingPod {
        pod: pod.clone(),
        termination: facts.termination.as_deref().cloned(),
    };
    Pods {
        total: pods.len(),
        terminating: pods.iter().filter(|(_, facts)| facts.termination.is_some()).count(),
        remaining: pods.iter().take(NAMED).map(left).collect(),
        unowned: unowned.into_iter().map(|(pod, _)| pod).collect(),
        troubles: pods
            .into_iter()
            .filter(|(_, facts)| facts.termination.is_none())
            .filter_map(|(pod, facts)| {
                let trouble::PodFinding { template, container, node, trouble } = facts.trouble.as_deref()?.clone();
                Some(PodTrouble { pod, template, container, node, trouble })
            })
            .collect(),
        unexplained: None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use kube::runtime::watcher::Event;
    use serde_json::{Value, json};

    use super::*;

    /// A pod of the gateway `shop`, whose only container is in this state, or ready.
    fn pod(state: Option<Value>) -> Event<Watched<Pod>> {
        let ready = state.is_none();
        let container = json!({ "name": "gateway", "image": "acme/gateway:1", "imageID": "", "restartCount": 0,
            "ready": ready, "state": state.unwrap_or_else(|| json!({ "running": {} })) });
        let status = json!({
            "phase": "Running",
            "conditions": [{ "type": "Ready", "status": if ready { "True" } else { "False" } }],
            "containerStatuses": [container],
        });
        let metadata = json!({ "name": "shop-1", "namespace": "a", "labels": { NAME_LABEL: "shop" },
            "ownerReferences": [replica_set("shop-5d4f")] });
        applied(json!({ "metadata": metadata, "status": status }))
    }

    fn replica_set(name: &str) -> Value {
        json!({ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name, "uid": "u", "controller": true })
    }

    fn applied(pod: Value) -> Event<Watched<Pod>> {
        Event::Apply(serde_json::from_value(pod).unwrap())
    }

    /// A pod of this name with these owners, and what is different in its metadata.
    fn owned_by(name: &str, owners: Value, metadata: Value) -> Value {
        let mut pod = json!({
            "metadata": { "name": name, "namespace": "a", "labels": { NAME_LABEL: "shop" }, "ownerReferences": owners },
            "spec": { "nodeName": "node-1" },
        });
        pod["metadata"].as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
        pod
    }

    fn shop() -> ObjectKey {
        ObjectKey::new("a", "shop")
    }

    #[test]
    fn a_pod_is_the_gateways_as_long_as_a_replica_set_of_its_deployment_controls_it() {
        let other = |kind: &str, version: &str, name: &str, controller: bool| json!([{ "apiVersion": version, "kind": kind, "name": name, "uid": "u", "controller": controller }]);
        for (what, owners, owned) in [
            ("its own", json!([replica_set("shop-5d4f")]), true),
            ("taken out of it by a label", json!(null), false),
            ("with no owner left", json!([]), false),
            ("another Deployment's", json!([replica_set("blog-5d4f")]), false),
            ("a Deployment's whose name begins alike", json!([replica_set("shopping-5d4f")]), false),
            ("a Job's that copied the label", other("Job", "batch/v1", "shop-5d4f", true), false),
            ("another group's", other("ReplicaSet", "example.com/v1", "shop-5d4f", true), false),
            ("owned, and not controlled", other("ReplicaSet", "apps/v1", "shop-5d4f", false), false),
        ] {
            let cache = Cache::<PodFacts>::default();
            cache.apply_event(applied(owned_by("shop-1", owners, json!({}))));
            let pods = of(&cache, &shop());
            let unowned: &[String] = if owned { &[] } else { &["shop-1".to_owned()] };
            assert_eq!((pods.total, pods.unowned.as_slice()), (usize::from(owned), unowned), "{what}");
        }
    }

    #[test]
    fn a_gateway_looks_again_when_a_pod_of_its_own_is_nobodys_any_more() {
        let cache = Cache::<PodFacts>::default();
        let owners = json!([replica_set("shop-5d4f")]);
        assert_eq!(cache.apply_event(applied(owned_by("shop-1", owners, json!({})))), []);
        assert_eq!(cache.apply_event(applied(owned_by("shop-1", json!([]), json!({})))), [shop()]);
    }

    #[test]
    fn of_what_is_left_the_first_three_are_named_with_what_may_keep_them() {
        let cache = Cache::<PodFacts>::default();
        let going = json!({ "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["example.com/a"] });
        for (name, metadata) in [("d", json!({})), ("c", json!({})), ("b", going.clone()), ("a", json!({}))] {
            cache.apply_event(applied(owned_by(name, json!([replica_set("shop-5d4f")]), metadata)));
        }
        let pods = of(&cache, &shop());
        let kept = PodTermination { node: Some("node-1".to_owned()), finalizers: vec!["example.com/a".to_owned()] };
        let left = |pod: &str, termination| RemainingPod { pod: pod.to_owned(), termination };
        assert_eq!(pods.remaining, [left("a", None), left("b", Some(kept)), left("c", None)]);
        assert_eq!((pods.total, pods.terminating), (4, 1));
    }

    fn waiting(reason: &str, message: &str) -> Option<Value> {
        Some(json!({ "waiting": { "reason": reason, "message": message } }))
    }

    /// Each event, and whether the gateway looks again for it.
    #[test]
    fn every_trouble_of_a_pod_wakes_its_gateway_and_its_getting_ready_is_left_to_the_deployment() {
        let cache = Cache::<PodFacts>::default();
        let running = || Some(json!({ "running": {} }));
        let steps = [
            ("a healthy pod appears", pod(None), false),
            ("it is not ready", pod(running()), true),
            ("still not", pod(running()), false),
            ("it is ready", pod(None), false),
            ("it is made anew", pod(waiting("ContainerCreating", "")), true),
            ("it cannot be pulled", pod(waiting("ErrImagePull", "not found")), true),
            ("in other words", pod(waiting("ImagePullBackOff", "Back-off: not found")), true),
            ("in the same words", pod(waiting("ImagePullBackOff", "Back-off: not found")), false),
            ("that is over", pod(None), true),
        ];
        for (what, event, wakes) in steps {
            assert_eq!(!cache.apply_event(event).is_empty(), wakes, "{what}");
        }
    }
}
