//! The schedule of requeue batches: which hosts were freed, and when the next batch of waiters is due.
//!
//! **Architecture invariant:** this module decides when a batch is due, never which claimants are in it.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;

use super::host_request::Claimant;

/// A claimant that waits for a host; sorts by priority.
pub(super) type Waiter = (Timestamp, Claimant);

/// The size of the first batch. Each further batch is twice as large.
const FIRST_BATCH: usize = 4;

/// How long a batch has to take the host before the next one is requeued.
pub(super) const BATCH_INTERVAL: Duration = Duration::from_secs(1);

/// What became available.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Freed {
    /// A host.
    Host(String),
    /// One more host within a namespace's limit.
    Namespace(String),
}

/// The scheduled batches.
#[derive(Debug, Default)]
pub(super) struct Batches {
    open: HashMap<Freed, Batch>,
    due: BTreeSet<(Instant, Freed)>,
}

#[derive(Debug)]
pub(super) struct Batch {
    pub(super) at: Instant,
    pub(super) count: usize,
    pub(super) after: Option<Waiter>,
    /// Who gave the host back because its claim could not be written. It retries with its own backoff.
    pub(super) except: Option<Claimant>,
}

impl Batches {
    /// Schedules the first batch at a moment, and replaces an earlier schedule.
    pub(super) fn start(&mut self, freed: Freed, at: Instant) {
        self.start_except(freed, at, None);
    }

    /// The same, without this claimant.
    pub(super) fn start_except(&mut self, freed: Freed, at: Instant, except: Option<Claimant>) {
        self.set(freed, Batch { at, count: FIRST_BATCH, after: None, except });
    }

    pub(super) fn set(&mut self, freed: Freed, batch: Batch) {
        let at = batch.at;
        if let Some(before) = self.open.insert(freed.clone(), batch) {
            self.due.remove(&(before.at, freed.clone()));
        }
        self.due.insert((at, freed));
    }

    /// Takes the next batch that is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(Freed, Batch)> {
        let (at, freed) = self.due.first().filter(|(at, _)| *at <= now)?.clone();
        self.due.remove(&(at, freed.clone()));
        let batch = self.open.remove(&freed)?;
        Some((freed, batch))
    }

    /// When the next batch is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }
}
