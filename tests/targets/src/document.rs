//! A platform's documents: from BSON to what they ask for.

use mongodb::bson::{Bson, Document};
use phasegate::api::ApiGateway;
use phasegate::registry::document::{
    Defaults, Documents, EnvironmentDocument, GatewayDocument, Read, StoredDocument, document_of,
};
use phasegate::registry::intent::{Action, Objects, decide};
use serde_json::Value;

/// How deep MongoDB lets a document be.
const DEEPEST: usize = 100;

/// The input is a document.
pub fn target(input: &[u8]) {
    let Ok(document) = Document::from_reader(input) else { return };
    if depth(&Bson::Document(document.clone())) > DEEPEST {
        return;
    }
    let gateway = GatewayDocument::read(document.clone());
    let environment = EnvironmentDocument::read(document);
    if let Ok(document) = &gateway {
        read_again(document);
    }
    let id = id_of(&gateway).unwrap_or("g1").to_owned();
    let documents = Documents { gateways: vec![gateway], environments: vec![environment] };
    let nothing = Objects::default();
    let acts = asked(&id, &documents, &nothing);
    // As text: a number that is none equals nothing.
    let again = asked(&id, &documents, &nothing);
    assert_eq!(format!("{acts:?}"), format!("{again:?}"), "the same documents ask for something else");
    // What it asked for is there: it is compared with what is asked.
    let made: Vec<ApiGateway> = acts.iter().filter_map(made).collect();
    asked(&id, &documents, &Objects { gateways: made, ..Objects::default() });
}

fn asked(id: &str, documents: &Documents, objects: &Objects) -> Vec<Action> {
    let defaults = Defaults {
        namespace: "tenants".to_owned(),
        allowed: vec!["tenants".to_owned()],
        image: Some("ghcr.io/acme/gateway:1".to_owned()),
        port: Some(8080),
        domain: Some("example.com".to_owned()),
        operator: "phasegate".to_owned(),
    };
    decide(id, documents, objects, &defaults)
}

/// The gateway that an act makes, where it is one that the API server could take.
fn made(act: &Action) -> Option<ApiGateway> {
    match act {
        Action::Apply(apply) => serde_json::from_value(apply.object.clone()).ok(),
        _ => None,
    }
}

fn id_of(document: &Read<GatewayDocument>) -> Option<&str> {
    document.as_ref().ok().map(|document| document.gateway_id())
}

/// What the document asks for survives its way through BSON.
fn read_again(document: &GatewayDocument) {
    let spec = document.spec_json();
    let again = GatewayDocument { spec: Some(document_of(&spec)), ..document.clone() };
    assert_eq!(Value::Object(again.spec_json()), Value::Object(spec));
    assert_eq!(again.token(), document.token());
}

fn depth(value: &Bson) -> usize {
    match value {
        Bson::Document(document) => 1 + document.values().map(depth).max().unwrap_or_default(),
        Bson::Array(list) => 1 + list.iter().map(depth).max().unwrap_or_default(),
        _ => 1,
    }
}
