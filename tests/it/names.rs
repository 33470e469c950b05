//! The operator never takes a name or a host from another owner.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::Ingress;
use phasegate::api::{ApiGateway, Phase, State, condition};
use serde_json::json;

use crate::harness::{World, gateway, is_true, path};

#[tokio::test]
async fn a_foreign_object_is_left_alone_and_the_gateway_starts_when_it_goes() {
    let world = World::new("name").await;
    let foreign = json!({ "metadata": { "name": "shop" }, "spec": { "ports": [{ "port": 9999 }] } });
    let theirs: Service = world.create(foreign).await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;

    let shop = world.until_condition("shop", condition::STALLED, "True", "NameTaken").await;
    assert_eq!(path(&shop), ["Created/Running NameTaken"]);
    assert_eq!(shop.status.as_ref().unwrap().attempt, None);
    assert!(!is_true(&shop, condition::READY));
    let now: Service = world.api().get("shop").await.unwrap();
    assert_eq!(now.metadata.resource_version, theirs.metadata.resource_version);
    assert_eq!(world.until_event("shop", "NameTaken").await, ["Warning NameTaken"]);

    world.api::<Service>().delete("shop", &Default::default()).await.unwrap();
    let shop = world.until_started("shop").await;
    assert_eq!(
        path(&shop),
        ["Created/Running NameTaken", "Starting/Running StartRequested", "Started/Running Started"]
    );
}

#[tokio::test]
async fn deleting_a_gateway_that_never_began_leaves_the_foreign_object_alone() {
    let world = World::new("peace").await;
    let foreign = json!({ "metadata": { "name": "shop" }, "spec": { "ports": [{ "port": 9999 }] } });
    let theirs: Service = world.create(foreign).await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    world.until_condition("shop", condition::STALLED, "True", "NameTaken").await;

    world.patch("shop", json!({ "spec": { "state": "Stopped" } })).await;
    world.until_phase("shop", Phase::Stopped, State::Stopped).await;
    world.delete("shop").await;

    let now: Service = world.api().get("shop").await.unwrap();
    assert_eq!(now.metadata.resource_version, theirs.metadata.resource_version);
}

#[tokio::test]
async fn the_second_gateway_on_a_host_waits_without_a_clock_until_the_first_goes() {
    let world = World::new("host").await;
    let _operator = world.operator();
    let spec = json!({ "image": "acme/gateway:1", "host": "one.example.com" });
    world.apply(&gateway("first", spec.clone())).await;
    world.until_started("first").await;
    world.apply(&gateway("second", spec)).await;

    let second = world.until_condition("second", condition::STALLED, "True", "HostTaken").await;
    assert_eq!(path(&second), ["Created/Running HostTaken"]);
    assert_eq!(second.status.unwrap().attempt, None);
    assert_eq!(world.api::<Ingress>().get_opt("second").await.unwrap(), None);

    world.delete("first").await;
    let second = world.until_started("second").await;
    assert_eq!(second.status.unwrap().attempt.unwrap().number, 1);
}

#[tokio::test]
async fn a_running_gateway_that_moves_to_a_taken_host_keeps_its_old_one() {
    let world = World::new("move").await;
    let _operator = world.operator();
    let on = |host: &str| json!({ "image": "acme/gateway:1", "host": host });
    world.apply(&gateway("old", on("old.move.example.com"))).await;
    world.apply(&gateway("live", on("live.move.example.com"))).await;
    world.until_started("old").await;
    world.until_started("live").await;

    world.patch("old", json!({ "spec": { "host": "live.move.example.com" } })).await;

    let old = world.until_condition("old", condition::STALLED, "True", "HostTaken").await;
    assert!(is_true(&old, condition::AVAILABLE));
    let ingress: Ingress = world.api().get("old").await.unwrap();
    assert_eq!(ingress.spec.unwrap().rules.unwrap()[0].host.as_deref(), Some("old.move.example.com"));
    world.delete("live").await;
    world
        .until("old", "the host that was freed", |old: &ApiGateway| {
            is_true(old, condition::READY) && old.status.as_ref().unwrap().hosts[0].host == "live.move.example.com"
        })
        .await;
    let ingress: Ingress = world.api().get("old").await.unwrap();
    assert_eq!(ingress.spec.unwrap().rules.unwrap()[0].host.as_deref(), Some("live.move.example.com"));
}

#[tokio::test]
async fn an_operator_of_a_shard_works_on_its_own_gateways_and_respects_the_others_hosts() {
    let world = World::new("shard").await;
    let labelled = |name: &str, shard: &str| {
        let mut gateway = gateway(name, json!({ "image": "acme/gateway:1", "host": "shard.example.com" }));
        gateway["metadata"]["labels"] = json!({ "shard": shard });
        gateway
    };
    let theirs = world.operator_with(&["--selector", "shard=b"]);
    world.apply(&labelled("theirs", "b")).await;
    world.until_started("theirs").await;
    drop(theirs);

    let _operator = world.operator_with(&["--selector", "shard=a"]);
    world.apply(&labelled("mine", "a")).await;

    world.until_condition("mine", condition::STALLED, "True", "HostTaken").await;
    world.patch("theirs", json!({ "spec": { "state": "Stopped", "host": null } })).await;
    // No operator reconciles the other shard now, so its claim stays and its gateway does not change.
    world.patch("mine", json!({ "spec": { "host": "mine.shard.example.com" } })).await;
    world.until_started("mine").await;
    assert_eq!(world.gateway("theirs").await.status.unwrap().phase, Some(Phase::Started));
}
