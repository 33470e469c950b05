//! The state of this process, collected for health checks and metrics at the moment of each request.
//!
//! **Architecture invariant**: nothing is stored here for the sake of a report. Each part is read from its
//! owner (the queue, the caches, the heartbeats) when a probe or a scrape asks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::Resource;

use super::health::ProcessHealth;
use crate::cluster::definitions::Definitions;
use crate::cluster::heartbeat::Heartbeats;
use crate::cluster::lease::LeaseHealth;
use crate::cluster::reachability::Outages;
use crate::control::context::Context;
use crate::metrics::Scrape;
use crate::queue::WorkQueue;
use crate::sink::Outbox;

/// The state that this process reports. Clones share it.
#[derive(Clone, Default)]
pub struct View {
    /// The state of the Lease.
    pub lease: LeaseHealth,
    /// The heartbeats of the watches.
    pub heartbeats: Heartbeats,
    /// The state of the installed custom resource definitions.
    pub definitions: Definitions,
    work: Arc<Mutex<Option<Work>>>,
}

/// What a working process reports.
struct Work {
    queue: WorkQueue,
    outages: Outages,
    outbox: Outbox,
    /// Set when the initial lists are complete.
    context: Option<Arc<Context>>,
}

/// The process counts as working while this guard exists.
pub struct WorkGuard(View);

impl Drop for WorkGuard {
    fn drop(&mut self) {
        self.0.heartbeats.clear();
        *self.0.lock() = None;
    }
}

impl View {
    /// Marks this process as working. The mark lasts as long as the guard.
    #[must_use]
    pub fn works(&self, queue: WorkQueue, outages: Outages, outbox: Outbox) -> WorkGuard {
        *self.lock() = Some(Work { queue, outages, outbox, context: None });
        WorkGuard(self.clone())
    }

    /// Marks the initial lists as complete: from now on the gateways in the caches are counted.
    pub fn knows(&self, context: Arc<Context>) {
        if let Some(work) = &mut *self.lock() {
            work.context = Some(context);
        }
    }

    /// The current health of this process.
    pub fn health(&self) -> ProcessHealth {
        let work = self.lock();
        let work = work.as_ref();
        ProcessHealth {
            stands_by: self.lease.stands_by(),
            lease_trouble: self.lease.trouble(),
            waits_for: self.lease.waits_for(),
            definitions: self.definitions.trouble(),
            watches: self.heartbeats.health(),
            load: work.map(|work| work.queue.load()),
            unreachable: work.and_then(|work| work.outages.ongoing()),
        }
    }

    /// The current values for a scrape.
    pub fn scrape(&self) -> Scrape {
        let work = self.lock();
        let Some(work) = work.as_ref() else { return Scrape::default() };
        // Before the initial lists are complete, the number of gateways is unknown.
        let gateways = work.context.as_ref().map(|context| {
            let all = context.scopes.all().flat_map(|caches| caches.gateways.state());
            all.filter(|gateway| context.is_mine(gateway.meta())).collect()
        });
        Scrape { leads: true, load: work.queue.load(), gateways, events: work.outbox.backlog() }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Work>> {
        // A poisoned lock is safe to use, because each use is one assignment.
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
