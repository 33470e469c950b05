//! The one space of hosts, and what namespaces allow in it.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;
use tokio::sync::Notify;

use super::index::Kept;
use crate::api::{ALLOWED_HOSTS_ANNOTATION, ObjectKey};
use crate::decide::hosts::{Claimant, Claims, Policy};

/// The one space of hosts, which all scopes of an operator share.
pub struct HostSpace {
    policy: Policy,
    claims: Mutex<Claims>,
    changed: Notify,
}

impl HostSpace {
    /// A space with nobody in it.
    pub fn new(policy: Policy) -> Self {
        Self { claims: Mutex::new(Claims::new(policy.clone())), policy, changed: Notify::new() }
    }

    /// What whoever runs the operator allows.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Who holds which host.
    pub fn claims(&self) -> MutexGuard<'_, Claims> {
        // Claims are replaced one by one; a panic elsewhere leaves them whole.
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes who holds what. Returns who is to look again by now; whoever is to later is told by [`Self::due`].
    pub fn change(&self, change: impl FnOnce(&mut Claims, Instant) -> BTreeSet<Claimant>) -> BTreeSet<Claimant> {
        let now = Instant::now();
        let mut claims = self.claims();
        let mut concerned = change(&mut claims, now);
        concerned.append(&mut claims.due(now));
        self.changed.notify_one();
        concerned
    }

    /// Everything was listed.
    pub fn begin(&self) {
        self.claims().begin(Instant::now());
    }

    /// Gives up what was reserved for a claim that was not written.
    pub fn release(&self, claimant: &Claimant) {
        self.claims().release(claimant, Instant::now());
        self.changed.notify_one();
    }

    /// Returns those whose turn it is to take what can be had, once there are any.
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

/// The hosts that a namespace's annotation allows; `None` where it has none.
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
