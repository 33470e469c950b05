//! A restart replaces the pods without downtime, once for each request.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::ListParams;
use phasegate::api::{ApiGateway, Phase, Reason, State, condition};
use serde_json::json;

use crate::harness::{Health, STARTED, World, available, gateway, is_true, path, restart};

const RESTARTED: [&str; 2] = ["Starting/Restarting RestartRequested", "Started/Running Started"];

#[tokio::test]
async fn the_annotation_replaces_every_pod_while_one_is_always_available() {
    let world = World::new("restart").await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "replicas": 2 }))).await;
    world.until_started("shop").await;
    let before = pods(&world).await;
    let mut deployments = world.record::<Deployment>("shop").await;
    let mut gateways = world.record::<ApiGateway>("shop").await;

    world.patch("shop", restart("one")).await;

    let shop = until_restarted(&world, 1).await;
    assert_eq!(path(&shop), [STARTED, RESTARTED].concat());
    assert_eq!(shop.status.as_ref().unwrap().attempt.as_ref().unwrap().number, 2);
    let deployment: Deployment = world.api().get("shop").await.unwrap();
    assert_eq!(restart_of(&deployment), Some("1"));
    let after = pods(&world).await;
    assert_eq!(after.len(), 2);
    assert!(!after.iter().any(|pod| before.contains(pod)), "{before:?} {after:?}");
    let available: Vec<i32> = deployments.up_to(&deployment).await.iter().map(available).collect();
    assert!(available.iter().all(|available| *available >= 1), "{available:?}");
    assert!(gateways.up_to(&shop).await.iter().all(|shop| is_true(shop, condition::AVAILABLE)));
}

#[tokio::test]
async fn the_state_restarts_once_when_it_turns_and_never_again_while_it_stays() {
    let world = World::new("restart-state").await;
    let mut operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("shop").await;
    let before = pods(&world).await;
    let mut deployments = world.record::<Deployment>("shop").await;

    world.patch("shop", json!({ "spec": { "state": "Restarting" } })).await;

    let shop = until_restarted(&world, 1).await;
    assert_eq!(path(&shop), [STARTED, RESTARTED].concat());
    let deployment: Deployment = world.api().get("shop").await.unwrap();
    let available: Vec<i32> = deployments.up_to(&deployment).await.iter().map(available).collect();
    assert!(available.iter().all(|available| *available >= 1), "{available:?}");
    assert!(!pods(&world).await.iter().any(|pod| before.contains(pod)));

    // A spec.state that stays Restarting is not a new request, neither with another change nor for a new operator
    // process.
    let changed = world.patch("shop", json!({ "spec": { "image": "acme/gateway:2" } })).await;
    world.until_ready_again(&changed).await;
    operator.kill();
    let _operator = world.operator();
    let changed = world.patch("shop", json!({ "spec": { "image": "acme/gateway:3" } })).await;
    let shop = world.until_ready_again(&changed).await;
    assert_eq!(path(&shop), [STARTED, RESTARTED].concat());

    // Setting spec.state to Running and back to Restarting is a new request.
    let changed = world.patch("shop", json!({ "spec": { "state": "Running" } })).await;
    let shop = world.until_ready_again(&changed).await;
    assert_eq!(path(&shop), [STARTED, RESTARTED].concat());
    world.patch("shop", json!({ "spec": { "state": "Restarting" } })).await;
    let shop = until_restarted(&world, 2).await;
    assert_eq!(path(&shop), [STARTED, RESTARTED, RESTARTED].concat());
}

#[tokio::test]
async fn a_gateway_created_as_restarting_is_started_and_not_restarted() {
    let world = World::new("restart-born").await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "state": "Restarting" }))).await;
    world.until_started("shop").await;

    let changed = world.patch("shop", json!({ "spec": { "image": "acme/gateway:2" } })).await;

    let shop = world.until_ready_again(&changed).await;
    assert_eq!(path(&shop), STARTED);
    // Setting spec.state to Stopped and back to Restarting is a start, too.
    world.patch("shop", json!({ "spec": { "state": "Stopped" } })).await;
    world.until_phase("shop", Phase::Stopped, State::Stopped).await;
    world.patch("shop", json!({ "spec": { "state": "Restarting" } })).await;
    world.until_started("shop").await;
    let changed = world.patch("shop", json!({ "spec": { "image": "acme/gateway:3" } })).await;
    let shop = world.until_ready_again(&changed).await;
    let stopped = ["Stopping/Stopped StopRequested", "Stopped/Stopped Stopped"];
    assert_eq!(path(&shop), [STARTED, stopped, STARTED].concat());
}

#[tokio::test]
async fn two_restarts_in_a_row_are_two_and_the_same_annotation_again_is_none() {
    let world = World::new("restart-twice").await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("shop").await;

    world.patch("shop", restart("one")).await;
    let first = until_restarted(&world, 1).await;
    world.patch("shop", restart("two")).await;
    let second = until_restarted(&world, 2).await;
    world.patch("shop", restart("two")).await;
    let changed = world.patch("shop", json!({ "spec": { "image": "acme/gateway:2" } })).await;
    let shop = world.until_ready_again(&changed).await;

    assert_eq!(path(&shop), [STARTED, RESTARTED, RESTARTED].concat());
    let number = |shop: &ApiGateway| shop.status.as_ref().unwrap().attempt.as_ref().unwrap().number;
    assert_eq!((number(&first), number(&second), number(&shop)), (2, 3, 3));
}

/// The new pods need 20 seconds, so the second request comes while the first restart is in progress.
#[tokio::test]
async fn a_restart_during_a_restart_is_another_attempt_and_the_pods_are_those_of_the_last_one() {
    let world = World::new("restart-again").await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("shop").await;
    let mut gateways = world.record::<ApiGateway>("shop").await;
    let slow = json!({ "metadata": restart("one")["metadata"], "spec": { "image": "acme/slow-start:1" } });
    world.patch("shop", slow).await;
    world.until_phase("shop", Phase::Starting, State::Restarting).await;

    let fast = json!({ "metadata": restart("two")["metadata"], "spec": { "image": "acme/gateway:2" } });
    world.patch("shop", fast).await;

    let shop = until_restarted(&world, 2).await;
    let again = [RESTARTED[0], RESTARTED[0], RESTARTED[1]];
    assert_eq!(path(&shop), [&STARTED[..], &again[..]].concat());
    let deployment: Deployment = world.api().get("shop").await.unwrap();
    assert_eq!(restart_of(&deployment), Some("2"));
    assert!(gateways.up_to(&shop).await.iter().all(|shop| is_true(shop, condition::AVAILABLE)));
}

#[tokio::test]
async fn a_restart_request_during_a_start_is_another_attempt_with_the_whole_deadline() {
    let world = World::new("restart-start").await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/unpullable:1" }))).await;
    let first = world.until_condition("shop", condition::READY, "False", "ImagePullFailed").await;

    world.patch("shop", restart("one")).await;

    let second = world
        .until("shop", "a second attempt", |shop: &ApiGateway| {
            shop.status.as_ref().unwrap().attempt.as_ref().unwrap().number == 2
        })
        .await;
    assert_eq!(path(&second), ["Starting/Running StartRequested", "Starting/Running RestartRequested"]);
    let since = |shop: &ApiGateway| shop.status.as_ref().unwrap().attempt.as_ref().unwrap().started_at.0;
    assert!(since(&second) > since(&first));
    world.patch("shop", json!({ "spec": { "image": "acme/gateway:1" } })).await;
    let shop = world.until_started("shop").await;
    let requests = ["Starting/Running StartRequested", "Starting/Running RestartRequested"];
    assert_eq!(path(&shop), [requests, STARTED].concat());
}

#[tokio::test]
async fn a_restart_of_a_timed_out_gateway_is_a_start() {
    let world = World::new("restart-timeout").await;
    let _operator = world.operator();
    // The spec does not change: the cause of the timeout is the quota.
    world.quota("shut", json!({ "count/services": "0" })).await;
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "startDeadline": "10s" }))).await;
    let timed_out = world.until_phase("shop", Phase::Stopped, State::Stopped).await;
    let open = json!({ "spec": { "hard": { "count/services": "5" } } });
    world.patch_object::<k8s_openapi::api::core::v1::ResourceQuota>("shut", open).await;

    world.patch("shop", restart("one")).await;

    let shop = world.until_started("shop").await;
    let mut expected = path(&timed_out);
    expected.extend(STARTED.map(str::to_owned));
    assert_eq!(path(&shop), expected);
    assert_eq!(shop.status.unwrap().attempt.unwrap().number, 2);
}

#[tokio::test]
async fn a_restart_with_a_broken_image_leaves_the_old_pods_serving_until_the_image_is_corrected() {
    let world = World::new("restart-broken").await;
    let health = Health::reserve();
    let _operator = world.operator_with(&["--http-bind", &health.address()]);
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("shop").await;
    let before = pods(&world).await;
    let mut deployments = world.record::<Deployment>("shop").await;
    let mut gateways = world.record::<ApiGateway>("shop").await;

    let spec = json!({ "image": "acme/unpullable:1", "startDeadline": "10s" });
    world.patch("shop", json!({ "metadata": restart("one")["metadata"], "spec": spec })).await;

    let failed = world.until_condition("shop", condition::STALLED, "True", "RestartDeadlineExceeded").await;
    let given_up = [RESTARTED[0], "Started/Running RestartDeadlineExceeded"];
    assert_eq!(path(&failed), [STARTED, given_up].concat());
    assert!(is_true(&failed, condition::AVAILABLE) && !is_true(&failed, condition::READY));
    let failure = failed.status.clone().unwrap().last_failure.unwrap();
    assert_eq!((failure.reason, failure.attempt), (Reason::ImagePullFailed, 2));
    let events = world.until_event("shop", "RestartDeadlineExceeded").await;
    assert!(events.contains(&"Warning RestartDeadlineExceeded".to_owned()), "{events:?}");
    let restarted = "phasegate_start_attempts_total{reason=\"RestartRequested\"} 1";
    let timed_out = "phasegate_start_timeouts_total{reason=\"ImagePullFailed\"} 1";
    // The gateway serves, so it needs no retry and is not counted.
    health.until("/metrics", 200, &[restarted, timed_out, "phasegate_gateways_given_up 0"]).await;
    let now = pods(&world).await;
    assert!(before.iter().all(|pod| now.contains(pod)), "{before:?} {now:?}");

    // A retry affects only gateways that do not serve.
    world.patch("shop", json!({ "metadata": { "annotations": { "phasegate.dev/retry-requested-at": "now" } } })).await;
    let fixed = world.patch("shop", json!({ "spec": { "image": "acme/gateway:2" } })).await;
    let shop = world.until_ready_again(&fixed).await;
    assert!(!is_true(&shop, condition::STALLED));
    assert_eq!(path(&shop), [STARTED, given_up].concat());
    let deployment: Deployment = world.api().get("shop").await.unwrap();
    let available: Vec<i32> = deployments.up_to(&deployment).await.iter().map(available).collect();
    assert!(available.iter().all(|available| *available >= 1), "{available:?}");
    assert!(gateways.up_to(&shop).await.iter().all(|shop| is_true(shop, condition::AVAILABLE)));
}

#[tokio::test]
async fn a_changed_spec_during_a_restart_is_another_attempt_of_that_restart() {
    let world = World::new("restart-spec").await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("shop").await;
    let slow = json!({ "metadata": restart("one")["metadata"], "spec": { "image": "acme/slow-start:1" } });
    world.patch("shop", slow).await;
    world.until_phase("shop", Phase::Starting, State::Restarting).await;

    world.patch("shop", json!({ "spec": { "image": "acme/gateway:2" } })).await;

    let shop = until_restarted(&world, 1).await;
    let again = [RESTARTED[0], "Starting/Restarting StartRequested", RESTARTED[1]];
    assert_eq!(path(&shop), [&STARTED[..], &again[..]].concat());
    assert_eq!(shop.status.unwrap().attempt.unwrap().number, 3);
}

#[tokio::test]
async fn a_restart_whose_old_pods_fail_too_times_out_as_a_start_does() {
    let world = World::new("restart-lost").await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("shop").await;
    let spec = json!({ "image": "acme/never-ready:1", "startDeadline": "12s" });
    world.patch("shop", json!({ "metadata": restart("one")["metadata"], "spec": spec })).await;
    world.until_phase("shop", Phase::Starting, State::Restarting).await;

    world.set_ready("shop", false).await;

    let lost = world.until_condition("shop", condition::AVAILABLE, "False", "Unavailable").await;
    assert_eq!(lost.status.unwrap().phase, Some(Phase::Starting));
    let shop = world.until_phase("shop", Phase::Stopped, State::Stopped).await;
    let timed_out = [
        RESTARTED[0],
        "Started/Stopped StartDeadlineExceeded",
        "Stopping/Stopped StartDeadlineExceeded",
        "Stopped/Stopped Stopped",
    ];
    assert_eq!(path(&shop), [&STARTED[..], &timed_out[..]].concat());
    assert!(is_true(&shop, condition::STALLED));
    assert_eq!(world.children().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_restart_that_is_cancelled_is_stopped_at_once() {
    let world = World::new("restart-cancel").await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("shop").await;
    let broken = json!({ "metadata": restart("one")["metadata"], "spec": { "image": "acme/unpullable:1" } });
    world.patch("shop", broken).await;
    world.until_phase("shop", Phase::Starting, State::Restarting).await;

    world.patch("shop", json!({ "spec": { "state": "Stopped" } })).await;

    let shop = world.until_phase("shop", Phase::Stopped, State::Stopped).await;
    let cancelled = [RESTARTED[0], "Stopping/Stopped StopRequested", "Stopped/Stopped Stopped"];
    assert_eq!(path(&shop), [&STARTED[..], &cancelled[..]].concat());
    assert!(is_true(&shop, condition::READY));
}

#[tokio::test]
async fn a_retry_request_does_nothing_to_a_gateway_that_serves() {
    let world = World::new("restart-retry").await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("shop").await;
    let before = pods(&world).await;

    let retry = |value: &str| json!({ "metadata": { "annotations": { "phasegate.dev/retry-requested-at": value } } });
    world.patch("shop", retry("one")).await;
    // The reconcile of this change sees the annotation, too.
    let changed = world.patch("shop", json!({ "spec": { "replicas": 2 } })).await;

    let shop = world.until_ready_again(&changed).await;
    assert_eq!(path(&shop), STARTED);
    let now = pods(&world).await;
    assert!(before.iter().all(|pod| now.contains(pod)), "{before:?} {now:?}");
}

/// Waits until a gateway has this number of restarts, and is Ready.
async fn until_restarted(world: &World, times: i64) -> ApiGateway {
    world
        .until("shop", &format!("restarted {times} times"), |shop: &ApiGateway| {
            let status = shop.status.as_ref().unwrap();
            status.restarts == times && status.phase == Some(Phase::Started) && is_true(shop, condition::READY)
        })
        .await
}

/// The names of the pods that are not terminating.
async fn pods(world: &World) -> Vec<String> {
    let pods = world.api::<Pod>().list(&ListParams::default()).await.unwrap();
    pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).map(ResourceExt::name_any).collect()
}

fn restart_of(deployment: &Deployment) -> Option<&str> {
    let template = &deployment.spec.as_ref()?.template;
    template.metadata.as_ref()?.annotations.as_ref()?.get("phasegate.dev/restart").map(String::as_str)
}
