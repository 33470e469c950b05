//! Who holds which host: the oldest claim wins, not the oldest object.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use k8s_openapi::jiff::Timestamp;

use super::observed::HostVerdict;
use crate::api::ApiGateway;

/// Namespace and name of a gateway.
pub type Holder = (String, String);

/// Every host that is wanted or held by a watched gateway.
#[derive(Debug, Default)]
pub struct Claims {
    hosts: HashMap<String, Host>,
    holders: HashMap<Holder, BTreeSet<String>>,
}

#[derive(Debug, Default)]
struct Host {
    claims: BTreeMap<Holder, Timestamp>,
    wanted_by: BTreeSet<Holder>,
}

/// A host as it is compared: in lower case and without a trailing dot.
fn normal(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

impl Claims {
    /// Takes in a gateway as it is now. Returns who else is to look again, because a claim
    /// on a host that they want has changed.
    pub fn learn(&mut self, gateway: &ApiGateway) -> BTreeSet<Holder> {
        let holder = (gateway.namespace_or_empty().to_owned(), gateway.name_or_empty().to_owned());
        let wanted = gateway.spec.host.as_deref().map(normal);
        let claimed: BTreeMap<String, Timestamp> = gateway
            .status
            .iter()
            .flat_map(|status| &status.hosts)
            .map(|claim| (normal(&claim.host), claim.since.0))
            .collect();
        self.replace(&holder, wanted, claimed)
    }

    /// Forgets a gateway that is gone. Returns who is to look again.
    pub fn forget(&mut self, holder: &Holder) -> BTreeSet<Holder> {
        self.replace(holder, None, BTreeMap::new())
    }

    /// Everybody who is known.
    pub fn holders(&self) -> Vec<Holder> {
        self.holders.keys().cloned().collect()
    }

    fn replace(
        &mut self,
        holder: &Holder,
        wanted: Option<String>,
        claimed: BTreeMap<String, Timestamp>,
    ) -> BTreeSet<Holder> {
        let mut wake = BTreeSet::new();
        let mentioned: BTreeSet<String> = claimed.keys().cloned().chain(wanted.clone()).collect();
        let before = if mentioned.is_empty() {
            self.holders.remove(holder)
        } else {
            self.holders.insert(holder.clone(), mentioned.clone())
        };
        for name in before.unwrap_or_default().union(&mentioned) {
            let host = self.hosts.entry(name.clone()).or_default();
            let earlier = match claimed.get(name) {
                Some(since) => host.claims.insert(holder.clone(), *since),
                None => host.claims.remove(holder),
            };
            if earlier.as_ref() != claimed.get(name) {
                wake.extend(host.wanted_by.iter().filter(|other| *other != holder).cloned());
            }
            if wanted.as_ref() == Some(name) {
                host.wanted_by.insert(holder.clone());
            } else {
                host.wanted_by.remove(holder);
            }
            if host.claims.is_empty() && host.wanted_by.is_empty() {
                self.hosts.remove(name);
            }
        }
        wake
    }

    /// Whether a gateway may have the host that its spec names: nobody else has an older
    /// claim. Of two claims of the same instant, the first by namespace and name wins.
    pub fn verdict(&self, gateway: &ApiGateway) -> HostVerdict {
        let Some(wanted) = &gateway.spec.host else { return HostVerdict::Free };
        let holder = (gateway.namespace_or_empty().to_owned(), gateway.name_or_empty().to_owned());
        let mine = gateway
            .status
            .iter()
            .flat_map(|status| &status.hosts)
            .find(|claim| normal(&claim.host) == normal(wanted))
            .map(|claim| (claim.since.0, &holder));
        let oldest = self
            .hosts
            .get(&normal(wanted))
            .into_iter()
            .flat_map(|host| &host.claims)
            .filter(|(other, _)| **other != holder)
            .map(|(other, since)| (*since, other))
            .min();
        match oldest {
            Some(theirs) if mine.is_none_or(|mine| theirs < mine) => {
                HostVerdict::Taken { host: wanted.clone(), by: format!("{}/{}", theirs.1.0, theirs.1.1) }
            }
            _ => HostVerdict::Free,
        }
    }
}
