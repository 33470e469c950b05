//! Checks a whole namespace of gateways after their start.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::ListParams;
use phasegate_core::api::ApiGateway;
use serde_json::{Value, json};

use crate::{DEADLINE, World, gateway, is_true, path};

/// Many gateways with a host each, in one namespace.
pub struct Fleet<'a> {
    world: &'a World,
    names: BTreeSet<String>,
}

impl<'a> Fleet<'a> {
    /// Applies `count` gateways concurrently, with these fields of the spec besides image and host.
    pub async fn apply(world: &'a World, prefix: &str, count: usize, spec: Value) -> Self {
        let names = (0..count).map(|number| format!("{prefix}-{number}")).collect();
        let fleet = Self { world, names };
        stream::iter(&fleet.names).for_each_concurrent(16, |name| fleet.apply_one(name, &spec)).await;
        fleet
    }

    async fn apply_one(&self, name: &str, spec: &Value) {
        let mut all =
            json!({ "image": "acme/gateway:1", "host": format!("{name}.{}.example.com", self.world.namespace) });
        all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        self.world.apply(&gateway(name, all)).await;
    }

    /// Their names.
    pub fn names(&self) -> &BTreeSet<String> {
        &self.names
    }

    /// The number of transitions so far, of all gateways together.
    pub async fn transitions(&self) -> i64 {
        // A read from the API server's cache is fresh enough, and cheaper.
        let gateways = self.gateways(&ListParams::default().match_any()).await;
        gateways.values().filter_map(|gateway| gateway.status.as_ref()).map(|status| status.transitions).sum()
    }

    /// The number of gateways whose first start began after that of `other`, by the operator's timestamps.
    pub async fn begun_after(&self, other: &ApiGateway) -> usize {
        let begun = |gateway: &ApiGateway| Some(gateway.status.as_ref()?.history.first()?.at.0);
        let moment = begun(other);
        let gateways = self.gateways(&ListParams::default()).await;
        gateways.values().filter(|gateway| begun(gateway).is_none_or(|at| Some(at) > moment)).count()
    }

    /// The number of transitions between two moments, by the operator's timestamps.
    pub async fn transitions_between(&self, from: Timestamp, to: Timestamp) -> usize {
        let gateways = self.gateways(&ListParams::default()).await;
        let history =
            gateways.values().filter_map(|gateway| gateway.status.as_ref()).flat_map(|status| &status.history);
        history.filter(|step| from < step.at.0 && step.at.0 < to).count()
    }

    async fn gateways(&self, list: &ListParams) -> BTreeMap<String, ApiGateway> {
        let all = self.world.api::<ApiGateway>().list(list).await.unwrap();
        let ours = all.items.into_iter().filter(|gateway| self.names.contains(&gateway.name_any()));
        ours.map(|gateway| (gateway.name_any(), gateway)).collect()
    }

    /// Waits until there were this many transitions.
    pub async fn until_transitions(&self, count: i64) {
        let reached = tokio::time::timeout(DEADLINE, async {
            loop {
                let asked = Instant::now();
                if self.transitions().await >= count {
                    return;
                }
                // Reads of a large fleet must not slow it down.
                tokio::time::sleep((4 * asked.elapsed()).max(Duration::from_millis(50))).await;
            }
        });
        assert!(reached.await.is_ok(), "only {} of {count} transitions", self.transitions().await);
    }

    /// Waits until all of them serve, each after exactly one start with one attempt.
    pub async fn until_all_started_once(&self) {
        let count = i64::try_from(self.names.len()).unwrap();
        self.until_transitions(2 * count).await;
        for (name, gateway) in self.gateways(&ListParams::default()).await {
            let steps = path(&gateway);
            let status = gateway.status.as_ref().unwrap();
            assert_eq!(steps, ["Starting/Running StartRequested", "Started/Running Started"], "{name}: {status:#?}");
            assert_eq!((status.transitions, status.attempt.as_ref().unwrap().number), (2, 1), "{name}");
            assert!(status.last_failure.is_none(), "{name}");
            assert!(is_true(&gateway, "Available"), "{name}");
        }
    }

    /// Asserts that every gateway owns exactly one Deployment, Service and Ingress, by the UID in their owner
    /// references, and that there are no others.
    pub async fn assert_children_are_theirs(&self) {
        let theirs: BTreeSet<(String, String)> = self
            .gateways(&ListParams::default())
            .await
            .into_iter()
            .map(|(name, gateway)| (name, gateway.metadata.uid.unwrap()))
            .collect();
        assert_eq!(theirs.len(), self.names.len());
        macro_rules! assert_one_each {
            ($($kind:ty),+) => {$(
                let found = self.world.api::<$kind>().list(&ListParams::default().labels("phasegate.dev/gateway")).await.unwrap();
                let owned: Vec<(String, String)> = found
                    .iter()
                    .map(|child| (child.name_any(), child.owner_references()[0].uid.clone()))
                    .filter(|(name, _)| self.names.contains(name))
                    .collect();
                assert_eq!(owned.len(), self.names.len(), "{}", stringify!($kind));
                assert_eq!(owned.into_iter().collect::<BTreeSet<_>>(), theirs, "{}", stringify!($kind));
            )+};
        }
        assert_one_each!(Deployment, Service, Ingress);
    }
}
