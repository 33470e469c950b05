//! The process: its arguments, what it shows of itself, and what makes it run.
//!
//! May import everything. Invariant: nothing is decided here, and every task that is started here or below has an owner
//! that ends it.

pub mod args;
pub mod telemetry;

pub mod health;
pub mod view;

mod connections;
pub mod serve;

pub mod run;
