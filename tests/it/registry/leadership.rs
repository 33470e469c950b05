//! Documents never go back to an older state when two operators write at once, as after an unnoticed loss of the Lease.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use phasegate::api::{Phase, State};

use super::{GATEWAYS, Platform, ancestor, requests, whole};
use crate::harness::{Changes, Database, Health, Storage, TcpMode, TcpProxy, eventually, path};

/// Neither operator has a Lease.
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
        // The other updates: the operator records the object once, and the platform writes twice.
        history.assert_only_forward(id, 6, 3).await;
    }
}

/// An operator's write is in flight when another operator takes over. The first operator does not notice that.
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
    // This start takes long enough for the following steps.
    platform.insert(super::asking("shop", doc! { "image": "acme/slow-start:1" })).await;
    let begun = |document: &Document| whole(document, "seq") >= Some(1);
    platform.database.until(GATEWAYS, doc! { "gatewayId": "shop" }, "begun", begun).await;
    let before = requests(&health, "report").await;

    proxy.set(TcpMode::Hang).await;
    platform.until_started("shop").await;
    platform.write("shop", doc! { "state": "Stopped" }).await;
    platform.until_said("shop", "Stopped", "Stopped").await;
    let last = platform.document("shop").await;
    proxy.set(TcpMode::Pass).await;

    let waited =
        eventually(Duration::from_millis(50), async || (requests(&health, "report").await != before).then_some(()));
    waited.await.expect("the late report arrives");
    // The late operator continues to reconcile.
    platform.insert(ancestor("next")).await;
    platform.until_started("next").await;
    // The late operator may have written its stale state, and then corrected it.
    platform.until_said("shop", "Stopped", "Stopped").await;
    let told = whole(&platform.document("shop").await, "seq").unwrap();
    assert!(told >= whole(&last, "seq").unwrap(), "{told}");
    history.assert_only_forward("shop", told, 2).await;
}
