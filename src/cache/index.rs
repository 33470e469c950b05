//! A cache of watched objects that tells whom a change concerns.
//!
//! kube's reflector store does the keeping as well, but says nothing about an object that
//! disappeared while the watch was interrupted; drift repair needs to know.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use kube::Resource;
use kube::runtime::watcher::Event;
use tokio::sync::watch;

use crate::api::ObjectKey;

/// What a cache keeps of a watched object.
pub trait Kept: Sized {
    /// The watched kind.
    type Object: Resource;

    /// The gateway that an object concerns, and what is kept of it; `None` for one that
    /// concerns nobody.
    fn keep(object: Self::Object) -> Option<(ObjectKey, Self)>;

    /// Whether replacing `self` by `newer` tells the gateway nothing.
    fn says_the_same(&self, newer: &Self) -> bool;

    /// Whether the appearance of this object tells the gateway nothing.
    fn is_quiet(&self) -> bool {
        false
    }
}

/// What is kept, by the gateway that it concerns and in the order of names, and where those objects are kept
/// that are not named like their gateway: such an object can come to concern another one, or nobody.
struct Index<T> {
    kept: HashMap<ObjectKey, Vec<(String, Arc<T>)>>,
    places: HashMap<ObjectKey, ObjectKey>,
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        Self { kept: HashMap::new(), places: HashMap::new() }
    }
}

impl<T> Index<T> {
    /// Puts in what is kept of the object `id`. Returns what was kept of it in the same place.
    fn put(&mut self, id: ObjectKey, gateway: ObjectKey, value: Arc<T>) -> Option<Arc<T>> {
        let name = id.name.clone();
        if id != gateway {
            self.places.insert(id, gateway.clone());
        }
        let objects = self.kept.entry(gateway).or_default();
        match position(objects, &name) {
            Ok(at) => Some(std::mem::replace(&mut objects[at].1, value)),
            Err(at) => {
                // Most have one object, and there are many of them.
                objects.reserve_exact(1);
                objects.insert(at, (name, value));
                None
            }
        }
    }

    /// Takes out the object `id`. Returns the gateway that it concerned.
    fn take(&mut self, id: &ObjectKey) -> Option<ObjectKey> {
        let gateway = self.places.remove(id).unwrap_or_else(|| id.clone());
        let objects = self.kept.get_mut(&gateway)?;
        objects.remove(position(objects, &id.name).ok()?);
        if objects.is_empty() {
            self.kept.remove(&gateway);
        }
        Some(gateway)
    }

    /// What is kept of an object that concerns `gateway`.
    fn get(&self, gateway: &ObjectKey, name: &str) -> Option<&Arc<T>> {
        let objects = self.kept.get(gateway)?;
        Some(&objects[position(objects, name).ok()?].1)
    }

    /// The gateway that the object `id` concerns.
    fn place_of<'a>(&'a self, id: &'a ObjectKey) -> Option<&'a ObjectKey> {
        self.places.get(id).or_else(|| self.get(id, &id.name).map(|_| id))
    }
}

fn position<T>(objects: &[(String, T)], name: &str) -> Result<usize, usize> {
    objects.binary_search_by(|(other, _)| other.as_str().cmp(name))
}

/// What is kept of the objects of one watch.
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

impl<T: Kept> Cache<T> {
    /// Takes in one event of the watch. Returns the gateways that are to look again.
    pub fn absorb(&self, event: Event<T::Object>) -> Vec<ObjectKey> {
        match event {
            Event::Apply(object) => self.apply(object),
            Event::Delete(object) => self.write().take(&ObjectKey::of(&object)).into_iter().collect(),
            Event::Init => {
                *self.incoming() = Index::default();
                Vec::new()
            }
            Event::InitApply(object) => {
                let id = ObjectKey::of(&object);
                if let Some((gateway, value)) = T::keep(object) {
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
        let Some((gateway, value)) = T::keep(object) else {
            return index.take(&id).into_iter().collect();
        };
        let elsewhere = index.place_of(&id).is_some_and(|before| *before != gateway);
        let left = if elsewhere { index.take(&id) } else { None };
        let value = Arc::new(value);
        let news = match index.put(id, gateway.clone(), Arc::clone(&value)) {
            Some(before) => !before.says_the_same(&value),
            None => !value.is_quiet(),
        };
        left.into_iter().chain(news.then_some(gateway)).collect()
    }

    /// A complete list has arrived: whoever differs from before is to look again.
    fn swap(&self) -> Vec<ObjectKey> {
        let incoming = std::mem::take(&mut *self.incoming());
        let mut index = self.write();
        let before = std::mem::replace(&mut *index, incoming).kept;
        let now = &index.kept;
        let same = |a: &Vec<(String, Arc<T>)>, b: &Vec<(String, Arc<T>)>| {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && a.1.says_the_same(&b.1))
        };
        let gone = before.keys().filter(|gateway| !now.contains_key(*gateway));
        let changed = now.iter().filter(|(gateway, now)| before.get(*gateway).is_none_or(|was| !same(was, now)));
        gone.chain(changed.map(|(gateway, _)| gateway)).cloned().collect()
    }

    /// What is kept of one object that concerns a gateway.
    pub fn one_of(&self, gateway: &ObjectKey, name: &str) -> Option<Arc<T>> {
        self.read().get(gateway, name).cloned()
    }

    /// What concerns a gateway, by name.
    pub fn of(&self, gateway: &ObjectKey) -> Vec<(String, Arc<T>)> {
        let index = self.read();
        index.kept.get(gateway).cloned().unwrap_or_default()
    }

    /// Those in a namespace whom something that is kept concerns.
    pub fn keys_in(&self, namespace: &str) -> Vec<ObjectKey> {
        self.read().kept.keys().filter(|key| key.namespace == namespace).cloned().collect()
    }

    /// The child of a gateway, which carries its name.
    pub fn child_of(&self, gateway: &ObjectKey) -> Option<Arc<T>> {
        self.one_of(gateway, &gateway.name)
    }

    fn read(&self) -> RwLockReadGuard<'_, Index<T>> {
        // A panic elsewhere cannot leave an index half-changed: nothing in here panics.
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Index<T>> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn incoming(&self) -> MutexGuard<'_, Index<T>> {
        self.incoming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those whom a complete list concerns were told of it: from now on decisions may be made from it.
    pub fn is_told(&self) {
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
