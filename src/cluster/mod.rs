//! The way to the API server.

pub mod backoff;
pub mod calls;
pub mod client;
pub mod kubeconfig;
pub mod lease;
pub mod pod_events;
pub mod reachability;
