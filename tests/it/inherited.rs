//! A gateway's children and pods inherit the labels and annotations that a cluster requires of every object.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::api::ListParams;
use phasegate::api::{ApiGateway, condition};
use serde_json::{Value, json};

use crate::harness::{World, gateway, is_true};

const FLAGS: [&str; 2] = ["--inherited-labels=team,cost.example.com/*", "--inherited-annotations=cost.example.com/*"];

fn shop(metadata: &Value) -> Value {
    let host = "inherited.example.com";
    let mut shop = gateway("shop", json!({ "image": "acme/gateway:1", "replicas": 2, "host": host }));
    shop["metadata"].as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
    shop
}

/// The value of a label on each child and on the pod template.
async fn labels(world: &World, key: &str) -> [Option<String>; 5] {
    macro_rules! label {
        ($kind:ty) => {
            world.api::<$kind>().get("shop").await.unwrap().labels().get(key).cloned()
        };
    }
    let deployment: Deployment = world.api().get("shop").await.unwrap();
    let pods = deployment.spec.unwrap().template.metadata.unwrap().labels.unwrap().get(key).cloned();
    [label!(Deployment), label!(Service), label!(Ingress), label!(PodDisruptionBudget), pods]
}

/// Waits until a label has a value on every child and on the pod template.
async fn until_labels(world: &World, key: &str, value: Option<&str>) {
    let as_wanted = async || {
        let found = labels(world, key).await;
        found.iter().all(|found| found.as_deref() == value).then_some(())
    };
    let waited = crate::harness::eventually(std::time::Duration::from_millis(200), as_wanted).await;
    assert!(waited.is_some(), "{key} is not {value:?}: {:?}", labels(world, key).await);
}

async fn replica_sets(world: &World) -> usize {
    world.api::<ReplicaSet>().list(&ListParams::default()).await.unwrap().items.len()
}

#[tokio::test]
async fn children_and_pods_have_the_gateways_labels_and_lose_them_with_it() {
    let world = World::new("inherited").await;
    let _operator = world.operator_with(&FLAGS);
    let metadata = json!({
        "labels": { "team": "a", "cost.example.com/centre": "7", "other": "stays" },
        "annotations": { "cost.example.com/owner": "me" },
    });
    world.apply(&shop(&metadata)).await;
    world.until_started("shop").await;
    until_labels(&world, "team", Some("a")).await;
    until_labels(&world, "cost.example.com/centre", Some("7")).await;
    until_labels(&world, "other", None).await;
    let pods = world.api::<Pod>().list(&ListParams::default()).await.unwrap();
    assert!(pods.iter().all(|pod| pod.labels()["team"] == "a" && pod.annotations()["cost.example.com/owner"] == "me"));
    assert_eq!(replica_sets(&world).await, 1);

    // A label that is not inherited causes no rollout. The next patch shows that the operator has reconciled the
    // gateway.
    world.patch("shop", json!({ "metadata": { "labels": { "other": "changed" } } })).await;
    world.patch("shop", json!({ "metadata": { "labels": { "team": "b" } } })).await;
    until_labels(&world, "team", Some("b")).await;
    let rolled = |deployment: &Deployment| {
        let status = deployment.status.as_ref().unwrap();
        let counts = [status.replicas, status.updated_replicas, status.available_replicas];
        status.observed_generation == deployment.metadata.generation && counts == [Some(2); 3]
    };
    world.until("shop", "rolled", rolled).await;
    world.until("shop", "ready", |shop: &ApiGateway| is_true(shop, condition::READY)).await;
    assert_eq!(replica_sets(&world).await, 2, "the pods carry it, and roll once");

    // Labels of other clients stay. Labels that the gateway drops are removed.
    world.patch_object::<Service>("shop", json!({ "metadata": { "labels": { "theirs": "x" } } })).await;
    let dropped = json!({ "metadata": { "labels": { "team": null, "cost.example.com/centre": null } } });
    world.patch("shop", dropped).await;
    until_labels(&world, "team", None).await;
    until_labels(&world, "cost.example.com/centre", None).await;
    let service: Service = world.api().get("shop").await.unwrap();
    assert_eq!(service.labels()["theirs"], "x");
    assert_eq!(service.annotations()["cost.example.com/owner"], "me");
    assert_eq!(world.gateway("shop").await.status.unwrap().attempt.unwrap().number, 1);
}
