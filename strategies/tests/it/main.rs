//! Promises of the designs, on a real control plane and a MongoDB wire server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../doc/database.rs"]
mod database;

mod anomalies;
mod crashes;
mod events;
mod gateways;
mod independence;
mod orders;
mod platform;
mod sourcing;
