//! Caches of watched objects, reduced to what decisions read. Plain data behind locks; `control/watch` fills
//! them.
//!
//! **Architecture invariant:** this module imports only the core and `cluster`. A cache knows what an object
//! says and which gateways it affects, and nothing of what follows from that. Every kept object has a name and
//! a uid.

pub mod watched;

pub mod index;

pub mod child;
pub mod environments;
pub mod hosts;
pub mod pods;
pub mod routes;
pub mod trouble;

pub mod allowances;
pub mod caches;
pub mod scopes;
