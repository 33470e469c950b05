//! What the tests, the demos and the benchmark stand on: a cluster and its processes, an operator, a database, what can go
//! wrong between them, and ways to wait. One file for each thing that it knows.
//!
//! It knows the objects (`phasegate_core`), and the operator as a program only.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod audit;
pub mod cluster;
mod command;
pub mod components;
mod fleet;
mod health;
mod history;
mod hosting;
mod made;
mod mongo;
mod objects;
mod operator;
mod places;
mod policies;
mod proxy;
mod random;
mod recording;
mod requests;
pub mod scrape;
mod supervised;
mod tcp;
mod wait;
mod webhook;
pub mod wire;
mod world;

pub use audit::{Noted, noted};
pub use command::{output, run};
pub use fleet::Fleet;
pub use health::Health;
pub use made::promtool;
pub use mongo::{Database, change_stream};
pub use objects::{
    CHILDREN, STARTED, available, children, environment, gateway, is_active, is_true, message, path, restart,
};
pub use operator::Operator;
pub use places::{cache, file, operator_program, root, scratch};
pub use policies::{Does, Policies, Policy};
pub use proxy::{Fault, Proxy};
pub use random::Random;
pub use recording::{Recording, Version};
pub use requests::{Requests, SETTLED};
pub use supervised::{Supervised, supervised};
pub use tcp::{TcpProxy, Way};
pub use wait::{eventually, until};
pub use webhook::{Admission, Webhook};
pub use wire::{Changes, Storage};
pub use world::{World, private_world, private_world_on};
