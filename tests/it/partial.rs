//! The pods that serve are not stopped when a start is only partly available at its deadline.

use k8s_openapi::api::core::v1::ResourceQuota;
use phasegate::api::{ApiGateway, Environment, Phase, Reason, State, condition};
use serde_json::json;

use crate::harness::{Health, STARTED, World, environment, gateway, is_active, is_true, message, path};
use crate::plugin::said;

const SERVES_ON: [&str; 2] = [STARTED[0], "Started/Running StartDeadlineExceeded"];
const TIMED_OUT: [&str; 4] = [
    STARTED[0],
    "Started/Stopped StartDeadlineExceeded",
    "Stopping/Stopped StartDeadlineExceeded",
    "Stopped/Stopped Stopped",
];

/// The gateway requests four pods, and the namespace's quota allows three.
async fn three_of_four(world: &World) {
    world.quota("room", json!({ "pods": "3" })).await;
    world.create::<Environment>(environment("dev", "shop", Some("dev.partial.example.com"))).await;
    let spec =
        json!({ "image": "acme/gateway:1", "replicas": 4, "startDeadline": "12s", "host": "partial.example.com" });
    world.apply(&gateway("shop", spec)).await;
}

#[tokio::test]
async fn a_start_with_pods_that_serve_is_not_stopped_at_its_deadline_and_completes_by_itself() {
    let world = World::new("partial").await;
    let health = Health::reserve();
    let _operator = world.operator_with(&["--http-bind", &health.address()]);
    let mut gateways = world.record::<ApiGateway>("shop").await;
    three_of_four(&world).await;

    let shop = world.until_condition("shop", condition::STALLED, "True", "StartDeadlineExceeded").await;
    let status = shop.status.clone().unwrap();
    assert_eq!((status.phase, status.state), (Some(Phase::Started), Some(State::Running)));
    assert_eq!(path(&shop), SERVES_ON);
    assert!(is_true(&shop, condition::AVAILABLE) && !is_true(&shop, condition::READY));
    assert!(!is_true(&shop, condition::RECONCILING));
    let failure = status.last_failure.unwrap();
    assert_eq!((failure.reason, failure.attempt), (Reason::QuotaExceeded, 1));
    let words = message(&shop, condition::READY);
    assert!(words.contains("the available pods keep serving") && words.contains("exceeded quota"), "{words}");
    assert_eq!(status.url.as_deref(), Some("http://partial.example.com/"));
    world.until::<Environment>("dev", "active", is_active).await;
    let events = world.until_event("shop", "StartDeadlineExceeded").await;
    assert_eq!(events.iter().filter(|event| **event == "Warning StartDeadlineExceeded").count(), 1, "{events:?}");
    let counted = "phasegate_start_timeouts_total{reason=\"QuotaExceeded\"} 1";
    let failing = "phasegate_gateways_failing{reason=\"QuotaExceeded\"} 1";
    health.until("/metrics", 200, &[counted, failing, "phasegate_gateways_given_up 0"]).await;
    let waited = said(&world, &["wait", "shop", "--for", "available", "--timeout", "5s"]).await;
    let words = waited.failed(2);
    assert!(
        words.contains("serves, but its start did not complete within its deadline: the namespace's quota"),
        "{words}"
    );
    let stuck = said(&world, &["get", "--stuck"]).await.ok();
    assert!(stuck.contains("shop"), "{stuck}");

    let room = json!({ "spec": { "hard": { "pods": "9" } } });
    world.patch_object::<ResourceQuota>("room", room).await;
    let shop = world.until_condition("shop", condition::READY, "True", "Started").await;
    assert_eq!(path(&shop), SERVES_ON, "no other attempt began");
    assert_eq!(shop.status.as_ref().unwrap().attempt.as_ref().unwrap().number, 1);
    assert_eq!(shop.status.as_ref().unwrap().last_failure, None);
    assert!(!is_true(&shop, condition::STALLED));
    let seen = gateways.up_to(&shop).await;
    let serving = seen.iter().skip_while(|shop| !is_true(shop, condition::AVAILABLE));
    assert!(serving.clone().count() >= 2 && serving.into_iter().all(|shop| is_true(shop, condition::AVAILABLE)));
    said(&world, &["wait", "shop", "--for", "available", "--timeout", "5s"]).await.ok();
}

#[tokio::test]
async fn with_the_strict_rule_a_start_that_is_not_complete_is_stopped() {
    let world = World::new("strict").await;
    let _operator = world.operator_with(&["--stop-partial-starts"]);
    three_of_four(&world).await;

    let shop = world.until_phase("shop", Phase::Stopped, State::Stopped).await;
    assert_eq!(path(&shop), TIMED_OUT);
    assert_eq!(shop.status.unwrap().last_failure.unwrap().reason, Reason::QuotaExceeded);
    assert_eq!(world.children().await, Vec::<String>::new());
}

#[tokio::test]
async fn pods_that_are_available_and_that_no_traffic_reaches_do_not_serve() {
    let world = World::new("unreached").await;
    let _operator = world.operator();
    world.quota("shut", json!({ "count/services": "0" })).await;
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "startDeadline": "6s" }))).await;

    let shop = world.until_phase("shop", Phase::Stopped, State::Stopped).await;
    assert_eq!(path(&shop), TIMED_OUT);
    assert_eq!(shop.status.unwrap().last_failure.unwrap().reason, Reason::QuotaExceeded);
}
