//! Watches HTTPRoutes while the cluster serves them. Their CRD may be installed and removed at any time, and
//! nothing is watched before a gateway asks for a route.
//!
//! **Architecture invariant:** without a gateway that requests a route, this module sends no request.

use std::sync::Arc;
use std::time::Duration;

use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::one::Watchers;
use super::requeue::ScopeRequeue;
use super::{Shared, WATCH_SECONDS, events, prune};
use crate::cache::caches::Caches;
use crate::cache::routes::{RouteDefinition, Support};
use crate::cache::scopes::Scope;
use crate::children::{GATEWAY_API, HttpRoute};
use crate::cluster::PAGE;

/// The interval and the number of checks whether the API server serves an established CRD.
const PUBLISHED: Duration = Duration::from_millis(200);
const TRIES: usize = 50;

/// A scope and its caches.
type Filled = (Scope, Arc<Caches>);

/// Keeps support for HTTPRoutes and their caches up to date, for as long as the future is polled.
pub async fn follow(shared: Shared, scopes: Vec<Filled>) {
    let routes = Arc::clone(shared.scopes.routes());
    routes.is_asked().await;
    let (found, mut finds) = watch::channel(None);
    let _definition = watch_definition(&shared, &scopes, found);
    loop {
        let is_served = *finds.borrow_and_update();
        match is_served {
            Some(true) => {
                tokio::select! {
                    () = serve(&shared, &scopes) => {}
                    _ = finds.wait_for(|found| *found != Some(true)) => {}
                }
                scopes.iter().for_each(|(_, caches)| caches.http_routes.clear());
                finds.mark_changed();
            }
            Some(false) => learn(&shared, &scopes, Support::Missing),
            None => {}
        }
        if finds.changed().await.is_err() {
            return;
        }
    }
}

/// Watches the single CRD, by name.
fn watch_definition(shared: &Shared, scopes: &[Filled], found: watch::Sender<Option<bool>>) -> JoinSet<()> {
    let named = watcher::Config::default()
        .timeout(WATCH_SECONDS)
        .page_size(PAGE)
        .fields(&format!("metadata.name={}", RouteDefinition::NAME));
    let mut listed = false;
    let take_in = move |event: Event<RouteDefinition>| match event {
        Event::Apply(definition) => drop(found.send_replace(Some(definition.is_served()))),
        Event::Delete(_) => drop(found.send_replace(Some(false))),
        Event::Init => listed = false,
        Event::InitApply(definition) => listed = definition.is_served(),
        Event::InitDone => drop(found.send_replace(Some(listed))),
    };
    let mut watchers = Watchers { shared, scope: &Scope::Cluster, running: JoinSet::new() };
    let api: Api<RouteDefinition> = Api::all(shared.client.clone());
    watchers.add_with(api, named, prune::metadata, take_in, not_permitted(shared, scopes));
    watchers.running
}

/// Watches the routes of all scopes, until the future is dropped.
async fn serve(shared: &Shared, scopes: &[Filled]) {
    until_published(&shared.client).await;
    let mut watching = Vec::new();
    for (scope, caches) in scopes {
        let all = watcher::Config::default().timeout(WATCH_SECONDS).page_size(PAGE);
        let requeue = ScopeRequeue::new(Arc::clone(caches), Arc::clone(&shared.scopes), shared.queue.clone());
        let fill = events::fill(&requeue, |caches| &caches.http_routes, |key, requeue| requeue.routes(key));
        let mut watchers = Watchers { shared, scope, running: JoinSet::new() };
        let api: Api<HttpRouteWatched> = scope.api(&shared.client);
        watchers.add_with(api, all, prune::child, fill, not_permitted(shared, scopes));
        watching.push(watchers.running);
    }
    for (_, caches) in scopes {
        caches.http_routes.wait_until_ready().await;
    }
    learn(shared, scopes, Support::Served);
    std::future::pending().await
}

type HttpRouteWatched = crate::cache::watched::Watched<HttpRoute>;

/// An API server serves an established CRD a moment later.
async fn until_published(client: &Client) {
    let version = format!("{GATEWAY_API}/v1");
    for _ in 0..TRIES {
        match client.list_api_group_resources(&version).await {
            Ok(list) if list.resources.iter().any(|resource| resource.name == "httproutes") => return,
            // Not everybody may ask.
            Err(kube::Error::Api(status)) if matches!(status.code, 401 | 403) => return,
            Ok(_) | Err(_) => tokio::time::sleep(PUBLISHED).await,
        }
    }
}

/// Handles a forbidden watch before anything is known about routes.
fn not_permitted(shared: &Shared, scopes: &[Filled]) -> impl Fn(&kube::Error) + Send + 'static {
    let (shared, scopes) = (shared.clone(), scopes.to_vec());
    move |error| {
        if let kube::Error::Api(status) = error
            && status.code == 403
            && !shared.scopes.routes().is_known()
        {
            learn(&shared, &scopes, Support::NotPermitted(status.message.clone()));
        }
    }
}

/// Requeues the gateways that ask for a route, or have one.
fn learn(shared: &Shared, scopes: &[Filled], support: Support) {
    if !shared.scopes.routes().learn(support) {
        return;
    }
    for (_, caches) in scopes {
        ScopeRequeue::new(Arc::clone(caches), Arc::clone(&shared.scopes), shared.queue.clone()).who_has_routes();
    }
}
