//! The operator reports the right cause when an admission webhook denies, hangs or is unavailable, and enforces start
//! deadlines whatever the result of a write.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use phasegate::api::{ApiGateway, Environment, Phase, Reason, State, condition};
use serde_json::json;

use crate::harness::{
    Admission, STARTED, Webhook, World, environment, eventually, gateway, is_active, is_true, message, path,
};

/// How much later than its deadline an attempt may time out on a machine with other load. A write that blocked the
/// timeout would delay it longer.
const LATE: Duration = Duration::from_secs(5);

fn transitions(gateway: &ApiGateway) -> Vec<(Timestamp, Reason)> {
    gateway.status.as_ref().unwrap().history.iter().map(|transition| (transition.at.0, transition.reason)).collect()
}

/// Asserts that the first attempt timed out after its deadline, and at most `LATE` after it.
fn assert_judged_in_time(gateway: &ApiGateway, deadline: Duration) {
    let history = transitions(gateway);
    let [(began, Reason::StartRequested), (ended, Reason::StartDeadlineExceeded), ..] = history.as_slice() else {
        panic!("{history:?}");
    };
    let took = Duration::try_from(ended.duration_since(*began)).unwrap();
    assert!(took >= deadline && took < deadline + LATE, "judged after {took:?}, with a deadline of {deadline:?}");
}

fn cause(gateway: &ApiGateway) -> (Reason, String) {
    let failure = gateway.status.as_ref().unwrap().last_failure.as_ref().unwrap();
    (failure.reason, failure.message.clone())
}

async fn until_given_up(world: &World, name: &str) -> ApiGateway {
    world.until_condition(name, condition::STALLED, "True", "StartDeadlineExceeded").await
}

#[tokio::test]
async fn a_webhook_that_denies_with_any_code_is_a_refusal_with_its_words_and_the_deadline_holds() {
    // This deadline is between two retries of a backoff that ignores the deadline.
    const DEADLINE: Duration = Duration::from_secs(20);
    let world = World::audited("denies").await;
    let webhook = Webhook::start(&world, &["apps/deployments"], 5).await;
    let _operator = world.operator();
    let codes = [
        (400, "BadRequest"),
        (401, "Unauthorized"),
        (403, "Forbidden"),
        (404, "NotFound"),
        (409, "Conflict"),
        (409, "AlreadyExists"),
        (410, "Gone"),
        (422, "Invalid"),
        (429, "TooManyRequests"),
        (500, "InternalError"),
        (503, "ServiceUnavailable"),
        (504, "Timeout"),
    ];
    for (number, (code, reason)) in codes.into_iter().enumerate() {
        webhook.answers(Admission::Denies(code, reason));
        let name = format!("denied-{number}");
        world.apply(&gateway(&name, json!({ "image": "acme/gateway:1", "startDeadline": "20s" }))).await;
        let told = world.until_condition(&name, condition::RECONCILING, "True", "AdmissionRefused").await;
        let words = message(&told, condition::READY);
        assert!(words.contains("denied the request: not on Fridays"), "{code} {reason}: {words}");
    }
    for number in 0..codes.len() {
        let name = format!("denied-{number}");
        let given_up = until_given_up(&world, &name).await;
        let (reason, words) = cause(&given_up);
        assert_eq!(reason, Reason::AdmissionRefused, "{name}");
        assert!(words.contains("not on Fridays"), "{name}: {words}");
        assert_judged_in_time(&given_up, DEADLINE);
        let warned = world.until_event(&name, "AdmissionRefused").await;
        assert_eq!(warned.iter().filter(|event| *event == "Warning AdmissionRefused").count(), 1, "{name}: {warned:?}");
    }
}

#[tokio::test]
async fn a_webhook_that_denies_a_deletion_is_told_at_once_and_the_stop_goes_on_when_it_allows_it() {
    let world = World::audited("denies-deletions").await;
    let webhook = Webhook::start(&world, &["apps/deployments"], 5).await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("shop").await;
    webhook.answers(Admission::Denies(403, "Forbidden"));
    world.patch("shop", json!({ "spec": { "state": "Stopped" } })).await;

    let told = world.until_condition("shop", condition::RECONCILING, "True", "AdmissionRefused").await;
    let words = message(&told, condition::READY);
    assert!(words.starts_with("the stop is blocked: the API server refuses the Deployment: "), "{words}");
    assert!(words.contains("not on Fridays") && !words.contains("hange the field"), "{words}");
    webhook.answers(Admission::Allows);
    let stopped = world.until_phase("shop", Phase::Stopped, State::Stopped).await;
    assert!(is_true(&stopped, condition::READY));
}

#[tokio::test]
async fn a_webhook_that_is_away_holds_the_clock_names_itself_and_the_start_goes_on_when_it_is_back() {
    let world = World::audited("away").await;
    let webhook = Webhook::start(&world, &["apps/deployments"], 5).await;
    webhook.goes_away().await;
    let mut operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "startDeadline": "8s" }))).await;

    let told = world.until_condition("shop", condition::RECONCILING, "True", "WebhookUnavailable").await;

    let words = message(&told, condition::READY);
    assert!(
        words.contains(&format!("{}.example.com", world.namespace)) && !words.contains("hange the field"),
        "{words}"
    );
    let held = |gateway: &ApiGateway| gateway.status.as_ref().unwrap().attempt.as_ref().unwrap().held_since.clone();
    let since = held(&told);
    assert!(since.is_some(), "the clock is held");
    // Children that the webhook does not match are created.
    world.until::<Service>("shop", "created", |_| true).await;
    let mut stuck = crate::plugin::bare(&["get", "--stuck", "-n", &world.namespace]);
    let stuck = stuck.env("KUBECONFIG", &world.cluster.kubeconfig).output().unwrap();
    assert!(String::from_utf8_lossy(&stuck.stdout).contains("shop"), "{stuck:?}");

    // A new operator that starts after the deadline keeps the deadline paused since the same time.
    operator.kill();
    tokio::time::sleep(Duration::from_secs(8)).await;
    let _operator = world.operator();
    tokio::time::sleep(Duration::from_secs(6)).await;
    let still = world.gateway("shop").await;
    assert_eq!(path(&still), ["Starting/Running StartRequested"]);
    assert_eq!(held(&still), since);
    let warned = world.until_event("shop", "WebhookUnavailable").await;
    assert_eq!(warned.iter().filter(|event| event.ends_with("WebhookUnavailable")).count(), 1, "{warned:?}");

    webhook.comes_back().await;
    let back = Timestamp::now();
    let started = world.until_started("shop").await;
    assert_eq!(path(&started), STARTED);
    let went_on = Duration::try_from(Timestamp::now().duration_since(back)).unwrap();
    assert!(went_on < Duration::from_secs(30), "{went_on:?}");
}

#[tokio::test]
async fn a_webhook_that_does_not_answer_in_its_time_is_away() {
    let world = World::audited("slow-webhook").await;
    let webhook = Webhook::start(&world, &["apps/deployments"], 1).await;
    webhook.answers(Admission::Hangs);
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "startDeadline": "8s" }))).await;
    world.until_condition("shop", condition::RECONCILING, "True", "WebhookUnavailable").await;

    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(path(&world.gateway("shop").await), ["Starting/Running StartRequested"]);

    webhook.answers(Admission::Allows);
    assert_eq!(path(&world.until_started("shop").await), STARTED);
}

#[tokio::test]
async fn a_webhook_that_is_away_for_one_tenant_holds_nobody_elses_clock() {
    let world = World::audited("held-alone").await;
    let webhook = Webhook::start(&world, &["apps/deployments"], 5).await;
    webhook.goes_away().await;
    let beside = world.beside("not-held").await;
    let _operator = world.operator_with(&["--namespaces", &beside.namespace]);
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "startDeadline": "5s" }))).await;
    world.until_condition("shop", condition::RECONCILING, "True", "WebhookUnavailable").await;

    beside.apply(&gateway("fine", json!({ "image": "acme/gateway:1" }))).await;
    let broken = json!({ "image": "acme/unpullable:1", "startDeadline": "5s" });
    beside.apply(&gateway("broken", broken)).await;

    assert_eq!(path(&beside.until_started("fine").await), STARTED);
    let given_up = until_given_up(&beside, "broken").await;
    assert_judged_in_time(&given_up, Duration::from_secs(5));
    assert_eq!(path(&world.gateway("shop").await), ["Starting/Running StartRequested"]);
}

/// The webhook's timeout is ten seconds, longer than a leader may write without a renewal of its Lease.
#[tokio::test]
async fn a_webhook_that_takes_all_its_usual_time_is_named_by_a_leader_too() {
    let world = World::audited("usual-time").await;
    let webhook = Webhook::start(&world, &["apps/deployments"], 10).await;
    webhook.answers(Admission::Hangs);
    let _operator = world.candidate(&[]);
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    let told = world.until_condition("shop", condition::RECONCILING, "True", "WebhookUnavailable").await;
    assert!(told.status.unwrap().attempt.unwrap().held_since.is_some(), "the clock is held");
}

#[tokio::test]
async fn a_webhook_that_hangs_longer_than_a_call_may_take_is_told_and_the_deadline_holds() {
    const DEADLINE: Duration = Duration::from_secs(11);
    let world = World::audited("hangs").await;
    let webhook = Webhook::start(&world, &["apps/deployments"], 30).await;
    webhook.answers(Admission::Hangs);
    let _operator = world.operator_with(&["--call-timeout", "4s"]);
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "startDeadline": "11s" }))).await;

    let told = world.until_condition("shop", condition::RECONCILING, "True", "WriteUnanswered").await;
    assert!(message(&told, condition::READY).contains("did not respond within 4s"), "{told:?}");

    let given_up = until_given_up(&world, "shop").await;
    assert_judged_in_time(&given_up, DEADLINE);
    let (reason, words) = cause(&given_up);
    assert_eq!(reason, Reason::WriteUnanswered, "{words}");
    assert!(words.contains("the Deployment"), "{words}");
}

#[tokio::test]
async fn a_write_that_hangs_does_not_keep_an_attempt_from_being_judged() {
    let world = World::audited("hangs-on").await;
    let webhook = Webhook::start(&world, &["apps/deployments"], 30).await;
    webhook.answers(Admission::Hangs);
    let _operator = world.operator_with(&["--call-timeout", "60s"]);
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "startDeadline": "6s" }))).await;

    let given_up = until_given_up(&world, "shop").await;

    assert_judged_in_time(&given_up, Duration::from_secs(6));
    assert_eq!(cause(&given_up).0, Reason::WriteUnanswered);
}

#[tokio::test]
async fn a_pod_disruption_budget_that_is_refused_is_shown_until_it_is_there() {
    let world = World::audited("no-budget").await;
    let webhook = Webhook::start(&world, &["policy/poddisruptionbudgets"], 5).await;
    webhook.answers(Admission::Denies(403, "Forbidden"));
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "replicas": 2 }))).await;

    world.until_started("shop").await;
    let told = world.until_condition("shop", condition::RECONCILING, "True", "AdmissionRefused").await;
    assert!(!is_true(&told, condition::READY) && is_true(&told, condition::AVAILABLE), "{told:?}");
    let words = message(&told, condition::READY);
    assert!(words.contains("the PodDisruptionBudget") && words.contains("not on Fridays"), "{words}");
    let warned = world.until_event("shop", "AdmissionRefused").await;
    assert_eq!(warned.iter().filter(|event| *event == "Warning AdmissionRefused").count(), 1, "{warned:?}");

    webhook.answers(Admission::Allows);
    world.until::<PodDisruptionBudget>("shop", "created", |_| true).await;
    world.until_condition("shop", condition::READY, "True", "Started").await;
}

#[tokio::test]
async fn pods_whose_webhook_is_away_hold_the_clock_as_well() {
    let world = World::audited("pods-held").await;
    let webhook = Webhook::start(&world, &["/pods"], 5).await;
    webhook.goes_away().await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "startDeadline": "8s" }))).await;

    let told = world.until_condition("shop", condition::RECONCILING, "True", "WebhookUnavailable").await;
    assert!(message(&told, condition::READY).contains("the pods of the Deployment"), "{told:?}");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(path(&world.gateway("shop").await), ["Starting/Running StartRequested"]);

    webhook.comes_back().await;
    world.until_started("shop").await;
}

#[tokio::test]
async fn a_deletion_that_a_webhook_denies_as_not_found_is_no_deletion() {
    let world = World::audited("undeleted").await;
    let webhook = Webhook::start(&world, &["apps/deployments"], 5).await;
    let _operator = world.operator_with(&["--cleanup-stuck-after", "4s"]);
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("shop").await;
    webhook.answers(Admission::Denies(404, "NotFound"));

    world.patch("shop", json!({ "spec": { "state": "Stopped" } })).await;

    let stuck = world.until_condition("shop", condition::STALLED, "True", "CleanupStuck").await;
    let said = async || {
        let words = message(&world.gateway("shop").await, condition::STALLED);
        (words.contains("Deployment") && words.contains("not on Fridays")).then_some(())
    };
    assert!(eventually(Duration::from_millis(200), said).await.is_some(), "{stuck:?}");
    assert!(world.api::<Deployment>().get("shop").await.unwrap().metadata.deletion_timestamp.is_none());

    webhook.answers(Admission::Allows);
    world.until_phase("shop", Phase::Stopped, State::Stopped).await;
    assert_eq!(world.gateway("shop").await.name_any(), "shop");
}

#[tokio::test]
async fn a_webhook_of_environments_that_is_away_holds_the_clock_and_the_start_goes_on_when_it_is_back() {
    let world = World::audited("env-away").await;
    let webhook = Webhook::start(&world, &["phasegate.dev/environments/status"], 5).await;
    webhook.goes_away().await;
    let host = "eu.env-away.example.com";
    world.create::<Environment>(environment("dev", "shop", None)).await;
    world.create::<Environment>(environment("eu", "shop", Some(host))).await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "startDeadline": "5s" }))).await;

    let told = world.until_condition("shop", condition::RECONCILING, "True", "WebhookUnavailable").await;

    let words = message(&told, condition::READY);
    let webhook_name = format!("{}.example.com", world.namespace);
    assert!(words.contains("the status of Environment ") && words.contains(&webhook_name), "{words}");
    world.until_event_about("Environment", "eu", "WebhookUnavailable").await;
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(path(&world.gateway("shop").await), ["Starting/Running StartRequested"]);

    webhook.comes_back().await;
    assert_eq!(path(&world.until_started("shop").await), STARTED);
    for name in ["dev", "eu"] {
        world.until::<Environment>(name, "active", is_active).await;
    }
}

#[tokio::test]
async fn a_start_is_not_timed_out_by_a_webhook_of_its_own_status_that_is_away_for_longer_than_its_deadline() {
    const DEADLINE: Duration = Duration::from_secs(8);
    let world = World::audited("status-away").await;
    let webhook = Webhook::start(&world, &["phasegate.dev/apigateways/status"], 1).await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/never-ready:1", "startDeadline": "8s" }))).await;
    world.until_phase("shop", Phase::Starting, State::Running).await;
    webhook.answers(Admission::Hangs);
    // This change is not a request for a start, and the operator records its generation.
    world.patch("shop", json!({ "spec": { "replicas": 2 } })).await;
    world.until_event("shop", "WebhookUnavailable").await;
    tokio::time::sleep(Duration::from_secs(7)).await;
    webhook.answers(Admission::Allows);

    let given_up = until_given_up(&world, "shop").await;

    let status = given_up.status.as_ref().unwrap();
    let held = Duration::from_secs(status.attempt.as_ref().unwrap().held_seconds.unsigned_abs());
    assert!(held >= Duration::from_secs(5), "{held:?}");
    let history = transitions(&given_up);
    let took = Duration::try_from(history[1].0.duration_since(history[0].0)).unwrap();
    assert!(took + Duration::from_secs(1) >= DEADLINE + held, "it had {took:?}, of which {held:?} were held");
    let warned = world.until_event("shop", "WebhookUnavailable").await;
    assert_eq!(warned.iter().filter(|event| event.ends_with("WebhookUnavailable")).count(), 1, "{warned:?}");
}

#[tokio::test]
async fn while_an_update_of_the_deployment_is_refused_the_pods_that_stand_say_what_is_wrong_with_them_as_well() {
    let world = World::audited("both-told").await;
    let webhook = Webhook::start(&world, &["apps/deployments"], 5).await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/unpullable:1", "startDeadline": "120s" }))).await;
    world.until_condition("shop", condition::RECONCILING, "True", "ImagePullFailed").await;

    webhook.answers(Admission::Denies(403, "Forbidden"));
    world.patch("shop", json!({ "spec": { "image": "acme/unpullable:2" } })).await;

    let both = |gateway: &ApiGateway| {
        let words = message(gateway, condition::READY);
        words.starts_with("the API server refuses the Deployment: ")
            && words.contains("not on Fridays")
            && words.contains("; also, ")
            && words.contains("acme/unpullable:1")
    };
    let told = world.until("shop", "told of both", both).await;
    assert!(condition_is(&told, "AdmissionRefused"), "{told:?}");

    webhook.answers(Admission::Allows);
    world.until_condition("shop", condition::RECONCILING, "True", "ImagePullFailed").await;
}

fn condition_is(gateway: &ApiGateway, reason: &str) -> bool {
    let conditions = &gateway.status.as_ref().unwrap().conditions;
    conditions.iter().any(|found| found.type_ == condition::RECONCILING && found.reason == reason)
}
