//! An attempt is given up on what the API server says, and not on what a cache does.

use serde_json::{Value, json};

use super::objects::{
    BUDGET, DEPLOYMENT, INGRESS, SERVICE, STATUS, children_of, children_with, complete, edited, environment, json_of,
    overdue, set,
};
use super::world::{Row, World, play};
use crate::api::EnvironmentState;
use crate::cluster::tests::server::{Exchange, get, miss, put};

const ACTIVE: EnvironmentState = EnvironmentState::Active;
const INACTIVE: EnvironmentState = EnvironmentState::Inactive;

/// The environments, of which one is listed by its name.
const LIVE: &str = "/apis/phasegate.dev/v1alpha1/namespaces/tenants/environments";

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

/// The same, where everything is there, and the Service is not as desired.
fn service_differs(w: &mut World) {
    let children = children_of(&overdue());
    w.has(overdue(), [complete(children.deployment), edited(children.service), children.ingress]);
    w.tried();
}

/// The same, where everything is there but the activation of an environment, which this process has tried.
fn environment_is_inactive(w: &mut World) {
    let children = children_with(&overdue(), &["dev.example.com"]);
    w.environment(&environment(INACTIVE));
    w.has(overdue(), [complete(children.deployment), children.service, children.ingress]);
    w.tried();
}

fn listed(items: &[Value]) -> Value {
    json!({ "apiVersion": "phasegate.dev/v1alpha1", "kind": "EnvironmentList", "metadata": {}, "items": items })
}

/// The four live reads of a workload that is ready, and the fifth of its environment.
fn live_with(of_environment: Exchange) -> Vec<Exchange> {
    let children = children_with(&overdue(), &["dev.example.com"]);
    vec![
        get(DEPLOYMENT, complete(children.deployment)),
        get(SERVICE, children.service),
        get(INGRESS, children.ingress),
        miss(BUDGET),
        of_environment,
    ]
}

/// The same, and then the status.
fn judged_with(of_environment: Exchange) -> Vec<Exchange> {
    live_with(of_environment).into_iter().chain([put(STATUS)]).collect()
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
        name: "the environment that the cache shows as inactive is Active: it has started",
        given: environment_is_inactive,
        script: |_| judged_with(get(LIVE, listed(&[json_of(&environment(ACTIVE))]))),
        ends: "Now",
        writes: &["Started Running, Ready True Started"],
        tells: &["Normal Started"],
        remembers: &["tried", "our write"],
    },
    Row {
        name: "the environment is gone: it has started",
        given: environment_is_inactive,
        script: |_| {
            let mut reads = judged_with(get(LIVE, listed(&[])));
            reads[2] = get(INGRESS, children_of(&overdue()).ingress);
            reads
        },
        ends: "Now",
        writes: &["Started Running, Ready True Started"],
        tells: &["Normal Started"],
        remembers: &["tried", "our write"],
    },
    Row {
        name: "the environment is inactive on the API server too: it is given up, and what serves stays",
        given: environment_is_inactive,
        script: |_| judged_with(get(LIVE, listed(&[json_of(&environment(INACTIVE))]))),
        ends: "Now",
        writes: &["Started Running, Ready True Started"],
        tells: &["Warning StartDeadlineExceeded"],
        remembers: &["tried", "our write"],
    },
    Row {
        name: "the environment cannot be decoded: it counts as in the cache, and no deadline waits for it",
        given: environment_is_inactive,
        script: |_| {
            let unreadable = set(json_of(&environment(INACTIVE)), "/spec/host", json!([1]));
            judged_with(get(LIVE, listed(&[unreadable])))
        },
        ends: "Now",
        writes: &["Started Running, Ready True Started"],
        tells: &["Warning StartDeadlineExceeded"],
        remembers: &["tried", "our write"],
    },
    Row {
        name: "the read of the environment fails: nothing is given up",
        given: environment_is_inactive,
        script: |_| live_with(miss(LIVE).unavailable()),
        ends: "Failed: unavailable",
        writes: &[],
        tells: &[],
        remembers: &["tried", "an outage"],
    },
    Row {
        name: "only the content of the Service differs: it is written once more before anything is given up",
        given: service_differs,
        script: |_| vec![get(SERVICE, edited(children_of(&overdue()).service)), put(SERVICE)],
        ends: "InTurn(UnderWay)",
        writes: &[],
        tells: &[],
        remembers: &["tried late"],
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

/// The answer to the first write of the Service was lost, so the operator does not know what admission made of it.
#[tokio::test(start_paused = true)]
async fn what_admission_changed_in_an_answer_that_was_lost_fails_no_start() {
    let mut w = World::new();
    service_differs(&mut w);
    let stored = edited(children_of(&overdue()).service);
    let late = w.pass(vec![get(SERVICE, stored.clone()), put(SERVICE).gives(stored)]).await.unwrap();
    assert_eq!(late.writes, Vec::<String>::new());

    let judged = w.pass(vec![put(STATUS)]).await.unwrap();
    assert_eq!(judged.writes, ["Started Running, Ready True Started"]);
    assert_eq!(judged.tells, ["Normal Started", "Normal ChangedOnWrite"]);
}

/// Somebody else, or nobody, decides about it: it is written once more, and not for ever.
#[tokio::test(start_paused = true)]
async fn a_difference_that_stays_is_judged_after_one_more_write() {
    let stored = || edited(children_of(&overdue()).service);
    let hangs = vec![get(SERVICE, stored()), put(SERVICE).hangs()];
    let is_refused = vec![get(SERVICE, stored()), put(SERVICE).invalid("no such field"), put(STATUS)];
    for script in [hangs, is_refused] {
        let mut w = World::new();
        service_differs(&mut w);
        let last = w.pass(script).await.unwrap();
        assert!(last.remembers.contains(&"tried late".to_owned()), "{last:?}");

        let [deployment, _, ingress, budget] = live(complete);
        let judged = w.pass(vec![deployment, get(SERVICE, stored()), ingress, budget, put(STATUS)]).await.unwrap();
        assert_eq!(judged.tells, ["Warning StartDeadlineExceeded"]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_is_given_up_on_a_live_read_alone() {
    play(TABLE).await;
}
