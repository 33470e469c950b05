//! Requests reach the pods of the gateway that holds the host, through a real ingress controller.

use k8s_openapi::api::core::v1::Pod;
use phasegate::api::{ApiGateway, Environment, Phase, State, condition};
use phasegate_harness::is_active;
use serde_json::json;

use crate::client::Client;
use crate::ground::{containers, host, pods, restarts, serving, world};
use crate::harness::{World, environment, eventually, path};

#[tokio::test]
async fn a_request_for_its_host_and_for_each_environments_host_arrives_at_a_pod_of_the_gateway() {
    let (world, _undisturbed) = world("arriving").await;
    let client = Client::silent(&world).await;
    let (shop, dev, other) = (host(&world, "shop"), host(&world, "dev"), host(&world, "other"));
    let env = json!([{ "name": "ECHO_TENANT", "value": "acme" }]);
    world.apply(&serving("shop", json!({ "host": shop, "replicas": 2, "env": env }))).await;
    world.create::<Environment>(environment("dev", "shop", Some(&dev))).await;

    let started = world.until_condition("shop", condition::AVAILABLE, "True", "Started").await;

    assert_eq!(path(&started), ["Starting/Running StartRequested", "Started/Running Started"]);
    world.until::<Environment>("dev", "active", is_active).await;
    for host in [&shop, &dev] {
        let seen = client.until_answered(host, 200).await.seen();
        assert_eq!((&seen["host"], &seen["variables"]["ECHO_TENANT"]), (&json!(host), &json!("acme")));
        let pod = seen["pod"].as_str().unwrap();
        world.api::<Pod>().get(pod).await.unwrap();
        assert!(pod.starts_with("shop-"), "{seen}");
    }
    assert_eq!(client.ask(&other).await.status, 404);

    world.api::<Environment>().delete("dev", &Default::default()).await.unwrap();
    client.until_answered(&dev, 404).await;
    assert_eq!(client.ask(&shop).await.status, 200);
}

/// While a gateway stops, clients receive 404 without a route. A route to terminated pods would give them errors.
#[tokio::test]
async fn when_a_gateway_stops_requests_stop_arriving_before_its_pods_end() {
    let (world, _undisturbed) = world("traffic").await;
    let shop = host(&world, "shop");
    world.apply(&serving("shop", json!({ "host": shop, "replicas": 2 }))).await;
    world.until_started("shop").await;
    let client = Client::of_host(&world, &shop).await;
    client.until_answered(&shop, 200).await;

    let before = client.answers().await;
    world.patch("shop", json!({ "spec": { "state": "Stopped" } })).await;
    world.until_phase("shop", Phase::Stopped, State::Stopped).await;
    client.until_answered(&shop, 404).await;
    client.until_answered_since(&before, 500).await.are_only(&["200", "404"], &before);

    // A controller may respond with an error of its own while no pod is ready yet.
    world.patch("shop", json!({ "spec": { "state": "Running" } })).await;
    world.until_started("shop").await;
    client.until_answered(&shop, 200).await;

    let before = client.answers().await;
    world.delete("shop").await;
    world.until_nothing_is_left().await;
    client.until_answered(&shop, 404).await;
    client.until_answered_since(&before, 500).await.are_only(&["200", "404"], &before);
}

/// The program takes longer than its liveness probe allows. It needs only a sufficient start deadline. The operator warns
/// after half of it, and pulling and starting the pod takes some of that.
#[tokio::test]
async fn a_program_that_takes_its_time_to_listen_starts_and_is_not_warned_about() {
    let (world, _undisturbed) = world("slow").await;
    for (name, takes, deadline) in [("steady", "20s", "120s"), ("slow", "50s", "240s")] {
        let env = json!([{ "name": "LISTEN_AFTER", "value": takes }]);
        world.apply(&serving(name, json!({ "env": env, "startDeadline": deadline }))).await;
    }

    for name in ["steady", "slow"] {
        let started: ApiGateway = world.until_started(name).await;

        assert_eq!(started.status.as_ref().unwrap().last_failure, None, "{name}");
        assert_eq!(started.status.unwrap().attempt.unwrap().number, 1, "{name}");
        assert_eq!(restarts(&world, name).await, 0, "{name}");
        let events = world.until_event(name, "Started").await;
        assert!(events.iter().all(|event| event.starts_with("Normal ")), "{name}: {events:?}");
    }
}

/// Also checks the nodes, because containers of deleted pods may still run there.
pub async fn nothing_is_left(world: &World) {
    world.until_nothing_is_left().await;
    let gone = eventually(crate::ground::OFTEN, async || containers(world).await.is_empty().then_some(())).await;
    assert!(gone.is_some(), "the nodes still have {}", containers(world).await);
}

#[tokio::test]
async fn a_deleted_gateway_leaves_nothing_behind_not_even_a_container() {
    let (world, _undisturbed) = world("deleted").await;
    world.apply(&serving("shop", json!({ "host": host(&world, "shop"), "replicas": 2 }))).await;
    world.create::<Environment>(environment("dev", "shop", Some(&host(&world, "dev")))).await;
    world.apply(&serving("broken", json!({ "command": ["/no/such/program"] }))).await;
    world.until_started("shop").await;
    world.until_condition("broken", condition::READY, "False", "CrashLoop").await;
    assert!(!containers(&world).await.is_empty());

    world.delete("shop").await;
    world.delete("broken").await;

    nothing_is_left(&world).await;
    assert_eq!(pods(&world, "shop").await.len(), 0);
}
