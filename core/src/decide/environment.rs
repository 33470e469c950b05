//! The decision about one environment: whether it may be Active, and why not.
//!
//! The gateway's own plan switches environments on as the last step of a start and off in its
//! stop; this decides what happens to them at all other times.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time};
use k8s_openapi::jiff::Timestamp;

use super::conditions;
use super::observed::HostVerdict;
use super::place::Place;
use super::words::{plain, say};
use crate::api::{Environment, EnvironmentState, EnvironmentStatus, HostClaim, Reason, condition};

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
    /// Whether it may have its host.
    pub host: HostVerdict,
    /// Whether the gateway's Ingress routes its host, or it has none.
    pub routed: bool,
}

/// The status that an environment is to have, if it says anything new.
pub fn decide(environment: &Environment, around: &Around, now: Timestamp) -> Option<EnvironmentStatus> {
    // Nor is it known what a gateway in a phase of another version does.
    let left_alone = |gateway: &GatewayFacts| gateway.suspended || gateway.place.is_none();
    if around.gateway.as_ref().is_some_and(left_alone) || environment.metadata.deletion_timestamp.is_some() {
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

fn judge(environment: &Environment, around: &Around, state: EnvironmentState) -> (EnvironmentState, Reason, String) {
    use EnvironmentState::{Active, Inactive};
    let gateway_name = &environment.spec.gateway_ref.name;
    let Some(gateway) = &around.gateway else {
        return (
            Inactive,
            Reason::GatewayNotFound,
            format!("there is no ApiGateway {gateway_name:?} in its namespace"),
        );
    };
    match &around.host {
        HostVerdict::Taken { host, by } => {
            return (Inactive, Reason::HostTaken, format!("host {host:?} is held by {}", say(by)));
        }
        HostVerdict::NotAllowed { host, allowed } => {
            let message = format!("host {host:?} is not below what its namespace allows: {}", say(allowed));
            return (Inactive, Reason::HostNotAllowed, message);
        }
        HostVerdict::Free => {}
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
    let Some(host) = &environment.spec.host else { return Vec::new() };
    let held = before.hosts.iter().find(|claim| claim.host == *host);
    match (held, &around.host) {
        (Some(claim), _) => vec![claim.clone()],
        // Who belongs to nobody gets no host to hold.
        (None, HostVerdict::Free) if around.gateway.is_some() => {
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
    let stalled = matches!(reason, Reason::HostTaken | Reason::HostNotAllowed);
    let turned = |type_: &str, is: bool| {
        let text = if is { "True" } else { "False" };
        let before = conditions::find(&status.conditions, type_).filter(|before| before.status == text);
        Condition {
            type_: type_.to_owned(),
            status: text.to_owned(),
            reason: reason.to_string(),
            message: plain(message),
            observed_generation: environment.metadata.generation,
            last_transition_time: before
                .map_or_else(|| Time(conditions::seconds(now)), |before| before.last_transition_time.clone()),
        }
    };
    let ours = [turned(condition::READY, to == EnvironmentState::Active), turned(condition::STALLED, stalled)];
    status.conditions = ours.into_iter().chain(conditions::of_other_versions(&status.conditions).cloned()).collect();
}
