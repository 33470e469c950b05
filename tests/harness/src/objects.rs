//! Objects as a user writes them, and what an object says.

use phasegate_core::api::ApiGateway;
use serde_json::{Value, json};

/// A gateway with this spec.
pub fn gateway(name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "phasegate.dev/v1alpha1",
        "kind": "ApiGateway",
        "metadata": { "name": name },
        "spec": spec,
    })
}

/// An environment of a gateway.
pub fn environment(name: &str, gateway: &str, host: Option<&str>) -> Value {
    json!({
        "apiVersion": "phasegate.dev/v1alpha1",
        "kind": "Environment",
        "metadata": { "name": name },
        "spec": { "gatewayRef": { "name": gateway }, "host": host },
    })
}

/// Whether a condition of a gateway is true.
pub fn is_true(gateway: &ApiGateway, type_: &str) -> bool {
    let conditions = gateway.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|condition| condition.type_ == type_ && condition.status == "True")
}

/// A gateway's history, as `Phase/State Reason`.
pub fn path(gateway: &ApiGateway) -> Vec<String> {
    let transitions = gateway.status.iter().flat_map(|status| &status.history);
    transitions.map(|step| format!("{}/{:?} {}", step.to, step.state, step.reason)).collect()
}
