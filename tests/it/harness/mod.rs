//! What the tests stand on.

pub mod cluster;
mod metrics;
mod world;

pub use metrics::Requests;
pub use world::{Operator, World, gateway, is_true, path, private_world};
