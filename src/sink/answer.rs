//! What a sink's answer means.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};

use crate::metrics::labels::EventFailure;

/// The longest `Retry-After` that is obeyed.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// What an attempt to send an event came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The sink has the event.
    Taken,
    /// The sink will never take this event.
    Refused,
    /// The sink may take it later.
    Later(EventFailure, Duration),
}

impl Answer {
    /// A failure without a wait of its own.
    pub(super) fn failed(why: EventFailure) -> Self {
        Self::Later(why, Duration::ZERO)
    }

    /// The meaning of a response.
    ///
    /// Only what is about the event itself refuses it: a request that is malformed, too large, of an unknown type or
    /// not acceptable. Everything else is about the sink or the way to it, which somebody repairs: a missing route,
    /// a rotated secret, a redirect, a sink that is gone. Redirects are not followed.
    pub(super) fn of(status: StatusCode, headers: &HeaderMap) -> Self {
        let why = match status.as_u16() {
            200..=299 => return Self::Taken,
            400 | 413 | 415 | 422 => return Self::Refused,
            429 => EventFailure::Throttled,
            300..=399 => EventFailure::Redirect,
            401 | 403 => EventFailure::Unauthorized,
            402..=499 => EventFailure::ClientError,
            _ => EventFailure::ServerError,
        };
        let seconds = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        Self::Later(why, seconds.map_or(Duration::ZERO, Duration::from_secs).min(LONGEST_WAIT))
    }
}
