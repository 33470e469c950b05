//! A start creates the gateway's children and writes its status.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use phasegate::api::condition;
use serde_json::json;

use crate::harness::{World, gateway, is_true, path};

#[tokio::test]
async fn a_gateway_starts_and_says_where_it_answers() {
    let world = World::new("start").await;
    let _operator = world.operator();
    world
        .apply(&gateway("shop", json!({ "image": "acme/gateway:1", "host": "start.example.com", "path": "/api" })))
        .await;

    let shop = world.until_started("shop").await;

    assert_eq!(path(&shop), ["Starting/Running StartRequested", "Started/Running Started"]);
    assert!(is_true(&shop, condition::READY) && is_true(&shop, condition::AVAILABLE));
    assert!(!is_true(&shop, condition::RECONCILING) && !is_true(&shop, condition::STALLED));
    let status = shop.status.clone().unwrap();
    assert_eq!(status.url.as_deref(), Some("http://start.example.com/api"));
    assert_eq!((status.replicas, status.ready_replicas), (Some(1), Some(1)));
    assert_eq!(status.observed_generation, shop.metadata.generation);
    assert_eq!((status.transitions, status.attempt.unwrap().number), (2, 1));
    assert_eq!(status.last_failure, None);
    assert_eq!(world.until_event("shop", "Started").await, ["Normal Started"]);
    let waited = world.kubectl(&["wait", "agw/shop", "--for=condition=Available", "--timeout=5s"]);
    assert!(waited.status.success(), "{waited:?}");
}

#[tokio::test]
async fn children_belong_to_the_gateway_and_run_restricted() {
    let world = World::new("children").await;
    let _operator = world.operator();
    world
        .apply(&gateway("bank", json!({ "image": "acme/gateway:1", "host": "children.example.com", "replicas": 3 })))
        .await;

    let bank = world.until_started("bank").await;

    let deployment: Deployment = world.api().get("bank").await.unwrap();
    let service: Service = world.api().get("bank").await.unwrap();
    let ingress: Ingress = world.api().get("bank").await.unwrap();
    let budget: PodDisruptionBudget = world.api().get("bank").await.unwrap();
    for meta in [&deployment.metadata, &service.metadata, &ingress.metadata, &budget.metadata] {
        let owner = &meta.owner_references.as_ref().unwrap()[0];
        assert_eq!((owner.kind.as_str(), owner.name.as_str()), ("ApiGateway", "bank"));
        assert_eq!(Some(&owner.uid), bank.metadata.uid.as_ref());
        assert_eq!((owner.controller, owner.block_owner_deletion), (Some(true), Some(true)));
        assert_eq!(meta.labels.as_ref().unwrap()["phasegate.dev/gateway-uid"], bank.metadata.uid.clone().unwrap());
    }
    // The namespace enforces the restricted Pod Security Standard, so existing pods comply. The rest is asserted here.
    let pod = deployment.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
    assert_eq!(pod.automount_service_account_token, Some(false));
    assert!(pod.containers[0].readiness_probe.is_some() && pod.containers[0].lifecycle.is_some());
    assert_eq!(deployment.status.unwrap().available_replicas, Some(3));
    assert_eq!(ingress.spec.unwrap().rules.unwrap()[0].host.as_deref(), Some("children.example.com"));
    assert_eq!(service.spec.unwrap().ports.unwrap()[0].port, 80);
}

#[tokio::test]
async fn a_gateway_without_a_host_gets_no_ingress() {
    let world = World::new("hostless").await;
    let _operator = world.operator();
    world.apply(&gateway("plain", json!({ "image": "acme/gateway:1" }))).await;

    let plain = world.until_started("plain").await;

    assert_eq!(world.api::<Ingress>().get_opt("plain").await.unwrap(), None);
    assert_eq!(plain.status.unwrap().url, None);
}

#[tokio::test]
async fn a_gateway_that_is_to_be_stopped_creates_nothing() {
    let world = World::new("stillborn").await;
    let _operator = world.operator();
    world.apply(&gateway("later", json!({ "image": "acme/gateway:1", "state": "Stopped" }))).await;

    let later = world.until_condition("later", condition::READY, "True", "Stopped").await;

    assert_eq!(path(&later), ["Stopped/Stopped StopRequested"]);
    assert_eq!(world.children().await, Vec::<String>::new());
    world.patch("later", json!({ "spec": { "state": "Running" } })).await;
    let later = world.until_started("later").await;
    assert_eq!(later.status.unwrap().attempt.unwrap().number, 1);
}

#[tokio::test]
async fn a_changed_image_rolls_a_started_gateway_without_another_attempt() {
    let world = World::new("rollout").await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("shop").await;

    let changed = world.patch("shop", json!({ "spec": { "image": "acme/gateway:2" } })).await;

    let shop = world
        .until("shop", "the new generation, ready", |shop: &phasegate::api::ApiGateway| {
            is_true(shop, condition::READY)
                && shop.status.as_ref().unwrap().observed_generation == changed.metadata.generation
        })
        .await;
    let deployment: Deployment = world.api().get("shop").await.unwrap();
    let pod = deployment.spec.unwrap().template.spec.unwrap();
    assert_eq!(pod.containers[0].image.as_deref(), Some("acme/gateway:2"));
    assert_eq!(path(&shop), ["Starting/Running StartRequested", "Started/Running Started"]);
}

#[tokio::test]
async fn a_deleted_or_edited_child_comes_back() {
    let world = World::new("drift").await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "host": "drift.example.com" }))).await;
    world.until_started("shop").await;

    let before: Service = world.api().get("shop").await.unwrap();
    world.api::<Service>().delete("shop", &Default::default()).await.unwrap();
    world.until("shop", "a new Service", |service: &Service| service.metadata.uid != before.metadata.uid).await;

    let edit = json!({ "spec": { "template": { "spec": { "containers": [{ "name": "gateway", "image": "evil/gateway:1" }] } } } });
    let edited = world.kubectl(&["patch", "deployment", "shop", "--type=strategic", "-p", &edit.to_string()]);
    assert!(edited.status.success(), "{edited:?}");
    world
        .until("shop", "the image that is asked", |deployment: &Deployment| {
            let template = &deployment.spec.as_ref().unwrap().template;
            template.spec.as_ref().unwrap().containers[0].image.as_deref() == Some("acme/gateway:1")
        })
        .await;
}

/// Pods take longest to start. The more Deployments exist, the more the cluster's controllers do in parallel.
#[tokio::test]
async fn in_a_mass_start_every_deployment_is_there_before_the_first_service() {
    let world = World::new("mass").await;
    let names = ["one", "two", "three"];
    for name in names {
        world.apply(&gateway(name, json!({ "image": "acme/gateway:1" }))).await;
    }
    let mut deployments = Vec::new();
    let mut services = Vec::new();
    for name in names {
        deployments.push(world.record::<Deployment>(name).await);
        services.push(world.record::<Service>(name).await);
    }
    let _operator = world.operator_with(&["--concurrency", "1"]);

    let mut last_deployment = 0;
    for versions in &mut deployments {
        last_deployment = last_deployment.max(versions.first("created", |_| true).await.revision());
    }
    for versions in &mut services {
        let service = versions.first("created", |_| true).await.revision();
        assert!(last_deployment < service, "{last_deployment} < {service}");
    }
    for name in names {
        world.until_started(name).await;
    }
}
