//! Runs the operator: an election where there is one, watches, and work.

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
use crate::cache::scopes::{Scope, Scopes};
use crate::cluster::calls::Calls;
use crate::cluster::claim::Claim;
use crate::cluster::client;
use crate::cluster::events::Herald;
use crate::cluster::lease::{Candidate, Election};
use crate::cluster::pod_events::Complaints;
use crate::cluster::reachability::{LastHeard, Outages, probe};
use crate::control::context::{Context, LARGE_AT_ONCE};
use crate::control::memory::Memory;
use crate::control::watch::{self, Shared};
use crate::control::work::work;
use crate::metrics::Metrics;
use crate::queue::WorkQueue;
use crate::registry::config::Settings;
use crate::registry::mongo::Mongo;
use crate::registry::{Registry, follow};

/// How long what is on its way may take to finish when the process is told to end, how long the last Events, and how
/// long letting go of the Lease. Together less than the ten seconds that are promised.
const DRAIN: Duration = Duration::from_secs(6);
const LAST_EVENTS: Duration = Duration::from_millis(500);
const RELEASE: Duration = Duration::from_secs(3);

/// For how long the first look at a registry is waited for.
const FIRST_LOOK: Duration = Duration::from_secs(2);

/// What lasts as long as the process.
struct Process<'a> {
    run: &'a Run,
    /// Watches, and asks for the Lease.
    client: Client,
    /// Works, while the claim is valid.
    worker: Client,
    claim: Claim,
    heard: LastHeard,
    view: View,
    metrics: Metrics,
    registry_settings: Option<Settings>,
    ended: Ended,
}

/// Runs until SIGTERM or Ctrl-C, and then lets what is on its way finish.
///
/// # Errors
/// When the operator cannot start at all.
pub async fn run(run: &Run, config: Config) -> anyhow::Result<()> {
    let server = config.cluster_url.to_string();
    let election = run.election(&config.default_namespace);
    let (heard, view, metrics) = (LastHeard::default(), View::default(), Metrics::default());
    let claim = if election.is_some() { Claim::none() } else { Claim::unconditional() };
    let connect = |claim: &Claim| client::connect(config.clone(), claim, &metrics, &heard, &view.pulses);
    let (client, worker) = (connect(&Claim::unconditional())?, connect(&claim)?);
    let ended = ended()?;
    let mut serving: JoinSet<()> = JoinSet::new();
    if let Some(address) = run.http_bind {
        serving.spawn(serve::serve(address, run.live_within, view.clone(), metrics.clone()).await?);
    }
    tracing::info!(
        server,
        version = env!("CARGO_PKG_VERSION"),
        identity = run.identity,
        scopes = ?run.scopes(),
        "the operator starts"
    );
    serving.spawn(view.definitions.clone().follow(client.clone(), view.pulses.clone()));
    let registry_settings = run.registry().map_err(anyhow::Error::msg)?;
    if let Some(settings) = &registry_settings {
        tracing::info!(
            hosts = settings.hosts,
            database = settings.database,
            "gateways are recorded in MongoDB as well"
        );
    }
    let process = Process { run, client, worker, claim, heard, view, metrics, registry_settings, ended };
    match election {
        None => lead(&process).await,
        Some(election) => take_part(&process, election).await,
    }
    tracing::info!("the operator has ended");
    Ok(())
}

/// Works whenever this process is leader.
async fn take_part(process: &Process<'_>, election: Election) {
    let Process { client, claim, heard, view, metrics, ended, .. } = process;
    let probe = probe::<Lease>(&election.lease.namespace, &election.lease.name);
    let (outages, ending_them) = Outages::new(client.clone(), heard.clone(), view.pulses.clone(), probe);
    let mut background = JoinSet::new();
    background.spawn(ending_them);
    // Two tries fit into the time for which a claim that is not renewed is believed in.
    let calls = Calls::new(client.clone(), election.renew_deadline / 2, Claim::unconditional(), outages);
    let mut candidate = Candidate::new(calls, election, claim.clone(), view.lease.clone());
    loop {
        tokio::select! {
            () = candidate.win() => {}
            () = ended.clone() => break,
        }
        // What is dropped with a lost leadership is everything: caches, memory, reconciles.
        tokio::select! {
            () = candidate.keep() => metrics.registry.stands_by(),
            () = lead(process) => break,
        }
    }
    // Also where it is not known that it was won: the answer may have been on its way.
    if tokio::time::timeout(RELEASE, candidate.release()).await.is_err() {
        tracing::warn!("the Lease was not released in time; it expires");
    }
}

/// Works on gateways until the process is told to end.
async fn lead(process: &Process<'_>) {
    let Process { run, client, worker, claim, heard, view, metrics, ended, .. } = process;
    let (outages, ending_them) =
        Outages::new(client.clone(), heard.clone(), view.pulses.clone(), probe_of(&run.scopes()));
    let calls = Calls::new(worker.clone(), run.call_timeout, claim.clone(), outages.clone());
    let queue = WorkQueue::new(run.concurrency);
    let working = view.works(queue.clone(), outages.clone());
    // Everything in here ends with this, and so with a lost leadership.
    let mut background = JoinSet::new();
    background.spawn(ending_them);

    let registry = registry(process, &queue);
    let (scopes, to_fill) = Scopes::new(&run.scopes(), run.hosts());
    let shared = Shared {
        client: client.clone(),
        scopes: Arc::new(scopes),
        memory: Arc::<Memory>::default(),
        outages: outages.clone(),
        heard: heard.clone(),
        queue: queue.clone(),
        definitions: view.definitions.clone(),
        pulses: view.pulses.clone(),
        metrics: metrics.clone(),
        registry: registry.clone(),
        selector: run.selector.clone().unwrap_or_default(),
    };
    // The watches go on until the work has ended.
    let _watches: Vec<JoinSet<()>> =
        to_fill.into_iter().map(|(scope, caches, writers)| watch::start(&shared, &scope, &caches, writers)).collect();
    // All scopes are listed before any is worked on: they share their hosts.
    tokio::select! {
        _ = future::join_all(shared.scopes.all().map(|caches| caches.wait_until_ready())) => {}
        () = ended.clone() => return,
    }
    if let Registry::MongoDb(mongo) = &registry {
        follow::follow(mongo, &mut background);
        // A database that answers is known at once; one that is away is not waited for.
        let first_look = tokio::time::timeout(FIRST_LOOK, mongo.known.wait_until_complete());
        tokio::select! {
            _ = first_look => {}
            () = ended.clone() => return,
        }
    }
    tracing::info!("everything was listed; gateways are worked on");
    background.spawn(watch::usher(Arc::clone(&shared.scopes), queue.clone()));
    let (herald, telling) = Herald::new(calls.of_events(), &run.identity);
    let mut telling_events = JoinSet::new();
    telling_events.spawn(telling);
    let context = Arc::new(Context {
        queue: queue.clone(),
        calls,
        scopes: shared.scopes,
        complaints: Complaints::default(),
        memory: shared.memory,
        outages,
        settings: run.settings(),
        selector: shared.selector,
        large: Semaphore::new(LARGE_AT_ONCE),
        herald,
        metrics: metrics.clone(),
        registry,
    });
    view.knows(Arc::clone(&context));
    work(&queue, &context, ended.clone(), DRAIN).await;
    // With its last herald gone, what tells Events ends once it has told them all.
    drop((working, context));
    let _ = tokio::time::timeout(LAST_EVENTS, telling_events.join_next()).await;
}

/// Where the work asks whether the storage answers: where children are read. None needs to be there.
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

type Ended = SharedFuture<future::BoxFuture<'static, ()>>;

/// Resolves when the process is told to end.
fn ended() -> anyhow::Result<Ended> {
    let mut terminate = signal(SignalKind::terminate()).context("signals cannot be received")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("signals cannot be received")?;
    let told = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    Ok(told.boxed().shared())
}
