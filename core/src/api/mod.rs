//! The API: custom resources, statuses, reasons, labels and annotations.
//!
//! **Architecture invariant:** this module imports only `parse`. The manifests in `crds/` are generated from
//! these types alone. An object that another version wrote either decodes, or is handled as an unreadable
//! [`Guarded`] object.

mod bounds;
mod crd_skew;
mod crds;
mod environment;
mod gateway;
mod guarded;
mod key;
mod older_crds;
mod open_enum;
mod reason;
mod state;
mod status;

pub use crd_skew::missing_from_crd;
pub use crds::{crds, crds_yaml};
pub use environment::{
    Environment, EnvironmentSpec, EnvironmentState, EnvironmentStatus, GatewayRef, MOST_ENVIRONMENTS,
};
pub use gateway::{
    ApiGateway, ApiGatewaySpec, EmptyDir, Exposure, FilesFrom, ParentRef, Resources, StartRetries, Tls, TopologySpread,
    Volume, WhenUnsatisfiable,
};
pub use guarded::{Completeness, Guarded, Unreadable};
pub use key::{ObjectKey, uid_of};
pub use older_crds::for_older_crds;
pub use reason::Reason;
pub use state::{DesiredState, Phase, State};
pub use status::{
    Accepted, ApiGatewayStatus, Attempt, ContestedField, EnvironmentCount, Failure, HISTORY_LENGTH, Handled, HostClaim,
    Serving, StoredChange, Subject, Transition, UnknownFields,
};

/// Annotation that requests another start after a timeout. Every new value is a new request.
pub const RETRY_ANNOTATION: &str = "phasegate.dev/retry-requested-at";
/// Annotation that requests a restart without downtime. Every new value is a new request.
pub const RESTART_ANNOTATION: &str = "phasegate.dev/restart-requested-at";

/// Annotation that, if `true`, lets a gateway adopt the children of an earlier gateway of its name instead of
/// waiting for garbage collection. Children without a controller are adopted without it.
pub const ADOPT_ANNOTATION: &str = "phasegate.dev/adopt";
/// Annotation of a Namespace: the hosts that its gateways and environments may have, as suffixes separated by
/// commas. Default: any host.
pub const ALLOWED_HOSTS_ANNOTATION: &str = "phasegate.dev/allowed-hosts";

/// Label of objects that were created from a platform's documents. Its value is the registry.
pub const REGISTRY_LABEL: &str = "phasegate.dev/registry";
/// The value of [`REGISTRY_LABEL`] for documents in MongoDB.
pub const REGISTRY_MONGODB: &str = "mongodb";
/// Annotation of objects that were created from a platform's documents: the id of the gateway there.
pub const GATEWAY_ID_ANNOTATION: &str = "phasegate.dev/gateway-id";
/// Annotation with the platform's last request that was applied.
pub const INTENT_ANNOTATION: &str = "phasegate.dev/intent";
/// Finalizer of gateways that are also recorded outside Kubernetes.
pub const REGISTRY_FINALIZER: &str = "phasegate.dev/registry";

/// The condition types of an `ApiGateway`.
pub mod condition {
    /// The observed state matches the spec.
    pub const READY: &str = "Ready";
    /// The gateway serves.
    pub const AVAILABLE: &str = "Available";
    /// The operator is working towards the spec.
    pub const RECONCILING: &str = "Reconciling";
    /// No progress until somebody acts.
    pub const STALLED: &str = "Stalled";
    /// A stopped gateway still has objects that do not go away.
    pub const CLEANUP_STUCK: &str = "CleanupStuck";
    /// All condition types.
    pub const ALL: &[&str] = &[READY, AVAILABLE, RECONCILING, STALLED, CLEANUP_STUCK];
}
