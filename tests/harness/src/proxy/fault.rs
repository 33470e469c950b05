//! The faults, by the point of a request's way at which they apply.

use std::fmt::Write as _;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Response, header};
use futures::stream;
use serde_json::{Value, json};

use super::BoxError;

/// A fault for a request, for its response, or for a response in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    // Before the API server. It receives the request late, twice or not at all.
    /// Responds with this HTTP status and does not forward the request.
    Answer(u16),
    /// Responds with 429 and asks the client to retry after this number of seconds.
    TryAgainAfter(u32),
    /// Responds with the error page of a load balancer, in HTML.
    ErrorPage(u16),
    /// Does not respond, and closes the connection when the rule is dropped.
    Hang,
    /// Forwards the request when the rule is dropped, even if its client is gone by then.
    Hold,
    /// Closes the connection, even of a response in progress.
    Cut,
    /// Forwards the request after this time.
    Delay(Duration),
    /// Forwards the request twice, and responds with the second answer.
    Twice,
    /// Asks for pages of this many objects.
    Pages(u32),

    // After the API server has carried the request out.
    /// Responds with this HTTP status instead of the API server's.
    AnswerAfterwards(u16),
    /// Closes the connection without a response.
    CutAfterwards,
    /// Does not respond, and closes the connection when the rule is dropped.
    HangAfterwards,
    /// Responds when the rule is dropped.
    HoldAfterwards,
    /// Responds after this time.
    AnswerLate(Duration),
    /// Closes the connection after half of the response.
    Truncate,
    /// Responds with success and no content.
    Empty,
    /// Responds with success and a page in HTML.
    Garbage,
    /// Responds to the same request with what the API server responded while this rule first applied.
    Stale,

    // Within the events of a watch.
    /// Forwards no further byte of the response and keeps the connection open.
    Mute,
    /// Sends an `ERROR` event with this code and ends the watch.
    ErrorEvent(u16),
    /// Sends every event twice.
    Double,
    /// Sends an object's previous event again before its next one.
    Replay,
    /// Holds events back and sends only the last state of each object.
    Merge,
    /// Sends half of an event and closes the connection.
    HalfEvent,
    /// Sends events after this time, in their order.
    Late(Duration),
}

impl Fault {
    /// Whether it applies when a request arrives, or to its whole response.
    pub(super) fn is_of_requests(&self) -> bool {
        !self.is_of_events() && *self != Self::Mute
    }

    /// Whether it changes a whole response.
    pub(super) fn is_of_answers(&self) -> bool {
        matches!(
            self,
            Self::AnswerAfterwards(_)
                | Self::CutAfterwards
                | Self::HangAfterwards
                | Self::HoldAfterwards
                | Self::AnswerLate(_)
                | Self::Truncate
                | Self::Empty
                | Self::Garbage
                | Self::Stale
        )
    }

    /// Whether it applies to a response in progress, whatever its content.
    pub(super) fn is_of_streams(&self) -> bool {
        matches!(self, Self::Mute | Self::Cut)
    }

    /// Whether it applies to single events of a watch.
    pub(super) fn is_of_events(&self) -> bool {
        matches!(
            self,
            Self::ErrorEvent(_) | Self::Double | Self::Replay | Self::Merge | Self::HalfEvent | Self::Late(_)
        )
    }
}

/// A response that ends before it is complete, after these bytes.
pub(super) fn broken_off(after: Bytes) -> Response<Body> {
    let parts = [Ok(after), Err::<Bytes, BoxError>("cut".into())];
    Response::new(Body::from_stream(stream::iter(parts)))
}

/// A page that is no answer of an API server.
pub(super) fn page(code: u16) -> Response<Body> {
    let text = format!("<html><body><h1>{code}</h1><p>the test's proxy</p></body></html>");
    Response::builder().status(code).header(header::CONTENT_TYPE, "text/html").body(Body::from(text)).unwrap()
}

/// The `Status` of a refusal, as an API server writes it.
pub(super) fn status(code: u16, retry_after: Option<u32>) -> Value {
    let mut message = format!("the test's proxy answers {code}");
    if let Some(seconds) = retry_after {
        let _ = write!(message, ", try again after {seconds} s");
    }
    let reason = match code {
        401 => "Unauthorized",
        403 => "Forbidden",
        409 => "Conflict",
        410 => "Expired",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "InternalError",
    };
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "code": code, "reason": reason, "message": message, "details": { "retryAfterSeconds": retry_after },
    })
}

pub(super) fn refusal(code: u16, retry_after: Option<u32>) -> Response<Body> {
    let mut answer = Response::builder().status(code).header(header::CONTENT_TYPE, "application/json");
    // An API server reports it in the header and in the body.
    if let Some(seconds) = retry_after {
        answer = answer.header(header::RETRY_AFTER, seconds);
    }
    answer.body(Body::from(status(code, retry_after).to_string())).unwrap()
}
