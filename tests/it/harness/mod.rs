//! What the tests stand on.

pub mod cluster;
pub mod components;
mod fleet;
mod health;
mod metrics;
mod mongo;
mod proxy;
mod random;
mod tcp;
mod wire;
mod world;

pub use fleet::Fleet;
pub use health::Health;
pub use metrics::Requests;
pub use mongo::Database;
pub use proxy::{Fault, Proxy};
pub use random::Random;
pub use tcp::{TcpProxy, Way};
pub use wire::{Changes, Storage};
pub use world::{Operator, World, environment, gateway, is_true, path, private_world, private_world_on, until};
