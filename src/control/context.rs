//! What every reconcile shares.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{Selector, SelectorExt};

use crate::api::ObjectKey;
use crate::cluster::calls::Calls;
use crate::cluster::pod_events::Complaints;
use crate::cluster::reachability::Outages;
use crate::control::memory::Memory;
use crate::control::record::Herald;
use crate::control::watch::Caches;
use crate::decide::observed::Settings;
use crate::metrics::Metrics;
use crate::registry::Registry;

/// What every reconcile shares.
pub struct Context {
    /// Bounded calls to the API server.
    pub calls: Calls,
    /// The caches of one scope.
    pub caches: Arc<Caches>,
    /// What the Events of pods say.
    pub complaints: Arc<Complaints>,
    /// What this process remembers about each gateway.
    pub memory: Arc<Memory>,
    /// When the API server was out of reach.
    pub outages: Outages,
    /// The operator's flags.
    pub settings: Settings,
    /// Which gateways are this operator's; others are only looked at.
    pub selector: Selector,
    /// Tells Events.
    pub herald: Herald,
    /// Counts.
    pub metrics: Metrics,
    /// Where gateways are recorded.
    pub registry: Registry,
}

impl Context {
    /// Whether a gateway with this metadata is this operator's to work on.
    pub fn is_mine(&self, gateway: &ObjectMeta) -> bool {
        self.selector.matches(gateway.labels.as_ref().unwrap_or(&BTreeMap::new()))
    }

    /// Whether it is known what an object's namespace allows. In a namespace that was made a moment
    /// ago it may not be; its event wakes what is in it.
    pub fn knows_namespace_of(&self, object: &ObjectMeta) -> bool {
        let namespace = object.namespace.clone().unwrap_or_default();
        self.caches.allowed_hosts.child_of(&ObjectKey::new(&namespace, &namespace)).is_some()
    }
}
