//! A tenant's cheap write causes few writes by the operator, and tenants cannot inflate what the operator writes.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::ResourceExt;
use phasegate::api::{ApiGateway, Phase, condition};
use serde_json::json;

use crate::harness::{Proxy, STARTED, World, eventually, gateway, path};

/// The number of gateways that wait for one host.
fn waiters() -> usize {
    std::env::var("PHASEGATE_WAITERS").map_or(100, |count| count.parse().unwrap())
}

async fn started(world: &World) -> Vec<String> {
    let gateways = world.api::<ApiGateway>().list(&Default::default()).await.unwrap();
    let serves =
        |gateway: &ApiGateway| gateway.status.as_ref().is_some_and(|status| status.phase == Some(Phase::Started));
    gateways.into_iter().filter(serves).map(|gateway| gateway.name_any()).collect()
}

#[tokio::test]
async fn of_many_that_wait_for_a_host_only_who_gets_it_is_written_when_it_changes_hands() {
    const TURNS: usize = 5;
    let (world, waiters) = (World::new("waiters").await, waiters());
    let on =
        |name: &str| gateway(name, json!({ "image": "acme/gateway:1", "replicas": 0, "host": "waiters.example.com" }));
    let proxy = Proxy::start(&world.cluster.operator_kubeconfig()).await;
    let _operator = world.operator_as(proxy.kubeconfig(), &[]);
    world.apply(&on("holder")).await;
    world.until_started("holder").await;
    for number in 0..waiters {
        world.apply(&on(&format!("waits-{number:04}"))).await;
    }
    for number in 0..waiters {
        world.until_condition(&format!("waits-{number:04}"), condition::STALLED, "True", "HostTaken").await;
    }

    let writes = || proxy.count(|asked| asked.is_write());
    let before = writes();
    let of = |name: &str| proxy.count(|asked| asked.is_write() && asked.is_of("apigateways") && asked.name == name);
    let names = (0..waiters).map(|number| format!("waits-{number:04}"));
    // Those that never get the host.
    let mut idle: BTreeMap<String, usize> = names.map(|name| (name.clone(), of(&name))).collect();
    let mut holder = "holder".to_owned();
    for _ in 0..TURNS {
        let drops = json!({ "spec": { "host": null } });
        world.patch(&holder, drops).await;
        let heir = eventually(Duration::from_millis(200), async || {
            started(&world).await.into_iter().find(|name| *name != holder)
        });
        let heir = heir.await.expect("somebody has it next");
        idle.remove(&heir);
        world.until_condition(&heir, condition::READY, "True", "Started").await;
        world.patch(&holder, json!({ "spec": { "host": "waiters.example.com" } })).await;
        world.until_condition(&holder, condition::STALLED, "True", "HostTaken").await;
        // The old holder stops, so that only one gateway serves.
        world.patch(&holder, json!({ "spec": { "state": "Stopped" } })).await;
        let stopped = |gateway: &ApiGateway| gateway.status.as_ref().unwrap().phase == Some(Phase::Stopped);
        world.until(&holder, "stopped", stopped).await;
        holder = heir;
    }

    for (name, before) in &idle {
        assert_eq!(of(name), *before, "{name} waits and is written");
    }
    // A gateway that starts costs five writes and an Event. One that releases a host, waits and stops costs about ten
    // more. Conflicts on a busy machine add a few. If each that waits were written, a change would cost a hundred more.
    let written = writes() - before;
    assert!(written <= 40 * TURNS, "{written} writes for {TURNS} changes of hands, with {waiters} that wait");
}

#[tokio::test]
async fn a_token_of_any_length_asks_once_and_is_recorded_in_short() {
    let world = World::new("tokens").await;
    let mut operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("shop").await;
    let long = "x".repeat(130_000);
    let asks = json!({ "metadata": { "annotations": {
        "phasegate.dev/restart-requested-at": long, "phasegate.dev/retry-requested-at": long,
    } } });
    world.patch("shop", asks).await;
    let restarted = world
        .until("shop", "restarted", |shop: &ApiGateway| {
            let status = shop.status.as_ref().unwrap();
            status.restarts == 1 && status.phase == Some(Phase::Started) && path(shop).len() == 4
        })
        .await;
    let size = serde_json::to_string(&restarted.status).unwrap().len();
    assert!(size < 10_000, "a status of {size} bytes");

    // The last release recorded the annotation's full value. That is not a new request.
    operator.end();
    let raw = json!({ "status": { "handled": { "restart": long, "retry": long } } });
    world.patch_status("shop", raw).await;
    let _operator = world.operator();
    let changed = world.patch("shop", json!({ "spec": { "replicas": 2 } })).await;
    let scaled = world.until_ready_again(&changed).await;
    assert_eq!((scaled.status.as_ref().unwrap().restarts, path(&scaled).len()), (1, 4), "{:?}", path(&scaled));
    assert_eq!(path(&scaled)[..2], STARTED);
}
