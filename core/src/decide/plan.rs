//! The plan: steps, change of phase, status and Events.
//!
//! **Architecture invariant:** a plan is plain data and carries out nothing: the operator's `act` does.

use std::time::Duration;

use super::observed::Child;
use super::rows::Row;
use crate::api::{ApiGatewayStatus, Phase, Reason, State};

/// A single action. The shell carries it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Create the child (POST).
    Create(Child),
    /// Update the child (PUT).
    Update(Child),
    /// Delete the child.
    Delete(Child),
    /// Activate every allowed environment.
    ActivateEnvironments,
    /// Deactivate every environment.
    DeactivateEnvironments,
    /// Add our finalizer, so that the gateway stays until the registry has forgotten it.
    AddFinalizer,
    /// Remove our finalizer.
    RemoveFinalizer,
    /// Record the gateway in the registry.
    Record,
    /// Activate the documents of Active environments.
    ActivateDocuments,
    /// Deactivate the documents of other environments.
    DeactivateDocuments,
    /// Report the last transition to the registry.
    Report,
    /// Remove the gateway's documents from the registry.
    Forget,
    /// Read the Events of a pod whose status does not explain why it is not ready.
    ReadEvents,
}

impl Step {
    /// The child that the step writes or deletes.
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

    /// Whether the step writes the gateway's finalizers.
    pub(super) fn is_of_finalizers(self) -> bool {
        matches!(self, Self::AddFinalizer | Self::RemoveFinalizer)
    }

    /// Whether the step writes to the registry. Its failure does not keep other steps from running.
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

/// The verdict of the state machine.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The phase stays.
    Stay(Stay),
    /// The phase changes; the plan does nothing else.
    Go(Move),
}

/// What to do while the phase stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stay {
    /// Steps, in order.
    pub steps: Vec<Step>,
    /// When time alone changes the verdict.
    pub requeue_after: Option<Duration>,
    /// The step after which the gateway yields its slot, with more still to do.
    pub yields_after: Option<Step>,
    /// The step that the status waits for, since it changes the object itself or comes before its first
    /// transition.
    pub status_after: Option<Step>,
    /// The change of phase if these steps fail to write to the registry.
    pub if_registry_fails: Option<Move>,
}

/// A change of phase, state or attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Move {
    /// The row of the table that makes it.
    pub row: Row,
    /// The new phase.
    pub phase: Phase,
    /// The new `status.state`.
    pub state: State,
    /// Why.
    pub reason: Reason,
    /// Whether a new attempt begins.
    pub attempt: NextAttempt,
    /// Whether the pods are replaced.
    pub restarts_pods: bool,
    /// Whether an attempt is given up.
    pub gives_up: bool,
}

impl Move {
    /// A change of phase and state, and nothing else.
    pub(super) fn to(row: Row, phase: Phase, state: State, reason: Reason) -> Self {
        Self { row, phase, state, reason, attempt: NextAttempt::None, restarts_pods: false, gives_up: false }
    }
}

/// Whether a change of phase begins a new attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextAttempt {
    /// No.
    None,
    /// Yes, with the retries that the spec grants.
    Asked,
    /// Yes, with the retries that were left.
    Resumed,
    /// Yes, and it uses up one retry.
    Retry,
}

/// What to do now. A plan that changes the phase has no steps: the transition is recorded first, and the next
/// decision acts on it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Steps, in order. A step that the API server or the registry refuses does not keep the others from
    /// running; any other failure ends the plan.
    pub steps: Vec<Step>,
    /// The status to record, if it says anything new.
    pub status: Option<ApiGatewayStatus>,
    /// Events to record once the status is written.
    pub events: Vec<PlannedEvent>,
    /// When to decide again if nothing changes.
    pub requeue_after: Option<Duration>,
    /// Whether the phase, the state or the attempt changes.
    pub moves: bool,
    /// Whether the plan gives up an attempt. Such a plan is decided again on a live read first, since a cache
    /// may be behind.
    pub confirm: bool,
    /// The step after whose success the gateway yields its slot in the queue, with the rest still to do.
    pub yields_after: Option<Step>,
    /// The step that the status waits for. The next pass decides the status.
    pub(super) status_after: Option<Step>,
    /// The change of phase, as the status records it.
    pub(super) movement: Option<Move>,
    /// The change of phase that is recorded if the registry fails.
    pub(super) if_registry_fails: Option<Move>,
}

impl Plan {
    /// Whether the plan begins a stop.
    pub fn begins_a_stop(&self) -> bool {
        self.movement.as_ref().is_some_and(|movement| movement.phase == Phase::Stopping)
    }

    /// The row of the machine's table that makes the transition; `None` if everything stays.
    pub fn row(&self) -> Option<Row> {
        self.movement.as_ref().map(|movement| movement.row)
    }

    /// The plan of a verdict, without status and Events.
    pub(super) fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Stay(Stay { steps, requeue_after, yields_after, status_after, if_registry_fails }) => {
                Self { steps, requeue_after, yields_after, status_after, if_registry_fails, ..Self::default() }
            }
            Verdict::Go(movement) => {
                Self { moves: true, confirm: movement.gives_up, movement: Some(movement), ..Self::default() }
            }
        }
    }
}

/// An Event to record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedEvent {
    /// Whether its type is Warning.
    pub warning: bool,
    /// Why.
    pub reason: Reason,
    /// In words.
    pub message: String,
}
