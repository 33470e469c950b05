//! The rows of pods that ask for what they may not have. A gateway that serves is left as it is; no attempt begins, and none
//! goes on.

use super::*;
use crate::decide::observed::Presence;

fn gone() -> Observed {
    child(nothing(), Deployment, Presence::Missing)
}

#[test]
fn no_attempt_begins() {
    let held = |name, gateway, observed| row(name, gateway, not_allowed(observed), after(9_000), rests());
    check(vec![
        row(
            "a new gateway is held before any attempt",
            fresh(),
            not_allowed(nothing()),
            after(0),
            go(Phase::Created, State::Running, Reason::NotAllowed, 0),
        ),
        row(
            "it is told what is not allowed before it is told that its name is taken",
            fresh(),
            not_allowed(name_taken(nothing())),
            after(0),
            go(Phase::Created, State::Running, Reason::NotAllowed, 0),
        ),
        held("a held gateway waits without a clock", created(), nothing()),
        row("it begins when it is allowed", created(), nothing(), after(9_000), starts(1)),
        held("a stopped gateway that is asked to run stays stopped", but(stopped_as_asked(), asks_running), gone()),
        held("a retry stays stopped", but(stopped_after_timeout(), asks_for_a_retry), gone()),
        held("a changed spec stays stopped", but(stopped_after_timeout(), changes_the_image), gone()),
        held("the operator's own retry waits", with_retries(stopped_after_timeout(), 2, None), gone()),
        row(
            "a timed-out gateway is cleaned up and begins nothing that was asked meanwhile",
            but(timed_out(), changes_the_image),
            not_allowed(coming_up()),
            after(1),
            go(Phase::Stopping, State::Stopped, Reason::StartDeadlineExceeded, 1),
        ),
        row(
            "a new gateway that is to be stopped needs nothing to be allowed",
            but(fresh(), asks_stopped),
            not_allowed(nothing()),
            after(0),
            go(Phase::Stopped, State::Stopped, Reason::StopRequested, 0),
        ),
    ]);
}

#[test]
fn a_start_that_is_under_way_is_held() {
    let held = |name, gateway, observed| row(name, gateway, not_allowed(observed), after(9_000), rests());
    check(vec![
        held("nothing is created", starting(), nothing()),
        held("what differs is left as it is", starting(), child(coming_up(), Deployment, different())),
        held("a changed spec is no attempt", but(starting(), changes_the_image), coming_up()),
        held("nor is a retry", but(starting(), asks_for_a_retry), coming_up()),
        held("nor is a restart", but(starting(), asks_for_a_restart), coming_up()),
        held("another process finds it late and holds it, too", starting(), untried(nothing())),
        held("a restart that is under way is held with the pods that it has", restarting(), rolling_out()),
        row(
            "who is ready is started: its pods are there",
            starting(),
            not_allowed(serving()),
            after(60),
            go(Phase::Started, State::Running, Reason::Started, 1),
        ),
        row("a stop is a stop", but(starting(), asks_stopped), not_allowed(coming_up()), after(60), stops_as_asked()),
        row(
            "what was asked meanwhile begins when it is allowed",
            but(starting(), changes_the_image),
            coming_up(),
            after(9_000),
            starts(2),
        ),
    ]);
}

#[test]
fn what_serves_is_left_as_it_is() {
    let kept =
        |name, gateway, observed, steps: &[Step]| row(name, gateway, not_allowed(observed), after(9_000), does(steps));
    check(vec![
        kept("its pods are not changed", started(), child(serving(), Deployment, different()), &[]),
        kept("its Deployment is not made anew", started(), child(serving(), Deployment, Presence::Missing), &[]),
        kept("nor deleted to be made anew", started(), child(serving(), Deployment, Presence::Immutable), &[]),
        kept("no budget is made", started(), child(serving(), PodDisruptionBudget, Presence::Missing), &[]),
        kept("nor taken", started(), child(serving(), PodDisruptionBudget, Presence::Unwanted), &[]),
        kept("it is not restarted", but(started(), asks_for_a_restart), serving(), &[]),
        kept("nor by its state", but(started(), asks_restarting), serving(), &[]),
        kept(
            "its address and its routes are repaired",
            started(),
            child(child(serving(), Service, different()), Ingress, different()),
            &[Update(Service), Update(Ingress)],
        ),
        row(
            "it is stopped as asked",
            but(started(), asks_stopped),
            not_allowed(serving()),
            after(60),
            stops_as_asked(),
        ),
        row(
            "a restart that was asked meanwhile begins when it is allowed",
            but(started(), asks_for_a_restart),
            serving(),
            after(9_000),
            go(Phase::Starting, State::Restarting, Reason::RestartRequested, 2),
        ),
        row(
            "and so does a change",
            taken_up(but(started(), changes_the_image)),
            child(serving(), Deployment, different()),
            after(9_000),
            does(&[Update(Deployment)]),
        ),
    ]);
}
