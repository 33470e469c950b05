//! The one space of hosts, and what namespaces allow in it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;

use super::index::Kept;
use crate::api::{ALLOWED_HOSTS_ANNOTATION, ObjectKey};
use crate::decide::hosts::Claims;

/// The one space of hosts, which all scopes of an operator share.
#[derive(Default)]
pub struct HostSpace {
    claims: Mutex<Claims>,
}

impl HostSpace {
    /// Who holds which host.
    pub fn claims(&self) -> MutexGuard<'_, Claims> {
        // Claims are replaced one by one; a panic elsewhere leaves them whole.
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The hosts that a namespace allows; `None` for any.
#[derive(Clone, Debug, PartialEq)]
pub struct AllowedHosts(pub Option<Vec<String>>);

impl Kept for AllowedHosts {
    type Object = Namespace;

    fn keep(namespace: Namespace) -> Option<(ObjectKey, Self)> {
        let name = namespace.name_any();
        let allowed = namespace.annotations().get(ALLOWED_HOSTS_ANNOTATION).map(|suffixes| {
            suffixes.split(',').map(str::trim).filter(|suffix| !suffix.is_empty()).map(str::to_owned).collect()
        });
        Some((ObjectKey::new(&name, &name), Self(allowed)))
    }

    fn says_the_same(&self, newer: &Self) -> bool {
        self == newer
    }
}
