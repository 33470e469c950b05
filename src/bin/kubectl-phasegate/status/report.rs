//! Everything that `status` reports about a gateway, as data: the output of `-o json`, and the source of the
//! text.
//!
//! **Architecture invariant**: this module sends no request. The same facts at the same moment give the same
//! report.

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use phasegate::api::{Environment, EnvironmentState, Failure, StoredChange, condition};
use phasegate::decide::conditions::{find, waits_for};
use serde::Serialize;

use super::attempt::{self, Try};
use super::children::{self, Node};
use super::events::{self, EventLine};
use super::facts::Facts;
use crate::cause::{self, Cause};
use crate::history::{self, Step};

/// One gateway.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The desired state (`spec.state`).
    pub asked: String,
    /// The operator's state for the gateway. It is absent before the first reconcile.
    pub state: Option<String>,
    /// The phase (`status.phase`).
    pub phase: Option<String>,
    /// Whether the gateway is suspended.
    pub suspended: bool,
    /// Whether the observed state matches the desired one.
    pub ready: bool,
    /// Whether it serves.
    pub available: bool,
    /// The reason of the condition Ready.
    pub reason: String,
    /// Whether nothing changes until a user acts.
    pub stalled: bool,
    /// The known failure, if any.
    pub cause: Option<Cause>,
    /// What the gateway waits for during a transition, if it is known.
    pub waits_for: Option<String>,
    /// The failure of an earlier attempt, while another attempt is in progress.
    pub last_failure: Option<Failure>,
    /// Whether the status belongs to an earlier spec.
    pub outdated: bool,
    /// The URL of the gateway.
    pub url: Option<String>,
    /// The image in the spec.
    pub image: String,
    /// The current or last attempt.
    pub attempt: Option<Try>,
    /// The number of transitions before those of `phases`.
    pub earlier: i64,
    /// The phases, oldest first.
    pub phases: Vec<Step>,
    /// Its children, as a tree.
    pub children: Vec<Node>,
    /// The differences between a child as the operator applied it and as it was stored.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<StoredChange>,
    /// The environments that refer to it.
    pub environments: Vec<EnvironmentLine>,
    /// Its conditions.
    pub conditions: Vec<ConditionLine>,
    /// Recent Events about it and its children, newest last.
    pub events: Vec<EventLine>,
    /// The reads besides children that failed, and why.
    pub unreadable: Vec<String>,
}

/// An environment.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct EnvironmentLine {
    /// Its name.
    pub name: String,
    /// Whether its gateway serves it.
    pub active: bool,
    /// Its host.
    pub host: Option<String>,
    /// Why it is not active, if that is known.
    pub cause: Option<String>,
}

/// A condition.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConditionLine {
    /// Its type.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True` or `False`.
    pub status: String,
    /// The reason, in one word.
    pub reason: String,
    /// The message, as a sentence.
    pub message: String,
    /// When the status changed last.
    pub since: Timestamp,
}

/// The report of a gateway.
pub fn of(facts: &Facts, now: Timestamp) -> Report {
    let gateway = &facts.gateway;
    let status = gateway.status_or_default();
    let cause = cause::of(gateway, now);
    let phases = history::steps(gateway, now);
    let told = |cause: &Cause| status.last_failure.as_ref().is_some_and(|last| last.message == cause.message);
    let last_failure = status.last_failure.clone().filter(|_| !cause.as_ref().is_some_and(told));
    let mut unreadable = Vec::new();
    let environments = match &facts.environments {
        Ok(environments) => environments.iter().map(environment).collect(),
        Err(why) => {
            unreadable.push(why.clone());
            Vec::new()
        }
    };
    let events = match &facts.events {
        Ok(all) => events::of(gateway, all),
        Err(why) => {
            unreadable.push(why.clone());
            Vec::new()
        }
    };
    Report {
        namespace: gateway.namespace_or_empty().to_owned(),
        name: gateway.name_or_empty().to_owned(),
        asked: gateway.spec.state.to_string(),
        state: status.state.map(|state| state.to_string()),
        phase: status.phase.as_ref().map(ToString::to_string),
        suspended: gateway.spec.suspend,
        ready: cause::is(gateway, condition::READY),
        available: cause::is(gateway, condition::AVAILABLE),
        reason: cause::reason_of(gateway).to_owned(),
        stalled: cause::is(gateway, condition::STALLED),
        waits_for: cause::condition_of(gateway, condition::READY).and_then(waits_for).map(str::to_owned),
        cause,
        last_failure,
        outdated: gateway.status.is_some() && status.observed_generation != gateway.metadata.generation,
        url: status.url.clone(),
        image: gateway.spec.image.clone(),
        attempt: attempt::of(gateway, now),
        earlier: phases.first().map_or(0, |first| first.number - 1),
        phases,
        children: children::of(facts, now),
        changed: status.changed.clone(),
        environments,
        conditions: status
            .conditions
            .iter()
            .map(|condition| ConditionLine {
                type_: condition.type_.clone(),
                status: condition.status.clone(),
                reason: condition.reason.clone(),
                message: condition.message.clone(),
                since: condition.last_transition_time.0,
            })
            .collect(),
        events,
        unreadable,
    }
}

fn environment(environment: &Environment) -> EnvironmentLine {
    let status = environment.status.clone().unwrap_or_default();
    let ready = find(&status.conditions, condition::READY);
    let cause =
        ready.filter(|ready| ready.status != "True").map(|ready| format!("{}: {}", ready.reason, ready.message));
    EnvironmentLine {
        name: environment.name_any(),
        active: status.state == EnvironmentState::Active,
        host: environment.spec.host.clone(),
        cause,
    }
}
