//! `ApiGateway`: what a user asks for (`spec`).

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, LocalObjectReference, Toleration};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::core::Duration;
use kube::{CustomResource, KubeSchema};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use super::key::uid_of;
use super::state::DesiredState;
use super::status::ApiGatewayStatus;
use super::words::{known_words, words};
use crate::parse;

/// What the user wants of the gateway.
///
/// A gateway is one Deployment, one Service and, where a host is named, one Ingress,
/// all with the gateway's own name.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "phasegate.dev",
    version = "v1alpha1",
    kind = "ApiGateway",
    plural = "apigateways",
    shortname = "agw",
    category = "phasegate",
    namespaced,
    status = "ApiGatewayStatus",
    derive = "PartialEq",
    doc = "A tenant's API gateway: a Deployment, a Service and an Ingress that start together, are given a deadline, and say why when they do not start.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message(
        "metadata.name must start with a lower-case letter, end with a letter or digit and hold only lower-case letters, digits and '-': the Service carries the same name"
    ).field_path(".metadata.name"),
    validation = Rule::new("self.metadata.name.size() <= 50").message(
        "metadata.name must have at most 50 characters: the pods' names are derived from it"
    ).field_path(".metadata.name"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state", description = "What the operator holds the gateway to"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase", description = "What the operator is doing"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status", description = "Whether what is observed matches what is asked"),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.readyReplicas", description = "Ready replicas"),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url", description = "Where the gateway answers"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", description = "Why it is, or is not, ready"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Image", type_ = "string", json_path = ".spec.image", priority = 1),
    printcolumn(name = "Environments", type_ = "string", json_path = ".status.environments.active", priority = 1, description = "Active environments")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.tls) || has(self.host)").message("tls needs a host").reason(Reason::FieldValueRequired).field_path(".host"),
    validation = Rule::new("!has(self.path) || has(self.host)").message("path needs a host: without one no Ingress is made").reason(Reason::FieldValueRequired).field_path(".host")
)]
pub struct ApiGatewaySpec {
    /// What is wanted: `Running`, `Stopped`, or `Restarting` (running, and restarted once
    /// each time the field turns to it from something else). After a start timed out,
    /// writing the same value again changes nothing: change the spec, or set the annotation
    /// `phasegate.dev/retry-requested-at` to a new value.
    #[serde(default)]
    pub state: DesiredState,

    /// The container image of the gateway, for example `ghcr.io/acme/gateway:1.4`.
    /// The registry and repository are lower case.
    #[schemars(length(max = 512))]
    #[x_kube(validation = Rule::new("self != ''").message("image must not be empty"))]
    #[x_kube(validation = Rule::new(
        "self == '' || self.matches('^[a-z0-9]+([._-]+[a-z0-9]+)*(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[a-f0-9]{64})?$')"
    ).message("image must be an image reference such as ghcr.io/acme/gateway:1.4, its registry and repository in lower case"))]
    pub image: String,

    /// Secrets in the gateway's namespace that hold credentials for the image's registry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub image_pull_secrets: Vec<LocalObjectReference>,

    /// Replaces the image's entry point. Absent: the image's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.map(text, size(bytes(text))).sum() <= 65536").message("command has at most 65536 bytes in all"))]
    pub command: Vec<String>,

    /// Arguments of the entry point. Absent: the image's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.map(text, size(bytes(text))).sum() <= 65536").message("args have at most 65536 bytes in all"))]
    pub args: Vec<String>,

    /// The TCP port that the container listens on. The Service forwards its port 80 to it.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,

    /// How many pods serve. Autoscalers set it by the scale subresource of the gateway.
    // Optional although the schema has a default: older definitions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000), extend("default" = 1))]
    pub replicas: Option<i32>,

    /// CPU, memory and other resources that a pod asks for and is limited to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,

    /// Environment variables of the container. Names are unique; Secrets and ConfigMaps
    /// are those of the gateway's namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[x_kube(validation = Rule::new("self.map(variable, has(variable.value) ? size(bytes(variable.value)) : 0).sum() <= 262144").message("the values of env have at most 262144 bytes in all: keep what is larger in a ConfigMap or a Secret"))]
    pub env: Vec<EnvVar>,

    /// Whole ConfigMaps and Secrets of the gateway's namespace as environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub env_from: Vec<EnvFromSource>,

    /// Files for the container. Every entry is one ConfigMap, one Secret or an empty folder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub volumes: Vec<Volume>,

    /// The HTTP path that answers 2xx or 3xx once a pod can serve. Absent: an open port is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    #[x_kube(validation = Rule::new("self.startsWith('/')").message("readinessPath must start with '/'"))]
    pub readiness_path: Option<String>,

    /// How many seconds a pod may take to finish its requests when it is stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub termination_grace_period_seconds: Option<i64>,

    /// Labels that a node must carry to run the gateway's pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[x_kube(validation = Rule::new("self.all(key, key.size() <= 317)").message("a key has at most 317 characters"))]
    pub node_selector: BTreeMap<String, String>,

    /// Taints that the gateway's pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub tolerations: Vec<Toleration>,

    /// How the gateway's own pods are spread over nodes or zones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["topologyKey".into()]))]
    pub topology_spread: Vec<TopologySpread>,

    /// The host name under which the gateway answers, for example `shop.example.com` or
    /// `*.shop.example.com`. Absent: no Ingress is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(
        r"self.matches('^([*][.])?[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$') && !self.matches('^[0-9.]+$')"
    ).message("host must be a lower-case DNS name such as shop.example.com: no IP address, and no scheme, port or path"))]
    #[x_kube(validation = Rule::new("!self.matches('(^|[.])(localhost|svc)$')").message("host must not be localhost or svc, or below one of them: machines and clusters use those names themselves"))]
    pub host: Option<String>,

    /// The path prefix under `host` that is routed to the gateway. Absent: `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    #[x_kube(validation = Rule::new("self.startsWith('/')").message("path must start with '/'"))]
    #[x_kube(validation = Rule::new("!self.contains('..') && !self.contains('//') && !self.contains('/./')").message("path must not contain '..', '//' or '/./'"))]
    #[x_kube(validation = Rule::new("self.matches('^[-A-Za-z0-9/._~]*$')").message("path may hold only letters, digits and - . _ ~ /"))]
    pub path: Option<String>,

    /// Which ingress controller serves the Ingress. Absent: the cluster's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub ingress_class_name: Option<String>,

    /// HTTPS for `host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,

    /// How long a start may take, as a Go duration (`90s`, `5m`, `1h30m`), at least `1s`.
    /// When it is over, the gateway is stopped and says why. Absent: the operator's
    /// default (5 minutes).
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "duration")]
    #[schemars(with = "Option<String>", length(max = 20))]
    #[x_kube(validation = Rule::new(r"self.matches('^([0-9]{1,6}([.][0-9]{1,3})?(ms|s|m|h))+$')").message("startDeadline must be a duration such as 90s, 5m or 1h30m, each number of at most 6 digits"))]
    #[x_kube(validation = Rule::new(r"!self.matches('^([0-9]{1,6}([.][0-9]{1,3})?(ms|s|m|h))+$') || duration(self) >= duration('1s')").message("startDeadline must be at least 1s"))]
    pub start_deadline: Option<Duration>,

    /// The operator's own tries after a timeout. Absent: none; the user retries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_retries: Option<StartRetries>,

    /// True: the operator writes nothing for this gateway and holds its clock.
    /// Deleting it still works.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

fn default_port() -> i32 {
    8080
}

/// A duration that the definition of another version let through is no reason to end the operator.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let Some(text) = Option::<Cow<'de, str>>::deserialize(deserializer)? else { return Ok(None) };
    let read = parse::stored_duration(&text);
    read.map(Some).ok_or_else(|| D::Error::custom(format!("{:?} is no duration such as 90s, 5m or 1h30m", &*text)))
}

/// CPU, memory and other resources of a pod.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct Resources {
    /// The most a pod may use, by resource name, for example `memory: 256Mi`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[x_kube(validation = Rule::new("self.all(name, name.size() <= 317)").message("the name of a resource has at most 317 characters"))]
    pub limits: BTreeMap<String, Quantity>,
    /// What a pod is promised, by resource name, for example `cpu: 100m`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[x_kube(validation = Rule::new("self.all(name, name.size() <= 317)").message("the name of a resource has at most 317 characters"))]
    pub requests: BTreeMap<String, Quantity>,
}

/// A folder or file for the container. Exactly one of `configMap`, `secret`, `emptyDir`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.configMap), has(self.secret), has(self.emptyDir)].filter(x, x).size() == 1").message("a volume is exactly one of configMap, secret and emptyDir"))]
pub struct Volume {
    /// Name of the volume, a DNS label, unique in the gateway. `tmp` is the operator's own.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && self != 'tmp'").message("a volume's name must be a DNS label other than tmp"))]
    pub name: String,
    /// Absolute path at which the container sees it.
    #[schemars(length(max = 256))]
    #[x_kube(validation = Rule::new("self.startsWith('/') && !self.contains(':') && !self.contains('..') && !self.matches('^/+tmp/*$')").message("mountPath must be an absolute path other than /tmp, without ':' or '..'"))]
    pub mount_path: String,
    /// True: the container cannot write to it. ConfigMaps and Secrets never can be written to.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// The ConfigMap whose keys become files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<FilesFrom>,
    /// The Secret whose keys become files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<FilesFrom>,
    /// An empty folder that lives as long as the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_dir: Option<EmptyDir>,
}

/// A ConfigMap or Secret of the gateway's namespace.
#[derive(Serialize, Deserialize, schemars::JsonSchema, Clone, Debug, PartialEq)]
pub struct FilesFrom {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// True: pods start without it when it does not exist.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// An empty folder.
#[derive(Serialize, Deserialize, schemars::JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct EmptyDir {
    /// The most it may hold, for example `64Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_limit: Option<Quantity>,
}

/// How the gateway's pods are spread.
#[derive(Serialize, Deserialize, schemars::JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TopologySpread {
    /// The node label whose values are the places to spread over, for example
    /// `topology.kubernetes.io/zone`.
    #[schemars(length(min = 1, max = 316))]
    pub topology_key: String,
    /// By how many pods two places may differ.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_skew: i32,
    /// What happens when the spread cannot be kept.
    #[serde(default)]
    pub when_unsatisfiable: WhenUnsatisfiable,
}

fn one() -> i32 {
    1
}

words! {
    /// What the scheduler does when pods cannot be spread as asked.
    #[derive(Default)]
    WhenUnsatisfiable:

    /// Schedule the pod all the same.
    #[default]
    ScheduleAnyway,
    /// Leave the pod pending.
    DoNotSchedule,
}

known_words!(WhenUnsatisfiable);

/// HTTPS for the gateway's host.
#[derive(Serialize, Deserialize, schemars::JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// The Secret of type `kubernetes.io/tls` in the gateway's namespace.
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: String,
}

/// The operator's own tries after a start timed out.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct StartRetries {
    /// How many times it tries again before it waits for the user.
    #[schemars(range(min = 0, max = 100))]
    pub limit: i32,
    /// How long it waits after a timeout, as a Go duration, at least `1s`. Absent: `1m`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "duration")]
    #[schemars(with = "Option<String>", length(max = 20))]
    #[x_kube(validation = Rule::new(r"self.matches('^([0-9]{1,6}([.][0-9]{1,3})?(ms|s|m|h))+$')").message("backoff must be a duration such as 30s or 5m, each number of at most 6 digits"))]
    #[x_kube(validation = Rule::new(r"!self.matches('^([0-9]{1,6}([.][0-9]{1,3})?(ms|s|m|h))+$') || duration(self) >= duration('1s')").message("backoff must be at least 1s"))]
    pub backoff: Option<Duration>,
}

impl ApiGatewaySpec {
    /// A word that this version does not know: where it is, and how it is spelled.
    pub fn unknown_word(&self) -> Option<(&'static str, &'static str)> {
        let state = Some(("spec.state", self.state.as_str())).filter(|_| !self.state.is_known());
        let mut spreads = self.topology_spread.iter().map(|spread| spread.when_unsatisfiable);
        state.or_else(|| {
            let unknown = spreads.find(|word| !word.is_known())?;
            Some(("spec.topologySpread[].whenUnsatisfiable", unknown.as_str()))
        })
    }

    /// Whether nothing is written for the gateway but its status: it is suspended, or asks what this version does not
    /// know.
    pub fn is_left_alone(&self) -> bool {
        self.suspend || self.unknown_word().is_some()
    }
}

impl ApiGateway {
    /// `namespace/name`, as logs and messages call the gateway.
    pub fn key(&self) -> String {
        format!("{}/{}", self.namespace_or_empty(), self.name_or_empty())
    }

    /// The gateway's name; every object read from the API server has one.
    pub fn name_or_empty(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// The gateway's namespace; every namespaced object read from the API server has one.
    pub fn namespace_or_empty(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// The uid that children carry and that tells this gateway from an earlier one of its name.
    pub fn uid(&self) -> &str {
        uid_of(&self.metadata)
    }

    /// The status, or an empty one before the first write.
    pub fn status_or_default(&self) -> ApiGatewayStatus {
        self.status.clone().unwrap_or_default()
    }

    /// An annotation's value.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.metadata.annotations.as_ref()?.get(name).map(String::as_str)
    }

    /// Whether somebody asked the API server to delete the gateway.
    pub fn is_being_deleted(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }
}
