//! The shared host space, and the hosts that namespaces allow.
//!
//! **Architecture invariant:** all scopes share one host space. This module only wraps it in a lock and a
//! notification; who wins a host is decided in the core.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;
use tokio::sync::Notify;

use super::index::Cached;
use crate::api::{ALLOWED_HOSTS_ANNOTATION, ObjectKey};
use crate::decide::hosts::{Claimant, Claims, Policy};

/// The host space that all scopes share.
pub struct HostSpace {
    policy: Policy,
    claims: Mutex<Claims>,
    changed: Notify,
}

impl HostSpace {
    /// An empty host space.
    pub fn new(policy: Policy) -> Self {
        Self { claims: Mutex::new(Claims::new(policy.clone())), policy, changed: Notify::new() }
    }

    /// The operator's policy about hosts.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The host claims.
    pub fn claims(&self) -> MutexGuard<'_, Claims> {
        // Claims change one by one, so a panic elsewhere leaves them whole.
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the claims. Returns the claimants to requeue now; later ones come through [`Self::due`].
    pub fn change(&self, change: impl FnOnce(&mut Claims, Instant) -> BTreeSet<Claimant>) -> BTreeSet<Claimant> {
        let now = Instant::now();
        let mut claims = self.claims();
        let mut affected = change(&mut claims, now);
        affected.append(&mut claims.due(now));
        self.changed.notify_one();
        affected
    }

    /// Called once everything was listed.
    pub fn begin(&self) {
        self.claims().begin(Instant::now());
    }

    /// Cancels a reservation whose claim was not written.
    pub fn release(&self, claimant: &Claimant) {
        self.claims().release(claimant, Instant::now());
        self.changed.notify_one();
    }

    /// Waits for the next claimants whose turn it is to take a free host.
    pub async fn due(&self) -> BTreeSet<Claimant> {
        loop {
            let (due, next) = {
                let mut claims = self.claims();
                (claims.due(Instant::now()), claims.next_due())
            };
            if !due.is_empty() {
                return due;
            }
            let later = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.changed.notified() => {}
                () = later => {}
            }
        }
    }
}

/// The hosts that a namespace's annotation allows; `None` without the annotation.
#[derive(Clone, Debug, PartialEq)]
pub struct AllowedHosts(pub Option<Vec<String>>);

impl Cached for AllowedHosts {
    type Object = Namespace;

    fn from_object(namespace: Namespace) -> Option<(ObjectKey, Self)> {
        let name = namespace.name_any();
        let allowed = namespace.annotations().get(ALLOWED_HOSTS_ANNOTATION).map(|suffixes| {
            suffixes.split(',').map(str::trim).filter(|suffix| !suffix.is_empty()).map(str::to_owned).collect()
        });
        Some((ObjectKey::new(&name, &name), Self(allowed)))
    }

    fn is_unchanged(&self, newer: &Self) -> bool {
        self == newer
    }
}
