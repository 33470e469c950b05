//! The outbox of transitions: which event is due for which gateway, and how far each gateway's events are delivered.
//!
//! `status.history` is the outbox. A transition is recorded by the write that makes it, so an event costs no further
//! write and cannot be lost between the two. `status.transitions` numbers the entries. A delivered position is the
//! number of the last event that the sink took.
//!
//! **Architecture invariant:** this module is pure, and imports only `api`, `children` and `shown`. It holds no event,
//! only positions. An event is made from the status when it is due.

mod deliveries;
mod due;
mod positions;

pub use deliveries::{Deliveries, Finished, Next};
pub use due::{Due, DueEvent, EventKind, due};
pub use positions::{Positions, token};

#[cfg(test)]
mod tests;
