//! Registries: where gateways are recorded. Kubernetes alone, or a platform's MongoDB as well.
//!
//! Outbound, steps of a gateway's plan write to its documents: `report` decides what, `mongo` writes it.
//! Inbound, `follow` keeps the document cache up to date, `intent` decides which objects the documents ask for,
//! and `control` applies those. `document`, `size`, `identity`, `report` and `intent` are pure. All calls go
//! through `store`, and `breaker` spares an unavailable database.
//!
//! **Architecture invariant:** this module imports only the core, `metrics`, the claim and the backoff of
//! `cluster`, and the queue's handle; neither a cache nor `control`. The document cache may be behind, so the
//! filter of every written transition is a fence. Facts are only read; an object waits for the registry only
//! through [`Registry::wait`] or [`Mongo::wait`].

pub mod breaker;
pub mod cache;
pub mod config;
pub mod document;
pub mod follow;
pub mod identity;
pub mod intent;
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

/// A registry, as the rest of the operator sees it.
#[derive(Clone)]
pub enum Registry {
    /// The object is the record, so there is nothing to do.
    Kubernetes,
    /// A platform's MongoDB.
    MongoDb(Arc<Mongo>),
}

impl Registry {
    /// The facts about a gateway. Makes no call and changes nothing; an object that needs newer facts must
    /// [`Self::wait`].
    pub fn facts(&self, gateway: &ApiGateway, environments: impl FnOnce() -> Vec<EnvironmentView>) -> RegistryFacts {
        match self {
            Self::Kubernetes => RegistryFacts::settled(),
            Self::MongoDb(mongo) => mongo.facts(gateway, &environments()),
        }
    }

    /// Whether the registry is outside Kubernetes.
    pub fn is_external(&self) -> bool {
        matches!(self, Self::MongoDb(_))
    }

    /// Carries out a registry step of a gateway's plan.
    ///
    /// # Errors
    /// If the step was not carried out.
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

    /// Requeues an object once the registry answers; at once if it does already.
    pub fn wait(&self, key: Key) {
        if let Self::MongoDb(mongo) = self {
            mongo.wait(key);
        }
    }

    /// Called when a gateway appeared or changed.
    pub fn saw_gateway(&self, gateway: &ApiGateway) {
        if let Self::MongoDb(mongo) = self {
            mongo.saw_gateway(gateway);
        }
    }

    /// Called when a gateway is gone.
    pub fn lost_gateway(&self, key: &ObjectKey) {
        if let Self::MongoDb(mongo) = self {
            mongo.lost_gateway(key);
        }
    }

    /// Called when an environment appeared or changed.
    pub fn saw_environment(&self, environment: &Environment) {
        if let Self::MongoDb(mongo) = self {
            mongo.saw_environment(environment);
        }
    }

    /// Called when an environment is gone.
    pub fn lost_environment(&self, key: &ObjectKey) {
        if let Self::MongoDb(mongo) = self {
            mongo.lost_environment(key);
        }
    }
}
