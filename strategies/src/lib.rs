//! The job of phasegate by other designs, so that they can be read and measured beside it: orchestrated and choreographed
//! sagas, a transactional outbox and event sourcing. All of them read the documents that the operator reads with
//! `--registry mongodb`, and create the children with its renderers.
//!
//! **Architecture invariant:** the operator does not depend on this crate, and this crate does not depend on the
//! operator. They share the core.
//!
//! Modules, in order; each imports only earlier ones: [`job`], [`store`], [`cluster`], [`worker`], [`outbox`], [`saga`],
//! [`sourcing`], [`orders`], [`anomalies`].

pub mod anomalies;
pub mod cluster;
pub mod job;
pub mod orders;
pub mod outbox;
pub mod saga;
pub mod sourcing;
pub mod store;
pub mod worker;
