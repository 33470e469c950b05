//! Requeues the objects that an event affects.
//!
//! **Architecture invariant:** this module adds keys and nothing else. A reconcile finds out by itself what has
//! changed.

use std::sync::Arc;

use kube::{Resource, ResourceExt};

use crate::api::{ApiGateway, Environment, ObjectKey, Unreadable};
use crate::cache::caches::Caches;
use crate::cache::scopes::Scopes;
use crate::children;
use crate::decide::hosts::{Claimant, ClaimantKind, HostRequest};
use crate::queue::{Key, Kind, Stage, WorkQueue};

/// Requeues objects that an event in one scope affects.
#[derive(Clone)]
pub(super) struct ScopeRequeue {
    /// The caches of the scope.
    pub(super) caches: Arc<Caches>,
    requeuer: Requeuer,
}

impl ScopeRequeue {
    pub(super) fn new(caches: Arc<Caches>, scopes: Arc<Scopes>, queue: WorkQueue) -> Self {
        Self { caches, requeuer: Requeuer::new(scopes, queue) }
    }

    /// Requeues a gateway, if it exists.
    pub(super) fn gateway(&self, key: &ObjectKey) {
        self.requeuer.gateway_in(&self.caches, key);
    }

    /// Requeues an environment, if it exists.
    pub(super) fn environment(&self, key: &ObjectKey) {
        self.requeuer.environment_in(&self.caches, key);
    }

    /// Requeues a gateway's environments.
    pub(super) fn environments_of(&self, gateway: &ObjectKey) {
        for (name, _) in self.caches.environments.of(gateway) {
            self.environment(&ObjectKey::new(&gateway.namespace, name));
        }
    }

    /// Requeues a gateway and its environments.
    pub(super) fn gateway_and_environments(&self, key: &ObjectKey) {
        self.gateway(key);
        self.environments_of(key);
    }

    /// Requeues every gateway that asks for an HTTPRoute, or has one.
    pub(super) fn who_has_routes(&self) {
        for guarded in self.caches.gateways.state() {
            if let Ok(gateway) = &guarded.0
                && children::concerns_routes(gateway)
            {
                self.routes(&ObjectKey::of(gateway));
            }
        }
    }

    /// Requeues everything in a namespace, and updates its claims, which depend on what the namespace allows.
    pub(super) fn namespace(&self, name: &str) {
        for gateway in self.caches.gateways.state() {
            if gateway.namespace().as_deref() == Some(name) {
                match &gateway.0 {
                    Ok(gateway) => self.learn(self.caches.host_request_of_gateway(gateway)),
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
        for route in self.caches.http_routes.keys_in(name) {
            self.learn_ingress(&route);
        }
    }

    /// Updates the claims of a gateway, and of its environments without recorded claims, since they hold what
    /// its Ingress routes. Requeues the competitors.
    pub(super) fn learn_gateway(&self, gateway: &ApiGateway) {
        self.learn(self.caches.host_request_of_gateway(gateway));
        self.learn_environments_of(&ObjectKey::of(gateway));
    }

    /// Updates the claims of a gateway's environments without recorded claims.
    pub(super) fn learn_environments_of(&self, gateway: &ObjectKey) {
        let routed = self.caches.routed_by(gateway);
        for (_, environment) in self.caches.environments.of(gateway) {
            let request = self.caches.host_request_of_environment(&environment, &routed);
            if !request.is_recorded() {
                self.learn(request);
            }
        }
    }

    /// Updates the claims of an environment.
    pub(super) fn learn_environment(&self, environment: &Environment) {
        let routed = self.caches.routed_by(&environment.gateway_key());
        self.learn(self.caches.host_request_of_environment(environment, &routed));
    }

    /// Updates the claims of an unreadable object.
    pub(super) fn learn_unreadable(&self, kind: ClaimantKind, object: &Unreadable) {
        self.learn(self.caches.host_request_of_unreadable(kind, object));
    }

    /// Updates the claims of an Ingress and an HTTPRoute, with or without a gateway of their name.
    fn learn_ingress(&self, key: &ObjectKey) {
        match self.caches.host_request_of_ingress(key) {
            Some(request) => self.learn(request),
            None => self.forget(&Claimant { object: key.clone(), kind: ClaimantKind::Ingress }),
        }
    }

    /// Handles a new or changed Ingress or HTTPRoute of a gateway.
    pub(super) fn routes(&self, key: &ObjectKey) {
        self.learn_ingress(key);
        if let Some(gateway) = self.caches.gateway(key) {
            self.learn_gateway(&gateway);
        }
        self.gateway_and_environments(key);
    }

    /// Updates a claimant.
    pub(super) fn learn(&self, request: HostRequest) {
        self.requeuer.claimants(self.caches.space().change(|claims, now| claims.learn(request, now)));
    }

    /// Removes a claimant.
    pub(super) fn forget(&self, claimant: &Claimant) {
        self.requeuer.claimants(self.caches.space().change(|claims, now| claims.forget(claimant, now)));
    }
}

/// Requeues objects of any scope.
#[derive(Clone)]
pub(super) struct Requeuer {
    scopes: Arc<Scopes>,
    queue: WorkQueue,
}

impl Requeuer {
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
                // An Ingress is never reconciled on its own.
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
            self.requeue(key, Kind::Gateway, begun);
        }
    }

    fn environment_in(&self, caches: &Caches, key: &ObjectKey) {
        if let Some(environment) = caches.guarded_environment(key) {
            let begun = environment.0.as_ref().is_ok_and(|environment| environment.status.is_some());
            self.requeue(key, Kind::Environment, begun);
        }
    }

    fn requeue(&self, key: &ObjectKey, kind: Kind, begun: bool) {
        let stage = if begun { Stage::UnderWay } else { Stage::New };
        self.queue.add(Key { object: key.clone(), kind }, stage);
    }
}
