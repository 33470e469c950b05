//! `ApiGateway`: what the operator reports (`status`). Only the operator writes it.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::reason::Reason;
use super::state::{DesiredState, Phase, State};
use super::words::Word;

/// How many transitions `status.history` keeps.
pub const HISTORY_LENGTH: usize = 20;

/// Fields that another version wrote. They are kept and written back, for as long as what they are part of is: a
/// rollback does not lose what the newer version knew.
pub type Others = BTreeMap<String, Value>;

/// What the operator reports about a gateway.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ApiGatewayStatus {
    /// What the operator holds the gateway to. After a timeout this is `Stopped` while
    /// `spec.state` still says what the user asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,

    /// What the operator is doing: `Created`, `Starting`, `Started`, `Stopping`, `Stopped`
    /// or `Deleting`. `Started` alone does not mean that the gateway serves: wait for the
    /// condition `Available`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,

    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The user's last request that was taken up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handled: Option<Handled>,

    /// The current or last try to start or restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,

    /// How many transitions there have been. It only grows.
    #[serde(default)]
    pub transitions: i64,

    /// How many restarts were asked for and taken up. Pods carry it, so that a restart
    /// is an ordinary rolling update.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub restarts: i64,

    /// Pods that the Deployment has, as of the last transition or change of `Available`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,

    /// Pods that are ready, as of the last transition or change of `Available`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,

    /// Label selector of the gateway's pods, for autoscalers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,

    /// Where the gateway answers, once it has an Ingress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,

    /// The hosts that this gateway holds, and since when. The oldest claim on a host wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["host".into()]))]
    pub hosts: Vec<HostClaim>,

    /// How many of the gateway's environments are active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environments: Option<EnvironmentCount>,

    /// `Ready`, `Available`, `Reconciling` and `Stalled`, as kstatus and `kubectl wait` read them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// What the API server made of the children that were written, as hashes: by them an operator that begins knows that they
    /// are as it left them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Accepted>,

    /// Where a child was stored as something else than what was asked: by admission, or rounded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<StoredChange>,

    /// Children that somebody changes again each time they are put right.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contested: Vec<ContestedField>,

    /// What the messages of the conditions are about, so that they are rewritten only when that changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,

    /// Why the last start or restart failed. It outlives the clean-up and goes with the
    /// next successful start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<Failure>,

    /// The last 20 transitions, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Transition>,

    /// Fields that another version wrote and this one keeps.
    #[serde(flatten)]
    #[schemars(skip)]
    pub others: Others,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// The tokens of the last request that was taken up.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Handled {
    /// Hash of the spec without `state`, `suspend` and `replicas`, after the version of the hash.
    pub spec_hash: String,
    /// The `spec.state` that was taken up.
    #[schemars(with = "Word")]
    pub state: DesiredState,
    /// The generation of the spec that was taken up: until it changes nobody has asked for anything else, whatever
    /// newer definitions make of the fields that are absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// Hash of the same spec as newer definitions read it, where they have defaults that it was taken up without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_as: Option<String>,
    /// The `spec.replicas` that was taken up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// The value of the annotation `phasegate.dev/retry-requested-at` that was taken up; of a long one its hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<String>,
    /// The value of the annotation `phasegate.dev/restart-requested-at` that was taken up; of a long one its hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<String>,
    /// Fields that another version wrote and this one keeps.
    #[serde(flatten)]
    #[schemars(skip)]
    pub others: Others,
}

/// One try to start or restart, with its own clock.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// Its number, from 1.
    pub number: i64,
    /// When it began.
    pub started_at: MicroTime,
    /// Seconds during which the clock was held: suspended, or waiting for a host or a name.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub held_seconds: i64,
    /// Since when the clock is held, while it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_since: Option<MicroTime>,
    /// How many of the operator's own retries are left after this attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries_left: Option<i32>,
    /// Fields that another version wrote and this one keeps.
    #[serde(flatten)]
    #[schemars(skip)]
    pub others: Others,
}

/// A host that a gateway holds.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct HostClaim {
    /// The host name.
    pub host: String,
    /// Since when it is held.
    pub since: MicroTime,
}

/// How many of a gateway's environments are active.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct EnvironmentCount {
    /// Active environments.
    pub active: i32,
    /// All environments that name this gateway.
    pub total: i32,
}

/// What the API server made of the children that were written: hashes, and what it filled in that may differ between clusters.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// Of the Deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<String>,
    /// Of the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Of the Ingress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<String>,
    /// Of the PodDisruptionBudget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_disruption_budget: Option<String>,
    /// The class with which the Ingress was stored; empty where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress_class_name: Option<String>,
    /// The policy with which the Service was stored: addresses of one family, or of both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_family_policy: Option<String>,
}

/// A place where a child was stored as something else than what was asked.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct StoredChange {
    /// The kind of the child.
    pub child: String,
    /// The path in it.
    pub path: String,
    /// What was asked, in short.
    pub asked: String,
    /// What is stored, in short.
    pub stored: String,
}

/// A place in a child that somebody changes again each time it is put right.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct ContestedField {
    /// The kind of the child.
    pub child: String,
    /// The path in it.
    pub path: String,
    /// Who wrote it last, as the API server records it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manager: Option<String>,
}

/// What messages are about that quote others, who say the same thing in changing words.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// The image that cannot be pulled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Who serves meanwhile: `OldPods`, `OtherPods` or `NoPod`. Absent during a first start.
    // An open word, so that a version that does not know it can read the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<String>,
    /// What is told beside the reason: the reason of a second cause, or what a stop waits for.
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
    /// The cause, as one word.
    pub reason: Reason,
    /// The cause, as a sentence that names the object and what it said.
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// When the attempt was given up.
    pub at: MicroTime,
    /// The number of the attempt that failed.
    pub attempt: i64,
    /// Fields that another version wrote and this one keeps.
    #[serde(flatten)]
    #[schemars(skip)]
    pub others: Others,
}

/// One transition of the state machine.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct Transition {
    /// When it happened.
    pub at: MicroTime,
    /// The phase before; absent for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Phase>,
    /// The phase after.
    pub to: Phase,
    /// `status.state` after.
    pub state: State,
    /// Why, as one word.
    pub reason: Reason,
    /// Why, as a sentence.
    pub message: String,
    /// How many seconds the phase before lasted.
    pub seconds: i64,
    /// Fields that another version wrote and this one keeps.
    #[serde(flatten)]
    #[schemars(skip)]
    pub others: Others,
}
