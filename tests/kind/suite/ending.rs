//! A gateway with a pod that ignores SIGTERM stops after the pod's grace period.

use std::time::Instant;

use phasegate::api::{Phase, State};
use serde_json::json;

use crate::arriving::nothing_is_left;
use crate::ground::{serving, world};

#[tokio::test]
async fn a_pod_that_ignores_sigterm_has_its_grace_period_and_holds_nobody_up_for_longer() {
    let (world, _undisturbed) = world("deaf").await;
    let env = json!([{ "name": "IGNORE_SIGTERM", "value": "true" }]);
    world.apply(&serving("shop", json!({ "env": env, "terminationGracePeriodSeconds": 12 }))).await;
    world.until_started("shop").await;

    let told = Instant::now();
    world.patch("shop", json!({ "spec": { "state": "Stopped" } })).await;
    let stopped = world.until_phase("shop", Phase::Stopped, State::Stopped).await;

    let took = told.elapsed().as_secs();
    assert!((11..30).contains(&took), "{took} s");
    assert_eq!(stopped.status.unwrap().last_failure, None);
    nothing_is_left(&world).await;
}
