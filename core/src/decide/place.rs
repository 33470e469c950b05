//! The nodes of the state diagram.
//!
//! **Architecture invariant:** a phase or a state of another version has no node, so no transition starts from
//! it.

use crate::api::{ApiGateway, ApiGatewayStatus, Phase, State};

/// A node of the state diagram: a phase together with a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// Without a status.
    New,
    /// Seen, not started yet.
    Created,
    /// Phase Starting, state Running.
    Starting,
    /// Phase Starting, state Restarting.
    Restarting,
    /// Phase Started, state Running.
    Started,
    /// Phase Started, state Stopped: about to be stopped after a timeout.
    TimedOut,
    /// Stopping.
    Stopping,
    /// Stopped.
    Stopped,
    /// Deleting.
    Deleting,
}

impl Place {
    /// All nodes, in the order of a gateway's life.
    pub const ALL: [Self; 9] = [
        Self::New,
        Self::Created,
        Self::Starting,
        Self::Restarting,
        Self::Started,
        Self::TimedOut,
        Self::Stopping,
        Self::Stopped,
        Self::Deleting,
    ];

    /// The node of a phase and a state; `None` for values of another version.
    pub fn of(phase: Option<&Phase>, state: Option<State>) -> Option<Self> {
        match (phase, state) {
            (_, Some(State::Unknown(_))) => None,
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

    /// The node of a status.
    pub fn of_status(status: &ApiGatewayStatus) -> Option<Self> {
        Self::of(status.phase.as_ref(), status.state)
    }

    /// The node of a gateway.
    pub fn of_gateway(gateway: &ApiGateway) -> Option<Self> {
        gateway.status.as_ref().map_or(Some(Self::New), Self::of_status)
    }

    /// `status.phase` at this node; `None` before the first transition.
    pub fn phase(self) -> Option<Phase> {
        match self {
            Self::New => None,
            Self::Created => Some(Phase::Created),
            Self::Starting | Self::Restarting => Some(Phase::Starting),
            Self::Started | Self::TimedOut => Some(Phase::Started),
            Self::Stopping => Some(Phase::Stopping),
            Self::Stopped => Some(Phase::Stopped),
            Self::Deleting => Some(Phase::Deleting),
        }
    }

    /// `status.state` at this node; `None` before the first transition.
    pub fn state(self) -> Option<State> {
        match self {
            Self::New => None,
            Self::Created | Self::Starting | Self::Started => Some(State::Running),
            Self::Restarting => Some(State::Restarting),
            Self::TimedOut | Self::Stopping | Self::Stopped | Self::Deleting => Some(State::Stopped),
        }
    }

    /// Whether an attempt runs, with a clock of its own.
    pub fn is_attempt(self) -> bool {
        matches!(self, Self::Starting | Self::Restarting)
    }
}
