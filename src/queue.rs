//! The queue as watches, the registry and the workers share it. The queue itself is the core's.
//!
//! May import the core. Invariant: whoever wakes a key wakes the worker that waits in [`WorkQueue::changed`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

pub use phasegate_core::queue::{Key, Kind, Load, Next, Queue, Stage};

/// A handle to the one queue.
#[derive(Clone)]
pub struct WorkQueue {
    queue: Arc<Mutex<Queue>>,
    woken: Arc<Notify>,
}

impl WorkQueue {
    /// A queue with room for `places` objects to be worked on at once.
    pub fn new(places: u16) -> Self {
        let queue = Queue::new(usize::from(places), Instant::now());
        Self { queue: Arc::new(Mutex::new(queue)), woken: Arc::default() }
    }

    /// Something happened that concerns an object.
    pub fn wake(&self, key: Key, stage: Stage) {
        self.lock().wake(key, stage, Instant::now());
        self.woken.notify_one();
    }

    /// The next object to work on, if there is one and a place for it.
    pub fn begin(&self) -> Option<Key> {
        self.lock().begin(Instant::now())
    }

    /// Work on an object has ended.
    pub fn end(&self, key: &Key, next: Next) {
        self.lock().end(key, next, Instant::now());
    }

    /// Returns when [`Self::begin`] may have something to do: something was woken, or is due.
    pub async fn changed(&self) {
        let due = self.lock().next_due();
        let is_due = async {
            match due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.woken.notified() => {}
            () = is_due => {}
        }
    }

    /// How the queue is doing.
    pub fn load(&self) -> Load {
        self.lock().load(Instant::now())
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing in the queue panics, so it is never left half-changed.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
