//! The operator recovers if it is down, or is killed at any moment.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::jiff::Timestamp;
use phasegate::api::{Phase, Reason, State, condition};
use serde_json::json;

use crate::harness::{Fleet, Random, World, gateway, path};
use crate::timeout::TIMED_OUT;

#[tokio::test]
async fn fifty_gateways_created_while_the_operator_is_down_all_start_when_it_is_back() {
    let world = World::new("backlog").await;
    let names: Vec<String> = (0..50).map(|number| format!("gw-{number}")).collect();
    for name in &names {
        let host = format!("{name}.backlog.example.com");
        world.apply(&gateway(name, json!({ "image": "acme/gateway:1", "host": host }))).await;
    }

    let _operator = world.operator();

    for name in &names {
        let started = world.until_started(name).await;
        assert_eq!(path(&started), ["Starting/Running StartRequested", "Started/Running Started"]);
    }
}

/// The stored state is that of an operator that was killed right after it wrote Starting: the phase, and no child. The
/// deadline passes before the operator is back.
#[tokio::test]
async fn a_start_interrupted_by_a_kill_gets_its_time_when_the_operator_is_back_after_the_deadline() {
    let world = World::new("resume").await;
    // The quota denies Deployments, so the operator is killed before any child exists.
    world.quota("shut", json!({ "count/deployments.apps": "0" })).await;
    let mut operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "startDeadline": "30s" }))).await;
    let starting = world.until_phase("shop", Phase::Starting, State::Running).await;
    operator.kill();
    assert_eq!(world.children().await, Vec::<String>::new());
    world.api::<k8s_openapi::api::core::v1::ResourceQuota>().delete("shut", &Default::default()).await.unwrap();
    // The test moves the deadline into the past and does not wait for it.
    let long_ago = starting.status.unwrap().attempt.unwrap().started_at.0 - Duration::from_secs(60);
    world.patch_status("shop", json!({ "status": { "attempt": { "startedAt": long_ago } } })).await;

    let _operator = world.operator();

    let shop = world.until_started("shop").await;
    assert_eq!(path(&shop), ["Starting/Running StartRequested", "Starting/Running Resumed", "Started/Running Started"]);
    assert_eq!(shop.status.unwrap().attempt.unwrap().number, 2);
    let events = world.until_event("shop", "Resumed").await;
    assert!(events.contains(&"Normal Resumed".to_owned()), "{events:?}");
}

/// All children exist and their image cannot be pulled, so that only the deadline is still to come. The test moves it next
/// to the moment at which the operator is back.
#[tokio::test]
async fn an_operator_that_is_back_a_second_before_or_after_a_deadline_ends_the_attempt_once_and_no_earlier() {
    const DEADLINE: Duration = Duration::from_secs(60);
    const SECOND: Duration = Duration::from_secs(1);
    let world = World::new("second").await;
    let mut operator = world.operator();
    for name in ["before", "after"] {
        world.apply(&gateway(name, json!({ "image": "acme/unpullable:1", "startDeadline": "60s" }))).await;
    }
    for name in ["before", "after"] {
        world.until_condition(name, condition::READY, "False", "ImagePullFailed").await;
    }
    operator.kill();
    let back = Timestamp::from_microsecond(Timestamp::now().as_microsecond()).unwrap();
    let deadlines = [("before", back + SECOND), ("after", back - SECOND)];
    for (name, deadline) in deadlines {
        world.patch_status(name, json!({ "status": { "attempt": { "startedAt": deadline - DEADLINE } } })).await;
    }

    let _operator = world.operator();

    for (name, deadline) in deadlines {
        let stopped = world.until_phase(name, Phase::Stopped, State::Stopped).await;
        assert_eq!(path(&stopped), TIMED_OUT, "{name}");
        let status = stopped.status.unwrap();
        let failure = status.last_failure.unwrap();
        assert_eq!((failure.reason, failure.attempt), (Reason::ImagePullFailed, 1), "{name}");
        assert_eq!(status.attempt.unwrap().number, 1, "{name}");
        let ended = status.history[1].at.0;
        assert!(ended >= deadline, "{name}: {ended} is before {deadline}");
        let events = world.until_event(name, "Stopped").await;
        let told = events.iter().filter(|event| *event == "Warning StartDeadlineExceeded").count();
        assert_eq!(told, 1, "{name}: {events:?}");
    }
}

/// The stored state is that of an operator that was killed right after an attempt timed out, before it began to remove
/// anything. Meanwhile the user corrects the image.
#[tokio::test]
async fn a_request_that_meets_a_timeout_starts_again_with_the_children_that_are_there() {
    let world = World::new("meets").await;
    let mut operator = world.operator();
    world.apply(&gateway("typo", json!({ "image": "acme/unpullable:1" }))).await;
    world.until_condition("typo", condition::READY, "False", "ImagePullFailed").await;
    operator.kill();
    let before: Deployment = world.api().get("typo").await.unwrap();
    world.patch_status("typo", json!({ "status": { "phase": "Started", "state": "Stopped", "transitions": 2 } })).await;
    world.patch("typo", json!({ "spec": { "image": "acme/gateway:1" } })).await;

    let _operator = world.operator();

    let started = world.until_started("typo").await;
    let status = started.status.unwrap();
    assert_eq!((status.transitions, status.attempt.unwrap().number), (4, 2));
    let again = &status.history[1];
    assert_eq!((&again.from, &again.to, again.state), (&Some(Phase::Started), &Phase::Starting, State::Running));
    assert_eq!(again.reason, Reason::StartRequested);
    let after: Deployment = world.api().get("typo").await.unwrap();
    assert_eq!(after.metadata.uid, before.metadata.uid);
}

/// `PHASEGATE_KILLS` and `PHASEGATE_BURST` request more than a sample.
fn asked_for(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).map_or(otherwise, |number| number.parse().unwrap())
}

/// A random moment is a random number of transitions before it. `PHASEGATE_SEED` repeats a run.
#[tokio::test]
async fn an_operator_killed_at_random_moments_of_a_burst_starts_every_gateway_once() {
    let (kills, gateways) = (asked_for("PHASEGATE_KILLS", 3), asked_for("PHASEGATE_BURST", 60));
    let mut random = Random::from_environment();
    let mut moments: Vec<usize> = (0..kills).map(|_| random.below(2 * gateways)).collect();
    moments.sort_unstable();
    let world = World::new("kills").await;
    let fleet = Fleet::apply(&world, "gw", gateways, json!({})).await;

    let mut operator = world.operator();
    for moment in moments {
        fleet.until_transitions(i64::try_from(moment).unwrap()).await;
        operator.kill();
        operator = world.operator();
    }

    fleet.until_all_started_once().await;
    fleet.assert_children_are_theirs().await;
    // There is no child without a gateway, and no pod of a second ReplicaSet.
    let children = world.children().await;
    for kind in ["Deployment", "Service", "Ingress", "ReplicaSet", "Pod"] {
        let found = children.iter().filter(|child| child.starts_with(&format!("{kind} "))).count();
        assert_eq!(found, gateways, "{kind}: {children:?}");
    }
}
