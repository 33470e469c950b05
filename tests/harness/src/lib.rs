//! The common base of the tests, the demos and the benchmark: a cluster and its processes, an operator, a
//! database, injected faults, and ways to wait. Each module covers one of them.
//!
//! **Architecture invariant**: the harness imports the objects (`phasegate_core`) and runs the operator as a
//! program. It does not import the operator's crate.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod audit;
mod built_tool;
pub mod cluster;
mod command;
pub mod components;
mod fleet;
pub mod gateway_api;
mod health;
mod history;
mod hosted_cluster;
mod mongo;
mod objects;
mod operator;
mod paths;
mod policies;
mod proxy;
mod random;
mod recording;
mod requests;
pub mod scrape;
mod sink;
mod supervised;
mod tcp;
mod wait;
mod webhook;
pub mod wire;
mod world;

pub use audit::{AuditEntry, audit_entries};
pub use built_tool::{actionlint, helm, promtool, temporal};
pub use command::{output, run};
pub use fleet::Fleet;
pub use health::{Health, free_port};
pub use mongo::{Database, change_stream};
pub use objects::{
    CHILDREN, STARTED, available, children, environment, gateway, is_active, is_true, message, path, restart,
};
pub use operator::Operator;
pub use paths::{cache, file, operator_program, root, scratch};
pub use policies::{Policies, Policy, PolicyEffect};
pub use proxy::{ActiveFault, Fault, ProxiedRequest, Proxy};
pub use random::Random;
pub use recording::{Recording, Version};
pub use requests::{Requests, SETTLED};
pub use sink::{EventSink, ReceivedEvent, SinkAnswer};
pub use supervised::{Supervised, supervised};
pub use tcp::{TcpMode, TcpProxy};
pub use wait::{DEADLINE, eventually, until};
pub use webhook::{Admission, Webhook};
pub use wire::{Changes, Storage};
pub use world::{World, private_world, private_world_on};
