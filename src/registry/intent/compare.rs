//! Compares an object with what its document asks for.
//!
//! This differs from `children::difference`. The operator owns a whole child: lists are compared whole, and
//! others may not set further fields. An object from a document is applied by server-side apply with the
//! platform's fields only; what others add (an entry of a keyed list, a node selector) belongs to them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::render::Rendered;

/// The path of the first difference between an object and the wanted one.
pub(super) fn difference<S>(meta: &ObjectMeta, found: &S, wanted: &Rendered) -> Option<String>
where
    S: Serialize + DeserializeOwned,
{
    let meta = serde_json::to_value(meta).unwrap_or_default();
    for field in ["labels", "annotations", "ownerReferences"] {
        let Some(wanted) = wanted.object["metadata"].get(field) else { continue };
        if !covers(meta.get(field), wanted) {
            return Some(format!("/metadata/{field}"));
        }
    }
    let spec = &wanted.spec;
    // Both in the normalized form of the type. The API server reports a value that does not fit.
    let Ok(typed) = serde_json::from_value::<S>(Value::Object(spec.clone())) else { return Some("/spec".to_owned()) };
    let (Ok(typed), Ok(found)) = (serde_json::to_value(&typed), serde_json::to_value(found)) else {
        return Some("/spec".to_owned());
    };
    let differs = |key: &&String| match typed.get(key.as_str()) {
        Some(wanted) => !covers(found.get(key.as_str()), wanted),
        None => found.get(key.as_str()).is_some_and(|found| !found.is_null()),
    };
    // The API server refuses unknown fields.
    let unknown = |key: &&String| typed.get(key.as_str()).is_none() && !is_optional(spec, key);
    let key = spec.keys().find(|key| unknown(key) || differs(key))?;
    Some(format!("/spec/{key}"))
}

/// Whether the type omits a field without a value.
fn is_optional(spec: &Map<String, Value>, key: &str) -> bool {
    match spec.get(key) {
        Some(Value::Bool(false) | Value::Null) => true,
        Some(Value::Array(list)) => list.is_empty(),
        Some(Value::Object(map)) => map.is_empty(),
        _ => false,
    }
}

/// Whether the wanted value is there; additions of others are ignored.
fn covers(found: Option<&Value>, wanted: &Value) -> bool {
    match (found, wanted) {
        (None | Some(Value::Null), wanted) => wanted.is_null(),
        (Some(Value::Object(found)), Value::Object(wanted)) => {
            wanted.iter().all(|(key, value)| covers(found.get(key), value))
        }
        (Some(Value::Array(found)), Value::Array(wanted)) => {
            let key =
                |value: &Value| ["uid", "name", "topologyKey"].into_iter().find_map(|key| value.get(key).cloned());
            if wanted.iter().all(|value| key(value).is_some()) && !wanted.is_empty() {
                // Lists that are maps to the API server.
                wanted.iter().all(|value| {
                    let same = found.iter().find(|other| key(other) == key(value));
                    covers(same, value)
                })
            } else {
                found.len() == wanted.len()
                    && found.iter().zip(wanted).all(|(found, wanted)| covers(Some(found), wanted))
            }
        }
        (Some(found), wanted) => found == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_others_add_to_maps_and_to_lists_with_keys_is_theirs() {
        let wanted = json!({ "a": { "b": 1 }, "list": [{ "name": "x", "value": "1" }] });
        let more = json!({ "a": { "b": 1, "c": 2 }, "list": [{ "name": "y" }, { "name": "x", "value": "1", "z": 0 }] });
        assert!(covers(Some(&more), &wanted));
        for other in [
            json!({ "a": { "b": 2 }, "list": [{ "name": "x", "value": "1" }] }),
            json!({ "a": { "b": 1 }, "list": [{ "name": "x", "value": "2" }] }),
            json!({ "a": { "b": 1 }, "list": [] }),
            json!({ "a": { "b": 1 } }),
        ] {
            assert!(!covers(Some(&other), &wanted), "{other}");
        }
    }

    #[test]
    fn a_list_without_keys_is_one_value() {
        assert!(covers(Some(&json!(["a", "b"])), &json!(["a", "b"])));
        for other in [json!(["a"]), json!(["b", "a"]), json!(["a", "b", "c"])] {
            assert!(!covers(Some(&other), &json!(["a", "b"])), "{other}");
        }
    }
}
