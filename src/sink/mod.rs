//! Transitions as CloudEvents 1.0, delivered to an HTTP sink.
//!
//! The watch tells [`Outbox`] of statuses, [`deliver`] sends what is due, and a Lease keeps the delivered positions.
//! Passes know nothing of it: a start costs the same with and without a sink.
//!
//! **Architecture invariant:** an event is sent at least once and in the order of its gateway, or its loss is counted.
//! No event is kept here: it is made from the cached status when it is due.

mod answer;
mod client;
pub mod config;
pub mod deliver;
mod event;
mod outbox;
mod positions;
mod signature;

pub use client::Sink;
pub use outbox::Outbox;

#[cfg(test)]
mod tests;
