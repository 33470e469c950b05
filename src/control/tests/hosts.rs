//! A host that two claim in the same moment.

use super::objects::{STATUS, fresh, named, starting};
use super::world::{Row, World, play};
use crate::cluster::tests::server::put;

/// Another gateway that found the same host free, and is about to write its claim.
fn other_writes(w: &World) {
    assert!(w.caches.claims().reserve(&named("other")));
}

const TABLE: &[Row] = &[
    Row {
        name: "whoever comes second looks again, and writes nothing",
        given: |w| {
            w.gateway(&fresh());
            other_writes(w);
        },
        script: |_| vec![],
        ends: "Behind",
        writes: &[],
        tells: &[],
        remembers: &[],
    },
    Row {
        name: "once the other has given up its reservation the host is free",
        given: |w| {
            w.gateway(&fresh());
            other_writes(w);
            w.caches.claims().release(&named("other"));
        },
        script: |_| vec![put(STATUS).with("/status/hosts/0/host", "shop.example.com")],
        ends: "AtOnce",
        writes: &["Starting Running, Ready False Starting"],
        tells: &[],
        remembers: &["our write"],
    },
    Row {
        name: "a host that another holds is waited for, and not claimed",
        given: |w| {
            w.gateway(&fresh());
            let mut other = starting();
            other.metadata.name = Some("other".to_owned());
            w.caches.claims().learn(&other);
        },
        script: |_| vec![put(STATUS).with("/status/hosts", serde_json::Value::Null)],
        ends: "AtOnce",
        writes: &["Created Running, Ready False HostTaken"],
        tells: &["Warning HostTaken"],
        remembers: &["our write"],
    },
];

#[tokio::test(start_paused = true)]
async fn of_two_that_find_a_host_free_in_the_same_moment_one_claims_it() {
    play(TABLE).await;
}

#[tokio::test(start_paused = true)]
async fn a_reservation_lasts_until_the_claim_is_learned_and_ends_with_a_write_that_fails() {
    for (fails, script) in [
        (true, put(STATUS).conflicts()),
        (true, put(STATUS).unavailable()),
        (true, put(STATUS).hangs()),
        (false, put(STATUS)),
    ] {
        let what = format!("{script}, fails: {fails}");
        let mut w = World::new();
        w.gateway(&fresh());
        w.pass(vec![script]).await.unwrap();
        assert_eq!(w.caches.claims().reserve(&named("other")), fails, "{what}");
    }
}
