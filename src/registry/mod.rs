//! Where gateways are recorded: in Kubernetes itself, or in a platform's MongoDB as well.
//!
//! Outward, a gateway's own plan writes to its documents by its steps (`report` says what, `mongo` writes it). Inward,
//! `follow` makes known what documents say, and `intent` decides which objects they ask for; `control` applies those.
//! `document`, `size`, `identity`, `report` and `intent` are pure. What is asked goes through `store`, and `breaker` spares a
//! database that is away.
//!
//! May import the core, `metrics`, of `cluster` the claim and the backoff, and the queue's handle; neither a cache nor
//! `control`. Invariants: what is known may be behind, so every transition that is written is fenced by its filter; facts are only read, and
//! who waits for the registry was made to by [`Registry::wait`] or [`Mongo::wait`].

pub mod breaker;
pub mod config;
pub mod document;
pub mod follow;
pub mod identity;
pub mod intent;
pub mod known;
pub mod mongo;
pub mod report;
mod size;
pub mod store;

use std::sync::Arc;

use crate::api::{ApiGateway, Environment, ObjectKey};
use crate::decide::Step;
use crate::decide::observed::RegistryFacts;
use crate::queue::Key;
use mongo::Mongo;
use report::EnvironmentView;
pub use store::RegistryError;

/// A registry as the rest of the operator sees it.
#[derive(Clone)]
pub enum Registry {
    /// The object is the record: there is nothing to know and nothing to do.
    Kubernetes,
    /// A platform's MongoDB.
    MongoDb(Arc<Mongo>),
}

impl Registry {
    /// What is known of a gateway. Asks nobody and changes nothing: who is to be woken when more is known has to
    /// [`Self::wait`].
    pub fn facts(&self, gateway: &ApiGateway, environments: impl FnOnce() -> Vec<EnvironmentView>) -> RegistryFacts {
        match self {
            Self::Kubernetes => RegistryFacts::settled(),
            Self::MongoDb(mongo) => mongo.facts(gateway, &environments()),
        }
    }

    /// Whether it is outside Kubernetes.
    pub fn is_external(&self) -> bool {
        matches!(self, Self::MongoDb(_))
    }

    /// Carries out one step of a gateway's plan.
    ///
    /// # Errors
    /// When it was not carried out.
    pub async fn carry_out(
        &self,
        gateway: &ApiGateway,
        environments: &[EnvironmentView],
        step: Step,
    ) -> Result<(), RegistryError> {
        match self {
            Self::Kubernetes => Ok(()),
            Self::MongoDb(mongo) => mongo.carry_out(gateway, environments, step).await,
        }
    }

    /// An object that waits for the registry is woken when it answers: at once where it does by now.
    pub fn wait(&self, key: Key) {
        if let Self::MongoDb(mongo) = self {
            mongo.wait(key);
        }
    }

    /// A gateway appeared or changed.
    pub fn saw_gateway(&self, gateway: &ApiGateway) {
        if let Self::MongoDb(mongo) = self {
            mongo.saw_gateway(gateway);
        }
    }

    /// A gateway is gone.
    pub fn lost_gateway(&self, key: &ObjectKey) {
        if let Self::MongoDb(mongo) = self {
            mongo.lost_gateway(key);
        }
    }

    /// An environment appeared or changed.
    pub fn saw_environment(&self, environment: &Environment) {
        if let Self::MongoDb(mongo) = self {
            mongo.saw_environment(environment);
        }
    }

    /// An environment is gone.
    pub fn lost_environment(&self, key: &ObjectKey) {
        if let Self::MongoDb(mongo) = self {
            mongo.lost_environment(key);
        }
    }
}
