//! The pure core of phasegate: what a gateway is, what is desired of it, what is decided about it, and who is next.
//!
//! The modules in their order, each of which imports only earlier ones: [`parse`], [`shown`], [`api`], [`children`],
//! [`decide`], [`queue`]. Invariant: nothing here knows a client, an executor, a clock, a file or the environment. The compiler
//! keeps out clients and executors, since this crate depends on none; clippy's `disallowed-methods` the rest.

#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod parse;
pub mod shown;

pub mod api;
pub mod children;
pub mod decide;
pub mod queue;
