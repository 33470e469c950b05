//! Bounds on texts, lists and maps in the schemas that come from Kubernetes' own types, which have none.
//! Tenants write these values; the API server, the operator and kubelets read them.
//!
//! Lengths count characters. CEL rules on `command`, `args` and `env` bound their total bytes.
//!
//! **Architecture invariant:** an entry whose path leads nowhere is an error, so a renamed field cannot lose
//! its bound.

use serde_json::{Value, json};

use crate::parse::quantity;

/// The longest names in Kubernetes: of an object, and of a key with a prefix.
const NAME: u32 = 253;
const KEY: u32 = 317;

/// The bounds of a gateway's spec: path, schema keyword, value.
const OF_GATEWAY: &[(&str, &str, u32)] = &[
    ("imagePullSecrets[].name", "maxLength", NAME),
    ("command[]", "maxLength", 8 * 1024),
    ("args[]", "maxLength", 8 * 1024),
    ("resources.limits", "maxProperties", 32),
    ("resources.requests", "maxProperties", 32),
    ("env[].name", "maxLength", NAME),
    ("env[].value", "maxLength", 32 * 1024),
    ("env[].valueFrom.configMapKeyRef.key", "maxLength", NAME),
    ("env[].valueFrom.configMapKeyRef.name", "maxLength", NAME),
    ("env[].valueFrom.fieldRef.apiVersion", "maxLength", 64),
    // `metadata.annotations['<KEY>']`.
    ("env[].valueFrom.fieldRef.fieldPath", "maxLength", KEY + 32),
    ("env[].valueFrom.resourceFieldRef.containerName", "maxLength", NAME),
    ("env[].valueFrom.resourceFieldRef.resource", "maxLength", NAME),
    ("env[].valueFrom.secretKeyRef.key", "maxLength", NAME),
    ("env[].valueFrom.secretKeyRef.name", "maxLength", NAME),
    ("envFrom[].configMapRef.name", "maxLength", NAME),
    ("envFrom[].prefix", "maxLength", NAME),
    ("envFrom[].secretRef.name", "maxLength", NAME),
    ("nodeSelector", "maxProperties", 32),
    ("nodeSelector[*]", "maxLength", 63),
    ("tolerations[].effect", "maxLength", 32),
    ("tolerations[].key", "maxLength", KEY),
    ("tolerations[].operator", "maxLength", 32),
    ("tolerations[].value", "maxLength", 63),
];

/// Writes the bounds into a CRD.
///
/// # Errors
/// If a path matches no field, which would be a defect of this table.
pub(super) fn bound(crd: &mut Value) -> anyhow::Result<()> {
    let is_gateway = crd["spec"]["names"]["kind"] == "ApiGateway";
    let spec = &mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    for (path, keyword, most) in OF_GATEWAY.iter().filter(|_| is_gateway) {
        let Some(Value::Object(field)) = at(spec, path) else {
            anyhow::bail!("there is no field spec.{path}");
        };
        field.insert((*keyword).to_owned(), json!(most));
    }
    bound_quantities(spec);
    Ok(())
}

/// The schema at a path. `[]` is the item of a list, `[*]` the value of a map.
fn at<'a>(schema: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    let steps = path.split('.').flat_map(|name| {
        let (field, inner) = match (name.strip_suffix("[]"), name.strip_suffix("[*]")) {
            (Some(field), _) => (field, Some("items")),
            (_, Some(field)) => (field, Some("additionalProperties")),
            _ => (name, None),
        };
        ["properties", field].into_iter().chain(inner)
    });
    steps.into_iter().try_fold(schema, |schema, key| schema.get_mut(key))
}

/// Bounds every quantity, since Kubernetes computes with every digit.
fn bound_quantities(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
                fields.insert("maxLength".to_owned(), json!(quantity::LONGEST));
                fields.insert("pattern".to_owned(), json!(quantity::PATTERN));
            }
            fields.values_mut().for_each(bound_quantities);
        }
        Value::Array(list) => list.iter_mut().for_each(bound_quantities),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crate::api::crds;

    use super::*;

    /// The texts, lists and maps of a spec that have no bound, by their path.
    fn unbounded(schema: &Value, path: &str, found: &mut Vec<String>) {
        let has = |keyword: &str| schema.get(keyword).is_some();
        let is_bounded = match schema["type"].as_str() {
            Some("string") => has("maxLength") || has("enum"),
            Some("array") => has("maxItems"),
            Some("object") if has("additionalProperties") => has("maxProperties"),
            Some("integer") => has("minimum") && has("maximum") || path.ends_with(".tolerationSeconds"),
            Some("object" | "boolean") => true,
            _ => has("x-kubernetes-int-or-string") && has("maxLength") && has("pattern"),
        };
        if !is_bounded {
            found.push(path.to_owned());
        }
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            unbounded(field, &format!("{path}.{name}"), found);
        }
        for (inner, name) in [("items", "[]"), ("additionalProperties", "[*]")] {
            if let Some(schema) = schema.get(inner) {
                unbounded(schema, &format!("{path}{name}"), found);
            }
        }
    }

    #[test]
    fn whatever_a_spec_takes_has_a_bound() {
        for (plural, crd) in crds().unwrap() {
            let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
            let mut found = Vec::new();
            unbounded(schema, "spec", &mut found);
            assert_eq!(found, [""; 0], "{plural}");
        }
    }

    #[test]
    fn a_path_that_leads_nowhere_is_no_bound() {
        let mut schema = json!({ "properties": { "list": { "items": { "properties": { "name": {} } } } } });
        assert!(at(&mut schema, "list[].name").is_some());
        for path in ["list.name", "list[*].name", "list[].other", "other"] {
            assert!(at(&mut schema, path).is_none(), "{path}");
        }
    }
}
