//! The way to the API server: what may be sent, what is sent, and what is noted of every answer.
//!
//! May import the core and `metrics`. Invariants: every write is bounded in time and by the [`claim`] at every step of its
//! way, and no call is repeated here. The plugin needs of it how the API server is found, and how to wait.

pub mod backoff;
pub mod kubeconfig;

/// How many objects are read at once of kinds that may be large. One has at most what etcd takes, 1.5 MiB, so that a page has
/// at most 38.
pub const PAGE: u32 = 25;

#[cfg(feature = "operator")]
pub mod answer;
#[cfg(feature = "operator")]
pub mod claim;
#[cfg(feature = "operator")]
pub mod pulse;
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
