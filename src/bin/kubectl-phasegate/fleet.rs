//! A gateway as a row of a table.
//!
//! **Architecture invariant**: a row holds everything that `get` keeps of a gateway; the object itself is
//! dropped.

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use phasegate::api::{ApiGateway, ApiGatewayStatus, Guarded, ObjectKey, Phase, Reason, State, Unreadable, condition};
use phasegate::decide::Place;
use serde::Serialize;

use crate::cause::{self, Cause};
use crate::output::{Piece, Style, piece, plain};
use crate::times;

/// How long after its deadline an unfinished start counts as stuck.
const GRACE: SignedDuration = SignedDuration::from_secs(30);
/// The longest likely start deadline if the spec has none. The operator's default is unknown here, and a
/// gateway must not be reported as stuck too early.
const LONGEST_DEFAULT: SignedDuration = SignedDuration::from_mins(30);

/// A row of `get`, and an entry of `items` in `get -o json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The desired state (`spec.state`).
    pub asked: String,
    /// The operator's state for the gateway (`status.state`).
    pub state: String,
    /// The phase (`status.phase`).
    pub phase: String,
    /// Whether the observed state matches the desired one.
    pub ready: bool,
    /// The reason of the condition Ready.
    pub reason: String,
    /// The known failure, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// Whether nothing changes until a user acts.
    pub stuck: bool,
    /// Whether the attempt will fail for a known cause.
    pub failing: bool,
    /// The number of the current or last attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i64>,
    /// The host in the spec.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The image in the spec.
    pub image: String,
    /// Ready pods, as of the last transition.
    pub ready_replicas: i32,
    /// Pods that the gateway should have: those of the spec, and those that are left while it is stopped.
    pub replicas: i32,
    /// Active environments.
    pub active_environments: i32,
    /// Environments.
    pub environments: i32,
    /// When it was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// When the current start was due to end.
    #[serde(skip)]
    due: Option<Timestamp>,
}

/// The titles of the columns.
pub const TITLES: [&str; 8] = ["NAME", "STATE", "PHASE", "READY", "REASON", "ATTEMPT", "HOST", "AGE"];
/// The titles of the columns that `-o wide` adds.
pub const WIDE_TITLES: [&str; 3] = ["REPLICAS", "ENVIRONMENTS", "IMAGE"];
/// The title of the column that `-o wide` and `--stuck` add.
pub const CAUSE_TITLE: &str = "CAUSE";

/// The optional columns of a table.
#[derive(Clone, Copy, Debug)]
pub struct Columns {
    /// The columns of `-o wide`.
    pub wide: bool,
    /// The column with the cause.
    pub cause: bool,
}

impl Row {
    /// The row of a gateway.
    pub fn of(gateway: &Guarded<ApiGateway>, now: Timestamp) -> Self {
        match &gateway.0 {
            Ok(gateway) => Self::readable(gateway, now),
            Err(error) => Self::unreadable(error),
        }
    }

    fn unreadable(error: &Unreadable) -> Self {
        let ObjectKey { namespace, name } = ObjectKey::of_meta(&error.metadata);
        Self {
            namespace,
            name,
            asked: String::new(),
            state: String::new(),
            phase: String::new(),
            ready: false,
            reason: Reason::Undecodable.to_string(),
            cause: Some(Cause {
                reason: Reason::Undecodable.to_string(),
                message: error.error.clone(),
                hint: Some("Use the kubectl-phasegate of the operator's version.".to_owned()),
            }),
            stuck: true,
            failing: false,
            attempt: None,
            host: None,
            image: String::new(),
            ready_replicas: 0,
            replicas: 0,
            active_environments: 0,
            environments: 0,
            created: error.metadata.creation_timestamp.as_ref().map(|at| at.0),
            due: None,
        }
    }

    fn readable(gateway: &ApiGateway, now: Timestamp) -> Self {
        let ObjectKey { namespace, name } = ObjectKey::of(gateway);
        let status = gateway.status.as_ref();
        let cause = cause::of(gateway, now);
        let due = due(gateway);
        let environments = status.and_then(|status| status.environments.as_ref());
        let mut row = Self {
            namespace,
            name,
            asked: gateway.spec.state.to_string(),
            state: status.and_then(|status| status.state).map(|state| state.to_string()).unwrap_or_default(),
            phase: phase(gateway),
            ready: cause::is(gateway, condition::READY),
            reason: cause::reason_of(gateway).to_owned(),
            stuck: cause::is(gateway, condition::STALLED) || gateway.spec.suspend || cause::waits_for_others(gateway),
            failing: cause::is_failing(gateway),
            cause,
            attempt: status.and_then(|status| status.attempt.as_ref()).map(|attempt| attempt.number),
            host: gateway.spec.host.clone(),
            image: gateway.spec.image.clone(),
            ready_replicas: status.and_then(|status| status.ready_replicas).unwrap_or_default(),
            replicas: replicas(gateway),
            active_environments: environments.map_or(0, |count| count.active),
            environments: environments.map_or(0, |count| count.total),
            created: gateway.metadata.creation_timestamp.as_ref().map(|at| at.0),
            due,
        };
        row.tick(now);
        row
    }

    /// Updates the values that depend on the current time.
    pub fn tick(&mut self, now: Timestamp) {
        let is_due = self.due.is_some_and(|due| due < now);
        self.stuck = !self.ready && (self.stuck || is_due);
        // Without a reason, no operator has written its status.
        if self.reason.is_empty() && is_due {
            self.cause.get_or_insert_with(cause::unseen);
        }
    }

    /// The columns, without the namespace.
    pub fn cells(&self, columns: Columns, now: Timestamp) -> Vec<Piece> {
        let dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        let style = self.style();
        let age = self.created.map_or_else(|| "-".to_owned(), |at| times::age(times::since(at, now)));
        let mut cells = vec![
            plain(&self.name),
            plain(dash(&self.state)),
            piece(dash(&self.phase), style),
            piece(if self.ready { "True" } else { "False" }, style),
            piece(dash(&self.reason), style),
            plain(self.attempt.map_or_else(|| "-".to_owned(), |number| number.to_string())),
            plain(dash(self.host.as_deref().unwrap_or_default())),
            plain(age),
        ];
        if columns.wide {
            cells.extend([
                plain(format!("{}/{}", self.ready_replicas, self.replicas)),
                plain(format!("{}/{}", self.active_environments, self.environments)),
                plain(dash(&self.image)),
            ]);
        }
        if columns.cause {
            cells.push(plain(self.why()));
        }
        cells
    }

    /// What is wrong, as a sentence. Its reason precedes it if the column REASON shows another one.
    fn why(&self) -> String {
        match &self.cause {
            None => "-".to_owned(),
            Some(cause) if cause.reason == self.reason => cause.message.clone(),
            Some(cause) => format!("{}: {}", cause.reason, cause.message),
        }
    }

    /// Whether a user has to act: the gateway is stuck, or its attempt will fail.
    pub fn needs_somebody(&self) -> bool {
        self.stuck || self.failing
    }

    fn style(&self) -> Style {
        match (self.ready, self.stuck, self.cause.is_some()) {
            (true, _, _) => Style::Good,
            (false, true, _) | (false, _, true) => Style::Bad,
            (false, false, false) => Style::Busy,
        }
    }

    /// The order if not all rows fit: rows in trouble come first, then rows in transition.
    pub fn urgency(&self) -> u8 {
        match self.style() {
            Style::Bad => 0,
            Style::Busy => 1,
            _ => 2,
        }
    }
}

fn replicas(gateway: &ApiGateway) -> i32 {
    let status = gateway.status.as_ref();
    let left = status.and_then(|status| status.replicas).unwrap_or_default();
    let is_stopped = status.and_then(|status| status.state) == Some(State::Stopped);
    gateway.spec.replicas.filter(|_| !is_stopped).unwrap_or(left)
}

fn phase(gateway: &ApiGateway) -> String {
    if gateway.is_being_deleted() {
        return Phase::Deleting.to_string();
    }
    let phase = gateway.status.as_ref().and_then(|status| status.phase.as_ref());
    phase.map(ToString::to_string).unwrap_or_default()
}

/// When somebody should have acted: the operator on a new gateway, or on a start whose clock runs.
fn due(gateway: &ApiGateway) -> Option<Timestamp> {
    if cause::condition_of(gateway, condition::READY).is_none() {
        let created = gateway.metadata.creation_timestamp.as_ref()?.0;
        return created.checked_add(cause::UNSEEN).ok();
    }
    let is_attempt = |status: &&ApiGatewayStatus| Place::of_status(status).is_some_and(Place::is_attempt);
    let status = gateway.status.as_ref().filter(is_attempt)?;
    let attempt = status.attempt.as_ref().filter(|attempt| attempt.held_since.is_none())?;
    let limit = gateway.spec.start_deadline.map(std::time::Duration::from);
    let limit = limit.and_then(|limit| SignedDuration::try_from(limit).ok()).unwrap_or(LONGEST_DEFAULT);
    let held = SignedDuration::from_secs(attempt.held_seconds);
    attempt.started_at.0.checked_add(limit).ok()?.checked_add(held).ok()?.checked_add(GRACE).ok()
}

/// The number of rows, in words.
pub fn summary<'a>(rows: impl IntoIterator<Item = &'a Row>) -> String {
    let (mut all, mut ready, mut stuck) = (0_usize, 0, 0);
    for row in rows {
        all += 1;
        ready += usize::from(row.ready);
        stuck += usize::from(row.stuck);
    }
    format!("{all} gateways: {ready} ready, {} in progress, {stuck} stuck", all - ready - stuck)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::samples::{self, NOW, shop};

    fn row(gateway: ApiGateway) -> Row {
        Row::of(&phasegate::api::Guarded::whole(gateway), NOW)
    }

    #[test]
    fn stuck_is_what_does_not_move_until_somebody_acts() {
        let suspended = |mut gateway: ApiGateway| {
            gateway.spec.suspend = true;
            gateway
        };
        let hour = NOW + SignedDuration::from_hours(1);
        let bare = || shop(json!({}), Value::Null);
        let held = || {
            let mut gateway = samples::starting();
            let attempt = gateway.status.as_mut().unwrap().attempt.as_mut().unwrap();
            attempt.held_since = Some(attempt.started_at.clone());
            gateway
        };
        let away = || {
            let mut gateway = held();
            let conditions = &mut gateway.status.as_mut().unwrap().conditions;
            for condition in conditions.iter_mut().filter(|condition| condition.type_ == condition::READY) {
                "WebhookUnavailable".clone_into(&mut condition.reason);
            }
            gateway
        };
        let was_held = || {
            let mut gateway = samples::starting();
            gateway.status.as_mut().unwrap().attempt.as_mut().unwrap().held_seconds = 3_600;
            gateway
        };
        // (gateway, now, an hour later)
        for (what, gateway, expected) in [
            ("started", samples::started(), [false, false]),
            ("starting, with nobody to end it", samples::starting(), [false, true]),
            ("starting, its clock held", held(), [false, false]),
            ("starting, its clock held by a webhook that is away", away(), [true, true]),
            ("starting, its clock was held for long", was_held(), [false, false]),
            ("failing, within its deadline", samples::failing(), [false, true]),
            ("timed out", samples::timed_out(), [true, true]),
            ("tried again by the operator", samples::retry_scheduled(), [false, false]),
            ("stopped as asked", samples::stopped(), [false, false]),
            ("scaled to zero", samples::scaled_to_zero(), [false, false]),
            ("its restart failed", samples::restart_failed(), [true, true]),
            ("its start is not complete", samples::start_incomplete(), [true, true]),
            ("seen by no operator", bare(), [true, true]),
            ("suspended while it starts", suspended(samples::starting()), [true, true]),
            ("suspended while it serves", suspended(samples::started()), [false, false]),
        ] {
            let mut row = row(gateway);
            let now = row.stuck;
            row.tick(hour);
            assert_eq!([now, row.stuck], expected, "{what}");
        }
    }

    /// Otherwise `get -w` prints rows of unchanged gateways again when a watch restarts.
    #[test]
    fn a_row_that_follows_the_time_is_the_row_of_that_time() {
        let hour = NOW + SignedDuration::from_hours(1);
        let fresh = || {
            let mut gateway = shop(json!({}), Value::Null);
            gateway.metadata.creation_timestamp.as_mut().unwrap().0 = NOW;
            gateway
        };
        for sample in [fresh, samples::starting, samples::started, samples::failing, samples::timed_out] {
            let mut followed = row(sample());
            followed.tick(hour);
            assert_eq!(followed, Row::of(&phasegate::api::Guarded::whole(sample()), hour));
        }
    }

    #[test]
    fn somebody_is_needed_as_soon_as_a_cause_is_known() {
        for (what, gateway, expected) in [
            ("failing, within its deadline", samples::failing(), true),
            ("timed out", samples::timed_out(), true),
            ("tried again by the operator", samples::retry_scheduled(), false),
            ("starting", samples::starting(), false),
            ("started", samples::started(), false),
        ] {
            assert_eq!(row(gateway).needs_somebody(), expected, "{what}");
        }
    }

    #[test]
    fn the_cause_of_what_was_given_up_has_its_word_before_it() {
        let why = |gateway| {
            let cells = row(gateway).cells(Columns { wide: false, cause: true }, NOW);
            cells.last().unwrap().to_string()
        };
        let cause = "pod shop-1: image \"acme/gateway:1\" cannot be pulled";
        assert_eq!(why(samples::timed_out()), format!("ImagePullFailed: {cause}"));
        assert_eq!(why(samples::failing()), format!("{cause}. Check spec.image."));
        assert_eq!(why(samples::started()), "-");
    }

    #[test]
    fn a_fleet_is_counted_in_three_groups() {
        let rows = [samples::started(), samples::starting(), samples::failing(), samples::timed_out()].map(row);
        assert_eq!(summary(&rows), "4 gateways: 1 ready, 2 in progress, 1 stuck");
    }
}
