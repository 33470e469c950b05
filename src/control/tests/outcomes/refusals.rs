//! What the API server will not have.

use super::{deployment, deployment_is_edited, half_way, nothing_is_there};
use crate::cluster::tests::server::{delete, get, post, put};
use crate::control::tests::objects::{
    DEPLOYMENT, DEPLOYMENTS, INGRESSES, SERVICES, STATUS, children_of, edited, of_another_selector, starting,
};
use crate::control::tests::world::{Row, World, play};
use crate::decide::observed::{Child, Refusal, Target};

const QUOTA: &str = "pods \"shop\" is forbidden: exceeded quota: small";

const REFUSALS: &[Row] = &[
    Row {
        name: "a child that is refused does not keep the others from being created",
        given: nothing_is_there,
        script: |_| vec![post(DEPLOYMENTS).invalid("no such field"), post(SERVICES), post(INGRESSES), put(STATUS)],
        ends: "Refused the Deployment: no such field",
        writes: &["Starting Running, Ready False AdmissionRefused"],
        tells: &["Warning AdmissionRefused"],
        remembers: &["tried", "refused the Deployment", "created Service", "created Ingress", "our write"],
    },
    Row {
        name: "of several refusals the first is told, and the others are tried all the same",
        given: nothing_is_there,
        script: |_| {
            let second = post(SERVICES).invalid("the second");
            vec![post(DEPLOYMENTS).invalid("the first"), second, post(INGRESSES), put(STATUS)]
        },
        ends: "Refused the Deployment: the first",
        writes: &["Starting Running, Ready False AdmissionRefused"],
        tells: &["Warning AdmissionRefused"],
        remembers: &["tried", "refused the Deployment", "created Ingress", "our write"],
    },
    Row {
        name: "a quota is told as such",
        given: half_way,
        script: |_| vec![post(SERVICES).refused(403, "Forbidden", QUOTA), post(INGRESSES), put(STATUS)],
        ends: "Refused the Service: pods \"shop\" is forbidden: exceeded quota: small",
        writes: &["Starting Running, Ready False QuotaExceeded"],
        tells: &["Warning QuotaExceeded"],
        remembers: &["tried", "refused the Service", "created Deployment", "created Ingress", "our write"],
    },
    Row {
        name: "a rule that forbids is a refusal like any other",
        given: half_way,
        script: |_| {
            vec![post(SERVICES).refused(403, "Forbidden", "services are not yours"), post(INGRESSES), put(STATUS)]
        },
        ends: "Refused the Service: services are not yours",
        writes: &["Starting Running, Ready False AdmissionRefused"],
        tells: &["Warning AdmissionRefused"],
        remembers: &["tried", "refused the Service", "created Deployment", "created Ingress", "our write"],
    },
    Row {
        name: "an update that is refused is told",
        given: deployment_is_edited,
        script: |_| {
            let refused = put(DEPLOYMENT).refused(500, "InternalError", "a webhook will not have it");
            vec![get(DEPLOYMENT, edited(deployment())), refused, put(STATUS)]
        },
        ends: "Refused the Deployment: a webhook will not have it",
        writes: &["Starting Running, Ready False AdmissionRefused"],
        tells: &["Warning AdmissionRefused"],
        remembers: &["tried", "refused the Deployment", "our write"],
    },
    Row {
        name: "a refusal that was told before is neither written nor told again",
        given: |w| {
            nothing_is_there(w);
            w.remember(|gateway, remembered| remembered.refused(gateway, Some(no_such_field())));
            w.has(w.cached(), []);
        },
        script: |_| vec![post(DEPLOYMENTS).invalid("no such field"), post(SERVICES), post(INGRESSES)],
        ends: "Refused the Deployment: no such field",
        writes: &[],
        tells: &[],
        remembers: &["tried", "refused the Deployment", "created Service", "created Ingress"],
    },
];

fn no_such_field() -> Refusal {
    Refusal { what: Target::Child(Child::Deployment), message: "no such field".to_owned(), quota: false }
}

#[tokio::test(start_paused = true)]
async fn what_the_api_server_refuses_is_recorded_before_the_pass_fails() {
    play(REFUSALS).await;
}

#[tokio::test(start_paused = true)]
async fn a_child_with_another_value_in_a_field_that_cannot_be_changed_is_deleted_to_be_made_anew() {
    let mut w = World::new();
    let children = children_of(&starting());
    w.has(starting(), [of_another_selector(children.deployment), children.service, children.ingress]);
    let this = delete(DEPLOYMENT).with("/preconditions/uid", "uid-of-deployment");
    let first = w.pass(vec![this]).await.unwrap();
    assert_eq!(first.remembers, ["tried", "deleted Deployment"]);

    // What was deleted is waited for although the cache still shows it.
    let second = w.pass(vec![]).await.unwrap();
    assert_eq!(second.ends, "After 300s");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_speaks_of_an_immutable_field_deletes_nothing() {
    let mut w = World::new();
    deployment_is_edited(&mut w);
    let refused = || vec![get(DEPLOYMENT, edited(deployment())), put(DEPLOYMENT).immutable()];
    let mut script = refused();
    script.push(put(STATUS));
    let first = w.pass(script).await.unwrap();
    assert_eq!(first.ends, "Refused the Deployment: spec.selector: field is immutable");
    assert_eq!(first.tells, ["Warning AdmissionRefused"]);
    let second = w.pass(refused()).await.unwrap();
    assert_eq!(second.ends, first.ends);
}
