//! What becomes of leadership, request by request. The clock stands still but where something waits.

#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use tokio::time::timeout;

use super::*;
use crate::cluster::heartbeat::Heartbeats;
use crate::cluster::reachability::{LastContact, Outages};
use crate::cluster::tests::server::{Exchange, Server, get, miss, post, put};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/ops/leases";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/ops/leases/phasegate";

/// The candidate looks every two seconds, and a request may take one and a half.
const RETRY_PERIOD: Duration = Duration::from_secs(2);
/// Others wait for four seconds.
const DURATION: Duration = Duration::from_secs(4);
/// A claim is believed in for three.
const RENEW_DEADLINE: Duration = Duration::from_secs(3);

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn lease(holder: Option<&str>, version: &str, seconds: i32) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": { "name": "phasegate", "namespace": "ops", "uid": "u", "resourceVersion": version },
        "spec": { "holderIdentity": holder, "leaseDurationSeconds": seconds, "leaseTransitions": 3 },
    })
}

fn free() -> Exchange {
    get(LEASE, lease(None, "7", 4))
}

fn ours() -> Exchange {
    get(LEASE, lease(Some("me"), "7", 4))
}

fn theirs(version: &str) -> Exchange {
    get(LEASE, lease(Some("other"), version, 4))
}

/// Of somebody who asks for more patience than we would.
fn patient() -> Exchange {
    get(LEASE, lease(Some("other"), "7", 6))
}

fn renewed() -> Exchange {
    put(LEASE).with("/spec/holderIdentity", "me").with("/metadata/resourceVersion", "7")
}

#[derive(Clone, Copy)]
enum Act {
    Win,
    /// Keeps a claim that was just won.
    Keep,
    Release,
}
use Act::{Keep, Release, Win};

/// One scenario.
struct Row {
    name: &'static str,
    act: Act,
    script: fn() -> Vec<Exchange>,
    /// When it has ended. None: not while the script lasts.
    ends: Option<u64>,
    /// For how many milliseconds the claim is still believed in.
    claim: u64,
    /// What keeps the process from the Lease.
    trouble: Option<&'static str>,
}

const TABLE: &[Row] = &[
    Row {
        name: "there is no Lease: it is created, for at least as long as the claim is believed in",
        act: Win,
        script: || {
            let created = post(LEASES).with("/metadata/name", "phasegate").with("/spec/holderIdentity", "me");
            vec![miss(LEASE), created.with("/spec/leaseDurationSeconds", 4).with("/spec/leaseTransitions", 1)]
        },
        ends: Some(0),
        claim: 3_000,
        trouble: None,
    },
    Row {
        name: "a free Lease is taken, and that is a transition",
        act: Win,
        script: || vec![free(), renewed().with("/spec/leaseTransitions", 4)],
        ends: Some(0),
        claim: 3_000,
        trouble: None,
    },
    Row {
        name: "a Lease that is ours is won again at once, and that is no transition",
        act: Win,
        script: || vec![ours(), renewed().with("/spec/leaseTransitions", 3)],
        ends: Some(0),
        claim: 3_000,
        trouble: None,
    },
    Row {
        name: "the claim is counted from before the renewal was sent",
        act: Win,
        script: || vec![free().takes(ms(1_000)), renewed().takes(ms(500))],
        ends: Some(1_500),
        claim: 1_500,
        trouble: None,
    },
    Row {
        name: "another's Lease is taken once it has not changed for as long as others wait",
        act: Win,
        script: || vec![theirs("7"), theirs("7"), theirs("7"), renewed().with("/spec/leaseTransitions", 4)],
        ends: Some(4_000),
        claim: 3_000,
        trouble: None,
    },
    Row {
        name: "a holder who asks for more patience is given it",
        act: Win,
        script: || vec![patient(), patient(), patient(), patient(), renewed()],
        ends: Some(6_000),
        claim: 3_000,
        trouble: None,
    },
    Row {
        name: "another's Lease that is renewed is not taken however long one looks",
        act: Win,
        script: || vec![theirs("7"), theirs("8"), theirs("8"), theirs("9"), theirs("9")],
        ends: None,
        claim: 0,
        trouble: None,
    },
    Row {
        name: "somebody else creates it first",
        act: Win,
        script: || vec![miss(LEASE), post(LEASES).already_exists(), theirs("7")],
        ends: None,
        claim: 0,
        trouble: None,
    },
    Row {
        name: "somebody else takes it first, and has it for as long as anybody",
        act: Win,
        script: || vec![free(), renewed().conflicts(), theirs("8"), theirs("8")],
        ends: None,
        claim: 0,
        trouble: None,
    },
    Row {
        name: "a Lease that cannot be read is told of, and tried again",
        act: Win,
        script: || vec![free().hangs(), free().refused(403, "Forbidden", "leases are not yours to read")],
        ends: None,
        claim: 0,
        trouble: Some("leases are not yours to read"),
    },
    Row {
        name: "a Lease that was read in the end troubles nobody",
        act: Win,
        script: || vec![free().unavailable(), free(), renewed()],
        ends: Some(2_000),
        claim: 3_000,
        trouble: None,
    },
    Row {
        name: "a write that is not answered wins nothing",
        act: Win,
        script: || vec![free(), renewed().hangs()],
        ends: None,
        claim: 0,
        trouble: Some("the API server did not respond within 1.5s"),
    },
    Row {
        name: "a claim that is renewed lasts",
        act: Keep,
        script: || vec![ours(), renewed(), ours(), renewed(), ours(), renewed()],
        ends: None,
        claim: 1_001,
        trouble: None,
    },
    Row {
        name: "a renewal that fails is tried again until the claim expires by itself",
        act: Keep,
        script: || vec![ours().unavailable(), ours(), renewed().breaks()],
        ends: Some(4_000),
        claim: 0,
        trouble: Some("ServiceError: connection refused"),
    },
    Row {
        name: "a claim that another took over is given up at once",
        act: Keep,
        script: || vec![theirs("8")],
        ends: Some(2_000),
        claim: 0,
        trouble: None,
    },
    Row {
        name: "a Lease that somebody deleted is not renewed but won again",
        act: Keep,
        script: || vec![miss(LEASE)],
        ends: Some(2_000),
        claim: 0,
        trouble: None,
    },
    Row {
        name: "a renewal over another version is a claim that was lost",
        act: Keep,
        script: || vec![ours(), renewed().conflicts()],
        ends: Some(2_000),
        claim: 0,
        trouble: None,
    },
    Row {
        name: "a Lease that is ours is released",
        act: Release,
        script: || vec![ours(), put(LEASE).with("/spec/holderIdentity", Value::Null)],
        ends: Some(0),
        claim: 0,
        trouble: None,
    },
    Row {
        name: "another's Lease is left alone",
        act: Release,
        script: || vec![theirs("8")],
        ends: Some(0),
        claim: 0,
        trouble: None,
    },
    Row {
        name: "there is no Lease to be released",
        act: Release,
        script: || vec![miss(LEASE)],
        ends: Some(0),
        claim: 0,
        trouble: None,
    },
    Row {
        name: "a release whose answer is lost is looked at, and is done",
        act: Release,
        script: || vec![ours(), put(LEASE).hangs(), free()],
        ends: Some(1_600),
        claim: 0,
        trouble: None,
    },
    Row {
        name: "a release that was overtaken is tried again",
        act: Release,
        script: || vec![ours(), put(LEASE).conflicts(), ours(), put(LEASE).with("/spec/holderIdentity", Value::Null)],
        ends: Some(100),
        claim: 0,
        trouble: None,
    },
];

/// How a scenario ended.
#[derive(Debug, PartialEq)]
struct Ended {
    at: Option<Duration>,
    claim: Duration,
    trouble: Option<String>,
}

async fn play(row: &Row) -> Result<Ended, String> {
    let server = Server::default();
    let script = (row.script)();
    let looks = script.iter().filter(|exchange| exchange.reads()).count();
    server.expect(script);
    let (claim, health) = (Claim::none(), LeaseHealth::default());
    let (outages, _) = Outages::new(server.client(), LastContact::default(), Heartbeats::default(), String::new());
    let calls = Calls::new(server.client(), RENEW_DEADLINE / 2, Claim::unconditional(), outages);
    let election = Election {
        lease: ObjectKey::new("ops", "phasegate"),
        identity: "me".to_owned(),
        works_on: "all gateways of every namespace".to_owned(),
        duration: DURATION,
        renew_deadline: RENEW_DEADLINE,
        retry_period: RETRY_PERIOD,
    };
    let mut candidate = Candidate::new(calls, election, claim.clone(), health.clone());
    let began = Instant::now();
    if !matches!(row.act, Win) {
        claim.extend(began + RENEW_DEADLINE);
    }
    // Until just before the look that would come after the script's last.
    let waits = u32::try_from(looks).unwrap() + u32::from(matches!(row.act, Keep));
    let done = timeout(RETRY_PERIOD * waits - ms(1), async {
        match row.act {
            Win => candidate.win().await,
            Keep => candidate.keep().await,
            Release => candidate.release().await,
        }
    });
    let at = done.await.ok().map(|()| began.elapsed());
    server.finish()?;
    Ok(Ended { at, claim: claim.remaining().unwrap(), trouble: health.trouble() })
}

#[tokio::test(start_paused = true)]
async fn leadership_is_won_kept_and_released_as_the_table_says() {
    let mut wrong = Vec::new();
    for row in TABLE {
        let expected = Ended { at: row.ends.map(ms), claim: ms(row.claim), trouble: row.trouble.map(str::to_owned) };
        match play(row).await {
            Ok(ended) if ended == expected => {}
            Ok(ended) => wrong.push(format!("{}:\n  {ended:?}\n  and not {expected:?}", row.name)),
            Err(fault) => wrong.push(format!("{}:\n  {fault}", row.name)),
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// What a standby says that has looked at these Leases.
async fn said_of(leases: &[Value]) -> Vec<Option<String>> {
    let server = Server::default();
    server.expect(leases.iter().map(|lease| get(LEASE, lease.clone())).collect());
    let health = LeaseHealth::default();
    let (outages, _) = Outages::new(server.client(), LastContact::default(), Heartbeats::default(), String::new());
    let calls = Calls::new(server.client(), RENEW_DEADLINE / 2, Claim::unconditional(), outages);
    let election = Election {
        lease: ObjectKey::new("ops", "phasegate"),
        identity: "me".to_owned(),
        works_on: "gateways with shard=b of every namespace".to_owned(),
        duration: DURATION,
        renew_deadline: RENEW_DEADLINE,
        retry_period: RETRY_PERIOD,
    };
    let mut candidate = Candidate::new(calls, election, Claim::none(), health.clone());
    let mut said = Vec::new();
    for _ in leases {
        assert!(!candidate.attempt(Candidate::may_take).await.unwrap());
        said.push(health.waits_for());
    }
    server.finish().unwrap();
    said
}

#[tokio::test(start_paused = true)]
async fn a_standby_says_whose_lease_it_waits_for_and_what_that_one_works_on() {
    let mut plain = lease(Some("other"), "7", 4);
    plain["spec"]["acquireTime"] = json!("2026-01-02T03:04:05.000000Z");
    let mut same = plain.clone();
    same["metadata"]["annotations"] = json!({ WORKS_ON_ANNOTATION: "gateways with shard=b of every namespace" });
    let mut another = plain.clone();
    another["metadata"]["annotations"] = json!({ WORKS_ON_ANNOTATION: "gateways with shard=a of every namespace" });
    let held = "standby: Lease ops/phasegate is held by other since 2026-01-02T03:04:05Z";
    let task = ", which reconciles gateways with shard=a of every namespace; this operator reconciles gateways with \
                shard=b of every namespace and needs its own Lease (--lease-name)";
    let expected = [held.to_owned(), held.to_owned(), format!("{held}{task}")];
    assert_eq!(said_of(&[plain, same, another]).await, expected.map(Some));
}
