//! One pass over an object, and what makes it happen.
//!
//! May import everything but `service`. Invariants of a gateway's pass: gathering only reads, what is done is what the
//! plan says, and recording is the only way out.
//!
//! # One ApiGateway, from the watch to its status
//!
//! 1. `watch/one.rs` follows the API server. An object comes in only with a name and a uid.
//! 2. `watch/prune.rs` drops of it what no decision looks at.
//! 3. `watch/events.rs` puts it into its cache, and its claims into the space of hosts.
//! 4. `watch/known.rs` tells it what appeared, changed or is gone, while the watch was interrupted as well.
//! 5. `watch/wake.rs` puts the keys of those whom that concerns into the queue; the gateway's is one.
//! 6. `work.rs` takes the key when its turn comes, as long as there is a place.
//! 7. `reconcile/gateway.rs` is the pass. Each line of it is one of what follows.
//! 8. `memory.rs` gives out what is remembered of the gateway; `accepted.rs` is what became of its children.
//! 9. `clock.rs` reads both clocks and says how long ago each stored moment is.
//! 10. `gather.rs` makes facts of the caches and of what is remembered.
//! 11. `desired.rs` renders the children, and compares them with those that are there.
//! 12. `decide/mod.rs` of the core decides: facts in, a plan out.
//! 13. `act.rs` carries out its steps, and what that teaches becomes a fact; `unwritten.rs` says what a write that was not
//!     carried out means.
//! 14. `record.rs` keeps what is to be remembered, writes the status, and tells Events.
//! 15. `error.rs` has the ways in which that can fail; the pass is then done again, later every time.
//!
//! What was written comes back as an event of a watch. `context.rs` is what all passes share, and `watch/mod.rs` says which
//! watches there are. The passes over environments, over documents and over what cannot be read stand beside the gateway's.

pub mod error;
pub mod memory;

pub mod accepted;

pub mod clock;

pub mod context;

pub mod desired;

pub mod gather;

pub mod unwritten;

pub mod act;

pub mod record;

pub mod reconcile;

pub mod watch;
pub mod work;

#[cfg(test)]
pub(crate) mod tests;
