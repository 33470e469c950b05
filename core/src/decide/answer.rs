//! Whose words a failure of the API server has. For a part of it Kubernetes has no typed sign, and none at all where a
//! Deployment repeats why its pods could not be created; the words are the same since many releases. They are read here, and
//! nowhere else.

/// What the API server's words say about who is to blame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said<'a> {
    /// An admission webhook denied the request.
    Denied,
    /// A webhook could not be asked, or did not answer in time.
    WebhookAway {
        /// Its name.
        webhook: &'a str,
        /// Why.
        words: &'a str,
    },
    /// The API server cannot be asked, or not its storage.
    StorageAway,
    /// The API server has just started.
    NotReady,
    /// Who asked lacks a permission.
    NotPermitted,
    /// Something about the request.
    Else,
}

/// What words say. They are fixed in these files below staging/src/k8s.io of Kubernetes:
///
/// - `admission webhook "NAME" denied the request`: apiserver/pkg/admission/plugin/webhook/errors/statuserror.go. What follows,
///   and code, reason and details, are the webhook's.
/// - `failed calling webhook "NAME": WHY`: apiserver/pkg/util/webhook/error.go, after `Internal error occurred: `.
/// - `conversion webhook for KIND failed: WHY`: apiextensions-apiserver/pkg/apiserver/conversion/webhook_converter.go.
/// - `rpc error: code = CODE desc = WHY`, `etcdserver: WHY`: what etcd's client said, as it is.
/// - `Timeout: request did not complete within …` and `the server …`: apimachinery/pkg/api/errors/errors.go, of 504 and 503.
/// - `Post "URL": WHY`: what Go says to a controller that could not reach the API server, as a Deployment repeats it.
/// - `RESOURCE "NAME" is forbidden: User "USER" cannot VERB resource …`: apiserver/pkg/endpoints/handlers/responsewriters.
/// - `… is forbidden: not yet ready to handle request`: admission plugins of an API server that has just started.
pub fn said(words: &str) -> Said<'_> {
    if quoted(words, "admission webhook ").is_some_and(|(_, rest)| rest.starts_with(" denied the request")) {
        return Said::Denied;
    }
    let words = words.strip_prefix("Internal error occurred: ").unwrap_or(words);
    if let Some((webhook, rest)) = quoted(words, "failed calling webhook ") {
        return Said::WebhookAway { webhook, words: rest.trim_start_matches([':', ';', ' ']) };
    }
    let conversion = words.strip_prefix("conversion webhook for ").and_then(|rest| rest.split_once(" failed: "));
    if let Some((webhook, words)) = conversion {
        return Said::WebhookAway { webhook, words };
    }
    if storage_is_away(words) || api_server_is_away(words) {
        return Said::StorageAway;
    }
    match words.split_once(" is forbidden: ") {
        Some((_, "not yet ready to handle request")) => Said::NotReady,
        Some((_, rest)) if quoted(rest, "User ").is_some_and(|(_, rest)| rest.starts_with(" cannot ")) => {
            Said::NotPermitted
        }
        _ => Said::Else,
    }
}

/// Whether the storage says that an object is larger than it takes.
pub fn is_too_large(words: &str) -> bool {
    words.starts_with("etcdserver: request is too large")
        || words.starts_with("rpc error: code = ResourceExhausted desc = trying to send message larger than max")
}

/// A name in quotes after a prefix, and the rest.
fn quoted<'a>(words: &'a str, prefix: &str) -> Option<(&'a str, &'a str)> {
    words.strip_prefix(prefix)?.strip_prefix('"')?.split_once('"')
}

fn api_server_is_away(words: &str) -> bool {
    const BEGINNINGS: [&str; 4] = [
        "Timeout: request did not complete within requested timeout",
        "the server is currently unable to handle the request",
        "the server was unable to return a response in the time allotted",
        "Post \"http",
    ];
    BEGINNINGS.iter().any(|beginning| words.starts_with(beginning))
}

/// What etcd says about a request that is too large is about the object.
fn storage_is_away(words: &str) -> bool {
    const CODES: [&str; 6] = ["Unavailable", "DeadlineExceeded", "Canceled", "Aborted", "Internal", "Unknown"];
    if let Some(rest) = words.strip_prefix("rpc error: code = ") {
        return CODES.iter().any(|code| rest.starts_with(code));
    }
    let etcds = words.strip_prefix("etcdserver: ").is_some_and(|rest| !rest.starts_with("request is too large"));
    etcds || matches!(words, "context deadline exceeded" | "context canceled")
}
