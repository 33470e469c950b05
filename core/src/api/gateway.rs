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
use super::open_enum::{known_words, words};
use super::state::DesiredState;
use super::status::ApiGatewayStatus;
use crate::parse;

/// The desired state of the gateway.
///
/// A gateway is one Deployment, one Service and, if it has a host, one Ingress or HTTPRoute. All have the gateway's
/// name.
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
    doc = "A tenant's API gateway: a Deployment, a Service and an Ingress that start together within a deadline. The status says why a start failed.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message(
        "metadata.name must start with a lower-case letter, end with a letter or digit and contain only lower-case letters, digits and '-': the Service has the same name"
    ).field_path(".metadata.name"),
    validation = Rule::new("self.metadata.name.size() <= 50").message(
        "metadata.name must have at most 50 characters: the pods' names are derived from it"
    ).field_path(".metadata.name"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state", description = "The state that the operator maintains"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase", description = "The phase of the lifecycle"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status", description = "Whether the gateway matches its spec"),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.readyReplicas", description = "Ready replicas"),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url", description = "The URL of the gateway"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", description = "The reason of the condition Ready"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Image", type_ = "string", json_path = ".spec.image", priority = 1),
    printcolumn(name = "Environments", type_ = "string", json_path = ".status.environments.active", priority = 1, description = "Active environments")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.tls) || has(self.host)").message("tls needs a host").reason(Reason::FieldValueRequired).field_path(".host"),
    validation = Rule::new("!has(self.path) || has(self.host)").message("path needs a host: without a host there is no Ingress").reason(Reason::FieldValueRequired).field_path(".host")
)]
pub struct ApiGatewaySpec {
    /// The desired state: `Running`, `Stopped`, or `Restarting`. `Restarting` is `Running` with one restart each time
    /// the field changes to it. After a start timed out, writing the same value again has no effect: change the spec,
    /// or set the annotation `phasegate.dev/retry-requested-at` to a new value.
    #[serde(default)]
    pub state: DesiredState,

    /// The container image, for example `ghcr.io/acme/gateway:1.4`. Registry and repository are in lower case.
    #[schemars(length(max = 512))]
    #[x_kube(validation = Rule::new("self != ''").message("image must not be empty"))]
    #[x_kube(validation = Rule::new(
        "self == '' || self.matches('^[a-z0-9]+([._-]+[a-z0-9]+)*(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[a-f0-9]{64})?$')"
    ).message("image must be an image reference such as ghcr.io/acme/gateway:1.4, with registry and repository in lower case"))]
    pub image: String,

    /// Secrets in the gateway's namespace with credentials for the image's registry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub image_pull_secrets: Vec<LocalObjectReference>,

    /// The entry point of the container. Default: the image's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.map(text, size(bytes(text))).sum() <= 65536").message("command must have at most 65536 bytes in total"))]
    pub command: Vec<String>,

    /// The arguments of the entry point. Default: the image's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.map(text, size(bytes(text))).sum() <= 65536").message("args must have at most 65536 bytes in total"))]
    pub args: Vec<String>,

    /// The TCP port that the container listens on. The Service forwards its port 80 to it.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,

    /// The number of pods. Autoscalers set it through the scale subresource of the ApiGateway.
    // Optional although the schema has a default: older definitions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000), extend("default" = 1))]
    pub replicas: Option<i32>,

    /// CPU, memory and other resources of each pod: requests and limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,

    /// Environment variables of the container, with unique names. Referenced Secrets and ConfigMaps are in the
    /// gateway's namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[x_kube(validation = Rule::new("self.map(variable, has(variable.value) ? size(bytes(variable.value)) : 0).sum() <= 262144").message("the values of env must have at most 262144 bytes in total: move larger values to a ConfigMap or a Secret"))]
    pub env: Vec<EnvVar>,

    /// ConfigMaps and Secrets of the gateway's namespace, whose keys all become environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub env_from: Vec<EnvFromSource>,

    /// Files for the container. Each entry is one ConfigMap, one Secret or an empty directory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub volumes: Vec<Volume>,

    /// The HTTP path of the readiness probe; 2xx or 3xx means ready. Default: an open port is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    #[x_kube(validation = Rule::new("self.startsWith('/')").message("readinessPath must start with '/'"))]
    pub readiness_path: Option<String>,

    /// Seconds that a pod has to finish its requests when it is stopped. Default: 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub termination_grace_period_seconds: Option<i64>,

    /// Labels that a node must have to run the gateway's pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[x_kube(validation = Rule::new("self.all(key, key.size() <= 317)").message("a key must have at most 317 characters"))]
    pub node_selector: BTreeMap<String, String>,

    /// Taints that the gateway's pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub tolerations: Vec<Toleration>,

    /// How the scheduler spreads the gateway's pods over nodes or zones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["topologyKey".into()]))]
    pub topology_spread: Vec<TopologySpread>,

    /// The host name of the gateway, for example `shop.example.com` or `*.shop.example.com`. Default: none, and
    /// neither Ingress nor HTTPRoute is created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(
        r"self.matches('^([*][.])?[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$') && !self.matches('^[0-9.]+$')"
    ).message("host must be a lower-case DNS name such as shop.example.com, without scheme, port or path, and not an IP address"))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9.]+$') || !self.matches('(^|[.])([0-9]+|0x[0-9a-f]*)$')").message("host must not end with a number: clients parse such a name as an IP address"))]
    #[x_kube(validation = Rule::new("!self.matches('(^|[.])(localhost|svc)$')").message("host must not be localhost or svc, or a subdomain of them: these names are for local and cluster use"))]
    pub host: Option<String>,

    /// The path prefix that is routed to the gateway, under `host` and the hosts of its environments. The container
    /// receives it unchanged. Default: `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    #[x_kube(validation = Rule::new("self.startsWith('/')").message("path must start with '/'"))]
    #[x_kube(validation = Rule::new("!self.contains('..') && !self.contains('//') && !self.contains('/./')").message("path must not contain '..', '//' or '/./'"))]
    #[x_kube(validation = Rule::new("self.matches('^[-A-Za-z0-9/._~]*$')").message("path may hold only letters, digits and - . _ ~ /"))]
    pub path: Option<String>,

    /// The ingress class, which selects the ingress controller. Default: the cluster's default class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub ingress_class_name: Option<String>,

    /// HTTPS for `host` and the hosts of the environments, through the Ingress. For an HTTPRoute, TLS is configured on the Gateway's listeners.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,

    /// How hosts are routed: `Ingress`, `HTTPRoute` (Gateway API), `Both`, or `None`, which claims no host. Default:
    /// `Ingress`. On a change, the old route is deleted only once the new one is accepted.
    // No default in the schema: what is stored without it was asked without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposure: Option<Exposure>,

    /// The Gateways to attach the HTTPRoute to. Default: the operator's flag `--default-parent-refs`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub parent_refs: Vec<ParentRef>,

    /// How long a start may take, as a Go duration (`90s`, `5m`, `1h30m`), at least `1s`. After that the attempt
    /// fails, and the status says why. If no pod serves, the gateway is stopped. Default: the operator's flag
    /// `--start-deadline` (5 minutes).
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "duration")]
    #[schemars(with = "Option<String>", length(max = 20))]
    #[x_kube(validation = Rule::new(r"self.matches('^([0-9]{1,6}([.][0-9]{1,3})?(ms|s|m|h))+$')").message("startDeadline must be a duration such as 90s, 5m or 1h30m, each number of at most 6 digits"))]
    #[x_kube(validation = Rule::new(r"!self.matches('^([0-9]{1,6}([.][0-9]{1,3})?(ms|s|m|h))+$') || duration(self) >= duration('1s')").message("startDeadline must be at least 1s"))]
    pub start_deadline: Option<Duration>,

    /// Automatic retries after a start timed out. Default: none; the user retries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_retries: Option<StartRetries>,

    /// True suspends reconciliation of this gateway: the operator writes no child, and the start deadline is paused.
    /// Deletion still works.
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
    read.map(Some).ok_or_else(|| D::Error::custom(format!("{:?} is not a duration such as 90s, 5m or 1h30m", &*text)))
}

/// CPU, memory and other resources of a pod.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct Resources {
    /// The maximum per pod, by resource name, for example `memory: 256Mi`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[x_kube(validation = Rule::new("self.all(name, name.size() <= 317)").message("a resource name must have at most 317 characters"))]
    pub limits: BTreeMap<String, Quantity>,
    /// The amount reserved per pod, by resource name, for example `cpu: 100m`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[x_kube(validation = Rule::new("self.all(name, name.size() <= 317)").message("a resource name must have at most 317 characters"))]
    pub requests: BTreeMap<String, Quantity>,
}

/// A directory of files for the container. Exactly one of `configMap`, `secret`, `emptyDir`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.configMap), has(self.secret), has(self.emptyDir)].filter(x, x).size() == 1").message("a volume must have exactly one of configMap, secret and emptyDir"))]
pub struct Volume {
    /// Name of the volume, a DNS label, unique in the gateway. `tmp` is the operator's own.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && self != 'tmp'").message("a volume's name must be a DNS label other than tmp"))]
    pub name: String,
    /// The absolute path of the mount in the container.
    #[schemars(length(max = 256))]
    #[x_kube(validation = Rule::new("self.startsWith('/') && !self.contains(':') && !self.contains('..') && !self.matches('^/+tmp/*$')").message("mountPath must be an absolute path other than /tmp, without ':' or '..'"))]
    pub mount_path: String,
    /// True mounts it read-only. ConfigMaps and Secrets are always read-only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// The ConfigMap whose keys become files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<FilesFrom>,
    /// The Secret whose keys become files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<FilesFrom>,
    /// An empty directory that lives as long as the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_dir: Option<EmptyDir>,
}

/// A ConfigMap or Secret of the gateway's namespace.
#[derive(Serialize, Deserialize, schemars::JsonSchema, Clone, Debug, PartialEq)]
pub struct FilesFrom {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// True: pods start even if it does not exist.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// An empty directory.
#[derive(Serialize, Deserialize, schemars::JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct EmptyDir {
    /// The maximum size, for example `64Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_limit: Option<Quantity>,
}

/// How the scheduler spreads the gateway's pods.
#[derive(Serialize, Deserialize, schemars::JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TopologySpread {
    /// The node label whose values are the topology domains, for example `topology.kubernetes.io/zone`.
    #[schemars(length(min = 1, max = 316))]
    pub topology_key: String,
    /// The maximum difference in pods between two domains.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_skew: i32,
    /// What the scheduler does if it cannot keep the spread.
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

    /// Schedule the pod anyway.
    #[default]
    ScheduleAnyway,
    /// Leave the pod pending.
    DoNotSchedule,
}

known_words!(WhenUnsatisfiable);

words! {
    /// How the hosts of a gateway are routed.
    #[derive(Default)]
    Exposure:

    /// By an Ingress.
    #[default]
    Ingress,
    /// By an HTTPRoute of the Gateway API.
    HTTPRoute,
    /// By an Ingress and by an HTTPRoute.
    Both,
    /// Not routed: the Service is reachable only inside the cluster.
    None,
}

known_words!(Exposure);

impl Exposure {
    /// Whether an Ingress is asked for.
    pub fn by_ingress(self) -> bool {
        matches!(self, Self::Ingress | Self::Both)
    }

    /// Whether an HTTPRoute is asked for.
    pub fn by_route(self) -> bool {
        matches!(self, Self::HTTPRoute | Self::Both)
    }
}

/// A `Gateway` of the Gateway API, or one of its listeners.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ParentRef {
    /// The namespace of the Gateway. Default: the namespace of the ApiGateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("namespace must be a valid namespace name"))]
    pub namespace: Option<String>,
    /// The name of the Gateway.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The name of a listener of the Gateway. Default: every listener that accepts the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
}

impl ParentRef {
    /// The namespace of the Gateway, where the one who names it is in `own`.
    pub fn namespace_or<'a>(&'a self, own: &'a str) -> &'a str {
        self.namespace.as_deref().unwrap_or(own)
    }
}

/// HTTPS for the gateway's host.
#[derive(Serialize, Deserialize, schemars::JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// The Secret of type `kubernetes.io/tls` in the gateway's namespace.
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: String,
}

/// Automatic retries after a start timed out.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct StartRetries {
    /// The number of automatic retries before the gateway waits for the user.
    #[schemars(range(min = 0, max = 100))]
    pub limit: i32,
    /// How long to wait after a timeout, as a Go duration, at least `1s`. Default: `1m`.
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
        let exposure = self.exposure.filter(|word| !word.is_known()).map(|word| ("spec.exposure", word.as_str()));
        let mut spreads = self.topology_spread.iter().map(|spread| spread.when_unsatisfiable);
        state.or(exposure).or_else(|| {
            let unknown = spreads.find(|word| !word.is_known())?;
            Some(("spec.topologySpread[].whenUnsatisfiable", unknown.as_str()))
        })
    }

    /// By what the hosts are routed.
    pub fn exposure(&self) -> Exposure {
        self.exposure.unwrap_or_default()
    }

    /// The host that is to be routed.
    pub fn host(&self) -> Option<&String> {
        self.host.as_ref().filter(|_| self.exposure() != Exposure::None)
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
