//! A transition as a CloudEvent in the structured JSON format, so that the signature covers every attribute.
//!
//! **Architecture invariant:** text of others is a JSON value of bounded length without hidden characters. Nothing of
//! a spec is part of an event, so no secret can be.

use cloudevents::{EventBuilder, EventBuilderV10};
use kube::Resource;
use serde_json::json;

use crate::api::{ApiGateway, ObjectKey};
use crate::outbox::{DueEvent, EventKind};
use crate::shown::line;

/// The media type of a body.
pub(super) const CONTENT_TYPE: &str = "application/cloudevents+json; charset=UTF-8";

/// The type of an event, without its kind.
const TYPE: &str = "dev.phasegate.apigateway";

/// The most characters of a message, as in a status, and of a phase.
const LONGEST_MESSAGE: usize = 2_048;
const LONGEST_WORD: usize = 64;

/// The id of an event. Two events with one id are the same event.
pub(super) fn id(uid: &str, sequence: i64) -> String {
    format!("{uid}/{sequence}")
}

/// The body of an event.
pub(super) fn body(uid: &str, key: &ObjectKey, due: &DueEvent<'_>, skipped: i64) -> Result<Vec<u8>, String> {
    let ObjectKey { namespace, name } = key;
    let transition = due.transition;
    let api_version = ApiGateway::api_version(&());
    let word = |word: &str| line(word, LONGEST_WORD);
    let mut data = json!({
        "apiVersion": api_version,
        "kind": ApiGateway::kind(&()),
        "namespace": namespace,
        "name": name,
        "uid": uid,
        "phase": word(transition.to.as_str()),
        "state": word(transition.state.as_str()),
        "reason": word(&transition.reason.to_string()),
        "message": line(&transition.message, LONGEST_MESSAGE),
        "seconds": transition.seconds,
    });
    if let Some(from) = &transition.from {
        data["from"] = json!(word(from.as_str()));
    }
    if let Some(attempt) = due.attempt {
        data["attempt"] = json!(attempt);
    }
    let mut builder = EventBuilderV10::new()
        .id(id(uid, due.sequence))
        .ty(format!("{TYPE}.{}", EventKind::of(transition).as_str()))
        .source(format!("/apis/{api_version}/namespaces/{namespace}/apigateways/{name}"))
        .subject(name.clone())
        .time(transition.at.0.to_string())
        // Sorts as text, as the extension demands.
        .extension("sequence", format!("{:010}", due.sequence))
        .data("application/json", data);
    let missed = due.missed.saturating_add(skipped);
    if missed > 0 {
        builder = builder.extension("missed", missed);
    }
    let event = builder.build().map_err(|error| error.to_string())?;
    serde_json::to_vec(&event).map_err(|error| error.to_string())
}
