//! What can hold a host, and what each wants and holds.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use k8s_openapi::jiff::Timestamp;

use super::super::conditions;
use super::names::normal;
use crate::api::{ApiGateway, Environment, HostClaim, ObjectKey, Reason, Unreadable, condition};

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
    /// An Ingress that the operator made. It wants nothing, and holds for its namespace what it routes.
    Ingress,
}

impl Claimant {
    /// The namespace that it is in.
    pub(super) fn namespace(&self) -> &str {
        &self.object.namespace
    }
}

impl fmt::Display for Claimant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            ClaimantKind::Gateway => write!(f, "ApiGateway {}", self.object),
            ClaimantKind::Environment => write!(f, "Environment {}", self.object),
            // Where a gateway holds the host as well, that is who is named.
            ClaimantKind::Ingress => {
                write!(
                    f,
                    "Ingress {}, which routes it and which no gateway answers for (where none is to, delete the Ingress)",
                    self.object
                )
            }
        }
    }
}

/// What one claimant wants, and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stake {
    /// Who.
    pub claimant: Claimant,
    /// The host that its spec names.
    pub wanted: Option<String>,
    claimed: BTreeMap<String, Since>,
    /// Claims that are recorded and count for nobody: the namespace may not have the host.
    forbidden: BTreeSet<String>,
    routed: bool,
    /// Whether it would take the host that it wants as soon as it may.
    eager: bool,
    /// Whether its status says that the host is another's.
    told: bool,
    created: Timestamp,
}

/// Since when a host counts as claimed. What is recorded goes before what is only routed, so that a route is not given away
/// and takes nothing from anybody; and a route of a gateway's before an Ingress alone, which anybody may have written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Since {
    /// A status says so.
    Recorded(Timestamp),
    /// The Ingress of a gateway routes it, and no claim is recorded.
    Routed,
    /// An Ingress of the operator's routes it, which has existed since then.
    Standing(Timestamp),
}

impl Stake {
    /// The same, where the Ingress of the gateway routes the host that is wanted: one that was restored from a backup,
    /// or waits, has no claim recorded yet and serves all the same.
    pub fn routed(self, routed: bool) -> Self {
        Self { routed, ..self }
    }

    /// The same, of a namespace that may have only some hosts. What it may not have any more counts for nobody, recorded
    /// or not.
    pub fn within(mut self, may_have: impl Fn(&str) -> bool) -> Self {
        let (claimed, forbidden) = std::mem::take(&mut self.claimed).into_iter().partition(|(host, _)| may_have(host));
        self.claimed = claimed;
        self.forbidden = BTreeMap::into_keys(forbidden).collect();
        self.eager &= self.wanted.as_deref().is_none_or(may_have);
        self
    }

    /// What is claimed, and since when.
    pub(super) fn claims(&self) -> BTreeMap<String, Since> {
        let mut claims = self.claimed.clone();
        if let (true, Some(host)) = (self.routed, &self.wanted) {
            claims.entry(host.clone()).or_insert(Since::Routed);
        }
        claims
    }

    /// Since when the host that is wanted is claimed.
    pub(super) fn claimed_since(&self, host: &str) -> Option<Since> {
        let routed = self.routed && self.wanted.as_deref() == Some(host);
        self.claimed.get(host).copied().or(routed.then_some(Since::Routed))
    }

    /// The host that it waits for.
    pub(super) fn waits_for(&self) -> Option<&String> {
        self.wanted.as_ref().filter(|host| self.eager && self.claimed_since(host).is_none())
    }

    /// Whether its status says that the host is another's.
    pub(super) fn was_told(&self) -> bool {
        self.told
    }

    /// The claims that count for nobody.
    pub(super) fn forbidden(&self) -> &BTreeSet<String> {
        &self.forbidden
    }

    /// Whoever has waited longest comes first.
    pub(super) fn turn(&self) -> (Timestamp, Claimant) {
        (self.created, self.claimant.clone())
    }

    fn new(kind: ClaimantKind, meta: &ObjectMeta, wanted: Option<&String>, claims: &[HostClaim]) -> Self {
        Self {
            claimant: Claimant { object: ObjectKey::of_meta(meta), kind },
            wanted: wanted.map(|host| normal(host)),
            claimed: claims.iter().map(|claim| (normal(&claim.host), Since::Recorded(claim.since.0))).collect(),
            forbidden: BTreeSet::new(),
            routed: false,
            eager: meta.deletion_timestamp.is_none(),
            told: false,
            created: meta.creation_timestamp.as_ref().map_or(Timestamp::MAX, |created| created.0),
        }
    }

    /// Whether the claim on the host that the spec names is recorded.
    pub fn is_recorded(&self) -> bool {
        self.wanted.as_ref().is_none_or(|host| self.claimed.contains_key(host))
    }

    /// The stake of an object that cannot be read as a whole: what it holds stays its own.
    pub fn of_unreadable(kind: ClaimantKind, object: &Unreadable) -> Self {
        Self { eager: false, ..Self::new(kind, &object.metadata, object.host.as_ref(), &object.claims) }
    }

    /// The stake of an Ingress that the operator made and that routes `hosts`. Its gateway may be gone, or say nothing of them.
    pub fn of_ingress(meta: &ObjectMeta, hosts: impl IntoIterator<Item = String>) -> Self {
        let stake = Self::new(ClaimantKind::Ingress, meta, None, &[]);
        let since = Since::Standing(stake.created);
        Self { claimed: hosts.into_iter().map(|host| (normal(&host), since)).collect(), ..stake }
    }
}

impl From<&ApiGateway> for Stake {
    fn from(gateway: &ApiGateway) -> Self {
        let status = gateway.status.as_ref();
        let claims = status.map(|status| status.hosts.as_slice()).unwrap_or_default();
        let stake = Self::new(ClaimantKind::Gateway, &gateway.metadata, gateway.spec.host.as_ref(), claims);
        Self {
            eager: stake.eager && gateway.spec.state.asks_to_run() && !gateway.spec.is_left_alone(),
            told: status.is_some_and(|status| says_taken(&status.conditions)),
            ..stake
        }
    }
}

impl From<&Environment> for Stake {
    fn from(environment: &Environment) -> Self {
        let status = environment.status.as_ref();
        let claims = status.map(|status| status.hosts.as_slice()).unwrap_or_default();
        Self {
            told: status.is_some_and(|status| says_taken(&status.conditions)),
            ..Self::new(ClaimantKind::Environment, &environment.metadata, environment.spec.host.as_ref(), claims)
        }
    }
}

fn says_taken(conditions: &[Condition]) -> bool {
    conditions::find(conditions, condition::STALLED)
        .is_some_and(|stalled| stalled.status == "True" && stalled.reason == Reason::HostTaken.as_str())
}
