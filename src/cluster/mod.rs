//! Access to the API server: client, calls, leader election, Events and reachability.
//!
//! **Architecture invariant:** this module imports only the core and `metrics`. Every write is bounded in time
//! and by the [`claim`] at each step of its way, and no call is repeated here. The plugin uses only
//! `kubeconfig` and `backoff`.

pub mod backoff;
pub mod kubeconfig;

/// The page size for kinds with large objects. An object has at most what etcd accepts, 1.5 MiB, so a page has
/// at most 38.
pub const PAGE: u32 = 25;

#[cfg(feature = "operator")]
pub mod claim;
#[cfg(feature = "operator")]
pub mod error_kind;
#[cfg(feature = "operator")]
pub mod heartbeat;
#[cfg(feature = "operator")]
pub mod reachability;

#[cfg(feature = "operator")]
pub mod calls;
#[cfg(feature = "operator")]
pub mod client;

#[cfg(feature = "operator")]
pub mod definitions;
#[cfg(feature = "operator")]
pub mod events;
#[cfg(feature = "operator")]
pub mod lease;
#[cfg(feature = "operator")]
pub mod pod_events;

#[cfg(all(test, feature = "operator"))]
pub(crate) mod tests;
