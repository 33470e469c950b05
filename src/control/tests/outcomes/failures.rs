//! What the API server does not carry out.

use super::{deployment_is_edited, half_way, nothing_is_there};
use crate::api::{Phase, State};
use crate::cluster::tests::server::{delete, miss, post, put};
use crate::control::tests::objects::{
    DEPLOYMENT, DEPLOYMENTS, INGRESS, INGRESSES, SERVICE, SERVICES, STATUS, children_of, fresh, recorded, starting,
};
use crate::control::tests::world::{Row, play};

const FAILURES: &[Row] = &[
    Row {
        name: "a call that is not answered in time ends the pass, is a try, and is told where others are answered",
        given: half_way,
        script: |_| vec![post(SERVICES).hangs(), put(STATUS)],
        ends: "Failed: the API server did not respond within 10s",
        writes: &["Starting Running, Ready False WriteUnanswered"],
        tells: &["Warning WriteUnanswered"],
        // The Deployment was created ten seconds ago: the cache would have shown it.
        remembers: &["tried", "our write"],
    },
    Row {
        name: "a call that is not answered in time while nobody is, is told to nobody",
        given: |w| {
            half_way(w);
            w.ctx.outages.began();
        },
        script: |_| vec![post(SERVICES).hangs()],
        ends: "Failed: the API server did not respond within 10s",
        writes: &[],
        tells: &[],
        remembers: &["tried", "an outage"],
    },
    Row {
        name: "a connection that breaks ends the pass and begins an outage",
        given: half_way,
        script: |_| vec![post(SERVICES).breaks()],
        ends: "Failed: ServiceError: connection refused",
        writes: &[],
        tells: &[],
        remembers: &["tried", "created Deployment", "an outage"],
    },
    Row {
        name: "an API server that is asked too much says when it may be asked again, and is not out of reach",
        given: half_way,
        script: |_| vec![post(SERVICES).too_many(7)],
        ends: "Failed: too many requests, not before 7s",
        writes: &[],
        tells: &[],
        remembers: &["tried", "created Deployment"],
    },
    Row {
        name: "an API server that is unavailable refuses nothing, and is told once that has lasted",
        given: half_way,
        script: |_| vec![post(SERVICES).unavailable()],
        ends: "Failed: unavailable",
        writes: &[],
        tells: &[],
        remembers: &["tried", "created Deployment", "an outage"],
    },
    Row {
        name: "a child that is in the way and cannot be read is no surprise",
        given: half_way,
        script: |_| vec![post(SERVICES).already_exists(), miss(SERVICE).unavailable()],
        ends: "Failed: unavailable",
        writes: &[],
        tells: &[],
        remembers: &["tried", "created Deployment", "an outage"],
    },
    Row {
        name: "an update whose read fails writes nothing",
        given: deployment_is_edited,
        script: |_| vec![miss(DEPLOYMENT).unavailable()],
        ends: "Failed: unavailable",
        writes: &[],
        tells: &[],
        remembers: &["tried", "an outage"],
    },
    Row {
        name: "a delete that fails is not expected to have happened",
        given: |w| {
            let children = children_of(&starting());
            let stopping = recorded(Phase::Stopping, State::Stopped, 10);
            w.has(stopping, [children.deployment, children.service, children.ingress]);
        },
        script: |_| vec![delete(INGRESS).unavailable()],
        ends: "Failed: unavailable",
        writes: &[],
        tells: &[],
        remembers: &["tried", "an outage"],
    },
    Row {
        name: "a refusal is told although a later call fails",
        given: nothing_is_there,
        script: |_| vec![post(DEPLOYMENTS).invalid("no such field"), post(SERVICES).unavailable(), put(STATUS)],
        ends: "Refused the Deployment: no such field",
        writes: &["Starting Running, Ready False AdmissionRefused"],
        tells: &["Warning AdmissionRefused"],
        remembers: &["tried", "refused the Deployment", "our write", "an outage"],
    },
    Row {
        name: "a transition that cannot be written is no transition",
        given: |w| w.gateway(&fresh()),
        script: |_| vec![put(STATUS).unavailable()],
        ends: "Failed: unavailable",
        writes: &["Starting Running, Ready False Starting"],
        tells: &[],
        remembers: &["an outage"],
    },
    Row {
        name: "a refusal whose status cannot be written is remembered, and not told",
        given: half_way,
        script: |_| vec![post(SERVICES).invalid("no such field"), post(INGRESSES), put(STATUS).unavailable()],
        ends: "Failed: unavailable",
        writes: &["Starting Running, Ready False AdmissionRefused"],
        tells: &[],
        remembers: &["tried", "refused the Service", "created Deployment", "created Ingress", "an outage"],
    },
];

#[tokio::test(start_paused = true)]
async fn an_api_server_that_does_not_carry_out_a_call_ends_the_pass() {
    play(FAILURES).await;
}
