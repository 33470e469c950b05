//! What is answered in documents that cannot be followed.

use mongodb::bson::{Bson, Document, doc};

use super::{Act, AnswerIn};
use crate::decide::say;
use crate::registry::document::{Answer, Collection, EnvironmentDocument, GatewayDocument, Unreadable, is, or_null};
use crate::shown::line;

/// Reasons of answers. Those of transitions are others, so that neither clears the other's.
const ANSWERS: &[&str] = &[
    UNDECODABLE,
    DUPLICATE,
    UNKNOWN_STATE,
    INVALID_NAME,
    NAMESPACE_NOT_ALLOWED,
    OBJECT_TAKEN,
    NO_IMAGE,
    UNFIT_SPEC,
    REFUSED,
];
pub(super) const UNDECODABLE: &str = "UndecodableDocument";
pub(super) const DUPLICATE: &str = "DuplicateGatewayId";
pub(super) const UNKNOWN_STATE: &str = "UnknownState";
pub(super) const INVALID_NAME: &str = "InvalidName";
pub(super) const NAMESPACE_NOT_ALLOWED: &str = "NamespaceNotAllowed";
pub(super) const OBJECT_TAKEN: &str = "ObjectTaken";
pub(super) const NO_IMAGE: &str = "NoImage";
pub(super) const UNFIT_SPEC: &str = "UnfitSpec";
/// The reason of an answer in the API server's words.
pub const REFUSED: &str = "ObjectRefused";

/// How long an answer may be.
const LONGEST: usize = 1_000;

/// Whether an answer is one of intake's.
pub fn is_answer(answer: &Answer) -> bool {
    ANSWERS.contains(&answer.reason.as_str())
}

pub(super) fn refusal(reason: &str, message: String) -> Answer {
    Answer { reason: reason.to_owned(), message: line(&message, LONGEST) }
}

pub(super) fn answer_gateway(document: &GatewayDocument, answer: Option<&Answer>) -> Option<Act> {
    (document.error.as_ref() != answer).then(|| {
        Act::Answer(AnswerIn {
            collection: Collection::Gateways,
            filter: gateway_as_read(document),
            answer: answer.cloned(),
        })
    })
}

pub(super) fn answer_environment(document: &EnvironmentDocument, answer: Option<&Answer>) -> Option<Act> {
    (document.error.as_ref() != answer).then(|| {
        Act::Answer(AnswerIn {
            collection: Collection::Environments,
            filter: environment_as_read(document),
            answer: answer.cloned(),
        })
    })
}

pub(super) fn answer_unreadable(collection: Collection, document: &Unreadable) -> Option<Act> {
    let answer = refusal(UNDECODABLE, format!("the document cannot be read: {}", say(&document.fault)));
    if document.error == Some(Bson::from(&answer)) {
        return None;
    }
    let mut filter = doc! { "_id": is(document.id.clone()) };
    filter.extend(document.fence.clone());
    Some(Act::Answer(AnswerIn { collection, filter, answer: Some(answer) }))
}

pub(super) fn gateway_as_read(document: &GatewayDocument) -> Document {
    doc! {
        "_id": is(document.id.clone()),
        "state": or_null(document.state.as_ref()),
        "updatedAt": or_null(document.updated_at.as_ref()),
    }
}

pub(super) fn environment_as_read(document: &EnvironmentDocument) -> Document {
    doc! { "_id": is(document.id.clone()), "name": &document.name, "host": or_null(document.host.as_ref()) }
}
