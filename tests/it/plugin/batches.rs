//! `--max-parallel` limits the gateways in progress, and no further gateway begins after a failure.

use futures::future::join_all;
use phasegate::api::{ApiGateway, Phase};
use serde_json::{Value, json};

use super::said;
use crate::harness::{World, gateway};

/// The maximum number of concurrent restarts, from the histories.
fn most_at_once(gateways: &[ApiGateway]) -> usize {
    let mut turns = Vec::new();
    for gateway in gateways {
        let history = &gateway.status.as_ref().unwrap().history;
        let last = &history[history.len() - 2..];
        assert_eq!((&last[0].to, &last[1].to), (&Phase::Starting, &Phase::Started));
        // A restart that ends when another begins makes room for it: at equal times, the end sorts first.
        turns.extend([(last[0].at.0, 1), (last[1].at.0, -1)]);
    }
    turns.sort_unstable();
    let under_way = turns.iter().scan(0_i32, |count, (_, change)| {
        *count += change;
        Some(*count)
    });
    under_way.max().unwrap().try_into().unwrap()
}

#[tokio::test]
async fn a_wave_restarts_so_many_at_a_time_and_ends_at_the_first_failure() {
    let world = World::new("waves").await;
    let _operator = world.operator();
    let names = ["a", "b", "c", "d", "e"];
    for name in names {
        let mut object = gateway(name, json!({ "image": "acme/gateway:1" }));
        object["metadata"]["labels"] = json!({ "wave": "good" });
        world.apply(&object).await;
    }
    for name in ["typo-1", "typo-2", "typo-3"] {
        world.apply(&gateway(name, json!({ "image": "acme/unpullable:1", "startDeadline": "3s" }))).await;
    }
    join_all(names.map(|name| world.until_started(name))).await;

    let restarted = said(&world, &["restart", "-l", "wave=good", "--max-parallel", "2", "--yes"]).await.ok();

    assert_eq!(restarted.matches(" restarted after ").count(), 5, "{restarted}");
    let gateways = join_all(names.map(|name| world.gateway(name))).await;
    assert!(gateways.iter().all(|gateway| gateway.status.as_ref().unwrap().restarts == 1));
    assert_eq!(most_at_once(&gateways), 2);

    for name in ["typo-1", "typo-2", "typo-3"] {
        world.until_condition(name, "Stalled", "True", "StartDeadlineExceeded").await;
    }
    let arguments = ["retry", "typo-1", "typo-2", "typo-3", "--max-parallel", "1", "--yes", "-o", "json"];
    let retried = said(&world, &arguments).await;
    assert_eq!(retried.code, 2, "{retried:?}");
    let told: Value = serde_json::from_str(&retried.stdout).unwrap();
    let results: Vec<_> =
        told["results"].as_array().unwrap().iter().map(|one| one["result"].as_str().unwrap()).collect();
    assert_eq!(results, ["failed", "untouched", "untouched"]);
    let attempts = join_all(["typo-1", "typo-2", "typo-3"].map(|name| world.gateway(name))).await;
    let attempts: Vec<i64> =
        attempts.into_iter().map(|gateway| gateway.status.unwrap().attempt.unwrap().number).collect();
    assert_eq!(attempts, [2, 1, 1]);
}
