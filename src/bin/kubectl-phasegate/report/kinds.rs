//! The kinds of objects in a report.
//!
//! **Architecture invariant**: a report reads objects of these kinds only: no Secret and no ConfigMap.

use kube::Api;
use kube::api::{ApiResource, DynamicObject};
use kube::core::GroupVersionKind;

use crate::cluster::Cluster;

/// The label of the operator's own objects.
pub const OPERATOR: &str = "app.kubernetes.io/name=phasegate";

/// A kind of object that is part of a report.
pub struct Kind {
    /// Its API group. It is empty for the core group.
    pub group: &'static str,
    /// The version in which it is read.
    pub version: &'static str,
    /// Its name.
    pub kind: &'static str,
    /// Its plural name, as in paths.
    pub plural: &'static str,
}

const fn kind(group: &'static str, version: &'static str, kind: &'static str, plural: &'static str) -> Kind {
    Kind { group, version, kind, plural }
}

/// The gateways.
pub const GATEWAYS: Kind = kind("phasegate.dev", "v1alpha1", "ApiGateway", "apigateways");
/// Their environments.
pub const ENVIRONMENTS: Kind = kind("phasegate.dev", "v1alpha1", "Environment", "environments");
/// Events about any object.
pub const EVENTS: Kind = kind("events.k8s.io", "v1", "Event", "events");

/// The kinds that carry the label with the gateway's name.
pub const CHILDREN: [Kind; 6] = [
    kind("apps", "v1", "Deployment", "deployments"),
    kind("apps", "v1", "ReplicaSet", "replicasets"),
    kind("", "v1", "Pod", "pods"),
    kind("", "v1", "Service", "services"),
    kind("networking.k8s.io", "v1", "Ingress", "ingresses"),
    kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets"),
];

/// The kinds that the operator itself consists of.
pub const OPERATORS: [Kind; 2] = [kind("apps", "v1", "Deployment", "deployments"), kind("", "v1", "Pod", "pods")];

impl Kind {
    /// The objects of the kind, in one namespace or in all.
    pub fn api(&self, cluster: &Cluster, namespace: Option<&str>) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk(self.group, self.version, self.kind);
        let resource = ApiResource::from_gvk_with_plural(&kind, self.plural);
        match namespace {
            Some(namespace) => Api::namespaced_with(cluster.client.clone(), namespace, &resource),
            None => Api::all_with(cluster.client.clone(), &resource),
        }
    }
}
