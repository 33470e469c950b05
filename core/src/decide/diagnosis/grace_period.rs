//! Grace periods: how long a trouble that may pass is tolerated, and when to look again.
//!
//! **Architecture invariant:** this module names no cause. It only answers whether the time for one has come.

use std::time::Duration;

use crate::decide::deadline;
use crate::decide::observed::{DEFAULT_SCHEDULER, Trouble, UnexplainedWait};
use crate::decide::situation::Situation;

/// Whether a trouble still has time to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GracePeriod {
    /// It has.
    Usual,
    /// It has not: the deadline has passed.
    Over,
}

/// Long enough for a probe with a period of two seconds to fail three times.
pub(super) const SOON: Duration = Duration::from_secs(5);

/// Long enough for a kubelet to report why it ended a container.
const TOLD: Duration = Duration::from_secs(1);

/// The usual time of a start: half of its deadline. A gateway that needs no longer is healthy and causes no
/// warning.
pub(super) fn usual(s: &Situation<'_>) -> Duration {
    SOON.max(deadline::limit(s.gateway, s.settings) / 2)
}

/// The grace period of a trouble.
fn lasts(s: &Situation<'_>, trouble: &Trouble) -> Duration {
    match trouble {
        Trouble::NotTakenUp
        | Trouble::Initializing { .. }
        | Trouble::Unready { was_ready: false }
        | Trouble::SchedulerFailed(_)
        | Trouble::ReadinessGate { .. } => usual(s),
        // A busy scheduler may need it.
        Trouble::NoScheduler(scheduler) if scheduler == DEFAULT_SCHEDULER => usual(s),
        _ => SOON,
    }
}

/// Whether the grace period is over.
pub(super) fn is_over(s: &Situation<'_>, unexplained: &UnexplainedWait, grace: GracePeriod) -> bool {
    grace == GracePeriod::Over || unexplained.lasted >= lasts(s, &unexplained.about.trouble)
}

/// Whether the Events were read after the grace period.
pub(super) fn was_read_late(s: &Situation<'_>, unexplained: &UnexplainedWait, grace: GracePeriod) -> bool {
    grace == GracePeriod::Over
        || unexplained.read_at.is_some_and(|read_at| read_at >= lasts(s, &unexplained.about.trouble))
}

/// The time until the grace period of the followed pod ends.
pub(super) fn with_pods_ends_in(s: &Situation<'_>) -> Option<Duration> {
    let UnexplainedWait { about, lasted, .. } = s.observed.pods.unexplained.as_ref()?;
    if !about.trouble.is_unexplained() || about.trouble == Trouble::SettingUp {
        return None;
    }
    [SOON, lasts(s, &about.trouble)].into_iter().find(|ends| ends > lasted).map(|ends| ends - *lasted)
}

/// The time until the Events of the followed pod are due to be read, if they are. Not at once: a healthy pod is
/// ready soon, and nothing is read for it. Then every few seconds, with growing intervals. Events that were
/// read early are read again when they become a cause.
pub fn events_are_due_in(s: &Situation<'_>) -> Option<Duration> {
    let UnexplainedWait { about, lasted, read_at, pod_event } = s.observed.pods.unexplained.as_ref()?;
    let due = match (&about.trouble, read_at) {
        (
            Trouble::Gated(_)
            | Trouble::SchedulerFailed(_)
            | Trouble::NoScheduler(_)
            | Trouble::NotTakenUp
            | Trouble::ReadinessGate { .. },
            _,
        ) => return None,
        (Trouble::Ended { .. }, None) => TOLD,
        (Trouble::Ended { .. }, Some(read_at)) if pod_event.is_none() && *read_at < SOON => SOON,
        (Trouble::Ended { .. }, Some(_)) => return None,
        (_, None) => SOON,
        (trouble, Some(read_at)) if pod_event.is_some() => {
            let grace = lasts(s, trouble);
            if *trouble == Trouble::SettingUp || *read_at >= grace {
                return None;
            }
            grace
        }
        (_, Some(read_at)) => read_at.saturating_add(SOON.max(*read_at / 4)),
    };
    Some(due.saturating_sub(*lasted))
}
