//! Whether this process may write at this moment.
//!
//! A claim is a moment on this process's own monotonic clock. It expires by itself: a process that was frozen, or cut
//! off, finds it expired when it comes back, whatever the Lease says meanwhile.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Whether this process may write, asked before every write.
#[derive(Clone, Debug)]
pub struct Claim(Arc<Mutex<Until>>);

#[derive(Clone, Copy, Debug)]
enum Until {
    /// There is no election: nobody else writes.
    Always,
    /// Leader until then.
    Instant(Instant),
    /// Not leader.
    Never,
}

impl Claim {
    /// The claim of the only operator.
    pub fn unconditional() -> Self {
        Self(Arc::new(Mutex::new(Until::Always)))
    }

    /// A claim that is yet to be won.
    pub fn none() -> Self {
        Self(Arc::new(Mutex::new(Until::Never)))
    }

    /// For how long writes may still be under way; `None`: for ever.
    pub fn remaining(&self) -> Option<Duration> {
        match *self.lock() {
            Until::Always => None,
            Until::Instant(until) => Some(until.saturating_duration_since(Instant::now())),
            Until::Never => Some(Duration::ZERO),
        }
    }

    /// Whether a write may begin now.
    pub fn is_valid(&self) -> bool {
        self.remaining().is_none_or(|left| !left.is_zero())
    }

    /// Leader until then.
    pub fn extend(&self, until: Instant) {
        *self.lock() = Until::Instant(until);
    }

    /// Not leader any more.
    pub fn give_up(&self) {
        *self.lock() = Until::Never;
    }

    fn lock(&self) -> MutexGuard<'_, Until> {
        // One assignment: a panic elsewhere cannot leave it half-written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
