//! The deadline of an attempt. Time with a held clock does not count.
//!
//! **Architecture invariant:** this module reads no clock: the elapsed time comes with the [`Moment`].

use std::time::Duration;

use super::observed::{Moment, Settings};
use crate::api::{ApiGateway, Attempt};

/// The start deadline of a gateway.
pub fn limit(gateway: &ApiGateway, settings: &Settings) -> Duration {
    gateway.spec.start_deadline.map_or(settings.start_deadline, Duration::from)
}

/// The backoff before the operator retries a failed start.
pub fn backoff(gateway: &ApiGateway) -> Duration {
    const DEFAULT: Duration = Duration::from_secs(60);
    gateway.spec.start_retries.as_ref().and_then(|retries| retries.backoff).map_or(DEFAULT, Duration::from)
}

/// The running time of an attempt, without held time.
pub fn elapsed(attempt: &Attempt, moment: &Moment) -> Duration {
    let recorded = Duration::from_secs(attempt.held_seconds.max(0).unsigned_abs());
    // All current holds share one clock, whatever their reasons.
    let held = recorded.saturating_add(moment.held.max(moment.unrecorded));
    moment.attempt.saturating_sub(held)
}

/// The time left until the deadline; zero once it has passed. An attempt that is not recorded yet has all of
/// it.
pub fn left(gateway: &ApiGateway, moment: &Moment, settings: &Settings) -> Duration {
    let limit = limit(gateway, settings);
    match gateway.status.as_ref().and_then(|status| status.attempt.as_ref()) {
        Some(attempt) => limit.saturating_sub(elapsed(attempt, moment)),
        None => limit,
    }
}
