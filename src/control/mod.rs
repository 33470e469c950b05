//! One pass over an object: gather, decide, act, record.

pub mod act;
pub mod clock;
pub mod context;
pub mod desired;
pub mod gather;
pub mod memory;
pub mod reconcile;
pub mod record;
pub mod watch;
pub mod work;
