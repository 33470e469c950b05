//! Documents become gateways, and the operator writes the gateways' status into the documents.

use k8s_openapi::api::networking::v1::Ingress;
use kube::api::ListParams;
use mongodb::bson::{DateTime, Document, doc};
use phasegate::api::{ApiGateway, Environment, EnvironmentState, Phase, Reason, State};

use super::{GATEWAYS, Platform, ancestor, answer, asking, environment, number, text, whole};
use crate::harness::{Changes, Database, STARTED, Storage, path};

/// The platform's own fields, which the operator must not change.
fn theirs() -> Document {
    doc! {
        "console": { "theme": "dark", "$weird.key": [1, "two", { "three": 3.5 }] },
        "lockedBy": "node-7",
        "since": DateTime::from_millis(1_234_567),
    }
}

fn hosts(ingress: &Ingress) -> Vec<String> {
    let rules = ingress.spec.as_ref().and_then(|spec| spec.rules.clone()).unwrap_or_default();
    let mut hosts: Vec<String> = rules.into_iter().filter_map(|rule| rule.host).collect();
    hosts.sort();
    hosts
}

/// The whole lifecycle of a gateway, driven by documents as the platform that phasegate replaces writes them.
async fn a_life(platform: Platform, flags: &[&str]) {
    let world = &platform.world;
    let _operator = platform.operator_with(flags);
    let mut shop = ancestor("shop");
    shop.extend(theirs());
    let written = shop.clone();
    platform.insert(shop).await;
    platform.insert_environments("shop", &["dev", "test"]).await;

    let (object, document) = platform.until_started("shop").await;
    platform.until_environments("shop", "Active").await;
    assert_eq!(path(&object), STARTED);
    let spec = &object.spec;
    assert_eq!((spec.image.as_str(), spec.port), ("acme/gateway:1", 9090));
    let domain = platform.domain();
    let ingress: Ingress = world.api().get("shop").await.unwrap();
    assert_eq!(hosts(&ingress), ["shop-dev", "shop-test", "shop"].map(|host| format!("{host}.{domain}")));
    for name in ["shop-dev", "shop-test"] {
        platform.until_environment(name, EnvironmentState::Active).await;
    }
    assert_eq!(text(&document, "uid"), object.uid());
    assert_eq!((text(&document, "reason"), whole(&document, "attempt")), ("Started", Some(1)));
    assert_eq!((text(&document, "namespace"), text(&document, "name")), (world.namespace.as_str(), "shop"));
    for field in ["console", "lockedBy", "since", "lockedAt", "createdAt"] {
        assert_eq!(document.get(field), written.get(field), "{field}");
    }

    platform.write("shop", doc! { "state": "Restarting" }).await;
    let running = |document: &Document| text(document, "state") == "Running" && whole(document, "attempt") == Some(2);
    let document = platform.database.until(GATEWAYS, doc! { "gatewayId": "shop" }, "running again", running).await;
    let restarted = ["Starting/Restarting RestartRequested", "Started/Running Started"];
    let object = world.until_started("shop").await;
    assert_eq!(path(&object), [STARTED, restarted].concat());
    assert_eq!(text(&document, "phase"), "Started", "{document}");
    platform.until_environments("shop", "Active").await;

    platform.write("shop", doc! { "state": "Stopped" }).await;
    let document = platform.until_said("shop", "Stopped", "Stopped").await;
    world.until_phase("shop", Phase::Stopped, State::Stopped).await;
    platform.until_environments("shop", "Inactive").await;
    assert_eq!(world.children().await, Vec::<String>::new());
    assert!(!document.contains_key("error"), "{document}");

    platform.write("shop", doc! { "state": "Running" }).await;
    platform.until_started("shop").await;
    platform.until_environments("shop", "Active").await;
    for (field, value) in theirs() {
        assert_eq!(platform.document("shop").await.get(&field), Some(&value), "{field}");
    }

    platform.write("shop", doc! { "state": "Deleted" }).await;
    platform.until_forgotten("shop").await;
    world.until_gone::<ApiGateway>("shop").await;
    world.until_nothing_is_left().await;
    for name in ["shop-dev", "shop-test"] {
        world.until_gone::<Environment>(name).await;
    }
}

#[tokio::test]
async fn a_document_as_the_ancestor_writes_it_lives_a_whole_life() {
    a_life(Platform::new("life").await, &["--gateway-port", "9090"]).await;
}

#[tokio::test]
async fn without_change_streams_a_document_lives_the_same_life() {
    let database = Database::local("scan", Storage::Memory, Changes::Polled).await;
    let platform = Platform::with("scan", database).await;
    a_life(platform, &["--gateway-port", "9090", "--registry-scan-interval", "1s"]).await;
}

#[tokio::test]
async fn a_document_decides_over_name_image_host_port_and_replicas() {
    let platform = Platform::new("fields").await;
    let _operator = platform.operator();
    let host = format!("shop.{}.test", platform.world.namespace);
    let mut shop = asking(
        "Shop_17",
        // Drivers write whole numbers in these types, too.
        doc! { "image": "acme/gateway:2", "host": &host, "port": 7000.0, "replicas": 2_i64, "path": "/api" },
    );
    shop.insert("name", "corner-shop");
    platform.insert(shop).await;
    platform
        .environments()
        .insert_one(doc! { "gatewayId": "Shop_17", "name": "dev", "host": format!("dev.{host}") })
        .await
        .unwrap();

    let object = platform.world.until_started("corner-shop").await;

    let spec = &object.spec;
    assert_eq!((spec.image.as_str(), spec.port, spec.replicas), ("acme/gateway:2", 7000, Some(2)));
    assert_eq!(object.status.as_ref().unwrap().url, Some(format!("http://{host}/api")));
    platform.until_said("Shop_17", "Started", "Running").await;
    platform.until_environments("Shop_17", "Active").await;
    let ingress: Ingress = platform.world.api().get("corner-shop").await.unwrap();
    assert_eq!(hosts(&ingress), [format!("dev.{host}"), host.clone()]);

    // A change of the document's spec is rolled out, and is not another attempt.
    platform.write("Shop_17", doc! { "spec.image": "acme/gateway:3", "spec.replicas": 1 }).await;
    let changed = |object: &ApiGateway| object.spec.image == "acme/gateway:3" && object.spec.replicas == Some(1);
    platform.world.until("corner-shop", "the new spec", changed).await;
    platform
        .environments()
        .update_one(doc! { "gatewayId": "Shop_17" }, doc! { "$set": { "state": "Deleted" } })
        .await
        .unwrap();
    platform.world.until_gone::<Environment>("corner-shop-dev").await;
    let only = |ingress: &Ingress| hosts(ingress) == [host.as_str()];
    platform.world.until("corner-shop", "one host", only).await;
    super::until_count(&platform.environments(), || doc! { "gatewayId": "Shop_17" }, 0).await;
    assert_eq!(path(&platform.world.gateway("corner-shop").await), STARTED);
}

#[tokio::test]
async fn a_document_whose_gateway_times_out_says_so_and_running_tries_again() {
    let platform = Platform::new("timeout").await;
    let _operator = platform.operator_with(&["--start-deadline", "6s"]);
    let mut history = platform.history().await;
    platform.insert(asking("typo", doc! { "image": "acme/unpullable:1" })).await;
    platform.insert_environments("typo", &["dev"]).await;

    // The document shows the failure before the cleanup begins.
    let shown = |seen: &super::history::Seen| {
        (text(&seen.document, "phase"), text(&seen.document, "state")) == ("Started", "Stopped")
    };
    let seen = history.of("typo", shown).await;
    let timed_out = seen.iter().find(|seen| shown(seen)).unwrap();
    let (reason, message) = answer(&timed_out.document);
    assert_eq!(reason, "ImagePullFailed");
    assert!(message.contains("\"acme/unpullable:1\" cannot be pulled"), "{message}");
    assert_eq!(text(&timed_out.document, "reason"), "StartDeadlineExceeded");
    let by = timed_out.document.get_document("by").unwrap();
    assert_eq!((text(by, "state"), by.get("updatedAt")), ("Stopped", timed_out.document.get("updatedAt")));

    let stopped = platform.until_said("typo", "Stopped", "Stopped").await;
    assert_eq!(answer(&stopped), (reason, message));
    let object = platform.world.until_phase("typo", Phase::Stopped, State::Stopped).await;
    // The operator never changes the state that the user requested.
    assert!(object.spec.state.asks_to_run());
    assert_eq!(object.status.as_ref().unwrap().last_failure.as_ref().unwrap().reason, Reason::ImagePullFailed);
    platform.until_environments("typo", "Inactive").await;

    platform.write("typo", doc! { "state": "Running" }).await;
    let twice = |document: &Document| text(document, "phase") == "Stopped" && whole(document, "attempt") == Some(2);
    platform.database.until(GATEWAYS, doc! { "gatewayId": "typo" }, "a second failure", twice).await;

    platform
        .write("typo", doc! { "state": "Running", "spec.image": "acme/gateway:1", "spec.startDeadline": "1m" })
        .await;
    let (object, document) = platform.until_started("typo").await;
    assert_eq!(object.status.as_ref().unwrap().attempt.as_ref().unwrap().number, 3);
    assert!(!document.contains_key("error"), "{document}");
    platform.until_environments("typo", "Active").await;
}

#[tokio::test]
async fn an_environment_added_to_a_started_gateway_becomes_active() {
    let platform = Platform::new("added").await;
    let _operator = platform.operator();
    platform.insert(ancestor("shop")).await;
    platform.until_started("shop").await;

    platform.environments().insert_one(environment("shop", "late")).await.unwrap();

    platform.until_environments("shop", "Active").await;
    platform.until_environment("shop-late", EnvironmentState::Active).await;
    assert_eq!(path(&platform.world.gateway("shop").await), STARTED);
}

/// `PHASEGATE_BURST` sets the number of documents.
#[tokio::test]
async fn many_documents_at_once_all_become_gateways_with_active_environments() {
    let count = number("PHASEGATE_BURST", 30);
    let platform = Platform::new("many").await;
    let _operator = platform.operator();
    let mut history = platform.history().await;
    let ids: Vec<String> = (0..count).map(|number| format!("gw-{number}")).collect();
    let environments = ids.iter().flat_map(|id| ["dev", "test"].map(|name| environment(id, name)));
    platform.environments().insert_many(environments).await.unwrap();
    platform.gateways().insert_many(ids.iter().map(|id| ancestor(id))).await.unwrap();

    platform.until_all_started(&ids).await;

    for id in &ids {
        history.assert_only_forward(id, 2, 1).await;
    }
    let objects = platform.world.api::<Environment>().list(&ListParams::default()).await.unwrap();
    assert_eq!(objects.items.len(), 2 * count);
}
