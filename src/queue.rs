//! The handle to the work queue, shared by watches, the registry and workers. The queue itself is in the core.
//!
//! **Architecture invariant:** this module imports only the core. Adding a key wakes the worker that waits in
//! [`WorkQueue::changed`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

pub use phasegate_core::queue::{Key, Kind, Load, Queue, Requeue, Stage};

/// A cloneable handle to the work queue.
#[derive(Clone)]
pub struct WorkQueue {
    queue: Arc<Mutex<Queue>>,
    added: Arc<Notify>,
}

impl WorkQueue {
    /// An empty queue with `slots` concurrent reconciles.
    pub fn new(slots: u16) -> Self {
        let queue = Queue::new(usize::from(slots), Instant::now());
        Self { queue: Arc::new(Mutex::new(queue)), added: Arc::default() }
    }

    /// Adds a key; see [`Queue::add`].
    pub fn add(&self, key: Key, stage: Stage) {
        self.lock().add(key, stage, Instant::now());
        self.added.notify_one();
    }

    /// Takes the next key, if one waits and a slot is free.
    pub fn take(&self) -> Option<Key> {
        self.lock().take(Instant::now())
    }

    /// Marks a key as done and requeues it as `next` says.
    pub fn done(&self, key: &Key, next: Requeue) {
        self.lock().done(key, next, Instant::now());
    }

    /// Returns when [`Self::take`] may yield a key: one was added, or a timer is due.
    pub async fn changed(&self) {
        let due = self.lock().next_due();
        let is_due = async {
            match due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.added.notified() => {}
            () = is_due => {}
        }
    }

    /// A snapshot of the queue.
    pub fn load(&self) -> Load {
        self.lock().load(Instant::now())
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing in the queue panics, so it is never left half-changed.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
