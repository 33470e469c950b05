//! A registry outside Kubernetes that is away, and one that goes away when it is written to.

use mongodb::bson::doc;

use super::objects::{DEPLOYMENTS, GATEWAY, STATUS, but, deletes, finalizer, fresh, json_of, recorded, starting};
use super::world::{Row, World, play, shop};
use crate::api::{ApiGateway, Phase, State};
use crate::cluster::tests::server::{patch, post, put};
use crate::decide::observed::Child;
use crate::queue::{Key, Kind};
use crate::registry::Registry;
use crate::registry::cache::CachedDocument;
use crate::registry::document::{GatewayDocument, StoredDocument};

const AWAY: &str = "Registry: mongo.example.com has not been reached yet";

/// The gateway's own document, which was told its transition of this number.
fn document(w: &mut World, seq: i64) {
    let mongo = w.record_in_mongo();
    let document = doc! {
        "_id": "tenants.shop", "gatewayId": "tenants.shop", "namespace": "tenants", "name": "shop",
        "uid": "uid-of-shop", "seq": seq, "state": "Running", "phase": "Starting",
    };
    GatewayDocument::collection_cache(&mongo.cache).put(GatewayDocument::read(document));
}

/// The registry was found away.
fn is_away(w: &mut World) {
    w.record_in_mongo().breaker.trip("connection refused");
}

fn timed_out() -> ApiGateway {
    but(recorded(Phase::Started, State::Stopped, 5), |g| {
        finalizer(g);
        g.status.as_mut().unwrap().transitions = 3;
    })
}

const TABLE: &[Row] = &[
    Row {
        name: "a gateway is kept before anything else is done with it, and its status waits for that",
        given: |w| {
            w.record_in_mongo();
            w.gateway(&fresh());
        },
        script: |_| {
            let kept = patch(GATEWAY, json_of(&but(fresh(), finalizer))).with("/metadata/resourceVersion", "1");
            vec![kept.with("/metadata/finalizers/0", "phasegate.dev/registry")]
        },
        ends: "InTurn(UnderWay)",
        writes: &[],
        tells: &[],
        remembers: &["our write"],
    },
    Row {
        name: "a gateway that somebody else wrote meanwhile is not kept yet",
        given: |w| {
            w.record_in_mongo();
            w.gateway(&fresh());
        },
        script: |_| vec![patch(GATEWAY, json_of(&fresh())).conflicts()],
        ends: "CacheBehind",
        writes: &[],
        tells: &[],
        remembers: &[],
    },
    Row {
        name: "the record before the first transition fails: the gateway waits for the registry",
        given: |w| {
            w.record_in_mongo();
            w.gateway(&but(fresh(), finalizer));
        },
        script: |_| vec![put(STATUS)],
        ends: AWAY,
        writes: &["Created Running, Ready False RegistryUnavailable"],
        tells: &["Warning RegistryUnavailable"],
        remembers: &["our write"],
    },
    Row {
        name: "neither the record nor the status can be written: the status is what fails the pass",
        given: |w| {
            w.record_in_mongo();
            w.gateway(&but(fresh(), finalizer));
        },
        script: |_| vec![put(STATUS).conflicts()],
        ends: "CacheBehind",
        writes: &["Created Running, Ready False RegistryUnavailable"],
        tells: &[],
        remembers: &[],
    },
    Row {
        name: "the report of a timeout fails: the gateway is stopped all the same",
        given: |w| {
            document(w, 2);
            w.has(timed_out(), []);
        },
        script: |_| vec![put(STATUS).with("/status/transitions", 4)],
        ends: AWAY,
        writes: &["Stopping Stopped, Ready False StartDeadlineExceeded"],
        tells: &[],
        remembers: &["our write"],
    },
    Row {
        name: "a report that fails keeps no child from being written",
        given: |w| {
            document(w, 0);
            w.has(but(starting(), finalizer), []);
            w.created(&[Child::Service, Child::Ingress]);
        },
        script: |_| vec![post(DEPLOYMENTS), put(STATUS)],
        ends: AWAY,
        writes: &["Starting Running, Ready False RegistryUnavailable"],
        tells: &["Warning RegistryUnavailable"],
        remembers: &["tried", "created Deployment", "created Service", "created Ingress", "our write"],
    },
    Row {
        name: "a registry that is known to be away is not asked",
        given: |w| {
            is_away(w);
            w.gateway(&but(fresh(), finalizer));
        },
        script: |_| vec![put(STATUS)],
        ends: "Now",
        writes: &["Created Running, Ready False RegistryUnavailable"],
        tells: &["Warning RegistryUnavailable"],
        remembers: &["our write"],
    },
    Row {
        name: "an operator that is not leader tells the registry nothing",
        given: |w| {
            document(w, 2);
            w.has(timed_out(), []);
            w.claim.give_up();
        },
        script: |_| vec![],
        ends: "Failed: this replica is not leader",
        writes: &[],
        tells: &[],
        remembers: &[],
    },
    Row {
        name: "a gateway of which nothing is left in the registry is let go of",
        given: |w| {
            w.record_in_mongo();
            let going = but(but(recorded(Phase::Deleting, State::Stopped, 5), deletes), finalizer);
            w.has(going, []);
        },
        script: |_| vec![patch(GATEWAY, json_of(&starting())).with("/metadata/finalizers", serde_json::json!([]))],
        ends: "OnChange",
        writes: &[],
        tells: &[],
        remembers: &[],
    },
];

#[tokio::test(start_paused = true)]
async fn a_registry_that_fails_is_told_and_holds_up_nothing_but_what_waits_for_it() {
    play(TABLE).await;
}

/// Whoever may create gateways may give them our finalizer, and an operator whose registry is Kubernetes has no permission to
/// remove it.
#[tokio::test(start_paused = true)]
async fn a_forged_finalizer_is_told_once_and_asked_about_no_more() {
    for (code, reason, message) in [
        (
            403,
            "Forbidden",
            "apigateways.phasegate.dev \"shop\" is forbidden: User \"me\" cannot patch resource \"apigateways\"",
        ),
        (422, "Invalid", "ValidatingAdmissionPolicy 'theirs' with binding 'theirs' denied request: no"),
    ] {
        let mut w = World::new();
        w.has(but(but(starting(), deletes), finalizer), []);
        let refused = patch(GATEWAY, json_of(&starting())).refused(code, reason, message);
        let first = w.pass(vec![refused]).await.unwrap();
        assert_eq!(
            (first.ends.as_str(), first.tells.as_slice()),
            ("OnChange", &["Warning OperatorNotPermitted".to_owned()][..])
        );
        let again = w.pass(vec![]).await.unwrap();
        assert_eq!((again.ends.as_str(), again.tells.len()), ("OnChange", 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_waits_for_the_registry_is_woken_when_it_is_back() {
    let mut w = World::new();
    is_away(&mut w);
    w.gateway(&but(fresh(), finalizer));
    w.pass(vec![put(STATUS)]).await.unwrap();
    assert_eq!(w.queue.take(), None);

    let Registry::MongoDb(mongo) = &w.ctx.registry else { panic!("none") };
    mongo.breaker.reset();
    mongo.requeue_waiting();
    assert_eq!(w.queue.take(), Some(Key { object: shop(), kind: Kind::Gateway }));
}
