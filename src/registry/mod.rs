//! Where gateways are recorded: in Kubernetes itself, or in a platform's MongoDB as well.
//!
//! Outward, a gateway's own machine writes to its documents by steps of its plan, fenced (`report`).
//! Inward, documents become objects (`intent`, `intake`). Both look at what is known (`known`) and ask
//! nobody; what is asked goes through `store`, which `breaker` spares a database that is away.

pub mod breaker;
pub mod config;
pub mod document;
pub mod intake;
pub mod intent;
pub mod known;
pub mod mongo;
pub mod report;
pub mod store;

use std::sync::Arc;

use crate::api::{ApiGateway, Environment, ObjectKey};
use crate::decide::Step;
use crate::decide::observed::RegistryFacts;
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
    /// What is known of a gateway. Asks nobody.
    pub fn facts(&self, gateway: &ApiGateway, environments: impl FnOnce() -> Vec<EnvironmentView>) -> RegistryFacts {
        match self {
            Self::Kubernetes => RegistryFacts::settled(),
            Self::MongoDb(mongo) => mongo.facts(gateway, &environments()),
        }
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

    /// A gateway appeared or changed.
    pub fn saw_gateway(&self, gateway: &ApiGateway) {
        if let Self::MongoDb(mongo) = self {
            mongo.saw_gateway(gateway);
        }
    }

    /// A gateway is gone.
    pub fn lost_gateway(&self, holder: &ObjectKey) {
        if let Self::MongoDb(mongo) = self {
            mongo.lost_gateway(holder);
        }
    }

    /// An environment appeared or changed.
    pub fn saw_environment(&self, environment: &Environment) {
        if let Self::MongoDb(mongo) = self {
            mongo.saw_environment(environment);
        }
    }

    /// An environment is gone.
    pub fn lost_environment(&self, holder: &ObjectKey) {
        if let Self::MongoDb(mongo) = self {
            mongo.lost_environment(holder);
        }
    }
}
