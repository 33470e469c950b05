//! Reconciliation: one pass over an object, and what triggers it.
//!
//! **Architecture invariant:** this module may import everything but `service`. In a gateway's pass, gathering
//! only reads, acting carries out only what the plan says, and recording is the only way out.
//!
//! # One ApiGateway, from the watch to its status
//!
//! 1. `watch/one.rs` follows the API server. It admits only objects with a name and a uid.
//! 2. `watch/prune.rs` drops what no decision reads.
//! 3. `watch/events.rs` updates the cache, and the claims in the host space.
//! 4. `watch/known.rs` reports what appeared, changed or disappeared, also while the watch was interrupted.
//! 5. `watch/requeue.rs` adds the keys of the affected objects to the queue, the gateway's among them.
//! 6. `work.rs` takes the key when its turn comes and a slot is free.
//! 7. `reconcile/gateway.rs` is the pass. Each line of it is one of the following stages.
//! 8. `memory.rs` returns what is remembered of the gateway; `accepted.rs` holds the accepted forms of its
//!    children.
//! 9. `clock.rs` reads both clocks and measures how long ago each stored moment is.
//! 10. `gather.rs` collects facts from the caches and the memory.
//! 11. `desired.rs` renders the children and compares them with those that exist.
//! 12. `decide/mod.rs` of the core decides: facts in, a plan out.
//! 13. `act.rs` carries out the steps and feeds their results back into the facts; `failed_writes.rs` interprets
//!     failed writes.
//! 14. `record.rs` puts the memory back, writes the status and records Events; `status_conflicts.rs` slows it
//!     down if somebody else writes the status as well.
//! 15. `error.rs` lists how this can fail; the gateway is then requeued with backoff.
//!
//! Every write comes back as a watch event. `context.rs` is shared by all passes, and `watch/mod.rs` lists the
//! watches. The passes over environments, documents and unreadable objects stand beside the gateway's.

pub mod error;
pub mod memory;

pub mod accepted;

pub mod clock;

pub mod context;

pub mod desired;

pub mod gather;

pub mod failed_writes;

pub mod status_conflicts;

pub mod act;

pub mod record;

pub mod reconcile;

pub mod watch;
pub mod work;

#[cfg(test)]
pub(crate) mod tests;
