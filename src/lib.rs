//! phasegate: tenant API gateways as a phase state machine on Kubernetes.
//!
//! The folders in their order; each imports only what stands before it. The pure ones are the crate `phasegate-core`.
//! The plugin is built without the operator's: of all this it needs the core, and the way to the API server.

pub use phasegate_core::{api, children, decide, parse, shown};

#[cfg(feature = "operator")]
pub mod queue;

#[cfg(feature = "operator")]
pub mod metrics;

pub mod cluster;

#[cfg(feature = "operator")]
pub mod cache;

#[cfg(feature = "operator")]
pub mod registry;

#[cfg(feature = "operator")]
pub mod control;

#[cfg(feature = "operator")]
pub mod service;
