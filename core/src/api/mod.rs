//! The contract with users: the custom resources, their statuses, reasons, labels and annotations.
//!
//! May import `parse`. Invariant: what is published in `crds/` follows from these types and from
//! nothing else, and an object that another version wrote can be read, or is met as [`Guarded`].

mod bounds;
mod crds;
mod environment;
mod gateway;
mod guarded;
mod key;
mod lacking;
mod older;
mod reason;
mod state;
mod status;
mod words;

pub use crds::{crds, crds_yaml};
pub use environment::{
    Environment, EnvironmentSpec, EnvironmentState, EnvironmentStatus, GatewayRef, MOST_ENVIRONMENTS,
};
pub use gateway::{
    ApiGateway, ApiGatewaySpec, EmptyDir, FilesFrom, Resources, StartRetries, Tls, TopologySpread, Volume,
    WhenUnsatisfiable,
};
pub use guarded::{Extent, Guarded, Unreadable};
pub use key::{ObjectKey, uid_of};
pub use lacking::lacking;
pub use older::plainer;
pub use reason::Reason;
pub use state::{DesiredState, Phase, State};
pub use status::{
    Accepted, ApiGatewayStatus, Attempt, ContestedField, EnvironmentCount, Failure, HISTORY_LENGTH, Handled, HostClaim,
    Others, Serving, StoredChange, Subject, Transition,
};

/// Annotation whose every new value asks for another try after a timeout.
pub const RETRY_ANNOTATION: &str = "phasegate.dev/retry-requested-at";
/// Annotation whose every new value asks for a restart without downtime.
pub const RESTART_ANNOTATION: &str = "phasegate.dev/restart-requested-at";

/// Annotation that, when `true`, lets a gateway take over the children of an earlier gateway of
/// its name instead of waiting until garbage collection has deleted them. What has no controller is taken over without it.
pub const ADOPT_ANNOTATION: &str = "phasegate.dev/adopt";
/// Annotation of a Namespace: the hosts that its gateways and environments may have, as suffixes
/// separated by commas. Absent: any.
pub const ALLOWED_HOSTS_ANNOTATION: &str = "phasegate.dev/allowed-hosts";

/// Label of what was made from a platform's documents: its registry.
pub const REGISTRY_LABEL: &str = "phasegate.dev/registry";
/// The label's value where the documents are MongoDB's.
pub const REGISTRY_MONGODB: &str = "mongodb";
/// Annotation of what was made from a platform's documents: the id of its gateway there.
pub const GATEWAY_ID_ANNOTATION: &str = "phasegate.dev/gateway-id";
/// Annotation with the platform's last request that was taken in.
pub const INTENT_ANNOTATION: &str = "phasegate.dev/intent";
/// Finalizer of gateways that are recorded outside Kubernetes.
pub const REGISTRY_FINALIZER: &str = "phasegate.dev/registry";

/// The types of condition on an `ApiGateway`.
pub mod condition {
    /// What is observed matches what is asked.
    pub const READY: &str = "Ready";
    /// The gateway serves.
    pub const AVAILABLE: &str = "Available";
    /// The operator is working towards what is asked.
    pub const RECONCILING: &str = "Reconciling";
    /// No progress until somebody acts.
    pub const STALLED: &str = "Stalled";
    /// Something of a stopped gateway does not go away.
    pub const CLEANUP_STUCK: &str = "CleanupStuck";
    /// All of them.
    pub const ALL: &[&str] = &[READY, AVAILABLE, RECONCILING, STALLED, CLEANUP_STUCK];
}
