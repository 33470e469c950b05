//! The environment of one test: a namespace, a database, and designs that run in this process.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kube::api::ListParams;
use mongodb::bson::{DateTime, Document, doc};
use phasegate_harness::cluster::client_of;
use phasegate_harness::wire::{Server, text};
use phasegate_harness::{CHILDREN, World, eventually};
use phasegate_strategies::cluster::Cluster;
use phasegate_strategies::job::Settings;
use phasegate_strategies::saga::choreographed::Choreographed;
use phasegate_strategies::saga::orchestrated::Orchestrated;
use phasegate_strategies::sourcing::Sourced;
use phasegate_strategies::store::Store;
use phasegate_strategies::worker::work;
use tokio::task::JoinHandle;

use crate::database;

/// A design.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Design {
    Orchestrated,
    Choreographed,
    Sourced,
}

pub const DESIGNS: [Design; 3] = [Design::Orchestrated, Design::Choreographed, Design::Sourced];

/// A design that runs until this value is dropped, as if its process were killed.
pub struct Running(JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A namespace for children and a database for documents.
pub struct Platform {
    pub world: World,
    pub store: Store,
    _server: Server,
}

impl Platform {
    pub async fn new(test: &'static str) -> Self {
        let (server, store) = database::start(test).await;
        Self { world: World::new(test).await, store, _server: server }
    }

    /// Starts a design, with the operator's permissions.
    pub async fn start(&self, design: Design, deadline: Duration) -> Running {
        self.start_as(&self.world.cluster.operator_kubeconfig(), design, deadline).await
    }

    /// Starts a design with a kubeconfig. It has a view of its own on the documents.
    pub async fn start_as(&self, kubeconfig: &Path, design: Design, deadline: Duration) -> Running {
        let poll = Duration::from_millis(100);
        let namespace = self.world.namespace.clone();
        let domain = format!("{namespace}.example.com");
        let settings = Settings { namespace, domain, deadline, poll };
        let cluster = Arc::new(Cluster::new(client_of(kubeconfig).await.unwrap(), settings));
        let store = self.store.of_another_process();
        Running(match design {
            Design::Orchestrated => {
                tokio::spawn(work(Arc::new(Orchestrated::new(store.clone(), cluster)), store, poll))
            }
            Design::Choreographed => tokio::spawn(Choreographed::new(store.clone(), cluster).run(store, poll)),
            Design::Sourced => tokio::spawn(work(Arc::new(Sourced::new(store.clone(), cluster)), store, poll)),
        })
    }

    /// Inserts a gateway's document, and one of an environment.
    pub async fn insert(&self, name: &str, image: &str) {
        let now = DateTime::now();
        let gateway = doc! {
            "gatewayId": name, "state": "Running", "phase": "Created", "spec": { "image": image },
            "createdAt": now, "updatedAt": now,
        };
        self.store.collection::<Document>("ApiGateway").insert_one(gateway).await.unwrap();
        let environment = doc! { "gatewayId": name, "name": "dev", "state": "Inactive", "createdAt": now };
        self.store.collection::<Document>("Environment").insert_one(environment).await.unwrap();
    }

    /// Writes the user's wish.
    pub async fn wish(&self, name: &str, state: &str) {
        let gateways = self.store.collection::<Document>("ApiGateway");
        let change = doc! { "$set": { "state": state, "updatedAt": DateTime::now() } };
        gateways.update_one(doc! { "gatewayId": name }, change).await.unwrap();
    }

    /// Waits until a gateway's document has this phase and state.
    pub async fn until(&self, name: &str, phase: &str, state: &str) -> Document {
        let gateways = self.store.collection::<Document>("ApiGateway");
        let mut last = None;
        let found = eventually(Duration::from_millis(50), async || {
            last = gateways.find_one(doc! { "gatewayId": name }).await.unwrap();
            last.clone().filter(|found| text(found, "phase") == phase && text(found, "state") == state)
        });
        found.await.unwrap_or_else(|| panic!("{name} did not come to {phase}/{state}"))
    }

    /// Waits until a gateway's document is gone.
    pub async fn until_gone(&self, name: &str) {
        let gateways = self.store.collection::<Document>("ApiGateway");
        let gone = eventually(Duration::from_millis(50), async || {
            gateways.find_one(doc! { "gatewayId": name }).await.unwrap().is_none().then_some(())
        });
        assert!(gone.await.is_some(), "{name} is still there");
    }

    /// The state of a gateway's environment. It is empty if there is none.
    pub async fn environment(&self, name: &str) -> String {
        let environments = self.store.collection::<Document>("Environment");
        let found = environments.find_one(doc! { "gatewayId": name }).await.unwrap();
        found.map(|found| text(&found, "state").to_owned()).unwrap_or_default()
    }

    /// The kinds of the children in the namespace, each as often as there is one.
    pub async fn children(&self) -> Vec<&'static str> {
        let mut found = Vec::new();
        for kind in CHILDREN {
            let objects = self.world.of_kind(kind).list(&ListParams::default()).await.unwrap();
            found.extend(
                objects.items.iter().filter(|object| object.metadata.deletion_timestamp.is_none()).map(|_| kind),
            );
        }
        found
    }
}
