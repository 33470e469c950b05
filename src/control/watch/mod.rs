//! The watches: which one feeds which cache, and which objects its events requeue.
//!
//! **Architecture invariant:** a watch only fills caches and adds keys to the queue. It makes no decision.

mod events;
mod known;
mod one;
mod prune;
mod requeue;
mod routes;

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
use crate::cluster::heartbeat::Heartbeats;
use crate::cluster::reachability::{LastContact, Outages};
use crate::metrics::Metrics;
use crate::queue::WorkQueue;
use crate::registry::Registry;
use crate::sink::Outbox;
use one::Watchers;
use requeue::{Requeuer, ScopeRequeue};
pub use routes::follow as follow_routes;

/// The timeout of a watch without events. The default of five minutes would be as long as a start may take.
const WATCH_SECONDS: u32 = 60;

/// What the watches of all scopes share.
#[derive(Clone)]
pub struct Shared {
    /// The client of the watches.
    pub client: Client,
    /// The caches of all scopes.
    pub scopes: Arc<Scopes>,
    /// Forgets objects that are gone.
    pub memory: Arc<Memory>,
    /// Learns of connection failures.
    pub outages: Outages,
    /// Learns of signs of life.
    pub last_contact: LastContact,
    /// Receives the keys of affected objects.
    pub queue: WorkQueue,
    /// Learns of restarted watches, since the CRDs may have changed.
    pub definitions: Definitions,
    /// Receives the heartbeat of each watch.
    pub heartbeats: Heartbeats,
    /// Counts interruptions.
    pub metrics: Metrics,
    /// Learns which gateways and environments exist.
    pub registry: Registry,
    /// Learns of transitions and deletions of gateways.
    pub outbox: Outbox,
    /// Selects the gateways of this operator. Labels that it reads are kept, also of a large gateway.
    pub selector: Selector,
}

/// Called once everything was listed, when releases of hosts become known. The returned future requeues waiting
/// claimants when their turn comes.
pub fn requeue_host_waiters(scopes: Arc<Scopes>, queue: WorkQueue) -> impl Future<Output = ()> + Send + 'static {
    scopes.hosts().begin();
    async move {
        let hosts = Arc::clone(scopes.hosts());
        let requeuer = Requeuer::new(scopes, queue);
        loop {
            requeuer.claimants(hosts.due().await);
        }
    }
}

/// Starts the watches of one scope; dropping the result stops them. Nothing is listed yet: see
/// [`Caches::wait_until_ready`].
pub fn start(shared: &Shared, scope: &Scope, caches: &Arc<Caches>, writers: Writers) -> JoinSet<()> {
    let requeue = ScopeRequeue::new(Arc::clone(caches), Arc::clone(&shared.scopes), shared.queue.clone());
    let all = watcher::Config::default().timeout(WATCH_SECONDS).page_size(PAGE);
    let ours = all.clone().labels(&format!("{}={}", MANAGED_BY.0, MANAGED_BY.1));
    let namespaces = match scope {
        Scope::Cluster => all.clone(),
        Scope::Namespace(name) => all.clone().fields(&format!("metadata.name={name}")),
    };
    // What each watch fills, and what its events affect.
    let gateways = events::of_gateways(
        writers.gateways,
        Arc::clone(&shared.memory),
        shared.registry.clone(),
        shared.outbox.clone(),
        requeue.clone(),
    );
    let environments = events::of_environments(
        writers.environments,
        Arc::clone(&shared.memory),
        shared.registry.clone(),
        requeue.clone(),
    );
    let gateway = |key: &ObjectKey, requeue: &ScopeRequeue| requeue.gateway(key);
    let routes = |key: &ObjectKey, requeue: &ScopeRequeue| requeue.routes(key);
    let everything_in = |key: &ObjectKey, requeue: &ScopeRequeue| requeue.namespace(&key.name);
    let deployments = events::fill(&requeue, |caches| &caches.deployments, gateway);
    let services = events::fill(&requeue, |caches| &caches.services, gateway);
    let ingresses = events::fill(&requeue, |caches| &caches.ingresses, routes);
    let budgets = events::fill(&requeue, |caches| &caches.disruption_budgets, gateway);
    let pods = events::fill(&requeue, |caches| &caches.pods, gateway);
    let mut allowances = events::fill(&requeue, |caches| &caches.allowances, everything_in);
    let mut allowed_hosts = events::fill(&requeue, |caches| &caches.allowed_hosts, everything_in);
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
