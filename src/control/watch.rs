//! Which watch feeds which cache, and whom it wakes.

use std::collections::HashMap;
use std::fmt::Debug;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use futures::{FutureExt, Stream};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::utils::ResetTimerBackoff;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use crate::api::{ApiGateway, Environment, ObjectKey};
use crate::cache::index::{AllowedHosts, Cache, Kept, PodFacts};
use crate::cache::seen::Seen;
use crate::cache::watched::{Watchable, Watched};
use crate::children::{self, MANAGED_BY, UID_LABEL};
use crate::cluster::backoff::WatchBackoff;
use crate::cluster::calls::is_out_of_reach;
use crate::cluster::reachability::{LastHeard, Outages};
use crate::control::memory::Memory;
use crate::control::work::WorkQueue;
use crate::decide::hosts::{Claimant, ClaimantKind, Claims, Stake};
use crate::metrics::Metrics;
use crate::queue::{Key, Kind, Stage};
use crate::registry::Registry;
use crate::service::health::{Health, Pulse};

/// An object that may be of another version: one that cannot be read stops nobody else.
pub type Guarded<K> = DeserializeGuard<K>;

/// After how long without any event a watch is taken for dead. The default of five minutes
/// would be as long as a start may take.
const WATCH_SECONDS: u32 = 60;

/// After how long without a failure a watch's backoff begins anew.
const STEADY: Duration = Duration::from_secs(60);

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

/// What decisions are made from.
pub struct Caches {
    /// The gateways.
    pub gateways: Store<Guarded<ApiGateway>>,
    /// The environments, those that cannot be read included.
    pub all_environments: Store<Guarded<Environment>>,
    /// The environments, by their gateway.
    pub environments: Cache<Environment>,
    /// Deployments, strangers' too: they may be in the way.
    pub deployments: Cache<Seen<Deployment>>,
    /// Services, strangers' too.
    pub services: Cache<Seen<Service>>,
    /// Ingresses, strangers' too.
    pub ingresses: Cache<Seen<Ingress>>,
    /// PodDisruptionBudgets, strangers' too.
    pub disruption_budgets: Cache<Seen<PodDisruptionBudget>>,
    /// The gateways' pods.
    pub pods: Cache<PodFacts>,
    /// What the namespaces allow.
    pub allowed_hosts: Cache<AllowedHosts>,
    space: Arc<HostSpace>,
}

/// The one space of hosts, which all scopes of an operator share.
#[derive(Default)]
pub struct HostSpace {
    claims: Mutex<Claims>,
    bells: Mutex<Vec<Bells>>,
}

impl HostSpace {
    fn claims(&self) -> MutexGuard<'_, Claims> {
        // Claims are replaced one by one; a panic elsewhere leaves them whole.
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bells(&self) -> MutexGuard<'_, Vec<Bells>> {
        self.bells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes claimants, each in the scope that watches it.
    fn wake(&self, claimants: impl IntoIterator<Item = Claimant>) {
        for Claimant { object, kind } in claimants {
            for bells in self.bells().iter() {
                match kind {
                    ClaimantKind::Gateway => bells.gateway(&object),
                    ClaimantKind::Environment => bells.environment(&object),
                }
            }
        }
    }
}

/// An object's key, as kube's store has it.
pub fn reference<K: Resource<DynamicType = ()>>(key: &ObjectKey) -> ObjectRef<K> {
    ObjectRef::new(&key.name).within(&key.namespace)
}

impl Caches {
    /// Who holds which host, over all scopes.
    pub fn claims(&self) -> MutexGuard<'_, Claims> {
        self.space.claims()
    }

    /// The gateway of a namespace and name, if it exists and can be read.
    pub fn gateway(&self, key: &ObjectKey) -> Option<ApiGateway> {
        self.gateways.get(&reference(key))?.0.clone().ok()
    }

    /// The environment of a namespace and name, if it exists and can be read.
    pub fn environment(&self, key: &ObjectKey) -> Option<Environment> {
        self.all_environments.get(&reference(key))?.0.clone().ok()
    }

    /// Whether there is a gateway of a namespace and name that cannot be read.
    pub fn cannot_read_gateway(&self, key: &ObjectKey) -> bool {
        self.gateways.get(&reference(key)).is_some_and(|gateway| gateway.0.is_err())
    }

    async fn wait_until_ready(&self) {
        let gateways = self.gateways.wait_until_ready().map(drop);
        let waits = [
            ("apigateways", gateways.boxed()),
            ("environments", self.environments.wait_until_ready().boxed()),
            ("deployments", self.deployments.wait_until_ready().boxed()),
            ("services", self.services.wait_until_ready().boxed()),
            ("ingresses", self.ingresses.wait_until_ready().boxed()),
            ("poddisruptionbudgets", self.disruption_budgets.wait_until_ready().boxed()),
            ("pods", self.pods.wait_until_ready().boxed()),
            ("namespaces", self.allowed_hosts.wait_until_ready().boxed()),
        ];
        for (kind, wait) in waits {
            wait.await;
            tracing::debug!(kind, "listed");
        }
    }
}

/// The watches of one scope, running.
pub struct Watches {
    /// What they fill.
    pub caches: Arc<Caches>,
    /// The watches themselves; they end with this.
    pub running: JoinSet<()>,
}

/// What the watches of all scopes share.
#[derive(Clone)]
pub struct Shared {
    /// The client that watches.
    pub client: Client,
    /// Who holds which host.
    pub space: Arc<HostSpace>,
    /// Forgets the gateways that are gone.
    pub memory: Arc<Memory>,
    /// Is told that nobody answers.
    pub outages: Outages,
    /// Is told that somebody does.
    pub heard: LastHeard,
    /// Is told what changed.
    pub queue: WorkQueue,
    /// Shows how each watch is doing.
    pub health: Health,
    /// Counts interruptions.
    pub metrics: Metrics,
    /// Is told which gateways and environments there are.
    pub registry: Registry,
}

impl Watches {
    /// Starts watching, and returns when everything was listed: a decision from half a view
    /// would create what is there.
    pub async fn start(shared: &Shared, scope: &Scope) -> Self {
        let (gateways, gateway_writer) = reflector::store();
        let (environments, environment_writer) = reflector::store();
        let caches = Arc::new(Caches {
            gateways,
            all_environments: environments,
            environments: Cache::default(),
            deployments: Cache::default(),
            services: Cache::default(),
            ingresses: Cache::default(),
            disruption_budgets: Cache::default(),
            pods: Cache::default(),
            allowed_hosts: Cache::default(),
            space: Arc::clone(&shared.space),
        });
        let bells = Bells {
            gateways: caches.gateways.clone(),
            environments: caches.all_environments.clone(),
            queue: shared.queue.clone(),
        };
        shared.space.bells().push(bells.clone());
        let wake = Wake { caches: Arc::clone(&caches), bells };

        let config = watcher::Config::default().timeout(WATCH_SECONDS);
        let pods = config.clone().labels(&format!("{}={}", MANAGED_BY.0, MANAGED_BY.1));
        let namespaces = match scope {
            Scope::Cluster => config.clone(),
            Scope::Namespace(name) => config.clone().fields(&format!("metadata.name={name}")),
        };
        let memory = Arc::clone(&shared.memory);
        let child = |holder: &ObjectKey, wake: &Wake| wake.gateway(holder);
        let ingress = |holder: &ObjectKey, wake: &Wake| wake.gateway_and_environments(holder);
        let namespace = |namespace: &ObjectKey, wake: &Wake| wake.namespace(&namespace.name);

        let mut begin = Begin { shared, scope, running: JoinSet::new() };
        let registry = || shared.registry.clone();
        begin.watch(config.clone(), prune, gateway_events(gateway_writer, memory, registry(), wake.clone()));
        begin.watch(config.clone(), prune, environment_events(environment_writer, registry(), wake.clone()));
        begin.watch(config.clone(), prune_child, into(&wake, |caches| &caches.deployments, child));
        begin.watch(config.clone(), prune_child, into(&wake, |caches| &caches.services, child));
        begin.watch(config.clone(), prune_child, into(&wake, |caches| &caches.disruption_budgets, child));
        begin.watch(config, prune_child, into(&wake, |caches| &caches.ingresses, ingress));
        begin.watch(pods, |_: &mut Watched<Pod>| {}, into(&wake, |caches| &caches.pods, child));
        let all = Api::all(shared.client.clone());
        begin.watch_in(all, namespaces, prune, into(&wake, |caches| &caches.allowed_hosts, namespace));
        let running = begin.running;

        caches.wait_until_ready().await;
        Self { caches, running }
    }
}

/// Wakes those of one scope that exist.
#[derive(Clone)]
struct Bells {
    gateways: Store<Guarded<ApiGateway>>,
    environments: Store<Guarded<Environment>>,
    queue: WorkQueue,
}

impl Bells {
    fn gateway(&self, key: &ObjectKey) {
        if let Some(gateway) = self.gateways.get(&reference(key)) {
            let begun = gateway.0.as_ref().is_ok_and(|gateway| {
                let status = gateway.status.as_ref();
                status.is_some_and(|status| status.observed_generation == gateway.metadata.generation)
            });
            self.wake(key, Kind::Gateway, begun);
        }
    }

    fn environment(&self, key: &ObjectKey) {
        if let Some(environment) = self.environments.get(&reference(key)) {
            let begun = environment.0.as_ref().is_ok_and(|environment| environment.status.is_some());
            self.wake(key, Kind::Environment, begun);
        }
    }

    fn wake(&self, key: &ObjectKey, kind: Kind, begun: bool) {
        let stage = if begun { Stage::UnderWay } else { Stage::New };
        self.queue.wake(Key { object: key.clone(), kind }, stage);
    }
}

/// Wakes whom a change in one scope concerns.
#[derive(Clone)]
struct Wake {
    caches: Arc<Caches>,
    bells: Bells,
}

impl Wake {
    fn gateway(&self, key: &ObjectKey) {
        self.bells.gateway(key);
    }

    fn environment(&self, key: &ObjectKey) {
        self.bells.environment(key);
    }

    fn environments_of(&self, holder: &ObjectKey) {
        for (name, _) in self.caches.environments.of(holder) {
            self.environment(&ObjectKey::new(&holder.namespace, name));
        }
    }

    fn gateway_and_environments(&self, holder: &ObjectKey) {
        self.gateway(holder);
        self.environments_of(holder);
    }

    fn namespace(&self, name: &str) {
        for gateway in self.caches.gateways.state() {
            if gateway.namespace().as_deref() == Some(name) {
                self.gateway_and_environments(&ObjectKey::new(name, gateway.name_any()));
            }
        }
    }

    fn learn(&self, stake: impl Into<Stake>) {
        let concerned = self.caches.claims().learn(stake);
        self.caches.space.wake(concerned);
    }

    fn forget(&self, claimant: &Claimant) {
        let concerned = self.caches.claims().forget(claimant);
        self.caches.space.wake(concerned);
    }
}

/// Keeps gateways, what they claim and what is remembered of them in step with those that exist.
fn gateway_events(
    mut writer: reflector::store::Writer<Guarded<ApiGateway>>,
    memory: Arc<Memory>,
    registry: Registry,
    wake: Wake,
) -> impl FnMut(Event<Guarded<ApiGateway>>) + Send + 'static {
    let mut known = Known::default();
    move |event| {
        writer.apply_watcher_event(&event);
        let changes = known.take_in(&event);
        for object in &changes.appeared {
            if let Ok(gateway) = &object.0 {
                wake.learn(gateway);
                registry.saw_gateway(gateway);
            }
        }
        for Identity { holder, uid } in &changes.gone {
            memory.forget(uid);
            if !known.has(holder) {
                wake.forget(&Claimant { object: holder.clone(), kind: ClaimantKind::Gateway });
                registry.lost_gateway(holder);
            }
            wake.environments_of(holder);
        }
        for object in &changes.appeared {
            let holder = ObjectKey::of(object);
            if !object.0.as_ref().is_ok_and(|gateway| memory.is_echo(gateway)) {
                wake.gateway(&holder);
            }
            wake.environments_of(&holder);
        }
    }
}

/// Keeps environments, and what they claim, in step with those that exist.
fn environment_events(
    mut writer: reflector::store::Writer<Guarded<Environment>>,
    registry: Registry,
    wake: Wake,
) -> impl FnMut(Event<Guarded<Environment>>) + Send + 'static {
    let mut known = Known::default();
    move |event| {
        writer.apply_watcher_event(&event);
        let changes = known.take_in(&event);
        let concerned = wake.caches.environments.absorb(event);
        for object in &changes.appeared {
            if let Ok(environment) = &object.0 {
                wake.learn(environment);
                registry.saw_environment(environment);
            }
            wake.environment(&ObjectKey::of(object));
        }
        for Identity { holder, .. } in &changes.gone {
            if !known.has(holder) {
                wake.forget(&Claimant { object: holder.clone(), kind: ClaimantKind::Environment });
                registry.lost_environment(holder);
            }
        }
        concerned.iter().for_each(|holder| wake.gateway(holder));
    }
}

/// Tells which objects a watch's events make appear, change and disappear, those included that
/// went while the watch was interrupted.
struct Known<K> {
    /// The uid by namespace and name.
    present: HashMap<ObjectKey, String>,
    listed: Vec<K>,
}

struct Identity {
    holder: ObjectKey,
    uid: String,
}

struct Changes<K> {
    appeared: Vec<K>,
    gone: Vec<Identity>,
}

impl<K> Default for Known<K> {
    fn default() -> Self {
        Self { present: HashMap::new(), listed: Vec::new() }
    }
}

impl<K: Resource + Clone> Known<K> {
    fn take_in(&mut self, event: &Event<K>) -> Changes<K> {
        match event {
            Event::Apply(object) => {
                self.present.insert(ObjectKey::of(object), uid(object));
                Changes { appeared: vec![object.clone()], gone: Vec::new() }
            }
            Event::Delete(object) => {
                let gone = Identity { holder: ObjectKey::of(object), uid: uid(object) };
                if self.present.get(&gone.holder) == Some(&gone.uid) {
                    self.present.remove(&gone.holder);
                }
                Changes { appeared: Vec::new(), gone: vec![gone] }
            }
            Event::Init => {
                self.listed.clear();
                Changes { appeared: Vec::new(), gone: Vec::new() }
            }
            Event::InitApply(object) => {
                self.listed.push(object.clone());
                Changes { appeared: Vec::new(), gone: Vec::new() }
            }
            Event::InitDone => {
                let appeared = std::mem::take(&mut self.listed);
                let present = appeared.iter().map(|object| (ObjectKey::of(object), uid(object))).collect();
                let before = std::mem::replace(&mut self.present, present);
                let is_gone = |(holder, uid): &(ObjectKey, String)| self.present.get(holder) != Some(uid);
                let gone = before.into_iter().filter(is_gone).map(|(holder, uid)| Identity { holder, uid }).collect();
                Changes { appeared, gone }
            }
        }
    }

    /// Whether an object of this namespace and name is there, of whatever uid.
    fn has(&self, holder: &ObjectKey) -> bool {
        self.present.contains_key(holder)
    }
}

fn uid<K: Resource>(object: &K) -> String {
    object.uid().unwrap_or_default()
}

/// Puts a watch's events into a cache, and wakes whom they concern.
fn into<T>(
    wake: &Wake,
    cache: fn(&Caches) -> &Cache<T>,
    concerned: fn(&ObjectKey, &Wake),
) -> impl FnMut(Event<T::Object>) + Send + 'static
where
    T: Kept + Send + Sync + 'static,
{
    let wake = wake.clone();
    move |event| {
        let holders = cache(&wake.caches).absorb(event);
        holders.iter().for_each(|holder| concerned(holder, &wake));
    }
}

/// Begins the watches of one scope.
struct Begin<'a> {
    shared: &'a Shared,
    scope: &'a Scope,
    running: JoinSet<()>,
}

impl Begin<'_> {
    fn watch<K>(&mut self, config: watcher::Config, prune: fn(&mut K), take_in: impl FnMut(Event<K>) + Send + 'static)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + Debug
            + Send
            + 'static,
    {
        self.watch_in(self.scope.api(&self.shared.client), config, prune, take_in);
    }

    /// Hands every event of a watch to `take_in`, for as long as `running` is kept.
    fn watch_in<K>(
        &mut self,
        api: Api<K>,
        config: watcher::Config,
        prune: fn(&mut K),
        mut take_in: impl FnMut(Event<K>) + Send + 'static,
    ) where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let what = match self.scope {
            Scope::Cluster => K::plural(&()).into_owned(),
            Scope::Namespace(namespace) => format!("{} of namespace {namespace}", K::plural(&())),
        };
        let pulse = Arc::new(Pulse::new(what.clone(), api.resource_url().to_owned()));
        self.shared.health.watches(Arc::clone(&pulse));
        self.shared.metrics.watches(&K::plural(&()));
        let Shared { outages, heard, metrics, .. } = self.shared.clone();
        self.running.spawn(async move {
            let mut events =
                pin!(watcher(api, config).backoff(ResetTimerBackoff::new(WatchBackoff::default(), STEADY)));
            // Bookmarks wake the watch and are no events; they are signs of life all the same.
            // A failure is none of the API server's: a connection that died in silence ends by a timer.
            while let Some(event) = poll_fn(|cx| {
                let polled = events.as_mut().poll_next(cx);
                if pulse.beat() && !matches!(polled, Poll::Ready(Some(Err(_)))) {
                    heard.now();
                }
                polled
            })
            .await
            {
                match event {
                    Ok(event) => {
                        pulse.goes_on();
                        let complete = matches!(event, Event::InitDone);
                        take_in(event.modify(prune));
                        if complete {
                            pulse.listed();
                        }
                    }
                    Err(error) => {
                        let cause = cause(&error);
                        if cause.is_some_and(is_out_of_reach) {
                            outages.began();
                        }
                        metrics.watch_restarted(&K::plural(&()));
                        let trouble = trouble::<K>(&what, cause, &error);
                        if !pulse.fails(&trouble) {
                            tracing::warn!("{trouble}; it is tried again");
                        }
                    }
                }
            }
        });
    }
}

fn cause(error: &watcher::Error) -> Option<&kube::Error> {
    match error {
        watcher::Error::InitialListFailed(cause)
        | watcher::Error::WatchStartFailed(cause)
        | watcher::Error::WatchFailed(cause) => Some(cause),
        _ => None,
    }
}

/// Why a watch does not go on, and what to do about it where that is known.
fn trouble<K: Resource<DynamicType = ()>>(what: &str, cause: Option<&kube::Error>, error: &watcher::Error) -> String {
    let words = match cause {
        Some(kube::Error::Api(status)) if status.code == 404 => {
            return format!(
                "{what} cannot be watched: the API server does not know {}; apply the custom resource definitions \
                 (kubectl apply --server-side -f crds)",
                K::api_version(&())
            );
        }
        Some(kube::Error::Api(status)) if status.code == 403 => {
            return format!("{what} cannot be watched: {}; see the operator's roles in deploy", status.message);
        }
        Some(kube::Error::Api(status)) if !status.message.is_empty() => status.message.clone(),
        Some(cause) => cause.to_string(),
        None => error.to_string(),
    };
    format!("{what} cannot be watched: {words}")
}

/// Drops what no decision looks at.
fn prune<K: Resource>(object: &mut K) {
    object.meta_mut().managed_fields = None;
}

/// A stranger's child is kept only so that it is known to be there.
fn prune_child<K: Watchable>(object: &mut Watched<K>) {
    let meta = object.meta_mut();
    let ours = meta.labels.as_ref().is_some_and(|labels| labels.contains_key(UID_LABEL))
        || meta.owner_references.iter().flatten().any(children::is_gateway);
    if !ours {
        *object = Watched::bare(ObjectMeta {
            name: meta.name.take(),
            namespace: meta.namespace.take(),
            uid: meta.uid.take(),
            resource_version: meta.resource_version.take(),
            owner_references: meta.owner_references.take(),
            ..ObjectMeta::default()
        });
    }
}
