//! Passes as tables: what is cached and remembered, what the API server answers, and what comes of it.

#![allow(clippy::unwrap_used, clippy::panic)]

mod definitions;
mod desired;
mod environments;
mod giving_up;
mod hosts;
mod large;
mod outcomes;
mod registry;
mod stories;
mod unreadable;
mod working;

pub(crate) mod objects;
pub(crate) mod world;
