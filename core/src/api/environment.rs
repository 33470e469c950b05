//! `Environment`: dev, staging, prod: switched on when the gateway it belongs to serves.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime};

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::key::ObjectKey;
use super::open_enum::{any_word, words};
use super::status::{HostClaim, UnknownFields};

/// How many environments of one gateway count: the oldest. The others are told, and cost nobody anything.
pub const MOST_ENVIRONMENTS: usize = 200;

/// What the user wants of the environment.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "phasegate.dev",
    version = "v1alpha1",
    kind = "Environment",
    plural = "environments",
    shortname = "agwenv",
    category = "phasegate",
    namespaced,
    status = "EnvironmentStatus",
    derive = "PartialEq",
    doc = "An environment of an ApiGateway, such as dev, staging or prod. It is Active while its gateway serves.",
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message(
        "metadata.name must start with a lower-case letter, end with a letter or digit and contain only lower-case letters, digits and '-'"
    ).field_path(".metadata.name"),
    validation = Rule::new("self.metadata.name.size() <= 50").message("metadata.name must have at most 50 characters").field_path(".metadata.name"),
    printcolumn(name = "Gateway", type_ = "string", json_path = ".spec.gatewayRef.name"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Host", type_ = "string", json_path = ".spec.host"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentSpec {
    /// The gateway that this environment belongs to. Immutable.
    #[x_kube(validation = Rule::new("self == oldSelf").message("gatewayRef cannot be changed: delete the Environment and create another"))]
    pub gateway_ref: GatewayRef,

    /// A host name of this environment, routed to its gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(
        r"self.matches('^([*][.])?[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$') && !self.matches('^[0-9.]+$')"
    ).message("host must be a lower-case DNS name such as dev.shop.example.com, without scheme, port or path, and not an IP address"))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9.]+$') || !self.matches('(^|[.])([0-9]+|0x[0-9a-f]*)$')").message("host must not end with a number: clients parse such a name as an IP address"))]
    #[x_kube(validation = Rule::new("!self.matches('(^|[.])(localhost|svc)$')").message("host must not be localhost or svc, or a subdomain of them: these names are for local and cluster use"))]
    pub host: Option<String>,
}

/// A gateway in the same namespace.
#[derive(Serialize, Deserialize, schemars::JsonSchema, Clone, Debug, PartialEq)]
pub struct GatewayRef {
    /// Its name.
    #[schemars(length(min = 1, max = 50))]
    pub name: String,
}

/// The observed state of an environment.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentStatus {
    /// `Active` while its gateway serves it, otherwise `Inactive`.
    #[serde(default)]
    pub state: EnvironmentState,

    /// When it became Active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activated_at: Option<MicroTime>,

    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The host that this environment holds, and since when.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["host".into()]))]
    pub hosts: Vec<HostClaim>,

    /// `Ready` and `Stalled`, as kstatus and `kubectl wait` read them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// Fields of another version, kept unchanged.
    #[serde(flatten)]
    #[schemars(skip)]
    pub others: UnknownFields,
}

words! {
    /// Whether an environment is switched on.
    #[derive(Default)]
    EnvironmentState:

    /// Its gateway does not serve, or its host was refused.
    #[default]
    Inactive,
    /// Its gateway serves it.
    Active,
}

any_word!(EnvironmentState);

impl Environment {
    /// The key of the gateway that this environment belongs to.
    pub fn gateway_key(&self) -> ObjectKey {
        ObjectKey { name: self.spec.gateway_ref.name.clone(), ..ObjectKey::of(self) }
    }
}
