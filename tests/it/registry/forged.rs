//! Forged or malformed documents and objects change no other tenant's gateway and do not block the operator, which
//! reports them.

use kube::api::DeleteParams;
use mongodb::IndexModel;
use mongodb::bson::{Bson, DateTime, Document, Regex, doc};
use mongodb::options::IndexOptions;
use phasegate::api::{ApiGateway, Environment};
use serde_json::{Value, json};

use super::{ENVIRONMENTS, GATEWAYS, Platform, ancestor, answer, text, whole};
use crate::harness::{World, gateway};

/// A gateway's document with these fields in addition to, or instead of, the usual ones.
fn with(id: &str, more: Document) -> Document {
    let mut document = ancestor(id);
    document.extend(more);
    document
}

/// The parts of an object that no other client may change.
fn kept(object: &ApiGateway) -> (Option<String>, Option<i64>, Value, i64) {
    let spec = serde_json::to_value(&object.spec).unwrap();
    (object.metadata.uid.clone(), object.metadata.generation, spec, object.status.as_ref().unwrap().transitions)
}

/// Documents that the operator answers with an error, each with its reason and a part of the message.
fn refused(platform: &Platform, bank: &str, elsewhere: &str) -> Vec<(Document, &'static str, &'static str)> {
    let long = "x".repeat(2_000_000);
    let deep = (0..50).fold(Bson::Null, |inner, _| doc! { "a": inner }.into());
    let regex =
        || Bson::RegularExpression(Regex { pattern: ".*".try_into().unwrap(), options: "".try_into().unwrap() });
    let mut rows = vec![
        // Other types in place of a string or a time.
        (with("state-list", doc! { "state": ["Running"] }), "UndecodableDocument", "state"),
        (with("state-regex", doc! { "state": regex() }), "UndecodableDocument", "state"),
        (with("when-regex", doc! { "state": "Sleeping", "updatedAt": regex() }), "UnknownState", "Sleeping"),
        (
            with("when-object", doc! { "state": "Sleeping", "updatedAt": { "any": ["thing"] } }),
            "UnknownState",
            "Sleeping",
        ),
        (
            with("when-code", doc! { "state": "Sleeping", "updatedAt": Bson::JavaScriptCode("1".into()) }),
            "UnknownState",
            "",
        ),
        (with("id", doc! { "gatewayId": regex() }), "UndecodableDocument", "gatewayId must be a string"),
        (with("id", doc! { "gatewayId": { "a": 1 } }), "UndecodableDocument", "gatewayId must be a string"),
        (with("id", doc! { "gatewayId": Bson::Null }), "UndecodableDocument", "gatewayId must be a string"),
        (with(&"g".repeat(300), doc! {}), "UndecodableDocument", "1 to 253 characters"),
        // Fields that the operator owns.
        (with("by", doc! { "by": 5 }), "UndecodableDocument", "by has an invalid type"),
        (with("seq", doc! { "seq": "9" }), "UndecodableDocument", "seq has an invalid type"),
        (with("uid", doc! { "uid": ["a"] }), "UndecodableDocument", "uid has an invalid type"),
        (with("recorded", doc! { "recordedAt": "now" }), "UndecodableDocument", "recordedAt has an invalid type"),
        // Values that no object can have.
        (with("large-spec", doc! { "spec": { "args": [&long] } }), "UndecodableDocument", "larger than 1024 KiB"),
        (with("large-state", doc! { "state": &long }), "UndecodableDocument", "larger than 1024 KiB"),
        (with("deep", doc! { "spec": deep }), "UndecodableDocument", "nested"),
        (
            with("number", doc! { "spec": { "replicas": f64::NAN } }),
            "UndecodableDocument",
            "spec.replicas is not a JSON number",
        ),
        (with("dots", doc! { "spec": { "a.b": 1 } }), "ObjectRefused", "a.b"),
        // Names and uids of objects with another owner, and namespaces that are not allowed.
        (with("thief", doc! { "name": "bank" }), "ObjectTaken", "bank"),
        (with("thief-uid", doc! { "name": "bank", "uid": bank, "seq": 99_i64 }), "ObjectTaken", "bank"),
        (with("thief-own", doc! { "name": "own" }), "ObjectTaken", "kubectl"),
        (with("elsewhere", doc! { "namespace": elsewhere }), "NamespaceNotAllowed", "is not allowed"),
        (with("kube-system.coredns", doc! {}), "InvalidName", "contains a dot"),
        (with("path", doc! { "name": "../bank" }), "InvalidName", "../bank"),
    ];
    for (at, (document, ..)) in rows.iter_mut().enumerate() {
        document.insert("_id", format!("{}-{at}", platform.world.namespace));
    }
    rows
}

#[tokio::test]
async fn documents_that_are_forged_are_told_and_touch_nobody_elses_gateway() {
    let platform = Platform::new("forged").await;
    let world = &platform.world;
    let elsewhere = World::new("forged-else").await;
    let _operator = platform.operator();
    platform.insert(ancestor("bank")).await;
    platform.insert_environments("bank", &["dev"]).await;
    world.apply(&gateway("own", json!({ "image": "acme/gateway:1" }))).await;
    let (bank, _) = platform.until_started("bank").await;
    platform.until_environments("bank", "Active").await;
    let own = world.until_started("own").await;
    let mirror = format!("{}.own", world.namespace);
    platform.until_said(&mirror, "Started", "Running").await;
    let documents = [platform.document("bank").await, platform.document(&mirror).await];

    let rows = refused(&platform, bank.uid(), &elsewhere.namespace);
    for (document, ..) in &rows {
        platform.insert(document.clone()).await;
    }
    for (document, reason, word) in &rows {
        let id = document.get("_id").unwrap().clone();
        let message = platform.until_answered(GATEWAYS, doc! { "_id": id }, reason).await;
        assert!(message.contains(word), "{message:?} lacks {word:?}");
        assert!(message.len() < 1_000, "{} characters", message.len());
    }
    for (fields, word) in [
        (doc! { "name": { "a": 1 } }, "name"),
        (doc! { "name": "odd", "host": 7 }, "host"),
        (doc! { "name": "odder", "state": ["Active"] }, "state"),
    ] {
        let mut document = doc! { "gatewayId": "bank", "forged": word };
        document.extend(fields);
        platform.environments().insert_one(document).await.unwrap();
        let message = platform.until_answered(ENVIRONMENTS, doc! { "forged": word }, "UndecodableDocument").await;
        assert!(message.contains(word), "{message}");
    }
    // A document that requests the deletion of another owner's object is removed, and nothing else is.
    platform.insert(with("thief-deletes", doc! { "name": "bank", "uid": bank.uid(), "state": "Deleted" })).await;
    super::until_count(&platform.gateways(), || doc! { "gatewayId": "thief-deletes" }, 0).await;
    // Ids are unique, and a mirror's id is too.
    assert!(platform.gateways().insert_one(with(&mirror, doc! {})).await.is_err());

    // A document that claims to be the operator's own, or from another time, still requests what its state says.
    let by = doc! { "operator": "me", "seq": i64::MAX, "state": "Stopped", "updatedAt": DateTime::MAX, "specHash": "" };
    platform.insert(with("mute", doc! { "by": by })).await;
    platform.insert(with("future", doc! { "uid": "forged", "seq": i64::MAX, "recordedAt": DateTime::MAX })).await;
    let hours_ahead = DateTime::from_millis(DateTime::now().timestamp_millis() + 5 * 3_600_000);
    platform.insert(with("later", doc! { "uid": "forged", "seq": i64::MAX, "recordedAt": hours_ahead })).await;
    // The operator's answer replaces the faulty values.
    platform.insert(with("error", doc! { "error": 7 })).await;
    platform.insert(with("large", doc! { "error": "x".repeat(2_000_000) })).await;
    for id in ["mute", "future", "later", "error", "large"] {
        let (object, document) = platform.until_started(id).await;
        assert_eq!(text(&document, "uid"), object.uid());
        assert_eq!(whole(&document, "seq"), Some(object.status.unwrap().transitions));
    }
    assert_eq!(kept(&world.gateway("bank").await), kept(&bank));
    assert_eq!(kept(&world.gateway("own").await), kept(&own));
    assert_eq!([platform.document("bank").await, platform.document(&mirror).await], documents);
    assert_eq!(elsewhere.children().await, Vec::<String>::new());
}

/// MongoDB stores keys that begin with `$` since 5.0; the tests' own server may not.
#[tokio::test]
async fn operators_as_values_are_values() {
    let platform = Platform::new("operators").await;
    let _operator = platform.operator();
    let rows = [
        (with("state", doc! { "state": { "$ne": "x" } }), "UndecodableDocument"),
        (with("when", doc! { "state": "Sleeping", "updatedAt": { "$gt": "" } }), "UnknownState"),
        (with("never", doc! { "state": "Sleeping", "updatedAt": { "$exists": false } }), "UnknownState"),
        (with("no-operator", doc! { "state": "Sleeping", "updatedAt": { "$nonsense": 1 } }), "UnknownState"),
        (with("key", doc! { "spec": { "$where": "1" } }), "ObjectRefused"),
    ];
    let mut stored = Vec::new();
    for (document, reason) in rows {
        if platform.gateways().insert_one(document.clone()).await.is_ok() {
            stored.push((text(&document, "gatewayId").to_owned(), reason));
        }
    }
    platform.insert(ancestor("shop")).await;
    platform.until_started("shop").await;
    for (id, reason) in stored {
        platform.until_answered(GATEWAYS, doc! { "gatewayId": &id }, reason).await;
    }
}

/// A tenant's gateway with the operator's labels and annotations of a platform's gateway.
fn claiming(name: &str, id: &str) -> Value {
    let mut object = gateway(name, json!({ "image": "acme/gateway:1" }));
    object["metadata"]["labels"] = json!({ "phasegate.dev/registry": "mongodb" });
    object["metadata"]["annotations"] = json!({ "phasegate.dev/gateway-id": id, "phasegate.dev/intent": "Deleted::9" });
    object
}

#[tokio::test]
async fn objects_that_carry_a_documents_id_are_nobodys_and_theirs_goes_on() {
    let platform = Platform::new("claiming").await;
    let world = &platform.world;
    let tenant = World::new("claiming-else").await;
    let both = format!("{},{}", world.namespace, tenant.namespace);
    let _operator = platform.operator_with(&["--namespaces", &both]);
    platform.insert(ancestor("bank")).await;
    platform.insert_environments("bank", &["dev"]).await;
    let (bank, _) = platform.until_started("bank").await;
    platform.until_environments("bank", "Active").await;
    let before = platform.document("bank").await;

    for number in 0..5 {
        tenant.apply(&claiming(&format!("copy-{number}"), "bank")).await;
    }
    let long = "b".repeat(100_000);
    tenant.apply(&claiming("long", &long)).await;
    let environment = json!({
        "metadata": {
            "name": "bank-dev", "labels": { "phasegate.dev/registry": "mongodb" }, "annotations": { "phasegate.dev/gateway-id": "bank" },
        },
        "spec": { "gatewayRef": { "name": "copy-0" } },
    });
    tenant.create::<Environment>(environment).await;
    for name in ["copy-0", "copy-4", "long"] {
        tenant.until_started(name).await;
    }
    // An id that no document can have is ignored: the gateway belongs to its author, and is mirrored as such.
    platform.until_said(&format!("{}.long", tenant.namespace), "Started", "Running").await;

    // A write by the platform changes only the platform's own object.
    platform.write("bank", doc! { "spec": { "replicas": 2 } }).await;
    let scaled = |object: &ApiGateway| object.spec.replicas == Some(2);
    world.until("bank", "scaled", scaled).await;
    for number in 0..5 {
        let copy = tenant.gateway(&format!("copy-{number}")).await;
        assert_eq!((copy.spec.replicas, copy.metadata.generation), (Some(1), Some(1)));
    }
    let claimed: Environment = tenant.api().get("bank-dev").await.unwrap();
    assert_eq!(claimed.spec.gateway_ref.name, "copy-0");

    tenant.api::<ApiGateway>().delete("copy-0", &DeleteParams::default()).await.unwrap();
    tenant.until_gone::<ApiGateway>("copy-0").await;
    platform.until_started("bank").await;
    let after = platform.document("bank").await;
    assert_eq!(text(&after, "uid"), bank.uid());
    assert_eq!(text(&after, "uid"), text(&before, "uid"));
    assert_eq!(answer(&after), (String::new(), String::new()));
    platform.until_environments("bank", "Active").await;

    // A deletion by the platform deletes only the platform's own object.
    platform.write("bank", doc! { "state": "Deleted" }).await;
    platform.until_forgotten("bank").await;
    world.until_gone::<ApiGateway>("bank").await;
    tenant.until_started("copy-4").await;
    let left: Environment = tenant.api().get("bank-dev").await.unwrap();
    assert_eq!(left.metadata.deletion_timestamp, None);
}

/// A unique index of the platform rejects a second document with the same answer.
#[tokio::test]
async fn a_document_that_cannot_be_answered_holds_up_no_other() {
    let platform = Platform::new("unanswered").await;
    let options = IndexOptions::builder().unique(true).sparse(true).build();
    let index = IndexModel::builder().keys(doc! { "error.reason": 1 }).options(options).build();
    platform.gateways().create_index(index).await.unwrap();
    // No document belongs to a gateway. The operator handles all of them together, the environment's document last.
    for id in ["a", "b", "c"] {
        platform.insert(doc! { "_id": id, "state": "Running" }).await;
    }
    platform.environments().insert_one(doc! { "_id": "e", "name": "dev" }).await.unwrap();
    let _operator = platform.operator();

    platform.until_answered(ENVIRONMENTS, doc! { "_id": "e" }, "UndecodableDocument").await;
    let answered = doc! { "error.reason": "UndecodableDocument" };
    assert_eq!(platform.gateways().count_documents(answered).await.unwrap(), 1);
    platform.insert(ancestor("shop")).await;
    platform.until_started("shop").await;
}
