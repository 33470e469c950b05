//! A suspended gateway is unchanged, and its start deadline is paused, until it is resumed or deleted.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::jiff::Timestamp;
use phasegate::api::{ApiGateway, Environment, EnvironmentState, Handled, Phase, State, condition};
use serde_json::{Value, json};

use crate::harness::{STARTED, World, environment, gateway, is_true, path, restart};

#[tokio::test]
async fn a_gateway_suspended_from_the_beginning_has_no_child_and_no_phase_until_it_is_resumed() {
    let world = World::new("suspend-born").await;
    let _operator = world.operator();
    let spec = json!({ "image": "acme/gateway:1", "host": "suspend-born.example.com", "suspend": true });
    world.apply(&gateway("shop", spec)).await;

    let shop = world.until_condition("shop", condition::READY, "False", "Suspended").await;

    let status = shop.status.unwrap();
    assert_eq!((status.phase, status.attempt, status.transitions), (None, None, 0));
    assert!(status.history.is_empty() && status.hosts.is_empty());
    // Another gateway's start shows that the operator is running.
    world.apply(&gateway("other", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("other").await;
    let children = world.children().await;
    assert!(!children.iter().any(|child| child.contains(" shop")), "{children:?}");

    world.patch("shop", suspend(false)).await;
    let shop = world.until_started("shop").await;
    assert_eq!(path(&shop), STARTED);
}

/// The pod becomes ready 20 seconds after its start, long after the deadline.
#[tokio::test]
async fn a_start_that_is_suspended_does_not_time_out_and_is_judged_when_it_is_resumed() {
    let world = World::new("suspend-slow").await;
    let mut operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/slow-start:1", "startDeadline": "12s" }))).await;
    world.until("shop", "a pod", |deployment: &Deployment| replicas(deployment) == 1).await;

    world.patch("shop", suspend(true)).await;

    let held = world.until_condition("shop", condition::RECONCILING, "False", "Suspended").await;
    assert!(held.status.unwrap().attempt.unwrap().held_since.is_some());
    // The deadline is paused while the operator is down, too.
    operator.kill();
    let _operator = world.operator();
    world
        .until("shop", "an available pod", |deployment: &Deployment| {
            deployment.status.as_ref().is_some_and(|status| status.available_replicas == Some(1))
        })
        .await;
    let shop = world.gateway("shop").await;
    assert_eq!(path(&shop), STARTED[..1]);

    world.patch("shop", suspend(false)).await;
    let shop = world.until_started("shop").await;
    assert_eq!(path(&shop), STARTED);
    let attempt = shop.status.unwrap().attempt.unwrap();
    assert_eq!((attempt.number, attempt.held_since), (1, None));
    assert!(attempt.held_seconds >= 8, "{}", attempt.held_seconds);
}

#[tokio::test]
async fn a_resumed_start_has_the_rest_of_its_time_and_then_times_out() {
    let world = World::new("suspend-rest").await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/unpullable:1", "startDeadline": "6s" }))).await;
    world.until_phase("shop", Phase::Starting, State::Running).await;
    world.patch("shop", suspend(true)).await;
    let held = world.until_condition("shop", condition::RECONCILING, "False", "Suspended").await;
    let began = held.status.unwrap().attempt.unwrap().started_at.0;

    // Only elapsed time can show that the deadline is paused.
    let past = began + Duration::from_secs(10);
    let wait = Duration::try_from(past.duration_since(Timestamp::now())).unwrap_or_default();
    tokio::time::sleep(wait).await;
    let shop = world.gateway("shop").await;
    assert_eq!(path(&shop), STARTED[..1]);
    assert_eq!(shop.status.unwrap().attempt.unwrap().started_at.0, began);
    world.patch("shop", suspend(false)).await;

    let shop = world.until_phase("shop", Phase::Stopped, State::Stopped).await;
    let status = shop.status.clone().unwrap();
    assert_eq!(path(&shop)[1], "Started/Stopped StartDeadlineExceeded");
    let held = status.attempt.as_ref().unwrap().held_seconds;
    assert!(held >= 3, "{held}");
    // Paused time is rounded up, in the gateway's favour.
    let lasted = status.history[1].seconds;
    assert!(lasted >= 6 + held - 1, "{lasted} s, {held} s of them held");
    assert_eq!(status.attempt.unwrap().number, 1);
}

#[tokio::test]
async fn a_suspended_gateway_is_neither_repaired_nor_changed_until_it_is_resumed() {
    let world = World::new("suspend-drift").await;
    let mut operator = world.operator();
    let spec = json!({ "image": "acme/gateway:1", "host": "suspend-drift.example.com", "replicas": 2 });
    world.apply(&gateway("shop", spec)).await;
    let before = world.until_started("shop").await;
    world.patch("shop", suspend(true)).await;
    world.until_condition("shop", condition::READY, "True", "Suspended").await;

    world.api::<Service>().delete("shop", &Default::default()).await.unwrap();
    world.patch_object::<Ingress>("shop", json!({ "spec": { "tls": [{ "secretName": "evil" }] } })).await;
    let edited: Deployment = world.patch_object("shop", json!({ "spec": { "revisionHistoryLimit": 7 } })).await;
    world.patch("shop", json!({ "spec": { "image": "acme/gateway:2", "replicas": 1 } })).await;
    let asked = world.patch("shop", restart("one")).await;
    world.create::<Environment>(environment("dev", "shop", Some("dev.suspend-drift.example.com"))).await;
    // When another gateway has started, the operator has seen all this. The second start shows it for another process.
    for name in ["other", "third"] {
        world.apply(&gateway(name, json!({ "image": "acme/gateway:1" }))).await;
        world.until_started(name).await;
        if name == "other" {
            operator.kill();
            operator = world.operator();
        }
    }

    assert_eq!(world.api::<Service>().get_opt("shop").await.unwrap(), None);
    let ingress: Ingress = world.api().get("shop").await.unwrap();
    assert_eq!(ingress.spec.unwrap().tls.unwrap()[0].secret_name.as_deref(), Some("evil"));
    let deployment: Deployment = world.api().get("shop").await.unwrap();
    assert_eq!(deployment.metadata.generation, edited.metadata.generation);
    let shop = world.gateway("shop").await;
    let status = shop.status.clone().unwrap();
    assert_eq!(status.history, before.status.unwrap().history);
    assert!(!is_true(&shop, condition::AVAILABLE), "there is no Service");
    let dev: Environment = world.api().get("dev").await.unwrap();
    assert!(dev.status.is_none_or(|status| status.state == EnvironmentState::Inactive));

    // After a resume, the operator performs the restart that was requested meanwhile, and all the rest.
    world.patch("shop", suspend(false)).await;
    let shop = world
        .until("shop", "restarted and ready", |shop: &ApiGateway| {
            let status = shop.status.as_ref().unwrap();
            status.restarts == 1
                && status.phase == Some(Phase::Started)
                && status.observed_generation > asked.metadata.generation
                && is_true(shop, condition::READY)
        })
        .await;
    assert_eq!(path(&shop), [STARTED, ["Starting/Restarting RestartRequested", "Started/Running Started"]].concat());
    world.api::<Service>().get("shop").await.unwrap();
    let ingress: Ingress = world.api().get("shop").await.unwrap();
    assert_eq!(ingress.spec.unwrap().tls, None);
    let spec = world.api::<Deployment>().get("shop").await.unwrap().spec.unwrap();
    assert_eq!((spec.revision_history_limit, spec.replicas), (Some(3), Some(1)));
    assert_eq!(spec.template.spec.unwrap().containers[0].image.as_deref(), Some("acme/gateway:2"));
    world
        .until("dev", "Active", |dev: &Environment| {
            dev.status.as_ref().is_some_and(|status| status.state == EnvironmentState::Active)
        })
        .await;
}

#[tokio::test]
async fn a_stop_asked_while_suspended_waits_until_the_gateway_is_resumed() {
    let world = World::new("suspend-stop").await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("shop").await;
    let stopped = world.patch("shop", json!({ "spec": { "state": "Stopped", "suspend": true } })).await;
    let shop = world
        .until("shop", "suspended", |shop: &ApiGateway| {
            shop.status.as_ref().unwrap().observed_generation == stopped.metadata.generation
        })
        .await;
    assert_eq!(path(&shop), STARTED);
    world.api::<Deployment>().get("shop").await.unwrap();

    world.patch("shop", suspend(false)).await;

    let shop = world.until_phase("shop", Phase::Stopped, State::Stopped).await;
    assert_eq!(path(&shop), [STARTED, ["Stopping/Stopped StopRequested", "Stopped/Stopped Stopped"]].concat());
    assert_eq!(world.children().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_stop_that_is_suspended_halfway_goes_on_when_it_is_resumed() {
    let world = World::new("suspend-stopping").await;
    let _operator = world.operator();
    let spec = json!({ "image": "acme/gateway:1", "host": "suspend-stopping.example.com" });
    world.apply(&gateway("shop", spec)).await;
    world.until_started("shop").await;
    let held = json!({ "metadata": { "finalizers": ["example.com/drain"] } });
    world.patch_object::<Ingress>("shop", held).await;
    world.patch("shop", json!({ "spec": { "state": "Stopped" } })).await;
    world.until_phase("shop", Phase::Stopping, State::Stopped).await;
    world.patch("shop", suspend(true)).await;
    world.until_condition("shop", condition::RECONCILING, "False", "Suspended").await;

    world.patch_object::<Ingress>("shop", json!({ "metadata": { "finalizers": null } })).await;
    world.until_gone::<Ingress>("shop").await;
    world.apply(&gateway("other", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("other").await;

    let shop = world.gateway("shop").await;
    assert_eq!(shop.status.unwrap().phase, Some(Phase::Stopping));
    world.api::<Service>().get("shop").await.unwrap();
    world.api::<Deployment>().get("shop").await.unwrap();
    world.patch("shop", suspend(false)).await;
    let shop = world.until_condition("shop", condition::READY, "True", "Stopped").await;
    assert_eq!(path(&shop), [STARTED, ["Stopping/Stopped StopRequested", "Stopped/Stopped Stopped"]].concat());
}

#[tokio::test]
async fn a_restart_that_is_suspended_has_the_rest_of_its_time_afterwards() {
    let world = World::new("suspend-restart").await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "startDeadline": "12s" }))).await;
    world.until_started("shop").await;
    world.patch("shop", json!({ "spec": { "state": "Restarting", "image": "acme/slow-start:1" } })).await;
    world.until("shop", "a new pod", |deployment: &Deployment| replicas(deployment) == 2).await;

    world.patch("shop", suspend(true)).await;
    world.until_condition("shop", condition::RECONCILING, "False", "Suspended").await;
    world
        .until("shop", "rolled", |deployment: &Deployment| {
            let status = deployment.status.as_ref().unwrap();
            (status.updated_replicas, status.replicas, status.available_replicas) == (Some(1), Some(1), Some(1))
        })
        .await;
    let shop = world.gateway("shop").await;
    assert_eq!(shop.status.as_ref().unwrap().state, Some(State::Restarting));
    assert!(is_true(&shop, condition::AVAILABLE));
    world.patch("shop", suspend(false)).await;

    let shop = world.until_started("shop").await;
    assert_eq!(path(&shop), [STARTED, ["Starting/Restarting RestartRequested", "Started/Running Started"]].concat());
    assert!(shop.status.unwrap().attempt.unwrap().held_seconds >= 8);
}

#[tokio::test]
async fn deleting_a_suspended_gateway_leaves_nothing_behind() {
    let world = World::new("suspend-delete").await;
    let _operator = world.operator();
    let spec = json!({ "image": "acme/gateway:1", "host": "suspend-delete.example.com", "replicas": 2 });
    world.apply(&gateway("shop", spec)).await;
    world.apply(&gateway("slow", json!({ "image": "acme/never-ready:1" }))).await;
    world.until_started("shop").await;
    world.until_phase("slow", Phase::Starting, State::Running).await;
    for name in ["shop", "slow"] {
        world.patch(name, suspend(true)).await;
        world.until_condition(name, condition::STALLED, "False", "Suspended").await;
    }

    world.delete("shop").await;
    world.delete("slow").await;

    world.until_nothing_is_left().await;
}

#[tokio::test]
async fn suspending_resuming_and_scaling_a_timed_out_gateway_are_no_requests() {
    let world = World::new("suspend-held").await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/unpullable:1", "startDeadline": "2s" }))).await;
    let before = world.until_condition("shop", condition::RECONCILING, "False", "Stopped").await;

    world.patch("shop", suspend(true)).await;
    world.until_condition("shop", condition::STALLED, "False", "Suspended").await;
    world.patch("shop", suspend(false)).await;
    world.until_condition("shop", condition::STALLED, "True", "StartDeadlineExceeded").await;
    let scaled = world.kubectl(&["scale", "agw/shop", "--replicas=3"]);
    assert!(scaled.status.success(), "{scaled:?}");
    let asked = world.gateway("shop").await;
    assert_eq!(asked.spec.replicas, Some(3));

    let after = world
        .until("shop", "the scaling, seen", |shop: &ApiGateway| {
            shop.status.as_ref().unwrap().observed_generation == asked.metadata.generation
        })
        .await;
    let (before, after) = (before.status.unwrap(), after.status.unwrap());
    assert_eq!(after.phase, Some(Phase::Stopped));
    let request = |handled: Option<Handled>| handled.map(|h| (h.spec_hash, h.state, h.retry, h.restart));
    assert_eq!(request(after.handled), request(before.handled));
    assert_eq!(after.attempt, before.attempt);
    assert_eq!(after.history, before.history);
    assert_eq!(world.children().await, Vec::<String>::new());
}

fn suspend(is: bool) -> Value {
    json!({ "spec": { "suspend": is } })
}

fn replicas(deployment: &Deployment) -> i32 {
    deployment.status.as_ref().and_then(|status| status.replicas).unwrap_or(0)
}
