#![allow(clippy::unwrap_used)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use k8s_openapi::jiff::Timestamp;
use mongodb::bson::{DateTime, doc};
use serde_json::json;

use super::fences::{reports, switches, takes_over};
use super::*;
use crate::api::{
    ApiGatewayStatus, Attempt, DesiredState, Failure, GATEWAY_ID_ANNOTATION, INTENT_ANNOTATION, Phase,
    REGISTRY_FINALIZER, REGISTRY_LABEL, REGISTRY_MONGODB, RETRY_ANNOTATION, Reason, State, Transition,
};
use crate::decide::requests;
use crate::registry::document::{ACTIVE, EnvironmentDocument, INACTIVE, Read, StoredDocument, is, moment, or_null};

const ID: &str = "g1";
const UID: &str = "uid-1";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_750_000_000 + second).unwrap()
}

fn defaults() -> Defaults {
    Defaults {
        namespace: "tenants".to_owned(),
        allowed: vec!["tenants".to_owned()],
        operator: "me".to_owned(),
        ..Defaults::default()
    }
}

/// A gateway of kubectl's, in a phase that was recorded as transition `seq`.
fn kubectls(phase: Phase, state: State, seq: i64) -> ApiGateway {
    let spec = serde_json::from_value(json!({ "image": "acme/gateway:1", "host": "shop.example.com" })).unwrap();
    let mut gateway = ApiGateway::new("shop", spec);
    gateway.metadata.namespace = Some("tenants".to_owned());
    gateway.metadata.uid = Some(UID.to_owned());
    gateway.metadata.creation_timestamp = Some(Time(at(0)));
    gateway.metadata.finalizers = Some(vec![REGISTRY_FINALIZER.to_owned()]);
    let handled = Some(requests::tokens(&gateway));
    gateway.status = Some(ApiGatewayStatus {
        phase: Some(phase.clone()),
        state: Some(state),
        transitions: seq,
        handled,
        attempt: Some(Attempt {
            number: 1,
            started_at: MicroTime(at(0)),
            held_seconds: 0,
            held_since: None,
            retries_left: None,
            others: crate::api::UnknownFields::new(),
        }),
        history: vec![Transition {
            at: MicroTime(at(1)),
            from: None,
            to: phase,
            state,
            reason: Reason::Started,
            message: "so far".to_owned(),
            seconds: 0,
            others: crate::api::UnknownFields::new(),
        }],
        ..ApiGatewayStatus::default()
    });
    gateway
}

/// The same, of the platform's, with the request of `document` taken in.
fn platforms(phase: Phase, state: State, seq: i64, document: &Document) -> ApiGateway {
    let mut gateway = kubectls(phase, state, seq);
    gateway.metadata.name = Some(ID.to_owned());
    gateway.metadata.labels = Some([(REGISTRY_LABEL.to_owned(), REGISTRY_MONGODB.to_owned())].into());
    let token = GatewayDocument::read(document.clone()).unwrap().token();
    let annotations = [(GATEWAY_ID_ANNOTATION, ID.to_owned()), (INTENT_ANNOTATION, token)];
    gateway.metadata.annotations = Some(annotations.map(|(key, value)| (key.to_owned(), value)).into());
    gateway
}

fn asks(state: &str) -> Document {
    doc! { "_id": 1, "gatewayId": ID, "state": state, "updatedAt": DateTime::from_millis(7) }
}

fn but(mut document: Document, more: Document) -> Document {
    document.extend(more);
    document
}

/// The platform's document, after transition `seq` was told.
fn told(state: &str, seq: i64) -> Document {
    but(asks(state), doc! { "uid": UID, "seq": seq, "recordedAt": moment(at(0)), "phase": "Starting" })
}

fn documents(gateways: Vec<Document>, environments: Vec<Document>) -> Documents {
    Documents {
        gateways: gateways.into_iter().map(GatewayDocument::read).collect(),
        environments: environments.into_iter().map(EnvironmentDocument::read).collect::<Vec<Read<_>>>(),
    }
}

fn environment(name: &str, state: &str, more: Document) -> Document {
    but(doc! { "_id": format!("e-{name}"), "gatewayId": ID, "name": name, "state": state }, more)
}

fn view(name: &str, active: bool) -> EnvironmentView {
    EnvironmentView { name: name.to_owned(), host: None, active }
}

fn facts(gateway: &ApiGateway, environments: &[EnvironmentView], documents: &Documents) -> RegistryFacts {
    Situation { gateway, environments, documents, defaults: &defaults() }.facts()
}

fn report(gateway: &ApiGateway, document: Document) -> Option<Write> {
    let documents = documents(vec![document], Vec::new());
    Situation { gateway, environments: &[], documents: &documents, defaults: &defaults() }.report(at(9))
}

fn text<'a>(document: &'a Document, field: &str) -> Option<&'a str> {
    document.get_str(field).ok()
}

fn set(write: &Write) -> &Document {
    write.update.get_document("$set").unwrap()
}

#[test]
fn a_report_is_fenced_by_the_object_and_by_the_number_of_its_transition() {
    let gateway = platforms(Phase::Started, State::Running, 5, &asks("Running"));
    let write = report(&gateway, told("Running", 4)).unwrap();
    assert_eq!(write.filter, doc! { "gatewayId": ID, "uid": UID, "seq": { "$lt": 5_i64 } });
    assert_eq!(
        write.update,
        doc! { "$set": { "seq": 5_i64, "phase": "Started", "reason": "Started", "attempt": 1_i64 } },
        "state, by and updatedAt are left as they are where state does not change"
    );
}

#[test]
fn what_was_told_is_not_told_again_and_nothing_is_told_backwards() {
    let gateway = platforms(Phase::Started, State::Running, 5, &asks("Running"));
    for seq in [5, 6] {
        assert_eq!(report(&gateway, told("Running", seq)), None);
        assert!(facts(&gateway, &[], &documents(vec![told("Running", seq)], Vec::new())).reported);
    }
    assert_eq!(report(&gateway, but(told("Running", 4), doc! { "uid": "another" })), None);
}

#[test]
fn a_timeout_turns_the_state_where_it_is_still_the_one_that_was_acted_on() {
    let mut gateway = platforms(Phase::Started, State::Stopped, 2, &asks("Running"));
    gateway.status.as_mut().unwrap().last_failure = Some(Failure {
        reason: Reason::ImagePullFailed,
        message: "image \"x\" cannot be pulled.".to_owned(),
        hint: "Check spec.image.".to_owned(),
        at: MicroTime(at(2)),
        attempt: 1,
        others: crate::api::UnknownFields::new(),
    });
    let write = report(&gateway, told("Running", 1)).unwrap();
    let updated = Bson::from(DateTime::from_millis(7));
    let fence = ["state", "updatedAt"].map(|field| write.filter.get(field).cloned());
    assert_eq!(fence, [Some(is("Running")), Some(is(updated))]);
    let set = set(&write);
    assert_eq!((text(set, "state"), text(set, "phase")), (Some("Stopped"), Some("Started")));
    let error = doc! { "reason": "ImagePullFailed", "message": "image \"x\" cannot be pulled. Check spec.image." };
    assert_eq!(set.get_document("error").ok(), Some(&error));
    // What is written is our own word afterwards.
    let after = GatewayDocument::read(but(told("Running", 1), set.clone())).unwrap();
    assert!(after.is_our_word() && after.by.as_ref().unwrap().seq == 2 && after.by.unwrap().operator == "me");
}

#[test]
fn the_platforms_word_stands_where_it_was_not_taken_in_yet() {
    let gateway = platforms(Phase::Started, State::Stopped, 2, &asks("Running"));
    let write = report(&gateway, but(told("Running", 1), doc! { "state": "Stopped", "spec": { "image": "b:2" } }));
    let set = set(&write.unwrap()).clone();
    assert_eq!((set.get("state"), set.get("by"), set.get("updatedAt")), (None, None, None));
    let write = report(&gateway, but(told("Running", 1), doc! { "spec": { "image": "b:2" } })).unwrap();
    assert_eq!(write.filter, reports(ID, UID, 2));
    assert!(!super::tests::set(&write).contains_key("state"));
}

#[test]
fn the_state_is_left_alone_while_the_object_asks_for_what_the_status_has_not_taken_up() {
    let silent = |gateway: &ApiGateway, state: &str, seq| {
        let write = report(gateway, told(state, seq)).unwrap();
        assert!(!set(&write).contains_key("state"), "{write:?}");
    };
    // A stop that was taken in, and a start that came before it.
    let mut gateway = platforms(Phase::Started, State::Running, 2, &asks("Stopped"));
    gateway.spec.state = DesiredState::Stopped;
    silent(&gateway, "Stopped", 1);
    // A retry that meets the timeout.
    let mut gateway = platforms(Phase::Started, State::Stopped, 2, &asks("Running"));
    gateway.metadata.annotations.as_mut().unwrap().insert(RETRY_ANNOTATION.to_owned(), "now".to_owned());
    silent(&gateway, "Restarting", 1);
    // A restart that is about to begin.
    let mut gateway = platforms(Phase::Started, State::Running, 2, &asks("Restarting"));
    gateway.spec.state = DesiredState::Restarting;
    silent(&gateway, "Restarting", 1);
}

#[test]
fn a_restart_ends_as_running() {
    let mut gateway = platforms(Phase::Started, State::Running, 4, &asks("Restarting"));
    gateway.spec.state = DesiredState::Restarting;
    let tokens = requests::tokens(&gateway);
    gateway.status.as_mut().unwrap().handled = Some(tokens);
    assert_eq!(text(set(&report(&gateway, told("Restarting", 3)).unwrap()), "state"), Some("Running"));
}

#[test]
fn an_answer_of_intakes_is_not_cleared_by_a_transition_and_a_failure_is() {
    let gateway = platforms(Phase::Started, State::Running, 5, &asks("Running"));
    let with = |reason: &str| but(told("Running", 4), doc! { "error": { "reason": reason, "message": "m" } });
    assert!(!report(&gateway, with("ObjectRefused")).unwrap().update.contains_key("$unset"));
    let unset = report(&gateway, with("SlowStart")).unwrap().update.get_document("$unset").unwrap().clone();
    assert_eq!(unset, doc! { "error": "" });
}

#[test]
fn a_record_is_of_nobody_or_of_an_object_that_was_not_created_later() {
    let (created, later) = (moment(at(0)), moment(at(600)));
    assert_eq!(
        takes_over(ID, UID, created, later),
        doc! {
            "gatewayId": ID,
            "$or": [
                { "uid": null },
                { "uid": UID, "seq": null },
                { "uid": { "$ne": UID }, "recordedAt": null },
                { "uid": { "$ne": UID }, "recordedAt": { "$lte": created } },
                { "uid": { "$ne": UID }, "recordedAt": { "$gt": later } },
            ],
        }
    );
    let gateway = platforms(Phase::Created, State::Running, 0, &asks("Running"));
    let known = documents(vec![asks("Running")], Vec::new());
    let write = Situation { gateway: &gateway, environments: &[], documents: &known, defaults: &defaults() };
    let write = write.take_over(at(0));
    assert_eq!(write.filter, takes_over(ID, UID, created, later));
    assert_eq!(
        set(&write),
        &doc! { "uid": UID, "seq": 0_i64, "recordedAt": created, "namespace": "tenants", "name": ID },
        "a record is no word in state"
    );
}

/// Nothing was created in the place of an object since that is there; what is recorded there nevertheless, somebody forged.
#[test]
fn what_records_another_that_cannot_be_is_taken_over() {
    let gateway = platforms(Phase::Created, State::Running, 0, &asks("Running"));
    let known = documents(vec![asks("Running")], Vec::new());
    let situation = Situation { gateway: &gateway, environments: &[], documents: &known, defaults: &defaults() };
    for (now, recorded, taken) in [
        // The cache may be behind the one that was created since.
        (60, 30, false),
        (60, 65, false),
        (60, 60 + 601, true),
        (60, 5 * 3_600, true),
        (3_600, 30, true),
        (3_600, 3_600 - 600, true),
        (3_600, 3_600 - 599, false),
        (3_600, 3_600 + 600, false),
    ] {
        let filter = situation.take_over(at(now)).filter;
        let bounds: Vec<&Document> = filter.get_array("$or").unwrap()[3..]
            .iter()
            .map(|way| way.as_document().unwrap().get_document("recordedAt").unwrap())
            .collect();
        let recorded_at = moment(at(recorded));
        let is_taken = recorded_at <= *bounds[0].get_datetime("$lte").unwrap()
            || recorded_at > *bounds[1].get_datetime("$gt").unwrap();
        assert_eq!(is_taken, taken, "at {now}, recorded at {recorded}");
    }
}

#[test]
fn a_new_object_is_recorded_and_nothing_of_it_is_told_before() {
    let gateway = platforms(Phase::Started, State::Running, 5, &asks("Running"));
    for document in [asks("Running"), but(told("Running", 9), doc! { "uid": "earlier" })] {
        let facts = facts(&gateway, &[], &documents(vec![document.clone()], Vec::new()));
        assert!(!facts.recorded && facts.reported, "{document:?}");
    }
}

#[test]
fn a_missing_document_of_the_platforms_asks_for_nothing() {
    let gateway = platforms(Phase::Started, State::Running, 5, &asks("Running"));
    let settled = RegistryFacts { external: true, ..RegistryFacts::settled() };
    assert_eq!(facts(&gateway, &[view("g1-dev", true)], &Documents::default()), settled);
}

#[test]
fn nobody_takes_a_document_over_by_copying_its_id() {
    let mut gateway = platforms(Phase::Started, State::Running, 5, &asks("Running"));
    gateway.metadata.namespace = Some("elsewhere".to_owned());
    let settled = RegistryFacts { external: true, ..RegistryFacts::settled() };
    assert_eq!(facts(&gateway, &[], &documents(vec![asks("Running")], Vec::new())), settled);
}

#[test]
fn documents_of_environments_follow_their_objects() {
    let gateway = platforms(Phase::Started, State::Running, 5, &asks("Running"));
    let views = [view("g1-dev", true), view("g1-prod", false)];
    let known = documents(
        vec![told("Running", 5)],
        vec![
            environment("dev", "Inactive", doc! {}),
            environment("prod", "Active", doc! { "uid": UID, "seq": 5_i64 }),
            environment("old", "Deleted", doc! {}),
            environment("new", "Inactive", doc! {}),
        ],
    );
    let situation = Situation { gateway: &gateway, environments: &views, documents: &known, defaults: &defaults() };
    assert!(situation.facts().to_activate && situation.facts().to_deactivate);
    let on = situation.switch(true).unwrap();
    assert_eq!(on.filter, switches(ID, &["dev".to_owned()], true, UID, 5));
    assert_eq!(on.names, ["dev"]);
    assert_eq!(on.update.get_document("$set").unwrap(), &doc! { "state": "Active", "uid": UID, "seq": 5_i64 });
    assert_eq!(situation.switch(false).unwrap().filter, switches(ID, &["prod".to_owned()], false, UID, 5));
}

#[test]
fn a_switch_is_fenced_and_asks_by_the_indexed_fields() {
    assert_eq!(
        switches(ID, &["dev".to_owned()], true, UID, 5),
        doc! {
            "gatewayId": ID,
            "name": { "$in": ["dev"] },
            "state": { "$nin": ["Active", "Deleted"] },
            "$or": [{ "uid": null }, { "uid": { "$ne": UID } }, { "seq": null }, { "seq": { "$lte": 5_i64 } }],
        }
    );
    assert_eq!(
        switches(ID, &["dev".to_owned()], false, UID, 5).get_document("state").unwrap(),
        &doc! { "$eq": "Active" }
    );
}

#[test]
fn an_environment_that_a_later_transition_switched_is_left_alone() {
    let gateway = platforms(Phase::Started, State::Running, 5, &asks("Running"));
    let later = environment("dev", "Inactive", doc! { "uid": UID, "seq": 6_i64 });
    let known = documents(vec![told("Running", 5)], vec![later]);
    assert!(!facts(&gateway, &[view("g1-dev", true)], &known).to_activate);
}

// Gateways of kubectl's.

fn mirror(gateway: &ApiGateway, environments: &[EnvironmentView]) -> Documents {
    let nothing = Documents::default();
    let situation = Situation { gateway, environments, documents: &nothing, defaults: &defaults() };
    let mut first = but(situation.first_document(at(5)), doc! { "_id": 1 });
    first.insert("seq", gateway.status.as_ref().unwrap().transitions);
    first.insert("phase", gateway.status.as_ref().unwrap().phase.as_ref().unwrap().as_str());
    let environments = environments.iter().map(|view| {
        let mut document = situation.first_environment(view, at(5));
        document.insert("_id", &view.name);
        document.insert("state", if view.active { ACTIVE } else { INACTIVE });
        document
    });
    documents(vec![first], environments.collect())
}

fn edited(documents: &Documents, gateway: &ApiGateway, edit: Document) -> (Documents, Option<Write>) {
    let mut documents = documents.clone();
    let document = documents.gateways[0].as_mut().unwrap();
    if let Ok(state) = edit.get_str("state") {
        document.state = Some(state.to_owned());
    }
    if let Ok(spec) = edit.get_document("spec") {
        document.spec = Some(spec.clone());
    }
    if let Some(at) = edit.get("updatedAt") {
        document.updated_at = Some(at.clone());
    }
    let situation = Situation { gateway, environments: &[], documents: &documents, defaults: &defaults() };
    let write = situation.report(at(9));
    (documents, write)
}

#[test]
fn a_gateway_of_kubectls_is_mirrored_under_its_place() {
    let gateway = kubectls(Phase::Started, State::Running, 2);
    assert_eq!(Identity::of(&gateway), Identity { gateway_id: "tenants.shop".to_owned(), platforms: false });
    let known = mirror(&gateway, &[]);
    let document = known.gateway(UID).unwrap();
    assert!(document.is_our_word());
    assert_eq!(document.spec_json()["image"], "acme/gateway:1");
    assert_eq!(
        facts(&gateway, &[], &known),
        RegistryFacts { external: true, forgotten: false, ..RegistryFacts::settled() }
    );
}

#[test]
fn an_edit_of_a_mirror_is_put_back_and_a_heartbeat_is_not() {
    let gateway = kubectls(Phase::Started, State::Running, 2);
    let known = mirror(&gateway, &[]);
    let beat = edited(&known, &gateway, doc! { "updatedAt": DateTime::from_millis(1) });
    assert_eq!(beat.1, None);
    for edit in [doc! { "state": "Stopped" }, doc! { "state": "Deleted" }, doc! { "spec": { "image": "evil:1" } }] {
        let (documents, write) = edited(&known, &gateway, edit.clone());
        assert!(!facts(&gateway, &[], &documents).reported);
        let write = write.unwrap();
        assert_eq!(write.filter.get_i64("seq").ok(), Some(2), "{edit:?}");
        let read = documents.gateway(UID).unwrap();
        assert_eq!(write.filter.get("state"), Some(&or_null(read.state.as_ref())));
        assert_eq!(text(set(&write), "state"), Some("Running"));
        assert_eq!(text(set(&write).get_document("spec").unwrap(), "image"), Some("acme/gateway:1"));
    }
}

#[test]
fn environments_of_kubectls_are_mirrored_too() {
    let gateway = kubectls(Phase::Started, State::Running, 2);
    let views = [view("dev", true)];
    let none = mirror(&gateway, &[]);
    let situation = Situation { gateway: &gateway, environments: &views, documents: &none, defaults: &defaults() };
    assert!(!situation.facts().recorded);
    assert_eq!(situation.unrecorded_environments().len(), 1);
    let known = mirror(&gateway, &views);
    assert!(facts(&gateway, &views, &known).recorded);
    assert!(!facts(&gateway, &[], &known).recorded, "one that is gone is removed");
    assert!(facts(&gateway, &[view("dev", false)], &known).to_deactivate);
}

// Deletions.

#[test]
fn what_kubectl_deletes_of_the_platforms_leaves_its_documents_alone() {
    let mut gateway = platforms(Phase::Deleting, State::Stopped, 6, &asks("Running"));
    gateway.metadata.deletion_timestamp = Some(Time(at(8)));
    let known = documents(vec![told("Running", 5)], vec![environment("dev", "Active", doc! { "uid": UID })]);
    assert_eq!(facts(&gateway, &[], &known), RegistryFacts { external: true, ..RegistryFacts::settled() });
    let situation = Situation { gateway: &gateway, environments: &[], documents: &known, defaults: &defaults() };
    assert_eq!(situation.to_forget(), None);
}

#[test]
fn what_the_platform_deletes_is_told_and_forgotten() {
    let mut gateway = platforms(Phase::Deleting, State::Stopped, 6, &asks("Deleted"));
    gateway.metadata.deletion_timestamp = Some(Time(at(8)));
    let known = documents(vec![told("Deleted", 5)], vec![environment("dev", "Inactive", doc! {})]);
    let situation = Situation { gateway: &gateway, environments: &[], documents: &known, defaults: &defaults() };
    let facts = situation.facts();
    assert!(!facts.forgotten && !facts.reported);
    let write = situation.report(at(9)).unwrap();
    assert_eq!((text(set(&write), "phase"), set(&write).get("state")), (Some("Deleting"), None));
    let forget = situation.to_forget().unwrap();
    assert_eq!(forget.gateway, Some(doc! { "_id": { "$eq": 1 }, "uid": UID, "state": "Deleted" }));
    assert_eq!(forget.environments, Some(doc! { "_id": { "$in": ["e-dev"] } }));
}

#[test]
fn what_kubectl_deletes_of_its_own_is_forgotten() {
    let mut gateway = kubectls(Phase::Deleting, State::Stopped, 3);
    let known = mirror(&gateway, &[view("dev", false)]);
    gateway.metadata.deletion_timestamp = Some(Time(at(8)));
    let situation = Situation { gateway: &gateway, environments: &[], documents: &known, defaults: &defaults() };
    let forget = situation.to_forget().unwrap();
    assert_eq!(forget.gateway, Some(doc! { "_id": { "$eq": 1 }, "uid": UID }));
    assert!(forget.environments.is_some());
}

#[test]
fn moments_are_compared_as_the_documents_have_them() {
    let precise = Timestamp::from_nanosecond(1_750_000_000_123_456_789).unwrap();
    assert_eq!(moment(precise).timestamp_millis(), 1_750_000_000_123);
}

#[test]
fn every_filter_of_a_write_asks_by_an_indexed_field_first() {
    let gateway = platforms(Phase::Started, State::Running, 2, &asks("Running"));
    let recorded = but(asks("Running"), doc! { "uid": UID, "seq": 1_i64 });
    let all = documents(vec![recorded], vec![environment("dev", INACTIVE, doc! {})]);
    let views = [view("g1-dev", true)];
    let situation = Situation { gateway: &gateway, environments: &views, documents: &all, defaults: &defaults() };
    let forget = {
        let mut deleted = platforms(Phase::Deleting, State::Stopped, 3, &asks(DELETED));
        deleted.metadata.deletion_timestamp = Some(Time(at(9)));
        let all = documents(
            vec![but(asks(DELETED), doc! { "uid": UID, "seq": 3_i64 })],
            vec![environment("dev", INACTIVE, doc! {})],
        );
        Situation { gateway: &deleted, environments: &[], documents: &all, defaults: &defaults() }.to_forget().unwrap()
    };
    let filters = [
        situation.take_over(at(2)).filter,
        situation.report(at(2)).unwrap().filter,
        situation.switch(true).unwrap().filter,
        forget.gateway.unwrap(),
        forget.environments.unwrap(),
    ];
    for filter in filters {
        let first = filter.keys().next().unwrap();
        // The keys of the indexes, and the one that every collection has.
        assert!(["_id", "gatewayId"].contains(&first.as_str()), "{filter}");
    }
}

#[test]
fn a_failure_that_is_over_without_a_transition_is_taken_out_of_the_document() {
    let mut gateway = platforms(Phase::Started, State::Running, 4, &asks("Running"));
    let failed = |reason: &str| {
        but(told("Running", 4), doc! { "phase": "Started", "error": { "reason": reason, "message": "m" } })
    };
    let write = report(&gateway, failed("Unschedulable")).unwrap();
    assert_eq!(write.update.get_document("$unset").ok(), Some(&doc! { "error": "" }));
    assert_eq!((text(set(&write), "phase"), text(set(&write), "state")), (Some("Started"), None));
    assert_eq!(write.filter.get("error.reason"), Some(&is("Unschedulable")));
    assert_eq!(report(&gateway, but(told("Running", 4), doc! { "phase": "Started" })), None);
    assert_eq!(report(&gateway, failed("NoImage")), None, "what intake answered is about the document");
    gateway.status.as_mut().unwrap().last_failure = Some(Failure {
        reason: Reason::Unschedulable,
        message: "no node takes it".to_owned(),
        hint: String::new(),
        at: MicroTime(at(3)),
        attempt: 1,
        others: crate::api::UnknownFields::new(),
    });
    assert_eq!(report(&gateway, failed("Unschedulable")), None, "it serves on, and is not complete yet");
}

/// A gateway of which no attempt has begun, and what its conditions say of that.
fn hindered(phase: Phase, state: State, stalled: &str, reason: Reason, message: &str) -> ApiGateway {
    let mut gateway = platforms(phase, state, 1, &asks("Running"));
    gateway.status.as_mut().unwrap().conditions = vec![
        serde_json::from_value(json!({
            "type": "Stalled", "status": stalled, "reason": reason.as_str(), "message": message,
            "lastTransitionTime": "2026-01-02T03:04:05Z",
        }))
        .unwrap(),
    ];
    gateway
}

/// What a report writes into `error`, if there is a report.
fn told_error(gateway: &ApiGateway, document: Document) -> Option<Option<Document>> {
    let write = report(gateway, document)?;
    Some(set(&write).get_document("error").ok().cloned())
}

#[test]
fn what_keeps_a_gateway_from_its_first_attempt_is_told_with_its_sentence() {
    let words = "host \"a.example.com\" is held by ApiGateway b/shop. Choose another spec.host.";
    let error = doc! { "reason": "HostTaken", "message": words };
    let created = |stalled| hindered(Phase::Created, State::Running, stalled, Reason::HostTaken, words);
    let created_document = |more: Document| but(told("Running", 1), but(doc! { "phase": "Created" }, more));
    assert_eq!(told_error(&created("True"), told("Running", 0)), Some(Some(error.clone())), "with its transition");
    let write = report(&created("True"), created_document(doc! {})).unwrap();
    assert_eq!(set(&write).get_document("error").ok(), Some(&error), "that came later");
    assert_eq!(write.filter.get("seq"), Some(&1_i64.into()));
    assert_eq!(report(&created("True"), created_document(doc! { "error": error.clone() })), None, "and once");
    let another = doc! { "error": { "reason": "NotAllowed", "message": "m" } };
    assert_eq!(told_error(&created("True"), created_document(another.clone())), Some(Some(error.clone())));
    let write = report(&created("False"), created_document(another)).unwrap();
    assert_eq!(write.update.get_document("$unset").ok(), Some(&doc! { "error": "" }), "what is over is taken out");
    let intakes = doc! { "error": { "reason": "ObjectRefused", "message": "m" } };
    assert_eq!(report(&created("True"), created_document(intakes)), None, "what intake answered stands first");

    let mut forged = created("True");
    forged.status.as_mut().unwrap().conditions[0].reason = "ObjectRefused".to_owned();
    assert_eq!(report(&forged, created_document(doc! {})), None, "that is for intake to say, and to take back");

    let stopped = hindered(Phase::Stopped, State::Stopped, "True", Reason::HostTaken, words);
    assert_eq!(told_error(&stopped, told("Stopped", 0)), Some(Some(error)), "a start that was asked for");
    let serves = hindered(Phase::Started, State::Running, "True", Reason::NotAllowed, words);
    assert_eq!(told_error(&serves, told("Running", 0)), Some(None), "what serves has failed in nothing");
}

#[test]
fn what_a_document_is_told_is_one_line_and_has_room_for_what_to_do() {
    let words = format!("{}\u{1b}]0;x\u{7}\u{202e}\nsays it. Ask who runs the cluster.", "x".repeat(500));
    let gateway = hindered(Phase::Created, State::Running, "True", Reason::NotAllowed, &words);
    let error = told_error(&gateway, told("Running", 0)).unwrap().unwrap();
    let message = text(&error, "message").unwrap();
    assert!(message.ends_with("Ask who runs the cluster."), "{message}");
    assert!(!message.contains(crate::shown::is_hidden), "{message:?}");
    let mut forged = hindered(Phase::Created, State::Running, "True", Reason::NotAllowed, "m");
    forged.status.as_mut().unwrap().conditions[0].reason = format!("\u{1b}{words}");
    let error = told_error(&forged, told("Running", 0)).unwrap().unwrap();
    let reason = text(&error, "reason").unwrap();
    assert!(reason.len() < 110 && !reason.contains(crate::shown::is_hidden), "{reason:?}");
    let gateway = hindered(Phase::Created, State::Running, "True", Reason::NotAllowed, &"x".repeat(5_000));
    let error = told_error(&gateway, told("Running", 0)).unwrap().unwrap();
    assert_eq!(text(&error, "message").unwrap().chars().count(), 1_001);
}
