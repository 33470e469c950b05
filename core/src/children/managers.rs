//! Who last wrote a field, from `metadata.managedFields`.
//!
//! **Architecture invariant:** the answer is for messages only. No decision depends on it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use serde_json::Value;

/// The latest manager, other than `ours`, of the fields nearest to a path. A manager that removed a field
/// leaves no trace.
pub fn last_manager(meta: &ObjectMeta, path: &str, ours: &str) -> Option<String> {
    let near = |entry: &ManagedFieldsEntry| -> usize {
        entry.fields_v1.as_ref().map_or(0, |fields| depth(&fields.0, &path.split('/').skip(1).collect::<Vec<_>>()))
    };
    let others = meta.managed_fields.iter().flatten().filter(|entry| entry.manager.as_deref() != Some(ours));
    let known = others.map(|entry| (near(entry), entry)).filter(|(near, _)| *near > 0);
    let last = known.max_by_key(|(near, entry)| (*near, entry.time.as_ref().map(|time| time.0)));
    last.and_then(|(_, entry)| entry.manager.clone())
}

/// How many segments of a path a set of fields contains. List entries are known by key, so an index matches
/// nothing.
fn depth(fields: &Value, path: &[&str]) -> usize {
    let (Some((part, rest)), Some(map)) = (path.split_first(), fields.as_object()) else { return 0 };
    if let Some(below) = map.get(&format!("f:{part}")) {
        return 1 + depth(below, rest);
    }
    if part.parse::<usize>().is_err() {
        return 0;
    }
    let entries = map.iter().filter(|(key, _)| key.starts_with("k:"));
    entries.map(|(_, below)| 1 + depth(below, rest)).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn the_nearest_and_then_the_latest_of_the_others_is_named() {
        let entry = |manager: &str, second: u32, fields: Value| {
            json!({
                "manager": manager, "operation": "Update", "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
                "time": format!("2026-01-01T00:00:{second:02}Z"), "fieldsV1": fields,
            })
        };
        let image = json!({ "f:spec": { "f:template": { "f:spec": { "f:containers": {
            "k:{\"name\":\"gateway\"}": { ".": {}, "f:image": {} },
        } } } } });
        let meta: ObjectMeta = serde_json::from_value(json!({ "managedFields": [
            entry("phasegate", 9, image.clone()),
            entry("kubectl-set", 1, image.clone()),
            entry("other-operator", 2, image),
            entry("kube-controller-manager", 8, json!({ "f:metadata": { "f:annotations": {} } })),
            entry("scaler", 5, json!({ "f:spec": { "f:replicas": {} } })),
        ] }))
        .unwrap();
        let named = |path| last_manager(&meta, path, "phasegate");
        assert_eq!(named("/spec/template/spec/containers/0/image").as_deref(), Some("other-operator"));
        assert_eq!(named("/spec/replicas").as_deref(), Some("scaler"));
        assert_eq!(named("/metadata/annotations/note").as_deref(), Some("kube-controller-manager"));
        assert_eq!(named("/data"), None);
        assert_eq!(last_manager(&ObjectMeta::default(), "/spec", "phasegate"), None);
    }
}
