//! Objects as a user writes them, and readers for common fields.

use anyhow::Result;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{Api, ListParams};
use kube::{Client, Resource, ResourceExt};
use phasegate_core::api::{ApiGateway, Environment, EnvironmentState};
use serde_json::{Value, json};

/// The history of a gateway that has started for the first time.
pub const STARTED: [&str; 2] = ["Starting/Running StartRequested", "Started/Running Started"];

/// The kinds of children, in their order of creation.
pub const CHILDREN: [&str; 4] = ["Deployment", "Service", "Ingress", "PodDisruptionBudget"];

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
    transitions.map(|step| format!("{}/{} {}", step.to, step.state.as_str(), step.reason)).collect()
}

/// A patch that requests a restart.
pub fn restart(value: &str) -> Value {
    json!({ "metadata": { "annotations": { "phasegate.dev/restart-requested-at": value } } })
}

/// The message of a gateway's condition.
pub fn message(gateway: &ApiGateway, type_: &str) -> String {
    let mut conditions = gateway.status.iter().flat_map(|status| &status.conditions);
    conditions.find(|condition| condition.type_ == type_).map(|found| found.message.clone()).unwrap_or_default()
}

/// Whether an environment is in the state Active.
pub fn is_active(environment: &Environment) -> bool {
    environment.status.as_ref().is_some_and(|status| status.state == EnvironmentState::Active)
}

/// How many pods of a Deployment are available.
pub fn available(deployment: &Deployment) -> i32 {
    deployment.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
}

/// The objects of the gateways that a label selector selects, as `Kind name`.
pub async fn children(client: &Client, namespace: &str, selector: &str) -> Result<Vec<String>> {
    let selector = ListParams::default().labels(selector);
    let mut children = Vec::new();
    macro_rules! list {
        ($($kind:ty),+) => {$(
            let found = Api::<$kind>::namespaced(client.clone(), namespace).list(&selector).await?;
            children.extend(found.iter().map(|object| format!("{} {}", <$kind>::kind(&()), object.name_any())));
        )+};
    }
    list!(Deployment, Service, Ingress, PodDisruptionBudget, ReplicaSet, Pod);
    Ok(children)
}
