//! No request is lost when pods or operators are replaced, as a client in the cluster counts over new and kept-alive
//! connections, through the Service and through the ingress controller.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::DeleteParams;
use phasegate::api::{ApiGateway, condition};
use serde_json::{Value, json};

use crate::client::{Answers, Client};
use crate::ground::{alone, host, next_image, pods, serving, world};
use crate::harness::{World, eventually, is_true, restart};
use crate::operators::{leader, roll_operators, until_another_leads};

/// The minimum number of requests in each test, on all ways together.
fn requests() -> u64 {
    std::env::var("PHASEGATE_REQUESTS").map_or(10_000, |count| count.parse().unwrap())
}

/// An available gateway, and a client that sends requests to it continuously.
pub struct Asked<'a> {
    world: &'a World,
    client: Client<'a>,
    before: Answers,
}

impl<'a> Asked<'a> {
    /// Starts the gateway "shop" with further fields of the spec, and its client.
    pub async fn start(world: &'a World, further: Value) -> Self {
        let mut spec = json!({ "host": host(world, "shop") });
        spec.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        world.apply(&serving("shop", spec)).await;
        world.until_started("shop").await;
        Self::by(world, Client::of(world, "shop", &host(world, "shop")).await).await
    }

    /// An available gateway with a running client.
    pub async fn by(world: &'a World, client: Client<'a>) -> Self {
        // Every request counts from now on.
        let before = client.until_all_serve().await;
        Self { world, client, before }
    }

    /// Restarts the count: only requests from now on count.
    pub async fn again(self) -> Self {
        Self::by(self.world, self.client).await
    }

    /// Waits for the minimum number of requests since the start, and asserts that every response has status 200.
    pub async fn lost_nothing(&self) {
        let each = requests().div_ceil(self.before.ways());
        let now = self.client.until_answered_since(&self.before, each).await;
        now.are_only(&["200"], &self.before);
        println!(
            "{}: none of {} requests on each of {} ways lost",
            self.world.namespace,
            now.since(&self.before),
            now.ways()
        );
    }
}

/// Waits until the gateway is Ready in the changed generation and all old pods are gone.
async fn until_rolled(world: &World, changed: &ApiGateway, old: &[Pod]) {
    world.until_ready_again(changed).await;
    let gone = async || {
        let now = pods(world, "shop").await;
        let left = now.iter().any(|pod| old.iter().any(|old| old.uid() == pod.uid()));
        (!left && !now.is_empty()).then_some(())
    };
    assert!(eventually(Duration::from_millis(500), gone).await.is_some(), "the old pods are still there");
}

async fn restarted(world: &World, token: &str) {
    let old = pods(world, "shop").await;
    let changed = world.patch("shop", restart(token)).await;
    until_rolled(world, &changed, &old).await;
}

#[tokio::test]
async fn no_request_is_lost_during_a_restart() {
    let (world, _undisturbed) = world("restarted").await;
    let shop = Asked::start(&world, json!({ "replicas": 2 })).await;

    restarted(&world, "1").await;

    shop.lost_nothing().await;
}

/// The new pod is available before the old one is terminated.
#[tokio::test]
async fn no_request_is_lost_during_a_restart_of_a_single_pod() {
    let (world, _undisturbed) = world("single").await;
    let shop = Asked::start(&world, json!({ "replicas": 1 })).await;

    restarted(&world, "1").await;

    shop.lost_nothing().await;
}

#[tokio::test]
async fn no_request_is_lost_during_a_change_of_the_image() {
    let (world, _undisturbed) = world("image").await;
    let shop = Asked::start(&world, json!({ "replicas": 2 })).await;

    let old = pods(&world, "shop").await;
    let changed = world.patch("shop", json!({ "spec": { "image": next_image() } })).await;
    until_rolled(&world, &changed, &old).await;

    shop.lost_nothing().await;
}

#[tokio::test]
async fn no_request_is_lost_while_an_image_cannot_be_pulled() {
    let (world, _undisturbed) = world("bad-image").await;
    let shop = Asked::start(&world, json!({ "replicas": 2, "startDeadline": "20s" })).await;

    world.patch("shop", json!({ "spec": { "image": "registry.invalid/acme/gateway:1" } })).await;
    let stalled = world.until_condition("shop", condition::STALLED, "True", "ProgressDeadlineExceeded").await;
    assert!(is_true(&stalled, condition::AVAILABLE));
    let old = pods(&world, "shop").await;
    let changed = world.patch("shop", json!({ "spec": { "image": next_image() } })).await;
    until_rolled(&world, &changed, &old).await;

    shop.lost_nothing().await;
}

#[tokio::test]
async fn no_request_is_lost_while_it_is_scaled() {
    let (world, _undisturbed) = world("scaled").await;
    let shop = Asked::start(&world, json!({ "replicas": 2 })).await;

    for replicas in [4, 1, 3, 2] {
        let changed = world.patch("shop", json!({ "spec": { "replicas": replicas } })).await;
        world.until_ready_again(&changed).await;
        let counted = async || (pods(&world, "shop").await.len() == replicas).then_some(());
        assert!(eventually(Duration::from_millis(500), counted).await.is_some(), "{replicas} replicas");
    }

    shop.lost_nothing().await;
}

#[tokio::test]
async fn no_request_is_lost_when_somebody_deletes_a_pod() {
    let (world, _undisturbed) = world("pod-deleted").await;
    let shop = Asked::start(&world, json!({ "replicas": 2 })).await;

    for _ in 0..2 {
        let old = pods(&world, "shop").await;
        world.api::<Pod>().delete(&old[0].name_any(), &DeleteParams::default()).await.unwrap();
        let replaced = async || {
            let now = pods(&world, "shop").await;
            let left = now.iter().any(|pod| pod.uid() == old[0].uid());
            (!left && now.len() == 2).then_some(())
        };
        assert!(eventually(Duration::from_millis(500), replaced).await.is_some(), "the pod is still there");
        world.until_condition("shop", condition::READY, "True", "Started").await;
    }

    shop.lost_nothing().await;
}

/// The next leader continues a restart that is in progress.
#[tokio::test]
async fn no_request_is_lost_when_the_leading_operator_is_killed_in_a_restart() {
    let (world, _alone) = alone("failover").await;
    let shop = Asked::start(&world, json!({ "replicas": 2 })).await;

    let old = pods(&world, "shop").await;
    let changed = world.patch("shop", restart("1")).await;
    let killed = leader(&world).await;
    let at_once = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
    crate::operators::pods(&world).delete(&killed, &at_once).await.unwrap();
    until_another_leads(&world, &killed).await;
    until_rolled(&world, &changed, &old).await;

    shop.lost_nothing().await;
}

#[tokio::test]
async fn no_request_is_lost_in_an_upgrade_of_the_operator_and_no_pod_is_replaced() {
    let (world, _alone) = alone("upgraded").await;
    let shop = Asked::start(&world, json!({ "replicas": 2 })).await;

    let before = pods(&world, "shop").await;
    roll_operators(&world).await;
    // The change shows that the new leader has reconciled the gateway.
    let changed = world.patch("shop", json!({ "spec": { "replicas": 3 } })).await;
    world.until_ready_again(&changed).await;
    let after = pods(&world, "shop").await;
    assert!(before.iter().all(|pod| after.iter().any(|now| now.uid() == pod.uid())), "a pod was replaced");

    shop.lost_nothing().await;
}
