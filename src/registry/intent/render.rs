//! Renders the objects that valid documents ask for.
//!
//! **Architecture invariant:** this module does not look at existing objects: `compare` does.

use std::collections::BTreeMap;

use kube::Resource;
use serde_json::{Map, Value, json};

use super::checked::{CheckedEnvironment, CheckedGateway};
use super::errors::{NO_IMAGE, UNFIT_SPEC, refusal};
use crate::api::{
    ApiGateway, ApiGatewaySpec, Environment, GATEWAY_ID_ANNOTATION, INTENT_ANNOTATION, REGISTRY_FINALIZER,
    REGISTRY_LABEL, REGISTRY_MONGODB, RESTART_ANNOTATION, RETRY_ANNOTATION, State,
};
use crate::children;
use crate::decide::diagnosis::say_invalid_field;
use crate::registry::document::{Defaults, DocumentError, asked_by, word};

/// A rendered object.
pub(super) struct Rendered {
    /// The object, with the platform's fields only.
    pub object: Value,
    /// Its spec.
    pub spec: Map<String, Value>,
    /// The token of the request, as in the object's annotation.
    pub token: String,
}

/// The token of the request that an object carries, and the requested state. If its annotation was edited into
/// no token, the retry annotation has it as well.
fn asked_last(found: &ApiGateway) -> Option<(&str, State)> {
    let annotations = [INTENT_ANNOTATION, RETRY_ANNOTATION, RESTART_ANNOTATION];
    annotations.into_iter().filter_map(|name| found.annotation(name)).find_map(|text| Some((text, asked_by(text)?)))
}

/// Renders the object of a gateway's document; `found` is the object in its place.
///
/// # Errors
/// The error to write into the document: neither it nor a flag names an image, or a value is unusable.
pub(super) fn gateway(
    asked: &CheckedGateway<'_>,
    found: Option<&ApiGateway>,
    defaults: &Defaults,
) -> Result<Rendered, DocumentError> {
    let CheckedGateway { document, place, state } = asked;
    // The operator's own write requests nothing, so the earlier request stands.
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
        // A retry has no effect on a gateway that serves.
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
        // A recreated object is another one.
        object["metadata"]["uid"] = json!(found.uid());
    }
    Ok(Rendered { object, spec, token })
}

/// Rejects unusable values. The API server judges the rest.
fn fit(spec: &Map<String, Value>) -> Result<(), DocumentError> {
    let read = serde_json::from_value::<ApiGatewaySpec>(Value::Object(spec.clone()));
    match read.ok().as_ref().and_then(children::invalid_field) {
        Some(invalid_field) => Err(refusal(UNFIT_SPEC, say_invalid_field(&invalid_field))),
        None => Ok(()),
    }
}

/// The platform's fields, completed by the flags.
fn with_defaults(
    mut spec: Map<String, Value>,
    gateway_id: &str,
    defaults: &Defaults,
) -> Result<Map<String, Value>, DocumentError> {
    if let (None, Some(image)) = (spec.get("image"), &defaults.image) {
        spec.insert("image".to_owned(), json!(image));
    }
    if !spec.contains_key("image") {
        let message = "spec.image is missing, and the operator has no default (--gateway-image)".to_owned();
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

/// Renders the object of an environment's document.
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
            // Deleting the gateway deletes its environments.
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
