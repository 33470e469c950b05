//! What a decision says: the steps, the change of phase, the status and the Events.

use std::time::Duration;

use super::observed::Child;
use crate::api::{ApiGatewayStatus, Phase, Reason, State};

/// One act on a child or on the environments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// POST it.
    Create(Child),
    /// PUT it over what is there.
    Update(Child),
    /// DELETE it.
    Delete(Child),
    /// Make every allowed environment Active.
    ActivateEnvironments,
    /// Make every environment Inactive.
    DeactivateEnvironments,
    /// Keep the gateway until it was forgotten in the registry.
    AddFinalizer,
    /// Let the gateway go.
    RemoveFinalizer,
    /// Record the gateway in the registry.
    Record,
    /// Make the documents of Active environments Active.
    ActivateDocuments,
    /// Make the documents of other environments Inactive.
    DeactivateDocuments,
    /// Tell the registry the last transition.
    Report,
    /// Remove from the registry what goes with the gateway.
    Forget,
    /// Read the Events of a pod that is not ready and whose status does not say why.
    ReadEvents,
}

impl Step {
    /// Whether it is a write to the registry. What fails there keeps nothing else from being done.
    pub fn is_registrys(self) -> bool {
        match self {
            Self::Record | Self::ActivateDocuments | Self::DeactivateDocuments | Self::Report | Self::Forget => true,
            Self::Create(_)
            | Self::Update(_)
            | Self::Delete(_)
            | Self::ActivateEnvironments
            | Self::DeactivateEnvironments
            | Self::AddFinalizer
            | Self::RemoveFinalizer
            | Self::ReadEvents => false,
        }
    }
}

/// What the state machine says.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The phase stays; carry out `steps`, and look again after `wake`.
    Stay {
        /// Acts on children and environments, in this order.
        steps: Vec<Step>,
        /// When time alone changes the verdict.
        wake: Option<Duration>,
    },
    /// The phase changes; nothing else is done in the same plan.
    Go(Move),
}

/// A change of phase, of state, or of attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Move {
    /// The phase after.
    pub phase: Phase,
    /// `status.state` after.
    pub state: State,
    /// Why.
    pub reason: Reason,
    /// Whether a new attempt begins.
    pub attempt: NextAttempt,
    /// Whether the pods are to be replaced by new ones.
    pub restarts_pods: bool,
}

/// Whether a move begins a new attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextAttempt {
    /// It does not.
    None,
    /// It does, with the retries that the spec grants.
    Asked,
    /// It does, and retries left are as they were.
    Resumed,
    /// It does, and is one of the retries.
    Retry,
}

/// What is to be done now. A plan that changes the phase has no steps: the transition is
/// recorded first, and the next decision acts on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Acts, in this order; the first that fails ends them.
    pub steps: Vec<Step>,
    /// The status to be recorded, if it says anything new.
    pub status: Option<ApiGatewayStatus>,
    /// Events to be told once the status is recorded.
    pub notes: Vec<Note>,
    /// When to look again although nothing happened.
    pub wake: Option<Duration>,
    /// Whether the phase, the state or the attempt changes.
    pub moves: bool,
}

/// An Event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Whether something is wrong.
    pub warning: bool,
    /// Why.
    pub reason: Reason,
    /// In words.
    pub message: String,
}

impl Plan {
    /// Whether this plan gives up an attempt. Such a plan is made again from a live read
    /// before it is carried out: a cache may be behind.
    pub fn gives_up(&self) -> bool {
        let last = self.status.as_ref().and_then(|status| status.history.last());
        self.moves
            && last.is_some_and(|last| {
                matches!(last.reason, Reason::StartDeadlineExceeded | Reason::RestartDeadlineExceeded)
                    && last.to == Phase::Started
            })
    }
}
