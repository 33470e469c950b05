//! The objects that `status` reads, all at once. An object that the user may not read is replaced by the
//! reason.
//!
//! **Architecture invariant**: this is the only module of `status` that sends requests.

use futures::future::join_all;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Event, Pod, Service};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::ListParams;
use kube::{Resource, ResourceExt};
use phasegate::api::{ApiGateway, Environment};
use phasegate::children::{self, HttpRoute};
use serde::de::DeserializeOwned;
use tokio::join;

use super::pods::is_ready;
use crate::cluster::{Cluster, listed};

/// The result of a read, or why it failed.
pub type Found<T> = Result<T, String>;

/// A gateway with the objects that belong to it.
pub struct Facts {
    /// The gateway.
    pub gateway: ApiGateway,
    /// The Deployment of its name.
    pub deployment: Found<Option<Deployment>>,
    /// The ReplicaSets of its pods.
    pub replica_sets: Found<Vec<ReplicaSet>>,
    /// Its pods.
    pub pods: Found<Vec<Pod>>,
    /// The Service of its name.
    pub service: Found<Option<Service>>,
    /// The Ingress of its name.
    pub ingress: Found<Option<Ingress>>,
    /// The HTTPRoute of its name, if it asks for one or has one.
    pub http_route: Found<Option<HttpRoute>>,
    /// The PodDisruptionBudget of its name.
    pub disruption_budget: Found<Option<PodDisruptionBudget>>,
    /// The environments that refer to it.
    pub environments: Found<Vec<Environment>>,
    /// The Events about it and its children.
    pub events: Found<Vec<Event>>,
}

#[cfg(test)]
impl Facts {
    /// A gateway without other objects.
    pub fn bare(gateway: ApiGateway) -> Self {
        Self {
            gateway,
            deployment: Ok(None),
            replica_sets: Ok(Vec::new()),
            pods: Ok(Vec::new()),
            service: Ok(None),
            ingress: Ok(None),
            http_route: Ok(None),
            disruption_budget: Ok(None),
            environments: Ok(Vec::new()),
            events: Ok(Vec::new()),
        }
    }
}

/// Reads the objects that belong to a gateway.
pub async fn read(cluster: &Cluster, gateway: ApiGateway) -> Facts {
    let name = gateway.name_or_empty();
    let selector = children::selector(&gateway);
    let of_gateway = ListParams::default().labels(&selector);
    let everything = ListParams::default();
    let route = async {
        // Not every cluster has HTTPRoutes, and not every user may read them.
        if children::concerns_routes(&gateway) { get(cluster, name).await } else { Ok(None) }
    };
    let (deployment, replica_sets, pods, service, ingress, http_route, disruption_budget, environments, events) = join!(
        get(cluster, name),
        list::<ReplicaSet>(cluster, &of_gateway),
        list::<Pod>(cluster, &of_gateway),
        get(cluster, name),
        get(cluster, name),
        route,
        get(cluster, name),
        list::<Environment>(cluster, &everything),
        events_about(cluster, name),
    );
    let environments = environments.map(|mut all| {
        all.retain(|environment| environment.spec.gateway_ref.name == name);
        all
    });
    let events = match events {
        Ok(mut events) => {
            events.extend(events_about_pods(cluster, replica_sets.as_deref(), pods.as_deref()).await);
            Ok(events)
        }
        error => error,
    };
    Facts {
        gateway,
        deployment,
        replica_sets,
        pods,
        service,
        ingress,
        http_route,
        disruption_budget,
        environments,
        events,
    }
}

async fn get<K>(cluster: &Cluster, name: &str) -> Found<Option<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let read = cluster.api::<K>().get_opt(name).await;
    read.map_err(|error| cluster.refused(&format!("failed to read {} {name}", K::kind(&())), &error).sentence)
}

async fn list<K>(cluster: &Cluster, which: &ListParams) -> Found<Vec<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let listed = listed(&cluster.api::<K>(), which.clone()).await;
    let what = || format!("failed to list {}", K::plural(&()));
    listed.map_err(|error| cluster.refused(&what(), &error).sentence)
}

/// The Events about all objects of a name. The children have the gateway's name.
async fn events_about(cluster: &Cluster, name: &str) -> Found<Vec<Event>> {
    list(cluster, &ListParams::default().fields(&format!("involvedObject.name={name}"))).await
}

/// The Events about a few ReplicaSets and pods: the newest of each kind that are in trouble come first.
async fn events_about_pods(
    cluster: &Cluster,
    replica_sets: Result<&[ReplicaSet], &String>,
    pods: Result<&[Pod], &String>,
) -> Vec<Event> {
    const ASKED: usize = 8;
    let mut names: Vec<String> = Vec::new();
    let mut sets: Vec<_> = replica_sets.unwrap_or_default().iter().collect();
    sets.sort_by_key(|set| std::cmp::Reverse(set.creation_timestamp().map(|at| at.0)));
    names.extend(sets.iter().take(2).map(|set| set.name_any()));
    let mut pods: Vec<_> = pods.unwrap_or_default().iter().collect();
    pods.sort_by_key(|pod| (is_ready(pod), std::cmp::Reverse(pod.creation_timestamp().map(|at| at.0))));
    names.extend(pods.iter().map(|pod| pod.name_any()));
    names.truncate(ASKED);
    let found = join_all(names.iter().map(|name| events_about(cluster, name))).await;
    found.into_iter().flat_map(Result::unwrap_or_default).collect()
}
