//! The way to the API server: what may be sent, what is sent, and what is noted of every answer.
//!
//! May import the core and `metrics`. Invariant: every write is bounded in time and by the [`claim`] at every step of its
//! way, and no call is repeated here.

pub mod backoff;
pub mod claim;
pub mod kubeconfig;
pub mod pulse;
pub mod reachability;

pub mod calls;
pub mod client;

pub mod events;
pub mod lease;
pub mod pod_events;
