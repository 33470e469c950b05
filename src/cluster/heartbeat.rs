//! Heartbeats of watches, for health checks.
//!
//! **Architecture invariant:** this module sends no request and judges no silence. Watches report to it, and
//! `service::health` judges.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The health of one watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchHealth {
    /// What is watched, such as `pods of namespace a`.
    pub what: String,
    /// Time since the last sign of life, errors included.
    pub silent: Duration,
    /// Whether everything was listed once.
    pub listed: bool,
    /// The error of its last try, unless it has recovered.
    pub trouble: Option<String>,
}

/// The heartbeat of one watch.
pub struct WatchHeartbeat {
    what: String,
    /// The path it watches, such as `/api/v1/pods`.
    path: String,
    beat: Mutex<LastBeat>,
}

struct LastBeat {
    at: Instant,
    listed: bool,
    trouble: Option<String>,
}

impl WatchHeartbeat {
    /// A watch that begins now.
    pub fn new(what: String, path: String) -> Self {
        Self { what, path, beat: Mutex::new(LastBeat { at: Instant::now(), listed: false, trouble: None }) }
    }

    /// Records a sign of life. Returns whether the watch is healthy: after a failure, only an event makes it
    /// so.
    pub fn beat(&self) -> bool {
        let mut beat = self.lock();
        beat.at = Instant::now();
        beat.trouble.is_none()
    }

    /// Records that the watch is healthy again.
    pub fn recovered(&self) {
        if self.lock().trouble.take().is_some() {
            tracing::info!("the watch of {} is re-established", self.what);
        }
    }

    /// Records a complete list.
    pub fn listed(&self) {
        self.lock().listed = true;
    }

    /// Records a failure. Returns whether the last one had the same message.
    pub fn failed(&self, trouble: &str) -> bool {
        self.lock().trouble.replace(trouble.to_owned()).as_deref() == Some(trouble)
    }

    /// The health of the watch now.
    pub fn health(&self) -> WatchHealth {
        let LastBeat { at, listed, trouble } = &*self.lock();
        WatchHealth { what: self.what.clone(), silent: at.elapsed(), listed: *listed, trouble: trouble.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, LastBeat> {
        // A single assignment each.
        self.beat.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The heartbeats of all running watches.
#[derive(Clone, Default)]
pub struct Heartbeats(Arc<Mutex<Vec<Arc<WatchHeartbeat>>>>);

impl Heartbeats {
    /// Adds a watch.
    pub fn add(&self, heartbeat: Arc<WatchHeartbeat>) {
        self.lock().push(heartbeat);
    }

    /// Removes a watch.
    pub fn remove(&self, heartbeat: &Arc<WatchHeartbeat>) {
        self.lock().retain(|other| !Arc::ptr_eq(other, heartbeat));
    }

    /// Removes all watches, since their caches were dropped.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// Records an answered list or watch of this path. A watch that resumes after an interruption yields no
    /// event until something changes.
    pub fn answered(&self, path: &str) {
        self.lock().iter().filter(|heartbeat| heartbeat.path == path).for_each(|heartbeat| heartbeat.recovered());
    }

    /// Whether no watch is interrupted.
    pub fn all_healthy(&self) -> bool {
        self.lock().iter().all(|heartbeat| heartbeat.lock().trouble.is_none())
    }

    /// The health of each watch now.
    pub fn health(&self) -> Vec<WatchHealth> {
        self.lock().iter().map(|heartbeat| heartbeat.health()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<WatchHeartbeat>>> {
        // A single call each.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
