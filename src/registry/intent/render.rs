//! The objects that checked documents ask for.

use std::collections::BTreeMap;

use kube::Resource;
use serde_json::{Map, Value, json};

use super::answers::{NO_IMAGE, UNFIT_SPEC, refusal};
use super::checked::{CheckedEnvironment, CheckedGateway};
use crate::api::{
    ApiGateway, ApiGatewaySpec, Environment, GATEWAY_ID_ANNOTATION, INTENT_ANNOTATION, REGISTRY_FINALIZER,
    REGISTRY_LABEL, REGISTRY_MONGODB, RESTART_ANNOTATION, RETRY_ANNOTATION, State,
};
use crate::children;
use crate::decide::diagnosis::say_unfit;
use crate::registry::document::{Answer, Defaults, asked_by, word};

/// An object that is wanted.
pub(super) struct Rendered {
    /// It, with no other fields than those that are the platform's.
    pub object: Value,
    /// Its spec.
    pub spec: Map<String, Value>,
    /// What tells this request from another, as its annotation has it.
    pub token: String,
}

/// The token of the request that an object carries, and the state that it asks for. Where its annotation was edited into
/// something else, the one that says when to start has it, too.
fn asked_last(found: &ApiGateway) -> Option<(&str, State)> {
    let annotations = [INTENT_ANNOTATION, RETRY_ANNOTATION, RESTART_ANNOTATION];
    annotations.into_iter().filter_map(|name| found.annotation(name)).find_map(|text| Some((text, asked_by(text)?)))
}

/// The object of a gateway's document, where `found` is in its place.
///
/// # Errors
/// The answer, where neither the document nor a flag names an image, or a value is sent to nobody.
pub(super) fn gateway(
    asked: &CheckedGateway<'_>,
    found: Option<&ApiGateway>,
    defaults: &Defaults,
) -> Result<Rendered, Answer> {
    let CheckedGateway { document, place, state } = asked;
    // The operator's own word asks for nothing: what was asked before stands.
    let asked_before = found.filter(|_| document.is_our_word()).and_then(asked_last);
    let (token, state) = match asked_before {
        Some((before, state)) => (before.to_owned(), state),
        None => (document.token(), *state),
    };
    let gateway_id = document.gateway_id.as_str();
    let mut spec = with_defaults(document.spec_json(), gateway_id, defaults)?;
    spec.insert("state".to_owned(), json!(word(state)));
    fit(&spec)?;

    let mut annotations = BTreeMap::from([(GATEWAY_ID_ANNOTATION, gateway_id), (INTENT_ANNOTATION, &token)]);
    match state {
        // Where it serves already, a retry says nothing.
        State::Running => drop(annotations.insert(RETRY_ANNOTATION, &token)),
        State::Restarting => drop(annotations.insert(RESTART_ANNOTATION, &token)),
        State::Stopped | State::Unknown(_) => {}
    }
    let mut object = json!({
        "apiVersion": ApiGateway::api_version(&()),
        "kind": ApiGateway::kind(&()),
        "metadata": {
            "namespace": place.namespace,
            "name": place.name,
            "labels": { REGISTRY_LABEL: REGISTRY_MONGODB },
            "annotations": annotations,
            "finalizers": [REGISTRY_FINALIZER],
        },
        "spec": spec,
    });
    if let Some(found) = found {
        // One that is made anew meanwhile is another.
        object["metadata"]["uid"] = json!(found.uid());
    }
    Ok(Rendered { object, spec, token })
}

/// A value that nobody could compute goes no further. Whether the rest is valid says the API server.
fn fit(spec: &Map<String, Value>) -> Result<(), Answer> {
    let read = serde_json::from_value::<ApiGatewaySpec>(Value::Object(spec.clone()));
    match read.ok().as_ref().and_then(children::unfit) {
        Some(unfit) => Err(refusal(UNFIT_SPEC, say_unfit(&unfit))),
        None => Ok(()),
    }
}

/// The platform's fields, and the flags' where it says nothing.
fn with_defaults(
    mut spec: Map<String, Value>,
    gateway_id: &str,
    defaults: &Defaults,
) -> Result<Map<String, Value>, Answer> {
    if let (None, Some(image)) = (spec.get("image"), &defaults.image) {
        spec.insert("image".to_owned(), json!(image));
    }
    if !spec.contains_key("image") {
        let message = "spec.image is missing, and the operator was given no --gateway-image".to_owned();
        return Err(refusal(NO_IMAGE, message));
    }
    if let (None, Some(port)) = (spec.get("port"), defaults.port) {
        spec.insert("port".to_owned(), json!(port));
    }
    if let (None, Some(domain)) = (spec.get("host"), &defaults.domain) {
        spec.insert("host".to_owned(), json!(format!("{gateway_id}.{domain}")));
    }
    Ok(spec)
}

/// The object of an environment's document.
pub(super) fn environment(asked: &CheckedEnvironment<'_>, gateway: &ApiGateway) -> Rendered {
    let CheckedEnvironment { document, place, host } = asked;
    let mut spec = Map::new();
    spec.insert("gatewayRef".to_owned(), json!({ "name": gateway.name_or_empty() }));
    if let Some(host) = host {
        spec.insert("host".to_owned(), json!(host));
    }
    let token = children::hash(&spec);
    let object = json!({
        "apiVersion": Environment::api_version(&()),
        "kind": Environment::kind(&()),
        "metadata": {
            "namespace": place.namespace,
            "name": place.name,
            "labels": { REGISTRY_LABEL: REGISTRY_MONGODB },
            "annotations": { GATEWAY_ID_ANNOTATION: document.gateway_id, INTENT_ANNOTATION: token },
            // With the gateway its environments go.
            "ownerReferences": [{
                "apiVersion": ApiGateway::api_version(&()),
                "kind": ApiGateway::kind(&()),
                "name": gateway.name_or_empty(),
                "uid": gateway.uid(),
            }],
        },
        "spec": spec,
    });
    Rendered { object, spec, token }
}
