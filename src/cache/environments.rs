//! Environments, by the gateway that they belong to.

use super::index::Kept;
use crate::api::{Environment, Guarded, ObjectKey};

impl Kept for Environment {
    type Object = Guarded<Self>;

    fn keep(object: Self::Object) -> Option<(ObjectKey, Self)> {
        let environment = object.0.ok()?;
        Some((environment.gateway_key(), environment))
    }

    fn says_the_same(&self, newer: &Self) -> bool {
        self.metadata.resource_version == newer.metadata.resource_version
    }
}
