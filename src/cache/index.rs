//! A cache of watched objects, indexed by the gateway that each affects.
//!
//! kube's reflector store does not report which objects disappeared while a watch was interrupted. Drift repair
//! needs to know, so this cache compares the lists.
//!
//! **Architecture invariant:** the cache says which gateways an event affects. It does not know what follows
//! from it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use kube::Resource;
use kube::runtime::watcher::Event;
use tokio::sync::watch;

use crate::api::ObjectKey;

/// What a cache keeps of a watched object.
pub trait Cached: Sized {
    /// The watched kind.
    type Object: Resource;

    /// The gateway that an object affects, and what is kept of the object; `None` if it affects none.
    fn from_object(object: Self::Object) -> Option<(ObjectKey, Self)>;

    /// Whether replacing `self` with `newer` is no news for the gateway.
    fn is_unchanged(&self, newer: &Self) -> bool;

    /// Whether the appearance of this object is no news for the gateway.
    fn is_quiet(&self) -> bool {
        false
    }
}

/// Kept objects by affected gateway, sorted by name, and the gateway of each object with a name of its own,
/// since that may change.
struct Index<T> {
    kept: HashMap<ObjectKey, Vec<(String, Arc<T>)>>,
    gateways: HashMap<ObjectKey, ObjectKey>,
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        Self { kept: HashMap::new(), gateways: HashMap::new() }
    }
}

impl<T> Index<T> {
    /// Inserts what is kept of the object `id`. Returns what it replaces.
    fn put(&mut self, id: ObjectKey, gateway: ObjectKey, value: Arc<T>) -> Option<Arc<T>> {
        let name = id.name.clone();
        if id != gateway {
            self.gateways.insert(id, gateway.clone());
        }
        let objects = self.kept.entry(gateway).or_default();
        match position(objects, &name) {
            Ok(at) => Some(std::mem::replace(&mut objects[at].1, value)),
            Err(at) => {
                // Most gateways have one object, and there are many gateways.
                objects.reserve_exact(1);
                objects.insert(at, (name, value));
                None
            }
        }
    }

    /// Removes the object `id`. Returns the gateway that it affected.
    fn take(&mut self, id: &ObjectKey) -> Option<ObjectKey> {
        let gateway = self.gateways.remove(id).unwrap_or_else(|| id.clone());
        let objects = self.kept.get_mut(&gateway)?;
        objects.remove(position(objects, &id.name).ok()?);
        if objects.is_empty() {
            self.kept.remove(&gateway);
        }
        Some(gateway)
    }

    /// An object that affects `gateway`.
    fn get(&self, gateway: &ObjectKey, name: &str) -> Option<&Arc<T>> {
        let objects = self.kept.get(gateway)?;
        Some(&objects[position(objects, name).ok()?].1)
    }

    /// The gateway that the object `id` affects.
    fn place_of<'a>(&'a self, id: &'a ObjectKey) -> Option<&'a ObjectKey> {
        self.gateways.get(id).or_else(|| self.get(id, &id.name).map(|_| id))
    }
}

fn position<T>(objects: &[(String, T)], name: &str) -> Result<usize, usize> {
    objects.binary_search_by(|(other, _)| other.as_str().cmp(name))
}

/// The cache of one watch.
pub struct Cache<T> {
    index: RwLock<Index<T>>,
    incoming: Mutex<Index<T>>,
    ready: watch::Sender<bool>,
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self { index: RwLock::default(), incoming: Mutex::default(), ready: watch::Sender::new(false) }
    }
}

impl<T: Cached> Cache<T> {
    /// Applies a watch event. Returns the gateways to requeue.
    pub fn apply_event(&self, event: Event<T::Object>) -> Vec<ObjectKey> {
        match event {
            Event::Apply(object) => self.apply(object),
            Event::Delete(object) => self.write().take(&ObjectKey::of(&object)).into_iter().collect(),
            Event::Init => {
                *self.incoming() = Index::default();
                Vec::new()
            }
            Event::InitApply(object) => {
                let id = ObjectKey::of(&object);
                if let Some((gateway, value)) = T::from_object(object) {
                    self.incoming().put(id, gateway, Arc::new(value));
                }
                Vec::new()
            }
            Event::InitDone => self.swap(),
        }
    }

    fn apply(&self, object: T::Object) -> Vec<ObjectKey> {
        let id = ObjectKey::of(&object);
        let mut index = self.write();
        let Some((gateway, value)) = T::from_object(object) else {
            return index.take(&id).into_iter().collect();
        };
        let elsewhere = index.place_of(&id).is_some_and(|before| *before != gateway);
        let left = if elsewhere { index.take(&id) } else { None };
        let value = Arc::new(value);
        let news = match index.put(id, gateway.clone(), Arc::clone(&value)) {
            Some(before) => !before.is_unchanged(&value),
            None => !value.is_quiet(),
        };
        left.into_iter().chain(news.then_some(gateway)).collect()
    }

    /// Replaces the cache with a complete list. Returns the gateways whose objects changed.
    fn swap(&self) -> Vec<ObjectKey> {
        let incoming = std::mem::take(&mut *self.incoming());
        let mut index = self.write();
        let before = std::mem::replace(&mut *index, incoming).kept;
        let now = &index.kept;
        let same = |a: &Vec<(String, Arc<T>)>, b: &Vec<(String, Arc<T>)>| {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && a.1.is_unchanged(&b.1))
        };
        let gone = before.keys().filter(|gateway| !now.contains_key(*gateway));
        let changed = now.iter().filter(|(gateway, now)| before.get(*gateway).is_none_or(|was| !same(was, now)));
        gone.chain(changed.map(|(gateway, _)| gateway)).cloned().collect()
    }

    /// One object that affects a gateway.
    pub fn one_of(&self, gateway: &ObjectKey, name: &str) -> Option<Arc<T>> {
        self.read().get(gateway, name).cloned()
    }

    /// The objects that affect a gateway, by name.
    pub fn of(&self, gateway: &ObjectKey) -> Vec<(String, Arc<T>)> {
        let index = self.read();
        index.kept.get(gateway).cloned().unwrap_or_default()
    }

    /// The gateways in a namespace that some object affects.
    pub fn keys_in(&self, namespace: &str) -> Vec<ObjectKey> {
        self.read().kept.keys().filter(|key| key.namespace == namespace).cloned().collect()
    }

    /// The child of a gateway, which has the gateway's name.
    pub fn child_of(&self, gateway: &ObjectKey) -> Option<Arc<T>> {
        self.one_of(gateway, &gateway.name)
    }

    fn read(&self) -> RwLockReadGuard<'_, Index<T>> {
        // Nothing in here panics, so an index is never left half-changed.
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Index<T>> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn incoming(&self) -> MutexGuard<'_, Index<T>> {
        self.incoming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Empties the cache until the next complete list.
    pub fn clear(&self) {
        self.ready.send_replace(false);
        *self.incoming() = Index::default();
        *self.write() = Index::default();
    }

    /// Called once the gateways that a complete list affects were requeued. Decisions may be made from the
    /// cache from now on.
    pub fn mark_ready(&self) {
        self.ready.send_replace(true);
    }

    /// Waits for the first complete list.
    pub async fn wait_until_ready(&self) {
        // The sender lives as long as this cache, so waiting cannot fail.
        let _ = self.ready.subscribe().wait_for(|ready| *ready).await;
    }
}

#[cfg(test)]
mod tests;
