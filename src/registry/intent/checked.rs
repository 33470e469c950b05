//! Validates documents once. The types here contain only names that Kubernetes accepts.
//!
//! **Architecture invariant:** only this module constructs a `CheckedGateway` or a `CheckedEnvironment`, after
//! all checks.

use super::errors::{INVALID_NAME, NAMESPACE_NOT_ALLOWED, UNKNOWN_STATE, refusal};
use crate::api::{ObjectKey, State};
use crate::decide::say;
use crate::parse;
use crate::registry::document::{DELETED, Defaults, DocumentError, EnvironmentDocument, GatewayDocument, state_of};
use crate::registry::identity;

/// The longest name of a gateway or an environment, in characters.
const LONGEST_NAME: usize = 50;

/// What a document asks for.
pub(super) enum DesiredObject<T> {
    /// Delete the object at this place, and the document.
    Deletion(ObjectKey),
    /// Create or update the object.
    Object(T),
}

/// A valid document of a gateway.
pub(super) struct CheckedGateway<'a> {
    /// The document.
    pub document: &'a GatewayDocument,
    /// Namespace and name of its object.
    pub place: ObjectKey,
    /// The requested state.
    pub state: State,
}

/// A valid document of an environment.
pub(super) struct CheckedEnvironment<'a> {
    /// The document.
    pub document: &'a EnvironmentDocument,
    /// Namespace and name of its object.
    pub place: ObjectKey,
    /// Its own host, or the generated one.
    pub host: Option<String>,
}

/// Validates the document of a gateway.
///
/// # Errors
/// The error to write into the document.
pub(super) fn gateway<'a>(
    document: &'a GatewayDocument,
    defaults: &Defaults,
) -> Result<DesiredObject<CheckedGateway<'a>>, DocumentError> {
    let text = document.state.as_deref().unwrap_or_default();
    if text == DELETED {
        return Ok(DesiredObject::Deletion(identity::place(document, defaults)));
    }
    let Some(state) = state_of(text) else {
        let message = format!("state {:?} must be Running, Stopped, Restarting or Deleted", say(text));
        return Err(refusal(UNKNOWN_STATE, message));
    };
    let place = identity::place(document, defaults);
    if !is_name(&place.name) {
        let what = match document.name {
            Some(_) => "the name",
            None => "the gatewayId (the default name)",
        };
        let message = format!(
            "{what} {:?} must be at most 50 lower-case letters, digits and '-', begin with a letter and end with a \
             letter or digit",
            say(&place.name)
        );
        return Err(refusal(INVALID_NAME, message));
    }
    if !defaults.allowed.contains(&place.namespace) {
        let message = format!(
            "the namespace {:?} is not allowed (--gateway-allowed-namespaces): {}",
            say(&place.namespace),
            defaults.allowed.join(", ")
        );
        return Err(refusal(NAMESPACE_NOT_ALLOWED, message));
    }
    Ok(DesiredObject::Object(CheckedGateway { document, place, state }))
}

/// Validates the document of an environment whose object is at `place`.
///
/// # Errors
/// The error to write into the document.
pub(super) fn environment<'a>(
    document: &'a EnvironmentDocument,
    place: ObjectKey,
    defaults: &Defaults,
) -> Result<DesiredObject<CheckedEnvironment<'a>>, DocumentError> {
    if document.state.as_deref() == Some(DELETED) {
        return Ok(DesiredObject::Deletion(place));
    }
    if !is_name(&place.name) {
        let message = format!(
            "the name {:?} must be lower-case letters, digits and '-', end with a letter or digit, and have at most \
             50 characters together with the gateway's",
            say(&document.name)
        );
        return Err(refusal(INVALID_NAME, message));
    }
    let EnvironmentDocument { gateway_id, name, .. } = document;
    let made_up = || defaults.domain.as_ref().map(|domain| format!("{gateway_id}-{name}.{domain}"));
    let host = document.host.clone().or_else(made_up);
    Ok(DesiredObject::Object(CheckedEnvironment { document, place, host }))
}

fn is_name(text: &str) -> bool {
    parse::label(text).is_ok() && text.len() <= LONGEST_NAME
}
