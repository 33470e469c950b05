//! Where a gateway is in the state machine.

use crate::api::{Phase, State};

/// A place in the state machine, as the diagram names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// Not yet met.
    New,
    /// Seen, not begun.
    Created,
    /// Starting, state Running.
    Starting,
    /// Starting, state Restarting.
    Restarting,
    /// Started, state Running.
    Started,
    /// Started, state Stopped.
    TimedOut,
    /// Stopping.
    Stopping,
    /// Stopped.
    Stopped,
    /// Deleting.
    Deleting,
}

impl Place {
    /// Where a phase and a state are on the diagram; `None` for a phase of another version.
    pub fn of(phase: Option<&Phase>, state: Option<State>) -> Option<Self> {
        match (phase, state) {
            (None, _) => Some(Self::New),
            (Some(Phase::Created), _) => Some(Self::Created),
            (Some(Phase::Starting), Some(State::Restarting)) => Some(Self::Restarting),
            (Some(Phase::Starting), _) => Some(Self::Starting),
            (Some(Phase::Started), Some(State::Stopped)) => Some(Self::TimedOut),
            (Some(Phase::Started), _) => Some(Self::Started),
            (Some(Phase::Stopping), _) => Some(Self::Stopping),
            (Some(Phase::Stopped), _) => Some(Self::Stopped),
            (Some(Phase::Deleting), _) => Some(Self::Deleting),
            (Some(Phase::Unknown(_)), _) => None,
        }
    }
}
