//! Starts, stops and failed starts.

use phasegate_core::api::{Environment, Phase, State};
use phasegate_harness::{environment, gateway, is_active, path};
use phasegate_temporal::client;
use phasegate_temporal::cluster::GatewayRef;
use phasegate_temporal::workflow::{End, Job};
use serde_json::json;

use crate::setup::{Setup, end, record};

const DEADLINE: u64 = 300;

#[tokio::test]
async fn a_gateway_comes_to_started_with_its_environments_and_a_signal_stops_it() {
    let setup = Setup::new("started").await;
    let world = &setup.world;
    let _worker = setup.worker("worker-a");
    world.create::<Environment>(environment("dev", "shop", Some("dev.shop.example.com"))).await;
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "host": "shop.example.com" }))).await;

    let handle = setup.start("shop", DEADLINE).await;
    world.until_started("shop").await;
    world.until::<Environment>("dev", "Active", is_active).await;
    let children = world.children().await;
    for child in ["Deployment shop", "Service shop", "Ingress shop"] {
        assert!(children.iter().any(|found| found == child), "{child} is missing: {children:?}");
    }

    world.patch("shop", json!({ "spec": { "state": "Stopped" } })).await;
    client::stop(&handle).await.unwrap();
    assert_eq!(end(&handle).await, End::Stopped);
    assert_eq!(world.children().await, Vec::<String>::new());
    world.until_phase("shop", Phase::Stopped, State::Stopped).await;
    world.until::<Environment>("dev", "Inactive", |environment| !is_active(environment)).await;
    record(&handle, "started-and-stopped.json").await;
}

#[tokio::test]
async fn a_missing_image_fails_at_the_deadline_and_nothing_is_left() {
    let setup = Setup::new("missing-image").await;
    let world = &setup.world;
    let _worker = setup.worker("worker-a");
    world.apply(&gateway("shop", json!({ "image": "acme/unpullable:1", "host": "shop.example.com" }))).await;

    let handle = setup.start("shop", 10).await;
    let cause = "the start deadline of 10 s passed; missing: available pods";
    assert_eq!(end(&handle).await, End::Failed(cause.to_owned()));
    assert_eq!(world.children().await, Vec::<String>::new());
    let shop = world.until_phase("shop", Phase::Stopped, State::Stopped).await;
    let steps =
        ["Starting/Running StartRequested", "Stopping/Stopped StartDeadlineExceeded", "Stopped/Stopped Stopped"];
    assert_eq!(path(&shop), steps);
    assert_eq!(shop.status.unwrap().last_failure.unwrap().message, cause);
    record(&handle, "missing-image.json").await;
}

#[tokio::test]
async fn a_stop_in_the_middle_of_a_start_leaves_nothing_and_a_second_start_meanwhile_is_refused() {
    let setup = Setup::new("stopped-midway").await;
    let world = &setup.world;
    let _worker = setup.worker("worker-a");
    world.apply(&gateway("shop", json!({ "image": "acme/never-ready:1" }))).await;

    let handle = setup.start("shop", DEADLINE).await;
    world.until_phase("shop", Phase::Starting, State::Running).await;
    let shop = GatewayRef { namespace: world.namespace.clone(), name: "shop".to_owned() };
    let again = Job { gateway: shop, deadline_seconds: DEADLINE };
    let refused = client::start(&setup.client, &world.namespace, again).await.err().unwrap();
    assert!(format!("{refused:#}").contains("already"), "{refused:#}");

    client::stop(&handle).await.unwrap();
    assert_eq!(end(&handle).await, End::Stopped);
    assert_eq!(world.children().await, Vec::<String>::new());
    let shop = world.gateway("shop").await;
    assert_eq!(shop.status.unwrap().last_failure, None);
}
