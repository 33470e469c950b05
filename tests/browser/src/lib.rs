//! A real browser and a running dashboard, for the tests in `suite`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod browser;
mod dashboard;

pub use browser::{Browser, Page};
pub use dashboard::Dashboard;
