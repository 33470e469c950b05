//! phasegate: tenant API gateways as a phase state machine on Kubernetes.
//!
//! The modules in the order in which a change flows through them:
//! `watch → observe → decide → act → record`.

pub mod api;
pub mod cache;
pub mod seen;
pub mod trouble;
pub mod watch;
pub mod watched;

pub mod queue;
pub mod work;

pub mod decide;
pub mod resources;

pub mod act;
pub mod complaints;
pub mod desired;
pub mod observe;
pub mod reconcile;
pub mod record;
pub mod registry;

pub mod backoff;
pub mod calls;
pub mod client;
pub mod clock;
pub mod config;
pub mod context;
pub mod health;
pub mod lease;
pub mod memory;
pub mod metrics;
pub mod outage;
pub mod run;
pub mod serve;
pub mod telemetry;
