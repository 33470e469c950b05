//! What all reconciles share.
//!
//! **Architecture invariant:** nothing here belongs to one gateway: what is remembered of a gateway is in
//! `memory`.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{Selector, SelectorExt};
use tokio::sync::Semaphore;

use super::memory::Memory;
use crate::cache::scopes::Scopes;
use crate::cluster::calls::Calls;
use crate::cluster::events::EventRecorder;
use crate::cluster::pod_events::PodEvents;
use crate::cluster::reachability::Outages;
use crate::decide::observed::Settings;
use crate::metrics::Metrics;
use crate::queue::WorkQueue;
use crate::registry::Registry;

/// How many large gateways are reconciled at once, since each is in memory several times over.
pub const LARGE_AT_ONCE: usize = 4;

/// What all reconciles share.
pub struct Context {
    /// Bounded calls to the API server.
    pub calls: Calls,
    /// The caches of all scopes.
    pub scopes: Arc<Scopes>,
    /// Cached Events of pods.
    pub pod_events: PodEvents,
    /// What this process remembers about objects.
    pub memory: Arc<Memory>,
    /// Outages of the API server and its storage.
    pub outages: Outages,
    /// The operator's flags.
    pub settings: Settings,
    /// Selects the gateways of this operator. Others are only observed.
    pub selector: Selector,
    /// Bounds the number of large gateways in memory.
    pub large: Semaphore,
    /// Records Events.
    pub recorder: EventRecorder,
    /// Counts.
    pub metrics: Metrics,
    /// The registry of gateways.
    pub registry: Registry,
    /// The work queue.
    pub queue: WorkQueue,
}

impl Context {
    /// Whether this operator is responsible for a gateway with this metadata.
    pub fn is_mine(&self, gateway: &ObjectMeta) -> bool {
        self.selector.matches(gateway.labels.as_ref().unwrap_or(&BTreeMap::new()))
    }
}
