//! What a decision says: the steps, the change of phase, the status and the Events.

use std::time::Duration;

use super::observed::Child;
use crate::api::{ApiGatewayStatus, Phase, Reason, State};

/// One act: on a child, on the environments, on the gateway's finalizers, in the registry, or a question.
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
    /// The child that it writes or deletes.
    pub fn child(self) -> Option<Child> {
        match self {
            Self::Create(child) | Self::Update(child) | Self::Delete(child) => Some(child),
            Self::ActivateEnvironments
            | Self::DeactivateEnvironments
            | Self::AddFinalizer
            | Self::RemoveFinalizer
            | Self::Record
            | Self::ActivateDocuments
            | Self::DeactivateDocuments
            | Self::Report
            | Self::Forget
            | Self::ReadEvents => None,
        }
    }

    /// Whether it writes the finalizers of the gateway.
    pub(super) fn is_of_finalizers(self) -> bool {
        matches!(self, Self::AddFinalizer | Self::RemoveFinalizer)
    }

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
    /// The phase stays.
    Stay(Stay),
    /// The phase changes; nothing else is done in the same plan.
    Go(Move),
}

/// What is done while the phase stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stay {
    /// Acts, in this order.
    pub steps: Vec<Step>,
    /// When time alone changes the verdict.
    pub wake: Option<Duration>,
    /// The step after which others have their turn, where more is to be done.
    pub yields_after: Option<Step>,
    /// The step that the status waits for: it changes the object itself, or comes before its first transition.
    pub status_after: Option<Step>,
    /// The change of phase that is made where these steps' writes to the registry fail.
    pub if_registry_fails: Option<Move>,
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
    /// Whether it gives up an attempt.
    pub gives_up: bool,
}

impl Move {
    /// A move to a phase and a state, and nothing more.
    pub(super) fn to(phase: Phase, state: State, reason: Reason) -> Self {
        Self { phase, state, reason, attempt: NextAttempt::None, restarts_pods: false, gives_up: false }
    }
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
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Acts, in this order. One that the API server refuses, or that the registry does not take, does not keep
    /// the others from being done; any other failure ends them.
    pub steps: Vec<Step>,
    /// The status to be recorded, if it says anything new.
    pub status: Option<ApiGatewayStatus>,
    /// Events to be told once the status is recorded.
    pub notes: Vec<Note>,
    /// When to look again although nothing happened.
    pub wake: Option<Duration>,
    /// Whether the phase, the state or the attempt changes.
    pub moves: bool,
    /// Whether it gives up an attempt. Such a plan is decided again on a live read before it is carried out: a
    /// cache may be behind.
    pub confirm: bool,
    /// The step after whose success the gateway gives its place in the queue to others, with the rest still to
    /// be done.
    pub yields_after: Option<Step>,
    /// The step that the status waits for: it is decided in the pass after.
    pub(super) status_after: Option<Step>,
    /// The change of phase, which the status records.
    pub(super) movement: Option<Move>,
    /// The change of phase that the status records instead of none, where the registry fails.
    pub(super) if_registry_fails: Option<Move>,
}

impl Plan {
    /// Whether the gateway is to be stopped from now on.
    pub fn begins_a_stop(&self) -> bool {
        self.movement.as_ref().is_some_and(|movement| movement.phase == Phase::Stopping)
    }

    /// The plan of a verdict, before anything is said about it.
    pub(super) fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Stay(Stay { steps, wake, yields_after, status_after, if_registry_fails }) => {
                Self { steps, wake, yields_after, status_after, if_registry_fails, ..Self::default() }
            }
            Verdict::Go(movement) => {
                Self { moves: true, confirm: movement.gives_up, movement: Some(movement), ..Self::default() }
            }
        }
    }
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
