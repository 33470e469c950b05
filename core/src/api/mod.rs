//! The contract with users: the custom resources, their statuses, reasons, labels and annotations.

mod environment;
mod gateway;
mod key;
mod reason;
mod status;

use kube::CustomResourceExt;
use serde_json::{Value, json};

pub use environment::{Environment, EnvironmentSpec, EnvironmentState, EnvironmentStatus, GatewayRef};
pub use gateway::{
    ApiGateway, ApiGatewaySpec, DesiredState, EmptyDir, FilesFrom, Resources, StartRetries, Tls, TopologySpread,
    Volume, WhenUnsatisfiable,
};
pub use key::ObjectKey;
pub use reason::Reason;
pub use status::{
    ApiGatewayStatus, Attempt, EnvironmentCount, Failure, HISTORY_LENGTH, Handled, HostClaim, Phase, State, Transition,
};

/// Annotation whose every new value asks for another try after a timeout.
pub const RETRY_ANNOTATION: &str = "phasegate.dev/retry-requested-at";
/// Annotation whose every new value asks for a restart without downtime.
pub const RESTART_ANNOTATION: &str = "phasegate.dev/restart-requested-at";

/// Annotation that, when `true`, lets a gateway take over the children of an earlier gateway of
/// its name instead of waiting for their deletion.
pub const ADOPT_ANNOTATION: &str = "phasegate.dev/adopt";
/// Annotation of a Namespace: the hosts that its gateways and environments may have, as suffixes
/// separated by commas. Absent: any.
pub const ALLOWED_HOSTS_ANNOTATION: &str = "phasegate.dev/allowed-hosts";

/// Label of what was made from a platform's documents: its registry.
pub const REGISTRY_LABEL: &str = "phasegate.dev/registry";
/// The label's value where the documents are MongoDB's.
pub const REGISTRY_MONGODB: &str = "mongodb";
/// Annotation of what was made from a platform's documents: the id of its gateway there.
pub const GATEWAY_ID_ANNOTATION: &str = "phasegate.dev/gateway-id";
/// Annotation with the platform's last request that was taken in.
pub const INTENT_ANNOTATION: &str = "phasegate.dev/intent";
/// Finalizer of gateways that are recorded outside Kubernetes.
pub const REGISTRY_FINALIZER: &str = "phasegate.dev/registry";

/// The types of condition on an `ApiGateway`.
pub mod condition {
    /// What is observed matches what is asked.
    pub const READY: &str = "Ready";
    /// The gateway serves.
    pub const AVAILABLE: &str = "Available";
    /// The operator is working towards what is asked.
    pub const RECONCILING: &str = "Reconciling";
    /// No progress until somebody acts.
    pub const STALLED: &str = "Stalled";
    /// Something of a stopped gateway does not go away.
    pub const CLEANUP_STUCK: &str = "CleanupStuck";
}

/// The custom resource definitions, by plural, in the order to install them.
///
/// # Errors
/// When a definition cannot be written as JSON; this would be a fault of this crate.
pub fn crds() -> anyhow::Result<Vec<(String, Value)>> {
    [ApiGateway::crd(), Environment::crd()]
        .into_iter()
        .map(|crd| {
            let mut value = serde_json::to_value(&crd)?;
            forbid_nulls(&mut value);
            name_the_name(&mut value);
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
