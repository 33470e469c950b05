//! Caches of watched objects that tell whom a change concerns.
//!
//! kube's reflector store does the keeping as well, but says nothing about an object that
//! disappeared while the watch was interrupted; drift repair needs to know.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;
use tokio::sync::watch;

use crate::api::{ALLOWED_HOSTS_ANNOTATION, Environment};
use crate::decide::hosts::Holder;
use crate::decide::observed::{PodTrouble, Pods, Trouble};
use crate::resources::NAME_LABEL;

/// What a cache keeps of a watched object.
pub trait Kept: Sized {
    /// The watched kind.
    type Object;

    /// The gateway that an object concerns, the object's name, and what is kept of it;
    /// `None` for one that concerns nobody.
    fn keep(object: Self::Object) -> Option<(Holder, String, Self)>;

    /// Whether replacing `self` by `newer` tells the gateway nothing.
    fn says_the_same(&self, newer: &Self) -> bool;

    /// Whether the appearance of this object tells the gateway nothing.
    fn is_quiet(&self) -> bool {
        false
    }
}

type Index<T> = HashMap<Holder, BTreeMap<String, Arc<T>>>;

/// What is kept, by the gateway that it concerns and by name.
pub struct Cache<T> {
    kept: RwLock<Index<T>>,
    incoming: Mutex<Index<T>>,
    ready: watch::Sender<bool>,
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self { kept: RwLock::default(), incoming: Mutex::default(), ready: watch::Sender::new(false) }
    }
}

impl<T: Kept> Cache<T> {
    /// Takes in one event of the watch. Returns the gateways that are to look again.
    pub fn absorb(&self, event: Event<T::Object>) -> Vec<Holder> {
        match event {
            Event::Apply(object) => T::keep(object).and_then(|kept| self.insert(kept)).into_iter().collect(),
            Event::Delete(object) => T::keep(object).map(|kept| self.remove(kept)).into_iter().collect(),
            Event::Init => {
                self.incoming.lock().unwrap_or_else(PoisonError::into_inner).clear();
                Vec::new()
            }
            Event::InitApply(object) => {
                if let Some((holder, name, value)) = T::keep(object) {
                    let mut incoming = self.incoming.lock().unwrap_or_else(PoisonError::into_inner);
                    incoming.entry(holder).or_default().insert(name, Arc::new(value));
                }
                Vec::new()
            }
            Event::InitDone => self.swap(),
        }
    }

    fn insert(&self, (holder, name, value): (Holder, String, T)) -> Option<Holder> {
        let value = Arc::new(value);
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        let news = match kept.entry(holder.clone()).or_default().insert(name, Arc::clone(&value)) {
            Some(before) => !before.says_the_same(&value),
            None => !value.is_quiet(),
        };
        news.then_some(holder)
    }

    fn remove(&self, (holder, name, _): (Holder, String, T)) -> Holder {
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(objects) = kept.get_mut(&holder) {
            objects.remove(&name);
            if objects.is_empty() {
                kept.remove(&holder);
            }
        }
        holder
    }

    /// A complete list has arrived: whoever differs from before is to look again.
    fn swap(&self) -> Vec<Holder> {
        let incoming = std::mem::take(&mut *self.incoming.lock().unwrap_or_else(PoisonError::into_inner));
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *kept, incoming);
        self.ready.send_replace(true);
        let same = |a: &BTreeMap<String, Arc<T>>, b: &BTreeMap<String, Arc<T>>| {
            a.len() == b.len()
                && a.iter().all(|(name, value)| b.get(name).is_some_and(|other| value.says_the_same(other)))
        };
        let gone = before.keys().filter(|holder| !kept.contains_key(*holder));
        let changed = kept
            .iter()
            .filter(|(holder, now)| before.get(*holder).is_none_or(|was| !same(was, now)))
            .map(|(holder, _)| holder);
        gone.chain(changed).cloned().collect()
    }

    /// What concerns a gateway, by name.
    pub fn of(&self, holder: &Holder) -> Vec<(String, Arc<T>)> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        kept.get(holder).into_iter().flatten().map(|(name, value)| (name.clone(), Arc::clone(value))).collect()
    }

    /// The child of a gateway, which carries its name.
    pub fn child_of(&self, holder: &Holder) -> Option<Arc<T>> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        kept.get(holder)?.get(&holder.1).cloned()
    }

    /// Waits for the first complete list.
    pub async fn wait_until_ready(&self) {
        // The sender lives as long as this cache, so waiting cannot fail.
        let _ = self.ready.subscribe().wait_for(|ready| *ready).await;
    }
}

macro_rules! children {
    ($($kind:ty),+) => {
        $(
            /// A child carries its gateway's name, so its own name says whom it concerns, stranger or not.
            impl Kept for $kind {
                type Object = Self;

                fn keep(object: Self) -> Option<(Holder, String, Self)> {
                    let name = object.name_any();
                    Some(((object.namespace().unwrap_or_default(), name.clone()), name, object))
                }

                fn says_the_same(&self, newer: &Self) -> bool {
                    self.metadata.resource_version == newer.metadata.resource_version
                }
            }
        )+
    };
}

children!(Deployment, Service, Ingress, PodDisruptionBudget);

impl Kept for Environment {
    type Object = DeserializeGuard<Self>;

    fn keep(object: Self::Object) -> Option<(Holder, String, Self)> {
        let environment = object.0.ok()?;
        let gateway = environment.spec.gateway_ref.name.clone();
        Some(((environment.namespace().unwrap_or_default(), gateway), environment.name_any(), environment))
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

    fn keep(namespace: Namespace) -> Option<(Holder, String, Self)> {
        let name = namespace.name_any();
        let allowed = namespace.annotations().get(ALLOWED_HOSTS_ANNOTATION).map(|suffixes| {
            suffixes.split(',').map(str::trim).filter(|suffix| !suffix.is_empty()).map(str::to_owned).collect()
        });
        Some(((name.clone(), name.clone()), name, Self(allowed)))
    }

    fn says_the_same(&self, newer: &Self) -> bool {
        self == newer
    }

    fn is_quiet(&self) -> bool {
        self.0.is_none()
    }
}

/// What a decision needs of a pod. Of a pod in good order little is said.
#[derive(Clone, Debug, PartialEq)]
pub struct PodFacts {
    terminating: bool,
    trouble: Option<Trouble>,
}

impl Kept for PodFacts {
    type Object = Pod;

    fn keep(pod: Pod) -> Option<(Holder, String, Self)> {
        let label = |name: &str| pod.metadata.labels.as_ref()?.get(name).cloned();
        let holder = (pod.namespace().unwrap_or_default(), label(NAME_LABEL)?);
        let facts = Self { terminating: pod.metadata.deletion_timestamp.is_some(), trouble: trouble(&pod) };
        Some((holder, pod.name_any(), facts))
    }

    fn says_the_same(&self, newer: &Self) -> bool {
        self == newer
    }

    /// That a healthy pod appeared is the Deployment's to tell.
    fn is_quiet(&self) -> bool {
        !self.terminating && self.trouble.is_none()
    }
}

/// The pods of a gateway.
pub fn pods(cache: &Cache<PodFacts>, holder: &Holder) -> Pods {
    let pods = cache.of(holder);
    Pods {
        total: pods.len(),
        terminating: pods.iter().filter(|(_, facts)| facts.terminating).count(),
        troubles: pods
            .into_iter()
            .filter(|(_, facts)| !facts.terminating)
            .filter_map(|(pod, facts)| Some(PodTrouble { pod, trouble: facts.trouble.clone()? }))
            .collect(),
    }
}

fn trouble(pod: &Pod) -> Option<Trouble> {
    const PULL_REASONS: &[&str] = &["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"];
    let status = pod.status.as_ref()?;
    let pull = status.container_statuses.iter().flatten().find_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.as_deref().filter(|reason| PULL_REASONS.contains(reason))?;
        Some(Trouble::ImagePull {
            image: container.image.clone(),
            message: waiting.message.clone().unwrap_or_else(|| reason.to_owned()),
        })
    });
    let unschedulable = || {
        let condition = status.conditions.iter().flatten().find(|condition| condition.type_ == "PodScheduled")?;
        let refused = condition.status == "False" && condition.reason.as_deref() == Some("Unschedulable");
        refused.then(|| Trouble::Unschedulable(condition.message.clone().unwrap_or_default()))
    };
    pull.or_else(unschedulable)
}
