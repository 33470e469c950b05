//! The installed operator has two ready replicas, a leader and a standby.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::{Resource, ResourceExt};
use serde_json::json;

use crate::ground::{OFTEN, world};
use crate::harness::{World, eventually};

const NAMESPACE: &str = "phasegate-system";

/// The operator's pods.
pub fn pods(world: &World) -> Api<Pod> {
    Api::namespaced(world.client.clone(), NAMESPACE)
}

/// The name of the leader's pod.
pub async fn leader(world: &World) -> String {
    let leases: Api<Lease> = Api::namespaced(world.client.clone(), NAMESPACE);
    let held = eventually(OFTEN, async || {
        leases.get_opt("phasegate").await.unwrap()?.spec?.holder_identity.filter(|holder| !holder.is_empty())
    });
    held.await.expect("somebody leads")
}

/// Waits until another pod is the leader.
pub async fn until_another_leads(world: &World, before: &str) {
    let another = eventually(OFTEN, async || (leader(world).await != before).then_some(()));
    assert!(another.await.is_some(), "{before} still has the Lease");
}

/// Replaces the operator's pods as an upgrade does, and waits until the rollout is complete.
pub async fn roll_operators(world: &World) {
    let deployments: Api<Deployment> = Api::namespaced(world.client.clone(), NAMESPACE);
    let annotation = json!({ "phasegate.dev/e2e-upgraded-for": world.namespace });
    let patch = json!({ "spec": { "template": { "metadata": { "annotations": annotation } } } });
    let changed = deployments.patch("phasegate", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    crate::harness::until(deployments, "phasegate", "rolled out", |now: &Deployment| {
        let status = now.status.clone().unwrap_or_default();
        status.observed_generation >= changed.meta().generation
            && [status.replicas, status.updated_replicas, status.available_replicas] == [Some(2); 3]
    })
    .await;
}

/// The body of a response of an operator's pod.
async fn says(world: &World, pod: &str, path: &str) -> String {
    let url = format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}:8080/proxy/{path}");
    world.client.request_text(http::Request::get(url).body(vec![]).unwrap()).await.unwrap()
}

#[tokio::test]
async fn the_installed_operator_is_ready_in_both_replicas_and_the_standby_says_who_leads() {
    let (world, _undisturbed) = world("installed").await;
    let leader = leader(&world).await;
    let both = pods(&world).list(&ListParams::default().labels("app.kubernetes.io/name=phasegate")).await.unwrap();
    let names: Vec<String> = both.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names.len(), 2, "{names:?}");

    for pod in names {
        let ready = says(&world, &pod, "readyz").await;
        assert_eq!(ready.contains(&leader), pod != leader, "{pod}, while {leader} leads: {ready}");
    }
}
