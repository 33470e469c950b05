//! The rows of "Stopping", "Stopped" and of a phase of another version.

use super::*;
use crate::api::StartRetries;
use crate::decide::observed::Presence;

/// Nothing is left, and nothing is missed.
fn gone() -> Observed {
    nothing()
}

/// The Ingress is gone, the rest is not.
fn without_ingress() -> Observed {
    child(serving(), Ingress, Presence::Missing)
}

#[test]
fn stopping_takes_traffic_away_first() {
    let several = child(environments(serving(), &[true, false]), PodDisruptionBudget, Presence::Equal);
    let behind_ingress = child(several.clone(), Ingress, Presence::Missing);
    let edited = but(behind_ingress.clone(), |o| {
        o.deployment = different();
        o.service = Presence::Unwanted;
    });
    check(vec![
        row(
            "the Ingress goes first, alone",
            stopping_as_asked(),
            several.clone(),
            after(60),
            does_and_wakes(&[Delete(Ingress)], 540),
        ),
        row(
            "an Ingress that differs, or that is no longer desired, goes first too",
            stopping_as_asked(),
            child(several.clone(), Ingress, Presence::Unwanted),
            after(60),
            does_and_wakes(&[Delete(Ingress)], 540),
        ),
        row(
            "the rest waits while the Ingress is being deleted",
            stopping_as_asked(),
            child(several, Ingress, Presence::Terminating),
            after(60),
            does_and_wakes(&[], 540),
        ),
        row(
            "the rest goes in this order",
            stopping_as_asked(),
            behind_ingress.clone(),
            after(60),
            does_and_wakes(
                &[DeactivateEnvironments, Delete(PodDisruptionBudget), Delete(Service), Delete(Deployment)],
                540,
            ),
        ),
        row(
            "what was edited by hand goes too",
            stopping_as_asked(),
            edited,
            after(60),
            does_and_wakes(
                &[DeactivateEnvironments, Delete(PodDisruptionBudget), Delete(Service), Delete(Deployment)],
                540,
            ),
        ),
        row(
            "traffic does not wait for the registry",
            stopping_as_asked(),
            registry_away(environments(serving(), &[true])),
            after(60),
            does_and_wakes(&[Delete(Ingress)], 540),
        ),
        row(
            "without a host the rest goes at once",
            stopping_as_asked(),
            child(serving(), Ingress, Presence::NotWanted),
            after(60),
            does_and_wakes(&[Delete(Service), Delete(Deployment)], 540),
        ),
        row(
            "a foreign Ingress is no traffic of ours",
            stopping_as_asked(),
            child(serving(), Ingress, Presence::Foreign("nobody".to_owned())),
            after(60),
            does_and_wakes(&[Delete(Service), Delete(Deployment)], 540),
        ),
        row(
            "what is being deleted is not deleted again",
            stopping_as_asked(),
            child(without_ingress(), Service, Presence::Terminating),
            after(60),
            does_and_wakes(&[Delete(Deployment)], 540),
        ),
        row(
            "what the cache does not have yet is waited for and then deleted",
            stopping_as_asked(),
            child(without_ingress(), Service, Presence::Expected),
            after(60),
            does_and_wakes(&[Delete(Deployment)], 540),
        ),
        row(
            "an Ingress that the cache does not have yet holds the rest up",
            stopping_as_asked(),
            child(serving(), Ingress, Presence::Expected),
            after(60),
            does_and_wakes(&[], 540),
        ),
        row(
            "what another owner or a predecessor has is left alone",
            stopping_as_asked(),
            predecessor_goes(name_taken(without_ingress())),
            after(60),
            does_and_wakes(&[], 540),
        ),
    ]);
}

#[test]
fn stopping_ends_when_nothing_is_left() {
    check(vec![
        row("a gateway of which nothing is left is Stopped", stopping_as_asked(), gone(), after(60), is_stopped(1)),
        row(
            "a gateway of which nothing is left after a timeout is Stopped",
            stopping_after_timeout(),
            gone(),
            after(60),
            is_stopped(1),
        ),
        row(
            "a pod that nobody owns holds no stop up",
            stopping_as_asked(),
            but(gone(), |o| o.pods.unowned.push("shop-1".to_owned())),
            after(60),
            is_stopped(1),
        ),
        row(
            "what another owner or a predecessor has holds no stop up",
            stopping_as_asked(),
            predecessor_goes(name_taken(gone())),
            after(60),
            is_stopped(1),
        ),
        row(
            "an environment that is Active is waited for",
            stopping_as_asked(),
            environments(gone(), &[true]),
            after(60),
            does_and_wakes(&[DeactivateEnvironments], 540),
        ),
        row(
            "environments that are Inactive are not waited for",
            stopping_as_asked(),
            environments(gone(), &[false]),
            after(60),
            is_stopped(1),
        ),
        row(
            "a child that is being deleted is waited for",
            stopping_as_asked(),
            child(gone(), Deployment, Presence::Terminating),
            after(60),
            does_and_wakes(&[], 540),
        ),
        row("pods are waited for", stopping_as_asked(), pods(gone(), 2, 1), after(60), does_and_wakes(&[], 540)),
        row(
            "terminating pods are waited for",
            stopping_after_timeout(),
            pods(gone(), 2, 2),
            after(60),
            does_and_wakes(&[], 540),
        ),
        row(
            "a stop is finished first, although Running is asked again",
            but(stopping_as_asked(), asks_running),
            serving(),
            after(60),
            does_and_wakes(&[Delete(Ingress)], 540),
        ),
        row(
            "a stop is finished first, although a start was requested",
            but(but(stopping_after_timeout(), changes_the_image), asks_for_a_retry),
            without_ingress(),
            after(60),
            does_and_wakes(&[Delete(Service), Delete(Deployment)], 540),
        ),
    ]);
}

#[test]
fn stopping_that_is_stuck() {
    check(vec![
        row(
            "a stop goes on although it is called stuck",
            stopping_as_asked(),
            serving(),
            after(600),
            does(&[Delete(Ingress)]),
        ),
        row(
            "a dead node does not hold up a retry",
            stopping_after_timeout(),
            pods(gone(), 2, 2),
            after(600),
            is_stopped(1),
        ),
        row(
            "a dead node does not hold up a gateway that is asked to run again",
            but(stopping_as_asked(), asks_running),
            pods(gone(), 1, 1),
            after(600),
            is_stopped(1),
        ),
        row(
            "a stop that is not stuck waits for a dead node",
            but(stopping_as_asked(), asks_running),
            pods(gone(), 1, 1),
            after(599),
            does_and_wakes(&[], 1),
        ),
        row(
            "a stop is as old as its phase, not as the attempt before it",
            stopping_after_timeout(),
            pods(gone(), 1, 1),
            Moment { attempt: secs(5_000), ..after(60) },
            does_and_wakes(&[], 540),
        ),
        row(
            "a gateway that is asked to be stopped is not called so while a pod may run",
            stopping_as_asked(),
            pods(gone(), 1, 1),
            after(600),
            rests(),
        ),
        row(
            "a pod that nobody deletes holds a retry up",
            stopping_after_timeout(),
            pods(gone(), 2, 1),
            after(600),
            rests(),
        ),
        row(
            "a child that does not go away holds a retry up",
            stopping_after_timeout(),
            child(pods(gone(), 1, 1), Deployment, Presence::Terminating),
            after(600),
            rests(),
        ),
        row(
            "an environment that does not go away holds a retry up",
            stopping_after_timeout(),
            environments(pods(gone(), 1, 1), &[true]),
            after(600),
            does(&[DeactivateEnvironments]),
        ),
    ]);
}

#[test]
fn stopped_with_a_late_child() {
    check(vec![
        row(
            "a child that a late write left behind is removed",
            stopped_as_asked(),
            child(gone(), Deployment, Presence::Equal),
            after(60),
            does(&[Delete(Deployment)]),
        ),
        row(
            "late children go in the order of a stop",
            stopped_as_asked(),
            serving(),
            after(60),
            does(&[Delete(Ingress)]),
        ),
        row(
            "a late child is removed before the next attempt",
            but(stopped_as_asked(), asks_running),
            child(gone(), Service, Presence::Equal),
            after(60),
            does(&[Delete(Service)]),
        ),
        row(
            "a late child is gone before the next attempt",
            but(stopped_as_asked(), asks_running),
            child(gone(), Service, Presence::Terminating),
            after(60),
            rests(),
        ),
    ]);
}

#[test]
fn stopped_and_asked_running() {
    check(vec![
        row(
            "no attempt is made while the host is taken",
            but(stopped_as_asked(), asks_running),
            host_taken(gone()),
            after(60),
            rests(),
        ),
        row(
            "no attempt is made while the name is taken",
            but(stopped_after_timeout(), asks_for_a_retry),
            name_taken(gone()),
            after(60),
            rests(),
        ),
        row(
            "no attempt is made while the host is not allowed",
            but(stopped_as_asked(), asks_running),
            host_not_allowed(gone()),
            after(60),
            rests(),
        ),
        row(
            "the operator's own retry waits for the host too",
            with_retries(stopped_after_timeout(), 2, None),
            host_taken(gone()),
            after_failure(60),
            rests(),
        ),
        row(
            "a changed spec starts a gateway that a timeout holds",
            but(stopped_after_timeout(), changes_the_image),
            gone(),
            after(60),
            starts(2),
        ),
        row(
            "a retry annotation starts a gateway that a timeout holds",
            but(stopped_after_timeout(), asks_for_a_retry),
            gone(),
            after(60),
            starts(2),
        ),
        row(
            "a restart annotation starts a gateway that a timeout holds",
            but(stopped_after_timeout(), asks_for_a_restart),
            gone(),
            after(60),
            starts(2),
        ),
        row(
            "spec.state turning to Restarting starts a gateway that a timeout holds",
            but(stopped_after_timeout(), asks_restarting),
            gone(),
            after(60),
            starts(2),
        ),
        row(
            "a gateway that the user stopped starts when the user asks for it",
            but(stopped_as_asked(), asks_running),
            gone(),
            after(60),
            starts(2),
        ),
        row(
            "a gateway that was never started begins attempt 1",
            but(stopped_as_asked(), |g| {
                asks_running(g);
                status(g).attempt = None;
            }),
            gone(),
            after(60),
            starts(1),
        ),
        row(
            "a gateway that the user stopped during its own retries starts at once",
            but(with_retries(stopped_as_asked(), 2, None), asks_running),
            gone(),
            after_failure(1),
            starts(2),
        ),
    ]);
}

#[test]
fn stopped_and_the_operators_own_retries() {
    let retried = |left| with_retries(stopped_after_timeout(), left, None);
    let own_backoff = with_retries(stopped_after_timeout(), 2, Some(secs(300)));
    let retry = || go(Phase::Starting, State::Running, Reason::RetryScheduled, 2);
    let withdrawn = hashed_by_an_older_version(but(retried(2), |g| g.spec.start_retries = None));
    check(vec![
        row("a retry waits for its backoff", retried(2), gone(), after_failure(59), does_and_wakes(&[], 1)),
        row("a retry starts when its backoff is over", retried(2), gone(), after_failure(60), retry()),
        row("the last retry is used too", retried(1), gone(), after_failure(60), retry()),
        row(
            "a backoff of one's own is waited for",
            own_backoff.clone(),
            gone(),
            after_failure(60),
            does_and_wakes(&[], 240),
        ),
        row("a retry starts when a backoff of one's own is over", own_backoff, gone(), after_failure(300), retry()),
        row("without retries left nothing is tried", retried(0), gone(), after_failure(100_000), rests()),
        row("retries that the spec no longer grants are not made", withdrawn, gone(), after_failure(60), rests()),
        row(
            "a request does not wait for the backoff",
            but(retried(2), changes_the_image),
            gone(),
            after_failure(1),
            starts(2),
        ),
        row(
            "retries that the spec did not grant when the attempt began are not made",
            hashed_by_an_older_version(but(stopped_after_timeout(), |g| {
                g.spec.start_retries = Some(StartRetries { limit: 3, backoff: None });
            })),
            gone(),
            after_failure(60),
            rests(),
        ),
        row("a stop ends the retries", but(retried(2), asks_stopped), gone(), after_failure(60), rests()),
    ]);
}

#[test]
fn stopped_otherwise() {
    let annotated = taken_up(but(stopped_after_timeout(), asks_for_a_retry));
    check(vec![
        row("a gateway that is stopped as asked rests", stopped_as_asked(), gone(), after(60), rests()),
        row("a timeout holds: the same spec starts nothing", stopped_after_timeout(), gone(), after(100_000), rests()),
        row("a retry that was taken up starts nothing again", annotated, gone(), after(60), rests()),
        row(
            "a changed spec does not start a gateway that is asked to be stopped",
            but(stopped_as_asked(), changes_the_image),
            gone(),
            after(60),
            rests(),
        ),
        row(
            "annotations do not start a gateway that is asked to be stopped",
            but(but(stopped_as_asked(), asks_for_a_retry), asks_for_a_restart),
            gone(),
            after(60),
            rests(),
        ),
        row(
            "scaling does not start a gateway that a timeout holds",
            but(stopped_after_timeout(), |g| g.spec.replicas = Some(3)),
            gone(),
            after(60),
            rests(),
        ),
        row(
            "resuming does not start a gateway that a timeout holds",
            but(taken_up(but(stopped_after_timeout(), suspends)), resumes),
            gone(),
            after(60),
            rests(),
        ),
        row(
            "a hash of another version does not start a gateway that a timeout holds",
            hashed_by_an_older_version(stopped_after_timeout()),
            gone(),
            after(60),
            rests(),
        ),
    ]);
}

#[test]
fn a_phase_of_another_version() {
    let deleting = recorded(Phase::Deleting, State::Stopped);
    check(vec![
        row("nothing is done in a phase of another version", of_a_later_version(), nothing(), after(9_000), rests()),
        row("not although all is ready", of_a_later_version(), serving(), after(60), rests()),
        row("not when a stop is asked", but(of_a_later_version(), asks_stopped), serving(), after(60), rests()),
        row("not when the spec changes", but(of_a_later_version(), changes_the_image), nothing(), after(60), rests()),
        row("not on a restart", but(of_a_later_version(), asks_for_a_restart), serving(), after(60), rests()),
        row("a finalizer's phase is left to it", deleting, serving(), after(9_000), rests()),
    ]);
}
