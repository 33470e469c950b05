//! A platform's MongoDB as a registry: facts, writes, and whom to requeue.
//!
//! **Architecture invariant:** this module imports what `registry` may, and all of `registry` except `intent`
//! and `follow`. `facts` makes no call. The cache reflects each write of `writer` before it returns. Nothing
//! waits for a registry that answers.

mod applied;
mod facts;
mod waiters;
mod writer;

use super::breaker::Breaker;
use super::cache::{DocumentCache, GatewayIds};
use super::config::Settings;
use super::document::Defaults;
use super::identity::{mirrored, mirrored_id};
use super::store::Store;
use crate::api::{ApiGateway, Environment, ObjectKey};
use crate::cluster::claim::Claim;
use crate::metrics::Metrics;
use crate::queue::{Key, WorkQueue};
use applied::AppliedObjects;
use waiters::Waiters;
pub use waiters::document_key;

/// A platform's MongoDB.
pub struct Mongo {
    /// Bounded calls.
    pub store: Store,
    /// Whether the database answers.
    pub breaker: Breaker,
    /// The document cache.
    pub cache: DocumentCache,
    /// Defaults for documents.
    pub defaults: Defaults,
    /// The interval of scans on a server without change streams.
    pub scan_interval: std::time::Duration,
    /// The objects that were applied for documents.
    pub applied: AppliedObjects,
    /// Metrics of the registry.
    pub metrics: Metrics,
    waiters: Waiters,
}

impl Mongo {
    /// A registry with an empty cache.
    pub fn new(settings: Settings, claim: Claim, queue: WorkQueue, metrics: Metrics) -> Self {
        let breaker = Breaker::default();
        Self {
            defaults: settings.defaults.clone(),
            scan_interval: settings.scan_interval,
            store: Store::new(settings, claim, breaker.clone(), metrics.clone()),
            breaker,
            cache: DocumentCache::default(),
            applied: AppliedObjects::default(),
            metrics,
            waiters: Waiters::new(queue),
        }
    }

    /// Requeues an object once the registry answers; at once if it does already.
    pub fn wait(&self, key: Key) {
        self.waiters.wait(key, || self.unavailable().is_none());
    }

    /// Requeues everything that waits for the registry.
    pub fn requeue_waiting(&self) {
        self.waiters.requeue_all();
    }

    /// Requeues documents.
    pub fn requeue_documents(&self, affected: &GatewayIds) {
        self.waiters.requeue_documents(affected);
    }

    /// Requeues a gateway.
    pub fn requeue_gateway(&self, gateway: &ObjectKey) {
        self.waiters.requeue_gateway(gateway);
    }

    /// Requeues changed documents and their gateways.
    pub fn changed(&self, affected: &GatewayIds) {
        // Before the cache is complete, a pass would be in vain.
        if !self.cache.is_complete() {
            return;
        }
        self.requeue_documents(affected);
        for id in affected {
            for gateway in mirrored(id).into_iter().chain(self.applied.places_of(id)) {
                self.requeue_gateway(&gateway);
            }
        }
    }

    /// Called when a gateway appeared or changed.
    pub fn saw_gateway(&self, gateway: &ApiGateway) {
        self.requeue_documents(&self.applied.saw_gateway(gateway));
    }

    /// Called when a gateway is gone.
    pub fn lost_gateway(&self, gateway: &ObjectKey) {
        let mut affected = self.applied.lost_gateway(gateway);
        // A gateway that was created with kubectl may have left its mirror behind.
        affected.insert(mirrored_id(gateway));
        self.requeue_documents(&affected);
    }

    /// Called when an environment appeared or changed.
    pub fn saw_environment(&self, environment: &Environment) {
        self.requeue_documents(&self.applied.saw_environment(environment));
    }

    /// Called when an environment is gone.
    pub fn lost_environment(&self, environment: &ObjectKey) {
        self.requeue_documents(&self.applied.lost_environment(environment));
    }
}
