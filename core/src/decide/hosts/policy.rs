//! What whoever runs the operator allows of hosts.

use std::time::Duration;

use super::super::observed::HostVerdict;
use super::names;

/// The operator's flags about hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether a namespace that is not annotated may have no host at all.
    pub need_permission: bool,
    /// The domain of the cluster's own names, which nobody may have.
    pub cluster_domain: String,
    /// How many hosts may be claimed in one namespace; `None`: any number.
    pub per_namespace: Option<usize>,
    /// For how long a host that was let go is kept for its namespace.
    pub kept_for: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            need_permission: false,
            cluster_domain: "cluster.local".to_owned(),
            per_namespace: None,
            kept_for: Duration::from_secs(60),
        }
    }
}

impl Policy {
    /// Why nobody in a namespace may have a host, whoever holds it; `allowed` is what the namespace's annotation says.
    pub fn refuses(&self, host: &str, allowed: Option<&[String]>) -> Option<HostVerdict> {
        if let Some(name) = names::reserved(host, &self.cluster_domain) {
            return Some(HostVerdict::Reserved { host: host.to_owned(), name: name.to_owned() });
        }
        let allowed = match allowed {
            Some(suffixes) => suffixes,
            None if self.need_permission => &[],
            None => return None,
        };
        let refused = || HostVerdict::NotAllowed { host: host.to_owned(), allowed: allowed.join(", ") };
        (!names::is_allowed(host, allowed)).then(refused)
    }
}
