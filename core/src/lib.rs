//! The pure core of phasegate: what a gateway is, what is desired of it, and what is decided about it.
//!
//! Nothing here knows a client, an executor or a clock; the compiler holds that, since this crate depends on
//! none of them.

pub mod parse;

pub mod api;
pub mod children;
pub mod decide;
pub mod queue;
