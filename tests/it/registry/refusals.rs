//! The operator reports a document's error in that document, and the error blocks no other document.

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DeleteParams, ObjectMeta, PostParams};
use mongodb::IndexModel;
use mongodb::bson::{DateTime, Document, doc};
use mongodb::options::IndexOptions;
use phasegate::api::{ApiGateway, Environment, EnvironmentState};
use serde_json::json;

use super::{ENVIRONMENTS, GATEWAYS, Platform, ancestor, answer, asking, environment, requests, text};
use crate::harness::{self, Health, World, gateway};

/// A faulty document gets an error with this reason and these words, and its phase is unchanged. Without the fault it
/// is accepted.
async fn refused(platform: &Platform, id: &str, fault: Document, reason: &str, words: &[&str]) {
    let mut document = ancestor(id);
    document.extend(fault.clone());
    platform.insert(document.clone()).await;

    let message = platform.until_answered(GATEWAYS, doc! { "gatewayId": id }, reason).await;

    for word in words {
        assert!(message.contains(word), "{id}: {message:?} lacks {word:?}");
    }
    let answered = platform.document(id).await;
    for (field, value) in &document {
        assert_eq!(answered.get(field), Some(value), "{id}: {field}");
    }
    assert!(!answered.contains_key("uid") && !answered.contains_key("seq"), "{answered}");
}

/// Removes the fault, and waits until the document is accepted.
async fn accepted(platform: &Platform, id: &str, without: Document) {
    platform.gateways().update_one(doc! { "gatewayId": id }, without).await.unwrap();
    let document = platform.until_accepted(id).await;
    let place =
        platform.database.until(GATEWAYS, doc! { "gatewayId": id }, "recorded", |found| found.contains_key("uid"));
    drop((document, place.await));
}

#[tokio::test]
async fn each_fault_is_answered_in_its_document_and_the_corrected_document_is_accepted() {
    let platform = Platform::new("faults").await;
    let _operator = platform.operator();
    let unset = |field: &str| doc! { "$unset": { field: "" } };

    // Messages of the API server.
    let faults = [
        ("image", doc! { "spec": { "image": "no image" } }, "spec.image"),
        ("host", doc! { "spec": { "host": "https://shop.example.com" } }, "host must be a lower-case DNS name"),
        ("replicas", doc! { "spec": { "replicas": 1001 } }, "spec.replicas"),
        ("fraction", doc! { "spec": { "replicas": 1.5 } }, "replicas"),
        ("type", doc! { "spec": { "image": { "name": "x" } } }, "image"),
        ("field", doc! { "spec": { "imagee": "acme/gateway:1" } }, "imagee"),
        ("port", doc! { "spec": { "port": 0 } }, "spec.port"),
    ];
    for (id, fault, word) in &faults {
        refused(&platform, id, fault.clone(), "ObjectRefused", &[word]).await;
    }
    // Messages of the operator.
    let other = World::new("elsewhere").await;
    let words =
        [other.namespace.as_str(), "is not allowed (--gateway-allowed-namespaces)", platform.world.namespace.as_str()];
    refused(&platform, "elsewhere", doc! { "namespace": &other.namespace }, "NamespaceNotAllowed", &words).await;
    refused(&platform, "state", doc! { "state": "Sleeping" }, "UnknownState", &["Sleeping", "Restarting"]).await;
    refused(&platform, "Upper", doc! {}, "InvalidName", &["Upper", "lower-case"]).await;
    refused(&platform, "name", doc! { "name": "-x" }, "InvalidName", &["the name", "-x"]).await;
    refused(&platform, "kube-system.shop", doc! {}, "InvalidName", &["dot", "kubectl"]).await;

    for (id, ..) in &faults {
        accepted(&platform, id, unset("spec")).await;
    }
    accepted(&platform, "elsewhere", unset("namespace")).await;
    accepted(&platform, "state", doc! { "$set": { "state": "Running" } }).await;
    let host = format!("upper.{}", platform.domain());
    accepted(&platform, "Upper", doc! { "$set": { "name": "upper", "spec": { "host": host } } }).await;
    accepted(&platform, "name", unset("name")).await;
    // All of them start.
    for (id, ..) in &faults {
        platform.until_started(id).await;
    }
    assert_eq!(other.children().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_document_that_cannot_be_read_is_answered_and_keeps_what_it_says() {
    let platform = Platform::new("unread").await;
    let _operator = platform.operator();
    let odd = [
        ("state", doc! { "state": 7 }),
        ("updated", doc! { "name": ["shop"] }),
        ("spec", doc! { "spec": "acme/gateway:1" }),
        ("moment", doc! { "spec": { "image": DateTime::now() } }),
        ("null", doc! { "spec": { "args": ["a", null] } }),
    ];
    for (id, fault) in odd {
        let mut document = ancestor(id);
        document.extend(fault);
        platform.insert(document.clone()).await;

        let message = platform.until_answered(GATEWAYS, doc! { "gatewayId": id }, "UndecodableDocument").await;

        assert!(message.contains("cannot read the document"), "{message}");
        let mut answered = platform.document(id).await;
        answered.remove("error");
        answered.remove("_id");
        assert_eq!(answered, document);
        accepted(&platform, id, doc! { "$set": { "state": "Running" }, "$unset": { "spec": "", "name": "" } }).await;
    }
    platform.gateways().insert_one(doc! { "state": "Running", "console": "no id" }).await.unwrap();
    platform.until_answered(GATEWAYS, doc! { "console": "no id" }, "UndecodableDocument").await;
    platform.until_started("state").await;
}

#[tokio::test]
async fn an_object_of_somebody_elses_is_not_taken_and_waited_for() {
    let platform = Platform::new("taken").await;
    let world = &platform.world;
    let _operator = platform.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "replicas": 2 }))).await;
    platform.insert(ancestor("first")).await;
    let (theirs, first) = (world.until_started("shop").await, platform.until_started("first").await.0);

    refused(&platform, "shop", doc! { "spec": { "replicas": 1 } }, "ObjectTaken", &["shop", "kubectl"]).await;
    refused(&platform, "second", doc! { "name": "first" }, "ObjectTaken", &["\"first\""]).await;

    let same = |object: &ApiGateway, before: &ApiGateway| {
        assert_eq!((&object.spec, &object.metadata.uid), (&before.spec, &before.metadata.uid));
        assert_eq!(object.metadata.annotations, before.metadata.annotations);
    };
    same(&world.gateway("shop").await, &theirs);
    same(&world.gateway("first").await, &first);

    // When the name is free, the operator follows the document without another write to it.
    world.api::<ApiGateway>().delete("shop", &DeleteParams::default()).await.unwrap();
    let ours = |object: &ApiGateway| object.metadata.uid != theirs.metadata.uid;
    world.until("shop", "the platform's", ours).await;
    platform.until_started("shop").await;
    platform.until_accepted("shop").await;
    accepted(&platform, "second", doc! { "$unset": { "name": "" } }).await;
}

#[tokio::test]
async fn what_keeps_a_gateway_from_its_first_attempt_is_told_in_its_document_and_taken_back() {
    let platform = Platform::new("hindered").await;
    let world = &platform.world;
    let host = format!("shop.{}", platform.domain());
    world.apply(&gateway("holder", json!({ "image": "acme/gateway:1", "host": host }))).await;
    let _operator = platform.operator_with(&["--max-replicas", "2"]);
    world.until_started("holder").await;

    platform.insert(ancestor("shop")).await;
    platform.insert(asking("many", doc! { "replicas": 3 })).await;

    let holder = format!("{}/holder", world.namespace);
    let rows: [(&str, &str, &[&str]); 2] = [
        ("shop", "HostTaken", &[&host, &holder, "Choose another spec.host"]),
        ("many", "NotAllowed", &["spec.replicas", "3", "--max-replicas"]),
    ];
    for (id, reason, words) in rows {
        let message = platform.until_answered(GATEWAYS, doc! { "gatewayId": id }, reason).await;
        for word in words {
            assert!(message.contains(word), "{id}: {message:?} lacks {word:?}");
        }
        let document = platform.until_said(id, "Created", "Running").await;
        assert!(!document.contains_key("attempt"), "{document}");
    }

    world.api::<ApiGateway>().delete("holder", &DeleteParams::default()).await.unwrap();
    platform.write("many", doc! { "spec": { "replicas": 2 } }).await;
    for id in ["shop", "many"] {
        platform.until_accepted(id).await;
        platform.until_started(id).await;
    }
}

/// Names that are composed of ids and names can collide: `a-b` with `dev`, and `a` with `b-dev`.
#[tokio::test]
async fn of_two_documents_that_come_to_one_name_or_host_one_has_it_and_the_other_is_told() {
    let platform = Platform::new("same").await;
    let world = &platform.world;
    let pairs: Vec<[String; 2]> = (0..5).map(|pair| [format!("one-{pair}"), format!("two-{pair}")]).collect();
    for (number, pair) in pairs.iter().enumerate() {
        for id in pair {
            let mut document = ancestor(id);
            document.insert("name", format!("same-{number}"));
            platform.insert(document).await;
        }
    }
    for (id, name) in [("a-b", "dev"), ("a", "b-dev")] {
        platform.insert(ancestor(id)).await;
        platform.insert_environments(id, &[name]).await;
    }
    let _operator = platform.operator();

    for (number, pair) in pairs.iter().enumerate() {
        let object = world.until_started(&format!("same-{number}")).await;
        let has = object.metadata.annotations.as_ref().unwrap()["phasegate.dev/gateway-id"].clone();
        let other = pair.iter().find(|id| **id != has).unwrap();
        let message = platform.until_answered(GATEWAYS, doc! { "gatewayId": other }, "ObjectTaken").await;
        assert!(message.contains(&has), "{message}");
        assert_eq!(object.spec.host, Some(format!("{has}.{}", platform.domain())));
        let document = platform.until_accepted(&has).await;
        assert_eq!(text(&document, "uid"), object.uid());
        assert!(!platform.document(other).await.contains_key("uid"));
    }
    for id in ["a", "a-b"] {
        platform.until_started(id).await;
    }
    let object: Environment = platform.until_environment("a-b-dev", EnvironmentState::Active).await;
    let ([has, name], [other, others]) = match object.spec.gateway_ref.name.as_str() {
        "a" => (["a", "b-dev"], ["a-b", "dev"]),
        _ => (["a-b", "dev"], ["a", "b-dev"]),
    };
    let of = |id: &str, name: &str| doc! { "gatewayId": id, "name": name };
    let message = platform.until_answered(ENVIRONMENTS, of(other, others), "ObjectTaken").await;
    assert!(message.contains("a-b-dev"), "{message}");
    platform.until_environments(has, "Active").await;

    // A composed host belongs to its first holder too.
    platform.insert(ancestor("a-b-dev")).await;
    let message = platform.until_answered(GATEWAYS, doc! { "gatewayId": "a-b-dev" }, "HostTaken").await;
    assert!(message.contains("Environment") && message.contains("a-b-dev"), "{message}");

    // Once the name is free, the other document gets it.
    let deleted = doc! { "$set": { "state": "Deleted" } };
    platform.environments().update_one(of(has, name), deleted).await.unwrap();
    let is_others = |object: &Environment| object.spec.gateway_ref.name == other;
    world.until("a-b-dev", "the other's", is_others).await;
}

#[tokio::test]
async fn an_environment_that_cannot_be_is_answered_in_its_own_document() {
    let platform = Platform::new("envs").await;
    let world = &platform.world;
    let health = Health::reserve();
    let _operator = platform.operator_with(&["--http-bind", &health.address()]);
    world.create::<Environment>(harness::environment("shop-theirs", "other", None)).await;
    platform.insert(ancestor("shop")).await;
    let mut host = environment("shop", "host");
    host.insert("host", "no host");
    let documents = [host, environment("shop", "Upper"), environment("shop", "theirs"), environment("shop", "good")];
    platform.environments().insert_many(documents).await.unwrap();
    platform.environments().insert_one(doc! { "gatewayId": "shop", "name": 7 }).await.unwrap();

    platform.until_started("shop").await;

    let of = |name: &str| doc! { "gatewayId": "shop", "name": name };
    for (filter, reason, word) in [
        (of("host"), "ObjectRefused", "host must be a lower-case DNS name"),
        (of("Upper"), "InvalidName", "Upper"),
        (of("theirs"), "ObjectTaken", "shop-theirs"),
        (doc! { "gatewayId": "shop", "name": 7 }, "UndecodableDocument", "name"),
    ] {
        let message = platform.until_answered(ENVIRONMENTS, filter, reason).await;
        assert!(message.contains(word), "{message}");
    }
    let active = |document: &Document| text(document, "state") == "Active" && answer(document).0.is_empty();
    platform.database.until(ENVIRONMENTS, of("good"), "Active", active).await;

    let correct = doc! { "$unset": { "host": "" } };
    platform.environments().update_one(of("host"), correct).await.unwrap();
    platform.database.until(ENVIRONMENTS, of("host"), "Active", active).await;
    world.api::<Environment>().delete("shop-theirs", &DeleteParams::default()).await.unwrap();
    platform.database.until(ENVIRONMENTS, of("theirs"), "Active", active).await;
    // One answer for each of the four, however often its gateway is reconciled, and one more when each of two is
    // corrected.
    assert_eq!(requests(&health, "answer").await, 6);
}

#[tokio::test]
async fn documents_that_share_an_id_are_each_answered_until_one_is_left() {
    let platform = Platform::new("twins").await;
    for console in ["one", "two"] {
        let mut twin = ancestor("twin");
        twin.insert("console", console);
        platform.insert(twin).await;
    }
    platform.insert(ancestor("shop")).await;

    let _operator = platform.operator();

    // The index cannot be unique then. Everything else works.
    platform.until_started("shop").await;
    for console in ["one", "two"] {
        let message = platform.until_answered(GATEWAYS, doc! { "console": console }, "DuplicateGatewayId").await;
        assert!(message.contains("twin"), "{message}");
    }
    platform.gateways().delete_one(doc! { "console": "two" }).await.unwrap();
    platform.until_started("twin").await;
    platform.until_accepted("twin").await;

    // Once a document has recorded the object, another document cannot stop it.
    let mut late = ancestor("twin");
    late.extend(doc! { "console": "late", "state": "Deleted" });
    platform.insert(late).await;
    let message = platform.until_answered(GATEWAYS, doc! { "console": "late" }, "DuplicateGatewayId").await;
    assert!(message.contains("another document with gatewayId"), "{message}");
    let scaled = doc! { "$set": { "spec": { "replicas": 2 } } };
    platform.gateways().update_one(doc! { "console": "one" }, scaled).await.unwrap();
    platform.world.until("twin", "scaled", |object: &ApiGateway| object.spec.replicas == Some(2)).await;
}

#[tokio::test]
async fn an_id_is_unique_in_the_collection_and_a_name_in_a_gateway() {
    let platform = Platform::new("indexes").await;
    // The operator uses an index that the platform already has.
    let unique = IndexOptions::builder().unique(true).build();
    let index = IndexModel::builder().keys(doc! { "gatewayId": 1 }).options(unique).build();
    platform.gateways().create_index(index).await.unwrap();
    for _ in 0..2 {
        let mut operator = platform.operator();
        let id = format!("gw-{}", platform.gateways().count_documents(doc! {}).await.unwrap());
        platform.insert(ancestor(&id)).await;
        platform.until_started(&id).await;
        operator.kill();
    }

    assert!(platform.gateways().insert_one(ancestor("gw-0")).await.is_err());
    platform.environments().insert_one(environment("gw-0", "dev")).await.unwrap();
    assert!(platform.environments().insert_one(environment("gw-0", "dev")).await.is_err());
    platform.environments().insert_one(environment("gw-1", "dev")).await.unwrap();
}

#[tokio::test]
async fn a_namespace_that_is_missing_is_waited_for_and_is_no_fault_of_the_document() {
    let platform = Platform::new("later").await;
    let later = format!("{}-later", platform.world.namespace);
    let both = format!("{},{later}", platform.world.namespace);
    let _operator = platform.operator_with(&["--namespaces", &both, "--gateway-allowed-namespaces", &both]);
    let mut early = ancestor("early");
    early.insert("namespace", &later);
    platform.insert(early.clone()).await;
    platform.insert(ancestor("shop")).await;
    platform.until_started("shop").await;
    let document = platform.document("early").await;
    assert!(!document.contains_key("error") && !document.contains_key("uid"), "{document}");

    let namespaces: Api<Namespace> = Api::all(platform.world.client.clone());
    let labels = [(harness::cluster::RUN_LABEL.to_owned(), harness::cluster::run_id())].into();
    let metadata = ObjectMeta { name: Some(later.clone()), labels: Some(labels), ..ObjectMeta::default() };
    let namespace = Namespace { metadata, ..Namespace::default() };
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();

    let document = platform.until_said("early", "Started", "Running").await;
    assert_eq!(text(&document, "namespace"), later);
    namespaces.delete(&later, &DeleteParams::default()).await.unwrap();
}

#[tokio::test]
async fn an_image_that_nobody_names_is_asked_for() {
    let platform = Platform::new("no-image").await;
    let _operator = platform.operator_with(&["--gateway-image", ""]);

    refused(&platform, "shop", doc! {}, "NoImage", &["spec.image", "--gateway-image"]).await;

    accepted(&platform, "shop", doc! { "$set": { "spec": { "image": "acme/gateway:1" } } }).await;
    platform.insert(asking("till", doc! { "image": "acme/gateway:1" })).await;
    platform.until_started("till").await;
}
