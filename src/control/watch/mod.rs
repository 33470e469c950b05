//! Which watch feeds which cache, and whom it wakes.

mod events;
mod known;
mod one;
mod prune;
mod wake;

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::core::Selector;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use tokio::task::JoinSet;

use super::memory::Memory;
use crate::api::ObjectKey;
use crate::cache::caches::{Caches, Writers};
use crate::cache::scopes::{Scope, Scopes};
use crate::cache::watched::Watched;
use crate::children::MANAGED_BY;
use crate::cluster::PAGE;
use crate::cluster::definitions::Definitions;
use crate::cluster::pulse::Pulses;
use crate::cluster::reachability::{LastHeard, Outages};
use crate::metrics::Metrics;
use crate::queue::WorkQueue;
use crate::registry::Registry;
use one::Watchers;
use wake::{Wake, Waker};

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
    /// Is told that a watch has begun anew: the definitions may be others.
    pub definitions: Definitions,
    /// Shows how each watch is doing.
    pub pulses: Pulses,
    /// Counts interruptions.
    pub metrics: Metrics,
    /// Is told which gateways and environments there are.
    pub registry: Registry,
    /// Which gateways are this operator's: of a large one the labels are kept that this looks at.
    pub selector: Selector,
}

/// Everything was listed: from now on it is known who lets go of which host. What is returned wakes those who wait for one when
/// their turn comes.
pub fn usher(scopes: Arc<Scopes>, queue: WorkQueue) -> impl Future<Output = ()> + Send + 'static {
    scopes.hosts().begin();
    async move {
        let hosts = Arc::clone(scopes.hosts());
        let waker = Waker::new(scopes, queue);
        loop {
            waker.claimants(hosts.due().await);
        }
    }
}

/// Starts the watches of one scope, which end with what is returned. Nothing is listed yet:
/// [`Caches::wait_until_ready`] waits for that.
pub fn start(shared: &Shared, scope: &Scope, caches: &Arc<Caches>, writers: Writers) -> JoinSet<()> {
    let wake = Wake::new(Arc::clone(caches), Arc::clone(&shared.scopes), shared.queue.clone());
    let all = watcher::Config::default().timeout(WATCH_SECONDS).page_size(PAGE);
    let ours = all.clone().labels(&format!("{}={}", MANAGED_BY.0, MANAGED_BY.1));
    let namespaces = match scope {
        Scope::Cluster => all.clone(),
        Scope::Namespace(name) => all.clone().fields(&format!("metadata.name={name}")),
    };
    // What each fills, and whom its changes concern.
    let gateways =
        events::of_gateways(writers.gateways, Arc::clone(&shared.memory), shared.registry.clone(), wake.clone());
    let environments = events::of_environments(
        writers.environments,
        Arc::clone(&shared.memory),
        shared.registry.clone(),
        wake.clone(),
    );
    let gateway = |key: &ObjectKey, wake: &Wake| wake.gateway(key);
    let routes = |key: &ObjectKey, wake: &Wake| wake.routes(key);
    let everything_in = |key: &ObjectKey, wake: &Wake| wake.namespace(&key.name);
    let deployments = events::fill(&wake, |caches| &caches.deployments, gateway);
    let services = events::fill(&wake, |caches| &caches.services, gateway);
    let ingresses = events::fill(&wake, |caches| &caches.ingresses, routes);
    let budgets = events::fill(&wake, |caches| &caches.disruption_budgets, gateway);
    let pods = events::fill(&wake, |caches| &caches.pods, gateway);
    let mut allowances = events::fill(&wake, |caches| &caches.allowances, everything_in);
    let mut allowed_hosts = events::fill(&wake, |caches| &caches.allowed_hosts, everything_in);
    let allowed = move |event: Event<Namespace>| {
        allowances(event.clone());
        allowed_hosts(event);
    };

    let mut watchers = Watchers { shared, scope, running: JoinSet::new() };
    let client = &shared.client;
    watchers.add(scope.api(client), all.clone(), prune::gateways(shared.selector.clone()), gateways);
    watchers.add(scope.api(client), all.clone(), prune::environment, environments);
    watchers.add(scope.api(client), all.clone(), prune::child, deployments);
    watchers.add(scope.api(client), all.clone(), prune::child, services);
    watchers.add(scope.api(client), all.clone(), prune::child, ingresses);
    watchers.add(scope.api(client), all, prune::child, budgets);
    watchers.add(scope.api(client), ours, |_: &mut Watched<Pod>| {}, pods);
    watchers.add(Api::all(client.clone()), namespaces, prune::metadata, allowed);
    watchers.running
}

#[cfg(test)]
mod tests;
