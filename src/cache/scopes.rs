//! Where gateways are watched, and the caches of each such place.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::NamespaceResourceScope;
use kube::{Api, Client, Resource};

use super::caches::{Caches, Writers};
use super::hosts::HostSpace;
use crate::decide::hosts::Policy;

/// Where gateways are watched.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// In all namespaces.
    Cluster,
    /// In one.
    Namespace(String),
}

impl Scope {
    /// What is asked in this scope.
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

/// The caches of all scopes. They share one space of hosts.
pub struct Scopes {
    caches: HashMap<Scope, Arc<Caches>>,
    hosts: Arc<HostSpace>,
}

impl Scopes {
    /// Empty caches for each scope, and what fills them.
    pub fn new(scopes: &[Scope], policy: Policy) -> (Self, Vec<(Scope, Arc<Caches>, Writers)>) {
        let hosts = Arc::new(HostSpace::new(policy));
        let mut caches = HashMap::new();
        let mut filled = Vec::new();
        for scope in scopes {
            let (of_scope, writers) = Caches::new(Arc::clone(&hosts));
            let of_scope = Arc::new(of_scope);
            caches.insert(scope.clone(), Arc::clone(&of_scope));
            filled.push((scope.clone(), of_scope, writers));
        }
        (Self { caches, hosts }, filled)
    }

    /// The caches of the scope that a namespace is in.
    pub fn of(&self, namespace: &str) -> Option<&Arc<Caches>> {
        let alone = || self.caches.get(&Scope::Namespace(namespace.to_owned()));
        self.caches.get(&Scope::Cluster).or_else(alone)
    }

    /// Who holds which host, in all scopes.
    pub fn hosts(&self) -> &Arc<HostSpace> {
        &self.hosts
    }

    /// The caches of every scope.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Caches>> {
        self.caches.values()
    }

    /// The namespaces that are watched; `None`: all.
    pub fn namespaces(&self) -> Option<Vec<String>> {
        let name = |scope: &Scope| match scope {
            Scope::Cluster => None,
            Scope::Namespace(name) => Some(name.clone()),
        };
        self.caches.keys().map(name).collect()
    }
}
