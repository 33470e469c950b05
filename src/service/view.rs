//! What is shown of this process, asked of whoever knows it at the moment when somebody looks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::Resource;

use super::health::Standing;
use crate::cluster::definitions::Definitions;
use crate::cluster::lease::LeaseStanding;
use crate::cluster::pulse::Pulses;
use crate::cluster::reachability::Outages;
use crate::control::context::Context;
use crate::metrics::Scrape;
use crate::queue::WorkQueue;

/// What is shown of this process. Clones share it.
#[derive(Clone, Default)]
pub struct View {
    /// How the Lease is doing.
    pub lease: LeaseStanding,
    /// How the watches are doing.
    pub pulses: Pulses,
    /// How the definitions that are installed are.
    pub definitions: Definitions,
    work: Arc<Mutex<Option<Work>>>,
}

/// What a process that works has to show.
struct Work {
    queue: WorkQueue,
    outages: Outages,
    /// Once everything was listed.
    context: Option<Arc<Context>>,
}

/// This process works, for as long as this is kept.
pub struct Working(View);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.pulses.clear();
        *self.0.lock() = None;
    }
}

impl View {
    /// This process works from now on.
    #[must_use]
    pub fn works(&self, queue: WorkQueue, outages: Outages) -> Working {
        *self.lock() = Some(Work { queue, outages, context: None });
        Working(self.clone())
    }

    /// Everything was listed: the gateways in the caches are counted.
    pub fn knows(&self, context: Arc<Context>) {
        if let Some(work) = &mut *self.lock() {
            work.context = Some(context);
        }
    }

    /// How this process stands now.
    pub fn standing(&self) -> Standing {
        let work = self.lock();
        let work = work.as_ref();
        Standing {
            stands_by: self.lease.stands_by(),
            lease_trouble: self.lease.trouble(),
            waits_for: self.lease.waits_for(),
            definitions: self.definitions.trouble(),
            watches: self.pulses.standing(),
            load: work.map(|work| work.queue.load()),
            unreachable: work.and_then(|work| work.outages.ongoing()),
        }
    }

    /// What a scrape counts now.
    pub fn scrape(&self) -> Scrape {
        let work = self.lock();
        let Some(work) = work.as_ref() else { return Scrape::default() };
        // Before everything was listed it is not known what there is.
        let gateways = work.context.as_ref().map(|context| {
            let all = context.scopes.all().flat_map(|caches| caches.gateways.state());
            all.filter(|gateway| context.is_mine(gateway.meta())).collect()
        });
        Scrape { leads: true, load: work.queue.load(), gateways }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Work>> {
        // Each use is one assignment.
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
