//! `replay` makes the recorded decisions about a gateway again.

use phasegate::api::{ApiGateway, Phase, State};
use serde_json::{Value, json};

use super::{assert_snapshot, bare, masked, said};
use crate::harness::{World, gateway};

/// A gateway that timed out, was retried automatically, timed out again, was corrected and stopped.
async fn whole_life(world: &World) -> ApiGateway {
    let retries = json!({ "limit": 1, "backoff": "1s" });
    let spec = json!({ "image": "acme/unpullable:1", "startDeadline": "2s", "startRetries": retries });
    world.apply(&gateway("shop", spec)).await;
    let tried_twice = |shop: &ApiGateway| {
        let status = shop.status_or_default();
        status.phase == Some(Phase::Stopped) && status.attempt.is_some_and(|attempt| attempt.number == 2)
    };
    world.until::<ApiGateway>("shop", "stopped after its retry", tried_twice).await;
    world.patch("shop", json!({ "spec": { "image": "acme/gateway:1", "startDeadline": "1m" } })).await;
    world.until_started("shop").await;
    world.patch("shop", json!({ "spec": { "state": "Stopped" } })).await;
    world.until_phase("shop", Phase::Stopped, State::Stopped).await
}

#[tokio::test]
async fn the_history_of_a_life_is_decided_again_without_a_difference_and_an_edited_entry_is_reported() {
    let world = World::new("replay").await;
    let mut operator = world.operator();
    let shop = whole_life(&world).await;
    operator.end();

    assert_snapshot("replay", &masked(&world, &said(&world, &["replay", "shop"]).await.ok()));
    let json = async |arguments: &[&str]| -> Value {
        let arguments = [&["replay", "shop", "-o", "json"], arguments].concat();
        serde_json::from_str(&said(&world, &arguments).await.ok()).unwrap()
    };
    let all = json(&[]).await;
    let decisions = all["decisions"].as_array().unwrap();
    let status = shop.status.unwrap();
    assert_eq!((all["name"].as_str(), decisions.len()), (Some("shop"), status.history.len()));
    for (decision, recorded) in decisions.iter().zip(&status.history) {
        assert_eq!((&decision["verdict"], &decision["why"]), (&json!("same"), &Value::Null), "{decision}");
        assert_eq!(decision["recorded"], decision["decided"], "{decision}");
        assert_eq!(decision["recorded"]["reason"], recorded.reason.as_str());
        assert_eq!((&decision["asked"], decision["row"].is_string()), (&Value::Null, true), "{decision}");
    }

    let second = &status.history[1];
    let then = json(&["--at", &second.at.0.to_string()]).await;
    assert_eq!(then["held"]["phase"], "Started");
    assert_eq!((&then["held"]["state"], &then["held"]["seconds"]), (&json!("Stopped"), &json!(0)));
    assert_eq!(then["decisions"].as_array().unwrap().iter().map(|one| &one["number"]).collect::<Vec<_>>(), [2]);
    let early = said(&world, &["replay", "shop", "--at", "2020-01-01T00:00:00Z"]).await.failed(1);
    assert!(early.contains("no transition is recorded until 2020-01-01T00:00:00Z"), "{early}");
    said(&world, &["replay", "other"]).await.failed(4);

    // A start that is recorded as complete, although its attempt timed out.
    let mut edited = status.history.clone();
    edited[1].state = State::Running;
    edited[1].reason = phasegate::api::Reason::Started;
    world.patch_status("shop", json!({ "status": { "history": edited } })).await;
    let told = said(&world, &["replay", "shop"]).await.different();
    assert!(told.contains(&format!("ApiGateway {}/shop, first #3", world.namespace)), "{told}");
    assert!(told.starts_with("error: ") && told.contains("\nhint: "), "{told}");
}

#[test]
fn a_log_without_transitions_or_a_wrong_time_is_refused_with_a_hint() {
    let refused = |arguments: &[&str]| super::RouteVerdict::from(bare(arguments).output().unwrap()).failed(1);
    let mut told = Vec::new();
    for arguments in [
        &["replay"] as &[&str],
        &["replay", "--log", "-"],
        &["replay", "--log", "/nowhere"],
        &["replay", "shop", "--at", "yesterday"],
    ] {
        told.push(format!("$ kubectl phasegate {}\n{}", arguments.join(" "), refused(arguments)));
    }
    assert_snapshot("replay-errors", &told.concat());
}
