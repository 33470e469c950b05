//! What webhooks of other people do to a write, and what a write does that nobody answers.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::{deployment, deployment_is_edited, half_way, nothing_is_there};
use crate::cluster::tests::server::{Exchange, get, miss, post, put};
use crate::control::clock::Now;
use crate::control::tests::objects::{
    BUDGET, DEPLOYMENT, DEPLOYMENTS, INGRESS, INGRESSES, SERVICE, SERVICES, STATUS, children_of, edited, starting,
};
use crate::control::tests::world::{Row, World, play};
use crate::decide::observed::{Child, MissingDependency, Target, Unanswered};

const AWAY: &str = "Internal error occurred: failed calling webhook \"no.example.com\": connection refused";
const DENIED: &str = "admission webhook \"no.example.com\" denied the request: not on Fridays";
const NOT_PERMITTED: &str = "services is forbidden: User \"operator\" cannot create resource \"services\"";

fn is_away(exchange: Exchange) -> Exchange {
    exchange.refused(500, "InternalError", AWAY)
}

const WEBHOOKS: &[Row] = &[
    Row {
        name: "a webhook that is away is told at once, and does not keep the others from being created",
        given: nothing_is_there,
        script: |_| vec![is_away(post(DEPLOYMENTS)), post(SERVICES), post(INGRESSES), put(STATUS)],
        ends: "Failed: Internal error occurred: failed calling webhook \"no.example.com\": connection refused",
        writes: &["Starting Running, Ready False WebhookUnavailable"],
        tells: &["Warning WebhookUnavailable"],
        remembers: &["tried", "unanswered the Deployment", "created Service", "created Ingress", "our write"],
    },
    Row {
        name: "a webhook that denies with 404 does not say that the object is gone",
        given: deployment_is_edited,
        script: |_| {
            let denied = put(DEPLOYMENT).refused(404, "NotFound", DENIED);
            vec![get(DEPLOYMENT, edited(deployment())), denied, put(STATUS)]
        },
        ends: "Refused the Deployment: admission webhook \"no.example.com\" denied the request: not on Fridays",
        writes: &["Starting Running, Ready False AdmissionRefused"],
        tells: &["Warning AdmissionRefused"],
        remembers: &["tried", "refused the Deployment", "our write"],
    },
    Row {
        name: "a webhook that denies as if there was one already is not looked for",
        given: half_way,
        script: |_| vec![post(SERVICES).refused(409, "AlreadyExists", DENIED), post(INGRESSES), put(STATUS)],
        ends: "Refused the Service: admission webhook \"no.example.com\" denied the request: not on Fridays",
        writes: &["Starting Running, Ready False AdmissionRefused"],
        tells: &["Warning AdmissionRefused"],
        remembers: &["tried", "refused the Service", "created Deployment", "created Ingress", "our write"],
    },
    Row {
        name: "a webhook that denies with 503 is no outage",
        given: half_way,
        script: |_| vec![post(SERVICES).refused(503, "ServiceUnavailable", DENIED), post(INGRESSES), put(STATUS)],
        ends: "Refused the Service: admission webhook \"no.example.com\" denied the request: not on Fridays",
        writes: &["Starting Running, Ready False AdmissionRefused"],
        tells: &["Warning AdmissionRefused"],
        remembers: &["tried", "refused the Service", "created Deployment", "created Ingress", "our write"],
    },
    Row {
        name: "a write that hangs ends when the attempt is to be judged, and not when a call does",
        given: |w| {
            half_way(w);
            w.is_due_in(Duration::from_secs(3));
        },
        script: |_| vec![post(SERVICES).hangs(), put(STATUS)],
        ends: "Failed: the API server did not respond within 3s",
        writes: &["Starting Running, Ready False WriteUnanswered"],
        tells: &["Warning WriteUnanswered"],
        remembers: &["tried", "created Deployment", "our write"],
    },
    Row {
        name: "a permission that is missing is told once that has lasted",
        given: |w| {
            half_way(w);
            failing_since(w, MissingDependency::Permission, 3);
        },
        script: |_| vec![post(SERVICES).refused(403, "Forbidden", NOT_PERMITTED), post(INGRESSES), put(STATUS)],
        ends: "Failed: services is forbidden: User \"operator\" cannot create resource \"services\"",
        writes: &["Starting Running, Ready False OperatorNotPermitted"],
        tells: &["Warning OperatorNotPermitted"],
        remembers: &["tried", "created Deployment", "created Ingress", "our write"],
    },
    Row {
        name: "a storage that is away is told once that has lasted, to whom it can be told",
        given: |w| {
            half_way(w);
            failing_since(w, MissingDependency::Cluster, 3);
        },
        script: |_| vec![post(SERVICES).refused(500, "", "etcdserver: no leader"), put(STATUS)],
        ends: "Failed: etcdserver: no leader",
        writes: &["Starting Running, Ready False ClusterUnavailable"],
        tells: &["Warning ClusterUnavailable"],
        remembers: &["tried", "created Deployment", "our write", "an outage"],
    },
];

/// The Service could not be written for so many seconds.
fn failing_since(w: &mut World, by: MissingDependency, seconds: u64) {
    let what = Unanswered { what: Target::Child(Child::Service), by, words: String::new(), lasted: Duration::ZERO };
    w.remember(|gateway, remembered| {
        let mut then = Now::read();
        then.monotonic = then.monotonic.checked_sub(Duration::from_secs(seconds)).unwrap();
        remembered.unanswered(gateway, &what, then);
    });
}

#[tokio::test(start_paused = true)]
async fn what_a_webhook_or_nobody_says_is_recorded_before_the_pass_fails() {
    tokio::time::advance(Duration::from_secs(60)).await;
    play(WEBHOOKS).await;
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_is_back_is_told_at_once() {
    let mut w = World::new();
    nothing_is_there(&mut w);
    let away = vec![is_away(post(DEPLOYMENTS)), is_away(post(SERVICES)), is_away(post(INGRESSES)), put(STATUS)];
    w.pass(away).await.unwrap();
    let told = w.ctx.memory.newer_than(&w.cached()).unwrap();
    assert!(told.status.as_ref().unwrap().attempt.as_ref().unwrap().held_since.is_some(), "the clock is held");

    // Long after the deadline: the clock was held.
    tokio::time::sleep(Duration::from_secs(1_000)).await;
    let again = w.pass(vec![post(DEPLOYMENTS)]).await.unwrap();
    assert_eq!((again.ends.as_str(), again.writes.len()), ("InTurn(HalfWay)", 0));
    let rest = w.pass(vec![post(SERVICES), post(INGRESSES)]).await.unwrap();
    assert_eq!((rest.ends.as_str(), rest.writes.len()), ("Now", 0), "{rest:?}");
    let said = w.pass(vec![put(STATUS)]).await.unwrap();
    assert_eq!(said.writes, ["Starting Running, Ready False Starting"]);
}

#[tokio::test(start_paused = true)]
async fn what_an_api_server_without_its_storage_could_not_be_told_is_not_told_when_it_is_back() {
    let mut w = World::new();
    w.has(starting(), []);
    w.created(&[Child::Deployment]);
    let fails = |exchange: Exchange| exchange.refused(500, "", "rpc error: code = Unavailable desc = closing");
    w.pass(vec![fails(post(SERVICES))]).await.unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    let lasted = w.pass(vec![fails(post(SERVICES)), fails(put(STATUS))]).await.unwrap();
    assert_eq!(lasted.tells, [""; 0]);
    w.created(&[Child::Deployment]);

    let back = w.pass(vec![post(SERVICES), post(INGRESSES)]).await.unwrap();

    assert_eq!((back.writes.len(), back.tells.len()), (0, 0), "{back:?}");
}

/// A gateway is starting whose status has something to say.
fn something_is_to_be_told(w: &mut World) {
    let children = children_of(&starting());
    w.has(starting(), [children.deployment, children.service, children.ingress]);
    let mut cached = w.cached();
    cached.metadata.generation = Some(2);
    // As it is after it was written and read.
    let began = &mut cached.status.as_mut().unwrap().attempt.as_mut().unwrap().started_at.0;
    *began = Timestamp::from_second(began.as_second()).unwrap();
    w.gateway(&cached);
}

#[tokio::test(start_paused = true)]
async fn time_in_which_a_webhook_of_the_status_was_away_is_no_part_of_the_attempt() {
    let mut w = World::new();
    something_is_to_be_told(&mut w);
    let first = w.pass(vec![is_away(put(STATUS))]).await.unwrap();
    assert_eq!(first.tells, ["Warning WebhookUnavailable"]);

    // Longer than the deadline of 300 s, and no live read: nothing is given up.
    tokio::time::sleep(Duration::from_secs(400)).await;
    let again = w.pass(vec![is_away(put(STATUS))]).await.unwrap();
    assert_eq!((again.writes, again.tells), (vec!["Starting Running, Ready False Starting".to_owned()], vec![]));

    let back = w.pass(vec![put(STATUS).with("/status/attempt/heldSeconds", 401)]).await.unwrap();
    assert_eq!(back.writes, ["Starting Running, Ready False Starting"]);
    let next = w.pass(vec![]).await.unwrap();
    assert_eq!((next.ends.as_str(), next.writes.len()), ("After 300s", 0));
    tokio::time::sleep(Duration::from_secs(290)).await;
    assert_eq!(w.pass(vec![]).await.unwrap().ends, "After 10s", "from then on its clock runs");
}

#[tokio::test(start_paused = true)]
async fn a_status_that_is_refused_is_told_by_an_event_now_and_then_and_holds_no_clock() {
    let mut w = World::new();
    something_is_to_be_told(&mut w);
    let refused = || {
        let words = "apigateways.phasegate.dev \"shop\" is forbidden: ValidatingAdmissionPolicy 'p' denied request: no";
        put(STATUS).refused(422, "Invalid", words)
    };
    assert_eq!(w.pass(vec![refused()]).await.unwrap().tells, ["Warning AdmissionRefused"]);
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert_eq!(w.pass(vec![refused()]).await.unwrap().tells, [""; 0]);
    tokio::time::sleep(Duration::from_secs(500)).await;
    let reads = [DEPLOYMENT, SERVICE, INGRESS].map(miss);
    let late = w.pass(reads.into_iter().chain([miss(BUDGET), refused()]).collect()).await.unwrap();
    assert_eq!(late.tells, ["Warning AdmissionRefused"], "once in ten minutes");
}
