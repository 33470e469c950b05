//! What is watched, as far as it is looked at: plain data behind locks, filled by `control/watch`.
//!
//! May import the core and `cluster`. Invariant: a cache knows what an object says and whom that concerns, and nothing of
//! what follows from it. What is kept has a name and a uid.

pub mod watched;

pub mod index;

pub mod environments;
pub mod hosts;
pub mod pods;
pub mod seen;
pub mod trouble;

pub mod allowances;
pub mod caches;
pub mod scopes;
