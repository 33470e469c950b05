//! A deleted gateway and its documents disappear together, and a platform's gateway is recreated if only kubectl
//! deleted it.

use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DeleteParams, ObjectMeta, PostParams};
use mongodb::bson::{Document, doc};
use phasegate::api::{ApiGateway, Phase, condition};
use serde_json::json;

use super::{GATEWAYS, Platform, ancestor, environment, text, until_count};
use crate::harness::cluster::{RUN_LABEL, run_id};
use crate::harness::{self, Changes, Database, Storage, eventually, gateway, until};

/// A database that can be killed and keeps its data.
async fn mortal(test: &str) -> Platform {
    Platform::with(test, Database::local(test, Storage::File, Changes::Streamed).await).await
}

async fn delete(platform: &Platform, name: &str) {
    platform.world.api::<ApiGateway>().delete(name, &DeleteParams::default()).await.unwrap();
}

fn has_finalizer(object: &ApiGateway) -> bool {
    object.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == "phasegate.dev/registry")
}

#[tokio::test]
async fn a_deletion_while_the_database_is_down_is_visible_and_resumes() {
    let mut platform = mortal("resume").await;
    let mut operator = platform.operator();
    platform.world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    platform.insert(ancestor("till")).await;
    platform.insert_environments("till", &["dev"]).await;
    platform.world.until_started("shop").await;
    platform.until_started("till").await;
    platform.write("till", doc! { "phase": "Started", "state": "Deleted" }).await;
    let going = |object: &ApiGateway| object.metadata.deletion_timestamp.is_some();
    platform.world.until("till", "being deleted", going).await;
    platform.until_forgotten("till").await;
    let id = format!("{}.shop", platform.world.namespace);

    platform.database.kill();
    delete(&platform, "shop").await;

    // The removal of its children does not wait for the database.
    let world = &platform.world;
    let shop = world.until_condition("shop", condition::RECONCILING, "True", "RegistryUnavailable").await;
    assert!(has_finalizer(&shop));
    assert_eq!(shop.status.unwrap().phase, Some(Phase::Deleting));
    world.until_nothing_is_left().await;
    // A restarted operator still has to remove the documents.
    operator.kill();
    let _operator = platform.operator();
    platform.world.apply(&gateway("next", json!({ "image": "acme/gateway:1" }))).await;
    platform.world.until_condition("next", condition::READY, "False", "RegistryUnavailable").await;
    assert!(has_finalizer(&platform.world.gateway("shop").await));

    platform.database.start_again().await;

    platform.world.until_gone::<ApiGateway>("shop").await;
    until_count(&platform.gateways(), || doc! { "gatewayId": &id }, 0).await;
    platform.world.until_started("next").await;
}

#[tokio::test]
async fn a_deletion_waits_for_the_database_no_longer_than_it_is_told_and_is_made_up_for() {
    let mut platform = mortal("bound").await;
    let _operator = platform.operator_with(&["--registry-deletion-timeout", "6s"]);
    let world = &platform.world;
    world.create::<phasegate::api::Environment>(harness::environment("dev", "shop", None)).await;
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("shop").await;
    let id = format!("{}.shop", world.namespace);
    platform.until_said(&id, "Started", "Running").await;
    platform.until_environments(&id, "Active").await;

    platform.database.kill();
    let since = Instant::now();
    delete(&platform, "shop").await;
    platform.world.until_gone::<ApiGateway>("shop").await;
    // A deletionTimestamp is in whole seconds.
    assert!(since.elapsed() >= Duration::from_secs(5), "{:?}", since.elapsed());
    platform.database.start_again().await;

    until_count(&platform.gateways(), || doc! { "gatewayId": &id }, 0).await;
    until_count(&platform.environments(), || doc! { "gatewayId": &id }, 0).await;
}

/// The platform's fields of a document, without the fields in which an operator reports an object.
fn theirs(mut document: Document) -> Document {
    for field in ["uid", "seq", "recordedAt", "phase", "reason", "attempt"] {
        document.remove(field);
    }
    document
}

#[tokio::test]
async fn an_object_of_the_platforms_that_kubectl_deletes_comes_back() {
    let platform = Platform::new("back").await;
    let world = &platform.world;
    let _operator = platform.operator();
    let mut shop = ancestor("shop");
    shop.insert("console", doc! { "theme": "dark" });
    platform.insert(shop).await;
    platform.insert_environments("shop", &["dev"]).await;
    let (object, document) = platform.until_started("shop").await;
    platform.until_environments("shop", "Active").await;

    delete(&platform, "shop").await;

    let another = |found: &ApiGateway| found.metadata.uid != object.metadata.uid;
    world.until("shop", "another", another).await;
    platform.until_started("shop").await;
    platform.until_environments("shop", "Active").await;
    let now = |found: &Document| text(found, "uid") != text(&document, "uid") && text(found, "phase") == "Started";
    let again = platform.database.until(GATEWAYS, doc! { "gatewayId": "shop" }, "of the new object", now).await;
    assert_eq!(theirs(again), theirs(document));
    assert_eq!(platform.environments().count_documents(doc! { "gatewayId": "shop" }).await.unwrap(), 1);
}

#[tokio::test]
async fn a_namespace_that_goes_takes_no_document_with_it_and_its_gateways_come_back() {
    let platform = Platform::new("ns").await;
    let world = &platform.world;
    let tenants = format!("{}-tenants", world.namespace);
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    let make = || async {
        let labels = [(RUN_LABEL.to_owned(), run_id())].into();
        let metadata = ObjectMeta { name: Some(tenants.clone()), labels: Some(labels), ..ObjectMeta::default() };
        let namespace = Namespace { metadata, ..Namespace::default() };
        namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    };
    make().await;
    let allowed = format!("{},{tenants}", world.namespace);
    let _operator = platform.operator_with(&["--namespaces", &tenants, "--gateway-allowed-namespaces", &allowed]);
    let mut shop = ancestor("shop");
    shop.insert("namespace", &tenants);
    platform.insert(shop).await;
    platform.environments().insert_one(environment("shop", "dev")).await.unwrap();
    let before = platform.until_said("shop", "Started", "Running").await;
    platform.until_environments("shop", "Active").await;

    namespaces.delete(&tenants, &DeleteParams::default()).await.unwrap();

    // The namespace is gone, not only terminating.
    let waited = eventually(Duration::from_millis(200), async || {
        namespaces.get_opt(&tenants).await.unwrap().is_none().then_some(())
    });
    waited.await.expect("the namespace goes");
    let document = platform.document("shop").await;
    assert_eq!(theirs(document), theirs(before.clone()));
    assert_eq!(platform.environments().count_documents(doc! { "gatewayId": "shop" }).await.unwrap(), 1);

    make().await;
    let objects: Api<ApiGateway> = Api::namespaced(world.client.clone(), &tenants);
    let started =
        |found: &ApiGateway| found.status.as_ref().and_then(|status| status.phase.clone()) == Some(Phase::Started);
    until(objects, "shop", "Started", started).await;
    let now = |found: &Document| text(found, "uid") != text(&before, "uid") && text(found, "phase") == "Started";
    let again = platform.database.until(GATEWAYS, doc! { "gatewayId": "shop" }, "of the new object", now).await;
    assert_eq!(theirs(again), theirs(before));
    platform.until_environments("shop", "Active").await;
    namespaces.delete(&tenants, &DeleteParams::default()).await.unwrap();
}

#[tokio::test]
async fn what_kubectl_edits_of_the_platforms_is_undone_and_said() {
    let platform = Platform::new("undone").await;
    let world = &platform.world;
    let _operator = platform.operator();
    platform.insert(ancestor("shop")).await;
    platform.insert_environments("shop", &["dev"]).await;
    let (before, document) = platform.until_started("shop").await;
    platform.until_environments("shop", "Active").await;

    for edit in [
        json!({ "spec": { "image": "evil/gateway:1" } }),
        json!({ "spec": { "host": "evil.example.com" } }),
        json!({ "spec": { "state": "Stopped" } }),
        json!({ "metadata": { "annotations": { "phasegate.dev/intent": "other" } } }),
        json!({ "metadata": { "finalizers": null } }),
    ] {
        let edited = world.patch("shop", edit.clone()).await;
        let version = |object: &ApiGateway| object.metadata.resource_version.clone().unwrap().parse::<u64>().unwrap();
        let undone = |object: &ApiGateway| {
            version(object) > version(&edited)
                && object.spec == before.spec
                && object.metadata.annotations == before.metadata.annotations
                && has_finalizer(object)
        };
        world.until("shop", &format!("undone: {edit}"), undone).await;
    }
    let host = json!({ "spec": { "host": "evil.example.com" } });
    world.patch_object::<phasegate::api::Environment>("shop-dev", host).await;
    let right = format!("shop-dev.{}", platform.domain());
    let undone = |object: &phasegate::api::Environment| object.spec.host.as_ref() == Some(&right);
    world.until("shop-dev", "undone", undone).await;

    let events = world.until_event("shop", "EditReverted").await;
    assert!(events.contains(&"Warning EditReverted".to_owned()), "{events:?}");
    platform.until_started("shop").await;
    let now = platform.document("shop").await;
    assert_eq!((now.get("state"), now.get("error")), (document.get("state"), None));
    // Fields that the platform does not set keep the values of other clients.
    world.patch("shop", json!({ "spec": { "replicas": 2 } })).await;
    let scaled = |object: &Deployment| object.spec.as_ref().unwrap().replicas == Some(2);
    world.until("shop", "scaled", scaled).await;
    assert_eq!(world.gateway("shop").await.spec.replicas, Some(2));
}
