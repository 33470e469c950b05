//! The signs of life of watches.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How one watch is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchStanding {
    /// What is watched, such as `pods of namespace a`.
    pub what: String,
    /// For how long nothing was heard, not even an error.
    pub silent: Duration,
    /// Whether everything was listed once.
    pub listed: bool,
    /// What its last try ended with, unless it goes on.
    pub trouble: Option<String>,
}

/// The sign of life of one watch.
pub struct Pulse {
    what: String,
    /// Where it asks, such as `/api/v1/pods`.
    path: String,
    beat: Mutex<Beat>,
}

struct Beat {
    at: Instant,
    listed: bool,
    trouble: Option<String>,
}

impl Pulse {
    /// A watch that begins now.
    pub fn new(what: String, path: String) -> Self {
        Self { what, path, beat: Mutex::new(Beat { at: Instant::now(), listed: false, trouble: None }) }
    }

    /// Something was heard, if only that the connection lives. Returns whether the watch goes
    /// well: after a failure that takes an event.
    pub fn beat(&self) -> bool {
        let mut beat = self.lock();
        beat.at = Instant::now();
        beat.trouble.is_none()
    }

    /// The watch goes well.
    pub fn goes_on(&self) {
        if self.lock().trouble.take().is_some() {
            tracing::info!("{} are watched again", self.what);
        }
    }

    /// Everything was listed.
    pub fn listed(&self) {
        self.lock().listed = true;
    }

    /// The watch failed. Returns whether it did so in the same words before.
    pub fn fails(&self, trouble: &str) -> bool {
        self.lock().trouble.replace(trouble.to_owned()).as_deref() == Some(trouble)
    }

    /// How the watch is doing now.
    pub fn standing(&self) -> WatchStanding {
        let Beat { at, listed, trouble } = &*self.lock();
        WatchStanding { what: self.what.clone(), silent: at.elapsed(), listed: *listed, trouble: trouble.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, Beat> {
        // Each use is one assignment.
        self.beat.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pulses of all watches that run.
#[derive(Clone, Default)]
pub struct Pulses(Arc<Mutex<Vec<Arc<Pulse>>>>);

impl Pulses {
    /// One more watch has begun.
    pub fn add(&self, pulse: Arc<Pulse>) {
        self.lock().push(pulse);
    }

    /// No watch runs any more: what they filled was dropped.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// A list or watch of this path was answered. A watch that was interrupted and goes on tells nothing by itself until
    /// something changes.
    pub fn answered(&self, path: &str) {
        self.lock().iter().filter(|pulse| pulse.path == path).for_each(|pulse| pulse.goes_on());
    }

    /// Whether no watch is interrupted.
    pub fn all_go_well(&self) -> bool {
        self.lock().iter().all(|pulse| pulse.lock().trouble.is_none())
    }

    /// How each watch is doing now.
    pub fn standing(&self) -> Vec<WatchStanding> {
        self.lock().iter().map(|pulse| pulse.standing()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Pulse>>> {
        // Each use is one call.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
