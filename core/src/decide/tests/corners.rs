//! Corners where a clock, a hold or a request could go wrong.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::builders::*;
use crate::api::{ApiGateway, Attempt, Phase, RETRY_ANNOTATION, Reason, Resources, State, condition};
use crate::decide::Situation;
use crate::decide::conditions;
use crate::decide::observed::{Child, Moment, Observed, Presence};
use crate::decide::requests::Requests;
use crate::decide::{Plan, Step, decide};

fn place(gateway: &ApiGateway) -> (Phase, State) {
    let status = gateway.status_or_default();
    (status.phase.unwrap(), status.state.unwrap())
}

/// What a plan does, without when it was made.
fn verdict(plan: &Plan) -> (bool, Option<Reason>, &[Step], Option<Duration>) {
    let reason = plan.status.as_ref().and_then(|status| status.history.last()).map(|last| last.reason);
    (plan.moves, reason, &plan.steps, plan.requeue_after)
}

#[test]
fn a_wall_clock_that_steps_back_or_forth_changes_no_verdict() {
    let cases: Vec<(ApiGateway, Observed, Moment)> = vec![
        (starting(), coming_up(), after(299)),
        (starting(), coming_up(), after(300)),
        (starting(), serving(), after(300)),
        (starting(), untried(nothing()), after(301)),
        (restarting(), rolling_out(), after(301)),
        (stopping_after_timeout(), pods(nothing(), 1, 1), after(599)),
        (stopping_after_timeout(), pods(nothing(), 1, 1), after(600)),
        (with_retries(stopped_after_timeout(), 1, None), nothing(), after_failure(59)),
        (with_retries(stopped_after_timeout(), 1, None), nothing(), after_failure(60)),
        (started(), serving(), after(60)),
    ];
    for (gateway, observed, moment) in cases {
        let plan = decide(&gateway, &observed, &moment, &SETTINGS);
        for step in [-1_000_000, -301, 301, 1_000_000] {
            let stepped = Moment { now: at(step), ..moment };
            let other = decide(&gateway, &observed, &stepped, &SETTINGS);
            assert_eq!(verdict(&other), verdict(&plan));
        }
    }
}

#[test]
fn a_start_that_was_suspended_for_ten_minutes_has_the_time_that_was_left() {
    let mut gateway = starting();
    pass(&mut gateway, &coming_up(), &after(60));
    suspends(&mut gateway);
    pass(&mut gateway, &coming_up(), &after(120));
    let held = |seconds: u64| Moment { held: secs(seconds), ..after(120 + seconds) };
    let plan = pass(&mut gateway, &coming_up(), &held(500));
    assert_eq!((plan.status, plan.requeue_after), (None, None));
    resumes(&mut gateway);
    let plan = pass(&mut gateway, &coming_up(), &held(600));
    assert_eq!((plan.moves, plan.requeue_after), (false, Some(secs(180))));
    // From now on the held time is in the status.
    let plan = pass(&mut gateway, &coming_up(), &after(899));
    assert_eq!((plan.moves, plan.requeue_after), (false, Some(secs(1))));
    pass(&mut gateway, &coming_up(), &after(900));
    assert_eq!(place(&gateway), (Phase::Started, State::Stopped));
}

#[test]
fn a_start_whose_host_was_taken_for_an_hour_has_the_time_that_was_left() {
    let mut gateway = starting();
    pass(&mut gateway, &host_taken(coming_up()), &after(100));
    let freed = Moment { held: secs(3600), ..after(3700) };
    let plan = pass(&mut gateway, &coming_up(), &freed);
    assert_eq!((plan.moves, plan.requeue_after), (false, Some(secs(200))));
}

#[test]
fn a_clock_that_is_held_twice_adds_up() {
    let mut gateway = starting();
    for begin in [50, 1_000] {
        pass(&mut gateway, &host_taken(coming_up()), &after(begin));
        pass(&mut gateway, &coming_up(), &Moment { held: secs(900), ..after(begin + 900) });
    }
    let attempt = gateway.status_or_default().attempt.unwrap();
    assert_eq!((attempt.held_seconds, attempt.held_since), (1_800, None));
    let plan = pass(&mut gateway, &coming_up(), &after(2_000));
    assert_eq!((plan.moves, plan.requeue_after), (false, Some(secs(100))));
}

#[test]
fn an_operator_that_comes_back_to_a_held_clock_does_not_time_out() {
    let held = but(starting(), |g| {
        suspends(g);
        status(g).attempt = Some(Attempt { held_since: Some(MicroTime(at(10))), ..attempt(1) });
    });
    let days_later = Moment { held: secs(99_990), ..after(100_000) };
    let plan = decide(&but(held, resumes), &untried(nothing()), &days_later, &SETTINGS);
    assert_eq!((plan.moves, plan.requeue_after), (false, Some(secs(290))));
}

fn situation<'a>(gateway: &'a ApiGateway, observed: &'a Observed, moment: &'a Moment) -> Situation<'a> {
    Situation { gateway, observed, moment, settings: &SETTINGS, requests: Requests::of(gateway) }
}

#[test]
fn only_the_clock_of_a_start_that_is_not_being_deleted_can_be_held() {
    let (observed, moment) = (host_taken(nothing()), after(60));
    let held = |gateway: &ApiGateway| situation(gateway, &observed, &moment).clock_is_held();
    for (phase, gateway) in in_every_phase() {
        assert_eq!(held(&but(gateway.clone(), suspends)), phase.starts_with("Starting"), "{phase}");
        assert!(!held(&but(gateway, deletes)), "{phase}");
    }
}

#[test]
fn a_gateway_that_names_no_host_has_all_the_host_it_needs() {
    let (hostless, observed, moment) = (but(started(), drops_the_host), nothing(), after(60));
    assert!(situation(&hostless, &observed, &moment).may_route());
    let unclaimed = but(started(), |g| status(g).hosts.clear());
    assert!(!situation(&unclaimed, &observed, &moment).may_route());
}

#[test]
fn an_ingress_class_that_is_not_allowed_is_in_the_way_of_a_start_and_of_its_rules() {
    let held = status_after(&fresh(), &class_not_allowed(nothing()), &after(0));
    assert_eq!(held.phase, Some(Phase::Created));
    assert_eq!(held.history[0].reason, Reason::IngressClassNotAllowed);
    // A gateway that serves keeps the rules that it has: what differs from them is repaired.
    let edited = child(child(serving(), Child::Ingress, different()), Child::Service, different());
    assert_eq!(
        decide(&started(), &class_not_allowed(edited), &after(60), &SETTINGS).steps,
        [Step::Update(Child::Service), Step::Update(Child::Ingress)]
    );
    let missing = class_not_allowed(child(serving(), Child::Ingress, Presence::Missing));
    assert_eq!(decide(&started(), &missing, &after(60), &SETTINGS).steps, []);
}

#[test]
fn a_deployment_with_a_value_that_nobody_could_compute_is_never_written_and_a_stop_works() {
    let bomb = |gateway: ApiGateway| {
        but(gateway, |g| {
            let limits = [("memory".to_owned(), Quantity("1e9999999".to_owned()))].into();
            g.spec.resources = Some(Resources { limits, ..Resources::default() });
        })
    };
    let asked = |gateway: ApiGateway| taken_up(bomb(gateway));
    let plan = |gateway: &ApiGateway, observed: &Observed| decide(gateway, observed, &after(10), &SETTINGS);
    let ready =
        |plan: &Plan| conditions::find(&plan.status.as_ref().unwrap().conditions, condition::READY).unwrap().clone();

    let begun = plan(&asked(fresh()), &nothing()).status.unwrap();
    assert_eq!((begun.phase, begun.history[0].reason), (Some(Phase::Created), Reason::InvalidSpec));

    let held = plan(&asked(starting()), &nothing());
    assert_eq!((held.steps.as_slice(), held.moves), ([].as_slice(), false));
    assert!(held.status.as_ref().unwrap().attempt.as_ref().unwrap().held_since.is_some(), "the clock is held");
    let said = ready(&held);
    assert_eq!(said.reason, "InvalidSpec");
    let sentence = "spec.resources.limits.memory: invalid value \"1e9999999\": must be a quantity such as 250m, 1.5, \
                    64Mi or 1e3, with at most 19 digits, 18 decimals and an exponent of 2 digits. Correct the field. \
                    Until then operator started and changes no pod; a stop works.";
    assert_eq!(said.message, sentence);

    // What serves goes on serving, and the other children are repaired.
    for presence in [different(), Presence::Missing, Presence::Immutable] {
        let edited = child(child(serving(), Child::Deployment, presence), Child::Service, different());
        assert_eq!(plan(&asked(started()), &edited).steps, [Step::Update(Child::Service)]);
    }
    assert_eq!(ready(&plan(&bomb(started()), &child(serving(), Child::Deployment, different()))).reason, "InvalidSpec");

    for gateway in [starting(), started()] {
        let stopped = plan(&but(asked(gateway), asks_stopped), &serving()).status.unwrap();
        assert_eq!(stopped.phase, Some(Phase::Stopping));
    }
    let kept = plan(&but(bomb(stopped_after_timeout()), changes_the_image), &nothing());
    assert_eq!((kept.moves, ready(&kept).reason.as_str()), (false, "InvalidSpec"));
}

#[test]
fn more_held_time_than_time_is_no_time_at_all() {
    let odd = but(starting(), |g| status(g).attempt = Some(Attempt { held_seconds: 500, ..attempt(1) }));
    assert_eq!(decide(&odd, &coming_up(), &after(60), &SETTINGS).requeue_after, Some(secs(300)));
    let negative = but(starting(), |g| status(g).attempt = Some(Attempt { held_seconds: -500, ..attempt(1) }));
    assert_eq!(decide(&negative, &coming_up(), &after(60), &SETTINGS).requeue_after, Some(secs(240)));
}

#[test]
fn a_start_without_a_recorded_attempt_is_not_given_up() {
    let odd = but(starting(), |g| status(g).attempt = None);
    let plan = decide(&odd, &coming_up(), &after(9_000), &SETTINGS);
    assert_eq!((plan.moves, plan.requeue_after), (false, Some(secs(300))));
}

#[test]
fn after_a_timeout_the_same_spec_applied_again_changes_nothing() {
    let mut gateway = stopped_after_timeout();
    pass(&mut gateway, &nothing(), &after(500));
    let again = but(gateway, |g| {
        asks_running(g);
        g.metadata.generation = Some(1);
        g.metadata.annotations = Some([("kubectl.kubernetes.io/last-applied".to_owned(), "{}".to_owned())].into());
    });
    let plan = decide(&again, &nothing(), &after(600), &SETTINGS);
    assert_eq!((plan.moves, plan.status, plan.requeue_after), (false, None, None));
}

#[test]
fn after_a_timeout_stopped_and_then_running_starts() {
    let mut gateway = but(stopped_after_timeout(), asks_stopped);
    assert!(!pass(&mut gateway, &nothing(), &after(500)).moves);
    asks_running(&mut gateway);
    pass(&mut gateway, &nothing(), &after(501));
    assert_eq!(place(&gateway), (Phase::Starting, State::Running));
    assert_eq!(gateway.status_or_default().attempt.unwrap().number, 2);
}

#[test]
fn a_request_during_the_clean_up_is_met_after_it() {
    let mut gateway = but(stopping_after_timeout(), changes_the_image);
    for observed in [serving(), pods(nothing(), 1, 1), nothing()] {
        pass(&mut gateway, &observed, &after(10));
    }
    assert_eq!(place(&gateway).0, Phase::Stopped);
    pass(&mut gateway, &nothing(), &after(20));
    assert_eq!(place(&gateway), (Phase::Starting, State::Running));
}

#[test]
fn running_asked_again_during_a_stop_is_met_after_it() {
    let mut gateway = but(stopping_as_asked(), asks_running);
    pass(&mut gateway, &nothing(), &after(10));
    assert_eq!(place(&gateway).0, Phase::Stopped);
    pass(&mut gateway, &nothing(), &after(20));
    assert_eq!(place(&gateway), (Phase::Starting, State::Running));
}

#[test]
fn a_stop_asked_during_the_clean_up_is_what_remains() {
    let mut gateway = but(stopping_after_timeout(), |g| {
        changes_the_image(g);
        asks_stopped(g);
    });
    for seconds in [10, 20, 30] {
        pass(&mut gateway, &nothing(), &after(seconds));
    }
    assert_eq!(place(&gateway).0, Phase::Stopped);
}

#[test]
fn each_retry_annotation_starts_once() {
    let mut gateway = stopped_after_timeout();
    for number in 2..5 {
        annotate(&mut gateway, RETRY_ANNOTATION, &number.to_string());
        pass(&mut gateway, &nothing(), &after(10));
        assert_eq!(gateway.status_or_default().attempt.unwrap().number, number);
        pass(&mut gateway, &coming_up(), &after(300));
        pass(&mut gateway, &coming_up(), &after(0));
        pass(&mut gateway, &nothing(), &after(5));
        assert_eq!(place(&gateway).0, Phase::Stopped);
        assert!(!pass(&mut gateway, &nothing(), &after(900)).moves);
    }
}

#[test]
fn retries_of_the_operators_own_end() {
    let mut gateway = but(fresh(), |g| {
        g.spec.start_retries = Some(crate::api::StartRetries { limit: 2, backoff: None });
    });
    pass(&mut gateway, &nothing(), &after(0));
    for round in 0..5 {
        pass(&mut gateway, &coming_up(), &after(300));
        pass(&mut gateway, &coming_up(), &after(0));
        pass(&mut gateway, &nothing(), &after(5));
        let retried = pass(&mut gateway, &nothing(), &after_failure(60)).moves;
        assert_eq!(retried, round < 2, "round {round}");
        if !retried {
            break;
        }
    }
    assert_eq!(gateway.status_or_default().attempt.unwrap().number, 3);
    assert_eq!(place(&gateway), (Phase::Stopped, State::Stopped));
}

#[test]
fn a_restart_asked_before_the_first_start_is_over_with_it() {
    let mut gateway = but(but(fresh(), asks_restarting), asks_for_a_restart);
    for observed in [nothing(), serving(), serving()] {
        pass(&mut gateway, &observed, &after(10));
    }
    assert_eq!(place(&gateway), (Phase::Started, State::Running));
    assert_eq!(gateway.status_or_default().restarts, 0);
}

#[test]
fn the_last_failure_does_not_leak_into_a_new_backoff() {
    // The backoff runs from the last timeout, however long ago the gateway was stopped.
    let retried = with_retries(stopped_after_timeout(), 1, None);
    let just_failed = Moment { phase: secs(9_000), ..after_failure(1) };
    assert_eq!(decide(&retried, &nothing(), &just_failed, &SETTINGS).requeue_after, Some(secs(59)));
}
