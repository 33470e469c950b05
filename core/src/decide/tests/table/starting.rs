//! The rows of "Starting".

use super::*;
use crate::api::RESTART_ANNOTATION;
use crate::decide::judged_in;
use crate::decide::observed::{EnvironmentFacts, MissingDependency, Presence};

fn succeeds(attempt: i64) -> Expect {
    go(Phase::Started, State::Running, Reason::Started, attempt)
}

#[test]
fn asked_stopped() {
    check(vec![
        row(
            "a start that the user cancels is stopped",
            but(starting(), asks_stopped),
            coming_up(),
            after(60),
            stops_as_asked(),
        ),
        row(
            "a start that the user cancels is stopped although it is ready",
            but(starting(), asks_stopped),
            serving(),
            after(60),
            stops_as_asked(),
        ),
        row(
            "a start that the user cancels is no timeout, however late it is",
            but(starting(), asks_stopped),
            coming_up(),
            after(301),
            stops_as_asked(),
        ),
        row(
            "a start that the user cancels is stopped although its host is taken",
            but(starting(), asks_stopped),
            host_taken(coming_up()),
            after(60),
            stops_as_asked(),
        ),
        row(
            "a cancelled start does not take a changed spec for a request",
            but(but(starting(), asks_stopped), changes_the_image),
            coming_up(),
            after(60),
            stops_as_asked(),
        ),
        row(
            "a restart that the user cancels is stopped",
            but(restarting(), asks_stopped),
            rolling_out(),
            after(60),
            go(Phase::Stopping, State::Stopped, Reason::StopRequested, 2),
        ),
    ]);
}

#[test]
fn workload_ready() {
    let two_replicas = but(serving(), |o| o.disruption_budget = Presence::Missing);
    let hostless = child(serving(), Ingress, Presence::NotWanted);
    let refused = but(environments(serving(), &[true]), |o| o.environments.push(refused_environment()));
    check(vec![
        row("a gateway that is ready is Started", starting(), serving(), after(60), succeeds(1)),
        row(
            "a gateway that is ready in the instant of its deadline is Started",
            starting(),
            serving(),
            after(300),
            succeeds(1),
        ),
        row(
            "a gateway that is found ready long after its deadline is Started",
            starting(),
            serving(),
            after(9_000),
            succeeds(1),
        ),
        row(
            "a gateway that is found ready by another process is Started",
            starting(),
            untried(serving()),
            after(60),
            succeeds(1),
        ),
        row(
            "a restart that is ready is Started and Running",
            restarting(),
            serving(),
            after(60),
            go(Phase::Started, State::Running, Reason::Started, 2),
        ),
        row("a PodDisruptionBudget holds nobody up", starting(), two_replicas, after(60), succeeds(1)),
        row(
            "without a host no Ingress is waited for",
            taken_up(but(starting(), drops_the_host)),
            hostless,
            after(60),
            succeeds(1),
        ),
        row(
            "a gateway is Started once its environments are Active",
            starting(),
            environments(serving(), &[true, true]),
            after(60),
            succeeds(1),
        ),
        row("a refused environment holds nobody up", starting(), refused, after(60), succeeds(1)),
        row(
            "ready is judged before a new request; the request is met next",
            but(starting(), asks_for_a_restart),
            serving(),
            after(60),
            succeeds(1),
        ),
    ]);
}

#[test]
fn not_ready_while_anything_is_not_as_desired() {
    let late_environment = but(environments(serving(), &[true, false]), |o| o.environments.push(refused_environment()));
    check(vec![
        row(
            "environments are activated once the workload is ready",
            starting(),
            environments(serving(), &[false, true]),
            after(60),
            does_and_wakes(&[ActivateEnvironments], 240),
        ),
        row(
            "a refused environment does not stand in for one that may be active",
            starting(),
            late_environment,
            after(60),
            does_and_wakes(&[ActivateEnvironments], 240),
        ),
        row(
            "environments wait for the workload",
            starting(),
            environments(coming_up(), &[false]),
            after(60),
            does_and_wakes(&[], 240),
        ),
        row(
            "an incomplete rollout is not ready",
            starting(),
            but(serving(), |o| o.rollout.complete = false),
            after(60),
            does_and_wakes(&[], 240),
        ),
        row(
            "a Deployment that differs is not ready",
            starting(),
            child(serving(), Deployment, different()),
            after(60),
            does_and_wakes(&[Update(Deployment)], 240),
        ),
        row(
            "a Deployment that is being deleted is not ready, and is made anew once it is gone",
            starting(),
            child(serving(), Deployment, Presence::Terminating),
            after(60),
            does_and_wakes(&[], 240),
        ),
        row(
            "a Deployment that the cache does not have yet is waited for",
            starting(),
            child(serving(), Deployment, Presence::Expected),
            after(60),
            does_and_wakes(&[], 240),
        ),
        row(
            "a child that differs in what cannot be changed is deleted, to be made anew",
            starting(),
            child(serving(), Service, Presence::Immutable),
            after(60),
            does_and_wakes(&[Delete(Service)], 240),
        ),
        row(
            "an environment whose claim is not recorded yet is waited for",
            starting(),
            but(environments(serving(), &[false]), |o| o.environments[0].claimed = false),
            after(60),
            does_and_wakes(&[], 240),
        ),
        row(
            "an environment that lost its host to an older claim is not activated",
            starting(),
            but(environments(serving(), &[false]), |o| {
                o.environments[0].claimed = false;
                o.environments.push(EnvironmentFacts { claimed: true, ..refused_environment() });
            }),
            after(60),
            does_and_wakes(&[], 240),
        ),
        row(
            "a Service that is not there is not ready",
            starting(),
            child(serving(), Service, Presence::Missing),
            after(60),
            does_and_wakes(&[Create(Service)], 240),
        ),
        row(
            "a Service that differs is not ready",
            starting(),
            child(serving(), Service, different()),
            after(60),
            does_and_wakes(&[Update(Service)], 240),
        ),
        row(
            "an Ingress that is not there is not ready",
            starting(),
            child(serving(), Ingress, Presence::Missing),
            after(60),
            does_and_wakes(&[Create(Ingress)], 240),
        ),
        row(
            "an Ingress that is being deleted is not ready",
            starting(),
            child(serving(), Ingress, Presence::Terminating),
            after(60),
            does_and_wakes(&[], 240),
        ),
        row(
            "an Ingress that is no longer desired is deleted first",
            starting(),
            child(serving(), Ingress, Presence::Unwanted),
            after(60),
            does_and_wakes(&[Delete(Ingress)], 240),
        ),
        row(
            "a gateway whose host is taken is not ready, whatever runs",
            starting(),
            host_taken(serving()),
            after(60),
            rests(),
        ),
    ]);
}

#[test]
fn somebody_is_away_without_whom_nothing_can_be_written() {
    let deployment_of = |by| unanswered(nothing(), Deployment, by);
    let all = || does(&[Create(Deployment), Create(Service), Create(Ingress)]);
    let in_time = || does_and_wakes(&[Create(Deployment), Create(Service), Create(Ingress)], 240);
    let pods_refused = |words: &str| but(coming_up(), |o| o.rollout.replica_failure = Some(words.to_owned()));
    let pods_away = "Internal error occurred: failed calling webhook \"no.example.com\": connection refused";
    let budget = || child(coming_up(), PodDisruptionBudget, Presence::Missing);
    check(vec![
        row(
            "a webhook that is away is tried again without a deadline",
            starting(),
            deployment_of(webhook()),
            after(60),
            all(),
        ),
        row("whenever that is", starting(), deployment_of(webhook()), after(9_999), all()),
        row("a storage that is away too", starting(), deployment_of(MissingDependency::Cluster), after(9_999), all()),
        row(
            "and a permission that the operator lacks",
            starting(),
            deployment_of(MissingDependency::Permission),
            after(9_999),
            all(),
        ),
        row("a restart too", restarting(), unanswered(coming_up(), Service, webhook()), after(9_999), rests()),
        row(
            "a webhook that keeps pods from being created holds the clock",
            starting(),
            pods_refused(pods_away),
            after(9_999),
            rests(),
        ),
        row(
            "and so does an API server that was away when they were to be",
            starting(),
            pods_refused("Timeout: request did not complete within requested timeout - context deadline exceeded"),
            after(9_999),
            rests(),
        ),
        row(
            "one that denies them does not",
            starting(),
            pods_refused("admission webhook \"no.example.com\" denied the request: no"),
            after(301),
            go(Phase::Started, State::Stopped, Reason::StartDeadlineExceeded, 1),
        ),
        row(
            "a write that nobody knows anything about is tried in time",
            starting(),
            deployment_of(MissingDependency::Unknown),
            after(60),
            in_time(),
        ),
        row(
            "and given up in time",
            starting(),
            deployment_of(MissingDependency::Unknown),
            after(301),
            go(Phase::Started, State::Stopped, Reason::StartDeadlineExceeded, 1),
        ),
        row(
            "a PodDisruptionBudget holds nobody up, whoever is away",
            starting(),
            unanswered(budget(), PodDisruptionBudget, webhook()),
            after(60),
            does_and_wakes(&[Create(PodDisruptionBudget)], 240),
        ),
        row(
            "what is ready has started, whoever is away",
            starting(),
            unanswered(serving(), Deployment, webhook()),
            after(60),
            go(Phase::Started, State::Running, Reason::Started, 1),
        ),
    ]);
}

#[test]
fn an_attempt_is_judged_when_its_deadline_passes_unless_its_clock_is_held() {
    let judged = |gateway: &ApiGateway, observed: &Observed| judged_in(gateway, observed, &after(60), &SETTINGS);
    assert_eq!(judged(&starting(), &nothing()), Some(secs(240)));
    assert_eq!(judged(&restarting(), &refused(nothing(), Deployment)), Some(secs(240)));
    assert_eq!(judged(&starting(), &unanswered(nothing(), Deployment, MissingDependency::Unknown)), Some(secs(240)));
    assert_eq!(judged(&starting(), &unanswered(nothing(), Deployment, webhook())), None);
    assert_eq!(judged(&starting(), &host_taken(nothing())), None);
    assert_eq!(judged(&but(starting(), suspends), &nothing()), None);
    assert_eq!(judged(&started(), &serving()), None);
    assert_eq!(judged(&stopping_as_asked(), &serving()), None);
}

#[test]
fn new_start_or_restart_request() {
    let annotated = taken_up(but(starting(), asks_for_a_restart));
    check(vec![
        row("a fix at 4:50 gets five minutes", but(starting(), changes_the_image), coming_up(), after(290), starts(2)),
        row(
            "a fix that is seen after the deadline still counts",
            but(starting(), changes_the_image),
            coming_up(),
            after(301),
            starts(2),
        ),
        row(
            "a retry annotation begins the next attempt",
            but(starting(), asks_for_a_retry),
            coming_up(),
            after(60),
            starts(2),
        ),
        row(
            "a restart annotation during a start begins the next attempt",
            but(starting(), asks_for_a_restart),
            coming_up(),
            after(60),
            go(Phase::Starting, State::Running, Reason::RestartRequested, 2),
        ),
        row(
            "spec.state turning to Restarting during a start begins the next attempt",
            but(starting(), asks_restarting),
            coming_up(),
            after(60),
            go(Phase::Starting, State::Running, Reason::RestartRequested, 2),
        ),
        row(
            "a changed spec during a restart keeps the state Restarting",
            but(restarting(), changes_the_image),
            rolling_out(),
            after(60),
            go(Phase::Starting, State::Restarting, Reason::StartRequested, 3),
        ),
        row(
            "another restart annotation during a restart begins the next attempt",
            but(taken_up(but(restarting(), asks_for_a_restart)), |g| annotate(g, RESTART_ANNOTATION, "later")),
            rolling_out(),
            after(60),
            go(Phase::Starting, State::Restarting, Reason::RestartRequested, 3),
        ),
        row(
            "a new host is a request, although it is taken",
            but(starting(), |g| g.spec.host = Some("other.example.com".to_owned())),
            host_taken(coming_up()),
            after(60),
            starts(2),
        ),
        row(
            "an annotation that was taken up is no request",
            annotated,
            coming_up(),
            after(60),
            does_and_wakes(&[], 240),
        ),
        row(
            "a leftover Restarting is no request",
            taken_up(but(restarting(), asks_restarting)),
            rolling_out(),
            after(60),
            does_and_wakes(&[], 240),
        ),
        row(
            "turning back from Restarting to Running is no request",
            but(taken_up(but(restarting(), asks_restarting)), asks_running),
            rolling_out(),
            after(60),
            does_and_wakes(&[], 240),
        ),
        row(
            "scaling is no request",
            but(starting(), |g| g.spec.replicas = Some(3)),
            child(child(coming_up(), Deployment, different()), PodDisruptionBudget, Presence::Missing),
            after(60),
            does_and_wakes(&[Update(Deployment), Create(PodDisruptionBudget)], 240),
        ),
        row(
            "resuming is no request",
            but(taken_up(but(starting(), suspends)), resumes),
            coming_up(),
            after(60),
            does_and_wakes(&[], 240),
        ),
        row(
            "a hash of another version is no request",
            hashed_by_an_older_version(starting()),
            coming_up(),
            after(60),
            does_and_wakes(&[], 240),
        ),
    ]);
}

#[test]
fn host_or_name_taken() {
    check(vec![
        row("a start whose host is taken is held", starting(), host_taken(coming_up()), after(60), rests()),
        row("a start whose host is taken never times out", starting(), host_taken(nothing()), after(9_000), rests()),
        row(
            "a start whose host is not allowed any more never times out",
            starting(),
            host_not_allowed(coming_up()),
            after(9_000),
            rests(),
        ),
        row(
            "a gateway whose host is not allowed is not ready, whatever runs",
            starting(),
            host_not_allowed(serving()),
            after(60),
            rests(),
        ),
        row(
            "a held start withdraws the rules that are another's by now",
            starting(),
            host_taken(child(coming_up(), Ingress, different())),
            after(60),
            does(&[Update(Ingress)]),
        ),
        row(
            "a start whose name is taken leaves its Ingress",
            starting(),
            name_taken(child(coming_up(), Ingress, different())),
            after(60),
            rests(),
        ),
        row("a start whose name is taken is held", starting(), name_taken(nothing()), after(60), rests()),
        row("a start whose name is taken never times out", starting(), name_taken(coming_up()), after(9_000), rests()),
        row(
            "a start never times out while a predecessor's children are there",
            starting(),
            predecessor_goes(nothing()),
            Moment { held: secs(9_000), ..after(9_000) },
            rests(),
        ),
        row(
            "a start that waits for a predecessor's children looks again when garbage collection is late",
            starting(),
            predecessor_goes(nothing()),
            Moment { held: secs(12), ..after(9_000) },
            does_and_wakes(&[], 18),
        ),
        row(
            "a held start that another process finds late is still held",
            starting(),
            untried(host_taken(nothing())),
            after(9_000),
            rests(),
        ),
    ]);
}

#[test]
fn otherwise_what_is_missing_or_different_is_applied() {
    let several = but(nothing(), |o| o.disruption_budget = Presence::Missing);
    let edited = but(serving(), |o| {
        o.deployment = different();
        o.service = different();
        o.ingress = different();
        o.disruption_budget = different();
    });
    let unclaimed = but(starting(), |g| status(g).hosts.clear());
    check(vec![
        row(
            "the children are created in the order of the steps",
            starting(),
            nothing(),
            after(60),
            does_and_wakes(&[Create(Deployment), Create(Service), Create(Ingress)], 240),
        ),
        row(
            "a process that has tried nothing yet begins before the deadline like any other",
            starting(),
            untried(nothing()),
            after(60),
            does_and_wakes(&[Create(Deployment), Create(Service), Create(Ingress)], 240),
        ),
        row(
            "several replicas get a PodDisruptionBudget",
            starting(),
            several,
            after(60),
            does_and_wakes(&[Create(Deployment), Create(Service), Create(Ingress), Create(PodDisruptionBudget)], 240),
        ),
        row(
            "what differs is updated in the order of the steps",
            starting(),
            edited,
            after(60),
            does_and_wakes(&[Update(Deployment), Update(Service), Update(Ingress), Update(PodDisruptionBudget)], 240),
        ),
        row(
            "no Ingress is made before the claim on its host is recorded",
            unclaimed.clone(),
            nothing(),
            after(60),
            does_and_wakes(&[Create(Deployment), Create(Service)], 240),
        ),
        row(
            "no Ingress is changed before the claim on its host is recorded",
            unclaimed,
            child(coming_up(), Ingress, different()),
            after(60),
            does_and_wakes(&[], 240),
        ),
        row("pods that are on their way are waited for", starting(), coming_up(), after(60), does_and_wakes(&[], 240)),
        row(
            "a restart applies the restarted Deployment",
            restarting(),
            child(serving(), Deployment, different()),
            after(60),
            does_and_wakes(&[Update(Deployment)], 240),
        ),
    ]);
}
