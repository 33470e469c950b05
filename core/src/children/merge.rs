//! Putting what is desired into the object that is there: the body of an update.

use serde_json::{Map, Value};

use super::compare::{must_be_made_anew, unchangeable};
use super::inherited;
use super::places::{KEPT_UNLESS_DESIRED, NEVER_RESTORED, OWNERS};

/// The object that is to be written over `fresh`: others' metadata is kept, and the specification is ours as a whole. It is the one
/// that is desired; or, where it is known what the API server made of that, the accepted one: what admission added when the
/// object was created, and would not add to an update, is not lost by a repair.
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

/// A specification that is ours as a whole, but for others' metadata of the pods and the fields that are `kept`.
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

/// Where the object need not be made anew, its fields that cannot be changed are as they were created.
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

/// Others' owners are kept, but there is one controller, and what is written here is ours.
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

/// Maps keep what is not desired of them; lists and scalars are ours as a whole.
fn overlay(fresh: &Value, desired: &Value) -> Value {
    let Value::Object(desired) = desired else { return desired.clone() };
    let mut merged = fresh.as_object().cloned().unwrap_or_else(Map::new);
    for (key, value) in desired {
        let value = merged.get(key).map_or_else(|| value.clone(), |found| overlay(found, value));
        merged.insert(key.clone(), value);
    }
    Value::Object(merged)
}
