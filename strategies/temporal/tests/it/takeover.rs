//! Workers that are killed in the middle of an activity.

use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use phasegate_harness::{Fault, Proxy, eventually, gateway};
use phasegate_temporal::client;
use phasegate_temporal::workflow::{End, Lifecycle};
use serde_json::{Value, json};
use temporalio_client::{Client, WorkflowDescribeOptions, WorkflowHandle};

use crate::setup::{Setup, end, events};

#[tokio::test]
async fn a_worker_killed_while_it_waits_for_pods_is_replaced_and_the_start_continues() {
    let setup = Setup::new("killed-waiting").await;
    let world = &setup.world;
    let mut first = setup.worker("worker-a");
    world.apply(&gateway("shop", json!({ "image": "acme/slow-start:1" }))).await;
    let handle = setup.start("shop", 300).await;
    until_runs(&handle, "available pods").await;

    first.kill().unwrap();
    let _second = setup.worker("worker-b");
    world.until_started("shop").await;
    client::stop(&handle).await.unwrap();
    assert_eq!(end(&handle).await, End::Stopped);
    assert_eq!(world.children().await, Vec::<String>::new());

    let events = events(&handle).await;
    let started = taken_over(&events);
    assert_eq!(started.len(), 1, "{started:#?}");
    // The server noticed the death by a missing heartbeat, and the workflow did not notice it at all.
    assert_eq!(started[0]["identity"], "worker-b");
    let timeout = &started[0]["last_failure"]["message"];
    assert!(timeout.as_str().unwrap().contains("Heartbeat timeout"), "{timeout}");
}

#[tokio::test]
async fn a_worker_killed_in_the_middle_of_a_write_is_replaced_and_the_write_is_made_once() {
    let setup = Setup::new("killed-writing").await;
    let world = &setup.world;
    let proxy = Proxy::start(&world.cluster.operator_kubeconfig()).await;
    let mut writes = proxy.when(Fault::Hang, |asked| asked.verb == "create" && asked.is_of("services"));
    let mut first = setup.worker_with("worker-a", proxy.kubeconfig());
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    let handle = setup.start("shop", 300).await;
    writes.caught(1).await;

    first.kill().unwrap();
    let _second = setup.worker("worker-b");
    world.until_started("shop").await;
    let service = world.until::<Service>("shop", "there", |_| true).await;
    assert_eq!(service.metadata.owner_references.unwrap().len(), 1);
    client::stop(&handle).await.unwrap();
    assert_eq!(end(&handle).await, End::Stopped);
    assert_eq!(world.children().await, Vec::<String>::new());

    let events = events(&handle).await;
    let started = taken_over(&events);
    assert_eq!(started.len(), 1, "{started:#?}");
    assert_eq!(started[0]["identity"], "worker-b");
    assert_eq!(started[0]["attempt"], 2);
}

/// Waits until a worker has begun the activity of a step.
async fn until_runs(handle: &WorkflowHandle<Client, Lifecycle>, step: &str) {
    let runs = eventually(Duration::from_millis(100), async || {
        let description = handle.describe(WorkflowDescribeOptions::default()).await.ok()?;
        let mut pending = description.raw_description.pending_activities.into_iter();
        pending.any(|activity| activity.activity_id == step && activity.last_started_time.is_some()).then_some(())
    });
    assert!(runs.await.is_some(), "{step} does not begin");
}

/// What the history says of activities that a second attempt completed.
fn taken_over(events: &[Value]) -> Vec<&Value> {
    let started = events.iter().filter_map(|event| event["attributes"].get("ActivityTaskStartedEventAttributes"));
    started.filter(|started| started["attempt"].as_u64() > Some(1)).collect()
}
