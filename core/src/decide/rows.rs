//! The names of the rows of the machine's table that change the phase, the state or the attempt.
//!
//! **Architecture invariant:** each transition is made by exactly one row, and `phase` names it where it
//! chooses the transition.

/// A row of the table in ARCHITECTURE.md that makes a transition. Rows in which everything stays have no name,
/// because nothing is recorded of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Row {
    /// Any phase: deletion was requested, and a finalizer keeps the object.
    Deletion,
    /// None, Created: asked to be stopped before the first attempt.
    NeverStarted,
    /// None: the spec is not allowed, a host or a name is taken, or the registry is unavailable.
    Blocked,
    /// None, Created: asked to run.
    FirstStart,
    /// Starting: asked to stop.
    Cancelled,
    /// Starting: everything is ready.
    Ready,
    /// Starting: a new request.
    NewRequest,
    /// Starting: the deadline passed while no operator ran.
    Resumed,
    /// Starting: the deadline of a restart passed while a pod is available.
    RestartDeadline,
    /// Starting: the deadline passed while traffic reaches a pod.
    PartialStart,
    /// Starting: the deadline passed.
    StartDeadline,
    /// Started, Stopped: a new request.
    RequestAfterTimeout,
    /// Started, Stopped: the children of the failed attempt are removed.
    CleanupAfterTimeout,
    /// Started, Running: asked to stop.
    Stop,
    /// Started, Running: asked to restart.
    Restart,
    /// Stopping: nothing is left.
    NothingLeft,
    /// Stopping: only terminating pods are left, and they take too long.
    OnlyTerminating,
    /// Stopped: asked to start again, or a retry is due.
    StartAgain,
}

impl Row {
    /// All rows, in the order of the table.
    pub const ALL: [Self; 18] = [
        Self::Deletion,
        Self::NeverStarted,
        Self::Blocked,
        Self::FirstStart,
        Self::Cancelled,
        Self::Ready,
        Self::NewRequest,
        Self::Resumed,
        Self::RestartDeadline,
        Self::PartialStart,
        Self::StartDeadline,
        Self::RequestAfterTimeout,
        Self::CleanupAfterTimeout,
        Self::Stop,
        Self::Restart,
        Self::NothingLeft,
        Self::OnlyTerminating,
        Self::StartAgain,
    ];

    /// The name in the table, in the log and in the plugin's output. It does not change after a release.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deletion => "deletion",
            Self::NeverStarted => "never-started",
            Self::Blocked => "blocked",
            Self::FirstStart => "first-start",
            Self::Cancelled => "cancelled",
            Self::Ready => "ready",
            Self::NewRequest => "new-request",
            Self::Resumed => "resumed",
            Self::RestartDeadline => "restart-deadline",
            Self::PartialStart => "partial-start",
            Self::StartDeadline => "start-deadline",
            Self::RequestAfterTimeout => "request-after-timeout",
            Self::CleanupAfterTimeout => "cleanup-after-timeout",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::NothingLeft => "nothing-left",
            Self::OnlyTerminating => "only-terminating",
            Self::StartAgain => "start-again",
        }
    }

    /// The row of this name; `None` for a row of another version.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|row| row.name() == name)
    }
}
