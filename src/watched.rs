//! What is read of watched objects: as little as is looked at. Most of what a watch sends is field
//! management and, of pods, their specification; neither is even decoded.

use std::borrow::Cow;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStatus};
use k8s_openapi::api::core::v1::{Pod, PodStatus, Service, ServiceSpec};
use k8s_openapi::api::networking::v1::{Ingress, IngressSpec};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kube::Resource;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

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

/// A kind of which only some fields are read.
macro_rules! watched {
    ($name:ident, $kind:ident, { $($field:ident: $type:ty),* }) => {
        #[doc = concat!("A ", stringify!($kind), ", as far as it is looked at.")]
        #[derive(Clone, Debug, Default, Deserialize)]
        pub struct $name {
            #[serde(deserialize_with = "meta")]
            metadata: ObjectMeta,
            $(
                /// As in the whole object.
                #[serde(default)]
                pub $field: Option<$type>,
            )*
        }

        impl Resource for $name {
            type DynamicType = ();
            type Scope = <$kind as Resource>::Scope;

            fn kind((): &()) -> Cow<'_, str> {
                $kind::kind(&())
            }

            fn group((): &()) -> Cow<'_, str> {
                $kind::group(&())
            }

            fn version((): &()) -> Cow<'_, str> {
                $kind::version(&())
            }

            fn plural((): &()) -> Cow<'_, str> {
                $kind::plural(&())
            }

            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

/// A child of which everything that is compared is read.
macro_rules! watched_child {
    ($name:ident, $kind:ident, { $($field:ident: $type:ty),* }) => {
        watched!($name, $kind, { $($field: $type),* });

        impl From<$name> for $kind {
            #[allow(clippy::needless_update)]
            fn from(watched: $name) -> Self {
                let $name { metadata, $($field),* } = watched;
                Self { metadata, $($field,)* ..Self::default() }
            }
        }
    };
}

watched!(WatchedPod, Pod, { status: PodStatus });
watched_child!(WatchedDeployment, Deployment, { spec: DeploymentSpec, status: DeploymentStatus });
watched_child!(WatchedService, Service, { spec: ServiceSpec });
watched_child!(WatchedIngress, Ingress, { spec: IngressSpec });
watched_child!(WatchedPodDisruptionBudget, PodDisruptionBudget, { spec: PodDisruptionBudgetSpec });

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn a_deployment_is_read_without_its_managed_fields_and_otherwise_whole() {
        let mut whole: Deployment = serde_json::from_value(json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {
                "name": "shop", "namespace": "a", "uid": "u", "resourceVersion": "7", "generation": 3,
                "labels": { "l": "1" }, "annotations": { "a": "1" }, "finalizers": ["f"],
                "ownerReferences": [{ "apiVersion": "v1", "kind": "Node", "name": "n", "uid": "o" }],
                "creationTimestamp": "2026-01-02T03:04:05Z", "deletionTimestamp": "2026-01-02T03:04:06Z",
                "managedFields": [{ "manager": "m", "operation": "Update" }],
            },
            "spec": { "replicas": 2, "selector": {}, "template": { "metadata": { "labels": { "l": "1" } } } },
            "status": { "replicas": 2, "observedGeneration": 3 },
        }))
        .unwrap();
        let watched: WatchedDeployment = serde_json::from_value(serde_json::to_value(&whole).unwrap()).unwrap();
        whole.metadata.managed_fields = None;
        assert_eq!(Deployment::from(watched), whole);
    }

    #[test]
    fn an_object_without_status_is_read() {
        let pod: WatchedPod = serde_json::from_value(json!({ "metadata": { "name": "shop-1" } })).unwrap();
        assert_eq!(pod.meta().name.as_deref(), Some("shop-1"));
        assert!(pod.status.is_none());
    }
}
