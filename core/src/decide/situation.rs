//! A gateway with all its facts, and what follows from them.
//!
//! **Architecture invariant:** this module decides nothing. Each function answers one question about the facts,
//! and no other module derives the answer anew.

use std::time::Duration;

use super::allowance::{NotAllowed, Violations};
use super::hosts::HostRefusal;
use super::observed::{Child, HostVerdict, Moment, Observed, Presence, Settings, TerminatingChild, Unsupported};
use super::place::Place;
use super::requests::Requests;
use super::{deadline, held, outage, readiness};
use crate::api::{ApiGateway, REGISTRY_FINALIZER, Reason, State};
use crate::children::{self, InvalidField};

/// Garbage collection takes a second or two, plus the pods' grace period. After this time it is late.
const COLLECTION: Duration = Duration::from_secs(30);

/// Kubernetes' finalizer of a deletion that orphans its dependents.
pub(super) const ORPHAN_FINALIZER: &str = "orphan";

/// Kubernetes' finalizer of a foreground deletion, which waits for its dependents.
const FOREGROUND_FINALIZER: &str = "foregroundDeletion";

/// A gateway with all its facts.
pub struct Situation<'a> {
    /// The object.
    pub gateway: &'a ApiGateway,
    /// What was observed.
    pub observed: &'a Observed,
    /// The moment of the decision.
    pub moment: &'a Moment,
    /// The operator's flags.
    pub settings: &'a Settings,
    /// New requests of the user.
    pub requests: Requests,
}

/// Why a gateway can neither begin nor continue by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocker {
    /// Its host is refused.
    Host(HostRefusal),
    /// Its pods violate a restriction.
    NotAllowed(NotAllowed),
    /// Its ingress class is not allowed.
    IngressClassNotAllowed(NotAllowed),
    /// A parent Gateway in its spec is not allowed.
    ParentRefNotAllowed(NotAllowed),
    /// It asks for an HTTPRoute that cannot be created.
    ExposureUnsupported(Unsupported),
    /// A field of the spec has an unusable value.
    InvalidField(InvalidField),
    /// An object of others has a child's name.
    NameTaken {
        /// The child.
        child: Child,
        /// The owner.
        by: String,
    },
    /// A child of an earlier gateway of this name still exists.
    WaitingForDeletion {
        /// The child.
        child: Child,
    },
}

impl Blocker {
    /// The reason for conditions and metrics.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Host(refusal) => refusal.reason,
            Self::NotAllowed(_) => Reason::NotAllowed,
            Self::IngressClassNotAllowed(_) => Reason::IngressClassNotAllowed,
            Self::ParentRefNotAllowed(_) => Reason::ParentRefNotAllowed,
            Self::ExposureUnsupported(_) => Reason::ExposureUnsupported,
            Self::InvalidField(_) => Reason::InvalidSpec,
            Self::NameTaken { .. } => Reason::NameTaken,
            Self::WaitingForDeletion { .. } => Reason::WaitingForDeletion,
        }
    }
}

/// Why a stopped gateway is due to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DueStart {
    /// The user asked for it since the stop.
    Asked,
    /// The operator retries after a backoff.
    Retry {
        /// The remaining backoff.
        wait: Duration,
    },
}

impl<'a> Situation<'a> {
    /// Combines the arguments of a decision and derives the user's requests.
    pub fn of(gateway: &'a ApiGateway, observed: &'a Observed, moment: &'a Moment, settings: &'a Settings) -> Self {
        Self { gateway, observed, moment, settings, requests: Requests::of(gateway) }
    }
}

impl Situation<'_> {
    /// `status.state`.
    pub fn state(&self) -> Option<State> {
        self.gateway.status.as_ref()?.state
    }

    /// The node of the state diagram; `None` in a phase of another version.
    pub fn place(&self) -> Option<Place> {
        Place::of_gateway(self.gateway)
    }

    /// Whether the user wants the gateway to serve.
    pub fn asked_to_run(&self) -> bool {
        self.gateway.spec.state.asks_to_run()
    }

    /// What blocks the gateway, if anything. The first that applies.
    pub fn blocker(&self) -> Option<Blocker> {
        let Violations { pods, ingress_class, parent_ref } = &self.observed.violations;
        if let Some(violation) = pods {
            return Some(Blocker::NotAllowed(violation.clone()));
        }
        for (child, presence) in self.observed.children() {
            match presence {
                Presence::Foreign(by) => return Some(Blocker::NameTaken { child, by: by.clone() }),
                Presence::Predecessor => return Some(Blocker::WaitingForDeletion { child }),
                _ => {}
            }
        }
        if let Some(invalid_field) = children::invalid_field(&self.gateway.spec) {
            return Some(Blocker::InvalidField(invalid_field));
        }
        if let Some(violation) = ingress_class {
            return Some(Blocker::IngressClassNotAllowed(violation.clone()));
        }
        if let Some(violation) = parent_ref {
            return Some(Blocker::ParentRefNotAllowed(violation.clone()));
        }
        if let Some(why) = &self.observed.routing.unsupported {
            return Some(Blocker::ExposureUnsupported(why.clone()));
        }
        self.observed.host.refusal().map(Blocker::Host)
    }

    /// Whether the pods stay as they are, since the spec violates a restriction or has an unusable value: none
    /// is created, changed or restarted, and none that serves is stopped.
    pub(super) fn keeps_pods(&self) -> bool {
        self.observed.violations.pods.is_some() || children::invalid_field(&self.gateway.spec).is_some()
    }

    /// The time until a wait for garbage collection counts as stalled; zero once it does. `None` for any other
    /// blocker, since no other passes by itself.
    pub(super) fn collection_is_late_in(&self) -> Option<Duration> {
        let Some(Blocker::WaitingForDeletion { .. }) = self.blocker() else { return None };
        let waited = match self.place() {
            None | Some(Place::New) => Duration::ZERO,
            Some(place) if place.is_attempt() => self.moment.held,
            Some(_) => self.moment.phase,
        };
        Some(COLLECTION.saturating_sub(waited))
    }

    /// A child that was deleted, is needed, and should be gone by now.
    pub(super) fn late_child(&self) -> Option<&TerminatingChild> {
        self.observed.writes.terminating.iter().find(|terminating| terminating.lasted >= COLLECTION)
    }

    /// The time until the next terminating child is late.
    pub(super) fn child_is_late_in(&self) -> Option<Duration> {
        let left =
            self.observed.writes.terminating.iter().map(|terminating| COLLECTION.saturating_sub(terminating.lasted));
        left.filter(|left| !left.is_zero()).min()
    }

    /// Whether the attempt's clock is held.
    pub fn clock_is_held(&self) -> bool {
        self.place().is_some_and(Place::is_attempt)
            && (self.gateway.spec.is_left_alone() || self.blocker().is_some() || self.waits_for_others())
            && !self.gateway.is_being_deleted()
    }

    /// Whether a start waits for a dependency that is unavailable.
    pub(super) fn waits_for_others(&self) -> bool {
        self.observed.registry.unavailable.is_some() || outage::of(self.observed).is_some()
    }

    /// Whether the last request that was taken up asks to run.
    pub fn was_asked_to_run(&self) -> bool {
        self.gateway.status.as_ref().is_some_and(held::was_asked_to_run)
    }

    /// Whether the claim on the gateway's host is recorded and valid. Only then are Ingress and HTTPRoute
    /// written, so that two gateways never route one host.
    pub fn may_route(&self) -> bool {
        if self.may_not_name_its_way() {
            return false;
        }
        let recorded = |host: &String| {
            self.gateway.status.as_ref().is_some_and(|status| status.hosts.iter().any(|claim| claim.host == *host))
        };
        self.observed.host == HostVerdict::Free && self.gateway.spec.host().is_none_or(recorded)
    }

    /// The same for one of the routing children.
    pub(super) fn may_route_by(&self, child: Child) -> bool {
        self.may_route() && (child != Child::HttpRoute || self.observed.routing.unsupported.is_none())
    }

    /// Whether the spec names an ingress class or a parent Gateway that is not allowed.
    fn may_not_name_its_way(&self) -> bool {
        self.observed.violations.ingress_class.is_some() || self.observed.violations.parent_ref.is_some()
    }

    /// Whether the current routes are kept instead of the desired ones, minus void rules and plus those of
    /// environments: the gateway may not have what its spec asks for.
    pub(super) fn keeps_routes(&self) -> bool {
        if self.gateway.spec.is_left_alone() {
            return !self.observed.lost.is_empty();
        }
        self.observed.host != HostVerdict::Free || self.may_not_name_its_way()
    }

    pub(super) fn ready(&self) -> bool {
        readiness::workload_ready(self.observed)
            && readiness::environments_active(self.observed)
            && !self.observed.registry.to_activate
    }

    /// Whether our finalizer holds the gateway. If the operator may not remove it, it counts as a finalizer of
    /// others.
    pub fn has_finalizer(&self) -> bool {
        let registry = &self.observed.registry;
        self.has(REGISTRY_FINALIZER) && (registry.external || registry.may_remove_finalizer)
    }

    pub(super) fn has(&self, finalizer: &str) -> bool {
        self.gateway.metadata.finalizers.iter().flatten().any(|other| other == finalizer)
    }

    /// Finalizers of others that a deleted gateway waits for. Kubernetes' own are left out: garbage collection
    /// removes them.
    pub(super) fn others_finalizers(&self) -> Vec<&str> {
        let finalizers = self.gateway.metadata.finalizers.iter().flatten().map(String::as_str);
        finalizers
            .filter(|other| ![REGISTRY_FINALIZER, ORPHAN_FINALIZER, FOREGROUND_FINALIZER].contains(other))
            .collect()
    }

    /// Whether the children of a deleted gateway are left to garbage collection, which deletes or orphans them.
    pub(super) fn is_left_to_garbage_collection(&self) -> bool {
        self.gateway.is_being_deleted()
            && !self.has_finalizer()
            && (self.has(ORPHAN_FINALIZER) || self.others_finalizers().is_empty())
    }

    fn retries_left(&self) -> i32 {
        let granted = self.gateway.spec.start_retries.as_ref().map_or(0, |retries| retries.limit);
        self.gateway
            .status
            .as_ref()
            .and_then(|status| status.attempt.as_ref())
            .and_then(|attempt| attempt.retries_left)
            .map_or(0, |left| left.min(granted))
    }

    /// Whether a stop takes longer than `cleanup_stuck_after`.
    pub fn is_stuck(&self) -> bool {
        matches!(self.place(), Some(Place::Stopping | Place::Deleting))
            && self.moment.phase >= self.settings.cleanup_stuck_after
    }

    /// Whether a gateway that was stopped is due to start, and why.
    pub fn due_start(&self) -> Option<DueStart> {
        if !self.asked_to_run() {
            return None;
        }
        if self.requests.start || self.requests.restart || !self.was_asked_to_run() {
            return Some(DueStart::Asked);
        }
        (self.retries_left() > 0)
            .then(|| DueStart::Retry { wait: deadline::backoff(self.gateway).saturating_sub(self.moment.failure) })
    }
}
