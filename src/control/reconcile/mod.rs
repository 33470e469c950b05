//! The reconcilers: of a gateway, of an environment, and of the documents of a gateway.

mod document;
mod environment;
mod gateway;
mod unreadable;

pub use document::reconcile as documents;
pub use environment::reconcile as environment;
pub use gateway::reconcile as gateway;
