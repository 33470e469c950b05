//! What the tests stand on.

pub mod cluster;
mod metrics;
mod random;
mod world;

pub use metrics::Requests;
pub use random::Random;
pub use world::{Operator, World, environment, gateway, is_true, path, private_world, until};
