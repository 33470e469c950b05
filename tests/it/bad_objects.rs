//! One bad object never stops the others, and is reported.

use std::time::{Duration, Instant};

use k8s_openapi::api::events::v1::Event;
use kube::api::{ListParams, Patch, PatchParams};
use phasegate::api::{ApiGateway, Environment, Phase, State, condition};
use phasegate::cluster::calls::Object;
use serde_json::{Value, json};

use crate::harness::{World, environment, eventually, gateway, is_true};

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

/// The timestamp is valid in the API server's date-time format, but out of range for the operator.
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

/// Overwrites a status as another field manager, `times` times, each time after the operator has reverted it. Returns
/// the elapsed time.
async fn rival<K: Object>(
    world: &World,
    name: &str,
    times: usize,
    theirs: impl Fn(&Value) -> Option<Value>,
) -> Duration {
    let api = world.api::<K>();
    let params = PatchParams { field_manager: Some("rival".to_owned()), ..PatchParams::default() };
    let begun = Instant::now();
    for _ in 0..times {
        let is_ours = eventually(Duration::from_millis(20), async || {
            let object = serde_json::to_value(api.get(name).await.ok()?).unwrap();
            theirs(&object["status"])
        });
        let patch = json!({ "status": is_ours.await.expect("the status is put back") });
        api.patch_status(name, &params, &Patch::Merge(patch)).await.unwrap();
    }
    begun.elapsed()
}

/// The operator reverts the status three times at once, then after 2 s and after 4 s. This backoff delays no start.
#[tokio::test]
async fn a_status_that_somebody_else_writes_as_well_is_put_back_ever_more_seldom_and_they_are_named() {
    let world = World::new("rivals").await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    world.create::<Environment>(environment("dev", "shop", None)).await;
    world.until_started("shop").await;
    let not_ready = |status: &Value| {
        let mut conditions = status["conditions"].clone();
        let ready = conditions.as_array_mut()?.iter_mut().find(|condition| condition["type"] == "Ready")?;
        let was = std::mem::replace(&mut ready["status"], json!("False"));
        (was == "True").then(|| json!({ "conditions": conditions }))
    };
    let inactive = |status: &Value| (status["state"] == "Active").then(|| json!({ "state": "Inactive" }));
    let (of_gateway, of_environment) = tokio::join!(
        rival::<ApiGateway>(&world, "shop", 6, not_ready),
        rival::<Environment>(&world, "dev", 6, inactive),
    );
    for took in [of_gateway, of_environment] {
        assert!(took >= Duration::from_secs(6), "{took:?}");
    }
    for (kind, name) in [("ApiGateway", "shop"), ("Environment", "dev")] {
        assert!(world.until_event_about(kind, name, "Contested").await.contains(&"Warning Contested".to_owned()));
        let events = world.api::<Event>().list(&ListParams::default()).await.unwrap();
        let about =
            |event: &&Event| event.regarding.as_ref().is_some_and(|object| object.name.as_deref() == Some(name));
        let notes: Vec<_> = events.iter().filter(about).filter_map(|event| event.note.as_deref()).collect();
        let named = "another client (rival) changes the status each time the operator writes it.";
        assert!(notes.iter().any(|note| note.starts_with(named)), "{notes:?}");
    }
    // A change of the spec is reconciled at once, despite the backoff.
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "state": "Stopped" }))).await;
    world.until_phase("shop", Phase::Stopped, State::Stopped).await;
}
