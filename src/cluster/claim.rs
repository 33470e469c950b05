//! The leadership claim: whether this process may write at this moment.
//!
//! A claim is a deadline on this process's own monotonic clock. It expires by itself: a process that was frozen
//! or cut off finds it expired when it resumes, whatever the Lease says meanwhile.
//!
//! **Architecture invariant:** nothing is written without a valid claim. This module knows neither the Lease
//! nor the API server.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The right to write, checked before every write.
#[derive(Clone, Debug)]
pub struct Claim(Arc<Mutex<Until>>);

#[derive(Clone, Copy, Debug)]
enum Until {
    /// No election takes place: nobody else writes.
    Always,
    /// Leader until this moment.
    Instant(Instant),
    /// Not leader.
    Never,
}

impl Claim {
    /// The claim of an operator without an election.
    pub fn unconditional() -> Self {
        Self(Arc::new(Mutex::new(Until::Always)))
    }

    /// A claim that is not won yet.
    pub fn none() -> Self {
        Self(Arc::new(Mutex::new(Until::Never)))
    }

    /// How long writes may still be in flight; `None`: no limit.
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

    /// Extends the claim to this moment.
    pub fn extend(&self, until: Instant) {
        *self.lock() = Until::Instant(until);
    }

    /// Gives up leadership.
    pub fn give_up(&self) {
        *self.lock() = Until::Never;
    }

    fn lock(&self) -> MutexGuard<'_, Until> {
        // A single assignment, so a panic elsewhere cannot leave it half-written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
