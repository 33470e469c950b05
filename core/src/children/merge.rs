//! Merges the desired state into the current object: the body of an update.
//!
//! **Architecture invariant:** this module does not judge differences. It keeps what the API server and others
//! may own, and replaces everything else.

use serde_json::{Map, Value};

use super::compare::{must_be_made_anew, unchangeable};
use super::inherited;
use super::paths::{KEPT_UNLESS_DESIRED, NEVER_RESTORED, OWNERS};

/// The object to write over `fresh`. It keeps the metadata of others; the operator owns the whole spec. The
/// spec is the accepted one if it is known, else the desired one: admission may have added fields on creation
/// that it would not add to an update, and a repair must not lose those.
pub fn merge(fresh: &Value, desired: &Value, accepted: Option<&Value>) -> Value {
    let mut object = fresh.as_object().cloned().unwrap_or_default();
    if let (Some(before), Some(ours)) = (fresh.get("metadata"), desired.get("metadata")) {
        object.insert("metadata".to_owned(), overlay(before, ours));
    }
    if let Some(spec) = accepted.and_then(|accepted| accepted.get("spec")).or_else(|| desired.get("spec")) {
        let kept = if accepted.is_some() { NEVER_RESTORED } else { KEPT_UNLESS_DESIRED };
        object.insert("spec".to_owned(), merge_spec(fresh, desired, spec.clone(), kept));
    }
    let mut merged = Value::Object(object);
    if accepted.is_none() {
        keep_what_cannot_change(fresh, desired, &mut merged);
    }
    merge_owners(fresh, &mut merged);
    inherited::take_back(&mut merged, fresh, desired);
    merged
}

/// A spec that the operator owns, except for the pods' metadata of others and the fields in `kept`.
fn merge_spec(fresh: &Value, desired: &Value, mut spec: Value, kept: &[&str]) -> Value {
    if let (Some(ours), Some(Value::Object(template))) =
        (desired.pointer("/spec/template/metadata"), spec.get_mut("template"))
    {
        let before = fresh.pointer("/spec/template/metadata").unwrap_or(&Value::Null);
        template.insert("metadata".to_owned(), overlay(before, ours));
    }
    let Value::Object(fields) = &mut spec else { return spec };
    for path in kept {
        let Some(key) = path.strip_prefix("/spec/").filter(|_| desired.pointer(path).is_none()) else { continue };
        match fresh.pointer(path) {
            Some(value) => drop(fields.insert(key.to_owned(), value.clone())),
            None => drop(fields.remove(key)),
        }
    }
    spec
}

/// If the object need not be recreated, its immutable fields stay as created.
fn keep_what_cannot_change(fresh: &Value, desired: &Value, merged: &mut Value) {
    let kind = desired.get("kind").and_then(Value::as_str).unwrap_or_default();
    if must_be_made_anew(kind, desired, fresh) {
        return;
    }
    for path in unchangeable(kind) {
        if let (Some(created), Some(field)) = (fresh.pointer(path), merged.pointer_mut(path)) {
            field.clone_from(created);
        }
    }
}

/// Keeps owners of others. There is one controller, and the operator is it.
fn merge_owners(fresh: &Value, merged: &mut Value) {
    let (Some(Value::Array(before)), Some(Value::Array(ours))) = (fresh.pointer(OWNERS), merged.pointer_mut(OWNERS))
    else {
        return;
    };
    let same = |a: &Value, b: &Value| a.get("uid") == b.get("uid");
    let controls = |owner: &Value| owner.get("controller") == Some(&Value::Bool(true));
    let others = before.iter().filter(|owner| !controls(owner) && !ours.iter().any(|our| same(our, owner))).cloned();
    let others: Vec<Value> = others.collect();
    ours.extend(others);
}

/// Maps keep undesired keys; lists and scalars are replaced.
fn overlay(fresh: &Value, desired: &Value) -> Value {
    let Value::Object(desired) = desired else { return desired.clone() };
    let mut merged = fresh.as_object().cloned().unwrap_or_else(Map::new);
    for (key, value) in desired {
        let value = merged.get(key).map_or_else(|| value.clone(), |found| overlay(found, value));
        merged.insert(key.clone(), value);
    }
    Value::Object(merged)
}
