//! Who waits until the registry can be asked, and the way to the queue.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::api::ObjectKey;
use crate::queue::{Key, Kind, Stage, WorkQueue};
use crate::registry::known::Concerned;

/// Who waits until the registry can be asked.
pub struct Waiters {
    queue: WorkQueue,
    waiting: Mutex<HashSet<Key>>,
}

impl Waiters {
    /// Nobody waits yet.
    pub fn new(queue: WorkQueue) -> Self {
        Self { queue, waiting: Mutex::default() }
    }

    /// An object waits until the registry can be asked. It is woken at once where the registry can be by now: that it
    /// came back may have been noticed after the object was looked at and before it came to wait.
    pub fn wait(&self, key: Key, is_available: impl FnOnce() -> bool) {
        // In this order: whoever comes back later wakes what was inserted before.
        self.lock().insert(key);
        if is_available() {
            self.wake_all();
        }
    }

    /// Wakes whoever waits.
    pub fn wake_all(&self) {
        let waiting = std::mem::take(&mut *self.lock());
        for key in waiting {
            self.queue.wake(key, Stage::UnderWay);
        }
    }

    /// Documents are to be looked at.
    pub fn wake_documents(&self, concerned: &Concerned) {
        for id in concerned {
            self.queue.wake(document_key(id), Stage::New);
        }
    }

    /// A gateway is to be looked at.
    pub fn wake_gateway(&self, gateway: &ObjectKey) {
        self.queue.wake(Key { object: gateway.clone(), kind: Kind::Gateway }, Stage::UnderWay);
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
        assert_eq!(queue.begin(), None);
        waiters.wake_all();
        assert_eq!(queue.begin(), Some(document_key("g1")));
        waiters.wake_all();
        assert_eq!(queue.begin(), None);
    }

    #[test]
    fn who_comes_to_wait_for_a_registry_that_is_back_already_is_woken_at_once() {
        let (waiters, queue) = nobody_waits();
        waiters.wait(document_key("g1"), || true);
        assert_eq!(queue.begin(), Some(document_key("g1")));
    }

    #[test]
    fn a_registry_that_comes_back_while_somebody_comes_to_wait_wakes_them() {
        let (waiters, queue) = nobody_waits();
        // It was found away, and whoever waited was woken before the answer is used.
        let away = || {
            waiters.wake_all();
            false
        };
        waiters.wait(document_key("g1"), away);
        assert_eq!(queue.begin(), Some(document_key("g1")));
    }
}
