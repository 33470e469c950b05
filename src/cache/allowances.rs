//! Caches the restrictions in the annotations of namespaces, other than hosts.

use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;

use super::index::Cached;
use crate::api::ObjectKey;
use crate::decide::allowance::Allowance;

impl Cached for Allowance {
    type Object = Namespace;

    fn from_object(namespace: Namespace) -> Option<(ObjectKey, Self)> {
        let name = namespace.name_any();
        Some((ObjectKey::new(&name, &name), Self::of_namespace(namespace.annotations())))
    }

    fn is_unchanged(&self, newer: &Self) -> bool {
        self == newer
    }

    fn is_quiet(&self) -> bool {
        *self == Self::ANYTHING
    }
}
