//! Classifies error answers of the API server: who refused, and so who is at fault.
//!
//! The HTTP status alone is not enough. A webhook denies with any code and any reason, including the API
//! server's own; an unavailable webhook, an unavailable storage and a defect share 500. If no typed field
//! tells, [`classify`] parses the message.
//!
//! **Architecture invariant:** this module does not decide what happens after an error: it names the party that
//! refused.

use kube::core::Status;

use crate::decide::api_message::{ApiMessage, classify};

/// What an error answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The object changed, appeared or disappeared since it was read.
    Stale,
    /// The API server, an admission plugin or a webhook refuses the request.
    Refused,
    /// The operator lacks a permission.
    NotPermitted,
    /// The API server asks to wait.
    Busy,
    /// A webhook could not be called, or did not answer.
    WebhookUnavailable {
        /// Its name.
        webhook: String,
        /// The API server's message.
        words: String,
    },
    /// The API server has no storage, is not ready, or cannot authenticate anybody.
    Unavailable,
}

/// kube's reason for an answer whose body is no Status.
const NO_STATUS: &str = "Failed to parse error data";

/// Classifies a Status.
pub fn error_kind(status: &Status) -> ErrorKind {
    match (status.code, classify(&status.message)) {
        (_, ApiMessage::Denied) => ErrorKind::Refused,
        (500, ApiMessage::WebhookUnavailable { webhook, words }) => {
            ErrorKind::WebhookUnavailable { webhook: webhook.to_owned(), words: words.to_owned() }
        }
        (403 | 500, ApiMessage::StorageUnavailable) | (403, ApiMessage::NotReady) | (502..=504, _) => {
            ErrorKind::Unavailable
        }
        // A proxy in front of the API server answered.
        (500.., _) if status.reason == NO_STATUS => ErrorKind::Unavailable,
        (422, _) if no_address_can_be_had(status) => ErrorKind::Unavailable,
        (403, ApiMessage::NotPermitted) => ErrorKind::NotPermitted,
        // A policy may refuse with 401; then the answer names the object.
        (401, _) if !names_an_object(status) => ErrorKind::Unavailable,
        (404 | 409 | 410, _) => ErrorKind::Stale,
        (429, _) => ErrorKind::Busy,
        _ => ErrorKind::Refused,
    }
}

/// Whether a Service is called invalid because the storage of its addresses is unavailable. Only fields without
/// a tenant's value are considered, since a tenant could otherwise forge this message.
fn no_address_can_be_had(status: &Status) -> bool {
    let causes = status.details.iter().filter(|details| details.kind == "Service").flat_map(|details| &details.causes);
    let mut of_addresses = causes.filter(|cause| cause.field.starts_with("spec.clusterIP"));
    of_addresses.any(|cause| {
        let why = cause.message.rsplit_once("failed to allocate IP: ").map_or("", |(_, why)| why);
        classify(why) == ApiMessage::StorageUnavailable
    })
}

/// Whether an admission webhook denied the request. Code, reason and details are then the webhook's.
pub fn is_denial(status: &Status) -> bool {
    classify(&status.message) == ApiMessage::Denied
}

fn names_an_object(status: &Status) -> bool {
    status.details.as_ref().is_some_and(|details| !details.kind.is_empty() || !details.name.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn status(code: u16, reason: &str, message: &str, details: Value) -> Status {
        let status = json!({
            "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
            "code": code, "reason": reason, "message": message, "details": details,
        });
        serde_json::from_value(status).unwrap()
    }

    #[test]
    fn a_service_without_an_address_is_invalid_or_its_storage_is_away() {
        let why = r#"Invalid value: [""]: failed to allocate IP: "#;
        let answer = |kind: &str, field: &str, words: &str| {
            let message = format!("{why}{words}");
            let details = json!({ "kind": kind, "causes": [{ "reason": "FieldValueInvalid", "field": field, "message": message }] });
            error_kind(&status(422, "Invalid", &format!("Service \"gw\" is invalid: {field}: {message}"), details))
        };
        let away = "rpc error: code = Unavailable desc = error reading from server: EOF";
        assert_eq!(answer("Service", "spec.clusterIPs", away), ErrorKind::Unavailable);
        assert_eq!(answer("Service", "spec.clusterIPs", "range is full"), ErrorKind::Refused);
        assert_eq!(answer("Service", "spec.externalName", away), ErrorKind::Refused);
        assert_eq!(answer("Deployment", "spec.clusterIPs", away), ErrorKind::Refused);
    }

    #[test]
    fn a_webhook_that_denies_has_refused_whatever_code_and_reason_it_sends() {
        let words = r#"admission webhook "no.example.com" denied the request: not on Fridays"#;
        for (code, reason) in [
            (400, "BadRequest"),
            (401, "Unauthorized"),
            (403, "Forbidden"),
            (404, "NotFound"),
            (409, "Conflict"),
            (409, "AlreadyExists"),
            (410, "Gone"),
            (413, "RequestEntityTooLarge"),
            (418, ""),
            (422, "Invalid"),
            (429, "TooManyRequests"),
            (500, "InternalError"),
            (503, "ServiceUnavailable"),
            (504, "Timeout"),
        ] {
            let denial = status(code, reason, words, json!(null));
            assert_eq!(error_kind(&denial), ErrorKind::Refused, "{code}");
            assert!(is_denial(&denial));
        }
    }

    #[test]
    fn the_api_servers_own_answers_mean_what_their_code_and_their_words_say_together() {
        let policy =
            "deployments.apps \"shop\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no";
        let user = "deployments.apps \"shop\" is forbidden: User \"operator\" cannot create resource \"deployments\"";
        let webhook = "Internal error occurred: failed calling webhook \"away.example.com\": connection refused";
        let (name, words) = ("away.example.com".to_owned(), "connection refused".to_owned());
        for (code, reason, message, expected) in [
            (401, "Unauthorized", policy, ErrorKind::Refused),
            (403, "Forbidden", policy, ErrorKind::Refused),
            (413, "RequestEntityTooLarge", policy, ErrorKind::Refused),
            (422, "Invalid", policy, ErrorKind::Refused),
            (403, "Forbidden", "pods \"shop\" is forbidden: exceeded quota: small", ErrorKind::Refused),
            (500, "InternalError", "Internal error occurred: a serviceIP: range is full", ErrorKind::Refused),
            (403, "Forbidden", user, ErrorKind::NotPermitted),
            (500, "InternalError", webhook, ErrorKind::WebhookUnavailable { webhook: name, words }),
            (500, "", "rpc error: code = Unavailable desc = transport is closing", ErrorKind::Unavailable),
            (500, "", "etcdserver: request timed out", ErrorKind::Unavailable),
            (502, NO_STATUS, "<html>bad gateway</html>", ErrorKind::Unavailable),
            (500, NO_STATUS, "<html>oops</html>", ErrorKind::Unavailable),
            (500, "InternalError", "oops", ErrorKind::Refused),
            (503, "ServiceUnavailable", "the server is currently unable to handle the request", ErrorKind::Unavailable),
            (504, "Timeout", "Timeout: request did not complete within requested timeout", ErrorKind::Unavailable),
            (
                403,
                "Forbidden",
                "services \"shop\" is forbidden: not yet ready to handle request",
                ErrorKind::Unavailable,
            ),
            (
                403,
                "Forbidden",
                "pods \"shop\" is forbidden: the server was unable to return a response in the time allotted, but may still be processing the request (get limitranges)",
                ErrorKind::Unavailable,
            ),
            (404, "NotFound", "deployments.apps \"shop\" not found", ErrorKind::Stale),
            (409, "Conflict", "the object has been modified", ErrorKind::Stale),
            (409, "AlreadyExists", "deployments.apps \"shop\" already exists", ErrorKind::Stale),
            (410, "Expired", "the resource version is too old", ErrorKind::Stale),
            (429, "TooManyRequests", "too many requests, please try again later", ErrorKind::Busy),
        ] {
            let details = json!({ "name": "shop", "group": "apps", "kind": "deployments" });
            assert_eq!(error_kind(&status(code, reason, message, details)), expected, "{code} {message}");
        }
        let unknown = status(401, "Unauthorized", "Unauthorized", json!(null));
        assert_eq!(error_kind(&unknown), ErrorKind::Unavailable, "it does not know the operator");
    }
}
