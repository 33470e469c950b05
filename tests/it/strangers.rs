//! One bad object never stops the others, and is reported.

use phasegate::api::{ApiGateway, condition};
use serde_json::json;

use crate::harness::{World, gateway, is_true};

#[tokio::test]
async fn an_unknown_phase_is_reported_and_nothing_is_done() {
    let world = World::new("future").await;
    world.apply(&gateway("future", json!({ "image": "acme/gateway:1" }))).await;
    world
        .patch_status("future", json!({ "status": { "phase": "Levitating", "state": "Running", "transitions": 7 } }))
        .await;
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;

    let _operator = world.operator();

    world.until_started("shop").await;
    let future = world.until_condition("future", condition::STALLED, "True", "UnknownPhase").await;
    let status = future.status.unwrap();
    assert_eq!((status.phase.unwrap().as_str(), status.transitions), ("Levitating", 7));
    let children = world.children().await;
    assert!(!children.iter().any(|child| child.ends_with(" future")), "{children:?}");
    assert_eq!(world.until_event("future", "UnknownPhase").await, ["Warning UnknownPhase"]);
}

/// A time that the API server's date format allows and no clock knows.
#[tokio::test]
async fn a_garbled_status_is_reported_and_healed_by_whoever_corrects_it() {
    let world = World::new("garbled").await;
    let mut operator = world.operator();
    world.apply(&gateway("garbled", json!({ "image": "acme/gateway:1" }))).await;
    let garbled = world.until_started("garbled").await;
    operator.kill();
    let good = garbled.status.unwrap().attempt.unwrap().started_at;
    let bad = json!({ "status": { "attempt": { "startedAt": "9999-12-31T23:59:59.000000-23:59" } } });
    world.patch_status("garbled", bad).await;
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;

    let _operator = world.operator();

    world.until_started("shop").await;
    let events = world.until_event("garbled", "Undecodable").await;
    assert!(events.contains(&"Warning Undecodable".to_owned()), "{events:?}");
    let shown =
        world.kubectl(&["get", "agw", "garbled", "-o", "jsonpath={.status.conditions[?(@.type=='Stalled')].reason}"]);
    assert_eq!(String::from_utf8_lossy(&shown.stdout), "Undecodable");
    world.patch_status("garbled", json!({ "status": { "attempt": { "startedAt": good } } })).await;
    world.until("garbled", "good order", |gateway: &ApiGateway| is_true(gateway, condition::READY)).await;
}
