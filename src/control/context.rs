//! What every pass shares.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{Selector, SelectorExt};
use tokio::sync::Semaphore;

use super::memory::Memory;
use crate::cache::scopes::Scopes;
use crate::cluster::calls::Calls;
use crate::cluster::events::Herald;
use crate::cluster::pod_events::Complaints;
use crate::cluster::reachability::Outages;
use crate::decide::observed::Settings;
use crate::metrics::Metrics;
use crate::queue::WorkQueue;
use crate::registry::Registry;

/// How many passes over large gateways run at once: each has one in memory, several times over.
pub const LARGE_AT_ONCE: usize = 4;

/// What every pass shares.
pub struct Context {
    /// Bounded calls to the API server.
    pub calls: Calls,
    /// The caches of all scopes.
    pub scopes: Arc<Scopes>,
    /// What the Events of pods say.
    pub complaints: Complaints,
    /// What this process remembers about each gateway.
    pub memory: Arc<Memory>,
    /// When the API server was out of reach.
    pub outages: Outages,
    /// The operator's flags.
    pub settings: Settings,
    /// Which gateways are this operator's; others are only looked at.
    pub selector: Selector,
    /// Lets few large gateways be in memory at once.
    pub large: Semaphore,
    /// Tells Events.
    pub herald: Herald,
    /// Counts.
    pub metrics: Metrics,
    /// Where gateways are recorded.
    pub registry: Registry,
    /// Who is worked on next.
    pub queue: WorkQueue,
}

impl Context {
    /// Whether a gateway with this metadata is this operator's to work on.
    pub fn is_mine(&self, gateway: &ObjectMeta) -> bool {
        self.selector.matches(gateway.labels.as_ref().unwrap_or(&BTreeMap::new()))
    }
}
