//! phasegate: a Kubernetes operator that runs tenant API gateways as a phase state machine.
//!
//! **Architecture invariant:** the modules are listed in order, and each imports only earlier ones; a test
//! enforces it. The pure ones are in the crate `phasegate-core`. The plugin is built without the operator's
//! modules: it needs only the core and the parts of `cluster` that find the API server.

pub use phasegate_core::{api, children, decide, outbox, parse, secrets, shown};

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
pub mod sink;

#[cfg(feature = "operator")]
pub mod control;

#[cfg(feature = "operator")]
pub mod service;
