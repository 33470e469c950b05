//! A gateway is not delayed by other gateways, however many there are and whatever is wrong with them.

use std::time::{Duration, Instant};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use phasegate::api::ApiGateway;
use serde_json::json;

use crate::harness::{Fault, Fleet, Proxy, World, gateway, private_world};

/// The maximum time until a gateway's start begins.
const SOON: Duration = Duration::from_secs(30);

/// No call times out during the test, so a hanging call never frees its slot for another gateway.
const NEVER_GIVEN_UP: [&str; 2] = ["--call-timeout", "10m"];

/// A gateway whose start has begun.
struct Begun {
    gateway: ApiGateway,
    /// When it was applied.
    applied: Timestamp,
    /// How long it took until the test saw that the start had begun.
    seen: Duration,
}

impl Begun {
    /// When the start began, as the operator recorded it. Operator and test use the time of the same machine.
    fn at(&self) -> Timestamp {
        self.gateway.status.as_ref().unwrap().history[0].at.0
    }
}

/// Applies a gateway and waits until its start begins.
async fn begins(world: &World, name: &str) -> Begun {
    let mut versions = world.record::<ApiGateway>(name).await;
    let (since, applied) = (Instant::now(), Timestamp::now());
    world.apply(&gateway(name, json!({ "image": "acme/gateway:1" }))).await;
    let gateway = versions.first("begun", |version| version.object.status.is_some()).await.object;
    let seen = since.elapsed();
    println!("{name} was begun after {seen:?}");
    Begun { gateway, applied, seen }
}

/// Applies a gateway and asserts that its start begins soon, both as measured by the test and according to the
/// object's timestamps.
async fn begins_soon(world: &World, name: &str) -> Begun {
    let begun = begins(world, name).await;
    assert!(begun.seen <= SOON, "{name} was begun after {:?}", begun.seen);
    let created = begun.gateway.metadata.creation_timestamp.as_ref().unwrap().0;
    let recorded = begun.at().duration_since(created);
    // `creationTimestamp` has whole seconds, rounded down.
    let soon = SignedDuration::try_from(SOON).unwrap() + SignedDuration::from_secs(1);
    assert!(recorded <= soon, "{name} was begun after {recorded:?}");
    begun
}

/// Asserts that at most a quarter of the flood has a transition while the newcomer waits for its start. Transitions are
/// counted, not timed, so the assertion holds on a machine that also runs other tests. With one FIFO queue for all
/// gateways, the first newcomer comes after the whole flood, and the assertion fails.
async fn assert_comes_before(newcomer: &Begun, flood: &Fleet<'_>) {
    let meanwhile = flood.transitions_between(newcomer.applied, newcomer.at()).await;
    println!("{meanwhile} transitions of the flood came before {}", newcomer.gateway.name_any());
    assert!(meanwhile <= flood.names().len() / 4, "{meanwhile} transitions of the flood came before it");
}

#[tokio::test]
async fn a_flood_of_gateways_in_one_namespace_delays_no_gateway_of_another() {
    let flood = std::env::var("PHASEGATE_FLOOD").ok();
    let count = flood.as_ref().map_or(400, |count| count.parse().unwrap());
    let flooded = private_world("flood").await;
    let other = flooded.beside("other").await;
    let fleet = Fleet::apply(&flooded, "gw", count, json!({ "startDeadline": "1h" })).await;
    let _operator = flooded.operator_with(&["--namespaces", &other.namespace]);
    let all = i64::try_from(2 * count).unwrap();

    fleet.until_transitions(1).await;
    let early = begins(&other, "early").await;
    assert_comes_before(&early, &fleet).await;
    // With one FIFO queue it would come after all of them.
    let later = fleet.begun_after(&early.gateway).await;
    assert!(later >= count / 4, "only {later} of {count} were begun after it");
    println!("{later} of {count} were begun after it");

    for part in 1..=5 {
        // Newcomers come while the flood's starts begin, and after all have begun. The starts then complete in a burst,
        // which ends the flood.
        fleet.until_transitions(part * all / 10).await;
        let name = format!("shop-{part}");
        // Durations are asserted only with PHASEGATE_FLOOD: without it, the machine also runs other tests.
        let begun = match flood {
            Some(_) => begins_soon(&other, &name).await,
            None => begins(&other, &name).await,
        };
        assert_comes_before(&begun, &fleet).await;
        assert!(fleet.transitions().await < all, "the flood is over");
    }
    for part in 1..=5 {
        other.until_started(&format!("shop-{part}")).await;
    }
}

#[tokio::test]
async fn gateways_whose_writes_hang_delay_no_other_of_their_namespace() {
    const HUNG: usize = 20;
    let world = World::new("hung").await;
    let proxy = Proxy::start(&world.cluster.operator_kubeconfig()).await;
    let _operator = world.operator_as(proxy.kubeconfig(), &NEVER_GIVEN_UP);
    let mut hang = proxy.when(Fault::Hang, |asked| asked.is_write() && asked.name.starts_with("hung-"));
    let hung = Fleet::apply(&world, "hung", HUNG, json!({})).await;
    hang.caught(HUNG).await;

    let others = Fleet::apply(&world, "gw", 10, json!({})).await;
    others.until_all_started_once().await;

    assert_eq!(hung.transitions().await, 0);
    assert_eq!(hang.count(), HUNG, "no write was given up, so nobody had a turn that a hanging one gave back");
    drop(hang);
    hung.until_all_started_once().await;
    hung.assert_children_are_theirs().await;
}

#[tokio::test]
async fn a_namespace_whose_writes_hang_delays_no_gateway_of_another() {
    const HUNG: usize = 100;
    let stuck = World::new("stuck-namespace").await;
    let other = stuck.beside("free").await;
    let proxy = Proxy::start(&stuck.cluster.operator_kubeconfig()).await;
    let more = [NEVER_GIVEN_UP.as_slice(), &["--namespaces", &other.namespace]].concat();
    let _operator = stuck.operator_as(proxy.kubeconfig(), &more);
    let namespace = stuck.namespace.clone();
    let mut hang = proxy.when(Fault::Hang, move |asked| asked.is_write() && asked.namespace == namespace);
    let hung = Fleet::apply(&stuck, "hung", HUNG, json!({})).await;
    // One namespace may occupy at most three quarters of the 64 slots.
    hang.caught(48).await;

    for number in 1..=3 {
        let name = format!("shop-{number}");
        begins(&other, &name).await;
        other.until_started(&name).await;
    }

    assert_eq!(hang.count(), 48, "no write was given up, so nobody had a turn that a hanging one gave back");
    assert_eq!(hung.transitions().await, 0);
    drop(hang);
    hung.until_all_started_once().await;
}
