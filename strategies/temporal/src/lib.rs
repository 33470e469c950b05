//! The start and stop of a gateway as a durable workflow on Temporal: the same job as phasegate's phase machine, to
//! compare the two.
//!
//! - [`workflow`]: what is done, in which order, until when. Deterministic: Temporal replays it from its history.
//! - [`activities`]: what a step may do besides: it fails, is retried, reports that it is alive.
//! - [`cluster`]: the reads and writes of a step. Each may be repeated.
//! - [`client`]: the worker, and the requests of a user.

pub mod activities;
pub mod client;
pub mod cluster;
pub mod workflow;
