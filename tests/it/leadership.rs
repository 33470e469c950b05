//! Of several operators only the leader writes, and a standby takes over.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use phasegate::api::{ApiGateway, Phase};
use serde_json::json;

use crate::harness::cluster::Cluster;
use crate::harness::{
    AuditEntry, Fault, Fleet, Health, Operator, Proxy, World, audit_entries, gateway, path, private_world_on, until,
};

fn candidate(world: &World) -> Operator {
    // A busy machine can delay a leader's renewals.
    world.candidate(&["--lease-duration", "6s"])
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

/// Another client holds the Lease for as long as it renews it.
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

    // Without renewals the Lease expires after its six seconds, and not earlier.
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

#[tokio::test]
async fn an_operator_that_stands_by_is_alive_and_ready_and_says_that_it_does_not_lead() {
    let world = World::new("stands-by").await;
    let _first = candidate(&world);
    until_led(&world).await;
    let health = Health::reserve();

    let _second = world.candidate(&["--lease-duration", "6s", "--http-bind", &health.address()]);

    health.until("/readyz", 200, &["ok"]).await;
    health.until("/livez", 200, &["ok"]).await;
    health.until("/metrics", 200, &["phasegate_leader 0"]).await;
}

#[tokio::test]
async fn a_leader_that_is_told_to_end_while_a_write_hangs_lets_go_and_does_not_wait_for_it() {
    let world = World::new("drain").await;
    let proxy = Proxy::start(&world.cluster.operator_kubeconfig()).await;
    let kubeconfig = proxy.kubeconfig().to_str().unwrap();
    let mut operator = world.candidate(&["--kubeconfig", kubeconfig, "--call-timeout", "60s"]);
    until_led(&world).await;
    let mut hang = proxy.when(Fault::Hang, |asked| asked.verb == "create" && asked.is_of("deployments"));
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    hang.caught(1).await;

    let told = Instant::now();
    operator.signal("TERM");

    assert_eq!(operator.ended(), Some(0));
    // It takes nine seconds at most, if the processor is not overloaded. The write would end after 60.
    assert!(told.elapsed() < Duration::from_secs(50), "{:?}", told.elapsed());
    let lease = world.leases().get(&world.namespace).await.unwrap();
    assert_eq!(holder(&lease), None);
}

/// The writes that the API server received from one operator while another held the Lease.
fn writes_beside_the_leader(log: &[AuditEntry]) -> Vec<&AuditEntry> {
    let mut leader = "";
    let mut beside = Vec::new();
    for entry in log.iter().filter(|entry| entry.is_write()) {
        if entry.resource != "leases" {
            if entry.operator != leader {
                beside.push(entry);
            }
        } else if entry.code < 300 {
            leader = &entry.operator;
        }
    }
    beside
}

/// Five times the leader is frozen in the middle of a burst, for longer than its Lease lasts, and thaws when the other
/// operator leads. Requests that it had sent, or was sending at that moment, may arrive. It begins no new ones.
#[tokio::test]
async fn a_leader_that_was_frozen_past_its_claim_writes_nothing_when_it_thaws() {
    const ROUNDS: usize = 5;
    const GATEWAYS: usize = 30;
    let world = private_world_on("frozen", || {
        let cluster = Cluster::audited()?;
        cluster.install_crds()?;
        Ok(cluster)
    })
    .await;
    let operators = ["left", "right"].map(|identity| {
        let times = ["--lease-duration", "4s", "--lease-renew-deadline", "2s", "--lease-retry-period", "1s"];
        (identity, world.candidate(&[&["--identity", identity], times.as_slice()].concat()))
    });

    let mut thawed = Vec::new();
    let mut fleets = Vec::new();
    for round in 0..ROUNDS {
        let leader = until_led(&world).await;
        let (_, operator) = operators.iter().find(|(identity, _)| *identity == leader).unwrap();
        let fleet = Fleet::apply(&world, &format!("round-{round}"), GATEWAYS, json!({})).await;
        fleet.until_transitions(10).await;
        operator.signal("STOP");
        let frozen = Timestamp::now();
        until(world.leases(), &world.namespace, "another leader", |lease| {
            holder(lease).is_some_and(|now| now != leader)
        })
        .await;
        thawed.push((leader, frozen, Timestamp::now()));
        operator.signal("CONT");
        fleets.push(fleet);
    }
    for fleet in &fleets {
        fleet.until_all_started_once().await;
        fleet.assert_children_are_theirs().await;
    }

    let log = audit_entries(&world.cluster, "\"userAgent\":\"phasegate/");
    for (leader, frozen, thaw) in &thawed {
        let by_leader = |entry: &&AuditEntry| entry.operator == *leader;
        let before = log.iter().filter(by_leader).any(|entry| entry.is_write() && entry.at < *frozen);
        assert!(before, "{leader} wrote nothing before it was frozen");
        assert!(log.iter().filter(by_leader).any(|entry| entry.at > *thaw), "{leader} did not thaw");
    }
    let beside = writes_beside_the_leader(&log);
    println!("{} writes beside the leader: {beside:?}", beside.len());
    for (round, (leader, _, thaw)) in thawed.iter().enumerate() {
        let until = thawed.get(round + 1).map_or(Timestamp::MAX, |(.., thaw)| *thaw);
        let then: Vec<_> = beside.iter().filter(|write| (*thaw..until).contains(&write.at)).collect();
        // At most the one request that was in flight at the moment of the freeze.
        assert!(then.len() <= 1, "{then:?}");
        let soon = |write: &AuditEntry| write.at.duration_since(*thaw) < SignedDuration::from_secs(5);
        assert!(then.iter().all(|write| write.operator == *leader && soon(write)), "{then:?}");
    }
    let first = thawed[0].2;
    assert!(beside.iter().all(|write| write.at >= first), "{beside:?}");
    for fleet in &fleets {
        for name in fleet.names() {
            let creates = log.iter().filter(|entry| {
                entry.verb == "create" && entry.resource == "deployments" && entry.object == *name && entry.code < 300
            });
            assert!(creates.count() <= 1, "{name}");
        }
    }
}
