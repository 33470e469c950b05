//! What documents ask for, checked once: what is in these types, Kubernetes takes as a name.

use super::answers::{INVALID_NAME, NAMESPACE_NOT_ALLOWED, UNKNOWN_STATE, refusal};
use crate::api::{ObjectKey, State};
use crate::decide::say;
use crate::parse;
use crate::registry::document::{Answer, DELETED, Defaults, EnvironmentDocument, GatewayDocument, state_of};
use crate::registry::identity;

/// The most characters that the name of a gateway or an environment may have.
const LONGEST_NAME: usize = 50;

/// What a document asks for.
pub(super) enum Asked<T> {
    /// That its object, which was to be there, be deleted, and it as well.
    Deletion(ObjectKey),
    /// That its object be there.
    Object(T),
}

/// The document of a gateway that is to be there.
pub(super) struct CheckedGateway<'a> {
    /// The document.
    pub document: &'a GatewayDocument,
    /// Where its object is to be.
    pub place: ObjectKey,
    /// What it asks for.
    pub state: State,
}

/// The document of an environment that is to be there.
pub(super) struct CheckedEnvironment<'a> {
    /// The document.
    pub document: &'a EnvironmentDocument,
    /// Where its object is to be.
    pub place: ObjectKey,
    /// Its own host, or the one that is made up where hosts are.
    pub host: Option<String>,
}

/// Checks the document of a gateway.
///
/// # Errors
/// The answer, where it cannot be followed.
pub(super) fn gateway<'a>(
    document: &'a GatewayDocument,
    defaults: &Defaults,
) -> Result<Asked<CheckedGateway<'a>>, Answer> {
    let text = document.state.as_deref().unwrap_or_default();
    if text == DELETED {
        return Ok(Asked::Deletion(identity::place(document, defaults)));
    }
    let Some(state) = state_of(text) else {
        let message = format!("state {:?} is none of Running, Stopped, Restarting and Deleted", say(text));
        return Err(refusal(UNKNOWN_STATE, message));
    };
    let place = identity::place(document, defaults);
    if !is_name(&place.name) {
        let what = match document.name {
            Some(_) => "the name",
            None => "the gatewayId, which is the name where none is given,",
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
            "the namespace {:?} is none of those that documents may name: {}",
            say(&place.namespace),
            defaults.allowed.join(", ")
        );
        return Err(refusal(NAMESPACE_NOT_ALLOWED, message));
    }
    Ok(Asked::Object(CheckedGateway { document, place, state }))
}

/// Checks the document of an environment, whose object is to be at `place`.
///
/// # Errors
/// The answer, where it cannot be followed.
pub(super) fn environment<'a>(
    document: &'a EnvironmentDocument,
    place: ObjectKey,
    defaults: &Defaults,
) -> Result<Asked<CheckedEnvironment<'a>>, Answer> {
    if document.state.as_deref() == Some(DELETED) {
        return Ok(Asked::Deletion(place));
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
    Ok(Asked::Object(CheckedEnvironment { document, place, host }))
}

fn is_name(text: &str) -> bool {
    parse::label(text).is_ok() && text.len() <= LONGEST_NAME
}
