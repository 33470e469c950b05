//! A host that two claim in the same moment.

use k8s_openapi::api::core::v1::Namespace;
use kube::runtime::watcher::Event;
use serde_json::{Value, json};

use super::objects::{STATUS, but, children_of, foreign_object, fresh, named, orphaned, predecessors, set, starting};
use super::world::{Row, World, namespace, play};
use crate::api::{ALLOWED_HOSTS_ANNOTATION, ObjectKey};
use crate::cluster::tests::server::put;
use crate::decide::hosts::HostRequest;
use crate::decide::observed::HostVerdict;

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
        ends: "CacheBehind",
        writes: &[],
        tells: &[],
        remembers: &[],
    },
    Row {
        name: "once the other has given up its reservation the host is free",
        given: |w| {
            w.gateway(&fresh());
            other_writes(w);
            w.caches.space().release(&HostRequest::from(&named("other")).claimant);
        },
        script: |_| vec![put(STATUS).with("/status/hosts/0/host", "shop.example.com")],
        ends: "Now",
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
            w.caches.claims().learn(&other, std::time::Instant::now());
        },
        script: |_| vec![put(STATUS).with("/status/hosts", serde_json::Value::Null)],
        ends: "Now",
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

/// What is of the gateway `shop`, which has no claim recorded, and whether another may have the host that it wants.
#[tokio::test(start_paused = true)]
async fn the_host_that_a_gateways_ingress_routes_is_not_anothers_to_have() {
    let elsewhere = |ingress| set(ingress, "/spec/rules/0/host", "other.example.com");
    let forbidding = || namespace_allowing("elsewhere.example.com");
    for (what, ingress, allows, is_free) in [
        ("its own Ingress", children_of(&fresh()).ingress, namespace(), false),
        ("one without an owner", restored(children_of(&fresh()).ingress), namespace(), false),
        ("one that is collected", predecessors(children_of(&fresh()).ingress), namespace(), false),
        ("one that routes another host", elsewhere(children_of(&fresh()).ingress), namespace(), true),
        ("a foreign object", foreign_object(children_of(&fresh()).ingress), namespace(), true),
        ("one whose namespace may not have the host", children_of(&fresh()).ingress, forbidding(), true),
    ] {
        let w = World::new();
        w.caches.allowed_hosts.apply_event(Event::Apply(allows));
        w.children([ingress]);
        let request = w.caches.host_request_of_gateway(&fresh());
        w.caches.claims().learn(request, std::time::Instant::now());
        let verdict = w.caches.claims().verdict(&named("other"));
        assert_eq!(verdict == HostVerdict::Free, is_free, "{what}: {verdict:?}");
    }
}

/// What is of an Ingress that no gateway answers for, and whether a tenant elsewhere may have the host that it routes.
#[tokio::test(start_paused = true)]
async fn what_an_ingress_of_ours_routes_is_its_namespaces_where_that_may_have_it() {
    let ingress = || children_of(&fresh()).ingress;
    let unlabelled = |mut ingress: Value| {
        ingress["metadata"]["labels"] = json!({});
        ingress
    };
    for (what, ingress, allows, holds) in [
        ("one that was orphaned", orphaned(ingress()), namespace(), true),
        ("one that is collected", predecessors(ingress()), namespace(), true),
        ("one whose labels were removed", unlabelled(orphaned(ingress())), namespace(), false),
        (
            "one of another name than its labels say",
            set(orphaned(ingress()), "/metadata/name", "other"),
            namespace(),
            false,
        ),
        ("a foreign object", foreign_object(ingress()), namespace(), false),
        (
            "one whose namespace may not have the host",
            orphaned(ingress()),
            namespace_allowing("elsewhere.example.com"),
            false,
        ),
    ] {
        let w = World::new();
        w.caches.allowed_hosts.apply_event(Event::Apply(allows));
        let name = ingress["metadata"]["name"].as_str().unwrap().to_owned();
        w.children([ingress]);
        let request = w.caches.host_request_of_ingress(&ObjectKey::new("tenants", name));
        if let Some(request) = request {
            w.caches.claims().learn(request, std::time::Instant::now());
        }
        let elsewhere = but(named("other"), |g| g.metadata.namespace = Some("elsewhere".to_owned()));
        let verdict = w.caches.claims().verdict(&elsewhere);
        assert_eq!(verdict != HostVerdict::Free, holds, "{what}: {verdict:?}");
    }
}

/// The same object, as a backup restores it: of an earlier gateway, without its owner.
fn restored(object: Value) -> Value {
    orphaned(set(object, "/metadata/labels/phasegate.dev~1gateway-uid", "uid-of-an-earlier-one"))
}

fn namespace_allowing(hosts: &str) -> Namespace {
    let mut namespace = namespace();
    namespace.metadata.annotations = Some([(ALLOWED_HOSTS_ANNOTATION.to_owned(), hosts.to_owned())].into());
    namespace
}
