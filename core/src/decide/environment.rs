//! The decision about one environment: whether it may be Active, and why not.
//!
//! The gateway's own plan switches environments on as the last step of a start and off in its
//! stop; this decides what happens to them at all other times.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time};
use k8s_openapi::jiff::Timestamp;

use super::conditions;
use super::hosts::HostRefusal;
use super::observed::HostVerdict;
use super::place::Place;
use super::words::{plain, say};
use crate::api::{Environment, EnvironmentState, EnvironmentStatus, HostClaim, MOST_ENVIRONMENTS, Reason, condition};

/// What is known about an environment's gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct GatewayFacts {
    /// Where it is on the diagram; `None` in a phase of another version, and where it cannot be read.
    pub place: Option<Place>,
    /// Whether it is suspended, asks what this version does not know, or cannot be read: then nothing is written for its environments either.
    pub suspended: bool,
}

/// What is known around an environment.
#[derive(Clone, Debug, PartialEq)]
pub struct Around {
    /// Its gateway, if there is one.
    pub gateway: Option<GatewayFacts>,
    /// Whether it is one of the environments of its gateway that count.
    pub counts: bool,
    /// Whether it may have its host.
    pub host: HostVerdict,
    /// Whether its recorded claim is one that it may not have, or that another's goes before.
    pub lost: bool,
    /// Whether the gateway's Ingress routes its host, or it has none.
    pub routed: bool,
}

/// The status that an environment is to have, if it says anything new.
pub fn decide(environment: &Environment, around: &Around, now: Timestamp) -> Option<EnvironmentStatus> {
    // Nor is it known what a gateway in a phase of another version does. What belongs to others is theirs all the same.
    let left_alone = |gateway: &GatewayFacts| gateway.suspended || gateway.place.is_none();
    // One that is too many is none of the gateway's, whatever becomes of that.
    let of_one_left_alone = around.counts && around.gateway.as_ref().is_some_and(left_alone);
    if of_one_left_alone && !around.lost && !is_being_deleted(environment) {
        return None;
    }
    let before = environment.status.clone().unwrap_or_default();
    let (state, reason, message) = judge(environment, around, before.state);
    let mut status = EnvironmentStatus { hosts: claims(environment, around, &before, now), ..before.clone() };
    switch(&mut status, environment, state, reason, &message, now);
    (status != before).then_some(status)
}

/// The status of an environment that its gateway's plan switches.
pub fn switched(environment: &Environment, to: EnvironmentState, now: Timestamp) -> EnvironmentStatus {
    let mut status = environment.status.clone().unwrap_or_default();
    let (reason, message) = match to {
        EnvironmentState::Active => (Reason::Started, "its gateway serves it"),
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

fn judge(environment: &Environment, around: &Around, state: EnvironmentState) -> (EnvironmentState, Reason, String) {
    use EnvironmentState::{Active, Inactive};
    if is_being_deleted(environment) {
        let finalizers = environment.metadata.finalizers.as_deref().unwrap_or_default().join(", ");
        let message =
            format!("it is not routed any more, and gone once its finalizers are removed: {}", say(&finalizers));
        return (Inactive, Reason::Deleting, message);
    }
    let gateway_name = &environment.spec.gateway_ref.name;
    if !around.counts {
        let message = format!(
            "ApiGateway {gateway_name:?} has {MOST_ENVIRONMENTS} older environments, and no more count: delete some of them, or make \
             this one for another gateway"
        );
        return (Inactive, Reason::TooManyEnvironments, message);
    }
    let Some(gateway) = &around.gateway else {
        return (
            Inactive,
            Reason::GatewayNotFound,
            format!("there is no ApiGateway {gateway_name:?} in its namespace"),
        );
    };
    if let Some(HostRefusal { reason, message, hint: _ }) = around.host.refusal() {
        return (Inactive, reason, message);
    }
    let started = (Active, Reason::Started, "its gateway serves it".to_owned());
    let waiting = |why: &str| (Inactive, Reason::GatewayNotStarted, why.to_owned());
    match gateway.place {
        Some(Place::Started) if around.routed => started,
        // The rule is stored before the environment is Active.
        Some(Place::Started) => waiting("its host is about to be routed"),
        // Switching it off is a step of the gateway's own plan; one that is restarted serves all the while.
        Some(Place::Starting | Place::Restarting | Place::TimedOut | Place::Stopping) if state == Active => started,
        Some(Place::Starting | Place::Restarting) => waiting("its gateway is being started"),
        _ => waiting("its gateway is stopped"),
    }
}

fn claims(environment: &Environment, around: &Around, before: &EnvironmentStatus, now: Timestamp) -> Vec<HostClaim> {
    let Some(host) = environment.spec.host.as_ref().filter(|_| around.counts) else { return Vec::new() };
    if is_being_deleted(environment) && !around.routed {
        return Vec::new();
    }
    let held = before.hosts.iter().find(|claim| claim.host == *host && !around.lost);
    match (held, &around.host) {
        (Some(claim), _) => vec![claim.clone()],
        // Who belongs to nobody gets no host to hold.
        (None, HostVerdict::Free) if around.gateway.is_some() && !is_being_deleted(environment) => {
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
        // Who holds a host meanwhile is no news to whoever waits for it.
        let kept =
            before.filter(|before| reason == Reason::HostTaken && conditions::says_still(before, reason, generation));
        Condition {
            type_: type_.to_owned(),
            status: text.to_owned(),
            reason: reason.to_string(),
            message: kept.map_or_else(|| plain(message), |before| before.message.clone()),
            observed_generation: generation,
            last_transition_time: before
                .map_or_else(|| Time(conditions::seconds(now)), |before| before.last_transition_time.clone()),
        }
    };
    let ours = [turned(condition::READY, to == EnvironmentState::Active), turned(condition::STALLED, stalled)];
    status.conditions = ours.into_iter().chain(conditions::of_other_versions(&status.conditions).cloned()).collect();
}
