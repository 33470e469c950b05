//! Whether an object is as documents want it.
//!
//! This is another question than that of `children::difference`. A child is the operator's own: its lists are compared
//! whole, and there are fields that nobody else may set. An object of documents is applied by server-side apply with the
//! fields that the platform names, and no others: what anybody sets beside them, an entry of a keyed list or a node
//! selector, is theirs.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::render::Rendered;

/// Where an object is not as it is wanted: the path of the first difference.
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
    // Both in the form that the type gives them; what does not have it, the API server refuses in its words.
    let Ok(typed) = serde_json::from_value::<S>(Value::Object(spec.clone())) else { return Some("/spec".to_owned()) };
    let (Ok(typed), Ok(found)) = (serde_json::to_value(&typed), serde_json::to_value(found)) else {
        return Some("/spec".to_owned());
    };
    let differs = |key: &&String| match typed.get(key.as_str()) {
        Some(wanted) => !covers(found.get(key.as_str()), wanted),
        None => found.get(key.as_str()).is_some_and(|found| !found.is_null()),
    };
    // A field that the type does not know is the API server's to refuse.
    let unknown = |key: &&String| typed.get(key.as_str()).is_none() && !is_optional(spec, key);
    let key = spec.keys().find(|key| unknown(key) || differs(key))?;
    Some(format!("/spec/{key}"))
}

/// Whether a field is one that the types leave out where it says nothing.
fn is_optional(spec: &Map<String, Value>, key: &str) -> bool {
    match spec.get(key) {
        Some(Value::Bool(false) | Value::Null) => true,
        Some(Value::Array(list)) => list.is_empty(),
        Some(Value::Object(map)) => map.is_empty(),
        _ => false,
    }
}

/// Whether what is wanted is there; what others added beside it is theirs.
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
