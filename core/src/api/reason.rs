//! The reasons, each documented once, here. Another version may have others: they are read and kept.

use super::open_enum::{any_word, words};

words! {
    /// Why a condition, a transition or a failure is as it is.
    Reason:

    /// The start is pending.
    Pending,
    /// A start is in progress, without a known problem.
    Starting,
    /// A restart is in progress, without a known problem.
    Restarting,
    /// The gateway matches its spec and serves.
    Started,
    /// The gateway serves; a rollout or repair is in progress.
    RollingOut,
    /// The gateway is being stopped.
    Stopping,
    /// The gateway is stopped.
    Stopped,
    /// The gateway is being deleted.
    Deleting,
    /// Reconciliation is suspended, and the start deadline is paused.
    Suspended,
    /// Pods exist, but none is available.
    Unavailable,
    /// The gateway has no replicas.
    ScaledToZero,

    /// The user requested a start: a new object, a changed spec or a retry.
    StartRequested,
    /// The user requested a restart.
    RestartRequested,
    /// The user requested a stop.
    StopRequested,
    /// The operator retries automatically after a timeout.
    RetryScheduled,
    /// The operator was not running at the deadline: the attempt gets a new one.
    Resumed,

    /// The start missed its deadline; `status.lastFailure` has the cause. Pods that serve keep serving.
    StartDeadlineExceeded,
    /// The restart missed its deadline; the old pods keep serving.
    RestartDeadlineExceeded,
    /// A rollout of a started gateway is stuck; the old pods keep serving.
    ProgressDeadlineExceeded,

    /// Another gateway or environment holds the host.
    HostTaken,
    /// The namespace may not claim the host.
    HostNotAllowed,
    /// The namespace holds its maximum of hosts.
    HostLimitReached,
    /// The gateway may not use this ingress class.
    IngressClassNotAllowed,
    /// The gateway may not attach its HTTPRoute to this Gateway.
    ParentRefNotAllowed,
    /// The gateway needs an HTTPRoute, but the cluster has no Gateway API, or no Gateway is named.
    ExposureUnsupported,
    /// The operator or the namespace does not allow an image, nodes, replicas or a deadline of the spec.
    NotAllowed,
    /// A field of the spec has an invalid value; the operator does not send it to the API server.
    InvalidSpec,
    /// The environment's gateway does not exist.
    GatewayNotFound,
    /// The environment's gateway does not serve.
    GatewayNotStarted,
    /// The environment's gateway already has its maximum of environments.
    TooManyEnvironments,
    /// An object with the gateway's name has another owner.
    NameTaken,
    /// An object of a deleted gateway with this name is not garbage-collected yet, or a deleted child is stuck.
    WaitingForDeletion,
    /// The registry is unavailable.
    RegistryUnavailable,
    /// An edit was reverted, because the platform's document decides the field.
    EditReverted,
    /// A child was stored differently from what was requested, by admission or by rounding.
    ChangedOnWrite,
    /// Drift of a child was reverted.
    DriftRepaired,
    /// Another client changes a child each time the operator reverts it.
    Contested,
    /// The object is too large to store its status.
    TooLarge,
    /// The stored phase is unknown to this version of the operator.
    UnknownPhase,
    /// A value of the spec is unknown to this version of the operator.
    UnknownWord,
    /// This version of the operator cannot read the stored object.
    Undecodable,
    /// The cleanup of a stopped gateway is stuck.
    CleanupStuck,

    /// The container terminates, or cannot start.
    CrashLoop,
    /// The image runs as root, or may, and is not allowed to.
    RunsAsRoot,
    /// A Secret, a ConfigMap, or a key in one is missing.
    ConfigMissing,
    /// The image cannot be pulled.
    ImagePullFailed,
    /// A pod runs, but its probe fails.
    ReadinessFailing,
    /// The containers of a pod are ready, but an injected readiness gate is not.
    ReadinessGatesNotReady,
    /// An injected init container does not finish, or an injected sidecar does not start.
    ContainersNotInitialized,
    /// A node terminated a pod, cannot create it, or does not respond.
    NodeFailed,
    /// No node fits a pod, or no scheduler processes it.
    Unschedulable,
    /// A pod has an injected scheduling gate.
    SchedulingGated,
    /// Admission pauses the Deployment, so no rollout happens.
    DeploymentPaused,
    /// A ResourceQuota is exceeded, or requires values that the spec does not have.
    QuotaExceeded,
    /// The controller of a Gateway rejects the HTTPRoute, or cannot resolve its references.
    RouteNotAccepted,
    /// No controller reports whether a Gateway accepts the HTTPRoute.
    RouteNotAnswered,
    /// The API server or an admission rule refused an object.
    AdmissionRefused,
    /// An admission webhook is unavailable.
    WebhookUnavailable,
    /// The API server or etcd is unavailable.
    ClusterUnavailable,
    /// The operator lacks a permission.
    OperatorNotPermitted,
    /// A write timed out, while the API server answers other requests.
    WriteUnanswered,
    /// No known cause; the attempt took too long.
    SlowStart,
}

any_word!(Reason);
