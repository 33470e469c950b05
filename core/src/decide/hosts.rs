//! Who holds which host: the oldest claim wins, not the oldest object. Gateways and
//! environments compete in one space.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use k8s_openapi::jiff::Timestamp;

use super::observed::HostVerdict;
use crate::api::{ApiGateway, Environment, HostClaim, ObjectKey, Unreadable};

/// Something that can hold a host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Claimant {
    /// Its namespace and name.
    pub object: ObjectKey,
    /// What it is.
    pub kind: ClaimantKind,
}

/// What can hold a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ClaimantKind {
    /// An `ApiGateway`.
    Gateway,
    /// An `Environment`.
    Environment,
}

impl fmt::Display for Claimant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ClaimantKind::Gateway => "ApiGateway",
            ClaimantKind::Environment => "Environment",
        };
        write!(f, "{kind} {}", self.object)
    }
}

/// What one claimant wants, and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stake {
    /// Who.
    pub claimant: Claimant,
    /// The host that its spec names.
    pub wanted: Option<String>,
    claimed: BTreeMap<String, Timestamp>,
    routed: bool,
}

/// When a host counts as claimed that is routed and of which no claim is recorded: later than every claim that is. So
/// it is not given away, and takes nothing from anybody.
const ROUTED: Timestamp = Timestamp::MAX;

impl Stake {
    /// The same, where the Ingress of the gateway routes the host that is wanted: one that was restored from a backup,
    /// or waits, has no claim recorded yet and serves all the same.
    pub fn routed(self, routed: bool) -> Self {
        Self { routed, ..self }
    }

    /// What is claimed, and since when.
    fn claims(&self) -> BTreeMap<String, Timestamp> {
        let mut claims = self.claimed.clone();
        if let (true, Some(host)) = (self.routed, &self.wanted) {
            claims.entry(host.clone()).or_insert(ROUTED);
        }
        claims
    }

    fn new(claimant: Claimant, wanted: Option<&String>, claims: Option<&Vec<HostClaim>>) -> Self {
        let claimed = claims.into_iter().flatten().map(|claim| (normal(&claim.host), claim.since.0)).collect();
        Self { claimant, wanted: wanted.map(|host| normal(host)), claimed, routed: false }
    }

    /// Whether the claim on the host that the spec names is recorded.
    pub fn is_recorded(&self) -> bool {
        self.wanted.as_ref().is_none_or(|host| self.claimed.contains_key(host))
    }
}

impl From<&ApiGateway> for Stake {
    fn from(gateway: &ApiGateway) -> Self {
        let claimant = Claimant { object: ObjectKey::of(gateway), kind: ClaimantKind::Gateway };
        Self::new(claimant, gateway.spec.host.as_ref(), gateway.status.as_ref().map(|status| &status.hosts))
    }
}

impl From<&Environment> for Stake {
    fn from(environment: &Environment) -> Self {
        let claimant = Claimant { object: ObjectKey::of(environment), kind: ClaimantKind::Environment };
        Self::new(claimant, environment.spec.host.as_ref(), environment.status.as_ref().map(|status| &status.hosts))
    }
}

impl Stake {
    /// The stake of an object that cannot be read as a whole: what it holds stays its own.
    pub fn of_unreadable(kind: ClaimantKind, object: &Unreadable) -> Self {
        let claimant = Claimant { object: ObjectKey::of_meta(&object.metadata), kind };
        Self::new(claimant, object.host.as_ref(), Some(&object.claims))
    }
}

/// Every host that is wanted or held by somebody who is watched.
#[derive(Debug, Default)]
pub struct Claims {
    hosts: HashMap<String, Host>,
    stakes: HashMap<Claimant, BTreeSet<String>>,
    reserved: HashMap<String, Claimant>,
}

#[derive(Debug, Default)]
struct Host {
    claims: BTreeMap<Claimant, Timestamp>,
    wanted_by: BTreeSet<Claimant>,
}

/// A host as it is compared: in lower case and without a trailing dot.
fn normal(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

impl Claims {
    /// Takes in a claimant as it is now. Returns who else is to look again, because a claim
    /// on a host that they want has changed.
    pub fn learn(&mut self, stake: impl Into<Stake>) -> BTreeSet<Claimant> {
        let stake = stake.into();
        self.replace(&stake.claimant, stake.wanted.as_ref(), &stake.claims())
    }

    /// Forgets a claimant that is gone. Returns who is to look again.
    pub fn forget(&mut self, claimant: &Claimant) -> BTreeSet<Claimant> {
        self.replace(claimant, None, &BTreeMap::new())
    }

    fn replace(
        &mut self,
        claimant: &Claimant,
        wanted: Option<&String>,
        claimed: &BTreeMap<String, Timestamp>,
    ) -> BTreeSet<Claimant> {
        let mut wake = BTreeSet::new();
        let mentioned: BTreeSet<String> = claimed.keys().chain(wanted).cloned().collect();
        let before = if mentioned.is_empty() {
            self.stakes.remove(claimant)
        } else {
            self.stakes.insert(claimant.clone(), mentioned.clone())
        };
        self.reserved.retain(|host, by| by != claimant || (wanted == Some(host) && !claimed.contains_key(host)));
        for name in before.unwrap_or_default().union(&mentioned) {
            let host = self.hosts.entry(name.clone()).or_default();
            let earlier = match claimed.get(name) {
                Some(since) => host.claims.insert(claimant.clone(), *since),
                None => host.claims.remove(claimant),
            };
            if earlier.as_ref() != claimed.get(name) {
                wake.extend(host.wanted_by.iter().filter(|other| *other != claimant).cloned());
            }
            if wanted == Some(name) {
                host.wanted_by.insert(claimant.clone());
            } else {
                host.wanted_by.remove(claimant);
            }
            if host.claims.is_empty() && host.wanted_by.is_empty() {
                self.hosts.remove(name);
            }
        }
        wake
    }

    /// Keeps a host for a claimant whose claim is about to be written, until it is learned. Of
    /// several that find the same host free at once, only the first is told `true`.
    pub fn reserve(&mut self, stake: impl Into<Stake>) -> bool {
        let stake = stake.into();
        if self.verdict(stake.clone()) != HostVerdict::Free {
            return false;
        }
        let Stake { claimant, wanted: Some(host), .. } = stake else { return true };
        if self.reserved.get(&host).is_some_and(|other| *other != claimant) {
            return false;
        }
        self.reserved.insert(host, claimant);
        true
    }

    /// Gives up what was reserved: the claim was not written.
    pub fn release(&mut self, stake: impl Into<Stake>) {
        let claimant = stake.into().claimant;
        self.reserved.retain(|_, by| *by != claimant);
    }

    /// Whether a claimant may have the host that its spec names: nobody else has an older
    /// claim. Of two claims of the same instant, the first by namespace and name wins.
    pub fn verdict(&self, stake: impl Into<Stake>) -> HostVerdict {
        let stake = stake.into();
        let claims = stake.claims();
        let Stake { claimant, wanted: Some(wanted), .. } = stake else { return HostVerdict::Free };
        let mine = claims.get(&wanted).map(|since| (*since, &claimant));
        let oldest = self
            .hosts
            .get(&wanted)
            .into_iter()
            .flat_map(|host| &host.claims)
            .filter(|(other, _)| **other != claimant)
            .map(|(other, since)| (*since, other))
            .min();
        match oldest {
            Some(theirs) if mine.is_none_or(|mine| theirs < mine) => {
                HostVerdict::Taken { by: theirs.1.to_string(), host: wanted }
            }
            _ => HostVerdict::Free,
        }
    }
}

/// Whether a host is one of `suffixes` or below one of them.
pub fn is_allowed(host: &str, suffixes: &[String]) -> bool {
    let host = normal(host);
    let host = host.strip_prefix("*.").unwrap_or(&host);
    suffixes
        .iter()
        .map(|suffix| normal(suffix.trim_start_matches("*.").trim_start_matches('.')))
        .any(|suffix| host == suffix || host.strip_suffix(&suffix).is_some_and(|prefix| prefix.ends_with('.')))
}
