//! The status after a decision: transition, requests, clock, hosts and workload.
//!
//! **Architecture invariant:** this module does not choose the transition: `phase` has chosen it, and the
//! status follows from it and the facts.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::observed::{self, HostVerdict};
use super::place::Place;
use super::plan::{Move, NextAttempt};
use super::situation::{Blocker, Situation};
use super::{cleanup, conditions, deadline, diagnosis, outage, readiness, requests, words};
use crate::api::{
    Accepted, ApiGatewayStatus, Attempt, ContestedField, EnvironmentCount, Failure, HISTORY_LENGTH, HostClaim, Phase,
    Reason, State, StoredChange, Transition, UnknownFields,
};
use crate::children::{self, taken_up};

/// Returns the status after a decision, with its change of phase if there is one.
pub(super) fn fold(s: &Situation<'_>, movement: Option<&Move>, before: &ApiGatewayStatus) -> ApiGatewayStatus {
    let mut status = before.clone();
    if Place::of_status(before).is_none() {
        // The rest belongs to the version that wrote it.
        status.conditions = conditions::condition_set(s, &status).conditions(s, &before.conditions, true);
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

/// Sets the conditions. Quoted messages stay as long as their subject does.
fn tell(s: &Situation<'_>, before: &ApiGatewayStatus, status: &mut ApiGatewayStatus) {
    let condition_set = conditions::condition_set(s, status);
    // The messages are about one cause only.
    let says_one_thing = condition_set.subject.as_ref().is_none_or(|subject| subject.beside.is_none());
    let unknown = before.subject.is_none() && says_one_thing;
    let conditions = |keeps_words| condition_set.conditions(s, &before.conditions, keeps_words);
    status.conditions = conditions(unknown || before.subject == condition_set.subject);
    if unknown && condition_set.subject.is_some() {
        // The last release recorded no subject. A subject alone is worth no write.
        if !says_something_new(before, status) {
            return;
        }
        status.conditions = conditions(false);
    }
    status.subject = condition_set.subject;
}

fn transition(s: &Situation<'_>, movement: &Move, status: &mut ApiGatewayStatus) {
    let now = MicroTime(s.moment.now);
    match movement.reason {
        Reason::Started => status.last_failure = None,
        Reason::StartDeadlineExceeded | Reason::RestartDeadlineExceeded if movement.phase == Phase::Started => {
            let diagnosis::Cause { reason, message, hint, image: _, beside: _, word: _ } =
                diagnosis::cause_of_failure(s, movement.state);
            let attempt = status.attempt.as_ref().map_or(0, |attempt| attempt.number);
            let [message, hint] = [message, hint].map(|words| words::plain(&words));
            status.last_failure =
                Some(Failure { reason, message, hint, at: now.clone(), attempt, others: UnknownFields::new() });
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
            others: UnknownFields::new(),
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
        others: UnknownFields::new(),
    });
    let surplus = status.history.len().saturating_sub(HISTORY_LENGTH);
    status.history.drain(..surplus);
    status.phase = Some(movement.phase.clone());
    status.state = Some(movement.state);
    status.transitions = status.transitions.saturating_add(1);
}

/// The message of a transition, for the history.
fn story(s: &Situation<'_>, movement: &Move, status: &ApiGatewayStatus) -> String {
    let number = status.attempt.as_ref().map_or(0, |attempt| attempt.number);
    let limit = words::human(deadline::limit(s.gateway, s.settings));
    match (movement.reason, &movement.phase) {
        (Reason::StartRequested, _) => format!("attempt {number} begins; its deadline is {limit}"),
        (Reason::RestartRequested, _) => format!("restart begins as attempt {number}; its deadline is {limit}"),
        (Reason::RetryScheduled, _) => format!("automatic retry: attempt {number} begins"),
        (Reason::Resumed, _) => {
            format!("the operator was not running at the deadline: attempt {number} begins; its deadline is {limit}")
        }
        (Reason::Started, _) => format!("attempt {number} succeeded"),
        (Reason::StartDeadlineExceeded, Phase::Started) => {
            let cause = status.last_failure.as_ref().map_or("", |failure| failure.message.as_str());
            let meanwhile = match movement.state {
                State::Stopped => "",
                _ => "; the available pods keep serving",
            };
            format!("attempt {number} did not finish within {limit}{meanwhile}: {cause}")
        }
        (Reason::StartDeadlineExceeded, _) => "the children of the failed attempt are deleted".to_owned(),
        (Reason::RestartDeadlineExceeded, _) => {
            format!("the restart did not finish within {limit}; the old pods keep serving")
        }
        (Reason::StopRequested, _) => "spec.state is Stopped".to_owned(),
        (Reason::Stopped, _) => {
            let nothing = "all children and their pods are gone";
            cleanup::left_alone(s).map_or_else(|| nothing.to_owned(), |pods| format!("{nothing}; {pods}"))
        }
        (Reason::Deleting, _) => "deletion was requested".to_owned(),
        (Reason::RegistryUnavailable, _) => {
            let unavailable = s.observed.registry.unavailable.as_deref().unwrap_or_default();
            format!("the registry is unavailable: {}", words::say(unavailable))
        }
        (reason, _) => match s.blocker() {
            Some(blocker) => diagnosis::blocker_cause(s, &blocker).message,
            None => reason.to_string(),
        },
    }
}

/// Clears the failure: of a gateway that serves on when its workload is ready or the user makes a new request;
/// of a start that was stopped with the next successful start.
fn forget_failure(s: &Situation<'_>, status: &mut ApiGatewayStatus) {
    if s.place() == Some(Place::Started) && (readiness::workload_ready(s.observed) || s.requests.start) {
        status.last_failure = None;
    }
}

/// Takes up requests: on every transition into Starting, on every spec change while the gateway serves, and
/// always while the user asks for a stop. Otherwise they wait.
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
    // A request to stop is taken up whatever else holds. While suspended, nothing else is.
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
            // Never before the attempt, even if the wall clock was set back.
            let began = attempt.started_at.0.min(now);
            attempt.held_since = Some(MicroTime(now.checked_sub(since).map_or(now, |since| since.max(began))));
        }
        (false, held_since) if held_since.is_some() || (starting && !begins) => {
            // Rounded up, so that a held clock never runs ahead.
            let held = s.moment.held.max(s.moment.unrecorded).as_millis().div_ceil(1000);
            attempt.held_seconds = attempt.held_seconds.saturating_add(i64::try_from(held).unwrap_or(i64::MAX));
            attempt.held_since = None;
        }
        _ => {}
    }
}

/// The precision of stored timestamps.
fn in_microseconds(duration: Duration) -> Duration {
    Duration::from_micros(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}

/// How long the attempt's clock should have been held without the status saying so, since the status could not
/// be written.
fn unrecorded(s: &Situation<'_>) -> Duration {
    let unanswered = s.observed.unanswered.as_ref().filter(|unanswered| outage::of_write(unanswered).is_some());
    let lasted = unanswered.map_or(Duration::ZERO, |unanswered| unanswered.lasted);
    lasted.max(s.moment.unrecorded).min(s.moment.attempt)
}

/// Claims the host: with the start, or when the spec names another free host. The claim lasts until the spec
/// drops the host, while the gateway is stopped too. A void claim is dropped; otherwise it would return with
/// its age and take the host from its new holder.
fn claim_host(s: &Situation<'_>, status: &mut ApiGatewayStatus) {
    status.hosts.retain(|claim| !s.observed.lost.contains(&claim.host));
    if s.gateway.is_being_deleted() {
        if !s.observed.is_routed() {
            status.hosts.clear();
        }
        return;
    }
    // While the gateway is left alone, its Ingress keeps its routes.
    if s.gateway.spec.is_left_alone() {
        return;
    }
    let Some(host) = s.gateway.spec.host() else {
        status.hosts.clear();
        return;
    };
    let place = Place::of_status(status);
    if place == Some(Place::Stopped) {
        // Nothing routes the earlier host.
        status.hosts.retain(|claim| claim.host == *host);
    }
    // A gateway that waits for garbage collection is about to begin, and its predecessor's Ingress may still
    // route the host.
    let about_to_begin =
        place == Some(Place::Created) && matches!(s.blocker(), Some(Blocker::WaitingForDeletion { .. }));
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
        let is_routed = observed.is_routed() && !status.hosts.is_empty();
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

/// Records the results of writes to children.
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

/// Whether a status is worth a write. Replica counts and accepted forms are not: they are written along with
/// something else. Neither is a generation that the last release or older CRDs left out.
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
