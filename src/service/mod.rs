//! The process: arguments, health, serving, running.

pub mod args;
pub mod health;
pub mod run;
pub mod serve;
pub mod telemetry;
