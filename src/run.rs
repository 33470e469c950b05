//! Runs the operator: a client, and one controller per scope.

use std::path::Path;
use std::sync::{Arc, Mutex};
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
use crate::decide::hosts::Claims;
use crate::memory::Memory;
use crate::reconcile::{error_policy, reconcile, reconcile_environment};
use crate::record::Herald;
use crate::watch::{Scope, Watches};

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
    let client = Client::try_from(config).context("the API server's address or credentials cannot be used")?;
    let ended = ended()?;
    let shared = Common {
        run,
        client: client.clone(),
        claims: Arc::default(),
        memory: Arc::default(),
        herald: Herald::start(client),
    };
    let scopes = run.scopes();
    tracing::info!(server, version = env!("CARGO_PKG_VERSION"), ?scopes, "the operator starts");
    let controllers = scopes.iter().map(|scope| control(&shared, scope, ended.clone()));
    future::join_all(controllers).await;
    tracing::info!("the operator has ended");
    Ok(())
}

struct Common<'a> {
    run: &'a Run,
    client: Client,
    claims: Arc<Mutex<Claims>>,
    memory: Arc<Memory>,
    herald: Herald,
}

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

async fn control(shared: &Common<'_>, scope: &Scope, ended: Ended) {
    let run = shared.run;
    let start = Watches::start(
        &shared.client,
        scope,
        run.selector.as_deref(),
        Arc::clone(&shared.claims),
        Arc::clone(&shared.memory),
    );
    let watches = tokio::select! {
        watches = start => watches,
        () = ended.clone() => return,
    };
    tracing::info!(?scope, "everything was listed; gateways are worked on");
    let context = Arc::new(Context {
        calls: Calls::new(shared.client.clone(), run.call_timeout),
        caches: Arc::clone(&watches.caches),
        memory: Arc::clone(&shared.memory),
        settings: run.settings(),
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
