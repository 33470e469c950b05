//! A change of a started gateway rolls its pods while it serves.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{PodTemplateSpec, Service};
use kube::api::ListParams;
use phasegate::api::{ApiGateway, condition};
use serde_json::json;

use crate::harness::{STARTED, World, available, gateway, is_true, path};

#[tokio::test]
async fn image_env_resources_and_replicas_roll_without_another_attempt_and_without_an_interruption() {
    let world = World::new("roll").await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("shop").await;
    let mut deployments = world.record::<Deployment>("shop").await;
    let mut gateways = world.record::<ApiGateway>("shop").await;

    let changes = [
        json!({ "image": "acme/gateway:2" }),
        json!({ "env": [{ "name": "MODE", "value": "fast" }] }),
        json!({ "resources": { "requests": { "cpu": "100m" }, "limits": { "memory": "64Mi" } } }),
        json!({ "replicas": 3 }),
        json!({ "env": [], "resources": null }),
        json!({ "replicas": 1, "image": "acme/gateway:3" }),
    ];
    let mut shop = None;
    for (number, change) in changes.into_iter().enumerate() {
        shop = Some(world.until_ready_again(&world.patch("shop", json!({ "spec": change })).await).await);
        let deployment: Deployment = world.api().get("shop").await.unwrap();
        let container = &template(&deployment).spec.as_ref().unwrap().containers[0];
        let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        let seen = json!({
            "image": container.image,
            "env": container.env.as_ref().map_or(0, Vec::len),
            "cpu": requests.and_then(|requests| requests.get("cpu")).map(|cpu| cpu.0.as_str()),
            "available": available(&deployment),
        });
        let expected = [
            json!({ "image": "acme/gateway:2", "env": 0, "cpu": null, "available": 1 }),
            json!({ "image": "acme/gateway:2", "env": 1, "cpu": null, "available": 1 }),
            json!({ "image": "acme/gateway:2", "env": 1, "cpu": "100m", "available": 1 }),
            json!({ "image": "acme/gateway:2", "env": 1, "cpu": "100m", "available": 3 }),
            json!({ "image": "acme/gateway:2", "env": 0, "cpu": null, "available": 3 }),
            json!({ "image": "acme/gateway:3", "env": 0, "cpu": null, "available": 1 }),
        ];
        assert_eq!(seen, expected[number]);
    }

    let shop = shop.unwrap();
    assert_eq!(path(&shop), STARTED);
    assert_eq!(shop.status.as_ref().unwrap().attempt.as_ref().unwrap().number, 1);
    let deployment: Deployment = world.api().get("shop").await.unwrap();
    let available: Vec<i32> = deployments.up_to(&deployment).await.iter().map(available).collect();
    assert!(available.iter().all(|available| *available >= 1), "{available:?}");
    assert!(gateways.up_to(&shop).await.iter().all(|shop| is_true(shop, condition::AVAILABLE)));
}

#[tokio::test]
async fn a_bad_image_leaves_the_last_good_pods_serving_and_is_stalled_once_the_deployment_says_so() {
    let world = World::new("roll-bad").await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "replicas": 2 }))).await;
    world.until_started("shop").await;
    let good = replica_sets(&world).await;
    let mut deployments = world.record::<Deployment>("shop").await;
    let mut gateways = world.record::<ApiGateway>("shop").await;

    world.patch("shop", json!({ "spec": { "image": "acme/unpullable:1", "startDeadline": "10s" } })).await;

    let early = world.until_condition("shop", condition::READY, "False", "ImagePullFailed").await;
    assert!(is_true(&early, condition::AVAILABLE) && is_true(&early, condition::RECONCILING));
    assert!(!is_true(&early, condition::STALLED));
    let late = world.until_condition("shop", condition::STALLED, "True", "ProgressDeadlineExceeded").await;
    assert!(is_true(&late, condition::AVAILABLE) && !is_true(&late, condition::READY));
    let exceeded = deployments
        .first("out of time", |deployment| {
            let conditions = deployment.object.status.iter().flat_map(|status| status.conditions.iter().flatten());
            conditions.into_iter().any(|condition| condition.reason.as_deref() == Some("ProgressDeadlineExceeded"))
        })
        .await;
    let stalled = gateways.first("Stalled", |shop| is_true(&shop.object, condition::STALLED)).await;
    assert!(exceeded.revision() < stalled.revision());
    let now = replica_sets(&world).await;
    assert!(now.contains(&good[0]) && good[0].1 == 2, "{good:?} {now:?}");
    let events = world.until_event("shop", "ProgressDeadlineExceeded").await;
    assert!(events.contains(&"Warning ProgressDeadlineExceeded".to_owned()), "{events:?}");

    let fixed = world.patch("shop", json!({ "spec": { "image": "acme/gateway:2" } })).await;
    let shop = world.until_ready_again(&fixed).await;
    assert!(!is_true(&shop, condition::STALLED));
    assert_eq!(path(&shop), STARTED);
    let deployment: Deployment = world.api().get("shop").await.unwrap();
    let available: Vec<i32> = deployments.up_to(&deployment).await.iter().map(available).collect();
    assert!(available.iter().all(|available| *available >= 2), "{available:?}");
    assert!(gateways.up_to(&shop).await.iter().all(|shop| is_true(shop, condition::AVAILABLE)));
}

#[tokio::test]
async fn the_deployments_progress_deadline_is_the_start_deadline_and_follows_it_without_a_roll() {
    let world = World::new("roll-deadline").await;
    let _operator = world.operator_with(&["--start-deadline=7m"]);
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "startDeadline": "90s" }))).await;
    world.until_started("shop").await;
    let progress = |deployment: &Deployment| deployment.spec.as_ref().unwrap().progress_deadline_seconds;
    let first: Deployment = world.api().get("shop").await.unwrap();
    assert_eq!(progress(&first), Some(90));

    let changed = world.patch("shop", json!({ "spec": { "startDeadline": "2m" } })).await;
    world.until_ready_again(&changed).await;
    let second: Deployment = world.api().get("shop").await.unwrap();
    assert_eq!(progress(&second), Some(120));
    // Without a value, the operator's default applies.
    let changed = world.patch("shop", json!({ "spec": { "startDeadline": null } })).await;
    let shop = world.until_ready_again(&changed).await;
    let third: Deployment = world.api().get("shop").await.unwrap();
    assert_eq!(progress(&third), Some(420));
    assert_eq!(template(&third), template(&first));
    assert_eq!(path(&shop), STARTED);
    assert_eq!(replica_sets(&world).await.len(), 1);
}

#[tokio::test]
async fn a_started_gateway_whose_pods_all_fail_is_unavailable_and_never_trips_the_start_deadline() {
    let world = World::new("roll-flap").await;
    let mut operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "replicas": 2 }))).await;
    let started = world.until_started("shop").await;
    let changed = world.patch("shop", json!({ "spec": { "startDeadline": "3s" } })).await;
    world.until_ready_again(&changed).await;

    world.set_ready("shop", false).await;

    let lost = world.until_condition("shop", condition::AVAILABLE, "False", "Unavailable").await;
    assert!(!is_true(&lost, condition::READY));
    assert_eq!(lost.status.unwrap().ready_replicas, Some(0));
    // Well past the start deadline, also for a process that never saw the gateway serve.
    let began = started.status.unwrap().attempt.unwrap().started_at.0;
    let past = began + std::time::Duration::from_secs(8);
    let wait = std::time::Duration::try_from(past.duration_since(k8s_openapi::jiff::Timestamp::now()));
    tokio::time::sleep(wait.unwrap_or_default()).await;
    operator.kill();
    let _operator = world.operator();
    world.apply(&gateway("other", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("other").await;
    let shop = world.gateway("shop").await;
    assert_eq!(path(&shop), STARTED);
    assert!(!is_true(&shop, condition::AVAILABLE));

    world.set_ready("shop", true).await;
    let shop = world.until_condition("shop", condition::AVAILABLE, "True", "Started").await;
    assert_eq!(path(&shop), STARTED);
    world.until_condition("shop", condition::READY, "True", "Started").await;
}

/// The Deployment looks like one of an older operator, which rendered another template.
#[tokio::test]
async fn pods_of_an_older_renderer_are_left_alone_until_the_spec_changes() {
    let world = World::new("roll-older").await;
    let mut operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("shop").await;
    operator.kill();
    let current: Deployment = world.api().get("shop").await.unwrap();
    let service: Service = world.api().get("shop").await.unwrap();
    let older = json!({
        "metadata": { "annotations": { "phasegate.dev/renderer": "0" } },
        "spec": { "template": { "spec": { "terminationGracePeriodSeconds": 77 } } },
    });
    world.patch_object::<Deployment>("shop", older).await;
    let rolled = |deployment: &Deployment| {
        let status = deployment.status.as_ref().unwrap();
        status.observed_generation == deployment.metadata.generation
            && (status.updated_replicas, status.replicas, status.available_replicas) == (Some(1), Some(1), Some(1))
    };
    let older = world.until("shop", "rolled to the older template", rolled).await;

    let _operator = world.operator();

    // The recreated Service shows that the operator has reconciled this gateway.
    world.api::<Service>().delete("shop", &Default::default()).await.unwrap();
    world.until("shop", "a new Service", |new: &Service| new.metadata.uid != service.metadata.uid).await;
    world.until_condition("shop", condition::READY, "True", "Started").await;
    let kept: Deployment = world.api().get("shop").await.unwrap();
    assert_eq!((template(&kept), renderer(&kept)), (template(&older), Some("0")));
    assert_eq!(kept.metadata.generation, older.metadata.generation);
    // Drift of such a Deployment is still reverted.
    world.patch_object::<Deployment>("shop", json!({ "spec": { "revisionHistoryLimit": 9 } })).await;
    let repaired = |deployment: &Deployment| deployment.spec.as_ref().unwrap().revision_history_limit == Some(3);
    let kept = world.until("shop", "repaired", repaired).await;
    assert_eq!((template(&kept), renderer(&kept)), (template(&older), Some("0")));

    let changed = world.patch("shop", json!({ "spec": { "image": "acme/gateway:2" } })).await;
    world.until_ready_again(&changed).await;
    let new: Deployment = world.api().get("shop").await.unwrap();
    let pod = template(&new).spec.as_ref().unwrap();
    assert_eq!(pod.containers[0].image.as_deref(), Some("acme/gateway:2"));
    let grace = template(&current).spec.as_ref().unwrap().termination_grace_period_seconds;
    assert_eq!((pod.termination_grace_period_seconds, renderer(&new)), (grace, renderer(&current)));
}

#[tokio::test]
async fn pods_of_an_older_renderer_are_renewed_by_a_restart() {
    let world = World::new("roll-renew").await;
    let mut operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("shop").await;
    operator.kill();
    let current: Deployment = world.api().get("shop").await.unwrap();
    let older = json!({
        "metadata": { "annotations": { "phasegate.dev/renderer": "0" } },
        "spec": { "template": { "spec": { "terminationGracePeriodSeconds": 77 } } },
    });
    world.patch_object::<Deployment>("shop", older).await;
    let _operator = world.operator();

    world
        .patch("shop", json!({ "metadata": { "annotations": { "phasegate.dev/restart-requested-at": "now" } } }))
        .await;

    world
        .until("shop", "restarted", |shop: &ApiGateway| {
            shop.status.as_ref().unwrap().restarts == 1 && is_true(shop, condition::READY)
        })
        .await;
    let new: Deployment = world.api().get("shop").await.unwrap();
    assert_eq!(template(&new).spec, template(&current).spec);
    assert_eq!(renderer(&new), renderer(&current));
}

/// The ReplicaSets' names, each with the number of its available pods.
async fn replica_sets(world: &World) -> Vec<(String, i32)> {
    let sets = world.api::<ReplicaSet>().list(&ListParams::default()).await.unwrap();
    sets.into_iter()
        .map(|set| {
            let available = set.status.and_then(|status| status.available_replicas).unwrap_or(0);
            (set.metadata.name.unwrap(), available)
        })
        .collect()
}

fn template(deployment: &Deployment) -> &PodTemplateSpec {
    &deployment.spec.as_ref().unwrap().template
}

fn renderer(deployment: &Deployment) -> Option<&str> {
    deployment.metadata.annotations.as_ref()?.get("phasegate.dev/renderer").map(String::as_str)
}
