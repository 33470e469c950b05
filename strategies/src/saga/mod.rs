//! Sagas: a sequence of local transactions, each with a compensation that undoes it.

pub mod choreographed;
pub mod choreography;
pub mod coordinator;
pub mod lease;
pub mod log;
pub mod orchestrated;
pub mod steps;
