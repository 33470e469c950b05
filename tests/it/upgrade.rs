//! An upgrade of the operator does not change running gateways until their spec changes.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use phasegate::children::{RENDERER, RENDERER_ANNOTATION};
use serde_json::json;

use crate::harness::{World, gateway};

/// Starts a gateway, and waits until the controllers have finished with its Deployment.
async fn running(world: &World) -> Deployment {
    let spec = json!({ "image": "acme/gateway:1", "replicas": 2, "host": format!("{}.example.com", world.namespace) });
    world.apply(&gateway("shop", spec)).await;
    world.until_started("shop").await;
    settled(world).await
}

async fn settled(world: &World) -> Deployment {
    // The PodDisruptionBudget's controller writes a status, too.
    world
        .until("shop", "counted", |budget: &PodDisruptionBudget| {
            let status = budget.status.as_ref();
            status.is_some_and(|status| {
                let counts = (status.expected_pods, status.current_healthy, status.disruptions_allowed);
                status.observed_generation == budget.metadata.generation && counts == (2, 2, 1)
            })
        })
        .await;
    world
        .until("shop", "settled", |object: &Deployment| {
            let status = object.status.clone().unwrap_or_default();
            let counts = [status.replicas, status.updated_replicas, status.available_replicas];
            status.observed_generation == object.metadata.generation && counts == [Some(2); 3]
        })
        .await
}

/// Waits until a new operator has reconciled every gateway. It lists all gateways before it reconciles any, and the
/// older gateway is queued first.
async fn all_seen(world: &World) {
    world.apply(&gateway("later", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("later").await;
}

async fn versions(world: &World) -> [Option<String>; 4] {
    [
        world.api::<Deployment>().get("shop").await.unwrap().resource_version(),
        world.api::<Service>().get("shop").await.unwrap().resource_version(),
        world.api::<Ingress>().get("shop").await.unwrap().resource_version(),
        world.api::<PodDisruptionBudget>().get("shop").await.unwrap().resource_version(),
    ]
}

#[tokio::test]
async fn definitions_applied_again_and_a_restarted_operator_write_no_child() {
    let world = World::new("upgrade").await;
    let mut operator = world.operator();
    running(&world).await;
    let before = versions(&world).await;
    operator.end();

    let cluster = Arc::clone(&world.cluster);
    tokio::task::spawn_blocking(move || cluster.install_crds().unwrap()).await.unwrap();
    let _operator = world.operator();
    all_seen(&world).await;

    assert_eq!(versions(&world).await, before);
}

/// An older operator rendered another grace period and another renderer version.
#[tokio::test]
async fn pods_of_an_older_renderer_live_on_until_the_next_change_of_the_spec() {
    let world = World::new("renderer").await;
    let mut operator = world.operator();
    let grace = |object: &Deployment| {
        let pod = object.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
        pod.termination_grace_period_seconds
    };
    let desired = grace(&running(&world).await);
    operator.end();
    let older = json!({
        "metadata": { "annotations": { RENDERER_ANNOTATION: "0" } },
        "spec": { "template": { "spec": { "terminationGracePeriodSeconds": 77 } } },
    });
    world.patch_object::<Deployment>("shop", older).await;
    settled(&world).await;
    let before = versions(&world).await;

    let _operator = world.operator();
    all_seen(&world).await;
    assert_eq!(versions(&world).await, before);

    world.patch("shop", json!({ "spec": { "image": "acme/gateway:2" } })).await;
    world
        .until("shop", "rendered anew", |object: &Deployment| {
            grace(object) == desired
                && object.annotations().get(RENDERER_ANNOTATION).map(String::as_str) == Some(RENDERER)
        })
        .await;
    world.until_started("shop").await;
}
