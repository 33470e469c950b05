//! A gateway and all that is known about it, and what follows from that alone.

use std::time::Duration;

use super::allowance::{Breaches, NotAllowed};
use super::hosts::HostRefusal;
use super::observed::{Child, Going, HostVerdict, Moment, Observed, Presence, Settings};
use super::place::Place;
use super::requests::Requests;
use super::{deadline, held, outage, readiness};
use crate::api::{ApiGateway, REGISTRY_FINALIZER, Reason, State};
use crate::children::{self, Unfit};

/// By then the garbage collector has taken what it takes: it needs a second or two, and pods their grace.
const COLLECTION: Duration = Duration::from_secs(30);

/// Kubernetes' own, while a deletion lets go of what it is to leave behind.
pub(super) const ORPHAN_FINALIZER: &str = "orphan";

/// Kubernetes' own, while a deletion waits for what goes with it.
const FOREGROUND_FINALIZER: &str = "foregroundDeletion";

/// A gateway and all that is known about it.
pub struct Situation<'a> {
    /// The object.
    pub gateway: &'a ApiGateway,
    /// What was observed.
    pub observed: &'a Observed,
    /// When.
    pub moment: &'a Moment,
    /// The operator's flags.
    pub settings: &'a Settings,
    /// What the user asked since.
    pub requests: Requests,
}

/// Why a gateway can neither begin nor go on by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The host may not be had.
    Host(HostRefusal),
    /// Its pods ask for what they may not have.
    NotAllowed(NotAllowed),
    /// It may not name its ingress class.
    IngressClassNotAllowed(NotAllowed),
    /// A field of the spec is not sent to anybody.
    Unfit(Unfit),
    /// A child's name is another's.
    NameTaken {
        /// The child.
        child: Child,
        /// Whose it is.
        by: String,
    },
    /// A child of an earlier gateway of this name is still there.
    WaitingForDeletion {
        /// The child.
        child: Child,
    },
}

impl Obstacle {
    /// The obstacle as one word.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Host(refusal) => refusal.reason,
            Self::NotAllowed(_) => Reason::NotAllowed,
            Self::IngressClassNotAllowed(_) => Reason::IngressClassNotAllowed,
            Self::Unfit(_) => Reason::InvalidSpec,
            Self::NameTaken { .. } => Reason::NameTaken,
            Self::WaitingForDeletion { .. } => Reason::WaitingForDeletion,
        }
    }
}

/// Why a stopped gateway is to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DueStart {
    /// The user asked for it since it was stopped.
    Asked,
    /// The operator tries again, after so long.
    Retry {
        /// What is left of the backoff.
        wait: Duration,
    },
}

impl<'a> Situation<'a> {
    /// A gateway, what was observed and when, with what the user asks by the object.
    pub fn of(gateway: &'a ApiGateway, observed: &'a Observed, moment: &'a Moment, settings: &'a Settings) -> Self {
        Self { gateway, observed, moment, settings, requests: Requests::of(gateway) }
    }
}

impl Situation<'_> {
    /// `status.state`.
    pub fn state(&self) -> Option<State> {
        self.gateway.status.as_ref()?.state
    }

    /// Where the gateway is on the diagram; `None` in a phase of another version.
    pub fn place(&self) -> Option<Place> {
        Place::of_gateway(self.gateway)
    }

    /// Whether the user wants the gateway to serve.
    pub fn asked_to_run(&self) -> bool {
        self.gateway.spec.state.asks_to_run()
    }

    /// Who or what is in the way, if anybody.
    pub fn obstacle(&self) -> Option<Obstacle> {
        let Breaches { pods, ingress_class } = &self.observed.breaches;
        if let Some(breach) = pods {
            return Some(Obstacle::NotAllowed(breach.clone()));
        }
        for (child, presence) in self.observed.children() {
            match presence {
                Presence::Stranger(by) => return Some(Obstacle::NameTaken { child, by: by.clone() }),
                Presence::Predecessor => return Some(Obstacle::WaitingForDeletion { child }),
                _ => {}
            }
        }
        if let Some(unfit) = children::unfit(&self.gateway.spec) {
            return Some(Obstacle::Unfit(unfit));
        }
        if let Some(breach) = ingress_class {
            return Some(Obstacle::IngressClassNotAllowed(breach.clone()));
        }
        self.observed.host.refusal().map(Obstacle::Host)
    }

    /// Whether its pods ask for what they may not have, or for what is sent to nobody. Then they are left as they are: none
    /// is made, changed or restarted, and none that serves is stopped.
    pub(super) fn keeps_pods(&self) -> bool {
        self.observed.breaches.pods.is_some() || children::unfit(&self.gateway.spec).is_some()
    }

    /// In how long a gateway that waits for garbage collection is said to be stalled; zero once it is. Nothing else that
    /// is in the way goes by itself.
    pub(super) fn collection_is_late_in(&self) -> Option<Duration> {
        let Some(Obstacle::WaitingForDeletion { .. }) = self.obstacle() else { return None };
        let waited = match self.place() {
            None | Some(Place::New) => Duration::ZERO,
            Some(place) if place.is_attempt() => self.moment.held,
            Some(_) => self.moment.phase,
        };
        Some(COLLECTION.saturating_sub(waited))
    }

    /// A child that was deleted, is needed, and should be gone by now.
    pub(super) fn late_child(&self) -> Option<&Going> {
        self.observed.writes.going.iter().find(|going| going.lasted >= COLLECTION)
    }

    /// In how long the next child is one of those.
    pub(super) fn child_is_late_in(&self) -> Option<Duration> {
        let left = self.observed.writes.going.iter().map(|going| COLLECTION.saturating_sub(going.lasted));
        left.filter(|left| !left.is_zero()).min()
    }

    /// Whether the clock of the attempt stands still.
    pub fn clock_is_held(&self) -> bool {
        self.place().is_some_and(Place::is_attempt)
            && (self.gateway.spec.is_left_alone() || self.obstacle().is_some() || self.waits_for_others())
            && !self.gateway.is_being_deleted()
    }

    /// Whether somebody is away without whom a start cannot go on.
    pub(super) fn waits_for_others(&self) -> bool {
        self.observed.registry.unavailable.is_some() || outage::of(self.observed).is_some()
    }

    /// Whether the last request that was taken up is one to run.
    pub fn was_asked_to_run(&self) -> bool {
        self.gateway.status.as_ref().is_some_and(held::was_asked_to_run)
    }

    /// Whether the claim on the gateway's host is recorded and stands: only then is the
    /// Ingress written, so that two gateways never route one host.
    pub fn may_route(&self) -> bool {
        if self.observed.breaches.ingress_class.is_some() {
            return false;
        }
        let recorded = |host: &String| {
            self.gateway.status.as_ref().is_some_and(|status| status.hosts.iter().any(|claim| claim.host == *host))
        };
        self.observed.host == HostVerdict::Free && self.gateway.spec.host.as_ref().is_none_or(recorded)
    }

    /// Whether what is desired of the Ingress is what is there, less the rules that may not stay
    /// and with those of environments: the gateway may not have what its spec asks.
    pub(super) fn keeps_routes(&self) -> bool {
        if self.gateway.spec.is_left_alone() {
            return !self.observed.lost.is_empty();
        }
        self.observed.host != HostVerdict::Free || self.observed.breaches.ingress_class.is_some()
    }

    pub(super) fn ready(&self) -> bool {
        readiness::workload_ready(self.observed)
            && readiness::environments_active(self.observed)
            && !self.observed.registry.to_activate
    }

    /// Whether the gateway stays until we let go of it. Our finalizer is somebody else's where it is not for us to remove.
    pub fn has_finalizer(&self) -> bool {
        let registry = &self.observed.registry;
        self.has(REGISTRY_FINALIZER) && (registry.external || registry.may_let_go)
    }

    pub(super) fn has(&self, finalizer: &str) -> bool {
        self.gateway.metadata.finalizers.iter().flatten().any(|other| other == finalizer)
    }

    /// The finalizers of others that a gateway which was deleted waits for. Kubernetes' own end by themselves: garbage
    /// collection is at work.
    pub(super) fn others_finalizers(&self) -> Vec<&str> {
        let finalizers = self.gateway.metadata.finalizers.iter().flatten().map(String::as_str);
        finalizers
            .filter(|other| ![REGISTRY_FINALIZER, ORPHAN_FINALIZER, FOREGROUND_FINALIZER].contains(other))
            .collect()
    }

    /// Whether a gateway that is deleted is left to garbage collection, which takes its children once it is gone, or leaves
    /// them.
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

    /// Whether a stop takes longer than a stop should.
    pub fn is_stuck(&self) -> bool {
        matches!(self.place(), Some(Place::Stopping | Place::Deleting))
            && self.moment.phase >= self.settings.cleanup_stuck_after
    }

    /// Whether a gateway that a timeout or the user stopped is to start, and why.
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
