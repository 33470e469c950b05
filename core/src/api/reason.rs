//! The reasons, each documented once, here. Another version may have others: they are read and kept.

use super::words::{any_word, words};

words! {
    /// Why a condition, a transition or a failure is as it is.
    Reason:

    /// The gateway waits to be begun.
    Pending,
    /// A start is on its way and nothing is known to be wrong.
    Starting,
    /// A restart is on its way and nothing is known to be wrong.
    Restarting,
    /// The gateway serves what was asked.
    Started,
    /// The gateway serves; a change is being rolled out or repaired.
    RollingOut,
    /// The gateway is being stopped.
    Stopping,
    /// The gateway is stopped.
    Stopped,
    /// The gateway is being deleted.
    Deleting,
    /// The gateway is suspended: nothing is written, the clock is held.
    Suspended,
    /// Pods are there but none is available.
    Unavailable,
    /// The gateway was asked to run with no replicas.
    ScaledToZero,

    /// The user asked for a start: a new object, a changed spec or a retry.
    StartRequested,
    /// The user asked for a restart.
    RestartRequested,
    /// The user asked for a stop.
    StopRequested,
    /// The operator tries again by itself after a timeout.
    RetryScheduled,
    /// The operator was away when the deadline passed: the gateway gets its time.
    Resumed,

    /// The start took longer than its deadline; the cause is in `status.lastFailure`. What serves goes on serving.
    StartDeadlineExceeded,
    /// The restart took longer than its deadline; the old pods go on serving.
    RestartDeadlineExceeded,
    /// A rollout of a started gateway makes no progress; the old pods go on serving.
    ProgressDeadlineExceeded,

    /// Another gateway or environment holds the host.
    HostTaken,
    /// The namespace is not allowed to have the host.
    HostNotAllowed,
    /// The namespace holds as many hosts as it may.
    HostLimitReached,
    /// The gateway may not name this ingress class.
    IngressClassNotAllowed,
    /// The pods ask for what the operator or the namespace does not allow: an image, nodes, replicas, a deadline.
    NotAllowed,
    /// A field of the spec has a value that nobody could compute, and that is sent to nobody.
    InvalidSpec,
    /// The environment's gateway does not exist.
    GatewayNotFound,
    /// The environment's gateway does not serve.
    GatewayNotStarted,
    /// The environment's gateway has as many as it may have without it.
    TooManyEnvironments,
    /// An object of the gateway's name belongs to somebody else.
    NameTaken,
    /// An object of an earlier gateway of this name is still to be collected, or one that was deleted does not go.
    WaitingForDeletion,
    /// The registry does not answer.
    RegistryUnavailable,
    /// An edit of what the platform's documents say was undone.
    EditReverted,
    /// A child was stored as something else than what was asked.
    ChangedOnWrite,
    /// What somebody changed of a child was put right.
    DriftRepaired,
    /// Somebody changes a child again each time it is put right.
    Contested,
    /// The object is so large that there is no room for its status.
    TooLarge,
    /// The stored phase is of another version of the operator.
    UnknownPhase,
    /// The spec holds a word of another version of the operator.
    UnknownWord,
    /// The stored object cannot be read by this version of the operator.
    Undecodable,
    /// Something of a stopped gateway does not go away.
    CleanupStuck,

    /// The container ends, or cannot be started.
    CrashLoop,
    /// The image runs as root, or may, and is not started.
    RunsAsRoot,
    /// A Secret, a ConfigMap, or a key in one is not there.
    ConfigMissing,
    /// The image cannot be pulled.
    ImagePullFailed,
    /// A pod runs, and a probe of it fails.
    ReadinessFailing,
    /// The containers of a pod are ready, and a readiness gate that somebody adds is not.
    ReadinessGatesNotReady,
    /// A container that somebody adds to the pods, and that the others wait for, does not finish or is not started.
    ContainersNotInitialized,
    /// A node gave a pod up, cannot set it up, or does not answer.
    NodeFailed,
    /// No node has room for a pod, or no scheduler looks at it.
    Unschedulable,
    /// A pod is not to be scheduled before a gate that somebody adds is removed.
    SchedulingGated,
    /// A quota of the namespace is used up, or asks for values that the spec does not have.
    QuotaExceeded,
    /// The API server or an admission rule refused an object.
    AdmissionRefused,
    /// A webhook that the API server has to ask is away.
    WebhookUnavailable,
    /// The API server, or its storage, is away.
    ClusterUnavailable,
    /// The operator lacks a permission.
    OperatorNotPermitted,
    /// The API server did not answer a write in time, and answers others.
    WriteUnanswered,
    /// Nothing is known to be wrong; it took too long.
    SlowStart,
}

any_word!(Reason);
