//! All that is said of a gateway, as data: what `-o json` prints, and what the lines are made from.

use std::time::Duration;

use k8s_openapi::api::core::v1::Event;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use phasegate::api::{ApiGateway, Environment, EnvironmentState, Failure, Phase, condition};
use phasegate::decide::conditions::find;
use phasegate::decide::deadline;
use phasegate::decide::observed::Moment;
use serde::Serialize;

use super::children::{self, Node};
use super::facts::Facts;
use crate::cause::{self, Cause};
use crate::history::{self, Step};
use crate::times;

/// How long a start may take where neither the spec nor, as far as is known here, a flag of the operator says.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(300);
/// How many Events are shown.
const EVENTS: usize = 10;

/// One gateway.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What the user asks (`spec.state`).
    pub asked: String,
    /// What the operator holds it to; absent until it was looked at.
    pub state: Option<String>,
    /// What the operator is doing.
    pub phase: Option<String>,
    /// Whether the operator's hand is held.
    pub suspended: bool,
    /// Whether what is observed matches what is asked.
    pub ready: bool,
    /// Whether it serves.
    pub available: bool,
    /// Why it is, or is not, ready, in one word.
    pub reason: String,
    /// Whether nothing moves until somebody acts.
    pub stalled: bool,
    /// What is wrong, if anything is known to be.
    pub cause: Option<Cause>,
    /// The failure of an earlier attempt, while another is under way.
    pub last_failure: Option<Failure>,
    /// Whether the status is of an earlier spec.
    pub outdated: bool,
    /// Where it answers.
    pub url: Option<String>,
    /// The image that is asked for.
    pub image: String,
    /// The current or last try.
    pub attempt: Option<Try>,
    /// How many transitions there were before those of `phases`.
    pub earlier: i64,
    /// The phases, oldest first.
    pub phases: Vec<Step>,
    /// Its children, as a tree.
    pub children: Vec<Node>,
    /// The environments that name it.
    pub environments: Vec<EnvironmentLine>,
    /// Its conditions.
    pub conditions: Vec<ConditionLine>,
    /// Recent Events about it and its children, newest last.
    pub events: Vec<EventLine>,
    /// What could not be read besides children, and why.
    pub unreadable: Vec<String>,
}

/// A try to start or restart.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Try {
    /// Its number.
    pub number: i64,
    /// Whether it is under way.
    pub running: bool,
    /// How many seconds it has run, without those in which its clock was held. Only while it is under way.
    pub elapsed_seconds: u64,
    /// How many seconds it may run.
    pub deadline_seconds: u64,
    /// Whether that is the operator's default. Its flag may say another number, which is not known here.
    pub deadline_is_default: bool,
    /// How many seconds are left.
    pub left_seconds: u64,
    /// Whether the clock is held.
    pub held: bool,
    /// How many tries of the operator's own follow.
    pub retries_left: i32,
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
    /// Why it is not active, where that is known.
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
    /// Why, in one word.
    pub reason: String,
    /// Why, in a sentence.
    pub message: String,
    /// Since when.
    pub since: Timestamp,
}

/// Events that say the same.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventLine {
    /// When it was told last.
    pub last: Timestamp,
    /// How many times it was told.
    pub count: i32,
    /// Whether it is a warning.
    pub warning: bool,
    /// What it is about, as `Kind/name`.
    pub about: String,
    /// In one word.
    pub reason: String,
    /// In a sentence.
    pub message: String,
}

/// All that is said of a gateway.
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
        Ok(all) => events(gateway, all),
        Err(why) => {
            unreadable.push(why.clone());
            Vec::new()
        }
    };
    Report {
        namespace: gateway.namespace_or_empty().to_owned(),
        name: gateway.name_or_empty().to_owned(),
        asked: format!("{:?}", gateway.spec.state),
        state: status.state.map(|state| format!("{state:?}")),
        phase: status.phase.as_ref().map(ToString::to_string),
        suspended: gateway.spec.suspend,
        ready: cause::is(gateway, condition::READY),
        available: cause::is(gateway, condition::AVAILABLE),
        reason: cause::reason_of(gateway).to_owned(),
        stalled: cause::is(gateway, condition::STALLED),
        cause,
        last_failure,
        outdated: gateway.status.is_some() && status.observed_generation != gateway.metadata.generation,
        url: status.url.clone(),
        image: gateway.spec.image.clone(),
        attempt: attempt(gateway, now),
        earlier: phases.first().map_or(0, |first| first.number - 1),
        phases,
        children: children::of(facts),
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

fn attempt(gateway: &ApiGateway, now: Timestamp) -> Option<Try> {
    let status = gateway.status.as_ref()?;
    let attempt = status.attempt.as_ref()?;
    let running = status.phase == Some(Phase::Starting);
    let held_since = attempt.held_since.as_ref().filter(|_| running);
    let moment = Moment {
        now,
        attempt: times::since(attempt.started_at.0, now),
        held: held_since.map_or(Duration::ZERO, |at| times::since(at.0, now)),
        phase: Duration::ZERO,
        failure: Duration::ZERO,
        deletion: Duration::ZERO,
    };
    let limit = gateway.spec.start_deadline.map(Duration::from);
    let elapsed = if running { deadline::elapsed(attempt, &moment) } else { Duration::ZERO };
    Some(Try {
        number: attempt.number,
        running,
        elapsed_seconds: elapsed.as_secs(),
        deadline_seconds: limit.unwrap_or(DEFAULT_DEADLINE).as_secs(),
        deadline_is_default: limit.is_none(),
        left_seconds: limit.unwrap_or(DEFAULT_DEADLINE).saturating_sub(elapsed).as_secs(),
        held: held_since.is_some(),
        retries_left: attempt.retries_left.unwrap_or_default(),
    })
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

/// Events that say the same of the same object become one; the newest come last, and of many only those.
fn events(gateway: &ApiGateway, all: &[Event]) -> Vec<EventLine> {
    let mut lines: Vec<EventLine> = Vec::new();
    for event in all {
        let about = &event.involved_object;
        // An earlier gateway of this name had its own.
        if about.kind.as_deref() == Some("ApiGateway") && about.uid.as_deref() != Some(gateway.uid()) {
            continue;
        }
        let line = line(event);
        let same = |other: &&mut EventLine| {
            (&other.about, &other.reason, &other.message) == (&line.about, &line.reason, &line.message)
        };
        match lines.iter_mut().find(same) {
            Some(same) => {
                same.count += line.count;
                same.last = same.last.max(line.last);
            }
            None => lines.push(line),
        }
    }
    lines.sort_by_key(|line| line.last);
    lines.split_off(lines.len().saturating_sub(EVENTS))
}

fn line(event: &Event) -> EventLine {
    let about = &event.involved_object;
    let series = event.series.as_ref();
    let last = series
        .and_then(|series| series.last_observed_time.as_ref().map(|at| at.0))
        .or(event.last_timestamp.as_ref().map(|at| at.0))
        .or(event.event_time.as_ref().map(|at| at.0))
        .or(event.metadata.creation_timestamp.as_ref().map(|at| at.0));
    EventLine {
        last: last.unwrap_or_default(),
        count: series.and_then(|series| series.count).or(event.count).unwrap_or(1).max(1),
        warning: event.type_.as_deref() == Some("Warning"),
        about: format!("{}/{}", about.kind.as_deref().unwrap_or("?"), about.name.as_deref().unwrap_or("?")),
        reason: event.reason.clone().unwrap_or_default(),
        message: event.message.clone().unwrap_or_default(),
    }
}
