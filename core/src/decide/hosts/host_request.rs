//! Claimants, and their requests for hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use k8s_openapi::jiff::Timestamp;

use super::super::conditions;
use super::names::normalized;
use crate::api::{ApiGateway, Environment, HostClaim, ObjectKey, Reason, Unreadable, condition};

/// An object that can hold a host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Claimant {
    /// Its namespace and name.
    pub object: ObjectKey,
    /// What it is.
    pub kind: ClaimantKind,
}

/// The kinds of claimants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ClaimantKind {
    /// An `ApiGateway`.
    Gateway,
    /// An `Environment`.
    Environment,
    /// An Ingress that the operator created. It requests no host, and holds what it routes for its namespace.
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
            // If a gateway holds the host as well, the gateway is named instead.
            ClaimantKind::Ingress => {
                write!(f, "Ingress {} without a gateway (delete it if it is a leftover)", self.object)
            }
        }
    }
}

/// The host that a claimant requests, and the hosts that it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRequest {
    /// Who.
    pub claimant: Claimant,
    /// The host in its spec.
    pub wanted: Option<String>,
    claimed: BTreeMap<String, Since>,
    /// Recorded claims that are void, since the namespace may not have the host.
    forbidden: BTreeSet<String>,
    routed: bool,
    /// Whether it takes the host as soon as it may.
    eager: bool,
    /// Whether its status says that another holds the host.
    told: bool,
    created: Timestamp,
}

/// Since when a host counts as claimed. A recorded claim precedes a mere route, so that a route is neither lost
/// nor takes a host from anybody. A route of a gateway precedes an Ingress alone, which anybody may have
/// written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Since {
    /// The status records the claim.
    Recorded(Timestamp),
    /// The gateway's Ingress routes the host, and no claim is recorded.
    Routed,
    /// An Ingress of the operator routes the host; its creation time.
    Standing(Timestamp),
}

impl HostRequest {
    /// Marks the host as routed by the gateway's Ingress. A gateway that was restored from a backup, or waits,
    /// serves without a recorded claim.
    pub fn routed(self, routed: bool) -> Self {
        Self { routed, ..self }
    }

    /// Drops the request, since nothing routes hosts of this claimant.
    pub fn unexposed(self) -> Self {
        Self { wanted: None, ..self }
    }

    /// Restricts the hosts to what the namespace may have. Other claims are void, recorded or not.
    pub fn within(mut self, may_have: impl Fn(&str) -> bool) -> Self {
        let (claimed, forbidden) = std::mem::take(&mut self.claimed).into_iter().partition(|(host, _)| may_have(host));
        self.claimed = claimed;
        self.forbidden = BTreeMap::into_keys(forbidden).collect();
        self.eager &= self.wanted.as_deref().is_none_or(may_have);
        self
    }

    /// Restricts new claims: some hosts may only be kept by their current holder.
    pub fn beginning_with(mut self, may_begin: impl Fn(&str) -> bool) -> Self {
        self.eager &= self.new_host().is_none_or(may_begin);
        self
    }

    /// The requested host, unless it is already claimed.
    pub fn new_host(&self) -> Option<&str> {
        self.wanted.as_deref().filter(|host| self.claimed_since(host).is_none())
    }

    /// The claims, with their times.
    pub(super) fn claims(&self) -> BTreeMap<String, Since> {
        let mut claims = self.claimed.clone();
        if let (true, Some(host)) = (self.routed, &self.wanted) {
            claims.entry(host.clone()).or_insert(Since::Routed);
        }
        claims
    }

    /// Since when a host is claimed.
    pub(super) fn claimed_since(&self, host: &str) -> Option<Since> {
        let routed = self.routed && self.wanted.as_deref() == Some(host);
        self.claimed.get(host).copied().or(routed.then_some(Since::Routed))
    }

    /// The host that the claimant waits for.
    pub(super) fn waits_for(&self) -> Option<&String> {
        self.wanted.as_ref().filter(|host| self.eager && self.claimed_since(host).is_none())
    }

    /// Whether its status says that another holds the host.
    pub(super) fn was_told(&self) -> bool {
        self.told
    }

    /// The void claims.
    pub(super) fn forbidden(&self) -> &BTreeSet<String> {
        &self.forbidden
    }

    /// The order among waiting claimants: the oldest object first.
    pub(super) fn priority(&self) -> (Timestamp, Claimant) {
        (self.created, self.claimant.clone())
    }

    fn new(kind: ClaimantKind, meta: &ObjectMeta, wanted: Option<&String>, claims: &[HostClaim]) -> Self {
        Self {
            claimant: Claimant { object: ObjectKey::of_meta(meta), kind },
            wanted: wanted.map(|host| normalized(host)),
            claimed: claims.iter().map(|claim| (normalized(&claim.host), Since::Recorded(claim.since.0))).collect(),
            forbidden: BTreeSet::new(),
            routed: false,
            eager: meta.deletion_timestamp.is_none(),
            told: false,
            created: meta.creation_timestamp.as_ref().map_or(Timestamp::MAX, |created| created.0),
        }
    }

    /// Whether the claim on the host in the spec is recorded, or the spec has none.
    pub fn is_recorded(&self) -> bool {
        self.wanted.as_ref().is_none_or(|host| self.claimed.contains_key(host))
    }

    /// The request of an unreadable object: it keeps what it holds.
    pub fn of_unreadable(kind: ClaimantKind, object: &Unreadable) -> Self {
        Self { eager: false, ..Self::new(kind, &object.metadata, object.host.as_ref(), &object.claims) }
    }

    /// The request of an Ingress that the operator created and that routes `hosts`. Its gateway may be gone, or
    /// not mention them.
    pub fn of_ingress(meta: &ObjectMeta, hosts: impl IntoIterator<Item = String>) -> Self {
        let request = Self::new(ClaimantKind::Ingress, meta, None, &[]);
        let since = Since::Standing(request.created);
        Self { claimed: hosts.into_iter().map(|host| (normalized(&host), since)).collect(), ..request }
    }
}

impl From<&ApiGateway> for HostRequest {
    fn from(gateway: &ApiGateway) -> Self {
        let status = gateway.status.as_ref();
        let claims = status.map(|status| status.hosts.as_slice()).unwrap_or_default();
        let request = Self::new(ClaimantKind::Gateway, &gateway.metadata, gateway.spec.host(), claims);
        Self {
            eager: request.eager && gateway.spec.state.asks_to_run() && !gateway.spec.is_left_alone(),
            told: status.is_some_and(|status| says_taken(&status.conditions)),
            ..request
        }
    }
}

impl From<&Environment> for HostRequest {
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
