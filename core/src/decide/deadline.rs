//! The deadline of an attempt. Fair: time during which the clock was held does not count.

use std::time::Duration;

use super::observed::{Moment, Settings};
use crate::api::{ApiGateway, Attempt};

/// How long a start of this gateway may take.
pub fn limit(gateway: &ApiGateway, settings: &Settings) -> Duration {
    gateway.spec.start_deadline.map_or(settings.start_deadline, Duration::from)
}

/// How long the operator waits after a timeout before it tries again by itself.
pub fn backoff(gateway: &ApiGateway) -> Duration {
    const DEFAULT: Duration = Duration::from_secs(60);
    gateway.spec.start_retries.as_ref().and_then(|retries| retries.backoff).map_or(DEFAULT, Duration::from)
}

/// How long the attempt has been running, held time left out.
pub fn elapsed(attempt: &Attempt, moment: &Moment) -> Duration {
    let recorded = Duration::from_secs(attempt.held_seconds.max(0).unsigned_abs());
    // What is held by now is held for whatever reason.
    let held = recorded.saturating_add(moment.held.max(moment.unrecorded));
    moment.attempt.saturating_sub(held)
}

/// How much of the deadline is left; zero when it has passed. An attempt that is not
/// recorded has all of it.
pub fn left(gateway: &ApiGateway, moment: &Moment, settings: &Settings) -> Duration {
    let limit = limit(gateway, settings);
    match gateway.status.as_ref().and_then(|status| status.attempt.as_ref()) {
        Some(attempt) => limit.saturating_sub(elapsed(attempt, moment)),
        None => limit,
    }
}
