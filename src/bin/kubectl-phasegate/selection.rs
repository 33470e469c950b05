//! Which gateways a command is about.

use kube::Api;
use kube::api::ListParams;
use kube::core::DeserializeGuard;
use kube::core::error_boundary::InvalidObject;
use kube::runtime::watcher;
use phasegate::api::ApiGateway;

use crate::cluster::Cluster;
use crate::failure::{self, FAILED, Failure, NOT_FOUND};

/// A gateway, or why this version cannot read it: one that cannot be read hides no other.
pub type Guarded = DeserializeGuard<ApiGateway>;

/// Names, labels and namespaces.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Selection {
    /// The gateways
    #[arg(value_name = "NAME", value_parser = name)]
    pub names: Vec<String>,

    /// Those with these labels (`tier=test`, `shard!=a`, `owner`, separated by commas)
    #[arg(short = 'l', long, conflicts_with = "names", value_name = "LABELS")]
    pub selector: Option<String>,

    /// In all namespaces
    #[arg(short = 'A', long, conflicts_with = "names")]
    pub all_namespaces: bool,
}

impl Selection {
    /// Whether a gateway is meant, which has the labels and is in the namespace.
    pub fn names(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|named| named == name)
    }

    /// Where the gateways are, in words.
    pub fn place(&self, cluster: &Cluster) -> String {
        if self.all_namespaces { "any namespace".to_owned() } else { format!("namespace {}", cluster.namespace) }
    }

    /// The gateways of the namespace or of all.
    pub fn api(&self, cluster: &Cluster) -> Api<Guarded> {
        let client = cluster.client.clone();
        if self.all_namespaces { Api::all(client) } else { Api::namespaced(client, &cluster.namespace) }
    }

    /// What a watch has to ask for.
    pub fn watch(&self) -> watcher::Config {
        watcher::Config { label_selector: self.selector.clone(), field_selector: self.field(), ..Default::default() }
    }

    fn field(&self) -> Option<String> {
        match self.names.as_slice() {
            [name] => Some(format!("metadata.name={name}")),
            _ => None,
        }
    }

    /// Reads them, by namespace and name, and says which of those that were named are not there.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn read(&self, cluster: &Cluster) -> Result<(Vec<Guarded>, Vec<Failure>), Failure> {
        let list =
            ListParams { label_selector: self.selector.clone(), field_selector: self.field(), ..Default::default() };
        let listed = self.api(cluster).list(&list).await;
        let what = format!("the ApiGateways of {} cannot be listed", self.place(cluster));
        let mut found = listed.map_err(|error| cluster.refused(&what, &error))?.items;
        found.retain(|gateway| self.names(key(gateway).1));
        found.sort_by(|one, other| key(one).cmp(&key(other)));
        let missing = self.names.iter().filter(|name| !found.iter().any(|gateway| key(gateway).1 == name.as_str()));
        let missing = missing.map(|name| failure::not_found(&cluster.namespace, name)).collect();
        Ok((found, missing))
    }
}

/// The name of a gateway, alone or after its kind as `-o name` prints it and kubectl takes it.
///
/// # Errors
/// When another kind is named.
pub fn name(text: &str) -> Result<String, String> {
    const KINDS: [&str; 5] =
        ["agw", "apigateway", "apigateways", "apigateway.phasegate.dev", "apigateways.phasegate.dev"];
    match text.split_once('/') {
        None => Ok(text.to_owned()),
        Some((kind, name)) if KINDS.contains(&kind) => Ok(name.to_owned()),
        Some((kind, _)) => Err(format!("{kind:?} is not the kind ApiGateway, the only one that is meant here")),
    }
}

/// Namespace and name, also of one that cannot be read.
pub fn key(gateway: &Guarded) -> (&str, &str) {
    let meta = match &gateway.0 {
        Ok(gateway) => &gateway.metadata,
        Err(InvalidObject { metadata, .. }) => metadata,
    };
    (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
}

/// A gateway cannot be read by this version.
pub fn unreadable(namespace: &str, name: &str, error: &InvalidObject) -> Failure {
    Failure::new(
        FAILED,
        format!("ApiGateway {namespace}/{name} was written by another version: {}", error.error),
        "Use the kubectl-phasegate of the operator's version.",
    )
}

/// Tells failures and returns the one that says how the command ends: the first, but that a gateway that does not
/// exist counts less than one that something is wrong with.
///
/// # Errors
/// When there is any.
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
