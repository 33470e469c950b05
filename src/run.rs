//! Runs the operator: a client, and one controller per scope.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use futures::future::{self, FutureExt, Shared};
use futures::{StreamExt, stream};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::runtime::controller::{self, Controller};
use kube::{Client, Config};
use tokio::signal::unix::{SignalKind, signal};

use crate::calls::Calls;
use crate::config::Run;
use crate::context::Context;
use crate::lease::{Candidate, Claim, Election};
use crate::memory::Memory;
use crate::outage::Outages;
use crate::reconcile::{error_policy, reconcile, reconcile_environment};
use crate::record::Herald;
use crate::watch::{HostSpace, Scope, Watches};

/// Reads how the API server is reached, without asking it.
///
/// # Errors
/// When there is no usable kubeconfig and no service account.
pub async fn client_config(run: &Run) -> anyhow::Result<Config> {
    let options = KubeConfigOptions { context: run.context.clone(), ..KubeConfigOptions::default() };
    let mut config = match &run.kubeconfig {
        Some(path) => match Kubeconfig::read_from(path) {
            Ok(kubeconfig) => Config::from_custom_kubeconfig(kubeconfig, &options).await,
            Err(error) => Err(error),
        },
        None => Config::from_kubeconfig(&options).await,
    }
    .or_else(|error| {
        let in_a_pod = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
        match (&run.kubeconfig, &run.context) {
            (None, None) if in_a_pod => Config::incluster().context("the pod's service account cannot be used"),
            (path, _) => Err(complaint(error, path.as_deref())),
        }
    })?;
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(5));
    // Longer than a watch lasts, so that only a connection that is dead ends by it.
    config.read_timeout = Some(Duration::from_secs(90));
    config.reset_reader_on_write = true;
    Ok(config)
}

/// What is wrong with the kubeconfig, and with which; never what else is in it.
fn complaint(error: KubeconfigError, path: Option<&Path>) -> anyhow::Error {
    let kubeconfig = match (&error, path) {
        (KubeconfigError::ReadConfig(_, path), _) => format!("kubeconfig {}", path.display()),
        (_, Some(path)) => format!("kubeconfig {}", path.display()),
        (_, None) => "the kubeconfig".to_owned(),
    };
    match error {
        KubeconfigError::ReadConfig(error, _) => anyhow!("{kubeconfig}: {error}"),
        KubeconfigError::Parse(error) => {
            let complaint = error.to_string();
            let place = complaint.lines().next().unwrap_or_default().trim_start_matches("error: ");
            anyhow!("{kubeconfig} is no kubeconfig: {place}")
        }
        KubeconfigError::CurrentContextNotSet => anyhow!("{kubeconfig} has no current context"),
        KubeconfigError::LoadContext(context) => anyhow!("{kubeconfig} has no context {context:?}"),
        error => anyhow!("{kubeconfig}: {error}"),
    }
}

/// Runs until SIGTERM or Ctrl-C, and then lets what is on its way finish.
///
/// # Errors
/// When the operator cannot start at all.
pub async fn run(run: &Run, config: Config) -> anyhow::Result<()> {
    let server = config.cluster_url.to_string();
    let election = run.election(&config.default_namespace);
    let client = Client::try_from(config).context("the API server's address or credentials cannot be used")?;
    let ended = ended()?;
    tracing::info!(server, version = env!("CARGO_PKG_VERSION"), scopes = ?run.scopes(), "the operator starts");
    match election {
        None => lead(run, &client, &Claim::unconditional(), &ended).await,
        Some(election) => take_part(run, &client, election, &ended).await,
    }
    tracing::info!("the operator has ended");
    Ok(())
}

/// Works whenever this process is leader.
async fn take_part(run: &Run, client: &Client, election: Election, ended: &Ended) {
    let claim = Claim::none();
    let calls = Calls::new(client.clone(), election.duration / 3, Claim::unconditional(), Outages::new(client.clone()));
    let mut candidate = Candidate::new(calls, election, claim.clone());
    loop {
        tokio::select! {
            () = candidate.win() => {}
            () = ended.clone() => return,
        }
        // What is dropped with a lost leadership is everything: caches, memory, reconciles.
        tokio::select! {
            () = candidate.keep() => {}
            () = lead(run, client, &claim, ended) => return candidate.release().await,
        }
    }
}

/// Works on gateways until the process is told to end.
async fn lead(run: &Run, client: &Client, claim: &Claim, ended: &Ended) {
    let outages = Outages::new(client.clone());
    let calls = Calls::new(client.clone(), run.call_timeout, claim.clone(), outages.clone());
    let common = Common {
        run,
        calls: calls.clone(),
        outages,
        client: client.clone(),
        space: Arc::default(),
        memory: Arc::default(),
        herald: Herald::start(calls),
    };
    let scopes = run.scopes();
    // All scopes are listed before any is worked on: they share their hosts.
    let listed = future::join_all(scopes.iter().map(|scope| watch(&common, scope)));
    let watches = tokio::select! {
        watches = listed => watches,
        () = ended.clone() => return,
    };
    tracing::info!("everything was listed; gateways are worked on");
    let controllers = watches.into_iter().map(|watches| control(&common, watches, ended.clone()));
    let all = future::join_all(controllers);
    tokio::pin!(all);
    tokio::select! {
        _ = &mut all => {}
        () = ended.clone() => {
            if tokio::time::timeout(DRAIN, all).await.is_err() {
                tracing::warn!("not everything that was on its way has finished");
            }
        }
    }
}

struct Common<'a> {
    run: &'a Run,
    calls: Calls,
    outages: Outages,
    client: Client,
    space: Arc<HostSpace>,
    memory: Arc<Memory>,
    herald: Herald,
}

/// How long what is on its way may take to finish when the process is told to end.
const DRAIN: Duration = Duration::from_secs(8);

type Ended = Shared<future::BoxFuture<'static, ()>>;

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

async fn watch(shared: &Common<'_>, scope: &Scope) -> Watches {
    let (space, memory) = (Arc::clone(&shared.space), Arc::clone(&shared.memory));
    Watches::start(&shared.client, scope, space, memory, shared.outages.clone()).await
}

async fn control(shared: &Common<'_>, watches: Watches, ended: Ended) {
    let run = shared.run;
    let context = Arc::new(Context {
        calls: shared.calls.clone(),
        outages: shared.outages.clone(),
        caches: Arc::clone(&watches.caches),
        memory: Arc::clone(&shared.memory),
        settings: run.settings(),
        selector: run.selector.clone().unwrap_or_default(),
        herald: shared.herald.clone(),
    });
    let config = || controller::Config::default().concurrency(run.concurrency);
    // The watches run by themselves and wake the controllers; failures are told by the error
    // policy, and that an object is gone is no failure.
    let gateways = Controller::for_stream(stream::pending(), watches.caches.gateways.clone())
        .reconcile_on(watches.woken_gateways)
        .with_config(config())
        .graceful_shutdown_on(ended.clone())
        .run(reconcile, error_policy, Arc::clone(&context))
        .for_each(|_| future::ready(()));
    let environments = Controller::for_stream(stream::pending(), watches.environments)
        .reconcile_on(watches.woken_environments)
        .with_config(config())
        .graceful_shutdown_on(ended)
        .run(reconcile_environment, error_policy, context)
        .for_each(|_| future::ready(()));
    future::join(gateways, environments).await;
}
