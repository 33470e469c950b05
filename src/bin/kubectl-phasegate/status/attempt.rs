//! The current or last attempt to start or restart, and its remaining time.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use phasegate::api::ApiGateway;
use phasegate::decide::Place;
use phasegate::decide::deadline;
use phasegate::decide::observed::Moment;
use serde::Serialize;

use crate::times;

/// The start deadline if the spec has none. A flag of the operator may set another one, which is unknown here.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(300);

/// An attempt to start or restart.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Try {
    /// Its number.
    pub number: i64,
    /// Whether it is in progress.
    pub running: bool,
    /// How many seconds it has run, without the time during which its clock was held. It is set only while the
    /// attempt is in progress.
    pub elapsed_seconds: u64,
    /// The deadline in seconds.
    pub deadline_seconds: u64,
    /// Whether the deadline is the operator's default. A flag may set another number, which is unknown here.
    pub deadline_is_default: bool,
    /// How many seconds are left.
    pub left_seconds: u64,
    /// Whether the clock is held.
    pub held: bool,
    /// The number of automatic retries that remain.
    pub retries_left: i32,
}

/// The attempt in a gateway's status.
pub fn of(gateway: &ApiGateway, now: Timestamp) -> Option<Try> {
    let status = gateway.status.as_ref()?;
    let attempt = status.attempt.as_ref()?;
    let running = Place::of_status(status).is_some_and(Place::is_attempt);
    let held_since = attempt.held_since.as_ref().filter(|_| running);
    let moment = Moment {
        attempt: times::since(attempt.started_at.0, now),
        held: held_since.map_or(Duration::ZERO, |at| times::since(at.0, now)),
        ..Moment::at(now)
    };
    let limit = gateway.spec.start_deadline.map(Duration::from);
    let elapsed = if running { deadline::elapsed(attempt, &moment) } else { Duration::ZERO };
    Some(Try {
        number: attempt.number,
        running,
        elapsed_seconds: elapsed.as_secs(),
        deadline_seconds: limit.unwrap_or(DEFAULT_DEADLINE).as_secs(),
        deadline_is_default: limit.is_none(),
        left_seconds: limit.unwrap_or(DEFAULT_DEADLINE).saturating_sub(elapsed).as_secs(),
        held: held_since.is_some(),
        retries_left: attempt.retries_left.unwrap_or_default(),
    })
}
