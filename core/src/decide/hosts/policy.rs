//! The operator's policy about hosts.
//!
//! **Architecture invariant:** this module knows no claims. It answers for a namespace and a host, whoever
//! holds the host.

use std::time::Duration;

use super::super::observed::HostVerdict;
use super::names;

/// The flags about hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether a namespace without the annotation may have no host at all.
    pub need_permission: bool,
    /// The cluster domain, which nobody may claim.
    pub cluster_domain: String,
    /// The most hosts per namespace; `None`: no limit.
    pub per_namespace: Option<usize>,
    /// How long a released host is kept for its namespace.
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
    /// Why a namespace may not have a host, whoever holds it; `allowed` is the namespace's annotation.
    pub fn refuses(&self, host: &str, allowed: Option<&[String]>) -> Option<HostVerdict> {
        if let Some(name) = names::reserved(host, &self.cluster_domain) {
            return Some(HostVerdict::Reserved { host: host.to_owned(), name: name.to_owned() });
        }
        let allowed = match allowed {
            Some(suffixes) => suffixes,
            None if self.need_permission => &[],
            None => return None,
        };
        let refused = || HostVerdict::NotAllowed {
            host: host.to_owned(),
            allowed: allowed.join(", "),
            no_name: names::no_name(allowed).cloned(),
        };
        (!names::is_allowed(host, allowed)).then(refused)
    }

    /// Why a namespace may not newly claim a host. Hosts that were claimed before this rule are kept. `*` in
    /// the annotation does not name a label.
    pub fn refuses_anew(&self, host: &str, allowed: Option<&[String]>) -> Option<HostVerdict> {
        if names::is_address(host) {
            return Some(HostVerdict::Address { host: host.to_owned() });
        }
        let is_named = || names::is_named(host, allowed.unwrap_or_default());
        (names::is_over_one_label(host) && !is_named()).then(|| HostVerdict::TooWide { host: host.to_owned() })
    }
}
