//! A platform's MongoDB as a registry: what is known of it, the steps of gateways' plans, and whom to wake.
//!
//! May import what `registry` may, and all of `registry` but `intent` and `follow`. Invariants: `facts` asks nobody and
//! changes nothing; what `writer` left behind is known before it returns; and nobody waits for a registry that answers.

mod facts;
mod made;
mod waiters;
mod writer;

use super::breaker::Breaker;
use super::config::Settings;
use super::document::Defaults;
use super::identity::{mirrored, mirrored_id};
use super::known::{Concerned, Known};
use super::store::Store;
use crate::api::{ApiGateway, Environment, ObjectKey};
use crate::cluster::claim::Claim;
use crate::metrics::Metrics;
use crate::queue::{Key, WorkQueue};
use made::Made;
use waiters::Waiters;
pub use waiters::document_key;

/// A platform's MongoDB.
pub struct Mongo {
    /// Bounded calls.
    pub store: Store,
    /// Whether it answers.
    pub breaker: Breaker,
    /// The documents as they were last seen.
    pub known: Known,
    /// What documents that say nothing mean.
    pub defaults: Defaults,
    /// How often the collections are read where there are no change streams.
    pub scan_interval: std::time::Duration,
    /// What of the documents became objects.
    pub made: Made,
    /// Shows whether the database answers.
    pub metrics: Metrics,
    waiters: Waiters,
}

impl Mongo {
    /// A registry of which nothing is known yet.
    pub fn new(settings: Settings, claim: Claim, queue: WorkQueue, metrics: Metrics) -> Self {
        let breaker = Breaker::default();
        Self {
            defaults: settings.defaults.clone(),
            scan_interval: settings.scan_interval,
            store: Store::new(settings, claim, breaker.clone(), metrics.clone()),
            breaker,
            known: Known::default(),
            made: Made::default(),
            metrics,
            waiters: Waiters::new(queue),
        }
    }

    /// An object waits until the registry can be asked. It is woken at once where it can be by now.
    pub fn wait(&self, key: Key) {
        self.waiters.wait(key, || self.unavailable().is_none());
    }

    /// Wakes whoever waits for the registry.
    pub fn wake_waiting(&self) {
        self.waiters.wake_all();
    }

    /// Documents are to be looked at.
    pub fn wake_documents(&self, concerned: &Concerned) {
        self.waiters.wake_documents(concerned);
    }

    /// A gateway is to be looked at.
    pub fn wake_gateway(&self, gateway: &ObjectKey) {
        self.waiters.wake_gateway(gateway);
    }

    /// Documents changed: they are looked at, and their gateways.
    pub fn changed(&self, concerned: &Concerned) {
        // Before everything is known, it would be looked at in vain.
        if !self.known.is_complete() {
            return;
        }
        self.wake_documents(concerned);
        for id in concerned {
            for gateway in mirrored(id).into_iter().chain(self.made.places_of(id)) {
                self.wake_gateway(&gateway);
            }
        }
    }

    /// A gateway appeared or changed.
    pub fn saw_gateway(&self, gateway: &ApiGateway) {
        self.wake_documents(&self.made.saw_gateway(gateway));
    }

    /// A gateway is gone.
    pub fn lost_gateway(&self, gateway: &ObjectKey) {
        let mut concerned = self.made.lost_gateway(gateway);
        // One that was kubectl's may have left its mirror behind.
        concerned.insert(mirrored_id(gateway));
        self.wake_documents(&concerned);
    }

    /// An environment appeared or changed.
    pub fn saw_environment(&self, environment: &Environment) {
        self.wake_documents(&self.made.saw_environment(environment));
    }

    /// An environment is gone.
    pub fn lost_environment(&self, environment: &ObjectKey) {
        self.wake_documents(&self.made.lost_environment(environment));
    }
}
