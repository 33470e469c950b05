//! Runs the operator: an election where there is one, watches, and work.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::future::{self, FutureExt, Shared as SharedFuture};
use kube::{Client, Config};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::cluster::calls::Calls;
use crate::cluster::client;
use crate::cluster::lease::{Candidate, Claim, Election};
use crate::cluster::pod_events::Complaints;
use crate::cluster::reachability::{LastHeard, Outages};
use crate::control::context::Context;
use crate::control::record::Herald;
use crate::control::watch::{Shared, Watches};
use crate::control::work::{Contexts, WorkQueue, work};
use crate::metrics::Metrics;
use crate::registry::config::Settings;
use crate::registry::mongo::Mongo;
use crate::registry::{Registry, intake};
use crate::service::args::Run;
use crate::service::health::Health;
use crate::service::serve;

/// How long what is on its way may take to finish when the process is told to end, and how long
/// letting go of the Lease may take then. Together less than the ten seconds that are promised.
const DRAIN: Duration = Duration::from_secs(6);
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
    health: Health,
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
    let (heard, health, metrics) = (LastHeard::default(), Health::default(), Metrics::default());
    let claim = if election.is_some() { Claim::none() } else { Claim::unconditional() };
    let connect = |claim: &Claim| client::connect(config.clone(), claim, &metrics, &heard, &health);
    let (client, worker) = (connect(&Claim::unconditional())?, connect(&claim)?);
    let ended = ended()?;
    if let Some(address) = run.http_bind {
        serve::serve(address, run.live_within, health.clone(), metrics.clone()).await?;
    }
    tracing::info!(
        server,
        version = env!("CARGO_PKG_VERSION"),
        identity = run.identity,
        scopes = ?run.scopes(),
        "the operator starts"
    );
    let registry_settings = run.registry().map_err(anyhow::Error::msg)?;
    if let Some(settings) = &registry_settings {
        tracing::info!(
            hosts = settings.hosts,
            database = settings.database,
            "gateways are recorded in MongoDB as well"
        );
    }
    let process = Process { run, client, worker, claim, heard, health, metrics, registry_settings, ended };
    match election {
        None => lead(&process).await,
        Some(election) => take_part(&process, election).await,
    }
    tracing::info!("the operator has ended");
    Ok(())
}

/// Works whenever this process is leader.
async fn take_part(process: &Process<'_>, election: Election) {
    let outages = Outages::new(process.client.clone(), process.heard.clone(), process.health.clone());
    // Two tries fit into the time for which a claim that is not renewed is believed in.
    let calls = Calls::new(process.client.clone(), election.renew_deadline / 2, Claim::unconditional(), outages);
    let mut candidate = Candidate::new(calls, election, process.claim.clone(), process.health.clone());
    loop {
        tokio::select! {
            () = candidate.win() => {}
            () = process.ended.clone() => break,
        }
        // What is dropped with a lost leadership is everything: caches, memory, reconciles.
        tokio::select! {
            () = candidate.keep() => process.metrics.stands_by(),
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
    let Process { run, client, worker, claim, heard, health, metrics, registry_settings, ended } = process;
    let outages = Outages::new(client.clone(), heard.clone(), health.clone());
    let calls = Calls::new(worker.clone(), run.call_timeout, claim.clone(), outages.clone());
    let queue = WorkQueue::new(run.concurrency);
    let _working = health.works(queue.clone(), outages.clone());
    let registry = match registry_settings {
        None => Registry::Kubernetes,
        Some(settings) => {
            let mongo = Mongo::new(settings.clone(), claim.clone(), queue.clone(), metrics.clone());
            Registry::MongoDb(Arc::new(mongo))
        }
    };
    let shared = Shared {
        client: client.clone(),
        space: Arc::default(),
        memory: Arc::default(),
        outages: outages.clone(),
        heard: heard.clone(),
        queue: queue.clone(),
        health: health.clone(),
        metrics: metrics.clone(),
        registry: registry.clone(),
    };
    let scopes = run.scopes();
    // All scopes are listed before any is worked on: they share their hosts.
    let listed = future::join_all(scopes.iter().map(|scope| Watches::start(&shared, scope)));
    let watches = tokio::select! {
        watches = listed => watches,
        () = ended.clone() => return,
    };
    // Ends with this: a lost leadership ends what follows documents as well.
    let mut following = JoinSet::new();
    if let Registry::MongoDb(mongo) = &registry {
        let caches = watches.iter().map(|watches| Arc::clone(&watches.caches));
        // It is set nowhere else.
        let _ = mongo.scopes.set(scopes.iter().cloned().zip(caches).collect());
        intake::follow(mongo, &mut following);
        // A database that answers is known at once; one that is away is not waited for.
        let first_look = tokio::time::timeout(FIRST_LOOK, mongo.known.wait_until_complete());
        tokio::select! {
            _ = first_look => {}
            () = ended.clone() => return,
        }
    }
    tracing::info!("everything was listed; gateways are worked on");
    let herald = Herald::start(calls.clone(), &run.identity);
    let complaints = Arc::new(Complaints::default());
    let context = |watches: &Watches| {
        let context = Arc::new(Context {
            calls: calls.clone(),
            outages: outages.clone(),
            caches: Arc::clone(&watches.caches),
            complaints: Arc::clone(&complaints),
            memory: Arc::clone(&shared.memory),
            settings: run.settings(),
            selector: run.selector.clone().unwrap_or_default(),
            herald: herald.clone(),
            metrics: metrics.clone(),
            registry: registry.clone(),
        });
        health.knows(Arc::clone(&context));
        context
    };
    let contexts = Contexts::new(scopes.iter().cloned().zip(watches.iter().map(context)));
    // The watches go on until the work has ended.
    work(&queue, &contexts, ended.clone(), DRAIN).await;
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
