//! Two operators write at once, as where a lease has expired unnoticed: documents never go back.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use phasegate::api::{Phase, State};

use super::{GATEWAYS, Platform, ancestor, whole};
use crate::harness::{Changes, Database, Health, Storage, TcpProxy, Way, eventually, path};

/// Neither has a Lease.
#[tokio::test]
async fn of_two_operators_that_both_write_neither_takes_a_document_back() {
    const GATEWAYS_AT_ONCE: usize = 8;
    let platform = Platform::new("two").await;
    let mut history = platform.history().await;
    let _operators = [platform.operator(), platform.operator()];
    let ids: Vec<String> = (0..GATEWAYS_AT_ONCE).map(|number| format!("gw-{number}")).collect();
    for id in &ids {
        platform.insert_environments(id, &["dev"]).await;
        platform.insert(ancestor(id)).await;
    }
    platform.until_all_started(&ids).await;
    for id in &ids {
        platform.write(id, doc! { "state": "Restarting" }).await;
    }
    for id in &ids {
        let restarted = |document: &Document| whole(document, "attempt") == Some(2);
        platform.database.until(GATEWAYS, doc! { "gatewayId": id }, "restarted", restarted).await;
        platform.until_started(id).await;
        platform.write(id, doc! { "state": "Stopped" }).await;
    }

    for id in &ids {
        let object = platform.world.until_phase(id, Phase::Stopped, State::Stopped).await;
        platform.until_said(id, "Stopped", "Stopped").await;
        platform.until_environments(id, "Inactive").await;
        assert_eq!(
            path(&object),
            [
                "Starting/Running StartRequested",
                "Started/Running Started",
                "Starting/Restarting RestartRequested",
                "Started/Running Started",
                "Stopping/Stopped StopRequested",
                "Stopped/Stopped Stopped"
            ]
        );
        // Recorded once, and twice written to by the platform.
        history.assert_only_forward(id, 6, 3).await;
    }
}

/// How many reports an operator's own count says were made.
async fn reports(health: &Health) -> u64 {
    let (_, metrics) = health.get("/metrics").await.unwrap();
    let count = |line: &str| {
        let report = line.starts_with("phasegate_registry_requests_total{") && line.contains("operation=\"report\"");
        report.then(|| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap())
    };
    metrics.lines().filter_map(count).sum()
}

/// Its write was on its way when it lost what it does not know it has lost.
#[tokio::test]
async fn a_report_that_comes_after_a_later_one_of_another_operator_changes_nothing() {
    let database = Database::local("stale", Storage::Memory, Changes::Streamed).await;
    let platform = Platform::with("stale", database).await;
    let proxy = TcpProxy::start(platform.database.address()).await;
    let health = Health::reserve();
    let flags = ["--registry-timeout", "60s", "--http-bind", &health.address()];
    let _late = platform.operator_at(&platform.database.uri_through(&proxy), &flags);
    let _other = platform.operator();
    let mut history = platform.history().await;
    // Long enough for what follows.
    platform.insert(super::asking("shop", doc! { "image": "acme/slow-start:1" })).await;
    let begun = |document: &Document| whole(document, "seq") >= Some(1);
    platform.database.until(GATEWAYS, doc! { "gatewayId": "shop" }, "begun", begun).await;
    let before = reports(&health).await;

    proxy.set(Way::Hang).await;
    platform.until_started("shop").await;
    platform.write("shop", doc! { "state": "Stopped" }).await;
    platform.until_said("shop", "Stopped", "Stopped").await;
    let last = platform.document("shop").await;
    proxy.set(Way::Pass).await;

    let waited = eventually(Duration::from_millis(50), async || (reports(&health).await != before).then_some(()));
    waited.await.expect("the late report arrives");
    // And this operator goes on.
    platform.insert(ancestor("next")).await;
    platform.until_started("next").await;
    // It may have put back the state that it knew, and then learned better.
    platform.until_said("shop", "Stopped", "Stopped").await;
    let told = whole(&platform.document("shop").await, "seq").unwrap();
    assert!(told >= whole(&last, "seq").unwrap(), "{told}");
    history.assert_only_forward("shop", told, 2).await;
}
