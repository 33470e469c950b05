//! Gateways that were created with kubectl are mirrored for the platform, and an idle fleet causes no writes.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::api::DeleteParams;
use mongodb::bson::{DateTime, Document, doc};
use phasegate::api::{ApiGateway, Environment, EnvironmentState, Phase, State};
use serde_json::json;

use super::history::History;
use super::{ENVIRONMENTS, GATEWAYS, Platform, ancestor, answer, asking, number, text, whole};
use crate::harness::{self, Database, Requests, gateway, private_world};

impl Platform {
    /// The id of the mirror of a gateway that was created with kubectl.
    fn mirror(&self, name: &str) -> String {
        format!("{}.{name}", self.world.namespace)
    }
}

#[tokio::test]
async fn a_gateway_of_kubectls_and_its_environments_are_mirrored_and_forgotten() {
    let platform = Platform::new("mirror").await;
    let world = &platform.world;
    let id = platform.mirror("shop");
    let host = format!("shop.{}", platform.domain());
    world.create::<Environment>(harness::environment("dev", "shop", Some(&format!("dev.{host}")))).await;
    world.create::<Environment>(harness::environment("test", "shop", None)).await;
    let _operator = platform.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "host": host, "replicas": 2 }))).await;

    let object = world.until_started("shop").await;
    let document = platform.until_said(&id, "Started", "Running").await;
    platform.until_environments(&id, "Active").await;
    let spec = document.get_document("spec").unwrap();
    assert_eq!((text(spec, "image"), text(spec, "host")), ("acme/gateway:1", host.as_str()));
    assert_eq!((whole(spec, "port"), whole(spec, "replicas")), (Some(8080), Some(2)));
    assert_eq!((text(&document, "namespace"), text(&document, "name")), (world.namespace.as_str(), "shop"));
    assert_eq!((text(&document, "uid"), whole(&document, "seq")), (object.uid(), Some(2)));
    let dev = platform.environments().find_one(doc! { "gatewayId": &id, "name": "dev" }).await.unwrap().unwrap();
    assert_eq!(text(&dev, "host"), format!("dev.{host}"));

    world.api::<Environment>().delete("test", &DeleteParams::default()).await.unwrap();
    super::until_count(&platform.environments(), || doc! { "gatewayId": &id }, 1).await;
    world.patch("shop", json!({ "spec": { "state": "Stopped", "replicas": 1 } })).await;
    let document = platform.until_said(&id, "Stopped", "Stopped").await;
    assert_eq!(whole(document.get_document("spec").unwrap(), "replicas"), Some(1));
    platform.until_environments(&id, "Inactive").await;

    world.api::<ApiGateway>().delete("shop", &DeleteParams::default()).await.unwrap();
    super::until_count(&platform.gateways(), || doc! { "gatewayId": &id }, 0).await;
    world.until_gone::<ApiGateway>("shop").await;
    super::until_count(&platform.environments(), || doc! { "gatewayId": &id }, 0).await;
}

/// Gateways that were created with kubectl are changed with kubectl: the operator reverts the platform's edits of a
/// mirror.
#[tokio::test]
async fn an_edited_mirror_is_put_back_and_moves_nothing() {
    let platform = Platform::new("edited").await;
    let world = &platform.world;
    let id = platform.mirror("shop");
    world.create::<Environment>(harness::environment("dev", "shop", None)).await;
    let _operator = platform.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("shop").await;
    let before = platform.until_said(&id, "Started", "Running").await;
    platform.until_environments(&id, "Active").await;
    let object = world.gateway("shop").await;

    for edit in [
        doc! { "state": "Stopped" },
        doc! { "state": "Deleted" },
        doc! { "spec.image": "evil/gateway:1" },
        doc! { "phase": "Stopped" },
    ] {
        platform.write(&id, edit.clone()).await;
        let put_back = |document: &Document| {
            ["state", "spec", "phase", "uid", "seq"].iter().all(|field| document.get(field) == before.get(field))
        };
        platform.database.until(GATEWAYS, doc! { "gatewayId": &id }, &format!("put back after {edit}"), put_back).await;
    }
    let edit = doc! { "$set": { "state": "Inactive" } };
    platform.environments().update_one(doc! { "gatewayId": &id, "name": "dev" }, edit).await.unwrap();
    platform.until_environments(&id, "Active").await;
    platform.gateways().delete_one(doc! { "gatewayId": &id }).await.unwrap();
    platform.until_said(&id, "Started", "Running").await;

    assert_eq!(world.gateway("shop").await.metadata.resource_version, object.metadata.resource_version);
}

#[tokio::test]
async fn a_mirrored_gateway_that_times_out_is_told_and_keeps_its_spec() {
    let platform = Platform::new("told").await;
    let id = platform.mirror("typo");
    let _operator = platform.operator();
    let spec = json!({ "image": "acme/unpullable:1", "startDeadline": "6s" });
    let before = platform.world.apply(&gateway("typo", spec)).await;

    let document = platform.until_said(&id, "Stopped", "Stopped").await;

    assert_eq!(answer(&document).0, "ImagePullFailed");
    let object = platform.world.until_phase("typo", Phase::Stopped, State::Stopped).await;
    assert_eq!(object.metadata.generation, before.metadata.generation);
}

#[tokio::test]
async fn nobody_takes_a_document_over_by_copying_its_label_and_its_id() {
    let platform = Platform::new("copied").await;
    let world = &platform.world;
    let _operator = platform.operator();
    platform.insert(ancestor("shop")).await;
    platform.until_started("shop").await;
    let before = platform.document("shop").await;

    let mut copy = gateway("copy", json!({ "image": "acme/gateway:1" }));
    copy["metadata"]["labels"] = json!({ "phasegate.dev/registry": "mongodb" });
    copy["metadata"]["annotations"] = json!({ "phasegate.dev/gateway-id": "shop" });
    world.apply(&copy).await;
    world.until_started("copy").await;
    world.api::<ApiGateway>().delete("copy", &DeleteParams::default()).await.unwrap();
    world.until_gone::<ApiGateway>("copy").await;

    assert_eq!(platform.document("shop").await, before);
    platform.until_started("shop").await;
}

/// `PHASEGATE_QUIET` sets the duration, in seconds.
#[tokio::test]
async fn a_fleet_to_which_nothing_happens_causes_no_write_to_documents_and_objects() {
    let quiet = Duration::from_secs(u64::try_from(number("PHASEGATE_QUIET", 20)).unwrap());
    let platform = Platform { world: private_world("quiet").await, database: Database::new("quiet").await };
    let world = &platform.world;
    let _operator = platform.operator();
    for number in 0..5 {
        platform.insert(ancestor(&format!("gw-{number}"))).await;
        platform.insert_environments(&format!("gw-{number}"), &["dev"]).await;
        world.apply(&gateway(&format!("own-{number}"), json!({ "image": "acme/gateway:1" }))).await;
    }
    world.create::<Environment>(harness::environment("dev", "own-1", None)).await;
    platform.insert(asking("typo", doc! { "image": "acme/unpullable:1", "startDeadline": "2s" })).await;
    platform.insert(asking("wrong", doc! { "image": "no image" })).await;
    let mut stopped = ancestor("stopped");
    stopped.insert("state", "Stopped");
    platform.insert(stopped).await;
    for number in 0..5 {
        platform.until_started(&format!("gw-{number}")).await;
        platform.until_environments(&format!("gw-{number}"), "Active").await;
        platform.until_said(&platform.mirror(&format!("own-{number}")), "Started", "Running").await;
    }
    platform.until_environment("dev", EnvironmentState::Active).await;
    platform.until_environments(&platform.mirror("own-1"), "Active").await;
    platform.until_said("typo", "Stopped", "Stopped").await;
    platform.until_said("stopped", "Stopped", "Stopped").await;
    platform.until_answered(GATEWAYS, doc! { "gatewayId": "wrong" }, "ObjectRefused").await;
    world.until_event("typo", "Stopped").await;
    let before = Requests::settle(&world.client).await;

    let mut histories = Vec::new();
    for collection in [GATEWAYS, ENVIRONMENTS, "phasegate"] {
        histories.push((collection, History::follow(platform.database.collection(collection)).await));
    }
    tokio::time::sleep(quiet).await;
    let after = Requests::read(&world.client).await;

    assert_eq!(after.since(&before), BTreeMap::new());
    for (collection, history) in &histories {
        assert_eq!(history.count(), 0, "{collection}");
    }
    // The change streams do show a write.
    platform.write("gw-0", doc! { "heartbeat": DateTime::now() }).await;
    histories[0].1.of("gw-0", |_| true).await;
}
