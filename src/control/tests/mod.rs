//! Passes as tables: what is cached and remembered, what the API server answers, and what comes of it.

#![allow(clippy::unwrap_used, clippy::panic)]

mod giving_up;
mod outcomes;
mod stories;

pub(crate) mod objects;
pub(crate) mod world;
