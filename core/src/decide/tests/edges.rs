//! Every edge can be taken and no other is: the set of transitions over a large product of
//! situations is compared with `EDGES` both ways. On the way, what holds of every plan.

use std::collections::BTreeSet;
use std::time::Duration;

use super::builders::*;
use crate::api::{ApiGateway, ApiGatewayStatus, DesiredState, Phase, Reason};
use crate::decide::Place;
use crate::decide::observed::{Child, MissingDependency, Moment, Observed, Presence, Tried};
use crate::decide::phase::EDGES;
use crate::decide::{Plan, Step, decide, diagram};

type Edge = (Place, Place);

fn place(gateway: &ApiGateway) -> Option<Place> {
    let status = gateway.status_or_default();
    Place::of(status.phase.as_ref(), status.state)
}

pub fn gateways() -> Vec<ApiGateway> {
    let mut all: Vec<ApiGateway> = in_every_phase().into_iter().map(|(_, gateway)| gateway).collect();
    all.push(with_retries(timed_out(), 1, None));
    all.push(with_retries(stopping_after_timeout(), 1, None));
    all.push(with_retries(stopped_after_timeout(), 1, None));
    all.push(but(restarting(), |g| drop(pass(g, &rolling_out(), &after(301)))));
    all.push(hashed_by_an_older_version(stopped_after_timeout()));
    all
}

/// The same, as a registry outside Kubernetes keeps them, and as somebody deleted them.
pub fn kept_gateways() -> Vec<ApiGateway> {
    let kept = gateways().into_iter().map(|gateway| but(gateway, is_kept));
    kept.flat_map(|gateway| [gateway.clone(), but(gateway, deletes)]).collect()
}

/// What the user may have done since: every state with every request.
pub fn asked(gateway: &ApiGateway) -> Vec<ApiGateway> {
    let edits: [fn(&mut ApiGateway); 6] = [
        |_| {},
        changes_the_image,
        asks_for_a_retry,
        asks_for_a_restart,
        drops_the_host,
        |g| g.spec.replicas = Some(2),
    ];
    let states = [DesiredState::Running, DesiredState::Stopped, DesiredState::Restarting];
    states
        .into_iter()
        .flat_map(|state| edits.map(|edit| but(but(gateway.clone(), |g| g.spec.state = state), edit)))
        .collect()
}

pub fn worlds() -> Vec<Observed> {
    let foreign = || Presence::Foreign("nobody".to_owned());
    let mut worlds = vec![
        nothing(),
        coming_up(),
        rolling_out(),
        serving(),
        registry_away(nothing()),
        name_taken(nothing()),
        predecessor_goes(nothing()),
        pods(nothing(), 1, 0),
        pods(nothing(), 1, 1),
        environments(nothing(), &[true]),
        environments(serving(), &[false]),
        environments(serving(), &[true]),
        child(serving(), Child::Ingress, Presence::NotWanted),
        child(serving(), Child::Ingress, Presence::Unwanted),
        child(serving(), Child::Ingress, Presence::Terminating),
        child(serving(), Child::Ingress, foreign()),
        child(serving(), Child::Deployment, different()),
        child(serving(), Child::Deployment, foreign()),
        child(nothing(), Child::Deployment, Presence::Terminating),
        child(nothing(), Child::PodDisruptionBudget, Presence::Missing),
        child(nothing(), Child::PodDisruptionBudget, foreign()),
        child(serving(), Child::Service, Presence::Expected),
        child(serving(), Child::Ingress, Presence::Immutable),
        host_not_allowed(nothing()),
        not_allowed(nothing()),
        not_allowed(rolling_out()),
        class_not_allowed(child(serving(), Child::Ingress, different())),
        silent(rolling_out(), 30, None),
        image_not_pullable(rolling_out(), "shop-2"),
        unanswered(nothing(), Child::Deployment, webhook()),
        unanswered(child(serving(), Child::Deployment, different()), Child::Deployment, MissingDependency::Unknown),
        unanswered(
            child(serving(), Child::PodDisruptionBudget, Presence::Missing),
            Child::PodDisruptionBudget,
            webhook(),
        ),
    ];
    let taken: Vec<Observed> = [nothing(), serving()].into_iter().map(host_taken).collect();
    worlds.extend(taken);
    let untried: Vec<Observed> = worlds.iter().cloned().map(untried).collect();
    worlds.extend(untried);
    worlds
}

/// What a registry outside Kubernetes may have of a gateway.
pub fn external_worlds() -> Vec<Observed> {
    vec![
        unrecorded(nothing()),
        untold(coming_up()),
        untold(serving()),
        remembered(nothing()),
        external(registry_away(nothing())),
        external(serving()),
        external(coming_up()),
        external(rolling_out()),
        external(nothing()),
        host_taken(external(nothing())),
        external(pods(nothing(), 1, 1)),
        serving(),
        registry(environments(serving(), &[true]), |r| r.to_activate = true),
        registry(nothing(), |r| r.to_deactivate = true),
    ]
}

pub fn moments() -> [Moment; 3] {
    [after(60), Moment { failure: secs(200), ..after(400) }, Moment { failure: secs(1), ..after(5_000) }]
}

/// One situation of the product, and the plan that was made for it.
struct Case<'a> {
    gateway: &'a ApiGateway,
    observed: &'a Observed,
    moment: &'a Moment,
    plan: &'a Plan,
}

/// What holds of every plan.
const INVARIANTS: &[fn(&Case<'_>)] = &[
    a_registry_that_is_away_or_kubernetes_is_not_written_to,
    a_plan_that_moves_does_nothing_else_and_records_one_transition,
    a_plan_that_stays_records_no_transition,
    no_step_touches_what_is_not_ours_or_is_on_its_way_out,
    nothing_is_done_in_an_unknown_phase,
    events_are_read_of_those_only_that_start_or_serve,
    nobody_is_started_who_is_asked_to_be_stopped,
    nobody_is_given_up_before_the_deadline_or_untried,
    no_pod_is_made_changed_or_restarted_that_is_not_allowed,
    only_a_failed_attempt_is_told_as_given_up,
    a_decision_that_was_recorded_has_nothing_new_to_say,
];

#[test]
fn every_edge_is_taken_and_no_other_and_the_invariants_hold_everywhere() {
    let mut taken: BTreeSet<Edge> = BTreeSet::new();
    for (gateways, worlds) in [(gateways(), worlds()), (kept_gateways(), external_worlds())] {
        for gateway in &gateways.iter().flat_map(asked).collect::<Vec<_>>() {
            for (observed, moment) in worlds.iter().flat_map(|observed| moments().map(|moment| (observed, moment))) {
                let moment = &moment;
                let plan = &decide(gateway, observed, moment, &SETTINGS);
                if plan.moves {
                    let after = but(gateway.clone(), |g| g.status = plan.status.clone());
                    taken.insert((place(gateway).unwrap(), place(&after).unwrap()));
                }
                let case = Case { gateway, observed, moment, plan };
                INVARIANTS.iter().for_each(|holds| holds(&case));
            }
        }
    }
    let allowed: BTreeSet<Edge> = EDGES.iter().copied().collect();
    assert_eq!(allowed.len(), EDGES.len(), "an edge is listed twice");
    let forbidden: Vec<&Edge> = taken.difference(&allowed).collect();
    let never: Vec<&Edge> = allowed.difference(&taken).collect();
    assert!(forbidden.is_empty() && never.is_empty(), "taken but not listed: {forbidden:?}; never taken: {never:?}");
}

fn a_plan_that_moves_does_nothing_else_and_records_one_transition(case: &Case<'_>) {
    let plan = case.plan;
    if !plan.moves {
        return;
    }
    let before = case.gateway.status_or_default();
    let after = plan.status.as_ref().expect("a move is recorded");
    let last = after.history.last().expect("a move is told");
    assert_eq!((&plan.steps, plan.requeue_after), (&Vec::new(), None));
    assert_eq!(after.transitions, before.transitions + 1);
    assert_eq!(after.history.len(), before.history.len() + 1);
    assert_eq!((&last.from, Some(&last.to), Some(last.state)), (&before.phase, after.phase.as_ref(), after.state));
    assert!(!last.message.is_empty());
}

fn no_pod_is_made_changed_or_restarted_that_is_not_allowed(case: &Case<'_>) {
    let Case { gateway, observed, plan, .. } = case;
    if observed.violations.pods.is_none() {
        return;
    }
    let writes = [Step::Create(Child::Deployment), Step::Update(Child::Deployment)];
    assert!(!plan.steps.iter().any(|step| writes.contains(step)), "{:?}", plan.steps);
    let number = |status: &ApiGatewayStatus| status.attempt.as_ref().map(|attempt| attempt.number);
    let after = plan.status.as_ref().map(|after| (number(after), after.restarts));
    let before = gateway.status_or_default();
    assert!(after.is_none_or(|after| after == (number(&before), before.restarts)), "{:?}", place(gateway));
}

fn a_plan_that_stays_records_no_transition(case: &Case<'_>) {
    if let (false, Some(after)) = (case.plan.moves, &case.plan.status) {
        let before = case.gateway.status_or_default();
        assert_eq!((&after.phase, after.state), (&before.phase, before.state));
        assert_eq!((after.transitions, &after.history), (before.transitions, &before.history));
    }
}

fn no_step_touches_what_is_not_ours_or_is_on_its_way_out(case: &Case<'_>) {
    for step in &case.plan.steps {
        let (Step::Create(child) | Step::Update(child) | Step::Delete(child)) = step else { continue };
        let (_, presence) = case.observed.children().into_iter().find(|(other, _)| other == child).unwrap();
        let right = match step {
            Step::Create(_) => *presence == Presence::Missing,
            Step::Update(_) => matches!(presence, Presence::Different(_)),
            _ => presence.is_ours() && !matches!(presence, Presence::Terminating | Presence::Expected),
        };
        assert!(right, "{step:?} of {presence:?} in {:?}", place(case.gateway));
    }
}

fn a_registry_that_is_away_or_kubernetes_is_not_written_to(case: &Case<'_>) {
    if !case.observed.registry.answers() {
        assert!(!case.plan.steps.iter().any(|step| step.is_registrys() || *step == Step::AddFinalizer));
    }
}

fn events_are_read_of_those_only_that_start_or_serve(case: &Case<'_>) {
    if case.plan.steps.contains(&Step::ReadEvents) {
        assert!(case.observed.pods.unexplained.is_some() && !case.gateway.spec.suspend);
        assert!(matches!(place(case.gateway), Some(Place::Starting | Place::Restarting | Place::Started)));
    }
}

fn nothing_is_done_in_an_unknown_phase(case: &Case<'_>) {
    if place(case.gateway).is_none() && !case.gateway.is_being_deleted() {
        assert!(!case.plan.moves && case.plan.steps.is_empty() && case.plan.requeue_after.is_none());
    }
}

fn nobody_is_started_who_is_asked_to_be_stopped(case: &Case<'_>) {
    if case.gateway.spec.state == DesiredState::Stopped {
        let phase = case.plan.status.as_ref().and_then(|status| status.phase.clone());
        assert!(!case.plan.moves || matches!(phase, Some(Phase::Stopping | Phase::Stopped | Phase::Deleting)));
        let builds_up = |step: &Step| matches!(step, Step::Create(_) | Step::Update(_) | Step::ActivateEnvironments);
        assert!(!case.plan.steps.iter().any(builds_up));
    }
}

fn nobody_is_given_up_before_the_deadline_or_untried(case: &Case<'_>) {
    if case.plan.confirm {
        assert!(case.moment.attempt >= SETTINGS.start_deadline);
        assert!(case.observed.tried != Tried::Never || case.observed.deployment != Presence::Missing);
    }
}

/// Such a plan is made again from a live read, so no other may be told so, and no such may be missed.
fn only_a_failed_attempt_is_told_as_given_up(case: &Case<'_>) {
    let last = case.plan.status.as_ref().and_then(|status| status.history.last());
    let reasons = [Reason::StartDeadlineExceeded, Reason::RestartDeadlineExceeded];
    let failed = last.is_some_and(|last| last.to == Phase::Started && reasons.contains(&last.reason));
    assert_eq!(case.plan.confirm, case.plan.moves && failed);
}

fn a_decision_that_was_recorded_has_nothing_new_to_say(case: &Case<'_>) {
    if case.plan.moves {
        return;
    }
    let recorded = but(case.gateway.clone(), |g| g.status = case.plan.status.clone().or(g.status.take()));
    let still_held = recorded.status_or_default().attempt.is_some_and(|attempt| attempt.held_since.is_some());
    let held = if still_held { case.moment.held } else { Duration::ZERO };
    let again = decide(&recorded, case.observed, &Moment { held, ..*case.moment }, &SETTINGS);
    assert_eq!((&again.status, &again.events), (&None, &Vec::new()), "in {:?}", place(case.gateway));
}

#[test]
fn suspended_or_deleted_nothing_is_done_anywhere() {
    let worlds = worlds();
    for gateway in gateways().iter().flat_map(asked) {
        for observed in &worlds {
            let plan = decide(&but(gateway.clone(), suspends), observed, &after(5_000), &SETTINGS);
            assert!(!plan.moves && plan.steps.is_empty() && plan.requeue_after.is_none());
            let plan = decide(&but(gateway.clone(), deletes), observed, &after(5_000), &SETTINGS);
            assert!(!plan.moves && plan.steps.is_empty() && plan.requeue_after.is_none());
            assert!(plan.status.is_none() && plan.events.is_empty());
        }
    }
}

#[test]
fn the_diagram_shows_every_edge() {
    // Written by hand from the table: a change of the machine is to be seen here.
    let expected = "\
stateDiagram-v2
    Created: Created
    Starting: Starting, state Running
    Restarting: Starting, state Restarting
    Started: Started, state Running
    TimedOut: Started, state Stopped
    Stopping: Stopping, state Stopped
    Stopped: Stopped, state Stopped
    Deleting: Deleting, state Stopped
    [*] --> Created
    [*] --> Starting
    [*] --> Stopped
    Created --> Starting
    Created --> Stopped
    Starting --> Starting
    Starting --> Started
    Starting --> TimedOut
    Starting --> Stopping
    Restarting --> Restarting
    Restarting --> Started
    Restarting --> TimedOut
    Restarting --> Stopping
    Started --> Restarting
    Started --> Stopping
    TimedOut --> Starting
    TimedOut --> Stopping
    Stopping --> Stopped
    Stopped --> Starting
    [*] --> Deleting
    Created --> Deleting
    Starting --> Deleting
    Restarting --> Deleting
    Started --> Deleting
    TimedOut --> Deleting
    Stopping --> Deleting
    Stopped --> Deleting
";
    assert_eq!(diagram::mermaid(), expected);
}
