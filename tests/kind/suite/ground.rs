//! The base of the tests on real nodes: a namespace, the images, and a lock against tests that disturb others.

use std::process::Command;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use serde_json::{Value, json};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::harness::{World, gateway, output};

/// A test that disturbs operators or nodes runs alone, with the write lock.
static DISTURBING: RwLock<()> = RwLock::const_new(());

/// A namespace on the cluster, which other tests use at the same time.
pub async fn world(test: &str) -> (World, RwLockReadGuard<'static, ()>) {
    let undisturbed = DISTURBING.read().await;
    (named(test).await, undisturbed)
}

/// A namespace on the cluster, while no other test runs.
pub async fn alone(test: &str) -> (World, RwLockWriteGuard<'static, ()>) {
    let alone = DISTURBING.write().await;
    (named(test).await, alone)
}

async fn named(test: &str) -> World {
    assert!(
        std::env::var("E2E_GATEWAY").is_ok() && crate::harness::cluster::is_existing(),
        "these tests need real nodes, an image and an installed operator: make e2e-kind"
    );
    World::new(test).await
}

/// The image of the gateways.
pub fn image() -> String {
    std::env::var("E2E_GATEWAY").unwrap()
}

/// Another image of the gateways, which works as well.
pub fn next_image() -> String {
    image() + "-next"
}

/// A gateway with the working image and further fields of the spec.
pub fn serving(name: &str, further: Value) -> Value {
    let mut spec = json!({ "image": image() });
    spec.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    gateway(name, spec)
}

/// A host that no other test claims.
pub fn host(world: &World, name: &str) -> String {
    format!("{name}.{}.example.com", world.namespace)
}

/// The pods of a gateway.
pub async fn pods(world: &World, name: &str) -> Vec<Pod> {
    let of_gateway = ListParams::default().labels(&format!("phasegate.dev/gateway={name}"));
    world.api::<Pod>().list(&of_gateway).await.unwrap().items
}

/// The number of container restarts of a gateway's pods.
pub async fn restarts(world: &World, name: &str) -> i32 {
    let pods = pods(world, name).await;
    let containers = pods.iter().flat_map(|pod| pod.status.iter().flat_map(|status| &status.container_statuses));
    containers.flatten().map(|container| container.restart_count).sum()
}

/// The containers and pod sandboxes of a namespace on all nodes, as the container runtimes list them.
pub async fn containers(world: &World) -> String {
    let nodes: Api<Node> = Api::all(world.client.clone());
    let label = format!("io.kubernetes.pod.namespace={}", world.namespace);
    let mut found = String::new();
    for node in nodes.list(&ListParams::default()).await.unwrap() {
        for what in ["ps", "pods"] {
            let all: &[&str] = if what == "ps" { &["--all"] } else { &[] };
            let list = [&["crictl", "--timeout", "60s", what, "--quiet", "--label", &label], all].concat();
            found += &on_node(&node.name_any(), &list);
        }
    }
    found
}

/// Runs a command on a node, which is a container in kind.
pub fn on_node(node: &str, command: &[&str]) -> String {
    output(Command::new("docker").args(["exec", node]).args(command)).unwrap()
}

/// The polling interval.
pub const OFTEN: Duration = Duration::from_millis(250);
