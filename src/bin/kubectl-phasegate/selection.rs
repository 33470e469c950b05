//! The gateways that a command applies to.

use std::collections::BTreeSet;

use kube::Api;
use kube::api::ListParams;

use kube::runtime::watcher;
use phasegate::api::{ApiGateway, Guarded, ObjectKey, Unreadable};

use crate::cluster::{Cluster, listed};
use crate::failure::{self, FAILED, Failure, NOT_FOUND};

/// Names, labels and namespaces.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Selection {
    /// Names of gateways
    #[arg(value_name = "NAME", value_parser = name)]
    pub names: Vec<String>,

    /// Label selector (`tier=test`, `shard!=a`, `owner`, comma-separated)
    #[arg(short = 'l', long, conflicts_with = "names", value_name = "LABELS")]
    pub selector: Option<String>,

    /// All namespaces
    #[arg(short = 'A', long, conflicts_with = "names")]
    pub all_namespaces: bool,
}

impl Selection {
    /// Whether the arguments select the gateway of this name, among those that the labels and the namespace
    /// select.
    pub fn names(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|named| named == name)
    }

    /// The namespace or namespaces, in words.
    pub fn place(&self, cluster: &Cluster) -> String {
        if self.all_namespaces { "any namespace".to_owned() } else { format!("namespace {}", cluster.namespace) }
    }

    /// The gateways of the namespace or of all namespaces.
    pub fn api(&self, cluster: &Cluster) -> Api<Guarded<ApiGateway>> {
        let client = cluster.client.clone();
        if self.all_namespaces { Api::all(client) } else { Api::namespaced(client, &cluster.namespace) }
    }

    /// The configuration of a watch for them.
    pub fn watch(&self) -> watcher::Config {
        watcher::Config { label_selector: self.selector.clone(), field_selector: self.field(), ..Default::default() }
    }

    fn field(&self) -> Option<String> {
        match self.names.as_slice() {
            [name] => Some(format!("metadata.name={name}")),
            _ => None,
        }
    }

    /// Reads them, ordered by namespace and name, and reports the named ones that do not exist. A gateway that
    /// cannot be read does not hide the others.
    ///
    /// # Errors
    /// The gateways cannot be listed.
    pub async fn read(&self, cluster: &Cluster) -> Result<(Vec<Guarded<ApiGateway>>, Vec<Failure>), Failure> {
        let list =
            ListParams { label_selector: self.selector.clone(), field_selector: self.field(), ..Default::default() };
        let listed = listed(&self.api(cluster), list).await;
        let what = format!("failed to list the ApiGateways of {}", self.place(cluster));
        let mut found = listed.map_err(|error| cluster.refused(&what, &error))?;
        found.retain(|gateway| self.names(&ObjectKey::of(gateway).name));
        found.sort_by_cached_key(ObjectKey::of);
        let there: BTreeSet<ObjectKey> = found.iter().map(ObjectKey::of).collect();
        let named = self.names.iter().map(|name| cluster.key(name));
        let missing = named.filter(|key| !there.contains(key)).map(|key| failure::not_found(&key)).collect();
        Ok((found, missing))
    }
}

/// The name of a gateway, alone or after its kind, as `-o name` prints it and kubectl accepts it.
///
/// # Errors
/// The text names another kind.
pub fn name(text: &str) -> Result<String, String> {
    const KINDS: [&str; 5] =
        ["agw", "apigateway", "apigateways", "apigateway.phasegate.dev", "apigateways.phasegate.dev"];
    match text.split_once('/') {
        None => Ok(text.to_owned()),
        Some((kind, name)) if KINDS.contains(&kind) => Ok(name.to_owned()),
        Some((kind, _)) => Err(format!("{kind:?} is not an ApiGateway; only ApiGateways are supported")),
    }
}

/// The failure for a gateway that this version cannot read.
pub fn unreadable(key: &ObjectKey, error: &Unreadable) -> Failure {
    Failure::new(
        FAILED,
        format!("ApiGateway {key} has a format of another version: {}", error.error),
        "Use the kubectl-phasegate of the operator's version.",
    )
}

/// Prints the failures and returns the one that determines the exit code: the first. A gateway that does not
/// exist counts less than one with a failure.
///
/// # Errors
/// The list is not empty.
pub fn tell_all(failures: &[Failure]) -> Result<(), Failure> {
    for failure in failures {
        failure.tell();
    }
    let worst = failures.iter().find(|failure| failure.code != NOT_FOUND).or(failures.first());
    worst.map_or(Ok(()), |failure| Err(Failure::new(failure.code, "", "")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_may_be_named_after_its_kind() {
        for named in ["shop", "agw/shop", "apigateway/shop", "apigateways/shop", "apigateway.phasegate.dev/shop"] {
            assert_eq!(name(named).as_deref(), Ok("shop"), "{named}");
        }
        assert!(name("deploy/shop").is_err());
    }
}
