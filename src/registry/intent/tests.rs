#![allow(clippy::unwrap_used, clippy::panic)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use mongodb::bson::DateTime;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::errors::UNDECODABLE;
use super::*;
use crate::api::{GATEWAY_ID_ANNOTATION, REGISTRY_FINALIZER, REGISTRY_LABEL, RESTART_ANNOTATION, RETRY_ANNOTATION};
use crate::registry::document::{OperatorMark, StoredDocument};

fn defaults() -> Defaults {
    Defaults {
        namespace: "tenants".to_owned(),
        allowed: vec!["tenants".to_owned(), "others".to_owned()],
        image: Some("acme/gateway:1".to_owned()),
        port: Some(9000),
        domain: Some("example.com".to_owned()),
        operator: "me".to_owned(),
    }
}

fn asks(more: Document) -> Document {
    let mut document = doc! { "_id": 1, "gatewayId": "g1", "state": "Running", "updatedAt": DateTime::from_millis(7) };
    document.extend(more);
    document
}

fn but(mut document: Document, more: Document) -> Document {
    document.extend(more);
    document
}

fn environment(name: &str, more: Document) -> Document {
    let mut document = doc! { "_id": format!("e-{name}"), "gatewayId": "g1", "name": name, "state": "Inactive" };
    document.extend(more);
    document
}

fn known(gateways: Vec<Document>, environments: Vec<Document>) -> Documents {
    Documents {
        gateways: gateways.into_iter().map(GatewayDocument::read).collect(),
        environments: environments.into_iter().map(EnvironmentDocument::read).collect(),
    }
}

fn decide_all(documents: &Documents, objects: &Objects) -> Vec<Action> {
    decide("g1", documents, objects, &defaults())
}

fn one(document: Document, objects: &Objects) -> Vec<Action> {
    decide_all(&known(vec![document], Vec::new()), objects)
}

fn nothing() -> Objects {
    Objects::default()
}

/// What the API server makes of an object that is applied.
fn made<K: DeserializeOwned>(apply: &Apply) -> K {
    let mut object = apply.object.clone();
    object["metadata"]["uid"] = json!("uid-1");
    serde_json::from_value(object).unwrap()
}

fn applied(actions: &[Action]) -> &Apply {
    match actions {
        [Action::Apply(apply)] => apply,
        other => panic!("{other:?}"),
    }
}

/// The gateway that a document asks for, as it is once it was applied.
fn gateway(document: Document) -> ApiGateway {
    made(applied(&one(document, &nothing())))
}

fn with(gateway: ApiGateway) -> Objects {
    Objects { gateways: vec![gateway], ..Objects::default() }
}

fn refused(actions: &[Action]) -> (&str, &str) {
    match actions {
        [Action::SetError(ErrorUpdate { answer: Some(answer), .. })] => (&answer.reason, &answer.message),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_ancestors_document_becomes_a_gateway_with_the_operators_defaults() {
    let actions = one(asks(doc! { "phase": "Created", "lockedAt": null }), &nothing());
    let Apply { place, object, exists, .. } = applied(&actions);
    assert_eq!((place, exists), (&ObjectKey::new("tenants", "g1"), &false));
    let spec = json!({ "image": "acme/gateway:1", "port": 9000, "host": "g1.example.com", "state": "Running" });
    assert_eq!(object["spec"], spec);
    assert_eq!(object["metadata"]["labels"], json!({ REGISTRY_LABEL: "mongodb" }));
    assert_eq!(object["metadata"]["finalizers"], json!([REGISTRY_FINALIZER]));
    assert_eq!(object["metadata"]["annotations"][GATEWAY_ID_ANNOTATION], "g1");
}

#[test]
fn a_documents_own_fields_come_before_the_defaults() {
    let spec = doc! { "image": "b:2", "port": 80.0, "host": "own.example.com", "replicas": 3 };
    let actions = one(asks(doc! { "namespace": "others", "name": "shop", "spec": spec }), &nothing());
    let Apply { place, object, .. } = applied(&actions);
    assert_eq!(place, &ObjectKey::new("others", "shop"));
    let expected = json!({ "image": "b:2", "port": 80, "host": "own.example.com", "replicas": 3, "state": "Running" });
    assert_eq!(object["spec"], expected);
}

#[test]
fn what_is_there_already_is_not_applied_again() {
    for state in ["Running", "Stopped", "Restarting"] {
        let document = asks(doc! { "state": state, "spec": { "replicas": 2, "suspend": false, "env": [] } });
        assert_eq!(one(document.clone(), &with(gateway(document))), [], "{state}");
    }
}

#[test]
fn what_others_added_beside_it_is_theirs() {
    let document = asks(doc! { "spec": { "env": [{ "name": "A", "value": "1" }] } });
    let mut found = gateway(document.clone());
    found.spec.env.push(serde_json::from_value(json!({ "name": "B", "value": "2" })).unwrap());
    found.spec.replicas = Some(5);
    found.metadata.labels.as_mut().unwrap().insert("team".to_owned(), "a".to_owned());
    assert_eq!(one(document, &with(found)), []);
}

#[test]
fn an_edit_of_the_platforms_fields_is_reverted_and_said() {
    let document = asks(doc! {});
    let mut found = gateway(document.clone());
    found.spec.image = "evil:1".to_owned();
    let actions = one(document.clone(), &with(found));
    assert_eq!(applied(&actions).reverts.as_deref(), Some("/spec/image"));
    let mut found = gateway(document.clone());
    found.spec.state = crate::api::DesiredState::Stopped;
    assert_eq!(applied(&one(document, &with(found))).reverts.as_deref(), Some("/spec/state"));
}

#[test]
fn a_new_request_of_the_platform_is_no_revert_and_carries_new_annotations() {
    let found = gateway(asks(doc! {}));
    let actions = one(asks(doc! { "spec": { "image": "b:2" } }), &with(found.clone()));
    let Apply { reverts, object, exists, .. } = applied(&actions);
    assert_eq!((reverts, exists), (&None, &true));
    let retry = object["metadata"]["annotations"][RETRY_ANNOTATION].as_str().unwrap();
    assert_ne!(Some(retry), found.annotation(RETRY_ANNOTATION));
    assert_eq!(object["metadata"]["uid"], "uid-1", "an object that was made anew meanwhile is not written to");
}

/// The document after the operator wrote `state` into it.
fn our_word(state: &str) -> Document {
    let at = DateTime::from_millis(50);
    let by = OperatorMark {
        operator: "me".to_owned(),
        seq: 4,
        state: state.to_owned(),
        updated_at: at.into(),
        spec_hash: GatewayDocument::read(asks(doc! {})).unwrap().spec_hash(),
    };
    asks(doc! { "state": state, "updatedAt": at, "by": Bson::from(&by) })
}

#[test]
fn a_timeout_that_the_operator_told_changes_nothing() {
    assert_eq!(one(our_word("Stopped"), &with(gateway(asks(doc! {})))), []);
}

#[test]
fn a_request_that_was_edited_into_nonsense_under_the_operators_word_is_restored() {
    let before = gateway(asks(doc! {}));
    for nonsense in ["other", "", "Running", "Resting:44136fa355b3678a:-"] {
        let mut found = before.clone();
        found.metadata.annotations.as_mut().unwrap().insert(INTENT_ANNOTATION.to_owned(), nonsense.to_owned());
        let actions = one(our_word("Running"), &with(found.clone()));
        let object = &applied(&actions).object;
        assert_eq!(object["metadata"]["annotations"][INTENT_ANNOTATION].as_str(), before.annotation(INTENT_ANNOTATION));
        assert_eq!(object["spec"]["state"], "Running", "{nonsense}");

        found.metadata.annotations.as_mut().unwrap().remove(RETRY_ANNOTATION);
        let actions = one(our_word("Stopped"), &with(found));
        assert_eq!(applied(&actions).object["spec"]["state"], "Stopped", "the document is what is left: {nonsense}");
    }
}

#[test]
fn running_after_a_timeout_is_a_retry_and_stopped_a_stop() {
    let found = gateway(asks(doc! {}));
    let mut again = our_word("Stopped");
    again.insert("state", "Running");
    let actions = one(again, &with(found.clone()));
    let annotations = &applied(&actions).object["metadata"]["annotations"];
    assert_ne!(annotations[RETRY_ANNOTATION].as_str(), found.annotation(RETRY_ANNOTATION));
    let mut stop = our_word("Stopped");
    stop.insert("updatedAt", DateTime::from_millis(60));
    assert_eq!(applied(&one(stop, &with(found))).object["spec"]["state"], "Stopped");
}

#[test]
fn a_second_restart_is_asked_by_the_annotation() {
    let first = asks(doc! { "state": "Restarting" });
    let found = gateway(first);
    let mut second = our_word("Running");
    second.insert("state", "Restarting");
    let actions = one(second, &with(found.clone()));
    let annotations = &applied(&actions).object["metadata"]["annotations"];
    assert_ne!(annotations[RESTART_ANNOTATION].as_str(), found.annotation(RESTART_ANNOTATION));
}

#[test]
fn a_gateway_that_was_deleted_comes_back_as_the_document_says_and_not_before_it_is_gone() {
    let mut going = gateway(asks(doc! {}));
    going.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    assert_eq!(one(asks(doc! {}), &with(going)), []);
    assert_eq!(applied(&one(our_word("Stopped"), &nothing())).object["spec"]["state"], "Stopped");
}

#[test]
fn deleted_deletes_the_object_and_then_the_documents() {
    let deleted = asks(doc! { "state": "Deleted" });
    let documents = known(vec![deleted.clone()], vec![environment("dev", doc! {})]);
    let found = gateway(asks(doc! {}));
    let place = ObjectKey::new("tenants", "g1");
    assert_eq!(decide_all(&documents, &with(found.clone())), [Action::DeleteGateway(place)]);
    let mut going = found;
    going.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    assert_eq!(decide_all(&documents, &with(going)), []);
    let removed = [
        Action::Remove(Collection::Environments, doc! { "_id": { "$in": ["e-dev"] } }),
        Action::Remove(Collection::Gateways, doc! { "_id": { "$eq": 1 }, "state": "Deleted" }),
    ];
    assert_eq!(decide_all(&documents, &nothing()), removed);
}

#[test]
fn a_missing_document_deletes_nothing() {
    assert_eq!(decide_all(&Documents::default(), &with(gateway(asks(doc! {})))), []);
}

#[test]
fn what_cannot_be_followed_is_answered_in_the_document() {
    for (document, reason, words) in [
        (asks(doc! { "state": "Sleeping" }), "UnknownState", "Sleeping"),
        (asks(doc! { "state": null }), "UnknownState", "Running"),
        (
            asks(doc! { "spec": { "resources": { "limits": { "memory": "1e9999999" } } } }),
            "UnfitSpec",
            "spec.resources.limits.memory: invalid value \"1e9999999\"",
        ),
        (asks(doc! { "namespace": "kube-system" }), "NamespaceNotAllowed", "kube-system"),
        (asks(doc! { "name": "Shop_1" }), "InvalidName", "Shop_1"),
        (asks(doc! { "name": "a".repeat(51) }), "InvalidName", "50"),
        (asks(doc! { "spec": "small" }), "UndecodableDocument", "spec has an invalid type"),
        (asks(doc! { "state": 7, "name": 1 }), "UndecodableDocument", "several fields"),
        (asks(doc! { "spec": { "env": [DateTime::from_millis(0)] } }), "UndecodableDocument", "spec.env[0]"),
    ] {
        let actions = one(document, &nothing());
        let (said, message) = refused(&actions);
        assert_eq!(said, reason);
        assert!(message.contains(words), "{message}");
        // It is about the document that was read, and says so once.
        let [Action::SetError(ErrorUpdate { filter, .. })] = actions.as_slice() else { unreachable!() };
        assert!(filter.contains_key("_id") && filter.contains_key("state") && filter.contains_key("updatedAt"));
    }
    let without = Defaults { image: None, ..defaults() };
    let actions = decide("g1", &known(vec![asks(doc! {})], Vec::new()), &nothing(), &without);
    assert_eq!(
        refused(&actions),
        ("NoImage", "spec.image is missing, and the operator has no default (--gateway-image)")
    );
}

#[test]
fn an_answer_is_given_once_and_taken_back_when_it_is_over() {
    let wrong = asks(doc! { "state": "Sleeping" });
    let actions = one(wrong.clone(), &nothing());
    let [Action::SetError(ErrorUpdate { answer, .. })] = actions.as_slice() else { panic!("{actions:?}") };
    let error = Bson::from(answer.as_ref().unwrap());
    let mut answered = wrong;
    answered.insert("error", error.clone());
    assert_eq!(one(answered, &nothing()), []);
    let mut mended = asks(doc! {});
    mended.insert("error", error);
    let actions = one(mended, &with(gateway(asks(doc! {}))));
    assert!(matches!(actions.as_slice(), [Action::SetError(ErrorUpdate { answer: None, .. })]), "{actions:?}");
    // What a transition told is not intake's.
    let failed = asks(doc! { "error": { "reason": "SlowStart", "message": "m" } });
    assert_eq!(one(failed, &with(gateway(asks(doc! {})))), []);
}

#[test]
fn an_object_of_somebody_else_is_not_taken() {
    let mut kubectls = gateway(asks(doc! {}));
    kubectls.metadata.labels = None;
    assert_eq!(refused(&one(asks(doc! {}), &with(kubectls))).0, "ObjectTaken");
    let mut anothers = gateway(asks(doc! {}));
    anothers.metadata.annotations.as_mut().unwrap().insert(GATEWAY_ID_ANNOTATION.to_owned(), "g2".to_owned());
    let actions = one(asks(doc! {}), &with(anothers));
    assert_eq!(refused(&actions).0, "ObjectTaken");
    assert!(refused(&actions).1.contains("g2"));
}

#[test]
fn several_documents_of_one_gateway_are_each_answered_and_none_is_followed() {
    let documents = known(vec![asks(doc! {}), asks(doc! { "_id": 2 })], Vec::new());
    let actions = decide_all(&documents, &nothing());
    assert_eq!(actions.len(), 2);
    for action in actions {
        assert!(
            matches!(&action, Action::SetError(ErrorUpdate { answer: Some(answer), .. }) if answer.reason == DUPLICATE)
        );
    }
}

#[test]
fn a_second_document_does_not_stop_the_one_that_records_the_object() {
    let own = asks(doc! { "uid": "uid-1" });
    let found = || with(gateway(asks(doc! {})));
    let unreadable = doc! { "_id": 2, "gatewayId": "g1", "state": 7 };
    for second in [doc! {}, doc! { "state": "Deleted" }, doc! { "state": "Stopped" }, doc! { "uid": "uid-9" }] {
        let second = but(asks(second), doc! { "_id": 2 });
        let actions = decide_all(&known(vec![second.clone(), own.clone()], Vec::new()), &found());
        let (reason, message) = refused(&actions);
        assert!(reason == DUPLICATE && message.contains("another document with gatewayId"), "{message}");
        assert!(
            matches!(&actions[..], [Action::SetError(ErrorUpdate { filter, .. })] if filter.get("_id") == Some(&is(2))),
            "{actions:?}"
        );
        // And what the first asks is done.
        let asks_more = but(own.clone(), doc! { "spec": { "replicas": 2 } });
        let actions = decide_all(&known(vec![second, asks_more], Vec::new()), &found());
        assert!(matches!(&actions[..], [Action::Apply(_), Action::SetError(_)]), "{actions:?}");
    }
    let actions = decide_all(&known(vec![own.clone(), unreadable], Vec::new()), &found());
    assert!(refused(&actions).0 == UNDECODABLE, "{actions:?}");
    // Who both record it, or none, are not told apart.
    let copy = but(own.clone(), doc! { "_id": 2 });
    for pair in [[own, copy], [asks(doc! {}), asks(doc! { "_id": 2 })]] {
        let actions = decide_all(&known(pair.to_vec(), Vec::new()), &found());
        assert!(
            actions.len() == 2 && actions.iter().all(|action| matches!(action, Action::SetError(_))),
            "{actions:?}"
        );
    }
}

#[test]
fn a_document_that_moves_its_gateway_moves_it() {
    let mut before = gateway(asks(doc! {}));
    before.metadata.uid = Some("uid-9".to_owned());
    let moved = asks(doc! { "name": "other", "uid": "uid-9" });
    let actions = one(moved, &with(before.clone()));
    assert!(matches!(&actions[..], [Action::DeleteGateway(_), Action::Apply(_)]), "{actions:?}");
    // Somebody who copied the id has nothing to do with it.
    let actions = one(asks(doc! { "name": "other" }), &with(before));
    assert!(matches!(&actions[..], [Action::Apply(_)]), "{actions:?}");
}

// Environments.

fn served(environments: Vec<Document>, more: Vec<Environment>) -> Vec<Action> {
    let mut objects = with(gateway(asks(doc! {})));
    objects.environments = more;
    decide_all(&known(vec![asks(doc! {})], environments), &objects)
}

#[test]
fn environments_follow_their_gateway_and_go_with_it() {
    let actions = one(asks(doc! {}), &nothing());
    assert_eq!(applied(&actions).collection, Collection::Gateways, "the gateway comes first");
    let actions = served(vec![environment("dev", doc! {})], Vec::new());
    let Apply { collection, place, object, .. } = applied(&actions);
    assert_eq!((collection, place.name.as_str()), (&Collection::Environments, "g1-dev"));
    assert_eq!(object["spec"], json!({ "gatewayRef": { "name": "g1" }, "host": "g1-dev.example.com" }));
    assert_eq!(object["metadata"]["ownerReferences"][0]["uid"], "uid-1");
    assert_eq!(served(vec![environment("dev", doc! {})], vec![made(applied(&actions))]), []);
}

#[test]
fn a_host_that_changes_is_followed_and_an_edit_reverted() {
    let dev: Environment = made(applied(&served(vec![environment("dev", doc! {})], Vec::new())));
    let moved = environment("dev", doc! { "host": "dev.example.org" });
    let actions = served(vec![moved], vec![dev.clone()]);
    assert_eq!(
        (applied(&actions).object["spec"]["host"].as_str(), &applied(&actions).reverts),
        (Some("dev.example.org"), &None)
    );
    let mut edited = dev;
    edited.spec.host = Some("evil.example.com".to_owned());
    let actions = served(vec![environment("dev", doc! {})], vec![edited]);
    assert_eq!(applied(&actions).reverts.as_deref(), Some("/spec/host"));
}

#[test]
fn environments_that_cannot_be_are_answered_and_block_no_other() {
    let actions = served(
        vec![
            environment("Dev", doc! {}),
            environment("dev", doc! {}),
            environment("twice", doc! {}),
            environment("twice", doc! { "_id": "another" }),
            environment("odd", doc! { "host": 7 }),
        ],
        Vec::new(),
    );
    let reasons: Vec<&str> = actions
        .iter()
        .filter_map(|action| match action {
            Action::SetError(ErrorUpdate { answer: Some(answer), .. }) => Some(answer.reason.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(reasons, [UNDECODABLE, INVALID_NAME, DUPLICATE, DUPLICATE]);
    assert_eq!(actions.iter().filter(|action| matches!(action, Action::Apply(_))).count(), 1);
}

#[test]
fn an_environment_that_is_deleted_goes_and_then_its_document() {
    let dev: Environment = made(applied(&served(vec![environment("dev", doc! {})], Vec::new())));
    let deleted = || environment("dev", doc! { "state": "Deleted" });
    let place = ObjectKey::new("tenants", "g1-dev");
    assert_eq!(served(vec![deleted()], vec![dev]), [Action::DeleteEnvironment(place)]);
    let removed = Action::Remove(Collection::Environments, doc! { "_id": { "$eq": "e-dev" }, "state": "Deleted" });
    assert_eq!(served(vec![deleted()], Vec::new()), [removed]);
}

// Mirrors.

fn mirror(more: Document) -> Document {
    let mut document = asks(doc! { "gatewayId": "tenants.shop" });
    document.extend(more);
    document
}

fn about_mirror(document: Document, objects: &Objects) -> Vec<Action> {
    decide("tenants.shop", &known(vec![document], Vec::new()), objects, &defaults())
}

fn shop() -> ApiGateway {
    let mut shop = gateway(asks(doc! { "name": "shop" }));
    shop.metadata.labels = None;
    shop
}

#[test]
fn a_mirror_is_its_gateways_to_look_at() {
    let place = ObjectKey::new("tenants", "shop");
    assert_eq!(about_mirror(mirror(doc! { "uid": "u" }), &with(shop())), [Action::Requeue(place.clone())]);
    let missing = decide("tenants.shop", &Documents::default(), &with(shop()), &defaults());
    assert_eq!(missing, [Action::Requeue(place)], "one that was removed is recorded again");
}

#[test]
fn a_mirror_whose_gateway_is_gone_is_removed_where_that_can_be_said() {
    let recorded = mirror(doc! { "uid": "u" });
    let removed = [Action::Remove(Collection::Gateways, doc! { "_id": { "$eq": 1 }, "uid": { "$eq": "u" } })];
    assert_eq!(about_mirror(recorded.clone(), &nothing()), removed);
    let elsewhere = Objects { watched: Some(vec!["others".to_owned()]), ..Objects::default() };
    assert_eq!(about_mirror(recorded, &elsewhere), []);
}

#[test]
fn an_id_with_a_dot_is_no_platforms() {
    let actions = about_mirror(mirror(doc! {}), &nothing());
    assert_eq!(refused(&actions).0, "InvalidName");
    let actions =
        decide("a.b.c", &known(vec![asks(doc! { "gatewayId": "a.b.c" })], Vec::new()), &nothing(), &defaults());
    assert_eq!(refused(&actions).0, "InvalidName");
}

#[test]
fn a_document_without_an_id_is_answered() {
    let actions = decide("", &known(vec![asks(doc! { "gatewayId": 7 })], Vec::new()), &nothing(), &defaults());
    assert_eq!(refused(&actions).0, "UndecodableDocument");
}

const HOSTILE: &str = "evil\u{1b}]52;c;eA==\u{7}\u{9b}31m\u{202e}\u{200b}\r\nwords";

#[test]
fn whatever_documents_say_is_answered_on_a_line_with_room_for_what_to_do() {
    let long = format!("{HOSTILE} {}", "a".repeat(2_000));
    let id = format!("{HOSTILE} {}", "a".repeat(100));
    let dotted = format!("{id}.x");
    let named = |id: &str, more: Document| but(asks(doc! { "gatewayId": id }), more);
    let about = |id: &str, gateways: Vec<Document>| decide(id, &known(gateways, Vec::new()), &nothing(), &defaults());
    let of_environments =
        |documents: Vec<Document>| decide_all(&known(vec![asks(doc! {})], documents), &with(gateway(asks(doc! {}))));
    let mut anothers = gateway(asks(doc! {}));
    anothers.metadata.annotations.as_mut().unwrap().insert(GATEWAY_ID_ANNOTATION.to_owned(), format!("{id}2"));
    let mut own = gateway(asks(doc! {}));
    own.metadata.annotations.as_mut().unwrap().insert(GATEWAY_ID_ANNOTATION.to_owned(), id.clone());
    let pair = || vec![named(&id, doc! { "uid": "uid-1" }), named(&id, doc! { "_id": 2 })];
    let mut key = Document::new();
    key.insert(long.clone(), f64::NAN);
    let mut limits = Document::new();
    limits.insert(long.clone(), "1e9999999");
    for (reason, actions) in [
        ("UnknownState", one(asks(doc! { "state": &long }), &nothing())),
        ("InvalidName", one(asks(doc! { "name": &long }), &nothing())),
        ("InvalidName", about(&id, vec![named(&id, doc! {})])),
        ("InvalidName", about(&dotted, vec![named(&dotted, doc! {})])),
        ("NamespaceNotAllowed", one(asks(doc! { "namespace": &long }), &nothing())),
        ("UndecodableDocument", one(asks(doc! { "spec": key }), &nothing())),
        ("UnfitSpec", one(asks(doc! { "spec": { "resources": { "limits": limits } } }), &nothing())),
        ("ObjectTaken", one(asks(doc! {}), &with(anothers))),
        ("DuplicateGatewayId", about(&id, pair())),
        ("DuplicateGatewayId", decide(&id, &known(pair(), Vec::new()), &with(own), &defaults())),
        ("InvalidName", of_environments(vec![environment(&long, doc! { "_id": 7 })])),
        ("DuplicateGatewayId", of_environments([7, 8].map(|id| environment(&long, doc! { "_id": id })).to_vec())),
    ] {
        let answers = actions.iter().filter_map(|action| match action {
            Action::SetError(ErrorUpdate { answer: Some(answer), .. }) if answer.reason == reason => Some(answer),
            _ => None,
        });
        let answers: Vec<&str> = answers.map(|answer| answer.message.as_str()).collect();
        assert!(!answers.is_empty(), "{reason}: {actions:?}");
        for answer in answers {
            assert!(answer.contains("evil]52;c;"), "{reason}: {answer:?}");
            assert!(!answer.contains(crate::shown::is_hidden), "{reason}: {answer:?}");
            assert!(!answer.contains(&"a".repeat(301)), "{reason}: {answer}");
        }
    }
}
