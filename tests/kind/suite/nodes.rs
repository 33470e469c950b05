//! No request is lost when one of two nodes is drained or its kubelet is down.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use phasegate::api::{Reason, condition};
use serde_json::json;

use crate::ground::{alone, on_node, pods};
use crate::harness::{World, eventually, is_true, message, run, until};
use crate::lossless::Asked;

/// The node without the control plane.
async fn worker(world: &World) -> String {
    let nodes: Api<Node> = Api::all(world.client.clone());
    let workers = nodes.list(&ListParams::default().labels("!node-role.kubernetes.io/control-plane")).await.unwrap();
    workers.iter().next().expect("a second node").name_any()
}

/// The fields of a spec that put a pod on each node.
fn spread() -> serde_json::Value {
    json!({ "replicas": 2, "topologySpread": [{ "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway" }] })
}

async fn nodes_of_pods(world: &World) -> Vec<String> {
    let mut nodes: Vec<String> =
        pods(world, "shop").await.into_iter().filter_map(|pod| pod.spec.unwrap().node_name).collect();
    nodes.sort();
    nodes
}

/// Reverts a change to a node when the test ends, also when it fails.
struct Undo<'a>(Box<dyn Fn() + 'a>);

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[tokio::test]
async fn no_request_is_lost_when_a_node_is_drained() {
    let (world, _alone) = alone("drained").await;
    let worker = worker(&world).await;
    let shop = Asked::start(&world, spread()).await;
    assert!(nodes_of_pods(&world).await.contains(&worker));

    let _undo = Undo(Box::new(|| run(world.cluster.kubectl().args(["uncordon", &worker])).unwrap()));
    let drain = ["drain", &worker, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=110s"];
    let mut drain = world.cluster.kubectl().args(drain).spawn().unwrap();
    let drained = tokio::task::spawn_blocking(move || drain.wait()).await.unwrap().unwrap();
    assert!(drained.success());

    world.until_condition("shop", condition::READY, "True", "Started").await;
    assert!(!nodes_of_pods(&world).await.contains(&worker));
    shop.lost_nothing().await;
}

/// The containers of the node keep running without the kubelet.
#[tokio::test]
async fn a_kubelet_that_is_away_for_a_minute_costs_no_request_and_no_pod_and_its_node_is_named() {
    let (world, _alone) = alone("kubelet").await;
    let worker = worker(&world).await;
    let shop = Asked::start(&world, spread()).await;
    let before = pods(&world, "shop").await;
    assert!(nodes_of_pods(&world).await.contains(&worker));

    let away = Undo(Box::new(|| drop(on_node(&worker, &["systemctl", "start", "kubelet"]))));
    on_node(&worker, &["systemctl", "stop", "kubelet"]);
    let stopped = Instant::now();
    let nodes: Api<Node> = Api::all(world.client.clone());
    let is_ready = |node: &Node| {
        let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    until(nodes.clone(), &worker, "not ready", |node| !is_ready(node)).await;
    let lost = Instant::now();
    let failing = world.until_condition("shop", condition::READY, "False", Reason::NodeFailed.as_str()).await;
    println!("not ready after {:.1?}, told {:.1?} later", lost - stopped, lost.elapsed());
    assert!(lost.elapsed() < Duration::from_secs(10), "told after {:?}", lost.elapsed());
    assert!(is_true(&failing, condition::AVAILABLE), "{:#?}", failing.status);
    let told = message(&failing, condition::READY);
    assert!(told.contains(&worker), "{told}");
    tokio::time::sleep_until((stopped + Duration::from_secs(60)).into()).await;

    drop(away);
    until(nodes, &worker, "ready", is_ready).await;
    let back = Instant::now();
    world.until_condition("shop", condition::READY, "True", "Started").await;
    println!("ready {:.1?} after the node", back.elapsed());
    let same = eventually(Duration::from_secs(1), async || {
        let now = pods(&world, "shop").await;
        now.iter().all(|pod| before.iter().any(|before| before.uid() == pod.uid())).then_some(())
    });
    assert!(same.await.is_some(), "a pod was replaced");
    shop.lost_nothing().await;
}
