//! The pure core of phasegate: the custom resources, their children, the state machine and the work queue.
//!
//! [`decide::decide`] is the entry point. It takes an `ApiGateway`, what was observed, a moment and the
//! settings, and returns a [`decide::Plan`]. The example `core/examples/plan.rs` embeds it.
//!
//! Modules, in order; each imports only earlier ones: [`parse`], [`secrets`], [`shown`], [`api`], [`children`],
//! [`decide`], [`outbox`], [`queue`].
//!
//! **Architecture invariant:** this crate does no I/O. It knows no client, no executor, no clock, no file and
//! no environment variable: time and configuration are arguments. The crate depends on no client and no
//! executor, so the compiler enforces those; clippy's `disallowed-methods` forbid what the standard library
//! would still offer.

#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod parse;
pub mod secrets;
pub mod shown;

pub mod api;
pub mod children;
pub mod decide;
pub mod outbox;
pub mod queue;
