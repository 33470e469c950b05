//! The custom resource definitions as they are published.

use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::bounds::bound;
use super::{ApiGateway, Environment};

/// The custom resource definitions, by plural, in the order to install them.
///
/// # Errors
/// When a definition cannot be written as JSON, or has not the fields that are bounded; this would be a fault of this crate.
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

/// An optional field is left out, never null: with `nullable` a null would pass the schema
/// and fail in the rules behind it.
fn forbid_nulls(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if map.get("nullable") == Some(&Value::Bool(true)) {
                map.remove("nullable");
            }
            map.values_mut().for_each(forbid_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(forbid_nulls),
        _ => {}
    }
}

/// A rule can only point at a field that the schema names, and the root's leaves out `metadata`.
fn name_the_name(crd: &mut Value) {
    let name = json!({ "type": "object", "properties": { "name": { "type": "string" } } });
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["metadata"] = name;
}

/// The custom resource definitions as YAML, by plural.
///
/// # Errors
/// When a definition cannot be written as YAML; this would be a fault of this crate.
pub fn crds_yaml() -> anyhow::Result<Vec<(String, String)>> {
    crds()?.into_iter().map(|(plural, crd)| Ok((plural, serde_saphyr::to_string(&crd)?))).collect()
}
