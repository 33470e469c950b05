//! The rows of "Starting" whose deadline has passed, or has not.

use super::*;
use crate::api::Attempt;
use crate::decide::observed::{Presence, Tried};

fn times_out(attempt: i64) -> Expect {
    go(Phase::Started, State::Stopped, Reason::StartDeadlineExceeded, attempt)
}

/// Its deadline is over, and what serves goes on serving.
fn serves_on(attempt: i64) -> Expect {
    go(Phase::Started, State::Running, Reason::StartDeadlineExceeded, attempt)
}

/// Some of its pods are available, and traffic reaches them.
fn half_up() -> Observed {
    but(rolling_out(), |o| o.rollout.desired = 2)
}

fn is_resumed(state: State, attempt: i64) -> Expect {
    go(Phase::Starting, state, Reason::Resumed, attempt)
}

#[test]
fn deadline_passed_and_found_late() {
    let no_deployment = child(coming_up(), Deployment, Presence::Missing);
    let no_service = child(coming_up(), Service, Presence::Missing);
    let no_ingress = child(coming_up(), Ingress, Presence::Missing);
    check(vec![
        row(
            "a start of which nothing was created gets its time",
            starting(),
            untried(nothing()),
            after(301),
            is_resumed(State::Running, 2),
        ),
        row(
            "a start whose Deployment never existed gets its time",
            starting(),
            untried(no_deployment),
            after(301),
            is_resumed(State::Running, 2),
        ),
        row(
            "a start whose Service never existed gets its time",
            starting(),
            untried(no_service),
            after(301),
            is_resumed(State::Running, 2),
        ),
        row(
            "a start whose Ingress never existed gets its time",
            starting(),
            untried(no_ingress),
            after(301),
            is_resumed(State::Running, 2),
        ),
        row(
            "a start whose environments nobody activated gets its time",
            starting(),
            untried(environments(serving(), &[false])),
            after(301),
            is_resumed(State::Running, 2),
        ),
        row(
            "a restart that is found late stays a restart",
            restarting(),
            untried(no_service_but_serving()),
            after(301),
            is_resumed(State::Restarting, 3),
        ),
        row(
            "a start that this process tried in vain was not found late",
            starting(),
            nothing(),
            after(301),
            times_out(1),
        ),
        row(
            "environments that this process could not activate were not found late",
            starting(),
            environments(serving(), &[false]),
            after(301),
            serves_on(1),
        ),
        row(
            "a start that had everything it needed was not found late",
            starting(),
            untried(coming_up()),
            after(301),
            times_out(1),
        ),
        row(
            "environments that were not due were not found late",
            starting(),
            untried(environments(coming_up(), &[false])),
            after(301),
            times_out(1),
        ),
        row(
            "a refused environment is not found late",
            starting(),
            untried(but(coming_up(), |o| o.environments.push(refused_environment()))),
            after(301),
            times_out(1),
        ),
        row(
            "a PodDisruptionBudget is not found late",
            starting(),
            untried(child(coming_up(), PodDisruptionBudget, Presence::Missing)),
            after(301),
            times_out(1),
        ),
    ]);
}

/// Only the answer to a write says what admission makes of a child, and it may have been lost.
#[test]
fn deadline_passed_and_only_the_content_of_children_differs() {
    let differs = |tried| but(child(serving(), Service, different()), |o| o.tried = tried);
    let pods_differ = child(serving(), Deployment, different());
    let no_pod = child(coming_up(), Service, different());
    let no_ingress = child(child(serving(), Service, different()), Ingress, Presence::Missing);
    let once_more = || does_and_wakes(&[Step::Update(Service)], 0);
    let untried_late = |observed| but(observed, |o: &mut Observed| o.tried = Tried::InTime);
    check(vec![
        row("it is written once more", starting(), differs(Tried::InTime), after(301), once_more()),
        row("also by a process that was not there", starting(), differs(Tried::Never), after(301), once_more()),
        row("and then judged", starting(), differs(Tried::Late), after(301), serves_on(1)),
        row(
            "before the deadline it is written anyway",
            starting(),
            differs(Tried::InTime),
            after(299),
            does_and_wakes(&[Step::Update(Service)], 1),
        ),
        row(
            "the Deployment, too, whose pods are complete",
            starting(),
            untried_late(pods_differ),
            after(301),
            does_and_wakes(&[Step::Update(Deployment)], 0),
        ),
        row("without a ready pod nothing is written", starting(), untried_late(no_pod), after(301), times_out(1)),
        row("nor while another child is missing", starting(), untried_late(no_ingress), after(301), times_out(1)),
        row("a restart is judged so as well", restarting(), differs(Tried::InTime), after(301), once_more()),
    ]);
}

fn no_service_but_serving() -> Observed {
    child(rolling_out(), Service, Presence::Missing)
}

#[test]
fn deadline_passed() {
    let patient = taken_up(but(starting(), |g| g.spec.start_deadline = Some(secs(900).into())));
    let hasty = taken_up(but(starting(), |g| g.spec.start_deadline = Some(secs(30).into())));
    let was_held = but(starting(), |g| status(g).attempt = Some(Attempt { held_seconds: 250, ..attempt(1) }));
    check(vec![
        row(
            "a restart that takes too long never stops a gateway that serves",
            restarting(),
            rolling_out(),
            after(300),
            go(Phase::Started, State::Running, Reason::RestartDeadlineExceeded, 2),
        ),
        row(
            "a restart that takes too long with no pod available times out",
            restarting(),
            coming_up(),
            after(300),
            times_out(2),
        ),
        row(
            "a start that takes too long serves on with the pods that are available",
            starting(),
            half_up(),
            after(300),
            serves_on(1),
        ),
        row("a start that takes too long times out", starting(), coming_up(), after(300), times_out(1)),
        row("no start times out before its deadline", starting(), coming_up(), after(299), does_and_wakes(&[], 1)),
        row(
            "no restart is given up before its deadline",
            restarting(),
            rolling_out(),
            after(299),
            does_and_wakes(&[], 1),
        ),
        row("spec.startDeadline may be longer", patient.clone(), coming_up(), after(301), does_and_wakes(&[], 599)),
        row("a longer spec.startDeadline passes too", patient, coming_up(), after(900), times_out(1)),
        row("spec.startDeadline may be shorter", hasty.clone(), coming_up(), after(29), does_and_wakes(&[], 1)),
        row("a shorter spec.startDeadline passes earlier", hasty, coming_up(), after(30), times_out(1)),
        row("held time does not count", was_held.clone(), coming_up(), after(500), does_and_wakes(&[], 50)),
        row("time that was not held counts", was_held, coming_up(), after(550), times_out(1)),
    ]);
}

#[test]
fn deadline_passed_with_pods_available_that_no_traffic_reaches() {
    let unreachable = |kind, presence| child(half_up(), kind, presence);
    let foreign = || Presence::Foreign("nobody".to_owned());
    check(vec![
        row(
            "a Service that was refused",
            starting(),
            unreachable(Service, Presence::Missing),
            after(300),
            times_out(1),
        ),
        row(
            "an Ingress that was refused",
            starting(),
            unreachable(Ingress, Presence::Missing),
            after(300),
            times_out(1),
        ),
        row(
            "an Ingress that nobody asked for is not missed",
            starting(),
            unreachable(Ingress, Presence::NotWanted),
            after(300),
            serves_on(1),
        ),
        row(
            "a refused PodDisruptionBudget keeps no traffic away",
            starting(),
            unreachable(PodDisruptionBudget, Presence::Missing),
            after(300),
            serves_on(1),
        ),
        row("a foreign Service holds the clock", starting(), unreachable(Service, foreign()), after(300), rests()),
    ]);
}

#[test]
fn deadline_passed_under_stop_partial_starts() {
    let strict = Settings { stop_partial_starts: true, ..SETTINGS.clone() };
    check_under(
        &strict,
        vec![
            row("a start that is not complete is stopped", starting(), half_up(), after(300), times_out(1)),
            row("a start without a pod is stopped", starting(), coming_up(), after(300), times_out(1)),
            row("no start is stopped before its deadline", starting(), half_up(), after(299), does_and_wakes(&[], 1)),
            row(
                "a complete one is started",
                starting(),
                serving(),
                after(300),
                go(Phase::Started, State::Running, Reason::Started, 1),
            ),
            row(
                "a restart still never stops a gateway that serves",
                restarting(),
                rolling_out(),
                after(300),
                go(Phase::Started, State::Running, Reason::RestartDeadlineExceeded, 2),
            ),
        ],
    );
}
