//! Leftover children without an owner are adopted, and no other gateway claims a host that they still route.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::api::{DeleteParams, EvictParams, ListParams};
use phasegate::api::{ApiGateway, condition};
use serde_json::{Value, json};

use crate::harness::{CHILDREN, STARTED, World, eventually, gateway, is_true, message, path};
use crate::plugin::said;

fn shop(host: &str) -> Value {
    gateway("shop", json!({ "image": "acme/gateway:1", "host": host, "replicas": 2 }))
}

/// The names of all pods.
async fn pods(world: &World) -> Vec<String> {
    let mut pods: Vec<String> =
        world.api::<Pod>().list(&ListParams::default()).await.unwrap().iter().map(ResourceExt::name_any).collect();
    pods.sort();
    pods
}

/// Deletes the gateway and orphans its children. A restored backup has such children, too.
async fn orphan(world: &World) {
    let deleted = world.kubectl(&["delete", "agw", "shop", "--cascade=orphan", "--wait=true"]);
    assert!(deleted.status.success(), "{deleted:?}");
    for kind in CHILDREN {
        let child = world.of_kind(kind).get("shop").await.unwrap();
        assert_eq!(child.metadata.owner_references.unwrap_or_default(), [], "{kind}");
        assert_eq!(child.metadata.deletion_timestamp, None, "{kind}");
    }
}

#[tokio::test]
async fn children_without_an_owner_are_adopted_and_their_pods_live_on() {
    let world = World::new("adopt").await;
    let mut operator = world.operator();
    world.apply(&shop("adopt.example.com")).await;
    let old = world.until_started("shop").await;
    let running = pods(&world).await;
    assert_eq!(running.len(), 2);
    operator.end();

    orphan(&world).await;
    world.apply(&shop("adopt.example.com")).await;
    // A new operator lists the current state. A running operator might see the gateway before it sees that the children
    // have no owner.
    let _operator = world.operator();

    let new = world.until_started("shop").await;
    assert_ne!(new.uid(), old.uid());
    assert_eq!(path(&new), STARTED);
    for kind in CHILDREN {
        let child = world.of_kind(kind).get("shop").await.unwrap();
        assert_eq!(child.metadata.owner_references.as_ref().unwrap().len(), 1, "{kind}");
        assert_eq!(Some(&child.metadata.owner_references.as_ref().unwrap()[0].uid), new.metadata.uid.as_ref());
        assert_eq!(child.labels()["phasegate.dev/gateway-uid"], new.uid(), "{kind}");
    }
    assert_eq!(pods(&world).await, running, "no pod was replaced");
    let sets = world.api::<ReplicaSet>().list(&ListParams::default()).await.unwrap();
    assert_eq!(sets.items.len(), 1, "no rollout began");
    world.delete("shop").await;
    world.until_nothing_is_left().await;
}

#[tokio::test]
async fn a_restored_gateway_that_is_to_be_stopped_removes_what_was_restored_with_it() {
    let world = World::new("restored-off").await;
    let _operator = world.operator();
    world.apply(&shop("restored-off.example.com")).await;
    world.until_started("shop").await;

    orphan(&world).await;
    let mut off = shop("restored-off.example.com");
    off["spec"]["state"] = json!("Stopped");
    world.apply(&off).await;

    world.until_condition("shop", condition::READY, "True", "Stopped").await;
    world.until_nothing_is_left().await;
}

#[tokio::test]
async fn the_host_that_a_restored_gateway_routes_is_not_given_to_another_tenant() {
    let world = World::new("restored").await;
    let other = world.beside("newcomer").await;
    let both = format!("{},{}", world.namespace, other.namespace);
    let _operator = world.operator_with(&["--namespaces", &both, "--keep-released-hosts", "1s"]);
    world.apply(&shop("restored.example.com")).await;
    world.until_started("shop").await;
    let running = pods(&world).await;

    orphan(&world).await;
    // A restored backup is suspended and has no status.
    let mut paused = shop("restored.example.com");
    paused["spec"]["suspend"] = json!(true);
    world.apply(&paused).await;
    world.until_condition("shop", condition::READY, "False", "Suspended").await;
    other.apply(&gateway("blog", json!({ "image": "acme/gateway:1", "host": "restored.example.com" }))).await;

    let blog = other.until_condition("blog", condition::STALLED, "True", "HostTaken").await;
    let words = message(&blog, condition::STALLED);
    assert!(words.contains(&format!("ApiGateway {}/shop", world.namespace)), "{words}");
    world.patch("shop", json!({ "spec": { "suspend": false } })).await;
    let shop = world.until_started("shop").await;
    assert_eq!(shop.status.unwrap().hosts[0].host, "restored.example.com");
    assert_eq!(pods(&world).await, running, "no pod was replaced");
    assert!(other.api::<Ingress>().get_opt("blog").await.unwrap().is_none());

    world.delete("shop").await;
    other.until_started("blog").await;
}

#[tokio::test]
async fn what_an_orphaned_ingress_routes_is_no_other_tenants_until_it_is_deleted() {
    let world = World::new("orphan").await;
    let other = world.beside("orphan-other").await;
    let both = format!("{},{}", world.namespace, other.namespace);
    let flags = ["--namespaces", &both, "--keep-released-hosts", "1s"];
    let mut operator = world.operator_with(&flags);
    world.apply(&shop("orphan.example.com")).await;
    world.until_started("shop").await;
    orphan(&world).await;
    // A new operator, which never saw the gateway, must keep the host from others, too.
    operator.end();
    let _operator = world.operator_with(&flags);
    other.apply(&gateway("blog", json!({ "image": "acme/gateway:1", "host": "orphan.example.com" }))).await;

    let blog = other.until_condition("blog", condition::STALLED, "True", "HostTaken").await;
    let words = message(&blog, condition::STALLED);
    assert!(words.contains(&format!("Ingress {}/shop", world.namespace)), "{words}");
    assert!(words.contains("without a gateway (delete it"), "{words}");
    assert!(other.api::<Ingress>().get_opt("blog").await.unwrap().is_none());

    world.api::<Ingress>().delete("shop", &DeleteParams::default()).await.unwrap();
    other.until_started("blog").await;
}

#[tokio::test]
async fn a_gateway_whose_predecessor_is_not_collected_is_stalled_and_keeps_its_host() {
    let world = World::new("leftovers").await;
    let other = world.beside("leftovers-other").await;
    let both = format!("{},{}", world.namespace, other.namespace);
    let _operator = world.operator_with(&["--namespaces", &both]);
    world.apply(&shop("leftovers.example.com")).await;
    world.until_started("shop").await;
    let held = json!({ "metadata": { "finalizers": ["example.com/hold"] } });
    world.patch_object::<Ingress>("shop", held).await;

    world.api::<ApiGateway>().delete("shop", &DeleteParams::background()).await.unwrap();
    world.until_gone::<ApiGateway>("shop").await;
    world.apply(&shop("leftovers.example.com")).await;
    let waiting = world.until_condition("shop", condition::READY, "False", "WaitingForDeletion").await;
    assert_eq!(waiting.status.as_ref().unwrap().attempt, None);
    other.apply(&gateway("blog", json!({ "image": "acme/gateway:1", "host": "leftovers.example.com" }))).await;
    other.until_condition("blog", condition::STALLED, "True", "HostTaken").await;

    // The garbage collector deletes the children without a finalizer. It may take a moment for each.
    world.until_gone::<Deployment>("shop").await;
    world.until_gone::<Service>("shop").await;
    let shop = world
        .until("shop", "stalled by the Ingress", |shop: &ApiGateway| {
            let words = message(shop, condition::STALLED);
            is_true(shop, condition::STALLED)
                && words.contains("Ingress \"shop\" of a deleted gateway")
                && words.contains("finalizers")
        })
        .await;
    assert_eq!(path(&shop), ["Created/Running WaitingForDeletion"]);
    assert!(!is_true(&shop, condition::RECONCILING));
    let stuck = said(&world, &["get", "--stuck"]).await.ok();
    assert!(stuck.contains("WaitingForDeletion"), "{stuck}");

    world.patch_object::<Ingress>("shop", json!({ "metadata": { "finalizers": null } })).await;
    let started = world.until_started("shop").await;
    assert_eq!(path(&started), ["Created/Running WaitingForDeletion", STARTED[0], STARTED[1]]);
    assert!(!is_true(&started, condition::STALLED));
    let ingress: Ingress = world.api().get("shop").await.unwrap();
    assert_eq!(ingress.metadata.owner_references.unwrap()[0].uid, started.uid());
}

#[tokio::test]
async fn a_pod_that_nobody_owns_holds_up_neither_a_stop_nor_a_start_and_is_named() {
    let world = World::new("unowned").await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("shop").await;
    let pod = pods(&world).await.remove(0);
    let taken_out = json!({ "metadata": { "labels": { "pod-template-hash": "debug" } } });
    world.patch_object::<Pod>(&pod, taken_out).await;
    let released = |pod: &Pod| pod.metadata.owner_references.iter().flatten().next().is_none();
    world.until::<Pod>(&pod, "released by its ReplicaSet", released).await;

    world.patch("shop", json!({ "spec": { "state": "Stopped" } })).await;
    let shop = world.until_condition("shop", condition::READY, "True", "Stopped").await;
    let last = shop.status.as_ref().unwrap().history.last().unwrap().message.clone();
    assert!(last.contains(&format!("pod {pod} has the gateway's label but no owner reference")), "{last}");
    assert!(!is_true(&shop, condition::CLEANUP_STUCK));
    world.patch("shop", json!({ "spec": { "state": "Running" } })).await;
    let shop = world.until_condition("shop", condition::READY, "True", "Started").await;
    assert_eq!(
        path(&shop),
        [STARTED[0], STARTED[1], "Stopping/Stopped StopRequested", "Stopped/Stopped Stopped", STARTED[0], STARTED[1],]
    );
    assert_eq!(world.api::<Pod>().get(&pod).await.unwrap().metadata.deletion_timestamp, None, "it is left alone");
}

#[tokio::test]
async fn the_pods_of_a_gateway_that_never_gets_ready_do_not_keep_a_node_from_being_drained() {
    let world = World::new("drained").await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/never-ready:1", "replicas": 2 }))).await;
    world
        .until("shop", "counted by its controller", |budget: &PodDisruptionBudget| {
            budget.status.as_ref().is_some_and(|status| status.expected_pods == 2 && status.disruptions_allowed == 0)
        })
        .await;
    let runs = |pod: &Pod| pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Running"));
    let pod = eventually(std::time::Duration::from_millis(200), async || {
        let pods = world.api::<Pod>().list(&ListParams::default()).await.unwrap();
        pods.iter().find(|pod| runs(pod)).map(ResourceExt::name_any)
    })
    .await
    .expect("a pod runs");

    let evicted = world.api::<Pod>().evict(&pod, &EvictParams::default()).await;

    assert!(evicted.is_ok(), "{evicted:?}");
}
