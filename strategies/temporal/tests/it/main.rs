//! Integration tests with a real Temporal server, workers as processes, and a real control plane.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod lifecycle;
mod replay;
mod setup;
mod takeover;
