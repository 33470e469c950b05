//! The rows of "Started": timed out, and serving.

use super::*;
use crate::api::RESTART_ANNOTATION;
use crate::decide::observed::Presence;

fn is_cleaned_up() -> Expect {
    go(Phase::Stopping, State::Stopped, Reason::StartDeadlineExceeded, 1)
}

fn restarts() -> Expect {
    go(Phase::Starting, State::Restarting, Reason::RestartRequested, 2)
}

#[test]
fn a_timed_out_gateway() {
    check(vec![
        row(
            "a timed-out gateway starts again at once when its spec changes: its children are still there",
            but(timed_out(), changes_the_image),
            coming_up(),
            after(1),
            starts(2),
        ),
        row(
            "a timed-out gateway starts again at once on a retry annotation",
            but(timed_out(), asks_for_a_retry),
            coming_up(),
            after(1),
            starts(2),
        ),
        row(
            "on a timed-out gateway a restart annotation is a start request",
            but(timed_out(), asks_for_a_restart),
            coming_up(),
            after(1),
            starts(2),
        ),
        row(
            "on a timed-out gateway spec.state turning to Restarting is a start request",
            but(timed_out(), asks_restarting),
            coming_up(),
            after(1),
            starts(2),
        ),
        row("a timed-out gateway takes the ordinary stop path", timed_out(), coming_up(), after(1), is_cleaned_up()),
        row(
            "a timed-out gateway that the user stops takes the ordinary stop path",
            but(timed_out(), asks_stopped),
            coming_up(),
            after(1),
            is_cleaned_up(),
        ),
        row(
            "a start request counts only while asked Running",
            but(but(timed_out(), asks_stopped), changes_the_image),
            coming_up(),
            after(1),
            is_cleaned_up(),
        ),
        row(
            "a retry counts only while asked Running",
            but(but(timed_out(), asks_stopped), asks_for_a_retry),
            coming_up(),
            after(1),
            is_cleaned_up(),
        ),
        row("a timeout stands, although the pods came up after it", timed_out(), serving(), after(1), is_cleaned_up()),
        row(
            "the operator's own retry waits until the clean-up is done",
            with_retries(timed_out(), 2, Some(secs(1))),
            coming_up(),
            after_failure(60),
            is_cleaned_up(),
        ),
        row(
            "a hash of another version does not start a timed-out gateway",
            hashed_by_an_older_version(timed_out()),
            coming_up(),
            after(1),
            is_cleaned_up(),
        ),
    ]);
}

#[test]
fn asked_stopped() {
    check(vec![
        row(
            "a gateway that the user stops is stopped",
            but(started(), asks_stopped),
            serving(),
            after(60),
            stops_as_asked(),
        ),
        row(
            "a stop goes before a restart",
            but(but(started(), asks_stopped), asks_for_a_restart),
            serving(),
            after(60),
            stops_as_asked(),
        ),
        row(
            "a stop goes before a changed spec",
            but(but(started(), asks_stopped), changes_the_image),
            child(serving(), Deployment, different()),
            after(60),
            stops_as_asked(),
        ),
    ]);
}

#[test]
fn restart_request() {
    let annotated = taken_up(but(started(), asks_for_a_restart));
    let leftover = taken_up(but(started(), asks_restarting));
    check(vec![
        row("a restart annotation restarts", but(started(), asks_for_a_restart), serving(), after(60), restarts()),
        row(
            "spec.state turning to Restarting restarts",
            but(started(), asks_restarting),
            serving(),
            after(60),
            restarts(),
        ),
        row(
            "a restart that comes with a changed spec is a restart",
            but(but(started(), asks_for_a_restart), changes_the_image),
            child(serving(), Deployment, different()),
            after(60),
            restarts(),
        ),
        row(
            "a new value of the annotation restarts again",
            but(annotated.clone(), |g| annotate(g, RESTART_ANNOTATION, "later")),
            serving(),
            after(60),
            restarts(),
        ),
        row("an annotation that was taken up restarts nothing again", annotated.clone(), serving(), after(60), rests()),
        row(
            "taking the annotation away restarts nothing",
            but(annotated, |g| g.metadata.annotations = None),
            serving(),
            after(60),
            rests(),
        ),
        row("a leftover Restarting restarts nothing again", leftover.clone(), serving(), after(60), rests()),
        row(
            "a leftover Restarting does not turn a changed spec into a restart",
            but(leftover.clone(), changes_the_image),
            child(serving(), Deployment, different()),
            after(60),
            does(&[Update(Deployment)]),
        ),
        row(
            "turning back from Restarting to Running restarts nothing",
            but(leftover, asks_running),
            serving(),
            after(60),
            rests(),
        ),
    ]);
}

#[test]
fn otherwise_what_differs_is_applied() {
    let scaled = but(started(), |g| g.spec.replicas = Some(3));
    let pods_lost = but(serving(), |o| o.rollout = but(o.rollout.clone(), |r| (r.complete, r.available) = (false, 0)));
    let no_progress = but(rolling_out(), |o| o.rollout.progress_deadline_exceeded = Some("timed out".to_owned()));
    let moved = but(started(), |g| g.spec.host = Some("new.example.com".to_owned()));
    let edited = but(serving(), |o| {
        o.deployment = different();
        o.service = different();
        o.ingress = different();
        o.disruption_budget = different();
    });
    check(vec![
        row("a gateway that is as asked is left alone", started(), serving(), after(60), rests()),
        row(
            "a retry annotation does nothing to a gateway that serves",
            but(started(), asks_for_a_retry),
            serving(),
            after(60),
            rests(),
        ),
        row(
            "a changed spec is rolled out without another attempt",
            but(started(), changes_the_image),
            child(serving(), Deployment, different()),
            after(60),
            does(&[Update(Deployment)]),
        ),
        row(
            "an edited child is repaired, each in the order of the steps",
            started(),
            edited,
            after(60),
            does(&[Update(Deployment), Update(Service), Update(Ingress), Update(PodDisruptionBudget)]),
        ),
        row(
            "children that are gone are created again",
            started(),
            nothing(),
            after(60),
            does(&[Create(Deployment), Create(Service), Create(Ingress)]),
        ),
        row(
            "a child that the cache does not have yet is not created twice",
            started(),
            child(serving(), Deployment, Presence::Expected),
            after(60),
            rests(),
        ),
        row(
            "a child that differs in what cannot be changed is made anew",
            started(),
            child(serving(), Deployment, Presence::Immutable),
            after(60),
            does(&[Delete(Deployment)]),
        ),
        row(
            "a running gateway whose new host is not allowed keeps its old one, and what differs from it is repaired",
            started(),
            host_not_allowed(child(serving(), Ingress, different())),
            after(60),
            does(&[Update(Ingress)]),
        ),
        row(
            "a child that is being deleted is waited for",
            started(),
            child(serving(), Service, Presence::Terminating),
            after(60),
            rests(),
        ),
        row("a later pod flap never trips the start deadline", started(), pods_lost, after(100_000), rests()),
        row("a rollout that makes no progress stops nothing", started(), no_progress, after(100_000), rests()),
        row(
            "children that are no longer desired are deleted",
            taken_up(but(started(), drops_the_host)),
            child(child(serving(), Ingress, Presence::Unwanted), PodDisruptionBudget, Presence::Unwanted),
            after(60),
            does(&[Delete(Ingress), Delete(PodDisruptionBudget)]),
        ),
        row(
            "scaling is rolled out and is no request",
            scaled,
            child(child(serving(), Deployment, different()), PodDisruptionBudget, Presence::Missing),
            after(60),
            does(&[Update(Deployment), Create(PodDisruptionBudget)]),
        ),
        row("resuming is no request", but(taken_up(but(started(), suspends)), resumes), serving(), after(60), rests()),
        row(
            "a hash of another version is no request",
            hashed_by_an_older_version(started()),
            serving(),
            after(60),
            rests(),
        ),
        row(
            "a running gateway whose new host is taken keeps its old one",
            moved.clone(),
            host_taken(child(serving(), Deployment, different())),
            after(60),
            does(&[Update(Deployment)]),
        ),
        row(
            "a gateway that lost its host to an older claim does not write its Ingress again",
            started(),
            host_taken(child(child(serving(), Ingress, Presence::Missing), Service, different())),
            after(60),
            does(&[Update(Service)]),
        ),
        row(
            "a running gateway whose new host is taken withdraws the rules that are another's by now",
            moved.clone(),
            host_taken(child(child(serving(), Deployment, different()), Ingress, different())),
            after(60),
            does(&[Update(Deployment), Update(Ingress)]),
        ),
        row(
            "the rule of a new host waits until its claim is recorded",
            moved.clone(),
            child(serving(), Ingress, different()),
            after(60),
            rests(),
        ),
        row(
            "the rule of a new host is written once its claim is recorded",
            but(moved, |g| status(g).hosts[0].host = "new.example.com".to_owned()),
            child(serving(), Ingress, different()),
            after(60),
            does(&[Update(Ingress)]),
        ),
        row(
            "an environment whose host became free is switched on by its own decision",
            started(),
            environments(serving(), &[true, false]),
            after(60),
            rests(),
        ),
        row(
            "an environment is not activated while a change is rolled out",
            started(),
            environments(rolling_out(), &[true, false]),
            after(60),
            rests(),
        ),
        row("a foreign child is left alone", started(), name_taken(serving()), after(60), rests()),
        row(
            "a foreign child does not keep the others from being repaired",
            started(),
            name_taken(child(serving(), Deployment, different())),
            after(60),
            does(&[Update(Deployment)]),
        ),
    ]);
}
