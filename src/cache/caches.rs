//! What decisions are made from, in one scope.

use std::cell::OnceCell;
use std::sync::{Arc, MutexGuard};

use futures::FutureExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Resource;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{self, ObjectRef, Store};

use super::environments::Environments;
use super::hosts::{AllowedHosts, HostSpace};
use super::index::Cache;
use super::pods::PodFacts;
use super::seen::{Found, Seen};
use crate::api::{ApiGateway, Environment, Guarded, ObjectKey, Unreadable};
use crate::children::{self, Owner};
use crate::decide::allowance::Allowance;
use crate::decide::hosts::{ClaimantKind, Claims, Stake};
use crate::decide::observed::HostVerdict;

/// What the Ingress of one gateway routes. It is read when somebody asks, once for all who ask: a gateway may have many
/// environments.
pub struct Routed<'a> {
    caches: &'a Caches,
    gateway: ObjectKey,
    hosts: OnceCell<Vec<String>>,
}

impl Routed<'_> {
    fn hosts(&self) -> &[String] {
        self.hosts.get_or_init(|| {
            let guarded = self.caches.guarded_gateway(&self.gateway);
            let gateway = guarded.as_ref().and_then(|guarded| guarded.0.as_ref().ok());
            gateway.map(|gateway| self.caches.routed_hosts(gateway)).unwrap_or_default()
        })
    }
}

/// The caches of one scope.
pub struct Caches {
    /// The gateways.
    pub gateways: Store<Guarded<ApiGateway>>,
    /// The environments, those that cannot be read included.
    pub all_environments: Store<Guarded<Environment>>,
    /// The environments, by their gateway.
    pub environments: Environments,
    /// Deployments, strangers' too: they may be in the way.
    pub deployments: Cache<Seen<Deployment>>,
    /// Services, strangers' too.
    pub services: Cache<Seen<Service>>,
    /// Ingresses, strangers' too.
    pub ingresses: Cache<Seen<Ingress>>,
    /// PodDisruptionBudgets, strangers' too.
    pub disruption_budgets: Cache<Seen<PodDisruptionBudget>>,
    /// The gateways' pods.
    pub pods: Cache<PodFacts>,
    /// What the namespaces allow beside hosts. It is filled before [`Caches::allowed_hosts`] is, which says whether a namespace is
    /// known.
    pub allowances: Cache<Allowance>,
    /// What the namespaces allow.
    pub allowed_hosts: Cache<AllowedHosts>,
    space: Arc<HostSpace>,
}

/// What fills those caches that are kube's stores.
pub struct Writers {
    /// Fills [`Caches::gateways`].
    pub gateways: Writer<Guarded<ApiGateway>>,
    /// Fills [`Caches::all_environments`].
    pub environments: Writer<Guarded<Environment>>,
}

impl Caches {
    /// Empty caches, and what fills them.
    pub fn new(space: Arc<HostSpace>) -> (Self, Writers) {
        let (gateways, gateway_writer) = reflector::store();
        let (all_environments, environment_writer) = reflector::store();
        let caches = Self {
            gateways,
            all_environments,
            environments: Environments::default(),
            deployments: Cache::default(),
            services: Cache::default(),
            ingresses: Cache::default(),
            disruption_budgets: Cache::default(),
            pods: Cache::default(),
            allowances: Cache::default(),
            allowed_hosts: Cache::default(),
            space,
        };
        (caches, Writers { gateways: gateway_writer, environments: environment_writer })
    }

    /// Who holds which host, over all scopes.
    pub fn claims(&self) -> MutexGuard<'_, Claims> {
        self.space.claims()
    }

    /// The one space of hosts.
    pub fn space(&self) -> &HostSpace {
        &self.space
    }

    /// The gateway of a key, whether it can be read or not.
    pub fn guarded_gateway(&self, key: &ObjectKey) -> Option<Arc<Guarded<ApiGateway>>> {
        self.gateways.get(&reference(key))
    }

    /// The environment of a key, whether it can be read or not.
    pub fn guarded_environment(&self, key: &ObjectKey) -> Option<Arc<Guarded<Environment>>> {
        self.all_environments.get(&reference(key))
    }

    /// The gateway of a key, if it exists and can be read.
    pub fn gateway(&self, key: &ObjectKey) -> Option<ApiGateway> {
        self.guarded_gateway(key)?.0.clone().ok()
    }

    /// The environment of a key, if it exists and can be read.
    pub fn environment(&self, key: &ObjectKey) -> Option<Environment> {
        self.guarded_environment(key)?.0.clone().ok()
    }

    /// Whether there is a gateway of this key that cannot be read.
    pub fn cannot_read_gateway(&self, key: &ObjectKey) -> bool {
        self.guarded_gateway(key).is_some_and(|gateway| gateway.0.is_err())
    }

    /// The children of a gateway.
    pub fn children_of(&self, gateway: &ObjectKey) -> Found {
        Found {
            deployment: self.deployments.child_of(gateway),
            service: self.services.child_of(gateway),
            ingress: self.ingresses.child_of(gateway),
            disruption_budget: self.disruption_budgets.child_of(gateway),
        }
    }

    /// What a gateway wants and holds.
    pub fn stake_of_gateway(&self, gateway: &ApiGateway) -> Stake {
        self.with_what_is_routed(Stake::from(gateway), |host| self.routed_hosts(gateway).binary_search(host).is_ok())
    }

    /// What an environment wants and holds, whose gateway's Ingress routes what is `routed`.
    pub fn stake_of_environment(&self, environment: &Environment, routed: &Routed<'_>) -> Stake {
        self.with_what_is_routed(Stake::from(environment), |host| routed.hosts().binary_search(host).is_ok())
    }

    /// What an object holds that cannot be read as a whole.
    pub fn stake_of_unreadable(&self, kind: ClaimantKind, object: &Unreadable) -> Stake {
        let stake = Stake::of_unreadable(kind, object);
        let namespace = stake.claimant.object.namespace.clone();
        stake.within(|host| self.refuses(&namespace, host).is_none())
    }

    /// What an Ingress of the operator's holds: what it routes and its namespace may have. `None`: it is not the operator's, or
    /// there is none.
    pub fn stake_of_ingress(&self, key: &ObjectKey) -> Option<Stake> {
        let ingress = self.ingresses.child_of(key)?.object().ok()?;
        if !children::is_marked(&ingress.metadata) || !self.knows_namespace(&key.namespace) {
            return None;
        }
        let hosts = children::routed_hosts(&ingress).into_iter().take(children::MOST_HOSTS);
        Some(Stake::of_ingress(&ingress.metadata, hosts.filter(|host| self.refuses(&key.namespace, host).is_none())))
    }

    /// What the Ingress of a gateway routes, if it is the gateway's.
    pub fn routed_by(&self, gateway: &ObjectKey) -> Routed<'_> {
        Routed { caches: self, gateway: gateway.clone(), hosts: OnceCell::new() }
    }

    /// A host that is routed and on which no claim is recorded is held all the same. What the namespace may not have holds
    /// nothing, recorded or not.
    fn with_what_is_routed(&self, stake: Stake, routes: impl Fn(&String) -> bool) -> Stake {
        let namespace = stake.claimant.object.namespace.clone();
        let stake = stake.within(|host| self.refuses(&namespace, host).is_none());
        let (Some(host), false) = (&stake.wanted, stake.is_recorded()) else { return stake };
        let allowed = self.knows_namespace(&namespace) && self.refuses(&namespace, host).is_none();
        let is_routed = allowed && routes(host);
        stake.routed(is_routed)
    }

    /// Why nobody in a namespace may have a host, whoever holds it.
    pub fn refuses(&self, namespace: &str, host: &str) -> Option<HostVerdict> {
        let annotation = self.allowed_in(namespace)?;
        self.space.policy().refuses(host, annotation.0.as_deref())
    }

    /// The hosts that the Ingress of a gateway routes, in order, unless it is a stranger's.
    pub fn routed_hosts(&self, gateway: &ApiGateway) -> Vec<String> {
        let Some(Ok(ingress)) = self.ingresses.child_of(&ObjectKey::of(gateway)).map(|seen| seen.object()) else {
            return Vec::new();
        };
        if matches!(children::owner_of(&ingress.metadata, gateway), Owner::Stranger(_)) {
            return Vec::new();
        }
        let mut hosts = children::routed_hosts(&ingress);
        hosts.sort();
        hosts
    }

    /// What a namespace allows; `None` where that is not known.
    pub fn allowed_in(&self, namespace: &str) -> Option<Arc<AllowedHosts>> {
        self.allowed_hosts.child_of(&ObjectKey::new(namespace, namespace))
    }

    /// What a namespace allows beside hosts.
    pub fn allowance_of(&self, namespace: &str) -> Arc<Allowance> {
        self.allowances.child_of(&ObjectKey::new(namespace, namespace)).unwrap_or_default()
    }

    /// Whether it is known what a namespace allows. In one that was made a moment ago it may not be; its event wakes the
    /// gateways in it, and their environments.
    pub fn knows_namespace(&self, namespace: &str) -> bool {
        self.allowed_in(namespace).is_some()
    }

    /// Returns when everything was listed: a decision from half a view would create what is there.
    pub async fn wait_until_ready(&self) {
        let gateways = self.gateways.wait_until_ready().map(drop);
        let waits = [
            ("apigateways", gateways.boxed()),
            ("environments", self.environments.wait_until_ready().boxed()),
            ("deployments", self.deployments.wait_until_ready().boxed()),
            ("services", self.services.wait_until_ready().boxed()),
            ("ingresses", self.ingresses.wait_until_ready().boxed()),
            ("poddisruptionbudgets", self.disruption_budgets.wait_until_ready().boxed()),
            ("pods", self.pods.wait_until_ready().boxed()),
            ("namespaces", self.allowed_hosts.wait_until_ready().boxed()),
        ];
        for (kind, wait) in waits {
            wait.await;
            tracing::debug!(kind, "listed");
        }
    }
}

/// A key as kube's store has it.
fn reference<K: Resource<DynamicType = ()>>(key: &ObjectKey) -> ObjectRef<K> {
    ObjectRef::new(&key.name).within(&key.namespace)
}
