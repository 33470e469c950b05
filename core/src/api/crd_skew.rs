//! Detects installed CRDs that are older than this version (version skew). The API server drops a field that
//! the schema lacks, and refuses a value that a closed enum lacks.
//!
//! **Architecture invariant:** skew follows from the two schemas, never from a version number.

use serde_json::Value;

use super::crds;

/// Returns the first field for which the installed schema of `kind` accepts less than this version writes. CRDs
/// of a newer version accept more and yield `None`.
///
/// # Errors
/// If this version's own CRDs cannot be written as JSON, which would be a defect of this crate.
pub fn missing_from_crd(kind: &str, served: &Value) -> anyhow::Result<Option<String>> {
    let crds = crds()?;
    let ours = crds.iter().find(|(_, crd)| crd.pointer("/spec/names/kind").and_then(Value::as_str) == Some(kind));
    let schema = ours.and_then(|(_, crd)| crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties"));
    Ok(["spec", "status"].into_iter().find_map(|part| {
        let ours = schema?.get(part)?;
        match served.get("properties").and_then(|properties| properties.get(part)) {
            Some(served) => narrower(ours, served, part),
            None => Some(part.to_owned()),
        }
    }))
}

fn narrower(ours: &Value, served: &Value, path: &str) -> Option<String> {
    if closes(ours, served) {
        return Some(path.to_owned());
    }
    let keeps_all = served.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
    let fields = ours.get("properties").and_then(Value::as_object).into_iter().flatten();
    let inner = [("items", "[]"), ("additionalProperties", "[*]")];
    let inner = inner.into_iter().filter_map(|(key, name)| Some((ours.get(key)?, served.get(key)?, name)));
    fields
        .filter_map(|(name, field)| {
            let path = format!("{path}.{name}");
            match served.get("properties").and_then(|served| served.get(name)) {
                Some(served) => narrower(field, served, &path),
                None => (!keeps_all).then_some(path),
            }
        })
        .next()
        .or_else(|| inner.into_iter().find_map(|(ours, served, name)| narrower(ours, served, &format!("{path}{name}"))))
}

/// Whether an enum that is open here is closed there, or lacks a value.
fn closes(ours: &Value, served: &Value) -> bool {
    let Some(there) = served.get("enum").and_then(Value::as_array) else { return false };
    ours.get("enum").and_then(Value::as_array).is_none_or(|here| here.iter().any(|word| !there.contains(word)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn schema(kind: &str) -> Value {
        let crds = crds().unwrap();
        let (_, crd) = crds.iter().find(|(_, crd)| crd["spec"]["names"]["kind"] == kind).unwrap();
        crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
    }

    #[test]
    fn definitions_of_this_version_lack_nothing_nor_do_those_of_a_newer_one() {
        for kind in ["ApiGateway", "Environment"] {
            let mut served = schema(kind);
            assert_eq!(missing_from_crd(kind, &served).unwrap(), None);
            served["properties"]["status"]["properties"]["newer"] = json!({ "type": "string" });
            served["properties"]["spec"]["properties"]["newer"] = json!({ "type": "string", "default": "x" });
            assert_eq!(missing_from_crd(kind, &served).unwrap(), None);
        }
    }

    #[test]
    fn a_field_that_is_missing_is_named_with_its_path() {
        type Edit = fn(&mut Value);
        let rows: [(Edit, &str); 5] = [
            (|s| drop(s["status"]["properties"].as_object_mut().unwrap().remove("subject")), "status.subject"),
            (
                |s| {
                    let handled = &mut s["status"]["properties"]["handled"]["properties"];
                    drop(handled.as_object_mut().unwrap().remove("generation"));
                },
                "status.handled.generation",
            ),
            (
                |s| {
                    let step = &mut s["status"]["properties"]["history"]["items"]["properties"];
                    step["reason"]["enum"] = json!(["Started"]);
                },
                "status.history[].reason",
            ),
            (|s| s["spec"]["properties"]["state"]["enum"] = json!(["Running", "Stopped"]), "spec.state"),
            (|s| drop(s.as_object_mut().unwrap().remove("status")), "status"),
        ];
        for (edit, expected) in rows {
            let mut served = schema("ApiGateway");
            edit(&mut served["properties"]);
            assert_eq!(missing_from_crd("ApiGateway", &served).unwrap().as_deref(), Some(expected));
        }
    }
}
