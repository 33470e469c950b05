//! Partially decoded objects. Most of a watch event is managed fields and, for pods, spec; neither is decoded.
//! A child's spec stays JSON text, since few versions of it are ever compared.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus};
use k8s_openapi::api::core::v1::{Pod, PodReadinessGate, PodSchedulingGate, PodStatus, Service};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kube::Resource;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::children::{HttpRoute, RouteStatus};

/// A kind that is decoded only in part.
pub trait Watchable: Resource<DynamicType = (), Scope = NamespaceResourceScope> {
    /// The decoded part of its spec.
    type Spec: Clone + Debug + DeserializeOwned + Send;
    /// The decoded part of its status.
    type Status: Clone + Debug + DeserializeOwned + Send;
}

/// Fields of a pod's spec that can explain why it is not ready.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodPart {
    /// The node.
    pub node_name: Option<String>,
    /// The scheduler.
    pub scheduler_name: Option<String>,
    /// Gates that must be removed before scheduling.
    pub scheduling_gates: Vec<PodSchedulingGate>,
    /// Conditions that must be true in addition to ready containers.
    pub readiness_gates: Vec<PodReadinessGate>,
    /// Init containers.
    pub init_containers: Vec<InitContainer>,
}

/// An init container.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InitContainer {
    /// Its name.
    pub name: String,
    /// `Always` for a sidecar.
    pub restart_policy: Option<String>,
}

impl Watchable for Pod {
    type Spec = PodPart;
    type Status = PodStatus;
}

impl Watchable for Deployment {
    type Spec = Box<RawValue>;
    type Status = DeploymentStatus;
}

impl Watchable for Service {
    type Spec = Box<RawValue>;
    type Status = IgnoredAny;
}

impl Watchable for Ingress {
    type Spec = Box<RawValue>;
    type Status = IgnoredAny;
}

impl Watchable for HttpRoute {
    type Spec = Box<RawValue>;
    type Status = RouteStatus;
}

impl Watchable for PodDisruptionBudget {
    type Spec = Box<RawValue>;
    type Status = IgnoredAny;
}

/// A partially decoded object.
#[derive(Clone, Debug, Deserialize)]
#[serde(bound = "")]
pub struct Watched<K: Watchable> {
    #[serde(deserialize_with = "meta")]
    metadata: ObjectMeta,
    /// The decoded part of the spec.
    #[serde(default = "none")]
    pub spec: Option<K::Spec>,
    /// The decoded part of the status.
    #[serde(default = "none")]
    pub status: Option<K::Status>,
}

fn none<T>() -> Option<T> {
    None
}

impl<K: Watchable> Watched<K> {
    /// An object with metadata alone.
    pub fn bare(metadata: ObjectMeta) -> Self {
        Self { metadata, spec: None, status: None }
    }
}

impl<K: Watchable> Resource for Watched<K> {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        K::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// Metadata without managed fields.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<OwnerReference>>,
    finalizers: Option<Vec<String>>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
}

fn meta<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    let Meta {
        name,
        namespace,
        uid,
        resource_version,
        generation,
        labels,
        annotations,
        owner_references,
        finalizers,
        creation_timestamp,
        deletion_timestamp,
    } = Meta::deserialize(deserializer)?;
    Ok(ObjectMeta {
        name,
        namespace,
        uid,
        resource_version,
        generation,
        labels,
        annotations,
        owner_references,
        finalizers,
        creation_timestamp,
        deletion_timestamp,
        ..ObjectMeta::default()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_without_status_is_read() {
        let pod: Watched<Pod> = serde_json::from_value(json!({ "metadata": { "name": "shop-1" } })).unwrap();
        assert_eq!(pod.meta().name.as_deref(), Some("shop-1"));
        assert!(pod.status.is_none());
    }
}
