//! The pods of gateways, as far as a decision looks at them.

use k8s_openapi::api::core::v1::Pod;
use kube::Resource;

use super::index::{Cache, Kept};
use super::trouble;
use super::watched::Watched;
use crate::api::ObjectKey;
use crate::children::NAME_LABEL;
use crate::decide::observed::{DEFAULT_SCHEDULER, PodTrouble, Pods, Trouble};

/// What a decision needs of a pod. Of a pod in good order little is said.
#[derive(Clone, Debug, PartialEq)]
pub struct PodFacts {
    terminating: bool,
    // A box: most pods have none.
    trouble: Option<Box<trouble::Found>>,
}

impl Kept for PodFacts {
    type Object = Watched<Pod>;

    fn keep(pod: Watched<Pod>) -> Option<(ObjectKey, Self)> {
        let label = |name: &str| pod.meta().labels.as_ref()?.get(name).cloned();
        let gateway = ObjectKey { name: label(NAME_LABEL)?, ..ObjectKey::of(&pod) };
        let trouble = trouble::of(&pod).map(Box::new);
        let facts = Self { terminating: pod.meta().deletion_timestamp.is_some(), trouble };
        Some((gateway, facts))
    }

    fn says_the_same(&self, newer: &Self) -> bool {
        self == newer || (newer.is_quiet() && !self.terminating && !self.is_loud())
    }

    /// That a healthy pod appeared is the Deployment's to tell. No scheduler has looked at it yet, then.
    fn is_quiet(&self) -> bool {
        let is_new = |found: &trouble::Found| matches!(&found.trouble, Trouble::NoScheduler(scheduler) if scheduler == DEFAULT_SCHEDULER);
        !self.terminating && self.trouble.as_deref().is_none_or(is_new)
    }
}

impl PodFacts {
    fn is_loud(&self) -> bool {
        self.trouble.as_ref().is_some_and(|found| !found.trouble.is_silent())
    }
}

/// The pods of a gateway.
pub fn of(cache: &Cache<PodFacts>, gateway: &ObjectKey) -> Pods {
    let pods = cache.of(gateway);
    Pods {
        total: pods.len(),
        terminating: pods.iter().filter(|(_, facts)| facts.terminating).count(),
        troubles: pods
            .into_iter()
            .filter(|(_, facts)| !facts.terminating)
            .filter_map(|(pod, facts)| {
                let trouble::Found { template, container, node, trouble } = facts.trouble.as_deref()?.clone();
                Some(PodTrouble { pod, template, container, node, trouble })
            })
            .collect(),
        silence: None,
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
        let metadata = json!({ "name": "shop-1", "namespace": "a", "labels": { NAME_LABEL: "shop" } });
        Event::Apply(serde_json::from_value(json!({ "metadata": metadata, "status": status })).unwrap())
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
            assert_eq!(!cache.absorb(event).is_empty(), wakes, "{what}");
        }
    }
}
