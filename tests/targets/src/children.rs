//! A child as it is there, as it is desired, and as it was accepted: comparing them, and the body of an update.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use phasegate::children::{Form, INHERITED_ANNOTATIONS, INHERITED_LABELS, difference, drift, form_hash, merge};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The input is what is desired, what is there and what was accepted, each JSON on a line.
pub fn target(input: &[u8]) {
    let Some(text) = crate::text(input) else { return };
    let objects: Option<Vec<Value>> = text.lines().take(3).map(|line| serde_json::from_str(line).ok()).collect();
    let Some(objects) = objects.filter(|objects| objects.len() >= 2) else { return };
    of_any_form(&objects[0], &objects[1], objects.get(2));
    // An API server has nothing but objects of the kinds' own form, and what is desired has a specification.
    if !objects[0]["spec"].is_object() {
        return;
    }
    if let Some(objects) = objects.iter().map(|object| typed(&objects[0], object)).collect::<Option<Vec<Value>>>() {
        an_update_takes(&objects[0], &objects[1], objects.get(2));
    }
}

fn of_any_form(desired: &Value, found: &Value, accepted: Option<&Value>) {
    for object in [desired, found] {
        assert_eq!(difference(object, object), None, "it differs from itself");
    }
    let merged = merge(found, desired, accepted);
    if !lists_what_is_inherited(desired) {
        assert_eq!(merge(&merged, desired, accepted), merged, "a second update writes something else");
    }
    assert_eq!(form_hash(desired, found), form_hash(desired, found));
    let form = Form::of("Deployment", desired, found);
    for change in &form.changes {
        assert!(change.asked.chars().count() <= 161 && change.stored.chars().count() <= 161, "{change:?}");
    }
    drift(desired, accepted, found);
}

/// The list is of what the object has; of one that lists what it does not have, the second update takes that away.
fn lists_what_is_inherited(desired: &Value) -> bool {
    [INHERITED_LABELS, INHERITED_ANNOTATIONS].iter().any(|name| !desired["metadata"]["annotations"][*name].is_null())
}

/// What was written over what is there is as desired, or nothing would end the writing.
fn an_update_takes(desired: &Value, found: &Value, accepted: Option<&Value>) {
    assert_eq!(difference(desired, &merge(found, desired, None)), None, "an update leaves a difference");
    if let Some(accepted) = accepted {
        let written = merge(found, desired, Some(accepted));
        assert_eq!(drift(desired, Some(accepted), &written), None, "an update leaves drift");
    }
}

/// An object in the form of the kind that is desired.
fn typed(desired: &Value, object: &Value) -> Option<Value> {
    fn of<K: DeserializeOwned + Serialize>(object: &Value) -> Option<Value> {
        let object: K = serde_json::from_value(object.clone()).ok()?;
        serde_json::to_value(object).ok()
    }
    match desired["kind"].as_str()? {
        "Deployment" => of::<Deployment>(object),
        "Service" => of::<Service>(object),
        "Ingress" => of::<Ingress>(object),
        "PodDisruptionBudget" => of::<PodDisruptionBudget>(object),
        _ => None,
    }
}
