//! Runs the operator: leader election, watches and workers.
//!
//! **Architecture invariant**: a lost leadership drops everything that works (caches, queue, reconciles) in one
//! place, the `select!` of `take_part`. No task outlives the future that started it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::future::{self, FutureExt, Shared as SharedFuture};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Client, Config};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::args::Run;
use super::serve;
use super::view::View;
use crate::api::ObjectKey;
use crate::cache::scopes::{Scope, Scopes};
use crate::cluster::calls::Calls;
use crate::cluster::claim::Claim;
use crate::cluster::client;
use crate::cluster::events::EventRecorder;
use crate::cluster::lease::{Candidate, Election};
use crate::cluster::pod_events::PodEvents;
use crate::cluster::reachability::{LastContact, Outages, probe};
use crate::control::context::{Context, LARGE_AT_ONCE};
use crate::control::memory::Memory;
use crate::control::watch::{self, Shared};
use crate::control::work::work;
use crate::metrics::Metrics;
use crate::queue::WorkQueue;
use crate::registry::config::Settings;
use crate::registry::mongo::Mongo;
use crate::registry::{Registry, follow};
use crate::sink::deliver::Sender;
use crate::sink::{Outbox, Sink};

/// The time limits of a shutdown: for reconciles in progress, for the last Events, and for the release of the
/// Lease. Their sum is less than the ten seconds that README.md promises.
const DRAIN: Duration = Duration::from_secs(6);
const LAST_EVENTS: Duration = Duration::from_millis(500);
const RELEASE: Duration = Duration::from_secs(3);

/// How long the start waits for the first read of the registry.
const FIRST_READ: Duration = Duration::from_secs(2);

/// What lasts as long as the process.
struct Process<'a> {
    run: &'a Run,
    /// The client of the watches and of leader election.
    client: Client,
    /// The client of the workers, which writes only while the Lease is valid.
    worker: Client,
    claim: Claim,
    last_contact: LastContact,
    view: View,
    metrics: Metrics,
    registry_settings: Option<Settings>,
    sink: Option<Arc<Sink>>,
    /// Where delivered positions of events are kept.
    positions: ObjectKey,
    shutdown: Shutdown,
}

/// Runs until SIGTERM or Ctrl-C, then lets the reconciles in progress finish.
///
/// # Errors
/// The operator cannot start at all.
pub async fn run(run: &Run, config: Config) -> anyhow::Result<()> {
    let server = config.cluster_url.to_string();
    let election = run.election(&config.default_namespace);
    let positions = run.positions(&config.default_namespace);
    let (last_contact, view, metrics) = (LastContact::default(), View::default(), Metrics::default());
    let claim = if election.is_some() { Claim::none() } else { Claim::unconditional() };
    let connect = |claim: &Claim| client::connect(config.clone(), claim, &metrics, &last_contact, &view.heartbeats);
    let (client, worker) = (connect(&Claim::unconditional())?, connect(&claim)?);
    let shutdown = shutdown()?;
    let mut serving: JoinSet<()> = JoinSet::new();
    if let Some(address) = run.http_bind {
        serving.spawn(serve::serve(address, run.live_within, view.clone(), metrics.clone()).await?);
    }
    tracing::info!(
        server,
        version = env!("CARGO_PKG_VERSION"),
        identity = run.identity,
        scopes = ?run.scopes(),
        "operator started"
    );
    serving.spawn(view.definitions.clone().follow(client.clone(), view.heartbeats.clone()));
    let registry_settings = run.registry().map_err(anyhow::Error::msg)?;
    if let Some(settings) = &registry_settings {
        tracing::info!(hosts = settings.hosts, database = settings.database, "registry: MongoDB");
    }
    let sink = match run.sink.settings().map_err(anyhow::Error::msg)? {
        Some(settings) => Some(Arc::new(Sink::new(settings)?)),
        None => None,
    };
    let process = Process {
        run,
        client,
        worker,
        claim,
        last_contact,
        view,
        metrics,
        registry_settings,
        sink,
        positions,
        shutdown,
    };
    match election {
        None => lead(&process).await,
        Some(election) => take_part(&process, election).await,
    }
    tracing::info!("operator stopped");
    Ok(())
}

/// Works whenever this process is the leader.
async fn take_part(process: &Process<'_>, election: Election) {
    let Process { client, claim, last_contact, view, metrics, shutdown, .. } = process;
    let probe = probe::<Lease>(&election.lease.namespace, &election.lease.name);
    let (outages, recovery) = Outages::new(client.clone(), last_contact.clone(), view.heartbeats.clone(), probe);
    let mut background = JoinSet::new();
    background.spawn(recovery);
    // Two tries fit into the renew deadline.
    let calls = Calls::new(client.clone(), election.renew_deadline / 2, Claim::unconditional(), outages);
    let mut candidate = Candidate::new(calls, election, claim.clone(), view.lease.clone());
    loop {
        tokio::select! {
            () = candidate.win() => {}
            () = shutdown.clone() => break,
        }
        // Lost leadership drops everything: caches, memory, reconciles.
        tokio::select! {
            () = candidate.keep() => metrics.registry.stands_by(),
            () = lead(process) => break,
        }
    }
    // The Lease is released even if this process does not know that it acquired it: the response may have been
    // lost.
    if tokio::time::timeout(RELEASE, candidate.release()).await.is_err() {
        tracing::warn!("the Lease was not released in time; it will expire");
    }
}

/// Works on gateways until the process is told to shut down.
async fn lead(process: &Process<'_>) {
    let Process { run, client, worker, claim, last_contact, view, metrics, shutdown, .. } = process;
    let (outages, recovery) =
        Outages::new(client.clone(), last_contact.clone(), view.heartbeats.clone(), probe_of(&run.scopes()));
    let calls = Calls::new(worker.clone(), run.call_timeout, claim.clone(), outages.clone());
    let queue = WorkQueue::new(run.concurrency);
    let outbox = match &process.sink {
        Some(_) => Outbox::new(run.selector.clone().unwrap_or_default(), metrics.events.clone()),
        None => Outbox::default(),
    };
    let work_guard = view.works(queue.clone(), outages.clone(), outbox.clone());
    // Every background task ends with this set, and therefore with a lost leadership.
    let mut background = JoinSet::new();
    background.spawn(recovery);

    let registry = registry(process, &queue);
    let (scopes, to_fill) = Scopes::new(&run.scopes(), run.hosts());
    let shared = Shared {
        client: client.clone(),
        scopes: Arc::new(scopes),
        memory: Arc::<Memory>::default(),
        outages: outages.clone(),
        last_contact: last_contact.clone(),
        queue: queue.clone(),
        definitions: view.definitions.clone(),
        heartbeats: view.heartbeats.clone(),
        metrics: metrics.clone(),
        registry: registry.clone(),
        outbox: outbox.clone(),
        selector: run.selector.clone().unwrap_or_default(),
    };
    let filled = to_fill.iter().map(|(scope, caches, _)| (scope.clone(), Arc::clone(caches))).collect();
    // The watches continue until the workers have finished.
    let mut routes = JoinSet::new();
    routes.spawn(watch::follow_routes(shared.clone(), filled));
    let _watches: Vec<JoinSet<()>> =
        to_fill.into_iter().map(|(scope, caches, writers)| watch::start(&shared, &scope, &caches, writers)).collect();
    // The initial lists of all scopes are complete before the first gateway is worked on, because scopes share
    // their hosts.
    tokio::select! {
        _ = future::join_all(shared.scopes.all().map(|caches| caches.wait_until_ready())) => {}
        () = shutdown.clone() => return,
    }
    if let Registry::MongoDb(mongo) = &registry {
        follow::follow(mongo, &mut background);
        // A database that answers is read before the work starts. One that does not answer does not delay the
        // start.
        let first_read = tokio::time::timeout(FIRST_READ, mongo.cache.wait_until_complete());
        tokio::select! {
            _ = first_read => {}
            () = shutdown.clone() => return,
        }
    }
    tracing::info!("caches are synced; reconciling");
    background.spawn(watch::requeue_host_waiters(Arc::clone(&shared.scopes), queue.clone()));
    let (recorder, telling) = EventRecorder::new(calls.of_events(), &run.identity);
    let mut telling_events = JoinSet::new();
    telling_events.spawn(telling);
    // What is recorded from here on is sent.
    outbox.begin();
    let (end_sending, ended) = tokio::sync::watch::channel(false);
    let lease = (calls.of_events(), process.positions.clone());
    let sender = Sender::new(
        &outbox,
        process.sink.as_ref(),
        lease,
        Arc::clone(&shared.scopes),
        (claim.clone(), metrics.events.clone()),
    );
    let mut sending_events = JoinSet::new();
    if let Some(sender) = sender {
        sending_events.spawn(sender.run(ended));
    }
    let context = Arc::new(Context {
        queue: queue.clone(),
        calls,
        scopes: shared.scopes,
        pod_events: PodEvents::default(),
        memory: shared.memory,
        outages,
        settings: run.settings(),
        selector: shared.selector,
        large: Semaphore::new(LARGE_AT_ONCE),
        recorder,
        metrics: metrics.clone(),
        registry,
    });
    view.knows(Arc::clone(&context));
    work(&queue, &context, shutdown.clone(), DRAIN).await;
    // The event publisher ends after its last recorder is dropped and its last Event is written.
    drop((work_guard, context));
    let _ = end_sending.send(true);
    let last = async { tokio::join!(telling_events.join_next(), sending_events.join_next()) };
    let _ = tokio::time::timeout(LAST_EVENTS, last).await;
}

/// The path that the workers use to ask whether the storage answers: a list of children. It may be empty.
fn probe_of(scopes: &[Scope]) -> String {
    let namespace = scopes.iter().find_map(|scope| match scope {
        Scope::Namespace(namespace) => Some(namespace.as_str()),
        Scope::Cluster => None,
    });
    probe::<Deployment>(namespace.unwrap_or("default"), "phasegate-probe")
}

fn registry(process: &Process<'_>, queue: &WorkQueue) -> Registry {
    match &process.registry_settings {
        None => Registry::Kubernetes,
        Some(settings) => {
            let mongo = Mongo::new(settings.clone(), process.claim.clone(), queue.clone(), process.metrics.clone());
            Registry::MongoDb(Arc::new(mongo))
        }
    }
}

type Shutdown = SharedFuture<future::BoxFuture<'static, ()>>;

/// Resolves when the process is told to shut down.
fn shutdown() -> anyhow::Result<Shutdown> {
    let mut terminate = signal(SignalKind::terminate()).context("failed to install signal handlers")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to install signal handlers")?;
    let told = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    Ok(told.boxed().shared())
}
