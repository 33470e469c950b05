//! The way to the API server.

pub mod backoff;
pub mod kubeconfig;

#[cfg(feature = "operator")]
pub mod calls;
#[cfg(feature = "operator")]
pub mod client;
#[cfg(feature = "operator")]
pub mod lease;
#[cfg(feature = "operator")]
pub mod pod_events;
#[cfg(feature = "operator")]
pub mod reachability;
