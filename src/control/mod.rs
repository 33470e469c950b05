//! One pass: gather, decide, act, record; and what makes it happen.

pub mod act;
pub mod clock;
pub mod context;
pub mod desired;
pub mod error;
pub mod gather;
pub mod memory;
pub mod reconcile;
pub mod record;
pub mod watch;
pub mod work;

#[cfg(test)]
pub(crate) mod tests;
