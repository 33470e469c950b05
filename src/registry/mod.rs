//! Where gateways are recorded: in Kubernetes itself, or in a platform's MongoDB as well.

pub mod document;
pub mod intent;
pub mod report;

use crate::api::ApiGateway;
use crate::decide::Step;
use crate::decide::observed::RegistryFacts;
use report::EnvironmentView;

/// A registry as a reconcile sees it.
#[derive(Clone)]
pub enum Registry {
    /// The object is the record.
    Kubernetes,
}

/// Why something was not written.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {}

impl Registry {
    /// What is known of a gateway. Asks nobody.
    pub fn facts(&self, _gateway: &ApiGateway, _environments: impl FnOnce() -> Vec<EnvironmentView>) -> RegistryFacts {
        RegistryFacts::settled()
    }

    /// Carries out one step.
    ///
    /// # Errors
    /// When it was not carried out.
    pub async fn carry_out(
        &self,
        _gateway: &ApiGateway,
        _environments: &[EnvironmentView],
        _step: Step,
    ) -> Result<(), RegistryError> {
        Ok(())
    }
}
