//! Classifies messages of the API server. Some failures have no typed sign in Kubernetes, and a Deployment
//! repeats why its pods could not be created only as text. These texts have been the same for many releases.
//!
//! **Architecture invariant:** these texts are parsed here and nowhere else.

/// What a message of the API server means, and so who is at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiMessage<'a> {
    /// An admission webhook denied the request.
    Denied,
    /// A webhook could not be called, or did not answer in time.
    WebhookUnavailable {
        /// Its name.
        webhook: &'a str,
        /// The cause.
        words: &'a str,
    },
    /// The API server or its storage is unavailable.
    StorageUnavailable,
    /// The API server has just started.
    NotReady,
    /// The caller lacks a permission.
    NotPermitted,
    /// Anything else: the request is at fault.
    Other,
}

/// Classifies a message. The texts come from these files below staging/src/k8s.io of Kubernetes:
///
/// - `admission webhook "NAME" denied the request`:
///   apiserver/pkg/admission/plugin/webhook/errors/statuserror.go. The rest of the message, the code, the
///   reason and the details are the webhook's.
/// - `failed calling webhook "NAME": WHY`: apiserver/pkg/util/webhook/error.go, after `Internal error occurred:
///   `.
/// - `conversion webhook for KIND failed: WHY`:
///   apiextensions-apiserver/pkg/apiserver/conversion/webhook_converter.go.
/// - `rpc error: code = CODE desc = WHY`, `etcdserver: WHY`: messages of etcd's client, as they are.
/// - `Timeout: request did not complete within …`, `the server …`, `an error on the server (WHY) …` and
///   `Unauthorized`: apimachinery/pkg/api/errors/errors.go, for 504, 503, 500, 429 and 401. An API server without
///   storage can authenticate no service account.
/// - `unexpected error when reading response body`, `stream error when reading response body` and `client rate
///   limiter Wait returned an error: WHY`: client-go/rest/request.go. `http2: WHY`: Go's client, for a connection
///   that was lost.
/// - `Post "URL": WHY`: Go's message to a controller that could not reach the API server, as a Deployment
///   repeats it; `Get "URL": WHY`: the same to an admission plugin that looked something up.
/// - `RESOURCE "NAME" is forbidden: User "USER" cannot VERB resource …`:
///   apiserver/pkg/endpoints/handlers/responsewriters.
/// - `resource quota evaluation timed out`: apiserver/pkg/admission/plugin/resourcequota/controller.go, after
///   `Internal error occurred: `. No quota was exceeded.
/// - `… is forbidden: not yet ready to handle request`: admission plugins of an API server that has just
///   started.
/// - `… is forbidden: WHY`, where WHY is any of the failures above: an admission plugin that could not look up what
///   it decides by, such as the limit ranges of the namespace (plugin/pkg/admission/limitranger/admission.go of
///   Kubernetes) or, after `error looking up service account NAMESPACE/NAME: `, the service account
///   (plugin/pkg/admission/serviceaccount/admission.go). The object breaks no rule.
pub fn classify(words: &str) -> ApiMessage<'_> {
    if quoted(words, "admission webhook ").is_some_and(|(_, rest)| rest.starts_with(" denied the request")) {
        return ApiMessage::Denied;
    }
    let words = words.strip_prefix("Internal error occurred: ").unwrap_or(words);
    if let Some((webhook, rest)) = quoted(words, "failed calling webhook ") {
        return ApiMessage::WebhookUnavailable { webhook, words: rest.trim_start_matches([':', ';', ' ']) };
    }
    let conversion = words.strip_prefix("conversion webhook for ").and_then(|rest| rest.split_once(" failed: "));
    if let Some((webhook, words)) = conversion {
        return ApiMessage::WebhookUnavailable { webhook, words };
    }
    if storage_is_away(words) || api_server_is_away(words) {
        return ApiMessage::StorageUnavailable;
    }
    match words.split_once(" is forbidden: ") {
        Some((_, "not yet ready to handle request")) => ApiMessage::NotReady,
        Some((_, rest)) if quoted(rest, "User ").is_some_and(|(_, rest)| rest.starts_with(" cannot ")) => {
            ApiMessage::NotPermitted
        }
        Some((_, why)) if admission_could_not_look_up(why) => ApiMessage::StorageUnavailable,
        _ => ApiMessage::Other,
    }
}

/// Whether an admission plugin refuses a request because a request of its own failed.
fn admission_could_not_look_up(why: &str) -> bool {
    let service_account = why.strip_prefix("error looking up service account ");
    let why = service_account.and_then(|rest| rest.split_once(": ")).map_or(why, |(_name, why)| why);
    let limit_ranges = why.ends_with(" at this time because there was an error enforcing limit ranges");
    limit_ranges || classify(why) == ApiMessage::StorageUnavailable
}

/// Whether the storage refuses an object as too large.
pub fn is_too_large(words: &str) -> bool {
    words.starts_with("etcdserver: request is too large")
        || words.starts_with("rpc error: code = ResourceExhausted desc = trying to send message larger than max")
}

/// A quoted name after a prefix, and the rest.
fn quoted<'a>(words: &'a str, prefix: &str) -> Option<(&'a str, &'a str)> {
    words.strip_prefix(prefix)?.strip_prefix('"')?.split_once('"')
}

fn api_server_is_away(words: &str) -> bool {
    const BEGINNINGS: [&str; 13] = [
        "Timeout: request did not complete within requested timeout",
        "the server is currently unable to handle the request",
        "the server was unable to return a response in the time allotted",
        "the server has received too many requests and has asked us to try again later",
        "the server has asked for the client to provide credentials",
        "an error on the server (",
        "unexpected error when reading response body",
        "stream error when reading response body",
        "client rate limiter Wait returned an error",
        "http2: ",
        "Post \"http",
        "Get \"http",
        "resource quota evaluation timed out",
    ];
    BEGINNINGS.iter().any(|beginning| words.starts_with(beginning)) || words == "Unauthorized"
}

/// etcd's message about a request that is too large concerns the object, not the storage.
fn storage_is_away(words: &str) -> bool {
    const CODES: [&str; 6] = ["Unavailable", "DeadlineExceeded", "Canceled", "Aborted", "Internal", "Unknown"];
    if let Some(rest) = words.strip_prefix("rpc error: code = ") {
        return CODES.iter().any(|code| rest.starts_with(code));
    }
    let etcds = words.strip_prefix("etcdserver: ").is_some_and(|rest| !rest.starts_with("request is too large"));
    etcds || matches!(words, "context deadline exceeded" | "context canceled")
}
