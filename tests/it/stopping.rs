//! A gateway is stopped in order and completely, and can be started again.

use k8s_openapi::api::networking::v1::Ingress;
use phasegate::api::{Phase, State, condition};
use serde_json::json;

use crate::harness::{World, gateway, is_true, path};

#[tokio::test]
async fn a_stopped_gateway_leaves_nothing_behind_is_ready_and_starts_again() {
    let world = World::new("stop").await;
    let _operator = world.operator();
    let spec = json!({ "image": "acme/gateway:1", "host": "stop.example.com", "replicas": 2 });
    world.apply(&gateway("shop", spec)).await;
    world.until_started("shop").await;

    world.patch("shop", json!({ "spec": { "state": "Stopped" } })).await;

    let shop = world.until_phase("shop", Phase::Stopped, State::Stopped).await;
    assert_eq!(world.children().await, Vec::<String>::new());
    assert!(is_true(&shop, condition::READY) && !is_true(&shop, condition::AVAILABLE));
    assert_eq!(shop.status.as_ref().unwrap().url, None);
    assert_eq!(world.until_event("shop", "Stopped").await, ["Normal Started", "Normal Stopped"]);

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
}

#[tokio::test]
async fn a_start_that_is_cancelled_is_stopped_at_once() {
    let world = World::new("cancel").await;
    let _operator = world.operator();
    world.apply(&gateway("typo", json!({ "image": "acme/unpullable:1" }))).await;
    world.until_condition("typo", condition::READY, "False", "ImagePullFailed").await;

    world.patch("typo", json!({ "spec": { "state": "Stopped" } })).await;

    let typo = world.until_phase("typo", Phase::Stopped, State::Stopped).await;
    assert_eq!(
        path(&typo),
        ["Starting/Running StartRequested", "Stopping/Stopped StopRequested", "Stopped/Stopped Stopped"]
    );
    assert!(is_true(&typo, condition::READY));
    assert_eq!(world.children().await, Vec::<String>::new());
}

/// The Ingress has a finalizer, like one that a load balancer's controller sets to drain connections.
#[tokio::test]
async fn pods_serve_until_the_ingress_is_gone() {
    let world = World::new("drain").await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "host": "drain.example.com" }))).await;
    world.until_started("shop").await;
    let finalizer = |list: serde_json::Value| json!({ "metadata": { "finalizers": list } }).to_string();
    let held =
        world.kubectl(&["patch", "ingress", "shop", "--type=merge", "-p", &finalizer(json!(["example.com/drain"]))]);
    assert!(held.status.success(), "{held:?}");

    world.patch("shop", json!({ "spec": { "state": "Stopped" } })).await;

    world.until("shop", "deletion", |ingress: &Ingress| ingress.metadata.deletion_timestamp.is_some()).await;
    let shop = world.until_phase("shop", Phase::Stopping, State::Stopped).await;
    let children = world.children().await;
    assert!(children.iter().any(|child| child == "Deployment shop"), "{children:?}");
    assert!(children.iter().any(|child| child.starts_with("Pod ")), "{children:?}");
    assert!(is_true(&shop, condition::RECONCILING));

    let freed = world.kubectl(&["patch", "ingress", "shop", "--type=merge", "-p", &finalizer(json!(null))]);
    assert!(freed.status.success(), "{freed:?}");
    world.until_phase("shop", Phase::Stopped, State::Stopped).await;
    world.until_nothing_is_left().await;
}

#[tokio::test]
async fn a_child_that_appears_after_the_stop_is_removed() {
    let world = World::new("late").await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "state": "Stopped" }))).await;
    let shop = world.until_phase("shop", Phase::Stopped, State::Stopped).await;
    let uid = shop.metadata.uid.unwrap();

    let late = json!({
        "metadata": {
            "name": "shop",
            "labels": { "phasegate.dev/gateway": "shop", "phasegate.dev/gateway-uid": uid },
            "ownerReferences": [{
                "apiVersion": "phasegate.dev/v1alpha1", "kind": "ApiGateway", "name": "shop", "uid": uid, "controller": true,
            }],
        },
        "spec": { "ports": [{ "port": 80 }] },
    });
    world.create::<k8s_openapi::api::core::v1::Service>(late).await;

    world.until_gone::<k8s_openapi::api::core::v1::Service>("shop").await;
}
