//! How long a trouble may last that may pass by itself, and when somebody has to look again.

use std::time::Duration;

use crate::decide::deadline;
use crate::decide::observed::{DEFAULT_SCHEDULER, Silence, Trouble};
use crate::decide::situation::Situation;

/// Whether there is time in which a trouble could pass by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// There is.
    Usual,
    /// There is not: the deadline has passed.
    Over,
}

/// By then a probe that is asked every two seconds has failed three times.
pub(super) const SOON: Duration = Duration::from_secs(5);

/// By then a kubelet has told why it ended a container.
const TOLD: Duration = Duration::from_secs(1);

/// The usual time of a start: half of what it may take. A gateway that needs no longer is in good health, and nobody is
/// warned of it.
fn usual(s: &Situation<'_>) -> Duration {
    SOON.max(deadline::limit(s.gateway, s.settings) / 2)
}

/// How long a trouble may last before it is a cause.
fn lasts(s: &Situation<'_>, trouble: &Trouble) -> Duration {
    match trouble {
        Trouble::NotTakenUp
        | Trouble::Initializing { .. }
        | Trouble::Unready { was_ready: false }
        | Trouble::ReadinessGate { .. } => usual(s),
        // It may have many to look at.
        Trouble::NoScheduler(scheduler) if scheduler == DEFAULT_SCHEDULER => usual(s),
        _ => SOON,
    }
}

/// Whether the trouble that is followed has lasted too long to pass by itself.
pub(super) fn is_over(s: &Situation<'_>, silence: &Silence, patience: Patience) -> bool {
    patience == Patience::Over || silence.lasted >= lasts(s, &silence.about.trouble)
}

/// Whether the words that were heard are of a time when the trouble could not pass any more.
pub(super) fn was_heard_late(s: &Situation<'_>, silence: &Silence, patience: Patience) -> bool {
    patience == Patience::Over || silence.read_at.is_some_and(|read_at| read_at >= lasts(s, &silence.about.trouble))
}

/// In how long the trouble that is followed is to be looked at again, since time alone makes another of it.
pub fn patience_ends_in(s: &Situation<'_>) -> Option<Duration> {
    let Silence { about, lasted, .. } = s.observed.pods.silence.as_ref()?;
    if !about.trouble.is_silent() || about.trouble == Trouble::SettingUp {
        return None;
    }
    [SOON, lasts(s, &about.trouble)].into_iter().find(|ends| ends > lasted).map(|ends| ends - *lasted)
}

/// In how long the Events of the pod that is followed are to be read, if they are. Not at once: a pod that is in order is
/// ready soon, and nothing is read about it. Then every few seconds, and ever more seldom in a silence that lasts. Words
/// that were heard early are heard once more when they become a cause.
pub fn events_are_due_in(s: &Situation<'_>) -> Option<Duration> {
    let Silence { about, lasted, read_at, complaint } = s.observed.pods.silence.as_ref()?;
    let due = match (&about.trouble, read_at) {
        (Trouble::Gated(_) | Trouble::NoScheduler(_) | Trouble::NotTakenUp | Trouble::ReadinessGate { .. }, _) => {
            return None;
        }
        (Trouble::Ended { .. }, None) => TOLD,
        (Trouble::Ended { .. }, Some(read_at)) if complaint.is_none() && *read_at < SOON => SOON,
        (Trouble::Ended { .. }, Some(_)) => return None,
        (_, None) => SOON,
        (trouble, Some(read_at)) if complaint.is_some() => {
            let patience = lasts(s, trouble);
            if *trouble == Trouble::SettingUp || *read_at >= patience {
                return None;
            }
            patience
        }
        (_, Some(read_at)) => read_at.saturating_add(SOON.max(*read_at / 4)),
    };
    Some(due.saturating_sub(*lasted))
}
