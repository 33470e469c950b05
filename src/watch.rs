//! Which watch feeds which cache, and which gateway it wakes.

use std::collections::HashSet;
use std::fmt::Debug;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::channel::mpsc::{self, UnboundedReceiver, UnboundedSender};
use futures::{Stream, StreamExt};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::api::{ApiGateway, Environment};
use crate::cache::{Cache, Kept, KeptWhole, PodFacts};
use crate::decide::hosts::{Claims, Holder};
use crate::memory::Memory;
use crate::resources::{MANAGED_BY, UID_LABEL};

/// A gateway that may be of another version: an object that cannot be read stops nobody else.
pub type Guarded = DeserializeGuard<ApiGateway>;

/// After how long without any event a watch is taken for dead. The default of five minutes
/// would be as long as a start may take.
const WATCH_SECONDS: u32 = 60;

/// Where gateways are watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In all namespaces.
    Cluster,
    /// In one.
    Namespace(String),
}

impl Scope {
    fn api<K>(&self, client: &Client) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match self {
            Self::Cluster => Api::all(client.clone()),
            Self::Namespace(namespace) => Api::namespaced(client.clone(), namespace),
        }
    }
}

/// Everything outside the `ApiGateway` objects that decisions are made from.
pub struct Caches {
    /// Deployments, strangers' too: they may be in the way.
    pub deployments: Cache<Deployment>,
    /// Services, strangers' too.
    pub services: Cache<Service>,
    /// Ingresses, strangers' too.
    pub ingresses: Cache<Ingress>,
    /// PodDisruptionBudgets, strangers' too.
    pub disruption_budgets: Cache<PodDisruptionBudget>,
    /// The gateways' pods.
    pub pods: Cache<PodFacts>,
    /// Environments.
    pub environments: Cache<Environment>,
    claims: Arc<Mutex<Claims>>,
}

impl Caches {
    /// Who holds which host, over all scopes.
    pub fn claims(&self) -> MutexGuard<'_, Claims> {
        lock(&self.claims)
    }

    async fn wait_until_ready(&self) {
        let waits = [
            ("deployments", self.deployments.wait_until_ready().boxed()),
            ("services", self.services.wait_until_ready().boxed()),
            ("ingresses", self.ingresses.wait_until_ready().boxed()),
            ("poddisruptionbudgets", self.disruption_budgets.wait_until_ready().boxed()),
            ("pods", self.pods.wait_until_ready().boxed()),
            ("environments", self.environments.wait_until_ready().boxed()),
        ];
        for (kind, wait) in waits {
            wait.await;
            tracing::debug!(kind, "listed");
        }
    }
}

use futures::FutureExt as _;

fn lock(claims: &Mutex<Claims>) -> MutexGuard<'_, Claims> {
    // Claims are replaced gateway by gateway; a panic elsewhere leaves them whole.
    claims.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The watches of one scope, running.
pub struct Watches {
    /// What they fill.
    pub caches: Arc<Caches>,
    /// The gateways.
    pub gateways: Store<Guarded>,
    /// Gateways that are to look again because something else changed.
    pub woken: UnboundedReceiver<ObjectRef<Guarded>>,
    root: watcher::Config,
    api: Api<Guarded>,
    writer: reflector::store::Writer<Guarded>,
    keeper: Keeper,
}

impl Watches {
    /// Starts watching everything but the gateways, and returns when all of it was listed:
    /// a decision from half a view would create what is there.
    pub async fn start(
        client: &Client,
        scope: &Scope,
        selector: Option<&str>,
        claims: Arc<Mutex<Claims>>,
        memory: Arc<Memory>,
    ) -> Self {
        let caches = Arc::new(Caches {
            deployments: Cache::default(),
            services: Cache::default(),
            ingresses: Cache::default(),
            disruption_budgets: Cache::default(),
            pods: Cache::default(),
            environments: Cache::default(),
            claims: Arc::clone(&claims),
        });
        let (gateways, writer) = reflector::store();
        let (sender, woken) = mpsc::unbounded();
        let wake = Wake { gateways: gateways.clone(), sender };

        let config = watcher::Config::default().timeout(WATCH_SECONDS);
        let pods = config.clone().labels(&format!("{}={}", MANAGED_BY.0, MANAGED_BY.1));
        follow(scope.api(client), config.clone(), prune_child, &caches, |caches| &caches.deployments, &wake);
        follow(scope.api(client), config.clone(), prune_child, &caches, |caches| &caches.services, &wake);
        follow(scope.api(client), config.clone(), prune_child, &caches, |caches| &caches.ingresses, &wake);
        follow(scope.api(client), config.clone(), prune_child, &caches, |caches| &caches.disruption_budgets, &wake);
        follow(scope.api(client), pods, |_: &mut Pod| {}, &caches, |caches| &caches.pods, &wake);
        follow(scope.api(client), config.clone(), prune, &caches, |caches| &caches.environments, &wake);
        caches.wait_until_ready().await;

        let root = match selector {
            Some(selector) => config.labels(selector),
            None => config,
        };
        let keeper = Keeper { claims, memory, wake, listed: HashSet::new(), uids: HashSet::new() };
        Self { caches, gateways, woken, root, api: scope.api(client), writer, keeper }
    }

    /// The stream of gateways as they change, which also fills their store.
    pub fn into_parts(
        self,
    ) -> (
        impl Stream<Item = Result<Guarded, watcher::Error>> + Send + 'static,
        Store<Guarded>,
        UnboundedReceiver<ObjectRef<Guarded>>,
    ) {
        let Self { caches: _, gateways, woken, root, api, writer, mut keeper } = self;
        let stream = watcher(api, root)
            .default_backoff()
            .map(|event| event.map(|event| event.modify(prune)))
            .reflect(writer)
            .filter_map(move |event| {
                // An error here would put all triggers of the controller into backoff; the
                // watch has its own.
                let event = match event {
                    Ok(event) => {
                        keeper.take_in(&event);
                        Some(Ok(event))
                    }
                    Err(error) => {
                        complain::<ApiGateway>(&error);
                        None
                    }
                };
                futures::future::ready(event)
            })
            .applied_objects();
        (stream, gateways, woken)
    }
}

/// Wakes gateways that exist.
#[derive(Clone)]
struct Wake {
    gateways: Store<Guarded>,
    sender: UnboundedSender<ObjectRef<Guarded>>,
}

impl Wake {
    fn wake(&self, (namespace, name): &Holder) {
        let gateway = ObjectRef::new(name).within(namespace);
        if self.gateways.get(&gateway).is_some() {
            // The receiver ends with the operator.
            let _ = self.sender.unbounded_send(gateway);
        }
    }
}

/// Keeps what is known of gateways by name and uid in step with those that exist.
struct Keeper {
    claims: Arc<Mutex<Claims>>,
    memory: Arc<Memory>,
    wake: Wake,
    listed: HashSet<(Holder, String)>,
    uids: HashSet<(Holder, String)>,
}

impl Keeper {
    fn take_in(&mut self, event: &Event<Guarded>) {
        match event {
            Event::Apply(object) => {
                self.uids.insert(identity(object));
                self.learn(object);
            }
            Event::InitApply(object) => {
                self.listed.insert(identity(object));
                self.learn(object);
            }
            Event::Delete(object) => {
                let gone = identity(object);
                self.forget(&gone);
                self.uids.remove(&gone);
            }
            Event::Init => self.listed.clear(),
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                let before = std::mem::replace(&mut self.uids, listed);
                let gone: Vec<_> = before.difference(&self.uids).cloned().collect();
                for identity in gone {
                    self.forget(&identity);
                }
            }
        }
    }

    fn learn(&self, object: &Guarded) {
        if let Ok(gateway) = &object.0 {
            let concerned = lock(&self.claims).learn(gateway);
            concerned.iter().for_each(|holder| self.wake.wake(holder));
        }
    }

    fn forget(&self, (holder, uid): &(Holder, String)) {
        self.memory.forget(uid);
        // A gateway deleted and made again under its name keeps what the new one claims.
        if !self.uids.iter().any(|(other, other_uid)| other == holder && other_uid != uid) {
            let concerned = lock(&self.claims).forget(holder);
            concerned.iter().for_each(|holder| self.wake.wake(holder));
        }
    }
}

fn identity(object: &Guarded) -> (Holder, String) {
    ((object.namespace().unwrap_or_default(), object.name_any()), object.uid().unwrap_or_default())
}

/// Keeps one cache in step with its watch, for as long as the operator runs.
fn follow<T>(
    api: Api<T::Object>,
    config: watcher::Config,
    prune: fn(&mut T::Object),
    caches: &Arc<Caches>,
    cache: fn(&Caches) -> &Cache<T>,
    wake: &Wake,
) where
    T: Kept + Send + Sync + 'static,
    T::Object: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let (caches, wake) = (Arc::clone(caches), wake.clone());
    tokio::spawn(async move {
        let mut events = pin!(watcher(api, config).default_backoff());
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    let concerned = cache(&caches).absorb(event.modify(prune));
                    concerned.iter().for_each(|holder| wake.wake(holder));
                }
                Err(error) => complain::<T::Object>(&error),
            }
        }
    });
}

fn complain<K: Resource<DynamicType = ()>>(error: &watcher::Error) {
    let kind = K::plural(&()).into_owned();
    tracing::warn!(kind, %error, "the watch was interrupted; it is tried again");
}

/// Drops what no decision looks at.
fn prune<K: Resource>(object: &mut K) {
    object.meta_mut().managed_fields = None;
}

/// A stranger's child is kept only so that it is known to be there.
fn prune_child<K: Resource<DynamicType = ()> + Default>(object: &mut K) {
    prune(object);
    let meta = object.meta();
    let ours = meta.labels.as_ref().is_some_and(|labels| labels.contains_key(UID_LABEL))
        || meta.owner_references.iter().flatten().any(|owner| owner.kind == ApiGateway::kind(&()));
    if !ours {
        let mut bare = K::default();
        let kept = bare.meta_mut();
        let meta = object.meta_mut();
        kept.name = meta.name.take();
        kept.namespace = meta.namespace.take();
        kept.uid = meta.uid.take();
        kept.resource_version = meta.resource_version.take();
        kept.owner_references = meta.owner_references.take();
        *object = bare;
    }
}

macro_rules! children {
    ($($kind:ty),+) => {
        $(impl KeptWhole for $kind {
            fn concerns(&self) -> Holder {
                (self.namespace().unwrap_or_default(), self.name_any())
            }
        })+
    };
}

children!(Deployment, Service, Ingress, PodDisruptionBudget);

impl KeptWhole for Environment {
    fn concerns(&self) -> Holder {
        (self.namespace().unwrap_or_default(), self.spec.gateway_ref.name.clone())
    }
}
