//! A small world: caches filled by hand, an API server that plays a script, and a registry that is away or is none.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::jiff::Timestamp;
use kube::core::{Expression, Selector};
use kube::runtime::watcher::Event;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::api::{ApiGateway, Environment, Guarded, ObjectKey, condition};
use crate::cache::caches::{Caches, Writers};
use crate::cache::scopes::{Scope, Scopes};
use crate::cluster::calls::Calls;
use crate::cluster::claim::Claim;
use crate::cluster::events::EventRecorder;
use crate::cluster::heartbeat::Heartbeats;
use crate::cluster::pod_events::PodEvents;
use crate::cluster::reachability::{LastContact, Outages};
use crate::cluster::tests::server::{Came, Exchange, Server};
use crate::control::clock::Now;
use crate::control::context::{Context, LARGE_AT_ONCE};
use crate::control::error::Error;
use crate::control::memory::{Expectation, Memory, Remembered};
use crate::control::{gather, reconcile};
use crate::decide::conditions;
use crate::decide::observed::{Child, Settings, Tried};
use crate::metrics::Metrics;
use crate::queue::{Requeue, WorkQueue};
use crate::registry::Registry;
use crate::registry::config::{Secret, Settings as RegistrySettings};
use crate::registry::document::{Defaults, EnvironmentDocument, GatewayDocument};
use crate::registry::mongo::Mongo;

/// How long a call may take.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Everything that a pass looks at and writes to.
pub(crate) struct World {
    pub(crate) ctx: Context,
    pub(crate) caches: Arc<Caches>,
    pub(crate) claim: Claim,
    pub(crate) queue: WorkQueue,
    pub(crate) server: Server,
    writers: Writers,
    told: Arc<Mutex<Vec<Value>>>,
}

/// What came of a pass.
#[derive(Debug, PartialEq)]
pub(crate) struct Passed {
    /// When it is to be looked at again, or why it failed.
    pub(crate) ends: String,
    /// The statuses that were sent: phase and state, and the reason of Ready.
    pub(crate) writes: Vec<String>,
    /// The Events.
    pub(crate) tells: Vec<String>,
    /// What is remembered afterwards of the gateway in the cache.
    pub(crate) remembers: Vec<String>,
}

impl World {
    /// Nothing is there but a namespace that allows any host, the objects are the record, and nobody else writes.
    pub(crate) fn new() -> Self {
        let server = Server::default();
        let queue = WorkQueue::new(8);
        let claim = Claim::unconditional();
        let (outages, _) = Outages::new(server.client(), LastContact::default(), Heartbeats::default(), String::new());
        let calls = Calls::new(server.client(), CALL_TIMEOUT, claim.clone(), outages.clone());
        let (scopes, mut filled) = Scopes::new(&[Scope::Cluster], Default::default());
        let (_, caches, mut writers) = filled.remove(0);
        for event in [Event::Init, Event::InitDone] {
            writers.gateways.apply_watcher_event(&event);
        }
        for event in [Event::Init, Event::InitDone] {
            writers.environments.apply_watcher_event(&event);
        }
        caches.allowances.apply_event(Event::Apply(namespace()));
        caches.allowed_hosts.apply_event(Event::Apply(namespace()));
        let (recorder, told) = recorder(&outages);
        let ctx = Context {
            calls,
            scopes: Arc::new(scopes),
            pod_events: PodEvents::default(),
            memory: Arc::<Memory>::default(),
            outages,
            settings: settings(),
            selector: Selector::default(),
            large: Semaphore::new(LARGE_AT_ONCE),
            recorder,
            metrics: Metrics::default(),
            registry: Registry::Kubernetes,
            queue: queue.clone(),
        };
        Self { ctx, caches, claim, queue, server, writers, told }
    }

    /// A registry answers that has read everything, and that no write reaches any more.
    pub(crate) fn record_in_mongo(&mut self) -> Arc<Mongo> {
        let settings = RegistrySettings {
            uri: Secret::new("mongodb://mongo.example.com".to_owned()),
            hosts: "mongo.example.com".to_owned(),
            database: "platform".to_owned(),
            username: None,
            password: None,
            scan_interval: Duration::from_secs(5),
            timeout: Duration::from_secs(5),
            defaults: Defaults { namespace: "tenants".to_owned(), ..Defaults::default() },
        };
        let metrics = self.ctx.metrics.clone();
        let mongo = Arc::new(Mongo::new(settings, self.claim.clone(), self.queue.clone(), metrics));
        mongo.cache.listed::<GatewayDocument>();
        mongo.cache.listed::<EnvironmentDocument>();
        self.ctx.registry = Registry::MongoDb(Arc::clone(&mongo));
        mongo
    }

    // What is cached.

    /// A gateway appears or changes, as its watch tells it.
    pub(crate) fn gateway(&mut self, gateway: &ApiGateway) {
        self.caches.claims().learn(gateway, std::time::Instant::now());
        self.guarded_gateway(Guarded::whole(gateway.clone()));
    }

    /// A gateway that may be unreadable.
    pub(crate) fn guarded_gateway(&mut self, gateway: Guarded<ApiGateway>) {
        self.writers.gateways.apply_watcher_event(&Event::Apply(gateway));
    }

    /// An environment appears or changes.
    pub(crate) fn environment(&mut self, environment: &Environment) {
        self.caches.claims().learn(environment, std::time::Instant::now());
        self.guarded_environment(Guarded::whole(environment.clone()));
    }

    /// An environment that may be unreadable.
    pub(crate) fn guarded_environment(&mut self, environment: Guarded<Environment>) {
        let event = Event::Apply(environment);
        self.writers.environments.apply_watcher_event(&event);
        self.caches.environments.apply_event(event);
    }

    /// Children appear or change.
    pub(crate) fn children(&self, children: impl IntoIterator<Item = Value>) {
        for child in children {
            match child["kind"].as_str().unwrap() {
                "Deployment" => self.caches.deployments.apply_event(Event::Apply(watched(&child))),
                "Service" => self.caches.services.apply_event(Event::Apply(watched(&child))),
                "Ingress" => self.caches.ingresses.apply_event(Event::Apply(watched(&child))),
                other => panic!("{other} is no kind of child here"),
            };
        }
    }

    /// A gateway and its children are there, and its status says of them what is to be said: a pass has nothing to
    /// write but what is said otherwise.
    pub(crate) fn has(&mut self, gateway: ApiGateway, children: impl IntoIterator<Item = Value>) {
        self.children(children);
        let mut gateway = gateway;
        self.caches.claims().learn(&gateway, std::time::Instant::now());
        let remembered = self.ctx.memory.recall(&gateway);
        let gathered = gather::cached(&self.ctx, &self.caches, &gateway, remembered, Now::read());
        let plan = gathered.decide();
        if !plan.moves {
            gateway.status = plan.status.or(gateway.status);
        }
        self.gateway(&gateway);
    }

    /// What an earlier pass left to be remembered of the gateway in the cache.
    pub(crate) fn remember(&self, edit: impl FnOnce(&ApiGateway, &mut Remembered)) {
        let gateway = self.cached();
        let mut remembered = self.ctx.memory.recall(&gateway);
        edit(&gateway, &mut remembered);
        self.ctx.memory.keep(&gateway, remembered);
    }

    /// An earlier pass tried the steps of the attempt.
    pub(crate) fn tried(&self) {
        self.remember(|gateway, remembered| remembered.tried(gateway, Tried::InTime));
    }

    /// An earlier pass created children that the caches do not show yet.
    pub(crate) fn created(&self, children: &[Child]) {
        self.remember(|_, remembered| {
            children.iter().for_each(|child| remembered.expect(*child, Expectation::Created));
        });
    }

    /// The attempt of the gateway in the cache is to be judged by its deadline after so long.
    pub(crate) fn is_due_in(&mut self, left: Duration) {
        let mut gateway = self.cached();
        let attempt = gateway.status.as_mut().unwrap().attempt.as_mut().unwrap();
        attempt.started_at.0 = Timestamp::now() - (settings().start_deadline - left);
        self.gateway(&gateway);
    }

    /// The gateway `shop` in the cache.
    pub(crate) fn cached(&self) -> ApiGateway {
        self.caches.gateway(&shop()).unwrap()
    }

    /// It is not known yet what the namespace allows.
    pub(crate) fn namespace_is_unknown(&self) {
        self.caches.allowed_hosts.apply_event(Event::Delete(namespace()));
    }

    /// Another operator works on the gateways here.
    pub(crate) fn is_anothers(&mut self) {
        self.ctx.selector = Selector::from_iter([Expression::Equal("shard".to_owned(), "another's".to_owned())]);
    }

    // What happens.

    /// One pass over the gateway `shop`, in which the API server plays this script.
    ///
    /// # Errors
    /// Where other requests came.
    pub(crate) async fn pass(&self, script: Vec<Exchange>) -> Result<Passed, String> {
        let gateway = self.caches.guarded_gateway(&shop()).unwrap();
        self.server.expect(script);
        let ended = reconcile::gateway(&self.ctx, &self.caches, &gateway).await;
        self.passed(ended).await
    }

    /// One pass over the environment `shop-dev`.
    ///
    /// # Errors
    /// Where other requests came.
    pub(crate) async fn environment_pass(&self, script: Vec<Exchange>) -> Result<Passed, String> {
        let environment = self.caches.guarded_environment(&ObjectKey::new("tenants", "shop-dev")).unwrap();
        self.server.expect(script);
        let ended = reconcile::environment(&self.ctx, &self.caches, &environment).await;
        self.passed(ended).await
    }

    async fn passed(&self, ended: Result<Requeue, Error>) -> Result<Passed, String> {
        let mut ends = ends(&ended);
        if let Some(later) = ended.err().and_then(|error| error.retry_after()) {
            ends.push_str(&format!(", not before {later:?}"));
        }
        // The clock goes on only once nobody has anything to do: by then every Event was told.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let tells = std::mem::take(&mut *self.told.lock().unwrap());
        let came = self.server.finish()?;
        let status = |came: &&Came| came.path.ends_with("/status") && came.method != "GET";
        Ok(Passed {
            ends,
            writes: came.iter().filter(status).map(written).collect(),
            tells: tells.iter().map(told).collect(),
            remembers: self.remembers(),
        })
    }

    fn remembers(&self) -> Vec<String> {
        let mut all = Vec::new();
        if let Some(gateway) = self.caches.gateway(&shop()) {
            let (remembered, now) = (self.ctx.memory.recall(&gateway), Now::read());
            match remembered.has_tried(&gateway) {
                Tried::Never => {}
                Tried::InTime => all.push("tried".to_owned()),
                Tried::Late => all.push("tried late".to_owned()),
            }
            if let Some(refusal) = remembered.refusal(&gateway) {
                all.push(format!("refused {}", refusal.what.in_words()));
            }
            if let Some(unanswered) = remembered.what_was_unanswered(&gateway) {
                all.push(format!("unanswered {}", unanswered.what.in_words()));
            }
            for child in Child::ALL {
                match remembered.expectation(child, now) {
                    Some(Expectation::Created) => all.push(format!("created {}", child.kind())),
                    Some(Expectation::Deleted(_)) => all.push(format!("deleted {}", child.kind())),
                    None => {}
                }
            }
            if self.ctx.memory.newer_than(&gateway).is_some() {
                all.push("our write".to_owned());
            }
        }
        if self.ctx.outages.ongoing().is_some() {
            all.push("an outage".to_owned());
        }
        all
    }
}

/// One scenario of a table: a world, a script, and what comes of one pass.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// What is cached and remembered.
    pub(crate) given: fn(&mut World),
    /// What is asked, and what is answered.
    pub(crate) script: fn(&World) -> Vec<Exchange>,
    pub(crate) ends: &'static str,
    pub(crate) writes: &'static [&'static str],
    pub(crate) tells: &'static [&'static str],
    pub(crate) remembers: &'static [&'static str],
}

impl Row {
    fn expected(&self) -> Passed {
        let owned = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
        Passed {
            ends: self.ends.to_owned(),
            writes: owned(self.writes),
            tells: owned(self.tells),
            remembers: owned(self.remembers),
        }
    }
}

/// One pass over the gateway in each world of a table.
pub(crate) async fn play(table: &[Row]) {
    let mut wrong = Vec::new();
    for row in table {
        let mut world = World::new();
        (row.given)(&mut world);
        let script = (row.script)(&world);
        match world.pass(script).await {
            Ok(passed) if passed == row.expected() => {}
            Ok(passed) => wrong.push(format!("{}:\n  {passed:?}\n  and not {:?}", row.name, row.expected())),
            Err(fault) => wrong.push(format!("{}:\n  {fault}", row.name)),
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

pub(crate) fn namespace() -> Namespace {
    let mut namespace = Namespace::default();
    namespace.metadata.name = Some("tenants".to_owned());
    namespace
}

pub(crate) fn shop() -> ObjectKey {
    ObjectKey::new("tenants", "shop")
}

/// What a watch reads of an object. It reads text: a specification cannot be taken as text from a tree of values.
pub(crate) fn watched<T: DeserializeOwned>(object: &Value) -> T {
    serde_json::from_str(&object.to_string()).unwrap()
}

pub(crate) fn settings() -> Settings {
    Settings {
        cleanup_stuck_after: Duration::from_secs(600),
        registry_deletion_timeout: Duration::from_secs(900),
        ..Settings::default()
    }
}

/// An event recorder whose Events are kept by an API server of their own.
fn recorder(outages: &Outages) -> (EventRecorder, Arc<Mutex<Vec<Value>>>) {
    let told = Arc::<Mutex<Vec<Value>>>::default();
    let keep = Arc::clone(&told);
    let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let keep = Arc::clone(&keep);
        async move {
            let body = request.into_body().collect_bytes().await?;
            keep.lock().unwrap().push(serde_json::from_slice(&body)?);
            Ok::<_, tower::BoxError>(http::Response::new(kube::client::Body::from(body.to_vec())))
        }
    });
    let client = kube::Client::new(service, "tenants");
    let calls = Calls::new(client, CALL_TIMEOUT, Claim::unconditional(), outages.clone());
    let (recorder, telling) = EventRecorder::new(calls, "me");
    tokio::spawn(telling);
    (recorder, told)
}

fn ends(ended: &Result<Requeue, Error>) -> String {
    match ended {
        // To five seconds: the wall clock goes on while a world is put together.
        Ok(Requeue::After(later)) => format!("After {}s", (later.as_secs_f64() / 5.0).round() * 5.0),
        Ok(next) => format!("{next:?}"),
        Err(Error::Refused { what, message }) => format!("Refused {what}: {message}"),
        Err(Error::Registry(words)) => format!("Registry: {words}"),
        Err(Error::Call(error)) => format!("Failed: {error}"),
    }
}

/// A status in few words.
fn written(came: &Came) -> String {
    let text = |pointer: &str| came.body.pointer(pointer).and_then(Value::as_str).unwrap_or("-").to_owned();
    let conditions = came.body.pointer("/status/conditions").cloned().unwrap_or_default();
    let conditions: Vec<_> = serde_json::from_value(conditions).unwrap_or_default();
    let ready = conditions::find(&conditions, condition::READY);
    let ready = ready.map_or_else(|| "-".to_owned(), |ready| format!("{} {}", ready.status, ready.reason));
    format!("{} {}, Ready {ready}", text("/status/phase"), text("/status/state"))
}

/// An Event in few words.
fn told(event: &Value) -> String {
    let text = |field: &str| event[field].as_str().unwrap_or_default();
    format!("{} {}", text("type"), text("reason"))
}
