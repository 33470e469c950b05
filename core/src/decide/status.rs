//! The status after a decision: what is recorded of the move, the requests, the clock, the host and the workload.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::observed::{self, HostVerdict};
use super::place::Place;
use super::plan::{Move, NextAttempt};
use super::situation::{Obstacle, Situation};
use super::{cleanup, conditions, deadline, diagnosis, outage, readiness, requests, words};
use crate::api::{
    Accepted, ApiGatewayStatus, Attempt, ContestedField, EnvironmentCount, Failure, HISTORY_LENGTH, HostClaim, Others,
    Phase, Reason, State, StoredChange, Transition,
};
use crate::children::{self, taken_up};

/// The status after a decision, which may move.
pub(super) fn fold(s: &Situation<'_>, movement: Option<&Move>, before: &ApiGatewayStatus) -> ApiGatewayStatus {
    let mut status = before.clone();
    if Place::of_status(before).is_none() {
        // Whatever else it says is for the version that wrote it.
        status.conditions = conditions::outlook(s, &status).conditions(s, &before.conditions, true);
        return status;
    }
    if let Some(movement) = movement {
        transition(s, movement, &mut status);
    }
    forget_failure(s, &mut status);
    take_up_requests(s, movement, &mut status);
    hold_clock(s, movement, &mut status);
    claim_host(s, &mut status);
    report_workload(s, &mut status);
    report_writes(s, &mut status);
    status.observed_generation = s.gateway.metadata.generation;
    tell(s, before, &mut status);
    status
}

/// Says how the gateway is. Others' words are kept as long as they are about the same.
fn tell(s: &Situation<'_>, before: &ApiGatewayStatus, status: &mut ApiGatewayStatus) {
    let outlook = conditions::outlook(s, status);
    // Whose messages say one thing alone.
    let says_one_thing = outlook.subject.as_ref().is_none_or(|subject| subject.beside.is_none());
    let unknown = before.subject.is_none() && says_one_thing;
    let conditions = |keeps_words| outlook.conditions(s, &before.conditions, keeps_words);
    status.conditions = conditions(unknown || before.subject == outlook.subject);
    if unknown && outlook.subject.is_some() {
        // The last release did not record what its messages are about. That alone is no write.
        if !says_something_new(before, status) {
            return;
        }
        status.conditions = conditions(false);
    }
    status.subject = outlook.subject;
}

fn transition(s: &Situation<'_>, movement: &Move, status: &mut ApiGatewayStatus) {
    let now = MicroTime(s.moment.now);
    match movement.reason {
        Reason::Started => status.last_failure = None,
        Reason::StartDeadlineExceeded | Reason::RestartDeadlineExceeded if movement.phase == Phase::Started => {
            let diagnosis::Cause { reason, message, hint, image: _, beside: _ } =
                diagnosis::cause_of_failure(s, movement.state);
            let attempt = status.attempt.as_ref().map_or(0, |attempt| attempt.number);
            let [message, hint] = [message, hint].map(|words| words::plain(&words));
            status.last_failure =
                Some(Failure { reason, message, hint, at: now.clone(), attempt, others: Others::new() });
        }
        _ => {}
    }
    if movement.attempt != NextAttempt::None {
        let last = status.attempt.as_ref();
        let left = last.and_then(|attempt| attempt.retries_left);
        status.attempt = Some(Attempt {
            number: last.map_or(0, |attempt| attempt.number).saturating_add(1),
            started_at: now.clone(),
            held_seconds: 0,
            held_since: None,
            retries_left: match movement.attempt {
                NextAttempt::Asked => s.gateway.spec.start_retries.as_ref().map(|retries| retries.limit),
                NextAttempt::Retry => left.map(|left| left.saturating_sub(1)),
                NextAttempt::Resumed | NextAttempt::None => left,
            },
            others: Others::new(),
        });
    }
    if movement.restarts_pods {
        status.restarts = status.restarts.saturating_add(1);
    }
    status.history.push(Transition {
        at: now,
        from: status.phase.take(),
        to: movement.phase.clone(),
        state: movement.state,
        reason: movement.reason,
        message: words::plain(&story(s, movement, status)),
        seconds: i64::try_from(s.moment.phase.as_secs()).unwrap_or(i64::MAX),
        others: Others::new(),
    });
    let surplus = status.history.len().saturating_sub(HISTORY_LENGTH);
    status.history.drain(..surplus);
    status.phase = Some(movement.phase.clone());
    status.state = Some(movement.state);
    status.transitions = status.transitions.saturating_add(1);
}

/// A transition in words, for the history.
fn story(s: &Situation<'_>, movement: &Move, status: &ApiGatewayStatus) -> String {
    let number = status.attempt.as_ref().map_or(0, |attempt| attempt.number);
    let limit = words::human(deadline::limit(s.gateway, s.settings));
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
            let meanwhile = match movement.state {
                State::Stopped => "",
                _ => "; the pods that are available go on serving",
            };
            format!("attempt {number} did not finish within {limit}{meanwhile}: {cause}")
        }
        (Reason::StartDeadlineExceeded, _) => "what the failed attempt created is removed".to_owned(),
        (Reason::RestartDeadlineExceeded, _) => {
            format!("the restart did not finish within {limit}; the old pods go on serving")
        }
        (Reason::StopRequested, _) => "spec.state is Stopped".to_owned(),
        (Reason::Stopped, _) => {
            let nothing = "nothing of the gateway runs any more";
            cleanup::left_alone(s).map_or_else(|| nothing.to_owned(), |pods| format!("{nothing}; {pods}"))
        }
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

/// The failure of an attempt whose gateway serves on is over when the workload is ready, or when the user asks for
/// something new. That of a start that was stopped is over with the next successful one.
fn forget_failure(s: &Situation<'_>, status: &mut ApiGatewayStatus) {
    if s.place() == Some(Place::Started) && (readiness::workload_ready(s.observed) || s.requests.start) {
        status.last_failure = None;
    }
}

/// Tokens are taken up on every entry into Starting, on every spec change while the gateway
/// serves, and always while the user asks for a stop; else they wait.
fn take_up_requests(s: &Situation<'_>, movement: Option<&Move>, status: &mut ApiGatewayStatus) {
    if s.gateway.spec.unknown_word().is_some() {
        return;
    }
    let Some(handled) = &mut status.handled else {
        if !s.gateway.spec.suspend || !s.asked_to_run() {
            status.handled = Some(requests::tokens(s.gateway));
        }
        return;
    };
    let serves = Place::of(status.phase.as_ref(), status.state) == Some(Place::Started);
    let begins = movement.is_some_and(|movement| movement.phase == Phase::Starting);
    let asked_anew = begins && movement.is_some_and(|movement| movement.attempt != NextAttempt::Resumed);
    let changed = taken_up::spec_changed(s.gateway, handled);
    let turned = changed || handled.state != s.gateway.spec.state;
    // A stop that was asked is taken up whatever else holds; nothing else is while the gateway is suspended.
    if asked_anew || !s.asked_to_run() {
        *handled = requests::tokens(s.gateway);
    } else if !s.gateway.spec.suspend && (begins || (serves && turned && !s.requests.restart)) {
        *handled = requests::tokens_going_on(s.gateway, handled);
    } else if !changed {
        *handled = taken_up::is_still(s.gateway, handled);
    }
}

fn hold_clock(s: &Situation<'_>, movement: Option<&Move>, status: &mut ApiGatewayStatus) {
    let starting = Place::of_status(status).is_some_and(Place::is_attempt);
    let begins = movement.is_some_and(|movement| movement.attempt != NextAttempt::None);
    let Some(attempt) = &mut status.attempt else { return };
    match (starting && s.clock_is_held(), &attempt.held_since) {
        (true, None) => {
            let since = if begins { Duration::ZERO } else { in_microseconds(unrecorded(s)) };
            let now = s.moment.now;
            // Not from before the attempt, whatever a clock that was set says.
            let began = attempt.started_at.0.min(now);
            attempt.held_since = Some(MicroTime(now.checked_sub(since).map_or(now, |since| since.max(began))));
        }
        (false, held_since) if held_since.is_some() || (starting && !begins) => {
            // Rounded up: a clock that was held never runs faster for it.
            let held = s.moment.held.max(s.moment.unrecorded).as_millis().div_ceil(1000);
            attempt.held_seconds = attempt.held_seconds.saturating_add(i64::try_from(held).unwrap_or(i64::MAX));
            attempt.held_since = None;
        }
        _ => {}
    }
}

/// As exactly as a moment is written.
fn in_microseconds(duration: Duration) -> Duration {
    Duration::from_micros(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}

/// For how long the clock of an attempt should have been held and the status does not say so: that could not be written either.
fn unrecorded(s: &Situation<'_>) -> Duration {
    let unanswered = s.observed.unanswered.as_ref().filter(|unanswered| outage::of_write(unanswered).is_some());
    let lasted = unanswered.map_or(Duration::ZERO, |unanswered| unanswered.lasted);
    lasted.max(s.moment.unrecorded).min(s.moment.attempt)
}

/// A claim is recorded with the start, or when the spec names another free host. It lasts
/// until the spec drops the host, while the gateway is stopped too. One that does not stand is dropped, or it would come back
/// with its age and take the host from whoever had it meanwhile.
fn claim_host(s: &Situation<'_>, status: &mut ApiGatewayStatus) {
    status.hosts.retain(|claim| !s.observed.lost.contains(&claim.host));
    if s.gateway.is_being_deleted() {
        if !s.observed.ingress.is_ours() {
            status.hosts.clear();
        }
        return;
    }
    // Left alone, its Ingress goes on routing what it routes.
    if s.gateway.spec.is_left_alone() {
        return;
    }
    let Some(host) = &s.gateway.spec.host else {
        status.hosts.clear();
        return;
    };
    let place = Place::of_status(status);
    if place == Some(Place::Stopped) {
        // Nothing routes the host that it had.
        status.hosts.retain(|claim| claim.host == *host);
    }
    // One that waits for garbage collection is about to begin, and its predecessor's Ingress may go on routing the host.
    let about_to_begin =
        place == Some(Place::Created) && matches!(s.obstacle(), Some(Obstacle::WaitingForDeletion { .. }));
    let begun = about_to_begin || matches!(place, Some(Place::Starting | Place::Restarting | Place::Started));
    let held = status.hosts.iter().any(|claim| claim.host == *host);
    if begun && !held && s.observed.host == HostVerdict::Free {
        status.hosts = vec![HostClaim { host: host.clone(), since: MicroTime(s.moment.now) }];
    }
}

fn report_workload(s: &Situation<'_>, status: &mut ApiGatewayStatus) {
    let observed = s.observed;
    status.selector = Some(children::selector(s.gateway));
    let place = Place::of_status(status);
    let running = matches!(place, Some(Place::Restarting | Place::Started));
    let stopped = place == Some(Place::Stopped);
    if running {
        let is_routed = observed.ingress.is_ours() && !status.hosts.is_empty();
        status.url = is_routed.then(|| children::url(s.gateway)).flatten();
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

/// What became of the children that were written.
fn report_writes(s: &Situation<'_>, status: &mut ApiGatewayStatus) {
    let writes = &s.observed.writes;
    status.accepted = (writes.accepted != Accepted::default()).then(|| writes.accepted.clone());
    let change = |change: &StoredChange| StoredChange {
        child: change.child.clone(),
        path: words::plain(&change.path),
        asked: words::plain(&change.asked),
        stored: words::plain(&change.stored),
    };
    status.changed = writes.changed.iter().map(change).collect();
    let contested = writes.repaired.iter().filter(|repaired| repaired.is_contested());
    status.contested = contested
        .map(|repaired| ContestedField {
            child: repaired.last.child.kind().to_owned(),
            path: words::plain(&repaired.last.path),
            manager: repaired.last.manager.as_deref().map(words::say),
        })
        .collect();
}

/// Whether a status is worth a write: all of it but the replica counts and the accepted forms, which go along with
/// something else, and the generation where the last release or older definitions left it out.
pub(super) fn says_something_new(before: &ApiGatewayStatus, after: &ApiGatewayStatus) -> bool {
    let mut same = after.clone();
    same.replicas = before.replicas;
    same.ready_replicas = before.ready_replicas;
    same.accepted.clone_from(&before.accepted);
    if let (Some(before), Some(same)) = (&before.handled, &mut same.handled)
        && before.generation.is_none()
    {
        same.generation = None;
        same.replicas = before.replicas;
        same.read_as.clone_from(&before.read_as);
    }
    same != *before
}
