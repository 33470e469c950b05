//! All caches of one scope: the observed world of a reconcile.
//!
//! **Architecture invariant:** this module answers questions about cached objects. It makes no API call and no
//! decision.

use std::cell::OnceCell;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use futures::FutureExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{self, ObjectRef, Store};

use super::child::{CachedChild, FoundChildren};
use super::environments::Environments;
use super::hosts::{AllowedHosts, HostSpace};
use super::index::Cache;
use super::pods::PodFacts;
use super::routes::RouteSupport;
use crate::api::{ApiGateway, Environment, Exposure, Guarded, ObjectKey, Unreadable};
use crate::children::{self, HttpRoute, Owner};
use crate::decide::allowance::Allowance;
use crate::decide::hosts::{ClaimantKind, Claims, HostRequest};
use crate::decide::observed::HostVerdict;

/// How long startup waits to learn whether the cluster has HTTPRoutes, and to list them: the hosts that they
/// route must be known before any host is given away.
const ROUTES_WITHIN: Duration = Duration::from_secs(10);

/// What the Ingress and the HTTPRoute of one gateway route. Read lazily and once, since a gateway may have many
/// environments.
pub struct Routed<'a> {
    caches: &'a Caches,
    gateway: ObjectKey,
    hosts: OnceCell<Vec<String>>,
    exposed: OnceCell<bool>,
}

impl Routed<'_> {
    fn hosts(&self) -> &[String] {
        self.hosts.get_or_init(|| {
            let guarded = self.caches.guarded_gateway(&self.gateway);
            let gateway = guarded.as_ref().and_then(|guarded| guarded.0.as_ref().ok());
            gateway.map(|gateway| self.caches.routed_hosts(gateway)).unwrap_or_default()
        })
    }

    /// Whether the gateway routes hosts at all. A missing gateway counts as yes.
    fn is_exposed(&self) -> bool {
        *self.exposed.get_or_init(|| {
            let guarded = self.caches.guarded_gateway(&self.gateway);
            let gateway = guarded.as_ref().and_then(|guarded| guarded.0.as_ref().ok());
            gateway.is_none_or(|gateway| gateway.spec.exposure() != Exposure::None)
        })
    }
}

/// The caches of one scope.
pub struct Caches {
    /// The gateways.
    pub gateways: Store<Guarded<ApiGateway>>,
    /// The environments, including unreadable ones.
    pub all_environments: Store<Guarded<Environment>>,
    /// The readable environments by gateway.
    pub environments: Environments,
    /// Deployments, including foreign ones, which may block a name.
    pub deployments: Cache<CachedChild<Deployment>>,
    /// Services, including foreign ones.
    pub services: Cache<CachedChild<Service>>,
    /// Ingresses, including foreign ones.
    pub ingresses: Cache<CachedChild<Ingress>>,
    /// HTTPRoutes, including foreign ones, if the cluster has the CRD and a gateway asks for one.
    pub http_routes: Cache<CachedChild<HttpRoute>>,
    /// PodDisruptionBudgets, including foreign ones.
    pub disruption_budgets: Cache<CachedChild<PodDisruptionBudget>>,
    /// The gateways' pods.
    pub pods: Cache<PodFacts>,
    /// Restrictions of namespaces, other than hosts. Filled before [`Caches::allowed_hosts`], which determines
    /// whether a namespace is known.
    pub allowances: Cache<Allowance>,
    /// The hosts that namespaces allow.
    pub allowed_hosts: Cache<AllowedHosts>,
    space: Arc<HostSpace>,
    routes: Arc<RouteSupport>,
}

/// The writers of those caches that are kube reflector stores.
pub struct Writers {
    /// Fills [`Caches::gateways`].
    pub gateways: Writer<Guarded<ApiGateway>>,
    /// Fills [`Caches::all_environments`].
    pub environments: Writer<Guarded<Environment>>,
}

impl Caches {
    /// Empty caches, and their writers.
    pub fn new(space: Arc<HostSpace>, routes: Arc<RouteSupport>) -> (Self, Writers) {
        let (gateways, gateway_writer) = reflector::store();
        let (all_environments, environment_writer) = reflector::store();
        let caches = Self {
            gateways,
            all_environments,
            environments: Environments::default(),
            deployments: Cache::default(),
            services: Cache::default(),
            ingresses: Cache::default(),
            http_routes: Cache::default(),
            disruption_budgets: Cache::default(),
            pods: Cache::default(),
            allowances: Cache::default(),
            allowed_hosts: Cache::default(),
            space,
            routes,
        };
        (caches, Writers { gateways: gateway_writer, environments: environment_writer })
    }

    /// The host claims of all scopes.
    pub fn claims(&self) -> MutexGuard<'_, Claims> {
        self.space.claims()
    }

    /// The host space of all scopes.
    pub fn space(&self) -> &HostSpace {
        &self.space
    }

    /// Support for HTTPRoutes in the cluster.
    pub fn routes(&self) -> &RouteSupport {
        &self.routes
    }

    /// Whether all routes of a gateway are known. True for a gateway that neither asks for an HTTPRoute nor has
    /// one.
    pub fn knows_routes_of(&self, gateway: &ApiGateway) -> bool {
        !children::concerns_routes(gateway) || self.routes.is_known()
    }

    /// The gateway of a key, readable or not.
    pub fn guarded_gateway(&self, key: &ObjectKey) -> Option<Arc<Guarded<ApiGateway>>> {
        self.gateways.get(&reference(key))
    }

    /// The environment of a key, readable or not.
    pub fn guarded_environment(&self, key: &ObjectKey) -> Option<Arc<Guarded<Environment>>> {
        self.all_environments.get(&reference(key))
    }

    /// The gateway of a key, if it exists and is readable.
    pub fn gateway(&self, key: &ObjectKey) -> Option<ApiGateway> {
        self.guarded_gateway(key)?.0.clone().ok()
    }

    /// The environment of a key, if it exists and is readable.
    pub fn environment(&self, key: &ObjectKey) -> Option<Environment> {
        self.guarded_environment(key)?.0.clone().ok()
    }

    /// Whether the gateway of a key exists and is unreadable.
    pub fn cannot_read_gateway(&self, key: &ObjectKey) -> bool {
        self.guarded_gateway(key).is_some_and(|gateway| gateway.0.is_err())
    }

    /// The children of a gateway.
    pub fn children_of(&self, gateway: &ObjectKey) -> FoundChildren {
        FoundChildren {
            deployment: self.deployments.child_of(gateway),
            service: self.services.child_of(gateway),
            ingress: self.ingresses.child_of(gateway),
            http_route: self.http_routes.child_of(gateway),
            disruption_budget: self.disruption_budgets.child_of(gateway),
        }
    }

    /// The host request of a gateway.
    pub fn host_request_of_gateway(&self, gateway: &ApiGateway) -> HostRequest {
        self.with_what_is_routed(HostRequest::from(gateway), |host| {
            self.routed_hosts(gateway).binary_search(host).is_ok()
        })
    }

    /// The host request of an environment, given what its gateway routes.
    pub fn host_request_of_environment(&self, environment: &Environment, routed: &Routed<'_>) -> HostRequest {
        let request = HostRequest::from(environment);
        let is_unexposed = environment.spec.host.is_some() && !routed.is_exposed();
        let request = if is_unexposed { request.unexposed() } else { request };
        self.with_what_is_routed(request, |host| routed.hosts().binary_search(host).is_ok())
    }

    /// The host request of an unreadable object.
    pub fn host_request_of_unreadable(&self, kind: ClaimantKind, object: &Unreadable) -> HostRequest {
        let request = HostRequest::of_unreadable(kind, object);
        let namespace = request.claimant.object.namespace.clone();
        request.within(|host| self.refuses(&namespace, host).is_none())
    }

    /// The host request of an Ingress and an HTTPRoute that the operator wrote: the hosts that they route and
    /// their namespace may have. `None` if neither exists or they are foreign.
    pub fn host_request_of_ingress(&self, key: &ObjectKey) -> Option<HostRequest> {
        let (ingress, route) = self.ways_to(key, children::is_marked);
        let metas = [ingress.as_ref().map(|ingress| &ingress.metadata), route.as_ref().map(|route| &route.metadata)];
        let oldest = metas.into_iter().flatten().min_by_key(|meta| meta.creation_timestamp.as_ref().map(|at| at.0))?;
        if !self.knows_namespace(&key.namespace) {
            return None;
        }
        let of_ingress = ingress.iter().flat_map(children::routed_hosts).take(children::MOST_HOSTS);
        let of_route = route.iter().flat_map(children::hostnames).map(str::to_owned).take(children::MOST_HOSTNAMES);
        let hosts = of_ingress.chain(of_route).filter(|host| self.refuses(&key.namespace, host).is_none());
        Some(HostRequest::of_ingress(oldest, hosts))
    }

    /// What a gateway's own Ingress and HTTPRoute route.
    pub fn routed_by(&self, gateway: &ObjectKey) -> Routed<'_> {
        Routed { caches: self, gateway: gateway.clone(), hosts: OnceCell::new(), exposed: OnceCell::new() }
    }

    /// A routed host without a recorded claim is held all the same. A host that the namespace may not have is
    /// never held.
    fn with_what_is_routed(&self, request: HostRequest, routes: impl Fn(&String) -> bool) -> HostRequest {
        let namespace = request.claimant.object.namespace.clone();
        let request = request.within(|host| self.refuses(&namespace, host).is_none());
        let is_routed = request.wanted.as_ref().filter(|_| !request.is_recorded()).is_some_and(|host| {
            self.knows_namespace(&namespace) && self.refuses(&namespace, host).is_none() && routes(host)
        });
        let request = request.routed(is_routed);
        request.beginning_with(|host| self.refuses_anew(&namespace, host).is_none())
    }

    /// Why a namespace may not have a host, whoever holds it.
    pub fn refuses(&self, namespace: &str, host: &str) -> Option<HostVerdict> {
        let annotation = self.allowed_in(namespace)?;
        self.space.policy().refuses(host, annotation.0.as_deref())
    }

    /// Why a namespace may not newly claim a host.
    fn refuses_anew(&self, namespace: &str, host: &str) -> Option<HostVerdict> {
        let annotation = self.allowed_in(namespace)?;
        self.space.policy().refuses_anew(host, annotation.0.as_deref())
    }

    /// Whether a claimant may have the host in its spec.
    pub fn host_verdict(&self, request: &HostRequest) -> HostVerdict {
        let namespace = &request.claimant.object.namespace;
        let refused = request.wanted.as_ref().and_then(|host| self.refuses(namespace, host));
        let refused = refused.or_else(|| self.refuses_anew(namespace, request.new_host()?));
        refused.unwrap_or_else(|| self.claims().verdict(request.clone()))
    }

    /// The Ingress and the HTTPRoute with a gateway's name, if `is_meant` accepts them.
    fn ways_to(
        &self,
        gateway: &ObjectKey,
        is_meant: impl Fn(&ObjectMeta) -> bool,
    ) -> (Option<Ingress>, Option<HttpRoute>) {
        let ingress = self.ingresses.child_of(gateway).and_then(|seen| seen.object().ok());
        let route = self.http_routes.child_of(gateway).and_then(|seen| seen.object().ok());
        (ingress.filter(|ingress| is_meant(&ingress.metadata)), route.filter(|route| is_meant(&route.metadata)))
    }

    /// The hosts that the Ingress and the HTTPRoute of a gateway route, sorted. Foreign objects do not count.
    pub fn routed_hosts(&self, gateway: &ApiGateway) -> Vec<String> {
        let may_be_ours = |meta: &ObjectMeta| !matches!(children::owner_of(meta, gateway), Owner::Foreign(_));
        let (ingress, route) = self.ways_to(&ObjectKey::of(gateway), may_be_ours);
        let mut hosts: Vec<String> = ingress.iter().flat_map(children::routed_hosts).collect();
        hosts.extend(route.iter().flat_map(children::hostnames).map(str::to_owned));
        hosts.sort();
        hosts.dedup();
        hosts
    }

    /// The hosts that a namespace allows; `None` if the namespace is not known.
    pub fn allowed_in(&self, namespace: &str) -> Option<Arc<AllowedHosts>> {
        self.allowed_hosts.child_of(&ObjectKey::new(namespace, namespace))
    }

    /// The restrictions of a namespace, other than hosts.
    pub fn allowance_of(&self, namespace: &str) -> Arc<Allowance> {
        self.allowances.child_of(&ObjectKey::new(namespace, namespace)).unwrap_or_default()
    }

    /// Whether a namespace is known. A new one may not be yet; its event requeues the gateways and environments
    /// in it.
    pub fn knows_namespace(&self, namespace: &str) -> bool {
        self.allowed_in(namespace).is_some()
    }

    /// Waits until everything was listed. A decision from a partial view would create objects that exist.
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
        // The gateways are listed by now, so it is known whether one asks for routes. If nothing is learned in
        // time, only the gateways that ask wait on.
        let _ = tokio::time::timeout(ROUTES_WITHIN, self.routes.wait_until_known()).await;
    }
}

/// A key as kube's store uses it.
fn reference<K: Resource<DynamicType = ()>>(key: &ObjectKey) -> ObjectRef<K> {
    ObjectRef::new(&key.name).within(&key.namespace)
}
