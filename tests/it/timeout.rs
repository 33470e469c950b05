//! A gateway that does not start before its deadline is stopped with a reason, and waits for its user.

use std::time::Duration;

use phasegate::api::{ApiGateway, Phase, Reason, State, condition};
use serde_json::{Value, json};

use crate::harness::{World, gateway, is_true, path};

/// The history of a gateway that did not start before its deadline.
pub const TIMED_OUT: [&str; 4] = [
    "Starting/Running StartRequested",
    "Started/Stopped StartDeadlineExceeded",
    "Stopping/Stopped StartDeadlineExceeded",
    "Stopped/Stopped Stopped",
];

fn unpullable(deadline: &str) -> Value {
    gateway("typo", json!({ "image": "acme/unpullable:1", "startDeadline": deadline }))
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled_is_named_before_the_deadline_and_after_the_clean_up() {
    let world = World::new("pull").await;
    let _operator = world.operator();
    world.apply(&unpullable("20s")).await;

    let early = world.until_condition("typo", condition::READY, "False", "ImagePullFailed").await;
    assert_eq!(early.status.as_ref().unwrap().phase, Some(Phase::Starting));
    assert!(is_true(&early, condition::RECONCILING) && !is_true(&early, condition::STALLED));

    let typo = world.until_phase("typo", Phase::Stopped, State::Stopped).await;
    assert_eq!(path(&typo), TIMED_OUT);
    let failure = typo.status.clone().unwrap().last_failure.unwrap();
    assert_eq!((failure.reason, failure.attempt), (Reason::ImagePullFailed, 1));
    assert!(failure.message.contains("\"acme/unpullable:1\" cannot be pulled"), "{}", failure.message);
    assert!(failure.hint.contains("spec.image"), "{}", failure.hint);
    assert!(is_true(&typo, condition::STALLED));
    assert!(!is_true(&typo, condition::READY) && !is_true(&typo, condition::AVAILABLE));
    assert_eq!(world.children().await, Vec::<String>::new());
    let events = world.until_event("typo", "Stopped").await;
    assert!(events.contains(&"Warning StartDeadlineExceeded".to_owned()), "{events:?}");
    assert!(events.contains(&"Warning ImagePullFailed".to_owned()), "{events:?}");
    let waited = world.kubectl(&["wait", "agw/typo", "--for=condition=Available", "--timeout=1s"]);
    assert!(!waited.status.success(), "{waited:?}");
}

#[tokio::test]
async fn a_changed_image_starts_a_timed_out_gateway_and_clears_its_failure() {
    let world = World::new("fix").await;
    let _operator = world.operator();
    world.apply(&unpullable("2s")).await;
    world.until_phase("typo", Phase::Stopped, State::Stopped).await;

    world.patch("typo", json!({ "spec": { "image": "acme/gateway:1", "startDeadline": "1m" } })).await;

    let typo = world.until_started("typo").await;
    let mut expected = TIMED_OUT.to_vec();
    expected.extend(["Starting/Running StartRequested", "Started/Running Started"]);
    assert_eq!(path(&typo), expected);
    assert_eq!(typo.status.as_ref().unwrap().last_failure, None);
    assert_eq!(typo.status.as_ref().unwrap().attempt.as_ref().unwrap().number, 2);
    let waited = world.kubectl(&["wait", "agw/typo", "--for=condition=Available", "--timeout=5s"]);
    assert!(waited.status.success(), "{waited:?}");
}

#[tokio::test]
async fn the_retry_annotation_starts_a_timed_out_gateway_once() {
    let world = World::new("retry").await;
    let _operator = world.operator();
    world.apply(&unpullable("2s")).await;
    world.until_phase("typo", Phase::Stopped, State::Stopped).await;

    let retry = json!({ "metadata": { "annotations": { "phasegate.dev/retry-requested-at": "now" } } });
    world.patch("typo", retry).await;

    let twice = world
        .until("typo", "two failed attempts", |typo: &ApiGateway| {
            typo.status.as_ref().is_some_and(|status| {
                status.phase == Some(Phase::Stopped) && status.attempt.as_ref().unwrap().number == 2
            })
        })
        .await;
    assert_eq!(path(&twice), [TIMED_OUT, TIMED_OUT].concat());
}

#[tokio::test]
async fn a_request_during_a_start_gets_the_whole_deadline() {
    let world = World::new("midway").await;
    let _operator = world.operator();
    world.apply(&unpullable("1m")).await;
    let first = world.until_condition("typo", condition::READY, "False", "ImagePullFailed").await;

    world.patch("typo", json!({ "spec": { "image": "acme/gateway:1" } })).await;

    let typo = world.until_started("typo").await;
    assert_eq!(
        path(&typo),
        ["Starting/Running StartRequested", "Starting/Running StartRequested", "Started/Running Started"]
    );
    let attempt = |gateway: &ApiGateway| gateway.status.clone().unwrap().attempt.unwrap();
    assert_eq!((attempt(&first).number, attempt(&typo).number), (1, 2));
    assert!(attempt(&typo).started_at.0 > attempt(&first).started_at.0);
}

/// A GitOps tool applies the same object again and again with its own field manager.
#[tokio::test]
async fn the_same_spec_applied_every_second_by_another_manager_neither_restarts_nor_writes() {
    let world = World::new("gitops").await;
    let _operator = world.operator();
    let mut wanted = unpullable("2s");
    wanted["spec"]["state"] = json!("Running");
    world.apply_as("gitops", &wanted).await.unwrap();
    world.until_phase("typo", Phase::Stopped, State::Stopped).await;
    // The operator creates the Event after it writes the status, so the Event shows that the report is complete.
    world.until_event("typo", "Stopped").await;
    let before = world.gateway("typo").await;

    let mut every = tokio::time::interval(Duration::from_secs(1));
    for _ in 0..15 {
        every.tick().await;
        world.apply_as("gitops", &wanted).await.unwrap();
    }

    let after = world.gateway("typo").await;
    assert_eq!(after.metadata.resource_version, before.metadata.resource_version);
    assert_eq!(world.children().await, Vec::<String>::new());
    wanted["spec"]["image"] = json!("acme/gateway:1");
    wanted["spec"]["startDeadline"] = json!("1m");
    world.apply_as("gitops", &wanted).await.unwrap();
    let started = world.until_started("typo").await;
    assert_eq!(started.status.unwrap().attempt.unwrap().number, 2);
}

#[tokio::test]
async fn a_gateway_that_no_node_takes_says_what_is_short() {
    let world = World::new("nodes").await;
    let _operator = world.operator();
    let huge =
        json!({ "image": "acme/gateway:1", "startDeadline": "10s", "resources": { "requests": { "cpu": "1M" } } });
    world.apply(&gateway("huge", huge)).await;

    world.until_condition("huge", condition::READY, "False", "Unschedulable").await;
    let huge = world.until_phase("huge", Phase::Stopped, State::Stopped).await;
    let failure = huge.status.unwrap().last_failure.unwrap();
    assert_eq!(failure.reason, Reason::Unschedulable);
    assert!(failure.message.contains("Insufficient cpu"), "{}", failure.message);
}

#[tokio::test]
async fn a_used_up_quota_is_told_in_the_api_servers_words() {
    let world = World::new("quota").await;
    world.quota("few", json!({ "pods": "0", "count/services": "1" })).await;
    let _operator = world.operator();
    let spec = |replicas: i32| json!({ "image": "acme/gateway:1", "startDeadline": "10s", "replicas": replicas });
    world.apply(&gateway("greedy", spec(2))).await;

    world.until_condition("greedy", condition::READY, "False", "QuotaExceeded").await;
    let greedy = world.until_phase("greedy", Phase::Stopped, State::Stopped).await;

    let failure = greedy.status.unwrap().last_failure.unwrap();
    assert_eq!(failure.reason, Reason::QuotaExceeded);
    assert!(failure.message.contains("exceeded quota: few"), "{}", failure.message);
}

/// The quota counts Services, so the operator's own POST is denied.
#[tokio::test]
async fn a_child_that_a_quota_refuses_is_named() {
    let world = World::new("quota-child").await;
    world.quota("none", json!({ "count/services": "0" })).await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "startDeadline": "5s" }))).await;

    let shop = world.until_phase("shop", Phase::Stopped, State::Stopped).await;

    let failure = shop.status.clone().unwrap().last_failure.unwrap();
    assert_eq!(failure.reason, Reason::QuotaExceeded);
    assert!(failure.message.contains("refuses the Service"), "{}", failure.message);
    assert_eq!(path(&shop), TIMED_OUT);
}

/// The API server rejects a duplicate port name. Only the API server checks this.
#[tokio::test]
async fn what_the_api_server_refuses_is_told_in_its_words() {
    let world = World::new("admission").await;
    let _operator = world.operator();
    let spec = json!({
        "image": "acme/gateway:1",
        "startDeadline": "10s",
        "resources": { "requests": { "memory": "2Gi" }, "limits": { "memory": "1Gi" } },
    });
    world.apply(&gateway("shop", spec)).await;

    world.until_condition("shop", condition::READY, "False", "AdmissionRefused").await;
    let shop = world.until_phase("shop", Phase::Stopped, State::Stopped).await;

    let failure = shop.status.unwrap().last_failure.unwrap();
    assert_eq!(failure.reason, Reason::AdmissionRefused);
    assert!(failure.message.contains("must be less than or equal to memory limit"), "{}", failure.message);
}

#[tokio::test]
async fn a_slow_gateway_about_which_nothing_is_known_says_how_far_it_came() {
    let world = World::new("slow").await;
    let _operator = world.operator();
    world.apply(&gateway("slow", json!({ "image": "acme/never-ready:1", "startDeadline": "4s" }))).await;

    let slow = world.until_phase("slow", Phase::Stopped, State::Stopped).await;

    let failure = slow.status.unwrap().last_failure.unwrap();
    assert_eq!(failure.reason, Reason::SlowStart);
    assert!(failure.message.starts_with("step 2 of 5: 0 of 1 replicas are available after "), "{}", failure.message);
}

#[tokio::test]
async fn the_operator_tries_again_as_often_as_the_spec_grants() {
    let world = World::new("retries").await;
    let _operator = world.operator();
    let mut wanted = unpullable("2s");
    wanted["spec"]["startRetries"] = json!({ "limit": 1, "backoff": "1s" });
    world.apply(&wanted).await;

    let typo = world
        .until("typo", "two failed attempts", |typo: &ApiGateway| {
            typo.status.as_ref().is_some_and(|status| {
                status.phase == Some(Phase::Stopped) && status.attempt.as_ref().unwrap().retries_left == Some(0)
            })
        })
        .await;

    let mut expected = TIMED_OUT.to_vec();
    expected.push("Starting/Running RetryScheduled");
    expected.extend(&TIMED_OUT[1..]);
    assert_eq!(path(&typo), expected);
    world.until_condition("typo", condition::STALLED, "True", "StartDeadlineExceeded").await;
}
