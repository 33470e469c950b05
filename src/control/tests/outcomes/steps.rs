//! A pass that comes to its end, or as far as the cache lets it.

use serde_json::{Value, json};

use super::{deployment, deployment_is_edited, half_way, nothing_is_there};
use crate::api::{Phase, State};
use crate::cluster::tests::server::{delete, get, miss, patch, post, put};
use crate::control::tests::objects::{
    DEPLOYMENT, DEPLOYMENTS, INGRESS, INGRESSES, SERVICES, STATUS, children_of, complete, edited, fresh, recorded, set,
    started, starting,
};
use crate::control::tests::world::{Row, play};
use crate::decide::observed::Child;

const STEPS: &[Row] = &[
    Row {
        name: "after the Deployment others have their turn, whose pods take longer than we do",
        given: nothing_is_there,
        script: |_| vec![post(DEPLOYMENTS)],
        ends: "InTurn(HalfWay)",
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
        ends: "OnChange",
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
        ends: "OnChange",
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
        ends: "OnChange",
        writes: &[],
        tells: &[],
        remembers: &[],
    },
    Row {
        name: "a transition is recorded and nothing else is done",
        given: |w| w.gateway(&fresh()),
        script: |_| vec![put(STATUS).with("/metadata/resourceVersion", "1").with("/status/attempt/number", 1)],
        ends: "Now",
        writes: &["Starting Running, Ready False Starting"],
        tells: &[],
        remembers: &["our write"],
    },
    Row {
        name: "of a gateway in a phase of another version nothing is written but its conditions",
        given: |w| w.gateway(&recorded(Phase::Unknown("Hibernating".to_owned()), State::Running, 10)),
        script: |_| {
            let said = patch(STATUS, json!({ "metadata": { "name": "shop" } }));
            vec![said.with("/metadata/resourceVersion", "1").with("/status/phase", Value::Null)]
        },
        ends: "OnChange",
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
        ends: "CacheBehind",
        writes: &[],
        tells: &[],
        remembers: &["tried"],
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
        ends: "CacheBehind",
        writes: &[],
        tells: &[],
        remembers: &["tried"],
    },
    Row {
        name: "an update over another version is looked at again",
        given: deployment_is_edited,
        script: |_| vec![get(DEPLOYMENT, edited(deployment())), put(DEPLOYMENT).conflicts()],
        ends: "CacheBehind",
        writes: &[],
        tells: &[],
        remembers: &["tried"],
    },
    Row {
        name: "a child of ours that exists already is one that the cache does not show",
        given: nothing_is_there,
        script: |_| vec![post(DEPLOYMENTS).already_exists(), get(DEPLOYMENT, deployment())],
        ends: "CacheBehind",
        writes: &[],
        tells: &[],
        remembers: &["tried"],
    },
    Row {
        name: "a child that existed and is gone by now is looked at again",
        given: nothing_is_there,
        script: |_| vec![post(DEPLOYMENTS).already_exists(), miss(DEPLOYMENT)],
        ends: "CacheBehind",
        writes: &[],
        tells: &[],
        remembers: &["tried"],
    },
    Row {
        name: "a gateway that is gone when its status is written is looked at again",
        given: |w| w.gateway(&fresh()),
        script: |_| vec![put(STATUS).gone()],
        ends: "CacheBehind",
        writes: &["Starting Running, Ready False Starting"],
        tells: &[],
        remembers: &[],
    },
    Row {
        name: "a gateway that somebody else wrote meanwhile is looked at again",
        given: |w| w.gateway(&fresh()),
        script: |_| vec![put(STATUS).conflicts()],
        ends: "CacheBehind",
        writes: &["Starting Running, Ready False Starting"],
        tells: &[],
        remembers: &[],
    },
];

#[tokio::test(start_paused = true)]
async fn a_pass_does_its_steps_and_leaves_to_the_next_what_the_cache_does_not_show() {
    play(STEPS).await;
}
