//! Caches of watched objects that tell whom a change concerns.
//!
//! kube's reflector store does the keeping as well, but says nothing about an object that
//! disappeared while the watch was interrupted; drift repair needs to know.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};
use tokio::sync::watch;

use crate::api::{ALLOWED_HOSTS_ANNOTATION, Environment, ObjectKey};
use crate::cache::seen::{Part, Seen};
use crate::cache::trouble;
use crate::cache::watched::Watched;
use crate::children::NAME_LABEL;
use crate::decide::observed::{PodTrouble, Pods};

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
    fn put(&mut self, id: ObjectKey, holder: ObjectKey, value: Arc<T>) -> Option<Arc<T>> {
        let name = id.name.clone();
        if id != holder {
            self.places.insert(id, holder.clone());
        }
        let objects = self.kept.entry(holder).or_default();
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
        let holder = self.places.remove(id).unwrap_or_else(|| id.clone());
        let objects = self.kept.get_mut(&holder)?;
        objects.remove(position(objects, &id.name).ok()?);
        if objects.is_empty() {
            self.kept.remove(&holder);
        }
        Some(holder)
    }

    /// What is kept of an object that concerns `holder`.
    fn get(&self, holder: &ObjectKey, name: &str) -> Option<&Arc<T>> {
        let objects = self.kept.get(holder)?;
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
                if let Some((holder, value)) = T::keep(object) {
                    self.incoming().put(id, holder, Arc::new(value));
                }
                Vec::new()
            }
            Event::InitDone => self.swap(),
        }
    }

    fn apply(&self, object: T::Object) -> Vec<ObjectKey> {
        let id = ObjectKey::of(&object);
        let mut index = self.write();
        let Some((holder, value)) = T::keep(object) else {
            return index.take(&id).into_iter().collect();
        };
        let elsewhere = index.place_of(&id).is_some_and(|before| *before != holder);
        let left = if elsewhere { index.take(&id) } else { None };
        let value = Arc::new(value);
        let news = match index.put(id, holder.clone(), Arc::clone(&value)) {
            Some(before) => !before.says_the_same(&value),
            None => !value.is_quiet(),
        };
        left.into_iter().chain(news.then_some(holder)).collect()
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
        let gone = before.keys().filter(|holder| !now.contains_key(*holder));
        let changed = now.iter().filter(|(holder, now)| before.get(*holder).is_none_or(|was| !same(was, now)));
        let concerned = gone.chain(changed.map(|(holder, _)| holder)).cloned().collect();
        self.ready.send_replace(true);
        concerned
    }

    /// What concerns a gateway, by name.
    pub fn of(&self, holder: &ObjectKey) -> Vec<(String, Arc<T>)> {
        let index = self.read();
        index.kept.get(holder).cloned().unwrap_or_default()
    }

    /// The child of a gateway, which carries its name.
    pub fn child_of(&self, holder: &ObjectKey) -> Option<Arc<T>> {
        self.read().get(holder, &holder.name).cloned()
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

    /// Waits for the first complete list.
    pub async fn wait_until_ready(&self) {
        // The sender lives as long as this cache, so waiting cannot fail.
        let _ = self.ready.subscribe().wait_for(|ready| *ready).await;
    }
}

/// A child carries its gateway's name, so its own name says whom it concerns, stranger or not.
impl<K: Part> Kept for Seen<K> {
    type Object = Watched<K>;

    fn keep(object: Self::Object) -> Option<(ObjectKey, Self)> {
        Some((ObjectKey::of(&object), object.into()))
    }

    fn says_the_same(&self, newer: &Self) -> bool {
        self.version == newer.version
    }
}

impl Kept for Environment {
    type Object = DeserializeGuard<Self>;

    fn keep(object: Self::Object) -> Option<(ObjectKey, Self)> {
        let environment = object.0.ok()?;
        Some((environment.gateway_key(), environment))
    }

    fn says_the_same(&self, newer: &Self) -> bool {
        self.metadata.resource_version == newer.metadata.resource_version
    }
}

/// The hosts that a namespace allows; `None` for any.
#[derive(Clone, Debug, PartialEq)]
pub struct AllowedHosts(pub Option<Vec<String>>);

impl Kept for AllowedHosts {
    type Object = Namespace;

    fn keep(namespace: Namespace) -> Option<(ObjectKey, Self)> {
        let name = namespace.name_any();
        let allowed = namespace.annotations().get(ALLOWED_HOSTS_ANNOTATION).map(|suffixes| {
            suffixes.split(',').map(str::trim).filter(|suffix| !suffix.is_empty()).map(str::to_owned).collect()
        });
        Some((ObjectKey::new(&name, &name), Self(allowed)))
    }

    fn says_the_same(&self, newer: &Self) -> bool {
        self == newer
    }
}

/// What a decision needs of a pod. Of a pod in good order little is said.
#[derive(Clone, Debug, PartialEq)]
pub struct PodFacts {
    terminating: bool,
    // A box: most pods have none.
    trouble: Option<Box<trouble::Found>>,
}

impl Kept for PodFacts {
    type Object = Watched<Pod>;

    fn keep(pod: Watched<Pod>) -> Option<(ObjectKey, Self)> {
        let label = |name: &str| pod.meta().labels.as_ref()?.get(name).cloned();
        let holder = ObjectKey::new(pod.namespace().unwrap_or_default(), label(NAME_LABEL)?);
        let trouble = trouble::of(&pod).map(Box::new);
        let facts = Self { terminating: pod.meta().deletion_timestamp.is_some(), trouble };
        Some((holder, facts))
    }

    fn says_the_same(&self, newer: &Self) -> bool {
        self == newer || (newer.is_quiet() && !self.terminating && !self.is_loud())
    }

    /// That a healthy pod appeared is the Deployment's to tell.
    fn is_quiet(&self) -> bool {
        !self.terminating && self.trouble.is_none()
    }
}

impl PodFacts {
    fn is_loud(&self) -> bool {
        self.trouble.as_ref().is_some_and(|found| !found.trouble.is_silent())
    }
}

/// The pods of a gateway.
pub fn pods(cache: &Cache<PodFacts>, holder: &ObjectKey) -> Pods {
    let pods = cache.of(holder);
    Pods {
        total: pods.len(),
        terminating: pods.iter().filter(|(_, facts)| facts.terminating).count(),
        troubles: pods
            .into_iter()
            .filter(|(_, facts)| !facts.terminating)
            .filter_map(|(pod, facts)| {
                let trouble::Found { template, container, trouble } = facts.trouble.as_deref()?.clone();
                Some(PodTrouble { pod, template, container, trouble })
            })
            .collect(),
        silence: None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    /// A pod of the gateway `shop`, whose only container is in this state, or ready.
    fn pod(state: Option<Value>) -> Event<Watched<Pod>> {
        let ready = state.is_none();
        let container = json!({ "name": "gateway", "image": "acme/gateway:1", "imageID": "", "restartCount": 0,
            "ready": ready, "state": state.unwrap_or_else(|| json!({ "running": {} })) });
        let status = json!({
            "phase": "Running",
            "conditions": [{ "type": "Ready", "status": if ready { "True" } else { "False" } }],
            "containerStatuses": [container],
        });
        let metadata = json!({ "name": "shop-1", "namespace": "a", "labels": { NAME_LABEL: "shop" } });
        Event::Apply(serde_json::from_value(json!({ "metadata": metadata, "status": status })).unwrap())
    }

    fn waiting(reason: &str, message: &str) -> Option<Value> {
        Some(json!({ "waiting": { "reason": reason, "message": message } }))
    }

    /// Each event, and whether the gateway looks again for it.
    #[test]
    fn every_trouble_of_a_pod_wakes_its_gateway_and_its_getting_ready_is_left_to_the_deployment() {
        let cache = Cache::<PodFacts>::default();
        let running = || Some(json!({ "running": {} }));
        let steps = [
            ("a healthy pod appears", pod(None), false),
            ("it is not ready", pod(running()), true),
            ("still not", pod(running()), false),
            ("it is ready", pod(None), false),
            ("it is made anew", pod(waiting("ContainerCreating", "")), true),
            ("it cannot be pulled", pod(waiting("ErrImagePull", "not found")), true),
            ("in other words", pod(waiting("ImagePullBackOff", "Back-off: not found")), true),
            ("in the same words", pod(waiting("ImagePullBackOff", "Back-off: not found")), false),
            ("that is over", pod(None), true),
        ];
        for (what, event, wakes) in steps {
            assert_eq!(!cache.absorb(event).is_empty(), wakes, "{what}");
        }
    }
}
