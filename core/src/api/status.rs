//! `ApiGateway`: what the operator reports (`status`). Only the operator writes it.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::open_enum::Word;
use super::reason::Reason;
use super::state::{DesiredState, Phase, State};

/// How many transitions `status.history` keeps.
pub const HISTORY_LENGTH: usize = 20;

/// Fields that another version wrote. They are kept and written back, for as long as what they are part of is: a
/// rollback does not lose what the newer version knew.
pub type UnknownFields = BTreeMap<String, Value>;

/// The observed state of a gateway.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ApiGatewayStatus {
    /// The state that the operator maintains: `Running`, `Stopped` or `Restarting`. After a timeout it is `Stopped`, while `spec.state` still has what the
    /// user requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,

    /// The phase of the lifecycle: `Created`, `Starting`, `Started`, `Stopping`, `Stopped` or `Deleting`. `Started`
    /// alone does not mean that the gateway serves: wait for the condition `Available`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,

    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// For the operator: the last request of the user that it took up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handled: Option<Handled>,

    /// The current or last attempt to start or restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,

    /// The number of phase transitions so far. It only grows.
    #[serde(default)]
    pub transitions: i64,

    /// The number of restarts so far. The pod template contains it, so a restart is an ordinary rolling update.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub restarts: i64,

    /// Pods of the Deployment, as of the last transition or change of `Available`. The Deployment has the current count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,

    /// Ready pods, as of the last transition or change of `Available`. The Deployment has the current count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,

    /// Label selector of the gateway's pods, for autoscalers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,

    /// The URL of the gateway, once it has an Ingress or an HTTPRoute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,

    /// The hosts that this gateway holds, and since when. The oldest claim on a host wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["host".into()]))]
    pub hosts: Vec<HostClaim>,

    /// How many environments of the gateway are active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environments: Option<EnvironmentCount>,

    /// `Ready`, `Available`, `Reconciling` and `Stalled`, in the sense of kstatus and `kubectl wait`, and `CleanupStuck`
    /// while something of a stopped gateway does not go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// For the operator: hashes of the children as the API server stored them. A new leader compares with them to find drift.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Accepted>,

    /// Fields of children that were stored differently from what was requested, by admission or by rounding.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<StoredChange>,

    /// Children that another client changes each time the operator reverts them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contested: Vec<ContestedField>,

    /// For the operator: what the messages of the conditions are about. A message is rewritten only when this changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,

    /// Why the last start or restart failed. It is kept after the cleanup and removed by the next successful start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<Failure>,

    /// The last 20 transitions, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Transition>,

    /// Fields of another version, kept unchanged.
    #[serde(flatten)]
    #[schemars(skip)]
    pub others: UnknownFields,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// The tokens of the last request that the operator took up.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Handled {
    /// Hash of the spec without `state`, `suspend` and `replicas`, prefixed with the version of the hash.
    pub spec_hash: String,
    /// The `spec.state` that was taken up.
    #[schemars(with = "Word")]
    pub state: DesiredState,
    /// The generation of the spec that was taken up. While it is unchanged there is no new request, whatever defaults
    /// newer definitions add.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// Hash of the same spec as newer definitions read it, if their defaults change the hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_as: Option<String>,
    /// The `spec.replicas` that was taken up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// The value of the annotation `phasegate.dev/retry-requested-at` that was taken up, or the hash of a long value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<String>,
    /// The value of the annotation `phasegate.dev/restart-requested-at` that was taken up, or the hash of a long
    /// value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<String>,
    /// Fields of another version, kept unchanged.
    #[serde(flatten)]
    #[schemars(skip)]
    pub others: UnknownFields,
}

/// One attempt to start or restart, with its own deadline.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// The number of the attempt, from 1.
    pub number: i64,
    /// When the attempt began.
    pub started_at: MicroTime,
    /// Seconds for which the deadline was paused: while suspended, or while it waits for a host, a name or an
    /// unavailable component.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub held_seconds: i64,
    /// Since when the deadline is paused, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_since: Option<MicroTime>,
    /// The number of automatic retries left after this attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries_left: Option<i32>,
    /// Fields of another version, kept unchanged.
    #[serde(flatten)]
    #[schemars(skip)]
    pub others: UnknownFields,
}

/// A host that a gateway holds.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct HostClaim {
    /// The host name.
    pub host: String,
    /// Since when the host is held.
    pub since: MicroTime,
}

/// How many environments of a gateway are active.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct EnvironmentCount {
    /// Active environments.
    pub active: i32,
    /// All environments that reference this gateway.
    pub total: i32,
}

/// Hashes of the children as the API server stored them, and fields that clusters default differently.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// Hash of the Deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<String>,
    /// Hash of the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Hash of the Ingress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<String>,
    /// Hash of the HTTPRoute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_route: Option<String>,
    /// Hash of the PodDisruptionBudget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_disruption_budget: Option<String>,
    /// The ingress class as stored; empty if the Ingress has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress_class_name: Option<String>,
    /// The ingress class from the spec. Absent: the spec has none and the class is the cluster's default; earlier
    /// versions never set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress_class_named: Option<String>,
    /// The IP family policy of the Service as stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_family_policy: Option<String>,
}

/// A field of a child that was stored differently from what was requested.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct StoredChange {
    /// The kind of the child.
    pub child: String,
    /// The path of the field.
    pub path: String,
    /// The requested value, shortened.
    pub asked: String,
    /// The stored value, shortened.
    pub stored: String,
}

/// A field of a child that another client changes each time the operator reverts it.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct ContestedField {
    /// The kind of the child.
    pub child: String,
    /// The path of the field.
    pub path: String,
    /// The field manager that wrote it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manager: Option<String>,
}

/// What the messages of the conditions are about, if they quote other components.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// The image that cannot be pulled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Which pods serve during a rollout: `OldPods`, `OtherPods` or `NoPod`. Absent during a first start.
    // An open word, so that a version that does not know it can read the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<String>,
    /// A further cause in the message: the reason of a second cause, the object that a stop waits for, or the answer
    /// of a Gateway's controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<String>,
}

/// Who serves while pods do not come up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serving {
    /// The last good pods.
    OldPods,
    /// Other pods of the same template.
    OtherPods,
    /// Nobody.
    NoPod,
}

impl Serving {
    /// The word in [`Subject::serving`].
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OldPods => "OldPods",
            Self::OtherPods => "OtherPods",
            Self::NoPod => "NoPod",
        }
    }
}

/// Why a start or restart failed.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct Failure {
    /// The reason of the failure.
    pub reason: Reason,
    /// The cause: the object and what is wrong with it.
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// When the attempt failed.
    pub at: MicroTime,
    /// The number of the attempt that failed.
    pub attempt: i64,
    /// Fields of another version, kept unchanged.
    #[serde(flatten)]
    #[schemars(skip)]
    pub others: UnknownFields,
}

/// One transition of the state machine.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct Transition {
    /// When it happened.
    pub at: MicroTime,
    /// The previous phase; absent for the first transition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Phase>,
    /// The new phase.
    pub to: Phase,
    /// The new `status.state`.
    pub state: State,
    /// The reason of the transition.
    pub reason: Reason,
    /// Details of the transition.
    pub message: String,
    /// Duration of the previous phase, in seconds.
    pub seconds: i64,
    /// Fields of another version, kept unchanged.
    #[serde(flatten)]
    #[schemars(skip)]
    pub others: UnknownFields,
}
