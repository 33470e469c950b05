//! The next event of one gateway, from its status.

use crate::api::{ApiGatewayStatus, Phase, Reason, State, Transition};

/// What a gateway's status has to deliver next.
#[derive(Debug, PartialEq)]
pub enum Due<'a> {
    /// Everything is delivered.
    Nothing,
    /// The next event.
    Event(DueEvent<'a>),
    /// The history holds none of the transitions that are left. They were never delivered.
    Lost {
        /// How many.
        missed: i64,
    },
}

/// One transition, as it is delivered.
#[derive(Debug, PartialEq)]
pub struct DueEvent<'a> {
    /// The number of the transition, from 1.
    pub sequence: i64,
    /// How many transitions before this one were never delivered: they left the history first.
    pub missed: i64,
    /// The number of the attempt that the transition belongs to, if there was one.
    pub attempt: Option<i64>,
    /// The transition.
    pub transition: &'a Transition,
}

/// The kinds of events. They are the last part of an event's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The gateway waits before its first attempt.
    Created,
    /// An attempt began.
    Starting,
    /// An attempt succeeded.
    Started,
    /// An attempt ended at its deadline.
    Failed,
    /// A stop began.
    Stopping,
    /// The gateway is stopped.
    Stopped,
    /// A deletion began.
    Deleting,
    /// A transition that this version does not know.
    Changed,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Created,
        Self::Starting,
        Self::Started,
        Self::Failed,
        Self::Stopping,
        Self::Stopped,
        Self::Deleting,
        Self::Changed,
    ];

    /// The kind of a transition.
    pub fn of(transition: &Transition) -> Self {
        let is_failure = matches!(transition.reason, Reason::StartDeadlineExceeded | Reason::RestartDeadlineExceeded);
        match &transition.to {
            Phase::Created => Self::Created,
            Phase::Starting => Self::Starting,
            Phase::Started if is_failure || transition.state == State::Stopped => Self::Failed,
            Phase::Started => Self::Started,
            Phase::Stopping => Self::Stopping,
            Phase::Stopped => Self::Stopped,
            Phase::Deleting => Self::Deleting,
            Phase::Unknown(_) => Self::Changed,
        }
    }

    /// The kind as types spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Starting => "starting",
            Self::Started => "started",
            Self::Failed => "failed",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Deleting => "deleting",
            Self::Changed => "changed",
        }
    }
}

/// The next event after the delivered position.
pub fn due(status: &ApiGatewayStatus, delivered: i64) -> Due<'_> {
    let left = status.transitions.saturating_sub(delivered);
    if left <= 0 {
        return Due::Nothing;
    }
    let kept = i64::try_from(status.history.len()).unwrap_or(i64::MAX);
    let missed = left.saturating_sub(kept).max(0);
    let index = usize::try_from(kept.saturating_sub(left).max(0)).unwrap_or(usize::MAX);
    let Some(transition) = status.history.get(index) else { return Due::Lost { missed: left } };
    let sequence = delivered.saturating_add(missed).saturating_add(1);
    Due::Event(DueEvent { sequence, missed, attempt: attempt_at(status, index), transition })
}

/// The attempt of an entry: the current one, less those that began later.
fn attempt_at(status: &ApiGatewayStatus, index: usize) -> Option<i64> {
    let later = status.history.iter().skip(index.saturating_add(1));
    let begun_later = i64::try_from(later.filter(|entry| entry.to == Phase::Starting).count()).ok()?;
    let number = status.attempt.as_ref()?.number.checked_sub(begun_later)?;
    (number > 0).then_some(number)
}
