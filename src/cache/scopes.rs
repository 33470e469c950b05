//! Scopes: the cluster or single namespaces that are watched, each with caches of its own.
//!
//! **Architecture invariant:** the caches of a scope are its own; the host space and the support of HTTPRoutes
//! are shared by all scopes.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::NamespaceResourceScope;
use kube::{Api, Client, Resource};

use super::caches::{Caches, Writers};
use super::hosts::HostSpace;
use super::routes::RouteSupport;
use crate::decide::hosts::Policy;

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// All namespaces.
    Cluster,
    /// One namespace.
    Namespace(String),
}

impl Scope {
    /// An API client for this scope.
    pub fn api<K>(&self, client: &Client) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match self {
            Self::Cluster => Api::all(client.clone()),
            Self::Namespace(namespace) => Api::namespaced(client.clone(), namespace),
        }
    }
}

/// The caches of all scopes, which share one host space.
pub struct Scopes {
    caches: HashMap<Scope, Arc<Caches>>,
    hosts: Arc<HostSpace>,
    routes: Arc<RouteSupport>,
}

impl Scopes {
    /// Empty caches for each scope, and their writers.
    pub fn new(scopes: &[Scope], policy: Policy) -> (Self, Vec<(Scope, Arc<Caches>, Writers)>) {
        let hosts = Arc::new(HostSpace::new(policy));
        let routes = Arc::<RouteSupport>::default();
        let mut caches = HashMap::new();
        let mut filled = Vec::new();
        for scope in scopes {
            let (of_scope, writers) = Caches::new(Arc::clone(&hosts), Arc::clone(&routes));
            let of_scope = Arc::new(of_scope);
            caches.insert(scope.clone(), Arc::clone(&of_scope));
            filled.push((scope.clone(), of_scope, writers));
        }
        (Self { caches, hosts, routes }, filled)
    }

    /// The caches of the scope that contains a namespace.
    pub fn of(&self, namespace: &str) -> Option<&Arc<Caches>> {
        let alone = || self.caches.get(&Scope::Namespace(namespace.to_owned()));
        self.caches.get(&Scope::Cluster).or_else(alone)
    }

    /// The host space of all scopes.
    pub fn hosts(&self) -> &Arc<HostSpace> {
        &self.hosts
    }

    /// Support for HTTPRoutes in the cluster.
    pub fn routes(&self) -> &Arc<RouteSupport> {
        &self.routes
    }

    /// The caches of every scope.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Caches>> {
        self.caches.values()
    }

    /// The watched namespaces; `None`: all.
    pub fn namespaces(&self) -> Option<Vec<String>> {
        let name = |scope: &Scope| match scope {
            Scope::Cluster => None,
            Scope::Namespace(name) => Some(name.clone()),
        };
        self.caches.keys().map(name).collect()
    }
}
