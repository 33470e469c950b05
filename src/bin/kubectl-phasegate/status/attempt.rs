//! The current or last try to start or restart, and how much time it has left.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use phasegate::api::ApiGateway;
use phasegate::decide::Place;
use phasegate::decide::deadline;
use phasegate::decide::observed::Moment;
use serde::Serialize;

use crate::times;

/// How long a start may take where neither the spec nor, as far as is known here, a flag of the operator says.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(300);

/// A try to start or restart.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Try {
    /// Its number.
    pub number: i64,
    /// Whether it is under way.
    pub running: bool,
    /// How many seconds it has run, without those in which its clock was held. Only while it is under way.
    pub elapsed_seconds: u64,
    /// How many seconds it may run.
    pub deadline_seconds: u64,
    /// Whether that is the operator's default. Its flag may say another number, which is not known here.
    pub deadline_is_default: bool,
    /// How many seconds are left.
    pub left_seconds: u64,
    /// Whether the clock is held.
    pub held: bool,
    /// How many tries of the operator's own follow.
    pub retries_left: i32,
}

/// The try that a gateway's status tells of.
pub fn of(gateway: &ApiGateway, now: Timestamp) -> Option<Try> {
    let status = gateway.status.as_ref()?;
    let attempt = status.attempt.as_ref()?;
    let running = Place::of_status(status).is_some_and(Place::is_attempt);
    let held_since = attempt.held_since.as_ref().filter(|_| running);
    let moment = Moment {
        now,
        attempt: times::since(attempt.started_at.0, now),
        held: held_since.map_or(Duration::ZERO, |at| times::since(at.0, now)),
        phase: Duration::ZERO,
        failure: Duration::ZERO,
        deletion: Duration::ZERO,
        unrecorded: Duration::ZERO,
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
