//! A deleted gateway leaves no objects behind, in any phase, whether the operator runs or not.

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::DeleteParams;
use phasegate::api::{ApiGateway, Phase, State, condition};
use serde_json::json;

use crate::harness::{World, audit_entries, gateway};

#[tokio::test]
async fn a_gateway_deleted_in_any_phase_leaves_nothing_behind() {
    let world = World::new("delete").await;
    let _operator = world.operator();
    world.apply(&gateway("started", json!({ "image": "acme/gateway:1", "host": "delete.example.com" }))).await;
    world.apply(&gateway("starting", json!({ "image": "acme/unpullable:1" }))).await;
    world.apply(&gateway("stopped", json!({ "image": "acme/gateway:1", "state": "Stopped" }))).await;
    world.apply(&gateway("timed-out", json!({ "image": "acme/unpullable:1", "startDeadline": "2s" }))).await;
    world.until_started("started").await;
    world.until_condition("starting", condition::READY, "False", "ImagePullFailed").await;
    world.until_phase("stopped", Phase::Stopped, State::Stopped).await;
    world.until_phase("timed-out", Phase::Stopped, State::Stopped).await;

    for name in ["started", "starting", "stopped", "timed-out"] {
        world.delete(name).await;
    }

    world.until_nothing_is_left().await;
}

#[tokio::test]
async fn a_gateway_made_again_under_its_name_starts_with_children_of_its_own() {
    let world = World::new("again").await;
    let _operator = world.operator();
    let shop = gateway("shop", json!({ "image": "acme/gateway:1", "host": "again.example.com" }));
    for _ in 0..3 {
        world.apply(&shop).await;
        let started = world.until_started("shop").await;
        let deployment: Deployment = world.api().get("shop").await.unwrap();
        assert_eq!(deployment.metadata.owner_references.unwrap()[0].uid, started.metadata.uid.unwrap());
        world.delete("shop").await;
    }
    world.until_nothing_is_left().await;
}

#[tokio::test]
async fn fifty_gateways_deleted_while_the_operator_is_down_leave_nothing_behind() {
    let world = World::new("down").await;
    let mut operator = world.operator();
    let names: Vec<String> = (0..50).map(|number| format!("gw-{number}")).collect();
    for name in &names {
        let host = format!("{name}.down.example.com");
        world.apply(&gateway(name, json!({ "image": "acme/gateway:1", "host": host }))).await;
    }
    for name in &names {
        world.until_started(name).await;
    }

    operator.kill();
    let gone = world.kubectl(&["delete", "agw", "--all", "--wait=true"]);
    assert!(gone.status.success(), "{gone:?}");

    world.until_nothing_is_left().await;
    // A restarted operator finds nothing to do and creates nothing.
    let _operator = world.operator();
    world.apply(&gateway("next", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("next").await;
    assert_eq!(world.api::<ApiGateway>().list(&Default::default()).await.unwrap().items.len(), 1);
    let others: Vec<String> = world.children().await.into_iter().filter(|child| !child.contains(" next")).collect();
    assert_eq!(others, Vec::<String>::new());
}

/// Any user who may create gateways may set the operator's finalizer. The operator does not set it here, and has no
/// permission to remove it.
#[tokio::test]
async fn a_forged_finalizer_of_ours_is_told_and_asked_about_once_and_the_gateway_goes_once_it_is_removed() {
    let world = World::audited("forged-keep").await;
    let mut forged = gateway("shop", json!({ "image": "acme/gateway:1" }));
    forged["metadata"]["finalizers"] = json!(["phasegate.dev/registry"]);
    world.apply(&forged).await;
    let _operator = world.operator();
    world.until_started("shop").await;
    world.api::<ApiGateway>().delete("shop", &DeleteParams::default()).await.unwrap();

    world.until_event("shop", "OperatorNotPermitted").await;
    // The operator reconciles this gateway and others again, but does not retry the removal of the finalizer.
    world.patch("shop", json!({ "metadata": { "annotations": { "example.com/touch": "1" } } })).await;
    world.apply(&gateway("next", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("next").await;
    let of_shop = audit_entries(&world.cluster, &format!("/namespaces/{}/apigateways/shop", world.namespace));
    assert_eq!(of_shop.iter().filter(|noted| (noted.verb.as_str(), noted.code) == ("patch", 403)).count(), 1);

    world.patch("shop", json!({ "metadata": { "finalizers": null } })).await;
    world.until_gone::<ApiGateway>("shop").await;
}
