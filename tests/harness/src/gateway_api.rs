//! The Gateway API: its definition of HTTPRoutes, and a stand-in for the controllers of Gateways.

use futures::StreamExt;
use kube::api::{Patch, PatchParams};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource, ResourceExt};
use phasegate_core::children::{HttpRoute, Verdict};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard, OnceCell};
use tokio::task::JoinHandle;

use crate::cluster::Cluster;
use crate::world::World;

/// A controller's verdict on a route for one of its parents: the statuses of `Accepted` and `ResolvedRefs`.
pub type RouteVerdict<'a> = (&'a str, &'a str);

/// The parent accepts the route.
pub const ACCEPTED: RouteVerdict<'static> = ("True", "True");

/// A controller that accepts every version of every route of a namespace, until it is dropped.
pub struct Accepting(JoinHandle<()>);

impl Drop for Accepting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A lock for tests that install or remove the Gateway API on the audited cluster.
pub async fn of_audited_cluster() -> MutexGuard<'static, ()> {
    static HELD: Mutex<()> = Mutex::const_new(());
    HELD.lock().await
}

impl World {
    /// A new namespace on the shared cluster. It installs the Gateway API there, which stays installed.
    pub async fn with_routes(test: &str) -> Self {
        static INSTALLED: OnceCell<()> = OnceCell::const_new();
        let world = Self::new(test).await;
        INSTALLED.get_or_init(|| world.install_gateway_api()).await;
        world
    }

    /// Installs the Gateway API and waits until it is served.
    pub async fn install_gateway_api(&self) {
        self.on_cluster(Cluster::install_gateway_api).await;
    }

    /// Removes the Gateway API with all its objects.
    pub async fn remove_gateway_api(&self) {
        self.on_cluster(Cluster::remove_gateway_api).await;
    }

    async fn on_cluster(&self, act: fn(&Cluster) -> anyhow::Result<()>) {
        let cluster = std::sync::Arc::clone(&self.cluster);
        tokio::task::spawn_blocking(move || act(&cluster)).await.unwrap().unwrap();
    }

    /// Writes the verdicts of the parents' controllers, in their order, for a route's current generation.
    pub async fn set_route_verdicts(&self, name: &str, verdicts: &[RouteVerdict<'_>]) {
        let route: HttpRoute = self.api().get(name).await.unwrap();
        answer(&self.api(), &route, verdicts).await;
    }

    /// Starts a controller that accepts every route of this namespace.
    pub fn accepts_routes(&self) -> Accepting {
        let api: Api<HttpRoute> = self.api();
        Accepting(tokio::spawn(async move {
            let mut events = Box::pin(watcher(api.clone(), watcher::Config::default()));
            while let Some(event) = events.next().await {
                // While the definition is missing, the watch is repeated.
                let Ok(Event::Apply(route) | Event::InitApply(route)) = event else { continue };
                let is_answered = route.parents().iter().all(|parent| parent.verdict == Verdict::Accepted);
                if !is_answered && route.meta().deletion_timestamp.is_none() {
                    answer(&api, &route, &[ACCEPTED; 8]).await;
                }
            }
        }))
    }
}

async fn answer(api: &Api<HttpRoute>, route: &HttpRoute, verdicts: &[RouteVerdict<'_>]) {
    let parents = route.spec.as_ref().unwrap()["parentRefs"].as_array().unwrap();
    let condition = |type_: &str, status: &str| {
        json!({
            "type": type_, "status": status, "observedGeneration": route.metadata.generation,
            "reason": if status == "True" { type_.to_owned() } else { format!("Not{type_}") },
            "message": format!("{type_} is {status} in this test"), "lastTransitionTime": "2026-01-02T03:04:05Z",
        })
    };
    let answers: Vec<Value> = parents
        .iter()
        .zip(verdicts)
        .map(|(parent, (accepted, resolved))| {
            json!({
                "parentRef": parent, "controllerName": "example.com/tests",
                "conditions": [condition("Accepted", accepted), condition("ResolvedRefs", resolved)],
            })
        })
        .collect();
    let patch = Patch::Merge(json!({ "status": { "parents": answers } }));
    // A deleted route needs no verdict.
    let _ = api.patch_status(&route.name_any(), &PatchParams::default(), &patch).await;
}
