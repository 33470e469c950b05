//! What is done about one object when its turn comes: a gateway, an environment, or the documents of a gateway.

mod document;
mod environment;
mod gateway;
mod unreadable;

pub use document::reconcile as documents;
pub use environment::reconcile as environment;
pub use gateway::reconcile as gateway;
