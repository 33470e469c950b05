//! What is read of watched objects: as little as is looked at. Most of what a watch sends is field
//! management and, of pods, most of their specification; neither is even decoded. A child's specification is
//! read as text, since few of its versions are ever compared.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus};
use k8s_openapi::api::core::v1::{Pod, PodStatus, Service};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kube::Resource;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// A kind of which not everything is read.
pub trait Watchable: Resource<DynamicType = (), Scope = NamespaceResourceScope> {
    /// What is read of its specification.
    type Spec: Clone + Debug + DeserializeOwned + Send;
    /// What is read of its status.
    type Status: Clone + Debug + DeserializeOwned + Send;
}

/// What is read of a pod's specification.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodSpec {
    /// Its node, once it has one.
    pub node_name: Option<String>,
}

impl Watchable for Pod {
    type Spec = PodSpec;
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

impl Watchable for PodDisruptionBudget {
    type Spec = Box<RawValue>;
    type Status = IgnoredAny;
}

/// An object of a kind, as far as it is read.
#[derive(Clone, Debug, Deserialize)]
#[serde(bound = "")]
pub struct Watched<K: Watchable> {
    #[serde(deserialize_with = "meta")]
    metadata: ObjectMeta,
    /// As in the whole object.
    #[serde(default = "none")]
    pub spec: Option<K::Spec>,
    /// As in the whole object.
    #[serde(default = "none")]
    pub status: Option<K::Status>,
}

fn none<T>() -> Option<T> {
    None
}

impl<K: Watchable> Watched<K> {
    /// Nothing but metadata.
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

/// Metadata as far as it is looked at.
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
