//! Whom a change concerns.

use std::sync::Arc;

use kube::{Resource, ResourceExt};

use crate::api::{ApiGateway, Environment, ObjectKey, Unreadable};
use crate::cache::caches::Caches;
use crate::cache::scopes::Scopes;
use crate::decide::hosts::{Claimant, ClaimantKind, Stake};
use crate::queue::{Key, Kind, Stage, WorkQueue};

/// Wakes whom a change in one scope concerns.
#[derive(Clone)]
pub(super) struct Wake {
    /// The caches of the scope.
    pub(super) caches: Arc<Caches>,
    waker: Waker,
}

impl Wake {
    pub(super) fn new(caches: Arc<Caches>, scopes: Arc<Scopes>, queue: WorkQueue) -> Self {
        Self { caches, waker: Waker::new(scopes, queue) }
    }

    /// A gateway is looked at, if it exists.
    pub(super) fn gateway(&self, key: &ObjectKey) {
        self.waker.gateway_in(&self.caches, key);
    }

    /// An environment is looked at, if it exists.
    pub(super) fn environment(&self, key: &ObjectKey) {
        self.waker.environment_in(&self.caches, key);
    }

    /// A gateway's environments are looked at.
    pub(super) fn environments_of(&self, gateway: &ObjectKey) {
        for (name, _) in self.caches.environments.of(gateway) {
            self.environment(&ObjectKey::new(&gateway.namespace, name));
        }
    }

    /// A gateway and its environments are looked at.
    pub(super) fn gateway_and_environments(&self, key: &ObjectKey) {
        self.gateway(key);
        self.environments_of(key);
    }

    /// Everything in a namespace is looked at. What it allows decides what counts as claimed.
    pub(super) fn namespace(&self, name: &str) {
        for gateway in self.caches.gateways.state() {
            if gateway.namespace().as_deref() == Some(name) {
                match &gateway.0 {
                    Ok(gateway) => self.learn(self.caches.stake_of_gateway(gateway)),
                    Err(object) => self.learn_unreadable(ClaimantKind::Gateway, object),
                }
                self.gateway(&ObjectKey::of_meta(gateway.meta()));
            }
        }
        for environment in self.caches.all_environments.state() {
            if environment.namespace().as_deref() == Some(name) {
                match &environment.0 {
                    Ok(environment) => self.learn_environment(environment),
                    Err(object) => self.learn_unreadable(ClaimantKind::Environment, object),
                }
                self.environment(&ObjectKey::of_meta(environment.meta()));
            }
        }
        for ingress in self.caches.ingresses.keys_in(name) {
            self.learn_ingress(&ingress);
        }
    }

    /// What a gateway wants and holds now, and its environments whose claims are not recorded: what its Ingress
    /// routes is theirs. Whoever wants a host of which the claims changed is looked at.
    pub(super) fn learn_gateway(&self, gateway: &ApiGateway) {
        self.learn(self.caches.stake_of_gateway(gateway));
        self.learn_environments_of(&ObjectKey::of(gateway));
    }

    /// What the environments of a gateway want and hold, as far as no claim of theirs is recorded.
    pub(super) fn learn_environments_of(&self, gateway: &ObjectKey) {
        let routed = self.caches.routed_by(gateway);
        for (_, environment) in self.caches.environments.of(gateway) {
            let stake = self.caches.stake_of_environment(&environment, &routed);
            if !stake.is_recorded() {
                self.learn(stake);
            }
        }
    }

    /// What an environment wants and holds now.
    pub(super) fn learn_environment(&self, environment: &Environment) {
        let routed = self.caches.routed_by(&environment.gateway_key());
        self.learn(self.caches.stake_of_environment(environment, &routed));
    }

    /// What an object holds that cannot be read.
    pub(super) fn learn_unreadable(&self, kind: ClaimantKind, object: &Unreadable) {
        self.learn(self.caches.stake_of_unreadable(kind, object));
    }

    /// What an Ingress routes, whether there is a gateway of its name or not.
    fn learn_ingress(&self, key: &ObjectKey) {
        match self.caches.stake_of_ingress(key) {
            Some(stake) => self.learn(stake),
            None => self.forget(&Claimant { object: key.clone(), kind: ClaimantKind::Ingress }),
        }
    }

    /// The Ingress of a gateway is another one, or routes other hosts.
    pub(super) fn routes(&self, key: &ObjectKey) {
        self.learn_ingress(key);
        if let Some(gateway) = self.caches.gateway(key) {
            self.learn_gateway(&gateway);
        }
        self.gateway_and_environments(key);
    }

    /// What a claimant wants and holds now.
    pub(super) fn learn(&self, stake: Stake) {
        self.waker.claimants(self.caches.space().change(|claims, now| claims.learn(stake, now)));
    }

    /// A claimant is gone.
    pub(super) fn forget(&self, claimant: &Claimant) {
        self.waker.claimants(self.caches.space().change(|claims, now| claims.forget(claimant, now)));
    }
}

/// Wakes whoever is looked at, wherever it is.
#[derive(Clone)]
pub(super) struct Waker {
    scopes: Arc<Scopes>,
    queue: WorkQueue,
}

impl Waker {
    pub(super) fn new(scopes: Arc<Scopes>, queue: WorkQueue) -> Self {
        Self { scopes, queue }
    }

    /// Claimants may be in other scopes.
    pub(super) fn claimants(&self, claimants: impl IntoIterator<Item = Claimant>) {
        for Claimant { object, kind } in claimants {
            let Some(caches) = self.scopes.of(&object.namespace) else { continue };
            match kind {
                ClaimantKind::Gateway => self.gateway_in(caches, &object),
                ClaimantKind::Environment => self.environment_in(caches, &object),
                // Nobody decides anything about an Ingress alone.
                ClaimantKind::Ingress => {}
            }
        }
    }

    fn gateway_in(&self, caches: &Caches, key: &ObjectKey) {
        if let Some(gateway) = caches.guarded_gateway(key) {
            let begun = gateway.0.as_ref().is_ok_and(|gateway| {
                let status = gateway.status.as_ref();
                status.is_some_and(|status| status.observed_generation == gateway.metadata.generation)
            });
            self.wake(key, Kind::Gateway, begun);
        }
    }

    fn environment_in(&self, caches: &Caches, key: &ObjectKey) {
        if let Some(environment) = caches.guarded_environment(key) {
            let begun = environment.0.as_ref().is_ok_and(|environment| environment.status.is_some());
            self.wake(key, Kind::Environment, begun);
        }
    }

    fn wake(&self, key: &ObjectKey, kind: Kind, begun: bool) {
        let stage = if begun { Stage::UnderWay } else { Stage::New };
        self.queue.wake(Key { object: key.clone(), kind }, stage);
    }
}
