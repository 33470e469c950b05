//! A leader is frozen before and after each write of a start, another operator takes over, and the leader thaws while
//! its write is still in flight. What is left in the end is what one operator leaves that is not disturbed.
//! `PHASEGATE_LEADERS=all` tries every write instead of a sample.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ApiResource, DynamicObject};
use phasegate::api::{ApiGateway, Environment};
use serde_json::{Value, json};

use crate::harness::{
    AuditEntry, CHILDREN, Fault, Health, Operator, Proxy, STARTED, World, audit_entries, eventually, gateway, path,
    until,
};
use crate::parts::{Left, Part, Stage, at, counts, left};

/// How many leaders are overtaken at once. Most of the time they wait for a Lease to expire.
const AT_ONCE: usize = 3;

/// How many writes are tried without `PHASEGATE_LEADERS`.
const SAMPLE: usize = 3;

/// The identity of an operator. The audit log of the cluster has those of other tests, too.
fn identity(world: &World, name: &str) -> String {
    format!("{name}-{}", world.namespace)
}

/// An operator that takes part in the election. A busy machine can delay a leader's renewals.
fn candidate(world: &World, name: &str, flags: &[&str]) -> Operator {
    let identity = identity(world, name);
    let of_election = ["--identity", identity.as_str(), "--lease-duration", "6s"];
    world.candidate(&[of_election.as_slice(), flags].concat())
}

/// The leader behind its proxy.
async fn leader(world: &World, health: &Health) -> (Proxy, Operator) {
    let proxy = Proxy::start(&world.cluster.operator_kubeconfig()).await;
    let kubeconfig = proxy.kubeconfig().to_str().unwrap();
    let operator = candidate(world, "first", &["--kubeconfig", kubeconfig, "--http-bind", &health.address()]);
    until_led_by(world, "first").await;
    (proxy, operator)
}

async fn until_led_by(world: &World, name: &str) {
    let leader = Some(identity(world, name));
    until(world.leases(), &world.namespace, &format!("led by {name}"), |lease| {
        lease.spec.as_ref().is_some_and(|spec| spec.holder_identity == leader)
    })
    .await;
}

/// The versions of what operators write for the gateway. Of children, it is the part that their controllers do not
/// write.
async fn versions(world: &World) -> BTreeMap<String, Value> {
    let mut versions = BTreeMap::new();
    for (resource, name) in
        [(ApiResource::erase::<ApiGateway>(&()), "shop"), (ApiResource::erase::<Environment>(&()), "beta")]
    {
        let objects: Api<DynamicObject> = Api::namespaced_with(world.client.clone(), &world.namespace, &resource);
        let object = objects.get_opt(name).await.unwrap();
        versions.insert(resource.kind, json!(object.and_then(|object| object.metadata.resource_version)));
    }
    for kind in CHILDREN {
        let ours = |object: DynamicObject| {
            let fields = object.metadata.managed_fields.into_iter().flatten();
            let fields: Vec<_> = fields.filter(|entry| entry.manager.as_deref() == Some("phasegate")).collect();
            json!({ "uid": object.metadata.uid, "generation": object.metadata.generation, "fields": fields })
        };
        versions.insert(kind.to_owned(), json!(world.of_kind(kind).get_opt("shop").await.unwrap().map(ours)));
    }
    versions
}

/// The versions once they stay the same for a second.
async fn versions_at_rest(world: &World) -> BTreeMap<String, Value> {
    let mut last = BTreeMap::new();
    let rested = eventually(Duration::from_secs(1), async || {
        let before = std::mem::replace(&mut last, versions(world).await);
        (before == last).then_some(())
    });
    rested.await.expect("the objects come to rest");
    last
}

/// The writes of the first operator that the API server received from then on, but those of its Lease.
fn writes_since(world: &World, since: Timestamp) -> Vec<AuditEntry> {
    let first = identity(world, "first");
    let all = audit_entries(&world.cluster, &format!("({first})"));
    let is_late = |entry: &AuditEntry| entry.is_write() && entry.resource != "leases" && entry.at >= since;
    all.into_iter().filter(|entry| entry.operator == first && is_late(entry)).collect()
}

/// Freezes the leader at the write with this number and thaws it when another operator has completed the start.
/// Returns whether the start has such a write.
async fn is_overtaken(number: usize, fault: Fault, expected: &Left) -> bool {
    let at_write = format!("{fault:?} at write {number}");
    let stage = Stage::Cluster(World::audited("overtaken").await);
    let world = stage.world();
    let health = Health::reserve();
    let (proxy, first) = leader(world, &health).await;
    let mut second = candidate(world, "second", &[]);
    let mut held = at(&proxy, number, fault);
    Part::Start.request(&stage).await;
    let met = tokio::select! {
        () = held.caught(1) => true,
        () = Part::Start.until_over(&stage) => false,
    };
    if !met {
        return false;
    }
    first.signal("STOP");
    until_led_by(world, "second").await;
    Part::Start.until_over(&stage).await;
    let before = versions_at_rest(world).await;

    let thaw = Timestamp::now();
    first.signal("CONT");
    // The write goes on to the API server, or its answer comes back.
    drop(held);
    let late = usize::from(fault == Fault::Hold);
    let received =
        eventually(Duration::from_millis(200), async || (writes_since(world, thaw).len() >= late).then_some(()));
    received.await.expect("the write that was held arrives");
    let waits = format!("held by {}", identity(world, "second"));
    health.until("/readyz", 200, &["ok", &waits]).await;
    let writes = writes_since(world, thaw);
    assert!(writes.len() == late && writes.iter().all(|write| write.code >= 400), "{at_write}: {writes:?}");
    assert_eq!(versions(world).await, before, "{at_write}");
    assert_eq!(left(&stage, Part::Start).await, *expected, "{at_write}");

    // The first operator leads again and finds nothing to do for this gateway.
    second.end();
    until_led_by(world, "first").await;
    world.apply(&gateway("next", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("next").await;
    assert_eq!(versions(world).await, before, "{at_write}, as leader again");
    assert_one_start(world, &at_write).await;
    true
}

/// One attempt, its two transitions, and at most one Event of the second.
async fn assert_one_start(world: &World, at_write: &str) {
    let shop = world.gateway("shop").await;
    assert_eq!(path(&shop), STARTED, "{at_write}");
    let status = shop.status.unwrap();
    assert_eq!((status.transitions, status.attempt.unwrap().number), (2, 1), "{at_write}");
    for (kind, name) in [("ApiGateway", "shop"), ("Environment", "beta")] {
        let mut events = world.events_about(kind, name).await;
        let all = events.len();
        events.sort();
        events.dedup();
        assert_eq!(events.len(), all, "{at_write}: {kind} has an Event twice: {events:?}");
        assert!(events.iter().all(|event| event.starts_with("Normal ")), "{at_write}: {events:?}");
    }
}

#[tokio::test]
async fn a_start_ends_the_same_wherever_its_leader_is_frozen_and_overtaken() {
    let all = std::env::var("PHASEGATE_LEADERS").is_ok_and(|which| which == "all");
    let stage = Stage::Cluster(World::audited("not-overtaken").await);
    let (proxy, operator) = leader(stage.world(), &Health::reserve()).await;
    Part::Start.request(&stage).await;
    Part::Start.until_over(&stage).await;
    let writes = proxy.count(counts);
    let expected = left(&stage, Part::Start).await;
    drop(operator);
    assert!(writes > 0, "a start writes nothing");

    let points: Vec<_> =
        (0..writes).flat_map(|number| [Fault::Hold, Fault::HoldAfterwards].map(|fault| (number, fault))).collect();
    // An odd step takes both faults in turns.
    let every = if all { 1 } else { points.len().div_ceil(SAMPLE) | 1 };
    let overtaken = futures::stream::iter(points.into_iter().step_by(every))
        .map(|(number, fault)| is_overtaken(number, fault, &expected))
        .buffer_unordered(AT_ONCE)
        .filter(|overtaken| std::future::ready(*overtaken))
        .count()
        .await;
    println!("{writes} writes, {overtaken} leaders overtaken");
    assert!(overtaken > 0, "no leader was overtaken");
}
