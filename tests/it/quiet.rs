//! An idle fleet causes no requests except watches.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use crate::harness::{EventSink, Requests, SETTLED, World, gateway, private_world};

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

    let before = Requests::settle(&world.client).await;
    tokio::time::sleep(Duration::from_secs(60) - SETTLED).await;
    let after = Requests::read(&world.client).await;

    assert_eq!(after.since(&before), BTreeMap::new());
}

/// Other components write too, but only the operator creates these kinds here, and only it sends PUTs for ApiGateways.
#[tokio::test]
async fn a_start_costs_five_writes_one_event_and_no_read() {
    let world = private_world("cost").await;
    let _operator = world.operator();
    starts_cost_five_writes(&world).await;
}

/// The status is the outbox, so that events add only the positions, which are written every few seconds at most.
#[tokio::test]
async fn a_start_costs_the_same_with_a_sink_of_events() {
    let world = private_world("cost-sink").await;
    let sink = EventSink::start().await;
    let _operator = world.sender(sink.url(), &[]);
    starts_cost_five_writes(&world).await;
    sink.until("two events of each start", |received| received.len() >= 42).await;
}

async fn starts_cost_five_writes(world: &World) {
    const GATEWAYS: u64 = 20;
    let apply = async |name: &str| {
        let spec = json!({ "image": "acme/gateway:1", "host": format!("{name}.example.com") });
        world.apply(&gateway(name, spec)).await;
    };
    // Costs of the first gateway are not part of a start: lists, and what other components must discover.
    apply("first").await;
    world.until_event("first", "Started").await;
    let before = Requests::read(&world.client).await;
    for number in 0..GATEWAYS {
        apply(&format!("gw-{number}")).await;
    }
    for number in 0..GATEWAYS {
        world.until_started(&format!("gw-{number}")).await;
    }

    // Read the counts before this test itself requests Events.
    let counted = Requests::read(&world.client).await.since(&before);

    let count = |verb: &str, resource: &str| counted.get(&(verb.to_owned(), resource.to_owned())).copied().unwrap_or(0);
    assert_eq!(count("PUT", "apigateways"), 2 * GATEWAYS, "Starting and Started: {counted:?}");
    assert_eq!(count("POST", "deployments"), GATEWAYS);
    assert_eq!(count("POST", "services"), GATEWAYS);
    assert_eq!(count("POST", "ingresses"), GATEWAYS);
    // The garbage collector gets each new owner once, and controllers get their own ServiceAccounts.
    assert!(count("GET", "apigateways") <= GATEWAYS, "{counted:?}");
    let is_others =
        |verb: &str, resource: &str| verb == "GET" && ["apigateways", "serviceaccounts"].contains(&resource);
    let is_read = |verb: &str| ["GET", "LIST"].contains(&verb);
    let reads = counted.iter().filter(|((verb, resource), _)| is_read(verb) && !is_others(verb, resource));
    assert_eq!(reads.collect::<Vec<_>>(), []);
    for number in 0..GATEWAYS {
        assert_eq!(world.until_event(&format!("gw-{number}"), "Started").await, ["Normal Started"]);
    }
}
