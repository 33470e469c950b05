//! The process: its arguments, its health and metrics endpoints, and its main loop.
//!
//! **Architecture invariant**: this module may import every other module and decides nothing. Every task that
//! is started here or below has an owner that ends it.

pub mod args;
pub mod telemetry;

pub mod health;
pub mod view;

mod connections;
pub mod serve;

pub mod run;
