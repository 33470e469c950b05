//! Of several operators one writes, and another takes over.

use k8s_openapi::api::coordination::v1::Lease;
use phasegate::api::{ApiGateway, Phase};
use serde_json::json;

use crate::harness::{Operator, World, gateway, path, until};

fn candidate(world: &World) -> Operator {
    world.candidate(&["--lease-duration", "3s"])
}

fn holder(lease: &Lease) -> Option<String> {
    lease.spec.as_ref()?.holder_identity.clone()
}

async fn until_led(world: &World) -> String {
    let lease = until(world.leases(), &world.namespace, "a leader", |lease| holder(lease).is_some()).await;
    holder(&lease).unwrap()
}

#[tokio::test]
async fn of_two_operators_one_leads_and_the_other_takes_over_when_it_is_killed() {
    let world = World::new("leader").await;
    let mut first = candidate(&world);
    let leader = until_led(&world).await;
    let _second = candidate(&world);
    world.apply(&gateway("before", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("before").await;
    assert_eq!(until_led(&world).await, leader);

    first.kill();
    world.apply(&gateway("after", json!({ "image": "acme/gateway:1" }))).await;

    let after = world.until_started("after").await;
    assert_eq!(path(&after), ["Starting/Running StartRequested", "Started/Running Started"]);
    assert_ne!(until_led(&world).await, leader);
    let before = world.gateway("before").await;
    assert_eq!(path(&before), ["Starting/Running StartRequested", "Started/Running Started"]);
}

#[tokio::test]
async fn a_leader_that_is_told_to_end_lets_go_at_once() {
    let world = World::new("release").await;
    let mut first = candidate(&world);
    until_led(&world).await;

    first.end();

    let lease = world.leases().get(&world.namespace).await.unwrap();
    assert_eq!(holder(&lease), None);
}

/// Somebody else's Lease, held for as long as it is renewed.
#[tokio::test]
async fn an_operator_that_does_not_lead_writes_nothing() {
    let world = World::new("standby").await;
    let lease = json!({
        "metadata": { "name": world.namespace },
        "spec": { "holderIdentity": "somebody", "leaseDurationSeconds": 6 },
    });
    world.leases().create(&Default::default(), &serde_json::from_value(lease).unwrap()).await.unwrap();
    let gateway = world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;

    let _operator = candidate(&world);

    // Not renewed any more, the Lease is free after its six seconds, and not before.
    let another = |lease: &Lease| holder(lease).as_deref() != Some("somebody");
    let lease = until(world.leases(), &world.namespace, "another leader", another).await;
    let waited = lease.spec.unwrap().acquire_time.unwrap().0 - gateway.metadata.creation_timestamp.unwrap().0;
    assert!(waited.get_seconds() >= 5, "{waited:?}");
    let started = world
        .until("shop", "Started", |shop: &ApiGateway| {
            shop.status.as_ref().is_some_and(|status| status.phase == Some(Phase::Started))
        })
        .await;
    let began = started.status.unwrap().history[0].at.0 - started.metadata.creation_timestamp.unwrap().0;
    assert!(began.get_seconds() >= 5, "{began:?}");
}
