//! What is done about one object when its turn comes: a gateway, an environment, or the documents of a gateway.

mod environment;
mod gateway;
mod unreadable;

pub use environment::reconcile as environment;
pub use gateway::reconcile as gateway;
