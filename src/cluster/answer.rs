//! What an answer means that is no success: whose word it is, and so who is to blame.
//!
//! The HTTP status alone does not tell. A webhook denies with any code and any reason, the API server's own included; and a
//! webhook that is away, a storage that is away and a defect share 500. Where there is no typed fact, [`said`] reads the words.

use kube::core::Status;

use crate::decide::answer::{Said, said};

/// What an answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The object changed, appeared or disappeared since it was read.
    Stale,
    /// The API server, or somebody whom it asked, will not have the request.
    Refused,
    /// The operator lacks a permission.
    NotPermitted,
    /// The API server asks to be left alone for a while.
    Busy,
    /// A webhook could not be asked, or did not answer.
    WebhookAway {
        /// Its name.
        webhook: String,
        /// Why, in the API server's words.
        words: String,
    },
    /// The API server has no storage, is not ready, or does not know anybody: it answers, and can do nothing.
    Away,
}

/// The reason that kube gives where the body of an answer is no Status.
const NO_STATUS: &str = "Failed to parse error data";

/// What a Status means.
pub fn meaning(status: &Status) -> Meaning {
    match (status.code, said(&status.message)) {
        (_, Said::Denied) => Meaning::Refused,
        (500, Said::WebhookAway { webhook, words }) => {
            Meaning::WebhookAway { webhook: webhook.to_owned(), words: words.to_owned() }
        }
        (500, Said::StorageAway) | (403, Said::NotReady) | (502..=504, _) => Meaning::Away,
        // A proxy before the API server has answered, and not the API server.
        (500.., _) if status.reason == NO_STATUS => Meaning::Away,
        (422, _) if no_address_can_be_had(status) => Meaning::Away,
        (403, Said::NotPermitted) => Meaning::NotPermitted,
        // A policy may refuse with 401; then it names the object.
        (401, _) if !names_an_object(status) => Meaning::Away,
        (404 | 409 | 410, _) => Meaning::Stale,
        (429, _) => Meaning::Busy,
        _ => Meaning::Refused,
    }
}

/// Whether a Service is called invalid since the addresses are in a storage that is away. The field is one that no tenant's
/// value is in, or somebody's words could end here.
fn no_address_can_be_had(status: &Status) -> bool {
    let causes = status.details.iter().filter(|details| details.kind == "Service").flat_map(|details| &details.causes);
    let mut of_addresses = causes.filter(|cause| cause.field.starts_with("spec.clusterIP"));
    of_addresses.any(|cause| {
        let why = cause.message.rsplit_once("failed to allocate IP: ").map_or("", |(_, why)| why);
        said(why) == Said::StorageAway
    })
}

/// Whether an admission webhook denied the request: then code, reason and details are the webhook's.
pub fn is_denial(status: &Status) -> bool {
    said(&status.message) == Said::Denied
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
            meaning(&status(422, "Invalid", &format!("Service \"gw\" is invalid: {field}: {message}"), details))
        };
        let away = "rpc error: code = Unavailable desc = error reading from server: EOF";
        assert_eq!(answer("Service", "spec.clusterIPs", away), Meaning::Away);
        assert_eq!(answer("Service", "spec.clusterIPs", "range is full"), Meaning::Refused);
        assert_eq!(answer("Service", "spec.externalName", away), Meaning::Refused);
        assert_eq!(answer("Deployment", "spec.clusterIPs", away), Meaning::Refused);
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
            assert_eq!(meaning(&denial), Meaning::Refused, "{code}");
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
            (401, "Unauthorized", policy, Meaning::Refused),
            (403, "Forbidden", policy, Meaning::Refused),
            (413, "RequestEntityTooLarge", policy, Meaning::Refused),
            (422, "Invalid", policy, Meaning::Refused),
            (403, "Forbidden", "pods \"shop\" is forbidden: exceeded quota: small", Meaning::Refused),
            (500, "InternalError", "Internal error occurred: a serviceIP: range is full", Meaning::Refused),
            (403, "Forbidden", user, Meaning::NotPermitted),
            (500, "InternalError", webhook, Meaning::WebhookAway { webhook: name, words }),
            (500, "", "rpc error: code = Unavailable desc = transport is closing", Meaning::Away),
            (500, "", "etcdserver: request timed out", Meaning::Away),
            (502, NO_STATUS, "<html>bad gateway</html>", Meaning::Away),
            (500, NO_STATUS, "<html>oops</html>", Meaning::Away),
            (500, "InternalError", "oops", Meaning::Refused),
            (503, "ServiceUnavailable", "the server is currently unable to handle the request", Meaning::Away),
            (504, "Timeout", "Timeout: request did not complete within requested timeout", Meaning::Away),
            (403, "Forbidden", "services \"shop\" is forbidden: not yet ready to handle request", Meaning::Away),
            (404, "NotFound", "deployments.apps \"shop\" not found", Meaning::Stale),
            (409, "Conflict", "the object has been modified", Meaning::Stale),
            (409, "AlreadyExists", "deployments.apps \"shop\" already exists", Meaning::Stale),
            (410, "Expired", "the resource version is too old", Meaning::Stale),
            (429, "TooManyRequests", "too many requests, please try again later", Meaning::Busy),
        ] {
            let details = json!({ "name": "shop", "group": "apps", "kind": "deployments" });
            assert_eq!(meaning(&status(code, reason, message, details)), expected, "{code} {message}");
        }
        let unknown = status(401, "Unauthorized", "Unauthorized", json!(null));
        assert_eq!(meaning(&unknown), Meaning::Away, "it does not know the operator");
    }
}
