//! Errors that intake writes into documents it cannot follow.
//!
//! **Architecture invariant:** an error is written only if it differs from the stored one, and only over the
//! document as it was read.

use mongodb::bson::{Bson, Document, doc};

use super::{Action, ErrorUpdate};
use crate::decide::say;
use crate::registry::document::{
    Collection, DocumentError, EnvironmentDocument, GatewayDocument, Unreadable, is, or_null,
};
use crate::shown::line;

/// The reasons of intake. Transitions have others, so that neither clears the other's errors.
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
/// The reason of an error in the API server's words.
pub const REFUSED: &str = "ObjectRefused";

/// The longest message, in characters.
const LONGEST: usize = 1_000;

/// Whether an error is one of intake's.
pub fn is_intake_error(answer: &DocumentError) -> bool {
    ANSWERS.contains(&answer.reason.as_str())
}

/// An error with a reason and a one-line message.
pub fn refusal(reason: &str, message: impl AsRef<str>) -> DocumentError {
    DocumentError { reason: reason.to_owned(), message: line(message.as_ref(), LONGEST) }
}

pub(super) fn set_gateway_error(document: &GatewayDocument, answer: Option<&DocumentError>) -> Option<Action> {
    (document.error.as_ref() != answer).then(|| {
        Action::SetError(ErrorUpdate {
            collection: Collection::Gateways,
            filter: gateway_as_read(document),
            answer: answer.cloned(),
        })
    })
}

pub(super) fn set_environment_error(document: &EnvironmentDocument, answer: Option<&DocumentError>) -> Option<Action> {
    (document.error.as_ref() != answer).then(|| {
        Action::SetError(ErrorUpdate {
            collection: Collection::Environments,
            filter: environment_as_read(document),
            answer: answer.cloned(),
        })
    })
}

pub(super) fn set_unreadable_error(collection: Collection, document: &Unreadable) -> Option<Action> {
    let answer = refusal(UNDECODABLE, format!("cannot read the document: {}", say(&document.fault)));
    if document.error == Some(Bson::from(&answer)) {
        return None;
    }
    let mut filter = doc! { "_id": is(document.id.clone()) };
    filter.extend(document.fence.clone());
    Some(Action::SetError(ErrorUpdate { collection, filter, answer: Some(answer) }))
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
