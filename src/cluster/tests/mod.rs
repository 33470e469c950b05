//! What tests of everything that calls the API server share.

#![allow(clippy::unwrap_used, clippy::panic)]

pub(crate) mod server;
