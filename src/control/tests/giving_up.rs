//! An attempt is given up on what the API server says, and not on what a cache does.

use serde_json::Value;

use super::objects::{BUDGET, DEPLOYMENT, INGRESS, SERVICE, STATUS, children_of, complete, overdue};
use super::world::{Row, World, play};
use crate::cluster::tests::server::{Exchange, get, miss, put};

/// The deadline has passed, and in the cache no pod is available.
fn deadline_has_passed(w: &mut World) {
    let children = children_of(&overdue());
    w.has(overdue(), [children.deployment, children.service, children.ingress]);
}

/// The same, of a gateway whose Service is missing.
fn service_is_missing(w: &mut World) {
    let children = children_of(&overdue());
    w.has(overdue(), [children.deployment, children.ingress]);
}

/// The four live reads, where the Deployment is as it is said.
fn live(deployment: fn(Value) -> Value) -> [Exchange; 4] {
    let children = children_of(&overdue());
    [
        get(DEPLOYMENT, deployment(children.deployment)),
        get(SERVICE, children.service),
        get(INGRESS, children.ingress),
        miss(BUDGET),
    ]
}

/// The four live reads, of which one fails.
fn live_but(failing: usize, fail: fn(Exchange) -> Exchange) -> Vec<Exchange> {
    let reads = live(complete).into_iter().enumerate();
    reads.map(|(at, read)| if at == failing { fail(read) } else { read }).collect()
}

const TABLE: &[Row] = &[
    Row {
        name: "the cache says not ready and the API server says ready: it has started",
        given: deadline_has_passed,
        script: |_| live(complete).into_iter().chain([put(STATUS)]).collect(),
        ends: "Now",
        writes: &["Started Running, Ready True Started"],
        tells: &["Normal Started"],
        remembers: &["our write"],
    },
    Row {
        name: "both say not ready: it is given up, with its children still there",
        given: deadline_has_passed,
        script: |_| live(|deployment| deployment).into_iter().chain([put(STATUS)]).collect(),
        ends: "Now",
        writes: &["Started Stopped, Ready False StartDeadlineExceeded"],
        tells: &["Warning StartDeadlineExceeded"],
        remembers: &["our write"],
    },
    Row {
        name: "something is missing that this process has not tried: the attempt begins anew, without a live read",
        given: service_is_missing,
        script: |_| vec![put(STATUS).with("/status/attempt/number", 2)],
        ends: "Now",
        writes: &["Starting Running, Ready False Starting"],
        tells: &["Normal Resumed"],
        remembers: &["our write"],
    },
    Row {
        name: "something is missing that this process has tried: it is given up",
        given: |w| {
            service_is_missing(w);
            w.tried();
        },
        script: |_| {
            let [deployment, _, ingress, budget] = live(|deployment| deployment);
            vec![deployment, miss(SERVICE), ingress, budget, put(STATUS)]
        },
        ends: "Now",
        writes: &["Started Stopped, Ready False StartDeadlineExceeded"],
        tells: &["Warning StartDeadlineExceeded"],
        remembers: &["tried", "our write"],
    },
    Row {
        name: "the Service that the cache misses is there: it has started",
        given: |w| {
            service_is_missing(w);
            w.tried();
        },
        script: |_| live(complete).into_iter().chain([put(STATUS)]).collect(),
        ends: "Now",
        writes: &["Started Running, Ready True Started"],
        tells: &["Normal Started"],
        remembers: &["tried", "our write"],
    },
    Row {
        name: "the read of the Deployment fails: nothing is given up",
        given: deadline_has_passed,
        script: |_| live_but(0, Exchange::unavailable),
        ends: "Failed: unavailable",
        writes: &[],
        tells: &[],
        remembers: &["an outage"],
    },
    Row {
        name: "the read of the Service fails: nothing is given up",
        given: deadline_has_passed,
        script: |_| live_but(1, Exchange::unavailable),
        ends: "Failed: unavailable",
        writes: &[],
        tells: &[],
        remembers: &["an outage"],
    },
    Row {
        name: "the read of the Ingress hangs: nothing is given up",
        given: deadline_has_passed,
        script: |_| live_but(2, Exchange::hangs),
        ends: "Failed: the API server did not respond within 10s",
        writes: &[],
        tells: &[],
        remembers: &[],
    },
    Row {
        name: "the read of the PodDisruptionBudget breaks: nothing is given up, and an outage begins",
        given: deadline_has_passed,
        script: |_| live_but(3, Exchange::breaks),
        ends: "Failed: ServiceError: connection refused",
        writes: &[],
        tells: &[],
        remembers: &["an outage"],
    },
    Row {
        name: "it cannot be recorded that it was given up: it is not",
        given: deadline_has_passed,
        script: |_| live(|deployment| deployment).into_iter().chain([put(STATUS).conflicts()]).collect(),
        ends: "CacheBehind",
        writes: &["Started Stopped, Ready False StartDeadlineExceeded"],
        tells: &[],
        remembers: &[],
    },
];

#[tokio::test(start_paused = true)]
async fn an_attempt_is_given_up_on_a_live_read_alone() {
    play(TABLE).await;
}
