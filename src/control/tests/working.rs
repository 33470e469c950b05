//! What is looked at when its turn comes, and what of it is done at once.

use std::sync::Arc;
use std::time::Duration;

use super::objects::{BUDGET, DEPLOYMENT, DEPLOYMENTS, INGRESS, INGRESSES, SERVICE, SERVICES, STATUS, fresh, starting};
use super::world::{World, shop};
use crate::cluster::tests::server::{Exchange, miss, post, put};
use crate::control::work::work;
use crate::decide::observed::Child;
use crate::queue::{Key, Kind, Stage};

/// Works on the gateway `shop` for a little more than a second, in which the API server plays this script.
async fn worked(w: World, script: Vec<Exchange>) -> Result<(), String> {
    let World { ctx, queue, server, .. } = w;
    server.expect(script);
    queue.add(Key { object: shop(), kind: Kind::Gateway }, Stage::New);
    work(&queue, &Arc::new(ctx), tokio::time::sleep(Duration::from_millis(1_200)), Duration::from_secs(1)).await;
    server.finish().map(drop)
}

/// A world with a gateway that nobody has looked at.
fn world() -> World {
    let mut w = World::new();
    w.gateway(&fresh());
    w
}

#[tokio::test(start_paused = true)]
async fn a_transition_is_acted_on_at_once_and_what_is_half_way_in_its_turn() {
    let script = vec![put(STATUS), post(DEPLOYMENTS), post(SERVICES), post(INGRESSES)];
    worked(world(), script).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_attempt_is_judged_when_its_deadline_passes_however_long_the_next_try_would_wait() {
    let mut w = World::new();
    w.has(starting(), []);
    w.created(&[Child::Service, Child::Ingress]);
    w.is_due_in(Duration::from_secs(1));
    let refused = || post(DEPLOYMENTS).refused(409, "Conflict", "admission webhook \"no\" denied the request: no");
    // Tries wait for 100, 200, 400 and 800 ms, and up to a quarter more.
    let tries = [refused(), put(STATUS), refused(), refused(), refused()];
    let given_up = put(STATUS).with("/status/lastFailure/reason", "AdmissionRefused");
    let stops = put(STATUS).with("/status/phase", "Stopping");
    let reads = [miss(DEPLOYMENT), miss(SERVICE), miss(INGRESS), miss(BUDGET)];
    worked(w, tries.into_iter().chain(reads).chain([given_up, stops]).collect()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nothing_is_done_before_it_is_known_what_the_namespace_allows() {
    let w = world();
    w.namespace_is_unknown();
    worked(w, vec![]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_gateway_of_another_operator_is_left_alone() {
    let mut w = world();
    w.is_anothers();
    worked(w, vec![]).await.unwrap();
}
