//! The decision: a gateway, what was observed and a moment in, a plan out. Pure.
//!
//! `phase` judges, `diagnosis` explains, `conditions` says it, and this module folds the
//! verdict into the status that is to be written. Nothing here reads a clock or knows a client.

pub mod conditions;
pub mod deadline;
pub mod diagnosis;
pub mod diagram;
pub mod environment;
pub mod hosts;
pub mod observed;
pub mod phase;
pub mod readiness;
pub mod requests;

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use crate::api::{
    ApiGateway, ApiGatewayStatus, Attempt, EnvironmentCount, Failure, HISTORY_LENGTH, HostClaim, Phase, Reason, State,
    Transition, condition,
};
use crate::children;
use observed::{Child, HostVerdict, Moment, Observed, Settings};
use phase::{Move, NextAttempt, Situation, Verdict};
use requests::Requests;

/// One act on a child or on the environments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// POST it.
    Create(Child),
    /// PUT it over what is there.
    Update(Child),
    /// DELETE it.
    Delete(Child),
    /// Make every allowed environment Active.
    ActivateEnvironments,
    /// Make every environment Inactive.
    DeactivateEnvironments,
    /// Keep the gateway until it was forgotten in the registry.
    AddFinalizer,
    /// Let the gateway go.
    RemoveFinalizer,
    /// Record the gateway in the registry.
    Record,
    /// Make the documents of Active environments Active.
    ActivateDocuments,
    /// Make the documents of other environments Inactive.
    DeactivateDocuments,
    /// Tell the registry the last transition.
    Report,
    /// Remove from the registry what goes with the gateway.
    Forget,
    /// Read the Events of a pod that is not ready and whose status does not say why.
    ReadEvents,
}

impl Step {
    /// Whether it is a write to the registry. What fails there keeps nothing else from being done.
    pub fn is_registrys(self) -> bool {
        match self {
            Self::Record | Self::ActivateDocuments | Self::DeactivateDocuments | Self::Report | Self::Forget => true,
            Self::Create(_)
            | Self::Update(_)
            | Self::Delete(_)
            | Self::ActivateEnvironments
            | Self::DeactivateEnvironments
            | Self::AddFinalizer
            | Self::RemoveFinalizer
            | Self::ReadEvents => false,
        }
    }
}

/// What is to be done now. A plan that changes the phase has no steps: the transition is
/// recorded first, and the next decision acts on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Acts, in this order; the first that fails ends them.
    pub steps: Vec<Step>,
    /// The status to be recorded, if it says anything new.
    pub status: Option<ApiGatewayStatus>,
    /// Events to be told once the status is recorded.
    pub notes: Vec<Note>,
    /// When to look again although nothing happened.
    pub wake: Option<Duration>,
    /// Whether the phase, the state or the attempt changes.
    pub moves: bool,
}

/// An Event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Whether something is wrong.
    pub warning: bool,
    /// Why.
    pub reason: Reason,
    /// In words.
    pub message: String,
}

/// Decides what is to be done about one gateway.
pub fn decide(gateway: &ApiGateway, observed: &Observed, moment: &Moment, settings: &Settings) -> Plan {
    let situation = Situation { gateway, observed, moment, settings, requests: Requests::of(gateway) };
    let verdict = phase::judge(&situation);
    if gateway.is_being_deleted() && !situation.has_finalizer() {
        return Plan { steps: Vec::new(), status: None, notes: Vec::new(), wake: None, moves: false };
    }
    if let Verdict::Stay { steps, wake } = &verdict
        && comes_before_the_status(gateway, steps)
    {
        return Plan { steps: steps.clone(), status: None, notes: Vec::new(), wake: *wake, moves: false };
    }
    let before = gateway.status_or_default();
    let after = fold(&situation, &verdict, &before);
    let notes = notes(&verdict, &before, &after);
    let status = says_something_new(&before, &after).then_some(after);
    match verdict {
        Verdict::Stay { steps, wake } => Plan { steps, status, notes, wake, moves: false },
        Verdict::Go(_) => Plan { steps: Vec::new(), status, notes, wake: None, moves: true },
    }
}

/// Whether the status waits until these steps are done: they change the object itself, or come before its
/// first transition.
fn comes_before_the_status(gateway: &ApiGateway, steps: &[Step]) -> bool {
    let begun = gateway.status.as_ref().is_some_and(|status| status.phase.is_some());
    steps.iter().any(|step| match step {
        Step::AddFinalizer | Step::RemoveFinalizer => true,
        Step::Record => !begun,
        _ => false,
    })
}

impl Plan {
    /// Whether this plan gives up an attempt. Such a plan is made again from a live read
    /// before it is carried out: a cache may be behind.
    pub fn gives_up(&self) -> bool {
        let last = self.status.as_ref().and_then(|status| status.history.last());
        self.moves
            && last.is_some_and(|last| {
                matches!(last.reason, Reason::StartDeadlineExceeded | Reason::RestartDeadlineExceeded)
                    && last.to == Phase::Started
            })
    }
}

/// The status after a verdict.
fn fold(s: &Situation<'_>, verdict: &Verdict, before: &ApiGatewayStatus) -> ApiGatewayStatus {
    let mut status = before.clone();
    if matches!(before.phase, Some(Phase::Unknown(_))) {
        // Whatever else it says is for the version that wrote it.
        status.conditions = conditions::of(s, &status);
        return status;
    }
    if let Verdict::Go(movement) = verdict {
        transition(s, movement, &mut status);
    }
    forget_failure(s, &mut status);
    take_up_requests(s, verdict, &mut status);
    hold_clock(s, &mut status);
    claim_host(s, &mut status);
    report_workload(s, &mut status);
    status.observed_generation = s.gateway.metadata.generation;
    status.conditions = conditions::of(s, &status);
    status
}

fn transition(s: &Situation<'_>, movement: &Move, status: &mut ApiGatewayStatus) {
    let now = MicroTime(s.moment.now);
    match movement.reason {
        Reason::Started => status.last_failure = None,
        Reason::StartDeadlineExceeded | Reason::RestartDeadlineExceeded if movement.phase == Phase::Started => {
            let diagnosis::Cause { reason, message, hint } = diagnosis::cause_of_failure(s);
            let attempt = status.attempt.as_ref().map_or(0, |attempt| attempt.number);
            status.last_failure = Some(Failure { reason, message, hint, at: now.clone(), attempt });
        }
        _ => {}
    }
    if movement.attempt != NextAttempt::None {
        let last = status.attempt.as_ref();
        let left = last.and_then(|attempt| attempt.retries_left);
        status.attempt = Some(Attempt {
            number: last.map_or(0, |attempt| attempt.number) + 1,
            started_at: now.clone(),
            held_seconds: 0,
            held_since: None,
            retries_left: match movement.attempt {
                NextAttempt::Asked => s.gateway.spec.start_retries.as_ref().map(|retries| retries.limit),
                NextAttempt::Retry => left.map(|left| left - 1),
                NextAttempt::Resumed | NextAttempt::None => left,
            },
        });
    }
    if movement.restarts_pods {
        status.restarts += 1;
    }
    status.history.push(Transition {
        at: now,
        from: status.phase.take(),
        to: movement.phase.clone(),
        state: movement.state,
        reason: movement.reason,
        message: story(s, movement, status),
        seconds: i64::try_from(s.moment.phase.as_secs()).unwrap_or(i64::MAX),
    });
    let surplus = status.history.len().saturating_sub(HISTORY_LENGTH);
    status.history.drain(..surplus);
    status.phase = Some(movement.phase.clone());
    status.state = Some(movement.state);
    status.transitions += 1;
}

/// A transition in words, for the history.
fn story(s: &Situation<'_>, movement: &Move, status: &ApiGatewayStatus) -> String {
    let number = status.attempt.as_ref().map_or(0, |attempt| attempt.number);
    let limit = conditions::human(deadline::limit(s.gateway, s.settings));
    match (movement.reason, &movement.phase) {
        (Reason::StartRequested, _) => format!("attempt {number} begins; it may take {limit}"),
        (Reason::RestartRequested, _) => format!("restart as attempt {number}; it may take {limit}"),
        (Reason::RetryScheduled, _) => format!("the operator tries again: attempt {number}"),
        (Reason::Resumed, _) => {
            format!("the operator was away when the deadline passed: attempt {number} gets its {limit}")
        }
        (Reason::Started, _) => format!("attempt {number} succeeded"),
        (Reason::StartDeadlineExceeded, Phase::Started) => {
            let cause = status.last_failure.as_ref().map_or("", |failure| failure.message.as_str());
            format!("attempt {number} did not finish within {limit}: {cause}")
        }
        (Reason::StartDeadlineExceeded, _) => "what the failed attempt created is removed".to_owned(),
        (Reason::RestartDeadlineExceeded, _) => {
            format!("the restart did not finish within {limit}; the old pods go on serving")
        }
        (Reason::StopRequested, _) => "spec.state is Stopped".to_owned(),
        (Reason::Stopped, _) => "nothing of the gateway runs any more".to_owned(),
        (Reason::Deleting, _) => "somebody deleted it".to_owned(),
        (Reason::RegistryUnavailable, _) => {
            let words = s.observed.registry.unavailable.as_deref().unwrap_or_default();
            format!("the registry does not answer: {words}")
        }
        (reason, _) => match s.obstacle() {
            Some(obstacle) => diagnosis::obstacle_cause(s, &obstacle).message,
            None => reason.to_string(),
        },
    }
}

/// The failure of a restart is over when the workload is ready, or when the user asks for
/// something new. That of a start is over with the next successful one.
fn forget_failure(s: &Situation<'_>, status: &mut ApiGatewayStatus) {
    let served_before = s.phase() == Some(&Phase::Started) && s.state() == Some(State::Running);
    if served_before && (readiness::workload_ready(s.observed) || s.requests.start) {
        status.last_failure = None;
    }
}

/// Tokens are taken up on every entry into Starting, on every spec change while the gateway
/// serves, and always while the user asks for a stop; else they wait.
fn take_up_requests(s: &Situation<'_>, verdict: &Verdict, status: &mut ApiGatewayStatus) {
    // A stop that was asked is taken up whatever else holds.
    if s.gateway.spec.suspend && s.asked_to_run() {
        return;
    }
    let now = requests::tokens(s.gateway);
    let Some(handled) = &mut status.handled else {
        status.handled = Some(now);
        return;
    };
    let begins = matches!(verdict, Verdict::Go(movement) if movement.phase == Phase::Starting);
    let serves = status.phase == Some(Phase::Started) && status.state == Some(State::Running);
    let changed = handled.spec_hash != now.spec_hash || handled.state != now.state;
    if begins || !s.asked_to_run() || (serves && changed && !s.requests.restart) {
        *handled = now;
    } else if !s.requests.start {
        // Of another version of the hash, or equal.
        handled.spec_hash = now.spec_hash;
    }
}

fn hold_clock(s: &Situation<'_>, status: &mut ApiGatewayStatus) {
    let starting = status.phase == Some(Phase::Starting);
    let Some(attempt) = &mut status.attempt else { return };
    match (starting && s.clock_is_held(), &attempt.held_since) {
        (true, None) => attempt.held_since = Some(MicroTime(s.moment.now)),
        (false, Some(_)) => {
            // Rounded up: a clock that was held never runs faster for it.
            let held = s.moment.held.as_millis().div_ceil(1000);
            attempt.held_seconds += i64::try_from(held).unwrap_or(i64::MAX);
            attempt.held_since = None;
        }
        _ => {}
    }
}

/// A claim is recorded with the start, or when the spec names another free host. It lasts
/// until the spec drops the host, while the gateway is stopped too.
fn claim_host(s: &Situation<'_>, status: &mut ApiGatewayStatus) {
    if s.gateway.spec.suspend {
        return;
    }
    match &s.gateway.spec.host {
        None => status.hosts.clear(),
        Some(host) => {
            let begun =
                matches!(status.phase, Some(Phase::Starting | Phase::Started)) && status.state != Some(State::Stopped);
            let held = status.hosts.iter().any(|claim| claim.host == *host);
            if status.phase == Some(Phase::Stopped) && !s.gateway.spec.suspend {
                // Nothing routes the host that it had.
                status.hosts.retain(|claim| claim.host == *host);
            }
            if begun && !held && !s.gateway.spec.suspend && s.observed.host == HostVerdict::Free {
                status.hosts = vec![HostClaim { host: host.clone(), since: MicroTime(s.moment.now) }];
            }
        }
    }
}

fn report_workload(s: &Situation<'_>, status: &mut ApiGatewayStatus) {
    let observed = s.observed;
    status.selector = Some(children::selector(s.gateway));
    let running = match (&status.phase, status.state) {
        (Some(Phase::Starting), Some(State::Restarting)) => true,
        (Some(Phase::Started), state) => state != Some(State::Stopped),
        _ => false,
    };
    let stopped = matches!(status.phase, Some(Phase::Stopped));
    if running {
        status.url = observed.ingress.is_ours().then(|| children::url(s.gateway)).flatten();
        status.replicas = Some(observed.rollout.replicas);
        status.ready_replicas = Some(observed.rollout.ready);
    } else {
        status.url = None;
        if stopped {
            status.replicas = Some(0);
            status.ready_replicas = Some(0);
        }
    }
    if running || stopped {
        let count = |wanted: fn(&observed::EnvironmentFacts) -> bool| {
            i32::try_from(observed.environments.iter().filter(|environment| wanted(environment)).count())
                .unwrap_or(i32::MAX)
        };
        status.environments = (!observed.environments.is_empty())
            .then(|| EnvironmentCount { active: count(|environment| environment.active), total: count(|_| true) });
    }
}

/// Whether a status is worth a write: all of it but the replica counts, which go along with
/// something else.
fn says_something_new(before: &ApiGatewayStatus, after: &ApiGatewayStatus) -> bool {
    let mut same = after.clone();
    same.replicas = before.replicas;
    same.ready_replicas = before.ready_replicas;
    same != *before
}

fn notes(verdict: &Verdict, before: &ApiGatewayStatus, after: &ApiGatewayStatus) -> Vec<Note> {
    let mut notes = Vec::new();
    if let (Verdict::Go(movement), Some(last)) = (verdict, after.history.last()) {
        let warning = match (movement.reason, &movement.phase) {
            (Reason::Started | Reason::Stopped | Reason::Resumed | Reason::RetryScheduled, _) => Some(false),
            (Reason::StartDeadlineExceeded | Reason::RestartDeadlineExceeded, Phase::Started) => Some(true),
            _ => None,
        };
        if let Some(warning) = warning {
            notes.push(Note { warning, reason: movement.reason, message: last.message.clone() });
        }
    }
    for type_ in [condition::STALLED, condition::RECONCILING] {
        if let Some((reason, message)) = conditions::trouble(after, type_)
            && conditions::trouble(before, type_).is_none_or(|(earlier, _)| earlier != reason)
            && notes.iter().all(|note| note.reason != reason)
        {
            notes.push(Note { warning: true, reason, message: message.to_owned() });
        }
    }
    notes
}

/// Somebody else's words, on one line and at most 300 characters long: a condition's message
/// and an Event's note have limits.
pub fn say(words: &str) -> String {
    const LONGEST: usize = 300;
    let line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests;
