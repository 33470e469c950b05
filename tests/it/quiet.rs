//! A fleet to which nothing happens causes no request but watches.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use crate::harness::{Requests, gateway, private_world};

#[tokio::test]
async fn fifty_quiet_gateways_cause_no_read_and_no_write_for_a_minute() {
    let world = private_world("quiet").await;
    let _operator = world.operator();
    let names: Vec<String> = (0..50).map(|number| format!("gw-{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        // Some are stopped, some failed, some serve.
        let spec = match number % 5 {
            0 => json!({ "image": "acme/gateway:1", "state": "Stopped" }),
            1 => json!({ "image": "acme/unpullable:1", "startDeadline": "2s" }),
            _ => json!({ "image": "acme/gateway:1", "host": format!("{name}.example.com"), "replicas": 2 }),
        };
        world.apply(&gateway(name, spec)).await;
    }
    for (number, name) in names.iter().enumerate() {
        match number % 5 {
            0 => drop(world.until_condition(name, "Ready", "True", "Stopped").await),
            1 => drop(world.until_condition(name, "Stalled", "True", "StartDeadlineExceeded").await),
            _ => drop(world.until_started(name).await),
        }
    }
    world.until_event("gw-1", "Stopped").await;
    settle(&world.client).await;

    let before = Requests::read(&world.client).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let after = Requests::read(&world.client).await;

    assert_eq!(after.since(&before), BTreeMap::new());
}

/// Waits until the other components, which finish their own work, are quiet too. The garbage
/// collector looks for new kinds every 30 seconds and then asks for every owner of that kind.
async fn settle(client: &kube::Client) {
    let mut every = tokio::time::interval(Duration::from_secs(5));
    let mut before = Requests::read(client).await;
    let mut quiet = 0;
    for _ in 0..40 {
        every.tick().await;
        let now = Requests::read(client).await;
        quiet = if now == before { quiet + 1 } else { 0 };
        if quiet == 7 {
            return;
        }
        before = now;
    }
    panic!("requests go on: {:?}", Requests::read(client).await.since(&before));
}
