//! Every way in which a pass over a gateway can end.

use std::time::Duration;

use super::objects::{
    DEPLOYMENT, DEPLOYMENTS, INGRESS, INGRESSES, SERVICE, SERVICES, STATUS, children_of, complete, edited, fresh,
    predecessors, recorded, set, started, starting, strangers, terminating,
};
use super::world::{Row, World, play};
use crate::api::{Phase, State};
use crate::cluster::tests::server::{Exchange, delete, get, miss, patch, post, put};
use crate::decide::observed::Child;

/// A gateway is starting, and nothing of it is there.
fn nothing_is_there(w: &mut World) {
    w.has(starting(), []);
}

/// A gateway is starting, its Deployment was created a moment ago, and the rest is missing.
fn half_way(w: &mut World) {
    nothing_is_there(w);
    w.created(&[Child::Deployment]);
}

/// A gateway is starting, and somebody edited its Deployment.
fn deployment_is_edited(w: &mut World) {
    let children = children_of(&starting());
    w.has(starting(), [edited(children.deployment), children.service, children.ingress]);
}

fn deployment() -> serde_json::Value {
    children_of(&starting()).deployment
}

const BEHIND: &[Row] = &[
    Row {
        name: "after the Deployment others have their turn, whose pods take longer than we do",
        given: nothing_is_there,
        script: |_| vec![post(DEPLOYMENTS)],
        ends: "InTurn",
        writes: &[],
        tells: &[],
        remembers: &["created Deployment"],
    },
    Row {
        name: "what was created is waited for until the cache should have shown it",
        given: half_way,
        script: |_| vec![post(SERVICES), post(INGRESSES)],
        ends: "After 5s",
        writes: &[],
        tells: &[],
        remembers: &["tried", "created Deployment", "created Service", "created Ingress"],
    },
    Row {
        name: "what was created and is not shown is not created again",
        given: |w| {
            nothing_is_there(w);
            w.created(&[Child::Deployment, Child::Service, Child::Ingress]);
        },
        script: |_| vec![],
        ends: "After 5s",
        writes: &[],
        tells: &[],
        remembers: &["created Deployment", "created Service", "created Ingress"],
    },
    Row {
        name: "a start whose children are there waits for its deadline alone",
        given: |w| {
            let children = children_of(&starting());
            w.has(starting(), [children.deployment, children.service, children.ingress]);
        },
        script: |_| vec![],
        ends: "After 300s",
        writes: &[],
        tells: &[],
        remembers: &[],
    },
    Row {
        name: "a started gateway that is as asked is silent",
        given: |w| {
            let children = children_of(&started());
            w.has(started(), [complete(children.deployment), children.service, children.ingress]);
        },
        script: |_| vec![],
        ends: "WhenWoken",
        writes: &[],
        tells: &[],
        remembers: &[],
    },
    Row {
        name: "another operator's gateway is only looked at",
        given: |w| {
            w.gateway(&fresh());
            w.is_anothers();
        },
        script: |_| vec![],
        ends: "WhenWoken",
        writes: &[],
        tells: &[],
        remembers: &[],
    },
    Row {
        name: "a gateway waits until it is known what its namespace allows",
        given: |w| {
            w.gateway(&fresh());
            w.namespace_is_unknown();
        },
        script: |_| vec![],
        ends: "WhenWoken",
        writes: &[],
        tells: &[],
        remembers: &[],
    },
    Row {
        name: "a transition is recorded and nothing else is done",
        given: |w| w.gateway(&fresh()),
        script: |_| vec![put(STATUS).with("/metadata/resourceVersion", "1").with("/status/attempt/number", 1)],
        ends: "AtOnce",
        writes: &["Starting Running, Ready False Starting"],
        tells: &[],
        remembers: &["our write"],
    },
    Row {
        name: "of a gateway in a phase of another version nothing is written but its conditions",
        given: |w| w.gateway(&recorded(Phase::Unknown("Hibernating".to_owned()), State::Running, 10)),
        script: |_| {
            let said = patch(STATUS, serde_json::json!({ "metadata": { "name": "shop" } }));
            vec![said.with("/metadata/resourceVersion", "1").with("/status/phase", serde_json::Value::Null)]
        },
        ends: "WhenWoken",
        writes: &["- -, Ready False UnknownPhase"],
        tells: &["Warning UnknownPhase"],
        remembers: &[],
    },
    Row {
        name: "a stop takes the Ingress away first, and waits until it is gone",
        given: |w| {
            let children = children_of(&starting());
            let stopping = recorded(Phase::Stopping, State::Stopped, 10);
            w.has(stopping, [children.deployment, children.service, children.ingress]);
        },
        script: |_| vec![delete(INGRESS).with("/preconditions/uid", "uid-of-ingress")],
        ends: "After 590s",
        writes: &[],
        tells: &[],
        remembers: &["tried", "deleted Ingress"],
    },
    Row {
        name: "a child that is gone when it is deleted counts as deleted",
        given: |w| {
            let children = children_of(&starting());
            w.has(recorded(Phase::Stopping, State::Stopped, 10), [children.deployment]);
        },
        script: |_| vec![delete(DEPLOYMENT).gone()],
        ends: "After 590s",
        writes: &[],
        tells: &[],
        remembers: &["tried", "deleted Deployment"],
    },
    Row {
        name: "a child of another uid is not deleted: the cache is behind",
        given: |w| {
            let children = children_of(&starting());
            w.has(recorded(Phase::Stopping, State::Stopped, 10), [children.deployment]);
        },
        script: |_| vec![delete(DEPLOYMENT).conflicts()],
        ends: "Behind",
        writes: &[],
        tells: &[],
        remembers: &[],
    },
    Row {
        name: "an edit is written over what is there now, and the rest of it is kept",
        given: deployment_is_edited,
        script: |_| {
            let fresh = set(edited(deployment()), "/metadata/resourceVersion", "9");
            let written = put(DEPLOYMENT).with("/metadata/resourceVersion", "9");
            let written = written.with("/metadata/uid", "uid-of-deployment");
            vec![get(DEPLOYMENT, fresh), written.with("/metadata/labels/app.kubernetes.io~1component", "api-gateway")]
        },
        ends: "After 300s",
        writes: &[],
        tells: &[],
        remembers: &["tried"],
    },
    Row {
        name: "an update that finds the child as desired writes nothing",
        given: deployment_is_edited,
        script: |_| vec![get(DEPLOYMENT, deployment())],
        ends: "After 300s",
        writes: &[],
        tells: &[],
        remembers: &["tried"],
    },
    Row {
        name: "an update that finds the child gone does not bring it back: the cache will say so",
        given: deployment_is_edited,
        script: |_| vec![miss(DEPLOYMENT)],
        ends: "Behind",
        writes: &[],
        tells: &[],
        remembers: &[],
    },
    Row {
        name: "an update over another version is looked at again",
        given: deployment_is_edited,
        script: |_| vec![get(DEPLOYMENT, edited(deployment())), put(DEPLOYMENT).conflicts()],
        ends: "Behind",
        writes: &[],
        tells: &[],
        remembers: &[],
    },
    Row {
        name: "a child of ours that exists already is one that the cache does not show",
        given: nothing_is_there,
        script: |_| vec![post(DEPLOYMENTS).already_exists(), get(DEPLOYMENT, deployment())],
        ends: "Behind",
        writes: &[],
        tells: &[],
        remembers: &[],
    },
    Row {
        name: "a child that existed and is gone by now is looked at again",
        given: nothing_is_there,
        script: |_| vec![post(DEPLOYMENTS).already_exists(), miss(DEPLOYMENT)],
        ends: "Behind",
        writes: &[],
        tells: &[],
        remembers: &[],
    },
    Row {
        name: "a gateway that is gone when its status is written is looked at again",
        given: |w| w.gateway(&fresh()),
        script: |_| vec![put(STATUS).gone()],
        ends: "Behind",
        writes: &["Starting Running, Ready False Starting"],
        tells: &[],
        remembers: &[],
    },
    Row {
        name: "a gateway that somebody else wrote meanwhile is looked at again",
        given: |w| w.gateway(&fresh()),
        script: |_| vec![put(STATUS).conflicts()],
        ends: "Behind",
        writes: &["Starting Running, Ready False Starting"],
        tells: &[],
        remembers: &[],
    },
];

#[tokio::test(start_paused = true)]
async fn a_pass_does_its_steps_and_leaves_to_the_next_what_the_cache_does_not_show() {
    play(BEHIND).await;
}

const SURPRISES: &[Row] = &[
    Row {
        name: "a stranger has the name: the same pass says so, and creates nothing else",
        given: half_way,
        script: |_| {
            let found = strangers(children_of(&starting()).service);
            vec![post(SERVICES).already_exists(), get(SERVICE, found), put(STATUS)]
        },
        ends: "Behind",
        writes: &["Starting Running, Ready False NameTaken"],
        tells: &["Warning NameTaken"],
        remembers: &["created Deployment", "our write"],
    },
    Row {
        name: "an earlier gateway's child is still there: the same pass waits for its deletion",
        given: nothing_is_there,
        script: |_| vec![post(DEPLOYMENTS).already_exists(), get(DEPLOYMENT, predecessors(deployment())), put(STATUS)],
        ends: "Behind",
        writes: &["Starting Running, Ready False WaitingForDeletion"],
        tells: &[],
        remembers: &["our write"],
    },
    Row {
        name: "our own child is being deleted: there is nothing to say",
        given: nothing_is_there,
        script: |_| vec![post(DEPLOYMENTS).already_exists(), get(DEPLOYMENT, terminating(deployment()))],
        ends: "Behind",
        writes: &[],
        tells: &[],
        remembers: &[],
    },
    Row {
        name: "an update finds a stranger in the child's place and leaves it alone",
        given: deployment_is_edited,
        script: |_| vec![get(DEPLOYMENT, strangers(deployment())), put(STATUS)],
        ends: "Behind",
        writes: &["Starting Running, Ready False NameTaken"],
        tells: &["Warning NameTaken"],
        remembers: &["our write"],
    },
    Row {
        name: "an update finds the child being deleted and does not write it",
        given: deployment_is_edited,
        script: |_| vec![get(DEPLOYMENT, terminating(edited(deployment())))],
        ends: "Behind",
        writes: &[],
        tells: &[],
        remembers: &[],
    },
];

#[tokio::test(start_paused = true)]
async fn whoever_is_in_a_childs_place_is_told_in_the_pass_that_meets_them() {
    play(SURPRISES).await;
}

const QUOTA: &str = "pods \"shop\" is forbidden: exceeded quota: small";

const REFUSALS: &[Row] = &[
    Row {
        name: "a child that is refused does not keep the others from being created",
        given: nothing_is_there,
        script: |_| vec![post(DEPLOYMENTS).invalid("no such field"), post(SERVICES), post(INGRESSES), put(STATUS)],
        ends: "Refused Deployment: no such field",
        writes: &["Starting Running, Ready False AdmissionRefused"],
        tells: &["Warning AdmissionRefused"],
        remembers: &["tried", "refused Deployment", "created Service", "created Ingress", "our write"],
    },
    Row {
        name: "of several refusals the first is told, and the others are tried all the same",
        given: nothing_is_there,
        script: |_| {
            let second = post(SERVICES).invalid("the second");
            vec![post(DEPLOYMENTS).invalid("the first"), second, post(INGRESSES), put(STATUS)]
        },
        ends: "Refused Deployment: the first",
        writes: &["Starting Running, Ready False AdmissionRefused"],
        tells: &["Warning AdmissionRefused"],
        remembers: &["tried", "refused Deployment", "created Ingress", "our write"],
    },
    Row {
        name: "a quota is told as such",
        given: half_way,
        script: |_| vec![post(SERVICES).refused(403, "Forbidden", QUOTA), post(INGRESSES), put(STATUS)],
        ends: "Refused Service: pods \"shop\" is forbidden: exceeded quota: small",
        writes: &["Starting Running, Ready False QuotaExceeded"],
        tells: &["Warning QuotaExceeded"],
        remembers: &["tried", "refused Service", "created Deployment", "created Ingress", "our write"],
    },
    Row {
        name: "a right that is missing is a refusal like any other",
        given: half_way,
        script: |_| {
            vec![post(SERVICES).refused(403, "Forbidden", "services are not yours"), post(INGRESSES), put(STATUS)]
        },
        ends: "Refused Service: services are not yours",
        writes: &["Starting Running, Ready False AdmissionRefused"],
        tells: &["Warning AdmissionRefused"],
        remembers: &["tried", "refused Service", "created Deployment", "created Ingress", "our write"],
    },
    Row {
        name: "an update that is refused is told",
        given: deployment_is_edited,
        script: |_| {
            let refused = put(DEPLOYMENT).refused(500, "InternalError", "a webhook will not have it");
            vec![get(DEPLOYMENT, edited(deployment())), refused, put(STATUS)]
        },
        ends: "Refused Deployment: a webhook will not have it",
        writes: &["Starting Running, Ready False AdmissionRefused"],
        tells: &["Warning AdmissionRefused"],
        remembers: &["tried", "refused Deployment", "our write"],
    },
    Row {
        name: "a refusal that was told before is neither written nor told again",
        given: |w| {
            nothing_is_there(w);
            let gateway = w.cached();
            let mut remembered = w.ctx.memory.recall(&gateway);
            remembered.refused(&gateway, Some(refusal("no such field")));
            w.ctx.memory.keep(&gateway, remembered.clone());
            let gathered = crate::control::gather::cached(
                &w.ctx,
                &w.caches,
                &gateway,
                remembered,
                crate::control::clock::Now::read(),
            );
            let status = gathered.decide(&w.ctx.settings).status;
            w.gateway(&super::objects::but(gateway.clone(), |g| g.status = status));
        },
        script: |_| vec![post(DEPLOYMENTS).invalid("no such field"), post(SERVICES), post(INGRESSES)],
        ends: "Refused Deployment: no such field",
        writes: &[],
        tells: &[],
        remembers: &["tried", "refused Deployment", "created Service", "created Ingress"],
    },
];

fn refusal(message: &str) -> crate::decide::observed::Refusal {
    crate::decide::observed::Refusal {
        child: Child::Deployment,
        message: message.to_owned(),
        quota: false,
        immutable: false,
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_api_server_refuses_is_recorded_before_the_pass_fails() {
    play(REFUSALS).await;
}

const FAILURES: &[Row] = &[
    Row {
        name: "a call that is not answered in time ends the pass and begins an outage, and is no try",
        given: half_way,
        script: |_| vec![post(SERVICES).hangs()],
        ends: "Failed: the API server did not answer within 10s",
        writes: &[],
        tells: &[],
        // The Deployment was created ten seconds ago: the cache would have shown it.
        remembers: &["an outage"],
    },
    Row {
        name: "a connection that breaks ends the pass and begins an outage",
        given: half_way,
        script: |_| vec![post(SERVICES).breaks()],
        ends: "Failed: ServiceError: connection refused",
        writes: &[],
        tells: &[],
        remembers: &["created Deployment", "an outage"],
    },
    Row {
        name: "an API server that is asked too much says when it may be asked again, and is not out of reach",
        given: half_way,
        script: |_| vec![post(SERVICES).too_many(7)],
        ends: "Failed: too many requests, not before 7s",
        writes: &[],
        tells: &[],
        remembers: &["created Deployment"],
    },
    Row {
        name: "an API server that is unavailable refuses nothing",
        given: half_way,
        script: |_| vec![post(SERVICES).unavailable()],
        ends: "Failed: unavailable",
        writes: &[],
        tells: &[],
        remembers: &["created Deployment"],
    },
    Row {
        name: "a child that is in the way and cannot be read is no surprise",
        given: half_way,
        script: |_| vec![post(SERVICES).already_exists(), miss(SERVICE).unavailable()],
        ends: "Failed: unavailable",
        writes: &[],
        tells: &[],
        remembers: &["created Deployment"],
    },
    Row {
        name: "an update whose read fails writes nothing",
        given: deployment_is_edited,
        script: |_| vec![miss(DEPLOYMENT).unavailable()],
        ends: "Failed: unavailable",
        writes: &[],
        tells: &[],
        remembers: &[],
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
        remembers: &[],
    },
    Row {
        name: "a refusal is told although a later call fails, by the pass after",
        given: nothing_is_there,
        script: |_| vec![post(DEPLOYMENTS).invalid("no such field"), post(SERVICES).unavailable()],
        ends: "Failed: unavailable",
        writes: &[],
        tells: &[],
        remembers: &[],
    },
    Row {
        name: "a transition that cannot be written is no transition",
        given: |w| w.gateway(&fresh()),
        script: |_| vec![put(STATUS).unavailable()],
        ends: "Failed: unavailable",
        writes: &["Starting Running, Ready False Starting"],
        tells: &[],
        remembers: &[],
    },
    Row {
        name: "a refusal whose status cannot be written is remembered, and not told",
        given: half_way,
        script: |_| vec![post(SERVICES).invalid("no such field"), post(INGRESSES), put(STATUS).unavailable()],
        ends: "Failed: unavailable",
        writes: &["Starting Running, Ready False AdmissionRefused"],
        tells: &[],
        remembers: &["tried", "refused Service", "created Deployment", "created Ingress"],
    },
];

#[tokio::test(start_paused = true)]
async fn an_api_server_that_does_not_carry_out_a_call_ends_the_pass() {
    play(FAILURES).await;
}

/// The exchange in which the claim is lost.
fn loses_the_claim(exchange: Exchange, w: &World) -> Exchange {
    let claim = w.claim.clone();
    exchange.then(move || claim.give_up())
}

/// The claim lasts for so many seconds.
fn claims_for(w: &World, seconds: u64) {
    w.claim.extend(tokio::time::Instant::now() + Duration::from_secs(seconds));
}

const CLAIMS: &[Row] = &[
    Row {
        name: "an operator that is not leader writes no child",
        given: |w| {
            nothing_is_there(w);
            w.claim.give_up();
        },
        script: |_| vec![],
        ends: "Failed: this operator is not leader",
        writes: &[],
        tells: &[],
        remembers: &[],
    },
    Row {
        name: "an operator that is not leader writes no status",
        given: |w| {
            w.gateway(&fresh());
            w.claim.give_up();
        },
        script: |_| vec![],
        ends: "Failed: this operator is not leader",
        writes: &[],
        tells: &[],
        remembers: &[],
    },
    Row {
        name: "leadership is lost with the first of two writes: the second is not sent",
        given: half_way,
        script: |w| vec![loses_the_claim(post(SERVICES), w)],
        ends: "Failed: this operator is not leader",
        writes: &[],
        tells: &[],
        remembers: &["created Deployment", "created Service"],
    },
    Row {
        name: "leadership is lost between the read and the write of an update",
        given: deployment_is_edited,
        script: |w| vec![loses_the_claim(get(DEPLOYMENT, edited(deployment())), w)],
        ends: "Failed: this operator is not leader",
        writes: &[],
        tells: &[],
        remembers: &[],
    },
    Row {
        name: "leadership is lost with a refusal: its status is not sent",
        given: half_way,
        script: |w| vec![post(SERVICES).invalid("no such field"), loses_the_claim(post(INGRESSES), w)],
        ends: "Failed: this operator is not leader",
        writes: &[],
        tells: &[],
        remembers: &["tried", "refused Service", "created Deployment", "created Ingress"],
    },
    Row {
        name: "a claim expires by itself while the API server thinks about a read",
        given: |w| {
            deployment_is_edited(w);
            claims_for(w, 3);
        },
        script: |_| vec![get(DEPLOYMENT, edited(deployment())).takes(Duration::from_secs(4))],
        ends: "Failed: this operator is not leader",
        writes: &[],
        tells: &[],
        remembers: &[],
    },
    Row {
        name: "a write that hangs ends with the claim, and nobody is out of reach",
        given: |w| {
            half_way(w);
            claims_for(w, 3);
        },
        script: |_| vec![post(SERVICES).hangs()],
        ends: "Failed: this operator is not leader",
        writes: &[],
        tells: &[],
        remembers: &["created Deployment"],
    },
];

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_once_the_claim_has_expired() {
    play(CLAIMS).await;
}

#[tokio::test(start_paused = true)]
async fn a_child_with_a_field_that_cannot_be_changed_is_deleted_by_the_next_pass_and_made_anew() {
    let mut w = World::new();
    deployment_is_edited(&mut w);
    let refused = vec![get(DEPLOYMENT, edited(deployment())), put(DEPLOYMENT).immutable(), put(STATUS)];
    let first = w.pass(refused).await.unwrap();
    assert_eq!(first.ends, "Refused Deployment: spec.selector: field is immutable");
    assert_eq!(first.tells, ["Warning AdmissionRefused"]);

    let this = delete(DEPLOYMENT).with("/preconditions/uid", "uid-of-deployment");
    let second = w.pass(vec![this]).await.unwrap();
    assert_eq!(second.remembers, ["tried", "deleted Deployment", "our write"]);

    // What was deleted is waited for although the cache still shows it.
    let third = w.pass(vec![put(STATUS)]).await.unwrap();
    assert_eq!(third.writes, ["Starting Running, Ready False Starting"]);
    assert_eq!(third.ends, "After 300s");
}
