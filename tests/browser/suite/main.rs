//! The dashboard in a real browser, on a real control plane: one module per promise.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod actions;
mod fleet;
mod hostile;
mod live;
mod many;
mod pages;
