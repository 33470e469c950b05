//! What namespaces allow their gateways beside hosts.

use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;

use super::index::Kept;
use crate::api::ObjectKey;
use crate::decide::allowance::Allowance;

impl Kept for Allowance {
    type Object = Namespace;

    fn keep(namespace: Namespace) -> Option<(ObjectKey, Self)> {
        let name = namespace.name_any();
        Some((ObjectKey::new(&name, &name), Self::of_namespace(namespace.annotations())))
    }

    fn says_the_same(&self, newer: &Self) -> bool {
        self == newer
    }

    fn is_quiet(&self) -> bool {
        *self == Self::ANYTHING
    }
}
