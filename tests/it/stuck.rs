//! A stop that does not end reports what it waits for, and does not block a retry forever.

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::networking::v1::Ingress;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams};
use phasegate::api::{ApiGateway, Phase, State, condition};
use serde_json::json;

use crate::harness::{World, gateway, is_true, message, path};

const FLAGS: [&str; 1] = ["--cleanup-stuck-after=3s"];

#[tokio::test]
async fn an_ingress_that_does_not_go_away_is_named_and_the_stop_ends_when_it_goes() {
    let world = World::new("stuck-ingress").await;
    let _operator = world.operator_with(&FLAGS);
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "host": "stuck.example.com" }))).await;
    world.until_started("shop").await;
    let held = json!({ "metadata": { "finalizers": ["example.com/drain"] } });
    world.patch_object::<Ingress>("shop", held).await;

    world.patch("shop", json!({ "spec": { "state": "Stopped" } })).await;

    let shop = world.until_condition("shop", condition::CLEANUP_STUCK, "True", "CleanupStuck").await;
    assert_eq!(shop.status.as_ref().unwrap().phase, Some(Phase::Stopping));
    let message = message(&shop, condition::CLEANUP_STUCK);
    assert!(message.contains("Ingress \"shop\"") && message.contains("finalizers"), "{message}");
    assert!(is_true(&shop, condition::STALLED) && !is_true(&shop, condition::READY));
    let events = world.until_event("shop", "CleanupStuck").await;
    assert!(events.contains(&"Warning CleanupStuck".to_owned()), "{events:?}");
    // Pods still exist. Even so, a requested start does not leave the Ingress behind.
    world.patch("shop", json!({ "spec": { "state": "Running" } })).await;
    let asked = world.gateway("shop").await;
    let shop = world
        .until("shop", "the new wish, seen", |shop: &ApiGateway| {
            shop.status.as_ref().unwrap().observed_generation == asked.metadata.generation
        })
        .await;
    assert_eq!(shop.status.as_ref().unwrap().phase, Some(Phase::Stopping));
    world.patch("shop", json!({ "spec": { "state": "Stopped" } })).await;

    world.patch_object::<Ingress>("shop", json!({ "metadata": { "finalizers": null } })).await;
    let shop = world.until_condition("shop", condition::READY, "True", "Stopped").await;
    assert!(!is_true(&shop, condition::CLEANUP_STUCK) && !is_true(&shop, condition::STALLED));
    world.until_nothing_is_left().await;
}

#[tokio::test]
async fn pods_that_do_not_end_are_named_and_do_not_hold_up_a_start() {
    let world = World::new("stuck-pod").await;
    let _operator = world.operator_with(&FLAGS);
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("shop").await;
    let pod = hold_pod(&world).await;

    world.patch("shop", json!({ "spec": { "state": "Stopped" } })).await;

    let shop = world.until_condition("shop", condition::CLEANUP_STUCK, "True", "CleanupStuck").await;
    assert_eq!(shop.status.as_ref().unwrap().phase, Some(Phase::Stopping));
    let said = message(&shop, condition::CLEANUP_STUCK);
    let dying: Pod = world.api().get(&pod).await.unwrap();
    let node = dying.spec.unwrap().node_name.unwrap();
    let words = format!("its last pods: pod {pod} on node {node}, held by finalizers (example.com/node)");
    assert!(said.contains(&words), "{said}");
    assert!(is_true(&shop, condition::STALLED));

    world.patch("shop", json!({ "spec": { "state": "Running" } })).await;
    let shop = world.until_started("shop").await;
    assert_eq!(
        path(&shop),
        [
            "Starting/Running StartRequested",
            "Started/Running Started",
            "Stopping/Stopped StopRequested",
            "Stopped/Stopped Stopped",
            "Starting/Running StartRequested",
            "Started/Running Started",
        ]
    );
    let dying: Pod = world.api().get(&pod).await.unwrap();
    assert!(dying.metadata.deletion_timestamp.is_some());
    assert!(is_true(&shop, condition::READY) && !is_true(&shop, condition::CLEANUP_STUCK));
    free_pod(&world, &pod).await;
    let shop = world.gateway("shop").await;
    assert!(is_true(&shop, condition::READY));
}

/// The retry is requested before the stop is stuck, so only a timeout can end the wait.
#[tokio::test]
async fn a_retry_of_a_timed_out_gateway_waits_for_a_dying_pod_only_so_long() {
    let world = World::new("stuck-retry").await;
    let _operator = world.operator_with(&FLAGS);
    // The deadline leaves enough time to add the finalizer.
    world.apply(&gateway("shop", json!({ "image": "acme/unpullable:1", "startDeadline": "15s" }))).await;
    world.until_condition("shop", condition::READY, "False", "ImagePullFailed").await;
    let pod = hold_pod(&world).await;
    world.until_phase("shop", Phase::Stopping, State::Stopped).await;

    let fixed = world.patch("shop", json!({ "spec": { "image": "acme/gateway:1", "startDeadline": "1m" } })).await;

    let shop = world
        .until("shop", "started as asked", |shop: &ApiGateway| {
            let status = shop.status.as_ref().unwrap();
            status.observed_generation == fixed.metadata.generation && status.phase == Some(Phase::Started)
        })
        .await;
    assert_eq!(
        path(&shop),
        [
            "Starting/Running StartRequested",
            "Started/Stopped StartDeadlineExceeded",
            "Stopping/Stopped StartDeadlineExceeded",
            "Stopped/Stopped Stopped",
            "Starting/Running StartRequested",
            "Started/Running Started",
        ]
    );
    assert!(shop.status.unwrap().history[3].seconds >= 3);
    let dying: Pod = world.api().get(&pod).await.unwrap();
    assert!(dying.metadata.deletion_timestamp.is_some());
    free_pod(&world, &pod).await;
}

#[tokio::test]
async fn a_gateway_that_is_to_stay_stopped_waits_for_its_last_pod() {
    let world = World::new("stuck-stopped").await;
    let _operator = world.operator_with(&FLAGS);
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("shop").await;
    let pod = hold_pod(&world).await;
    world.patch("shop", json!({ "spec": { "state": "Stopped" } })).await;
    world.until_condition("shop", condition::CLEANUP_STUCK, "True", "CleanupStuck").await;

    free_pod(&world, &pod).await;

    let shop = world.until_condition("shop", condition::READY, "True", "Stopped").await;
    assert!(!is_true(&shop, condition::CLEANUP_STUCK));
    assert_eq!(world.children().await, Vec::<String>::new());
}

/// Adds a finalizer to the gateway's only pod, so that it stays Terminating as on a dead node.
async fn hold_pod(world: &World) -> String {
    let of_shop = ListParams::default().labels("phasegate.dev/gateway=shop");
    let pods = world.api::<Pod>().list(&of_shop).await.unwrap();
    assert_eq!(pods.items.len(), 1);
    let name = pods.items[0].name_any();
    world.patch_object::<Pod>(&name, json!({ "metadata": { "finalizers": ["example.com/node"] } })).await;
    name
}

async fn free_pod(world: &World, name: &str) {
    world.patch_object::<Pod>(name, json!({ "metadata": { "finalizers": null } })).await;
    world.until_gone::<Pod>(name).await;
}

/// For example, the child has a load balancer's finalizer, and its controller no longer exists.
#[tokio::test]
async fn a_child_of_a_gateway_that_serves_which_is_deleted_and_does_not_go_is_named() {
    let world = World::new("child-going").await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    let started = world.until_started("shop").await;
    world.until_ready_again(&started).await;
    let held = json!({ "metadata": { "finalizers": ["example.com/balancer"] } });
    world.patch_object::<Service>("shop", held).await;
    world.api::<Service>().delete("shop", &DeleteParams::default()).await.unwrap();

    let stalled = world.until_condition("shop", condition::STALLED, "True", "WaitingForDeletion").await;
    let conditions = &stalled.status.as_ref().unwrap().conditions;
    let ready = conditions.iter().find(|condition| condition.type_ == condition::READY).unwrap();
    let words = "Service \"shop\" is still terminating, held by example.com/balancer. ";
    assert!(ready.message.starts_with(words), "{}", ready.message);

    let released = json!({ "metadata": { "finalizers": null } });
    world.patch_object::<Service>("shop", released).await;
    world.until_ready_again(&started).await;
}
