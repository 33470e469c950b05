//! phasegate: tenant API gateways as a phase state machine on Kubernetes.
//!
//! The folders in their order; each imports only what stands before it. The pure ones are the crate `phasegate-core`.

pub use phasegate_core::{api, children, decide, parse};

pub mod queue;

pub mod metrics;

pub mod cluster;

pub mod cache;

pub mod registry;

pub mod control;

pub mod service;
