//! A model checker for the decisions of phasegate: it explores every order of events in small worlds.
//!
//! - [`world`] is a modelled cluster as plain data: API server, garbage collection, pods, users, two operators with
//!   caches that may be stale, and what can go wrong between them. The modelled operator makes every decision by
//!   [`phasegate_core::decide`] itself ([`bridge`]).
//! - [`explore`] visits every state of a world once, breadth first, and checks what must hold in each.
//! - [`liveness`] looks for runs that never reach, or do not keep, what was requested last.
//! - [`story`] prints a counterexample as numbered sentences.
//!
//! **Architecture invariant:** the operator does not depend on this crate, and this crate decides nothing about
//! a gateway.

pub mod bridge;
pub mod explore;
pub mod liveness;
pub mod story;
pub mod world;

#[cfg(test)]
mod tests;
