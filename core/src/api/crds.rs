//! The published custom resource definitions.

use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::bounds::bound;
use super::{ApiGateway, Environment};

/// The CRDs as JSON, by plural, in installation order.
///
/// # Errors
/// If a CRD cannot be written as JSON or lacks a bounded field, which would be a defect of this crate.
pub fn crds() -> anyhow::Result<Vec<(String, Value)>> {
    [ApiGateway::crd(), Environment::crd()]
        .into_iter()
        .map(|crd| {
            let mut value = serde_json::to_value(&crd)?;
            forbid_nulls(&mut value);
            name_the_name(&mut value);
            bound(&mut value)?;
            Ok((crd.spec.names.plural, value))
        })
        .collect()
}

/// Optional fields are omitted, never null. With `nullable`, a null would pass the schema and fail in the CEL
/// rules after it.
fn forbid_nulls(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if map.get("nullable") == Some(&Value::Bool(true)) {
                map.remove("nullable");
            }
            if let Some(Value::Array(words)) = map.get_mut("enum") {
                words.retain(|word| !word.is_null());
            }
            map.values_mut().for_each(forbid_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(forbid_nulls),
        _ => {}
    }
}

/// CEL rules can only name fields that the schema names, and the generated root schema omits `metadata`.
fn name_the_name(crd: &mut Value) {
    let name = json!({ "type": "object", "properties": { "name": { "type": "string" } } });
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["metadata"] = name;
}

/// The CRDs as YAML, by plural.
///
/// # Errors
/// If a CRD cannot be written as YAML, which would be a defect of this crate.
pub fn crds_yaml() -> anyhow::Result<Vec<(String, String)>> {
    crds()?.into_iter().map(|(plural, crd)| Ok((plural, serde_saphyr::to_string(&crd)?))).collect()
}
