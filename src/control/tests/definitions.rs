//! Statuses under definitions that are older than this version.

use serde_json::Value;

use super::objects::{BUDGET, DEPLOYMENT, INGRESS, SERVICE, STATUS, but, children_of, json_of, overdue, started};
use super::world::{Row, World, play};
use crate::api::RETRY_ANNOTATION;
use crate::cluster::tests::server::{Exchange, get, miss, put};

/// The deadline has passed, and no pod is available.
fn deadline_has_passed(w: &mut World) {
    let children = children_of(&overdue());
    w.has(overdue(), [children.deployment, children.service, children.ingress]);
}

fn live_reads() -> Vec<Exchange> {
    let children = children_of(&overdue());
    let gone = miss(BUDGET);
    vec![get(DEPLOYMENT, children.deployment), get(SERVICE, children.service), get(INGRESS, children.ingress), gone]
}

const REFUSED: &[Row] = &[
    Row {
        name: "a reason that the definitions do not have: the deadline holds in plainer words",
        given: deadline_has_passed,
        script: |_| {
            let refused = put(STATUS).invalid_in(&["status.history[1].reason"]);
            let for_older_crds =
                put(STATUS).with("/status/history/1/reason", "SlowStart").with("/status/phase", "Started");
            live_reads().into_iter().chain([refused, for_older_crds.with("/status/state", "Stopped")]).collect()
        },
        ends: "Now",
        writes: &[
            "Started Stopped, Ready False StartDeadlineExceeded",
            "Started Stopped, Ready False StartDeadlineExceeded",
        ],
        tells: &["Warning StartDeadlineExceeded"],
        remembers: &["our write"],
    },
    Row {
        name: "nor the plainest one: it is not recorded, and the deadline holds",
        given: deadline_has_passed,
        script: |_| {
            let refused = || put(STATUS).invalid_in(&["status.lastFailure.reason", "status.history[1].reason"]);
            let barest = put(STATUS).with("/status/lastFailure", Value::Null).with("/status/state", "Stopped");
            live_reads().into_iter().chain([refused(), refused(), barest]).collect()
        },
        ends: "Now",
        writes: &[
            "Started Stopped, Ready False StartDeadlineExceeded",
            "Started Stopped, Ready False StartDeadlineExceeded",
            "Started Stopped, Ready False StartDeadlineExceeded",
        ],
        tells: &["Warning StartDeadlineExceeded"],
        remembers: &["our write"],
    },
    Row {
        name: "what has no plainer words is refused, and tried again",
        given: deadline_has_passed,
        script: |_| {
            let refused = put(STATUS).invalid_in(&["status.phase"]);
            live_reads().into_iter().chain([refused]).collect()
        },
        ends: "Failed: the object is invalid",
        writes: &["Started Stopped, Ready False StartDeadlineExceeded"],
        tells: &["Warning AdmissionRefused"],
        remembers: &[],
    },
];

#[tokio::test(start_paused = true)]
async fn the_deadline_holds_whatever_the_definitions_refuse_of_its_record() {
    play(REFUSED).await;
}

#[tokio::test(start_paused = true)]
async fn a_status_that_the_definitions_drop_is_written_once_and_not_at_each_look() {
    let mut w = World::new();
    let children = children_of(&started());
    w.has(started(), [children.deployment, children.service, children.ingress]);
    // What a newer version would have written is dropped on the way.
    let mut cached = w.cached();
    cached.metadata.generation = Some(2);
    w.gateway(&cached);
    let dropped = || put(STATUS).gives(json_of(&cached));
    assert_eq!(w.pass(vec![dropped()]).await.unwrap().writes.len(), 1);
    assert_eq!(w.pass(vec![]).await.unwrap().writes.len(), 0);
    let asked = but(cached.clone(), |g| {
        g.metadata.annotations = Some([(RETRY_ANNOTATION.to_owned(), "now".to_owned())].into());
        g.metadata.resource_version = Some("2".to_owned());
    });
    w.gateway(&asked);
    assert_eq!(w.pass(vec![put(STATUS)]).await.unwrap().writes.len(), 1, "of another version it is not known");
}
