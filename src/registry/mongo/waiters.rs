//! Objects that wait for the registry, and the way back to the queue.
//!
//! **Architecture invariant:** this module only adds keys to the queue. It sends no request.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::api::ObjectKey;
use crate::queue::{Key, Kind, Stage, WorkQueue};
use crate::registry::cache::GatewayIds;

/// Objects that wait for the registry.
pub struct Waiters {
    queue: WorkQueue,
    waiting: Mutex<HashSet<Key>>,
}

impl Waiters {
    /// An empty set.
    pub fn new(queue: WorkQueue) -> Self {
        Self { queue, waiting: Mutex::default() }
    }

    /// Adds an object that waits for the registry. It is requeued at once if the registry answers by now: the
    /// recovery may have been noticed between the object's pass and this call.
    pub fn wait(&self, key: Key, is_available: impl FnOnce() -> bool) {
        // In this order, so that a later recovery requeues it.
        self.lock().insert(key);
        if is_available() {
            self.requeue_all();
        }
    }

    /// Requeues everything that waits.
    pub fn requeue_all(&self) {
        let waiting = std::mem::take(&mut *self.lock());
        for key in waiting {
            self.queue.add(key, Stage::UnderWay);
        }
    }

    /// Requeues documents.
    pub fn requeue_documents(&self, affected: &GatewayIds) {
        for id in affected {
            self.queue.add(document_key(id), Stage::New);
        }
    }

    /// Requeues a gateway.
    pub fn requeue_gateway(&self, gateway: &ObjectKey) {
        self.queue.add(Key { object: gateway.clone(), kind: Kind::Gateway }, Stage::UnderWay);
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Key>> {
        // Each use leaves it whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The queue's key of a gateway id's documents.
pub fn document_key(gateway_id: &str) -> Key {
    Key { object: ObjectKey::new("", gateway_id), kind: Kind::Document }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nobody_waits() -> (Waiters, WorkQueue) {
        let queue = WorkQueue::new(4);
        (Waiters::new(queue.clone()), queue)
    }

    #[test]
    fn who_waits_is_woken_once_when_the_registry_is_back() {
        let (waiters, queue) = nobody_waits();
        waiters.wait(document_key("g1"), || false);
        waiters.wait(document_key("g1"), || false);
        assert_eq!(queue.take(), None);
        waiters.requeue_all();
        assert_eq!(queue.take(), Some(document_key("g1")));
        waiters.requeue_all();
        assert_eq!(queue.take(), None);
    }

    #[test]
    fn who_comes_to_wait_for_a_registry_that_is_back_already_is_woken_at_once() {
        let (waiters, queue) = nobody_waits();
        waiters.wait(document_key("g1"), || true);
        assert_eq!(queue.take(), Some(document_key("g1")));
    }

    #[test]
    fn a_registry_that_comes_back_while_somebody_comes_to_wait_wakes_them() {
        let (waiters, queue) = nobody_waits();
        // It was found away, and whoever waited was woken before the answer is used.
        let away = || {
            waiters.requeue_all();
            false
        };
        waiters.wait(document_key("g1"), away);
        assert_eq!(queue.take(), Some(document_key("g1")));
    }
}
