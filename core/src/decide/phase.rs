//! The state machine. The first match wins, from top to bottom, as in the table of ARCHITECTURE.md.
//!
//! **Architecture invariant:** this module words nothing. It chooses the transition and the steps;
//! `conditions`, `events` and `status` turn them into text.

use std::time::Duration;

use super::observed::{Child, EnvironmentFacts, Presence, Tried};
use super::place::Place;
use super::plan::{Move, NextAttempt, Stay, Step, Verdict};
use super::rows::Row;
use super::situation::{DueStart, ORPHAN_FINALIZER, Situation};
use super::{deadline, diagnosis, readiness};
use crate::api::{Phase, Reason, State};

/// Every possible transition. Any other in a history is a defect.
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

/// The verdict about one gateway.
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
        // The platform sees the timeout before it sees the stop.
        Verdict::Go(movement) if s.place() == Some(Place::TimedOut) && registry.answers() && !registry.reported => {
            Verdict::Stay(Stay { if_registry_fails: Some(movement), ..at_once(vec![Step::Report]) })
        }
        moves => moves,
    }
}

/// Registry writes come after the other steps.
fn with_what_is_owed(s: &Situation<'_>, mut stay: Stay) -> Stay {
    for step in owed(s) {
        // A report unblocks nothing; after any other write the gateway is requeued.
        if step != Step::Report {
            stay.requeue_after = Some(Duration::ZERO);
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

/// Writes nothing, except that routes of hosts that belong to others by now are withdrawn.
fn left_alone(s: &Situation<'_>) -> Verdict {
    stay(withdraw_routes(s), None)
}

/// Pending registry writes of a gateway whose phase stays. Documents follow objects: recorded first, reported
/// last.
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

/// The deletion of a gateway with a finalizer. A finalizer of others does not decide how long the gateway
/// serves.
fn deleting(s: &Situation<'_>) -> Verdict {
    let registry = &s.observed.registry;
    if !registry.external && s.has_finalizer() {
        // Left by an operator with another registry.
        return remove_finalizer(Vec::new());
    }
    // `kubectl delete --cascade=orphan`: the children stay and are orphaned first.
    if s.has(ORPHAN_FINALIZER) {
        return rest();
    }
    // In a phase of another version it is unknown what exists; the registry only forgets the gateway.
    if let Some(place) = s.place() {
        if place != Place::Deleting {
            return go(Row::Deletion, Phase::Deleting, State::Stopped, Reason::Deleting);
        }
        let pods = &s.observed.pods;
        let children_gone = !s.observed.children().iter().any(|(_, presence)| presence.is_ours());
        if !children_gone || (pods.total > 0 && !s.is_stuck()) {
            let mut steps = teardown(s);
            if !s.observed.is_routed() {
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
        (None, true) => remove_finalizer(Vec::new()),
        // Intake removes the leftovers later.
        (Some(_), _) if left.is_zero() => remove_finalizer(Vec::new()),
        (None, false) if left.is_zero() => remove_finalizer(vec![Step::Forget]),
        (Some(_), _) => stay(Vec::new(), Some(left)),
        (None, false) => Verdict::Stay(at_once(vec![Step::Forget])),
    }
}

fn begin(s: &Situation<'_>) -> Verdict {
    if !s.asked_to_run() {
        return go(Row::NeverStarted, Phase::Stopped, State::Stopped, Reason::StopRequested);
    }
    let held_by = match s.blocker() {
        Some(blocker) => Some(blocker.reason()),
        None => s.observed.registry.unavailable.as_ref().map(|_| Reason::RegistryUnavailable),
    };
    let is_new = s.place() == Some(Place::New);
    match held_by {
        Some(reason) if is_new => go(Row::Blocked, Phase::Created, State::Running, reason),
        Some(_) => held(s),
        // The gateway is recorded first. If that fails, it waits for the registry as if that had been
        // unavailable.
        None if !s.observed.registry.recorded => {
            let waits = Move::to(Row::Blocked, Phase::Created, State::Running, Reason::RegistryUnavailable);
            let if_registry_fails = is_new.then_some(waits);
            Verdict::Stay(Stay { if_registry_fails, ..Stay::default() })
        }
        None => start(Row::FirstStart, State::Running, Reason::StartRequested, NextAttempt::Asked),
    }
}

fn starting(s: &Situation<'_>) -> Verdict {
    let state = s.state().unwrap_or(State::Running);
    if !s.asked_to_run() {
        return go(Row::Cancelled, Phase::Stopping, State::Stopped, Reason::StopRequested);
    }
    if s.ready() {
        return go(Row::Ready, Phase::Started, State::Running, Reason::Started);
    }
    // Requests wait until the spec is allowed.
    if s.keeps_pods() {
        return held(s);
    }
    if s.requests.start || s.requests.restart {
        let reason = if s.requests.restart { Reason::RestartRequested } else { Reason::StartRequested };
        let begins = Move::to(Row::NewRequest, Phase::Starting, state, reason);
        return Verdict::Go(Move { attempt: NextAttempt::Asked, restarts_pods: s.requests.restart, ..begins });
    }
    if s.blocker().is_some() {
        return held(s);
    }
    if s.waits_for_others() {
        return listening(s, None);
    }
    let left = deadline::left(s.gateway, s.moment, s.settings);
    if left.is_zero() {
        if readiness::something_missing(s.observed) && s.observed.tried == Tried::Never {
            return start(Row::Resumed, state, Reason::Resumed, NextAttempt::Resumed);
        }
        // The answer to a write tells whether admission made the difference. It may have been lost.
        if s.observed.tried != Tried::Late && readiness::differs_only(s.observed) {
            let last_writes = apply(s).steps;
            if !last_writes.is_empty() {
                return Verdict::Stay(at_once(last_writes));
            }
        }
        if s.place() == Some(Place::Restarting) && s.observed.rollout.available >= 1 {
            return give_up(Row::RestartDeadline, State::Running, Reason::RestartDeadlineExceeded);
        }
        // What serves is worth more than what is still missing, which comes by itself.
        if readiness::serves(s.observed) && !s.settings.stop_partial_starts {
            return give_up(Row::PartialStart, State::Running, Reason::StartDeadlineExceeded);
        }
        return give_up(Row::StartDeadline, State::Stopped, Reason::StartDeadlineExceeded);
    }
    listening(s, Some(left))
}

fn timed_out(s: &Situation<'_>) -> Verdict {
    if (s.requests.start || s.requests.restart) && !s.keeps_pods() {
        return start(Row::RequestAfterTimeout, State::Running, Reason::StartRequested, NextAttempt::Asked);
    }
    go(Row::CleanupAfterTimeout, Phase::Stopping, State::Stopped, Reason::StartDeadlineExceeded)
}

fn started(s: &Situation<'_>) -> Verdict {
    if !s.asked_to_run() {
        return go(Row::Stop, Phase::Stopping, State::Stopped, Reason::StopRequested);
    }
    if s.requests.restart && !s.keeps_pods() {
        let begins = Move::to(Row::Restart, Phase::Starting, State::Restarting, Reason::RestartRequested);
        return Verdict::Go(Move { attempt: NextAttempt::Asked, restarts_pods: true, ..begins });
    }
    listening(s, None)
}

/// Writes children that differ, and reads the Events of a pod whose status does not explain why it is not ready
/// or ended.
fn listening(s: &Situation<'_>, requeue_after: Option<Duration>) -> Verdict {
    let mut stay = apply(s);
    let events = diagnosis::events_are_due_in(s);
    if events == Some(Duration::ZERO) {
        stay.steps.push(Step::ReadEvents);
    }
    let looks = [requeue_after, events, diagnosis::grace_ends_in(s), stay.requeue_after];
    Verdict::Stay(Stay { requeue_after: looks.into_iter().flatten().min(), ..stay })
}

fn stopping(s: &Situation<'_>) -> Verdict {
    let children_gone = !s.observed.children().iter().any(|(_, presence)| presence.is_ours());
    let environments_inactive = !s.observed.environments.iter().any(|environment| environment.active);
    if children_gone && environments_inactive && !s.observed.registry.to_deactivate {
        let pods = &s.observed.pods;
        let only_terminating = pods.terminating == pods.total && s.is_stuck() && s.asked_to_run();
        let row = match pods.total {
            0 => Some(Row::NothingLeft),
            _ => only_terminating.then_some(Row::OnlyTerminating),
        };
        if let Some(row) = row {
            return go(row, Phase::Stopped, State::Stopped, Reason::Stopped);
        }
    }
    stay(teardown(s), until_stuck(s))
}

/// The time until a stop counts as stuck.
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
    if s.blocker().is_some() {
        return stay(Vec::new(), until_stalled(s));
    }
    match due {
        DueStart::Asked => start(Row::StartAgain, State::Running, Reason::StartRequested, NextAttempt::Asked),
        DueStart::Retry { wait } if wait.is_zero() => {
            start(Row::StartAgain, State::Running, Reason::RetryScheduled, NextAttempt::Retry)
        }
        DueStart::Retry { wait } => stay(Vec::new(), Some(wait)),
    }
}

/// The steps that bring the children to their desired state.
fn apply(s: &Situation<'_>) -> Stay {
    let mut steps = Vec::new();
    let mut yields_after = None;
    let writes = &s.observed.writes;
    for (child, presence) in s.observed.children() {
        let may_route = !child.routes() || s.may_route_by(child);
        match presence {
            // Running pods and their PodDisruptionBudget are left as they are.
            _ if s.keeps_pods() && matches!(child, Child::Deployment | Child::PodDisruptionBudget) => {}
            // In backoff: whoever changed it would change it again.
            Presence::Missing | Presence::Different(_) if !writes.wait(child).is_zero() => {}
            Presence::Missing if may_route => {
                // The pods start while other gateways have their turn; the rest can wait a moment.
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
    // A started gateway's environments are activated by their own decision.
    if s.place().is_some_and(Place::is_attempt)
        && readiness::workload_ready(s.observed)
        && s.observed.environments.iter().any(EnvironmentFacts::is_to_be_activated)
    {
        steps.push(Step::ActivateEnvironments);
    }
    let requeue_after = contests(s).into_iter().chain(s.child_is_late_in()).min();
    Stay { steps, yields_after, requeue_after, ..Stay::default() }
}

/// When a contested child may be repaired again, or its dispute is over.
fn contests(s: &Situation<'_>) -> Option<Duration> {
    let repaired = s.observed.writes.repaired.iter();
    let dues = repaired.filter_map(|repaired| {
        let is_settled = s.observed.child(repaired.last.child).is_settled();
        let due = if is_settled { repaired.calm_in } else { repaired.wait };
        (!due.is_zero() && (!is_settled || repaired.is_contested())).then_some(due)
    });
    dues.min()
}

/// The gateway is blocked. Only hosts that it may have stay routed.
fn held(s: &Situation<'_>) -> Verdict {
    stay(withdraw_routes(s), until_stalled(s))
}

/// When the blocker counts as stalled.
fn until_stalled(s: &Situation<'_>) -> Option<Duration> {
    s.collection_is_late_in().filter(|left| !left.is_zero())
}

/// The steps that withdraw routes of hosts that belong to others by now.
fn withdraw_routes(s: &Situation<'_>) -> Vec<Step> {
    let of = |child| match s.observed.child(child) {
        Presence::Different(_) if s.keeps_routes() => Some(Step::Update(child)),
        Presence::Unwanted if s.keeps_routes() => Some(Step::Delete(child)),
        _ => None,
    };
    [Child::Ingress, Child::HttpRoute].into_iter().filter_map(of).collect()
}

/// The next deletions of a teardown. Traffic is removed first; the rest waits until Ingress and HTTPRoute are
/// gone.
fn teardown(s: &Situation<'_>) -> Vec<Step> {
    let deletable =
        |presence: &Presence| presence.is_ours() && !matches!(presence, Presence::Terminating | Presence::Expected);
    if s.observed.is_routed() {
        let routes = [Child::Ingress, Child::HttpRoute].into_iter();
        return routes.filter(|child| deletable(s.observed.child(*child))).map(Step::Delete).collect();
    }
    let mut steps = Vec::new();
    // A deleted gateway's environments are deactivated by their own decision.
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

fn stay(steps: Vec<Step>, requeue_after: Option<Duration>) -> Verdict {
    Verdict::Stay(Stay { steps, requeue_after, ..Stay::default() })
}

/// The last step of a gateway's life. Nothing is observed or written after it.
fn remove_finalizer(mut steps: Vec<Step>) -> Verdict {
    steps.push(Step::RemoveFinalizer);
    Verdict::Stay(Stay { steps, status_after: Some(Step::RemoveFinalizer), ..Stay::default() })
}

/// Steps after which the gateway is requeued at once.
fn at_once(steps: Vec<Step>) -> Stay {
    Stay { steps, requeue_after: Some(Duration::ZERO), ..Stay::default() }
}

fn go(row: Row, phase: Phase, state: State, reason: Reason) -> Verdict {
    Verdict::Go(Move::to(row, phase, state, reason))
}

fn start(row: Row, state: State, reason: Reason, attempt: NextAttempt) -> Verdict {
    Verdict::Go(Move { attempt, ..Move::to(row, Phase::Starting, state, reason) })
}

/// The attempt is over and failed.
fn give_up(row: Row, state: State, reason: Reason) -> Verdict {
    Verdict::Go(Move { gives_up: true, ..Move::to(row, Phase::Started, state, reason) })
}
