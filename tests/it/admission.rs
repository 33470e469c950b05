//! What policies of other people's clusters do to children, and what is done about it.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use phasegate::api::condition;
use phasegate::children::CONTAINER;
use serde_json::{Value, json};

use crate::harness::{World, eventually, file, gateway};

/// A policy that refuses changes of the Deployments of a namespace.
struct Refusing<'a> {
    world: &'a World,
}

impl<'a> Refusing<'a> {
    /// Refuses what `allowed` is not true of, in these words. Returns once `probe` is refused.
    async fn new(world: &'a World, allowed: &str, words: &str, probe: Value) -> Self {
        let name = json!({ "name": world.namespace });
        let rule = json!({
            "apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["deployments"],
        });
        let policy = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": name,
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": { "resourceRules": [rule] },
                "validations": [{ "expression": allowed, "message": words }],
            },
        });
        let here = json!({ "matchLabels": { "kubernetes.io/metadata.name": world.namespace } });
        let binding = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": name,
            "spec": {
                "policyName": world.namespace,
                "validationActions": ["Deny"],
                "matchResources": { "namespaceSelector": here },
            },
        });
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": [policy, binding] });
        let file = file("admission", &format!("{}.json", world.namespace), &list.to_string()).unwrap();
        let applied = world.kubectl(&["apply", "-f", file.to_str().unwrap()]);
        assert!(applied.status.success(), "{applied:?}");
        let dry_run = PatchParams { dry_run: true, ..PatchParams::default() };
        let is_refused = async || {
            let tried = world.api::<Deployment>().patch("shop", &dry_run, &Patch::Strategic(&probe)).await;
            tried.is_err().then_some(())
        };
        eventually(Duration::from_millis(100), is_refused).await.expect("the policy is in force");
        Self { world }
    }

    fn end(self) {
        for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
            let deleted = self.world.kubectl(&["delete", kind, &self.world.namespace]);
            assert!(deleted.status.success(), "{deleted:?}");
        }
    }
}

fn image(image: &str) -> Value {
    json!({ "spec": { "template": { "spec": { "containers": [{ "name": CONTAINER, "image": image }] } } } })
}

fn images(deployment: &Deployment) -> Vec<Option<String>> {
    let template = deployment.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
    template.containers.iter().map(|container| container.image.clone()).collect()
}

#[tokio::test]
async fn a_policy_that_calls_a_field_immutable_costs_no_serving_deployment() {
    let world = World::audited("frozen").await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("shop").await;
    let before = world.api::<Deployment>().get("shop").await.unwrap();
    let same = "object.spec.template.spec.containers[0].image == oldObject.spec.template.spec.containers[0].image";
    let words = "spec.template.spec.containers[0].image: Invalid value: field is immutable";
    let policy = Refusing::new(&world, same, words, image("acme/gateway:probe")).await;

    world.patch("shop", json!({ "spec": { "image": "acme/gateway:2" } })).await;
    let refused = world.until_condition("shop", condition::RECONCILING, "True", "AdmissionRefused").await;

    let conditions = &refused.status.as_ref().unwrap().conditions;
    let said = conditions.iter().find(|condition| condition.type_ == condition::RECONCILING).unwrap();
    assert!(said.message.contains("field is immutable"), "{}", said.message);
    assert!(conditions.iter().any(|condition| condition.type_ == condition::AVAILABLE && condition.status == "True"));
    // It is tried again, and again nothing is deleted.
    world.until_event("shop", "AdmissionRefused").await;
    let now = world.api::<Deployment>().get("shop").await.unwrap();
    assert_eq!((now.uid(), images(&now)), (before.uid(), images(&before)));

    policy.end();
    let changed = |now: &Deployment| images(now) == [Some("acme/gateway:2".to_owned())];
    let after = world.until("shop", "the image that was asked for", changed).await;
    assert_eq!(after.uid(), before.uid());
}
