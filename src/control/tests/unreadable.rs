//! Objects that this version cannot read, and children that somebody left behind.

use serde_json::{Value, json};

use super::objects::{GATEWAY, SERVICE, STATUS, but, children_of, deletes, json_of, orphaned, set, starting};
use super::world::{Row, World, play, watched};
use crate::api::{ApiGateway, Guarded};
use crate::cluster::tests::server::{Exchange, get, miss, patch, put};

/// A gateway whose image is a number.
fn unreadable() -> Value {
    let mut gateway = json_of(&starting());
    gateway["spec"]["image"] = json!(7);
    gateway
}

/// The same, deleted and kept by these finalizers.
fn deleted(finalizers: Value) -> Value {
    let mut gateway = unreadable();
    gateway["metadata"]["deletionTimestamp"] = json!("2026-01-02T03:04:05Z");
    gateway["metadata"]["finalizers"] = finalizers;
    gateway
}

fn has(w: &mut World, gateway: &Value) {
    let gateway: Guarded<ApiGateway> = watched(gateway);
    assert!(gateway.0.is_err());
    w.guarded_gateway(gateway);
}

fn reported() -> Exchange {
    let patch = patch(STATUS, unreadable()).with("/status/conditions/0/reason", "Undecodable");
    patch.with("/status/conditions/1/type", "Stalled").with("/spec", Value::Null)
}

fn remove_finalizer() -> Exchange {
    let patch = patch(GATEWAY, json_of(&starting())).with("/metadata/finalizers", json!(["another.dev/its-own"]));
    patch.with("/metadata/resourceVersion", "1")
}

const KEPT: fn() -> Value = || json!(["another.dev/its-own", "phasegate.dev/registry"]);

const UNREADABLE: &[Row] = &[
    Row {
        name: "it is reported as conditions and an Event",
        given: |w| has(w, &unreadable()),
        script: |_| vec![reported()],
        ends: "OnChange",
        writes: &["- -, Ready False Undecodable"],
        tells: &["Warning Undecodable"],
        remembers: &[],
    },
    Row {
        name: "a report that fails is no report",
        given: |w| has(w, &unreadable()),
        script: |_| vec![reported().unavailable()],
        ends: "Failed: unavailable",
        writes: &["- -, Ready False Undecodable"],
        tells: &[],
        remembers: &["an outage"],
    },
    Row {
        name: "one that is being deleted is let go of, and nothing is said of it",
        given: |w| has(w, &deleted(KEPT())),
        script: |_| vec![remove_finalizer()],
        ends: "OnChange",
        writes: &[],
        tells: &[],
        remembers: &[],
    },
    Row {
        name: "one that went meanwhile is gone",
        given: |w| has(w, &deleted(KEPT())),
        script: |_| vec![remove_finalizer().gone()],
        ends: "OnChange",
        writes: &[],
        tells: &[],
        remembers: &[],
    },
    Row {
        name: "one whose finalizers somebody else changed is looked at again",
        given: |w| has(w, &deleted(KEPT())),
        script: |_| vec![remove_finalizer().conflicts()],
        ends: "CacheBehind",
        writes: &[],
        tells: &[],
        remembers: &[],
    },
    Row {
        name: "one that cannot be let go of is tried again",
        given: |w| has(w, &deleted(KEPT())),
        script: |_| vec![remove_finalizer().unavailable()],
        ends: "Failed: unavailable",
        writes: &[],
        tells: &[],
        remembers: &["an outage"],
    },
    Row {
        name: "one that another's finalizer keeps is none of ours",
        given: |w| has(w, &deleted(json!(["another.dev/its-own"]))),
        script: |_| vec![],
        ends: "OnChange",
        writes: &[],
        tells: &[],
        remembers: &[],
    },
];

#[tokio::test(start_paused = true)]
async fn an_object_that_cannot_be_read_is_told_and_left_alone() {
    play(UNREADABLE).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_may_not_be_let_go_of_is_told_once_and_asked_about_no_more() {
    let mut w = World::new();
    has(&mut w, &deleted(KEPT()));
    let words = "apigateways.phasegate.dev \"shop\" is forbidden: User \"me\" cannot patch resource \"apigateways\"";
    let first = w.pass(vec![remove_finalizer().refused(403, "Forbidden", words)]).await.unwrap();
    assert_eq!(
        (first.ends.as_str(), first.tells.as_slice()),
        ("OnChange", &["Warning OperatorNotPermitted".to_owned()][..])
    );
    assert_eq!(w.pass(vec![]).await.unwrap().tells, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn an_object_that_cannot_be_read_is_told_once_until_its_fault_is_another() {
    let mut w = World::new();
    has(&mut w, &unreadable());
    let told = |ended: super::world::Passed| ended.tells.len();
    assert_eq!(told(w.pass(vec![reported()]).await.unwrap()), 1);
    assert_eq!(told(w.pass(vec![]).await.unwrap()), 0);
    has(&mut w, &set(unreadable(), "/metadata/generation", 2));
    assert_eq!(told(w.pass(vec![reported()]).await.unwrap()), 1);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_quoted_in_part_and_leaves_room_for_what_to_do() {
    let mut w = World::new();
    let mut long = json_of(&starting());
    long["spec"]["replicas"] = json!("a".repeat(5_000));
    has(&mut w, &long);
    let told = format!(
        "this version of the operator cannot read the object: invalid type: string \"{}…. Reconciliation is paused. \
         Correct it, run the version that wrote it, or delete it.",
        "a".repeat(278)
    );
    w.pass(vec![reported().with("/status/conditions/0/message", told)]).await.unwrap();
}

/// A started gateway whose Service has no owner reference.
fn service_is_orphaned(w: &mut World) {
    let children = children_of(&starting());
    w.has(starting(), [children.deployment, orphaned(children.service), children.ingress]);
}

fn orphan() -> Exchange {
    get(SERVICE, orphaned(children_of(&starting()).service))
}

const ORPHANS: &[Row] = &[
    Row {
        name: "the cache does not show yet that the gateway is going: its child is not taken back",
        given: service_is_orphaned,
        script: |_| vec![orphan(), get(GATEWAY, json_of(&but(starting(), deletes)))],
        ends: "CacheBehind",
        writes: &[],
        tells: &[],
        remembers: &["tried"],
    },
    Row {
        name: "nor does it show that the gateway is gone",
        given: service_is_orphaned,
        script: |_| vec![orphan(), miss(GATEWAY)],
        ends: "CacheBehind",
        writes: &[],
        tells: &[],
        remembers: &["tried"],
    },
    Row {
        name: "nor that another of its name has come",
        given: service_is_orphaned,
        script: |_| {
            let another = but(starting(), |g| g.metadata.uid = Some("uid-of-another".to_owned()));
            vec![orphan(), get(GATEWAY, json_of(&another))]
        },
        ends: "CacheBehind",
        writes: &[],
        tells: &[],
        remembers: &["tried"],
    },
    Row {
        name: "it is not known whether the gateway is going: its child is not taken back",
        given: service_is_orphaned,
        script: |_| vec![orphan(), miss(GATEWAY).unavailable()],
        ends: "Failed: unavailable",
        writes: &[],
        tells: &[],
        remembers: &["tried", "an outage"],
    },
    Row {
        name: "the gateway stays: whoever took the owner reference away made an edit, which is undone",
        given: service_is_orphaned,
        script: |_| {
            let taken_back = put(SERVICE).with("/metadata/ownerReferences/0/uid", "uid-of-shop");
            vec![orphan(), get(GATEWAY, json_of(&starting())), taken_back]
        },
        ends: "After 300s",
        writes: &[],
        tells: &[],
        remembers: &["tried"],
    },
    Row {
        name: "a gateway that is going is left to garbage collection",
        given: |w| {
            let children = children_of(&starting());
            let gateway = but(starting(), deletes);
            w.has(gateway, [children.deployment, orphaned(children.service), children.ingress]);
        },
        script: |_| vec![],
        ends: "OnChange",
        writes: &[],
        tells: &[],
        remembers: &[],
    },
];

#[tokio::test(start_paused = true)]
async fn a_child_that_was_left_behind_on_purpose_is_not_given_back_to_a_gateway_that_is_going() {
    play(ORPHANS).await;
}
