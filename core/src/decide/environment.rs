//! The decision about one environment: whether it may be Active, and why not.
//!
//! The gateway's plan activates environments as the last step of a start and deactivates them in a stop. This
//! decision covers all other times.
//!
//! **Architecture invariant:** `decide` returns nothing if the status would stay the same, so a quiet
//! environment is not written.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time};
use k8s_openapi::jiff::Timestamp;

use super::conditions;
use super::hosts::HostRefusal;
use super::observed::HostVerdict;
use super::place::Place;
use super::words::{plain, say};
use crate::api::{Environment, EnvironmentState, EnvironmentStatus, HostClaim, MOST_ENVIRONMENTS, Reason, condition};

/// Facts about an environment's gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct GatewayFacts {
    /// The node of the state diagram; `None` in a phase of another version, or if the gateway is unreadable.
    pub place: Option<Place>,
    /// Whether the gateway is left alone: suspended, unreadable, or with a spec that this version does not
    /// know. Then nothing is written for its environments either.
    pub suspended: bool,
}

/// Whether a gateway routes a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routed {
    /// Yes: by its Ingress, or by its HTTPRoute, accepted at the current generation.
    Yes,
    /// Yes, by an earlier generation of its HTTPRoute; nobody has answered about the current one.
    AsBefore,
    /// Its HTTPRoute names the host and is not accepted.
    NotYet,
    /// Neither names it.
    No,
}

/// Facts about an environment from outside the object.
#[derive(Clone, Debug, PartialEq)]
pub struct EnvironmentContext {
    /// Its gateway, if there is one.
    pub gateway: Option<GatewayFacts>,
    /// Whether it is one of the gateway's environments that count.
    pub counts: bool,
    /// Whether it may have its host.
    pub host: HostVerdict,
    /// Whether its recorded claim is void: not allowed any more, or preceded by another claim.
    pub lost: bool,
    /// Whether its host is routed, or it has none.
    pub routed: Routed,
    /// Whether its gateway routes any hosts. If not, its environments have none either.
    pub exposed: bool,
}

/// Returns the new status of an environment, if it says anything new.
pub fn decide(environment: &Environment, context: &EnvironmentContext, now: Timestamp) -> Option<EnvironmentStatus> {
    // What a gateway in a phase of another version does is unknown. Hosts of others are given up all the same.
    let left_alone = |gateway: &GatewayFacts| gateway.suspended || gateway.place.is_none();
    // An environment beyond the limit is none of the gateway's, whatever the gateway does.
    let of_one_left_alone = context.counts && context.gateway.as_ref().is_some_and(left_alone);
    if of_one_left_alone && !context.lost && !is_being_deleted(environment) {
        return None;
    }
    let before = environment.status.clone().unwrap_or_default();
    let (state, reason, message) = judge(environment, context, before.state);
    let mut status = EnvironmentStatus { hosts: claims(environment, context, &before, now), ..before.clone() };
    switch(&mut status, environment, state, reason, &message, now);
    (status != before).then_some(status)
}

/// The status of an environment that its gateway's plan activates or deactivates.
pub fn switched(environment: &Environment, to: EnvironmentState, now: Timestamp) -> EnvironmentStatus {
    let mut status = environment.status.clone().unwrap_or_default();
    let (reason, message) = match to {
        EnvironmentState::Active => (Reason::Started, "its gateway serves"),
        EnvironmentState::Inactive | EnvironmentState::Unknown(_) => {
            (Reason::GatewayNotStarted, "its gateway is stopped")
        }
    };
    switch(&mut status, environment, to, reason, message, now);
    status
}

fn is_being_deleted(environment: &Environment) -> bool {
    environment.metadata.deletion_timestamp.is_some()
}

fn judge(
    environment: &Environment,
    context: &EnvironmentContext,
    state: EnvironmentState,
) -> (EnvironmentState, Reason, String) {
    use EnvironmentState::{Active, Inactive};
    if is_being_deleted(environment) {
        let finalizers = environment.metadata.finalizers.as_deref().unwrap_or_default().join(", ");
        let message = format!("no traffic is routed to it; deletion waits for finalizers: {}", say(&finalizers));
        return (Inactive, Reason::Deleting, message);
    }
    let gateway_name = &environment.spec.gateway_ref.name;
    if !context.counts {
        let message = format!(
            "ApiGateway {gateway_name:?} already has its maximum of {MOST_ENVIRONMENTS} environments. Delete some, or \
             create this one for another gateway"
        );
        return (Inactive, Reason::TooManyEnvironments, message);
    }
    let Some(gateway) = &context.gateway else {
        return (
            Inactive,
            Reason::GatewayNotFound,
            format!("ApiGateway {gateway_name:?} does not exist in this namespace"),
        );
    };
    if let Some(HostRefusal { reason, message, hint: _ }) = context.host.refusal() {
        return (Inactive, reason, message);
    }
    let started = (Active, Reason::Started, "its gateway serves".to_owned());
    let waiting = |why: &str| (Inactive, Reason::GatewayNotStarted, why.to_owned());
    match gateway.place {
        Some(Place::Started) if !context.exposed || context.routed == Routed::Yes => started,
        Some(Place::Started) if context.routed == Routed::AsBefore && state == Active => started,
        // The route is stored before the environment becomes Active.
        Some(Place::Started) => waiting("its host is not routed yet"),
        // Deactivation is a step of the gateway's plan. A gateway that restarts serves all the while.
        Some(Place::Starting | Place::Restarting | Place::TimedOut | Place::Stopping) if state == Active => started,
        Some(Place::Starting | Place::Restarting) => waiting("its gateway is starting"),
        _ => waiting("its gateway is stopped"),
    }
}

fn claims(
    environment: &Environment,
    context: &EnvironmentContext,
    before: &EnvironmentStatus,
    now: Timestamp,
) -> Vec<HostClaim> {
    let Some(host) = environment.spec.host.as_ref().filter(|_| context.counts && context.exposed) else {
        return Vec::new();
    };
    if is_being_deleted(environment) && context.routed == Routed::No {
        return Vec::new();
    }
    let held = before.hosts.iter().find(|claim| claim.host == *host && !context.lost);
    match (held, &context.host) {
        (Some(claim), _) => vec![claim.clone()],
        // An environment without a gateway gets no host.
        (None, HostVerdict::Free) if context.gateway.is_some() && !is_being_deleted(environment) => {
            vec![HostClaim { host: host.clone(), since: MicroTime(now) }]
        }
        (None, _) => Vec::new(),
    }
}

fn switch(
    status: &mut EnvironmentStatus,
    environment: &Environment,
    to: EnvironmentState,
    reason: Reason,
    message: &str,
    now: Timestamp,
) {
    if to != EnvironmentState::Active {
        status.activated_at = None;
    } else if status.state != to {
        status.activated_at = Some(MicroTime(now));
    }
    status.state = to;
    status.observed_generation = environment.metadata.generation;
    let stalled = matches!(
        reason,
        Reason::HostTaken | Reason::HostNotAllowed | Reason::HostLimitReached | Reason::TooManyEnvironments
    );
    let generation = environment.metadata.generation;
    let turned = |type_: &str, is: bool| {
        let text = if is { "True" } else { "False" };
        let before = conditions::find(&status.conditions, type_).filter(|before| before.status == text);
        // A new holder of the host is no news to those who wait for it.
        let kept =
            before.filter(|before| reason == Reason::HostTaken && conditions::says_still(before, reason, generation));
        Condition {
            type_: type_.to_owned(),
            status: text.to_owned(),
            reason: reason.to_string(),
            message: plain(kept.map_or(message, |before| &before.message)),
            observed_generation: generation,
            last_transition_time: before
                .map_or_else(|| Time(conditions::seconds(now)), |before| before.last_transition_time.clone()),
        }
    };
    let ours = [turned(condition::READY, to == EnvironmentState::Active), turned(condition::STALLED, stalled)];
    status.conditions = ours.into_iter().chain(conditions::of_other_versions(&status.conditions).cloned()).collect();
}
