//! The accepted form of a child: what the API server stored in answer to a write.
//!
//! Admission, defaulting and rounding may store something else than what was sent. That is no drift, or the
//! operator would write it again and again. Every later difference from the accepted form is drift.

use serde_json::{Map, Value};

use super::compare::{Difference, difference, difference_from_stored, differences};
use super::paths::{FILLED_IN, NEVER_RESTORED, OWNERS};
use super::{DESIRED_ANNOTATION, hash, merge};
use crate::api::StoredChange;
use crate::shown::{cut, piece};

/// The most changes reported per child, and the longest value.
const CHANGES: usize = 5;
const VALUE: usize = 160;

/// The accepted form of a child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// Hash of the desired state and of everything in the stored object that the operator owns.
    pub hash: String,
    /// Where the stored object differs from the desired one.
    pub changes: Vec<StoredChange>,
    /// The value that the cluster filled in, empty if it filled in nothing. Only this record distinguishes a
    /// later edit from it.
    pub filled_in: Option<String>,
}

impl Form {
    /// The form of a child of a kind that was stored in answer to `desired`.
    pub fn of(kind: &str, desired: &Value, stored: &Value) -> Self {
        Self::hashed(form_hash(desired, stored), kind, desired, stored)
    }

    /// The same, with the [`form_hash`] already computed.
    pub fn hashed(hash: String, kind: &str, desired: &Value, stored: &Value) -> Self {
        let changes = differences(desired, stored).into_iter().take(CHANGES);
        let filled_in =
            place_filled_in(kind).map(|path| stored.pointer(path).and_then(Value::as_str).unwrap_or_default());
        Self {
            hash,
            changes: changes.map(|difference| change(kind, &difference)).collect(),
            filled_in: filled_in.map(str::to_owned),
        }
    }
}

/// The path that a cluster may fill in, by kind.
fn place_filled_in(kind: &str) -> Option<&'static str> {
    FILLED_IN.iter().find(|(of, _)| *of == kind).map(|(_, path)| *path)
}

/// The path of an undesired value where the cluster had filled in nothing.
pub fn put_where_nothing_was(kind: &str, desired: &Value, found: &Value) -> Option<&'static str> {
    place_filled_in(kind).filter(|path| desired.pointer(path).is_none() && found.pointer(path).is_some())
}

/// The object without the value that a cluster may fill in.
pub fn with_nothing_filled_in(kind: &str, desired: &Value, mut object: Value) -> Value {
    let place = put_where_nothing_was(kind, desired, &object).and_then(|path| path.strip_prefix("/spec/"));
    if let (Some(key), Some(Value::Object(spec))) = (place, object.get_mut("spec")) {
        spec.remove(key);
    }
    object
}

/// The path of the first difference between an object and its accepted form; if the form is unknown, its
/// desired state.
pub fn drift(desired: &Value, accepted: Option<&Value>, found: &Value) -> Option<String> {
    match accepted {
        // The desired state does not contain metadata of others.
        Some(accepted) => difference_from_stored(&merge(desired, desired, Some(accepted)), found),
        None => difference(desired, found),
    }
}

/// Hash of the desired state and of everything in the stored object that the operator owns.
pub fn form_hash(desired: &Value, stored: &Value) -> String {
    let wanted = desired.pointer("/metadata/annotations").and_then(|annotations| annotations.get(DESIRED_ANNOTATION));
    let ours = |pointer: &str| keys_of(desired.pointer(pointer), stored.pointer(pointer));
    let owner = |object: &'_ Value| object.pointer(OWNERS).and_then(Value::as_array).cloned().unwrap_or_default();
    let owners: Vec<Value> = owner(stored)
        .into_iter()
        .filter(|stored| owner(desired).iter().any(|ours| ours.get("uid") == stored.get("uid")))
        .collect();
    let mut spec = stored.get("spec").cloned().unwrap_or_default();
    if let Value::Object(spec) = &mut spec {
        for path in NEVER_RESTORED {
            if desired.pointer(path).is_none() {
                spec.remove(path.trim_start_matches("/spec/"));
            }
        }
    }
    if let Some(metadata) = spec.pointer_mut("/template/metadata") {
        let ours = |key: &str| ours(&format!("/spec/template/metadata/{key}"));
        *metadata = Value::Array(vec![ours("labels"), ours("annotations")]);
    }
    hash(&(wanted, ours("/metadata/labels"), ours("/metadata/annotations"), owners, spec))
}

/// Of a map with other writers, only the desired keys.
fn keys_of(desired: Option<&Value>, stored: Option<&Value>) -> Value {
    let ours = desired.and_then(Value::as_object).into_iter().flat_map(Map::keys);
    let pairs = ours.filter_map(|key| Some((key.clone(), stored?.get(key)?.clone())));
    Value::Object(pairs.collect())
}

fn change(kind: &str, difference: &Difference<'_>) -> StoredChange {
    StoredChange {
        child: kind.to_owned(),
        path: difference.path.clone(),
        asked: shown(&difference.path, difference.desired),
        stored: shown(&difference.path, difference.found),
    }
}

/// A value, shortened and sanitized. Values of variables and arguments may be secrets and are left out.
fn shown(path: &str, value: Option<&Value>) -> String {
    let may_be_secret = path.split('/').any(|part| ["env", "args", "command"].contains(&part));
    let text = match value {
        None => "nothing".to_owned(),
        Some(Value::Array(list)) if list.iter().any(Value::is_object) => entries(list),
        Some(_) if may_be_secret => "(hidden)".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    cut(&piece(&text), VALUE).into_owned()
}

/// The names of a list's entries, or their number.
fn entries(list: &[Value]) -> String {
    let names: Option<Vec<&str>> = list.iter().map(|entry| entry.get("name")?.as_str()).collect();
    match names {
        Some(names) => names.join(", "),
        None if list.len() == 1 => "one entry".to_owned(),
        None => format!("{} entries", list.len()),
    }
}
