//! The state machine: first match wins, from top to bottom, as ARCHITECTURE.md's table has it.

use std::time::Duration;

use super::observed::{Child, EnvironmentFacts, Presence};
use super::place::Place;
use super::plan::{Move, NextAttempt, Stay, Step, Verdict};
use super::situation::{DueStart, ORPHAN_FINALIZER, Situation};
use super::{deadline, diagnosis, readiness};
use crate::api::{Phase, Reason, State};

/// Every transition that there is. Anything else in a history is a fault.
pub const EDGES: &[(Place, Place)] = &[
    (Place::New, Place::Created),
    (Place::New, Place::Starting),
    (Place::New, Place::Stopped),
    (Place::Created, Place::Starting),
    (Place::Created, Place::Stopped),
    (Place::Starting, Place::Starting),
    (Place::Starting, Place::Started),
    (Place::Starting, Place::TimedOut),
    (Place::Starting, Place::Stopping),
    (Place::Restarting, Place::Restarting),
    (Place::Restarting, Place::Started),
    (Place::Restarting, Place::TimedOut),
    (Place::Restarting, Place::Stopping),
    (Place::Started, Place::Restarting),
    (Place::Started, Place::Stopping),
    (Place::TimedOut, Place::Starting),
    (Place::TimedOut, Place::Stopping),
    (Place::Stopping, Place::Stopped),
    (Place::Stopped, Place::Starting),
    (Place::New, Place::Deleting),
    (Place::Created, Place::Deleting),
    (Place::Starting, Place::Deleting),
    (Place::Restarting, Place::Deleting),
    (Place::Started, Place::Deleting),
    (Place::TimedOut, Place::Deleting),
    (Place::Stopping, Place::Deleting),
    (Place::Stopped, Place::Deleting),
];

/// Judges one gateway.
pub fn judge(s: &Situation<'_>) -> Verdict {
    if s.gateway.is_being_deleted() {
        return if s.is_left_to_garbage_collection() { rest() } else { deleting(s) };
    }
    if s.place().is_none() {
        return rest();
    }
    if s.observed.registry.answers() && !s.has_finalizer() {
        return Verdict::Stay(Stay { status_after: Some(Step::AddFinalizer), ..at_once(vec![Step::AddFinalizer]) });
    }
    let verdict = if s.gateway.spec.is_left_alone() { left_alone(s) } else { by_phase(s) };
    let registry = &s.observed.registry;
    match verdict {
        Verdict::Stay(stay) => Verdict::Stay(with_what_is_owed(s, stay)),
        // The platform is to see that its gateway timed out before it sees it being stopped.
        Verdict::Go(movement) if s.place() == Some(Place::TimedOut) && registry.answers() && !registry.reported => {
            Verdict::Stay(Stay { if_registry_fails: Some(movement), ..at_once(vec![Step::Report]) })
        }
        moves => moves,
    }
}

/// What is to be written to the registry comes after the other steps.
fn with_what_is_owed(s: &Situation<'_>, mut stay: Stay) -> Stay {
    for step in owed(s) {
        // What is told unblocks nothing; the rest is looked at again once it is done.
        if step != Step::Report {
            stay.wake = Some(Duration::ZERO);
        }
        // A new gateway is recorded before its first transition.
        if step == Step::Record && s.place() == Some(Place::New) {
            stay.status_after = Some(step);
        }
        stay.steps.push(step);
    }
    stay
}

fn by_phase(s: &Situation<'_>) -> Verdict {
    match s.place() {
        Some(Place::New | Place::Created) => begin(s),
        Some(Place::Starting | Place::Restarting) => starting(s),
        Some(Place::Started) => started(s),
        Some(Place::TimedOut) => timed_out(s),
        Some(Place::Stopping) => stopping(s),
        Some(Place::Stopped) => stopped(s),
        Some(Place::Deleting) | None => rest(),
    }
}

/// Nothing is written, but what others may have by now is not routed any longer.
fn left_alone(s: &Situation<'_>) -> Verdict {
    stay(withdraw_routes(s), None)
}

/// What is to be written to the registry of a gateway whose phase stays. Documents follow the objects: a
/// gateway is recorded first, and told last.
fn owed(s: &Situation<'_>) -> Vec<Step> {
    let registry = &s.observed.registry;
    if !registry.answers() {
        return Vec::new();
    }
    if !registry.recorded {
        return vec![Step::Record];
    }
    [
        (registry.to_activate, Step::ActivateDocuments),
        (registry.to_deactivate, Step::DeactivateDocuments),
        (!registry.reported, Step::Report),
    ]
    .into_iter()
    .filter_map(|(due, step)| due.then_some(step))
    .collect()
}

/// The way of a gateway that carries a finalizer: ours, or somebody else's, who does not decide how long it serves.
fn deleting(s: &Situation<'_>) -> Verdict {
    let registry = &s.observed.registry;
    if !registry.external && s.has_finalizer() {
        // Left by an operator with another registry.
        return let_go(Vec::new());
    }
    // `kubectl delete --cascade=orphan`: its children stay, and are let go of first.
    if s.has(ORPHAN_FINALIZER) {
        return rest();
    }
    // Of a phase of another version it is not known what is there; it is only forgotten.
    if let Some(place) = s.place() {
        if place != Place::Deleting {
            return go(Phase::Deleting, State::Stopped, Reason::Deleting);
        }
        let pods = &s.observed.pods;
        let children_gone = !s.observed.children().iter().any(|(_, presence)| presence.is_ours());
        if !children_gone || (pods.total > 0 && !s.is_stuck()) {
            let mut steps = teardown(s);
            if !s.observed.ingress.is_ours() {
                steps.extend(owed(s).into_iter().filter(|step| *step != Step::Record));
            }
            return stay(steps, until_stuck(s));
        }
    }
    if !s.has_finalizer() {
        return stay(Vec::new(), until_stuck(s));
    }
    let left = s.settings.registry_deletion_timeout.saturating_sub(s.moment.deletion);
    match (&registry.unavailable, registry.forgotten) {
        (None, true) => let_go(Vec::new()),
        // What is left behind is removed by intake later.
        (Some(_), _) if left.is_zero() => let_go(Vec::new()),
        (None, false) if left.is_zero() => let_go(vec![Step::Forget]),
        (Some(_), _) => stay(Vec::new(), Some(left)),
        (None, false) => Verdict::Stay(at_once(vec![Step::Forget])),
    }
}

fn begin(s: &Situation<'_>) -> Verdict {
    if !s.asked_to_run() {
        return go(Phase::Stopped, State::Stopped, Reason::StopRequested);
    }
    let held_by = match s.obstacle() {
        Some(obstacle) => Some(obstacle.reason()),
        None => s.observed.registry.unavailable.as_ref().map(|_| Reason::RegistryUnavailable),
    };
    let is_new = s.place() == Some(Place::New);
    match held_by {
        Some(reason) if is_new => go(Phase::Created, State::Running, reason),
        Some(_) => held(s),
        // It is recorded first. Where that fails, the gateway waits for the registry like one that found it away.
        None if !s.observed.registry.recorded => {
            let waits = Move::to(Phase::Created, State::Running, Reason::RegistryUnavailable);
            let if_registry_fails = is_new.then_some(waits);
            Verdict::Stay(Stay { if_registry_fails, ..Stay::default() })
        }
        None => start(State::Running, Reason::StartRequested, NextAttempt::Asked),
    }
}

fn starting(s: &Situation<'_>) -> Verdict {
    let state = s.state().unwrap_or(State::Running);
    if !s.asked_to_run() {
        return go(Phase::Stopping, State::Stopped, Reason::StopRequested);
    }
    if s.ready() {
        return go(Phase::Started, State::Running, Reason::Started);
    }
    // What is asked meanwhile begins once it is allowed.
    if s.keeps_pods() {
        return held(s);
    }
    if s.requests.start || s.requests.restart {
        let reason = if s.requests.restart { Reason::RestartRequested } else { Reason::StartRequested };
        let begins = Move::to(Phase::Starting, state, reason);
        return Verdict::Go(Move { attempt: NextAttempt::Asked, restarts_pods: s.requests.restart, ..begins });
    }
    if s.obstacle().is_some() {
        return held(s);
    }
    if s.waits_for_others() {
        return listening(s, None);
    }
    let left = deadline::left(s.gateway, s.moment, s.settings);
    if left.is_zero() {
        if readiness::something_missing(s.observed) && !s.observed.tried {
            return start(state, Reason::Resumed, NextAttempt::Resumed);
        }
        if s.place() == Some(Place::Restarting) && s.observed.rollout.available >= 1 {
            return give_up(State::Running, Reason::RestartDeadlineExceeded);
        }
        // Who serves is worth more than what is still missing, which comes by itself.
        if readiness::serves(s.observed) && !s.settings.stop_partial_starts {
            return give_up(State::Running, Reason::StartDeadlineExceeded);
        }
        return give_up(State::Stopped, Reason::StartDeadlineExceeded);
    }
    listening(s, Some(left))
}

fn timed_out(s: &Situation<'_>) -> Verdict {
    if (s.requests.start || s.requests.restart) && !s.keeps_pods() {
        return start(State::Running, Reason::StartRequested, NextAttempt::Asked);
    }
    go(Phase::Stopping, State::Stopped, Reason::StartDeadlineExceeded)
}

fn started(s: &Situation<'_>) -> Verdict {
    if !s.asked_to_run() {
        return go(Phase::Stopping, State::Stopped, Reason::StopRequested);
    }
    if s.requests.restart && !s.keeps_pods() {
        let begins = Move::to(Phase::Starting, State::Restarting, Reason::RestartRequested);
        return Verdict::Go(Move { attempt: NextAttempt::Asked, restarts_pods: true, ..begins });
    }
    listening(s, None)
}

/// The children are written where they differ, and a pod is listened to that does not say why it is not ready, or why it
/// ended.
fn listening(s: &Situation<'_>, wake: Option<Duration>) -> Verdict {
    let mut stay = apply(s);
    let events = diagnosis::events_are_due_in(s);
    if events == Some(Duration::ZERO) {
        stay.steps.push(Step::ReadEvents);
    }
    let looks = [wake, events, diagnosis::patience_ends_in(s), stay.wake];
    Verdict::Stay(Stay { wake: looks.into_iter().flatten().min(), ..stay })
}

fn stopping(s: &Situation<'_>) -> Verdict {
    let children_gone = !s.observed.children().iter().any(|(_, presence)| presence.is_ours());
    let environments_inactive = !s.observed.environments.iter().any(|environment| environment.active);
    if children_gone && environments_inactive && !s.observed.registry.to_deactivate {
        let pods = &s.observed.pods;
        let only_terminating = pods.terminating == pods.total;
        if pods.total == 0 || (only_terminating && s.is_stuck() && s.asked_to_run()) {
            return go(Phase::Stopped, State::Stopped, Reason::Stopped);
        }
    }
    stay(teardown(s), until_stuck(s))
}

/// In how long a stop is to be called stuck.
fn until_stuck(s: &Situation<'_>) -> Option<Duration> {
    let left = s.settings.cleanup_stuck_after.saturating_sub(s.moment.phase);
    (!left.is_zero()).then_some(left)
}

fn stopped(s: &Situation<'_>) -> Verdict {
    if s.observed.children().iter().any(|(_, presence)| presence.is_ours()) {
        return stay(teardown(s), s.child_is_late_in());
    }
    let due = match s.due_start() {
        Some(due) => due,
        None => return rest(),
    };
    if s.obstacle().is_some() {
        return stay(Vec::new(), until_stalled(s));
    }
    match due {
        DueStart::Asked => start(State::Running, Reason::StartRequested, NextAttempt::Asked),
        DueStart::Retry { wait } if wait.is_zero() => start(State::Running, Reason::RetryScheduled, NextAttempt::Retry),
        DueStart::Retry { wait } => stay(Vec::new(), Some(wait)),
    }
}

/// What has to be written so that the children are as desired.
fn apply(s: &Situation<'_>) -> Stay {
    let mut steps = Vec::new();
    let mut yields_after = None;
    let writes = &s.observed.writes;
    for (child, presence) in s.observed.children() {
        let may_route = child != Child::Ingress || s.may_route();
        match presence {
            // What runs is left as it is, and a budget for it.
            _ if s.keeps_pods() && matches!(child, Child::Deployment | Child::PodDisruptionBudget) => {}
            // Whoever changed it would change it again.
            Presence::Missing | Presence::Different(_) if !writes.wait(child).is_zero() => {}
            Presence::Missing if may_route => {
                // The pods start while others have their turn; what remains can wait a moment.
                if steps.first() == Some(&Step::Create(Child::Deployment)) {
                    yields_after = Some(Step::Create(Child::Deployment));
                }
                steps.push(Step::Create(child));
            }
            Presence::Different(_) if may_route || s.keeps_routes() => steps.push(Step::Update(child)),
            // It comes back as Missing.
            Presence::Unwanted | Presence::Immutable => steps.push(Step::Delete(child)),
            _ => {}
        }
    }
    // Those of a started gateway are switched on by their own decision.
    if s.place().is_some_and(Place::is_attempt)
        && readiness::workload_ready(s.observed)
        && s.observed.environments.iter().any(EnvironmentFacts::is_to_be_activated)
    {
        steps.push(Step::ActivateEnvironments);
    }
    let wake = contests(s).into_iter().chain(s.child_is_late_in()).min();
    Stay { steps, yields_after, wake, ..Stay::default() }
}

/// When a child that somebody changes again and again may be put right, or is forgotten to be one.
fn contests(s: &Situation<'_>) -> Option<Duration> {
    let repaired = s.observed.writes.repaired.iter();
    let dues = repaired.filter_map(|repaired| {
        let is_settled = s.observed.child(repaired.last.child).is_settled();
        let due = if is_settled { repaired.calm_in } else { repaired.wait };
        (!due.is_zero() && (!is_settled || repaired.is_contested())).then_some(due)
    });
    dues.min()
}

/// Somebody or something is in the way. What is routed meanwhile is only what the gateway may have.
fn held(s: &Situation<'_>) -> Verdict {
    stay(withdraw_routes(s), until_stalled(s))
}

/// When it is to be said that what is in the way does not go by itself.
fn until_stalled(s: &Situation<'_>) -> Option<Duration> {
    s.collection_is_late_in().filter(|left| !left.is_zero())
}

/// What has to be written so that a gateway that may not have what its spec asks routes nothing
/// that is another's by now.
fn withdraw_routes(s: &Situation<'_>) -> Vec<Step> {
    match &s.observed.ingress {
        Presence::Different(_) if s.keeps_routes() => vec![Step::Update(Child::Ingress)],
        Presence::Unwanted if s.keeps_routes() => vec![Step::Delete(Child::Ingress)],
        _ => Vec::new(),
    }
}

/// What has to be deleted next. Traffic is taken away first, and the rest waits until the
/// Ingress is gone.
fn teardown(s: &Situation<'_>) -> Vec<Step> {
    let deletable =
        |presence: &Presence| presence.is_ours() && !matches!(presence, Presence::Terminating | Presence::Expected);
    if s.observed.ingress.is_ours() {
        return if deletable(&s.observed.ingress) { vec![Step::Delete(Child::Ingress)] } else { Vec::new() };
    }
    let mut steps = Vec::new();
    // Those of a gateway that goes are switched off by their own decision.
    if s.place() != Some(Place::Deleting) && s.observed.environments.iter().any(|environment| environment.active) {
        steps.push(Step::DeactivateEnvironments);
    }
    for (child, presence) in [
        (Child::PodDisruptionBudget, &s.observed.disruption_budget),
        (Child::Service, &s.observed.service),
        (Child::Deployment, &s.observed.deployment),
    ] {
        if deletable(presence) {
            steps.push(Step::Delete(child));
        }
    }
    steps
}

fn rest() -> Verdict {
    Verdict::Stay(Stay::default())
}

fn stay(steps: Vec<Step>, wake: Option<Duration>) -> Verdict {
    Verdict::Stay(Stay { steps, wake, ..Stay::default() })
}

/// The last step of a gateway, after which there is nothing to look at and nothing to be written.
fn let_go(mut steps: Vec<Step>) -> Verdict {
    steps.push(Step::RemoveFinalizer);
    Verdict::Stay(Stay { steps, status_after: Some(Step::RemoveFinalizer), ..Stay::default() })
}

/// These steps, and another look once they are done.
fn at_once(steps: Vec<Step>) -> Stay {
    Stay { steps, wake: Some(Duration::ZERO), ..Stay::default() }
}

fn go(phase: Phase, state: State, reason: Reason) -> Verdict {
    Verdict::Go(Move::to(phase, state, reason))
}

fn start(state: State, reason: Reason, attempt: NextAttempt) -> Verdict {
    Verdict::Go(Move { attempt, ..Move::to(Phase::Starting, state, reason) })
}

/// The attempt is over, and failed.
fn give_up(state: State, reason: Reason) -> Verdict {
    Verdict::Go(Move { gives_up: true, ..Move::to(Phase::Started, state, reason) })
}
