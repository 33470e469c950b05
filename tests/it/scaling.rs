//! Users and autoscalers scale the ApiGateway instead of its Deployment, from its creation on.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams, PostParams};
use phasegate::api::{ApiGateway, condition};
use serde_json::{Value, json};

use crate::harness::{STARTED, World, gateway, is_true, message, path};
use crate::plugin::said;

const MARK: &str = "phasegate.dev/replicas";

fn shop() -> Value {
    gateway("shop", json!({ "image": "acme/gateway:1" }))
}

async fn until_count(world: &World, count: i32) -> Deployment {
    world
        .until("shop", &format!("{count} replicas"), |deployment: &Deployment| {
            deployment.spec.as_ref().unwrap().replicas == Some(count)
        })
        .await
}

fn scale(world: &World, what: &str, count: &str) {
    let scaled = world.kubectl(&["scale", what, "shop", &format!("--replicas={count}")]);
    assert!(scaled.status.success(), "{scaled:?}");
}

#[tokio::test]
async fn the_scale_subresource_answers_before_an_operator_has_seen_the_gateway() {
    let world = World::new("scale-first").await;
    world.apply(&shop()).await;
    let gateways = world.api::<ApiGateway>();

    let mut scale = gateways.get_scale("shop").await.unwrap();
    assert_eq!(scale.spec.as_ref().unwrap().replicas, Some(1));
    scale.spec.as_mut().unwrap().replicas = Some(3);
    let scale = gateways.replace_scale("shop", &PostParams::default(), &scale).await.unwrap();

    assert_eq!(scale.spec.unwrap().replicas, Some(3));
    let _operator = world.operator();
    world.until_started("shop").await;
    until_count(&world, 3).await;
}

#[tokio::test]
async fn an_autoscaler_on_the_gateway_scales_one_that_names_no_count() {
    let world = World::new("autoscaled").await;
    let _operator = world.operator();
    world.apply(&shop()).await;
    // The autoscaler needs no metrics to scale up to its minReplicas.
    let target = json!({ "apiVersion": "phasegate.dev/v1alpha1", "kind": "ApiGateway", "name": "shop" });
    let spec = json!({ "scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 4 });
    world.create::<HorizontalPodAutoscaler>(json!({ "metadata": { "name": "shop" }, "spec": spec })).await;

    until_count(&world, 2).await;
    let scaled = |shop: &ApiGateway| is_true(shop, condition::READY) && shop.spec.replicas == Some(2);
    let shop = world.until("shop", "scaled and ready", scaled).await;
    assert_eq!(path(&shop), STARTED, "scaling is no new start");
    let able = |scaler: &HorizontalPodAutoscaler| {
        let conditions = scaler.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.into_iter().any(|condition| condition.type_ == "AbleToScale" && condition.status == "True")
    };
    world.until("shop", "able to scale", able).await;
    // A gateway without replicas in Git keeps the autoscaler's value when it is applied again.
    world.apply(&shop_again()).await;
    assert_eq!(world.gateway("shop").await.spec.replicas, Some(2));
}

fn shop_again() -> Value {
    gateway("shop", json!({ "image": "acme/gateway:1", "startDeadline": "4m" }))
}

#[tokio::test]
async fn a_deployment_that_somebody_scales_comes_back_to_the_gateways_count() {
    let world = World::new("scaled-back").await;
    let _operator = world.operator();
    world.apply(&shop()).await;
    world.until_started("shop").await;

    scale(&world, "deployment", "3");

    until_count(&world, 1).await;
    world.until_condition("shop", condition::READY, "True", "Started").await;
}

#[tokio::test]
async fn a_gateway_that_is_scaled_to_zero_says_so_and_wakes_up_when_it_is_scaled_up() {
    let world = World::new("scaled-off").await;
    let _operator = world.operator();
    world.apply(&shop()).await;
    world.until_started("shop").await;

    scale(&world, "agw", "0");

    let shop = world.until_condition("shop", condition::AVAILABLE, "False", "ScaledToZero").await;
    for type_ in [condition::AVAILABLE, condition::READY] {
        assert!(message(&shop, type_).starts_with("spec.replicas is 0, so no pod runs"), "{type_}: {shop:?}");
    }
    assert!(is_true(&shop, condition::READY) && !is_true(&shop, condition::STALLED));
    let status = said(&world, &["status", "shop"]).await.ok();
    assert!(status.contains("◌ ScaledToZero") && status.contains("spec.replicas is 0"), "{status}");

    scale(&world, "agw", "2");
    let shop = world.until_condition("shop", condition::AVAILABLE, "True", "Started").await;
    assert_eq!(path(&shop), STARTED);
}

/// The test changes the Deployment to that of the last release, with replicas that an autoscaler sets.
#[tokio::test]
async fn an_upgrade_neither_scales_nor_rolls_what_an_autoscaler_scales_on_the_deployment() {
    let world = World::new("scale-upgrade").await;
    let before = world.operator();
    world.apply(&shop()).await;
    world.until_started("shop").await;
    drop(before);
    let released = json!({
        "metadata": { "annotations": { MARK: null, "phasegate.dev/renderer": "1" } },
        "spec": { "replicas": 4 },
    });
    let deployments = world.api::<Deployment>();
    let released: Deployment =
        deployments.patch("shop", &PatchParams::default(), &Patch::Merge(&released)).await.unwrap();

    let _operator = world.operator();
    // The gateway's status shows that the operator has reconciled its children.
    let four = |shop: &ApiGateway| is_true(shop, condition::READY);
    world.until("shop", "ready", four).await;
    let changed = world.patch("shop", json!({ "spec": { "image": "acme/gateway:2" } })).await;
    world.until_ready_again(&changed).await;
    let rolled = deployments.get("shop").await.unwrap();
    assert_eq!((rolled.spec.as_ref().unwrap().replicas, released.spec.unwrap().replicas), (Some(4), Some(4)));
    assert_eq!(rolled.metadata.generation, released.metadata.generation.map(|generation| generation + 1));

    // The same autoscaler scales to zero, and the message reports that.
    scale(&world, "deployment", "0");
    let shop = world.until_condition("shop", condition::AVAILABLE, "False", "ScaledToZero").await;
    assert!(message(&shop, condition::READY).starts_with("the Deployment was scaled to 0"), "{shop:?}");
    scale(&world, "deployment", "3");
    world.until_condition("shop", condition::AVAILABLE, "True", "Started").await;

    // A count on the gateway overrides the one on the Deployment.
    scale(&world, "agw", "2");
    let deployment = until_count(&world, 2).await;
    assert!(deployment.annotations().contains_key(MARK));
    scale(&world, "deployment", "5");
    until_count(&world, 2).await;
}
