//! Which watch feeds which cache, and whom it wakes.

mod events;
mod known;
mod one;
mod prune;
mod wake;

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher;
use kube::{Api, Client};
use tokio::task::JoinSet;

use super::memory::Memory;
use crate::api::ObjectKey;
use crate::cache::caches::{Caches, Writers};
use crate::cache::scopes::{Scope, Scopes};
use crate::cache::watched::Watched;
use crate::children::MANAGED_BY;
use crate::cluster::pulse::Pulses;
use crate::cluster::reachability::{LastHeard, Outages};
use crate::metrics::Metrics;
use crate::queue::WorkQueue;
use crate::registry::Registry;
use one::Watchers;
use wake::Wake;

/// After how long without any event a watch is taken for dead. The default of five minutes
/// would be as long as a start may take.
const WATCH_SECONDS: u32 = 60;

/// What the watches of all scopes share.
#[derive(Clone)]
pub struct Shared {
    /// The client that watches.
    pub client: Client,
    /// The caches of all scopes.
    pub scopes: Arc<Scopes>,
    /// Forgets the gateways that are gone.
    pub memory: Arc<Memory>,
    /// Is told that nobody answers.
    pub outages: Outages,
    /// Is told that somebody does.
    pub heard: LastHeard,
    /// Is told what changed.
    pub queue: WorkQueue,
    /// Shows how each watch is doing.
    pub pulses: Pulses,
    /// Counts interruptions.
    pub metrics: Metrics,
    /// Is told which gateways and environments there are.
    pub registry: Registry,
}

/// Starts the watches of one scope, which end with what is returned. Nothing is listed yet:
/// [`Caches::wait_until_ready`] waits for that.
pub fn start(shared: &Shared, scope: &Scope, caches: &Arc<Caches>, writers: Writers) -> JoinSet<()> {
    let wake = Wake::new(Arc::clone(caches), Arc::clone(&shared.scopes), shared.queue.clone());
    let all = watcher::Config::default().timeout(WATCH_SECONDS);
    let ours = all.clone().labels(&format!("{}={}", MANAGED_BY.0, MANAGED_BY.1));
    let namespaces = match scope {
        Scope::Cluster => all.clone(),
        Scope::Namespace(name) => all.clone().fields(&format!("metadata.name={name}")),
    };
    let gateways =
        events::of_gateways(writers.gateways, Arc::clone(&shared.memory), shared.registry.clone(), wake.clone());
    let environments = events::of_environments(
        writers.environments,
        Arc::clone(&shared.memory),
        shared.registry.clone(),
        wake.clone(),
    );
    let child = |key: &ObjectKey, wake: &Wake| wake.gateway(key);
    let ingress = |key: &ObjectKey, wake: &Wake| wake.gateway_and_environments(key);
    let namespace = |key: &ObjectKey, wake: &Wake| wake.namespace(&key.name);

    let mut watchers = Watchers { shared, scope, running: JoinSet::new() };
    let client = &shared.client;
    watchers.add(scope.api(client), all.clone(), prune::metadata, gateways);
    watchers.add(scope.api(client), all.clone(), prune::metadata, environments);
    watchers.add(
        scope.api(client),
        all.clone(),
        prune::child,
        events::into(&wake, |caches| &caches.deployments, child),
    );
    watchers.add(scope.api(client), all.clone(), prune::child, events::into(&wake, |caches| &caches.services, child));
    let budgets = events::into(&wake, |caches| &caches.disruption_budgets, child);
    watchers.add(scope.api(client), all.clone(), prune::child, budgets);
    watchers.add(scope.api(client), all, prune::child, events::into(&wake, |caches| &caches.ingresses, ingress));
    let nothing = |_: &mut Watched<Pod>| {};
    watchers.add(scope.api(client), ours, nothing, events::into(&wake, |caches| &caches.pods, child));
    let allowed = events::into(&wake, |caches| &caches.allowed_hosts, namespace);
    watchers.add(Api::all(client.clone()), namespaces, prune::metadata, allowed);
    watchers.running
}

#[cfg(test)]
mod tests;
