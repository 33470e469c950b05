//! What a decision writes down: attempts, clocks, failures, claims, the history.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::builders::*;
use crate::api::{ApiGateway, Attempt, EnvironmentCount, Failure, HostClaim, Phase, Reason, State, Transition};
use crate::decide::decide;
use crate::decide::observed::{Child, MissingDependency, Moment, Observed, Presence};

fn attempt_after(gateway: &ApiGateway, observed: &Observed, moment: &Moment) -> Attempt {
    status_after(gateway, observed, moment).attempt.unwrap()
}

fn wall(seconds: i64) -> MicroTime {
    MicroTime(at(seconds))
}

#[test]
fn a_first_attempt_is_number_one_and_starts_now() {
    let expected = Attempt { started_at: wall(7), ..attempt(1) };
    assert_eq!(attempt_after(&fresh(), &nothing(), &after(7)), expected);
}

#[test]
fn a_new_attempt_has_the_next_number_and_a_clock_of_its_own() {
    let held = but(starting(), |g| {
        status(g).attempt = Some(Attempt { held_seconds: 99, held_since: Some(wall(200)), ..attempt(4) });
    });
    let expected = Attempt { started_at: wall(290), ..attempt(5) };
    let moment = Moment { held: secs(90), ..after(290) };
    assert_eq!(attempt_after(&but(held, changes_the_image), &coming_up(), &moment), expected);
}

#[test]
fn no_new_attempt_is_counted_by_a_move_that_begins_none() {
    for (gateway, observed) in [
        (starting(), serving()),
        (starting(), coming_up()),
        (timed_out(), coming_up()),
        (but(started(), asks_stopped), serving()),
        (stopping_after_timeout(), nothing()),
    ] {
        assert_eq!(attempt_after(&gateway, &observed, &after(301)), attempt(1));
    }
}

#[test]
fn a_request_grants_all_retries_again_and_a_retry_uses_one() {
    let left = |gateway: &ApiGateway, observed, moment| attempt_after(gateway, &observed, &moment).retries_left;
    let granted = with_retries(stopped_after_timeout(), 1, None);
    assert_eq!(left(&but(granted.clone(), asks_for_a_retry), nothing(), after_failure(1)), Some(3));
    assert_eq!(left(&granted, nothing(), after_failure(60)), Some(0));
    for asked in [starting(), timed_out(), restarting()] {
        let asked = but(with_retries(asked, 1, None), changes_the_image);
        assert_eq!(left(&asked, coming_up(), after(60)), Some(3));
    }
    assert_eq!(left(&but(with_retries(started(), 1, None), asks_for_a_restart), serving(), after(60)), Some(3));
    let late = with_retries(starting(), 2, None);
    assert_eq!(left(&late, untried(nothing()), after(301)), Some(2), "the operator was away: no retry is used");
    assert_eq!(left(&but(stopped_after_timeout(), asks_for_a_retry), nothing(), after(1)), None);
    let new = but(fresh(), |g| g.spec.start_retries = granted.spec.start_retries.clone());
    assert_eq!(left(&new, nothing(), after(0)), Some(3));
}

#[test]
fn a_clock_is_held_from_the_moment_that_something_is_in_the_way() {
    for (why, gateway, observed) in [
        ("suspended", but(starting(), suspends), coming_up()),
        ("host taken", starting(), host_taken(coming_up())),
        ("name taken", starting(), name_taken(coming_up())),
        ("waiting for deletion", starting(), predecessor_goes(nothing())),
    ] {
        let attempt = attempt_after(&gateway, &observed, &after(60));
        assert_eq!((attempt.held_since, attempt.held_seconds), (Some(wall(60)), 0), "{why}");
    }
}

#[test]
fn a_clock_is_held_since_the_write_failed_first_and_not_since_that_could_be_recorded() {
    let away_for = |seconds| {
        but(unanswered(nothing(), Child::Deployment, webhook()), |o| {
            o.unanswered.as_mut().unwrap().lasted = secs(seconds);
        })
    };
    let since = |observed: &Observed, moment: &Moment| attempt_after(&starting(), observed, moment).held_since;
    assert_eq!(since(&away_for(40), &after(60)), Some(wall(20)));
    assert_eq!(since(&away_for(90), &after(60)), Some(wall(0)), "not from before the attempt");
    let unrecorded = Moment { unrecorded: secs(50), ..after(60) };
    assert_eq!(since(&away_for(40), &unrecorded), Some(wall(10)), "it could not be recorded before");
    let asked = but(starting(), changes_the_image);
    assert_eq!(attempt_after(&asked, &away_for(40), &after(60)).held_since, Some(wall(60)), "another attempt begins");
    let unknown = unanswered(nothing(), Child::Deployment, MissingDependency::Unknown);
    let unknown = but(unknown, |o| o.unanswered.as_mut().unwrap().lasted = secs(40));
    assert_eq!(since(&unknown, &after(60)), None);
}

#[test]
fn time_in_which_the_status_could_not_be_written_is_held_time_once_it_can_be() {
    let moment = |unrecorded| Moment { unrecorded: secs(unrecorded), ..after(400) };
    let held = attempt_after(&starting(), &coming_up(), &moment(150));
    assert_eq!((held.held_since, held.held_seconds), (None, 150));
    assert!(!decide(&starting(), &coming_up(), &moment(101), &SETTINGS).moves, "99 of 300 s are left");
    assert!(decide(&starting(), &coming_up(), &moment(99), &SETTINGS).moves);
    // Of a clock that is held already nothing is added twice.
    let since = held_since(starting(), 60);
    let both = Moment { held: secs(340), ..moment(150) };
    assert_eq!(attempt_after(&since, &coming_up(), &both).held_seconds, 350);
    let asked = but(starting(), changes_the_image);
    assert_eq!(attempt_after(&asked, &coming_up(), &moment(150)).held_seconds, 0, "another attempt begins");
    assert_eq!(attempt_after(&started(), &serving(), &moment(150)).held_seconds, 0, "no clock runs");
}

fn held_since(gateway: ApiGateway, seconds: i64) -> ApiGateway {
    but(gateway, |g| {
        status(g).attempt = Some(Attempt { held_seconds: 10, held_since: Some(wall(seconds)), ..attempt(1) });
    })
}

#[test]
fn a_clock_that_is_held_goes_on_being_held_since_the_same_moment() {
    let held = held_since(but(starting(), suspends), 60);
    let attempt = attempt_after(&held, &coming_up(), &Moment { held: secs(40), ..after(100) });
    assert_eq!((attempt.held_since, attempt.held_seconds), (Some(wall(60)), 10));
}

#[test]
fn a_clock_that_goes_on_has_its_held_time_added_and_rounded_up() {
    let held = held_since(starting(), 60);
    let moment = Moment { held: std::time::Duration::from_millis(40_001), ..after(100) };
    let attempt = attempt_after(&held, &coming_up(), &moment);
    assert_eq!((attempt.held_since, attempt.held_seconds), (None, 51));
}

#[test]
fn only_the_clock_of_a_start_is_held() {
    for gateway in [started(), timed_out(), stopping_after_timeout(), stopped_after_timeout()] {
        let status = status_after(&but(gateway, suspends), &host_taken(serving()), &after(60));
        assert_eq!(status.attempt, Some(attempt(1)));
    }
}

#[test]
fn a_start_that_ends_while_its_clock_is_held_lets_go_of_it() {
    let held = held_since(but(starting(), asks_stopped), 60);
    let moment = Moment { held: secs(40), ..after(100) };
    let attempt = attempt_after(&held, &host_taken(coming_up()), &moment);
    assert_eq!((attempt.held_since, attempt.held_seconds), (None, 50));
}

#[test]
fn a_transition_is_told_in_full() {
    let status = status_after(&starting(), &serving(), &Moment { attempt: secs(99), ..after(42) });
    let Transition { at: when, from, to, state, reason, message, seconds, others: _ } =
        status.history.last().unwrap().clone();
    assert_eq!((when, from, to), (wall(42), Some(Phase::Starting), Phase::Started));
    assert_eq!((state, reason, seconds), (State::Running, Reason::Started, 42));
    assert!(message.contains("attempt 1"), "{message}");
    assert_eq!(status.transitions, 2);
    let first = status_after(&fresh(), &nothing(), &after(0));
    assert_eq!((first.transitions, first.history.len(), first.history[0].from.clone()), (1, 1, None));
}

#[test]
fn the_history_keeps_the_last_twenty_and_the_counter_goes_on() {
    let old = but(starting(), |g| {
        let first = status(g).history[0].clone();
        status(g).history = (0..20).map(|n| Transition { seconds: n, ..first.clone() }).collect();
        status(g).transitions = 77;
    });
    let status = status_after(&old, &serving(), &after(42));
    assert_eq!((status.history.len(), status.transitions), (20, 78));
    assert_eq!((status.history[0].seconds, status.history[18].seconds), (1, 19));
    assert_eq!(status.history[19].reason, Reason::Started);
}

#[test]
fn a_restart_is_counted_and_nothing_else_is() {
    let restarts = |gateway: &ApiGateway, observed| status_after(gateway, &observed, &after(60)).restarts;
    assert_eq!(restarts(&but(started(), asks_for_a_restart), serving()), 1);
    assert_eq!(restarts(&but(starting(), asks_restarting), coming_up()), 1);
    assert_eq!(restarts(&but(restarting(), asks_for_a_restart), rolling_out()), 2);
    assert_eq!(restarts(&but(restarting(), changes_the_image), rolling_out()), 1);
    assert_eq!(restarts(&but(timed_out(), asks_for_a_restart), coming_up()), 0, "it is a start request there");
    assert_eq!(restarts(&but(fresh(), asks_restarting), nothing()), 0);
    assert_eq!(restarts(&restarting(), serving()), 1);
}

#[test]
fn a_timeout_records_its_cause() {
    let status = status_after(&starting(), &image_not_pullable(coming_up(), "shop-1"), &after(301));
    let Failure { reason, message, hint, at: when, attempt, others: _ } = status.last_failure.unwrap();
    assert_eq!((reason, when, attempt), (Reason::ImagePullFailed, wall(301), 1));
    assert!(message.contains("shop-1") && message.contains("ghcr.io/acme/gateway:1"), "{message}");
    assert!(!hint.is_empty());
    assert!(status.history.last().unwrap().message.contains("shop-1"), "the history tells it too");
}

#[test]
fn a_restart_that_is_given_up_records_its_cause() {
    let status = status_after(&restarting(), &unschedulable(rolling_out(), "shop-2"), &after(301));
    let failure = status.last_failure.unwrap();
    assert_eq!((failure.reason, failure.attempt), (Reason::Unschedulable, 2));
}

#[test]
fn a_start_that_serves_on_keeps_its_cause_until_it_is_complete_and_begins_no_attempt() {
    let mut gateway = starting();
    let half_up = unschedulable(but(rolling_out(), |o| o.rollout.desired = 2), "shop-2");
    pass(&mut gateway, &half_up, &after(301));
    let status = gateway.status_or_default();
    let last = status.history.last().unwrap();
    assert_eq!((status.phase, status.state), (Some(Phase::Started), Some(State::Running)));
    assert_eq!(status.last_failure.as_ref().map(|failure| failure.reason), Some(Reason::Unschedulable));
    assert!(last.message.starts_with("attempt 1 did not finish within 5m; the available pods keep serving: "));
    assert!(status.url.is_some(), "it answers");
    pass(&mut gateway, &half_up, &after(9_000));
    pass(&mut gateway, &serving(), &after(9_100));
    let after = gateway.status_or_default();
    assert_eq!((after.last_failure, after.transitions, after.attempt), (None, status.transitions, status.attempt));
}

#[test]
fn the_cause_outlives_the_clean_up_and_the_next_attempt_and_goes_with_a_success() {
    let mut gateway = starting();
    pass(&mut gateway, &image_not_pullable(coming_up(), "shop-1"), &after(301));
    let cause = gateway.status_or_default().last_failure;
    assert!(cause.is_some());
    let steps = [(Phase::Stopping, serving()), (Phase::Stopping, serving()), (Phase::Stopped, nothing())];
    for (phase, observed) in steps {
        pass(&mut gateway, &observed, &after(310));
        let status = gateway.status_or_default();
        assert_eq!((status.phase, &status.last_failure), (Some(phase), &cause));
    }
    gateway = but(gateway, changes_the_image);
    pass(&mut gateway, &nothing(), &after(320));
    pass(&mut gateway, &nothing(), &after(1));
    let status = gateway.status_or_default();
    assert_eq!((status.phase, &status.last_failure), (Some(Phase::Starting), &cause));
    pass(&mut gateway, &serving(), &after(10));
    let status = gateway.status_or_default();
    assert_eq!((status.phase, status.last_failure), (Some(Phase::Started), None));
}

#[test]
fn a_host_is_claimed_with_the_start() {
    let claim = |host: &str, second| vec![HostClaim { host: host.to_owned(), since: wall(second) }];
    let hosts = |gateway: &ApiGateway, observed, moment| status_after(gateway, &observed, &moment).hosts;
    let moved = |gateway| but(gateway, |g: &mut ApiGateway| g.spec.host = Some("new.example.com".to_owned()));
    assert_eq!(hosts(&fresh(), nothing(), after(5)), claim(HOST, 5));
    assert_eq!(hosts(&fresh(), host_taken(nothing()), after(5)), vec![], "no claim on a taken host");
    let waiting = child(nothing(), Child::Ingress, Presence::Predecessor);
    assert_eq!(hosts(&fresh(), waiting.clone(), after(5)), claim(HOST, 5), "it begins once that is collected");
    assert_eq!(hosts(&fresh(), name_taken(nothing()), after(5)), vec![], "who knows when that begins");
    assert_eq!(hosts(&fresh(), host_taken(waiting), after(5)), vec![], "nor then on a taken one");
    assert_eq!(hosts(&but(fresh(), asks_stopped), nothing(), after(5)), vec![], "no claim without a start");
    assert_eq!(hosts(&started(), serving(), after(5)), claim(HOST, 0), "a claim keeps its age");
    assert_eq!(hosts(&moved(started()), serving(), after(5)), claim("new.example.com", 5));
    assert_eq!(hosts(&moved(started()), host_taken(serving()), after(5)), claim(HOST, 0), "the old one is kept");
    assert_eq!(hosts(&moved(but(started(), suspends)), serving(), after(5)), claim(HOST, 0));
    assert_eq!(hosts(&but(started(), drops_the_host), serving(), after(5)), vec![]);
    let stopped = [timed_out(), stopping_after_timeout(), stopped_after_timeout(), stopped_as_asked()];
    for gateway in stopped {
        assert_eq!(hosts(&gateway, nothing(), after(5)), claim(HOST, 0), "Stopped included");
    }
    assert_eq!(hosts(&moved(stopped_as_asked()), nothing(), after(5)), vec![], "nothing routes the old one");
    assert_eq!(hosts(&moved(but(stopped_as_asked(), suspends)), nothing(), after(5)), claim(HOST, 0));
}

#[test]
fn a_claim_that_does_not_stand_is_dropped_in_every_phase() {
    let lost = |observed| but(observed, |o: &mut Observed| o.lost = vec![HOST.to_owned()]);
    for (phase, gateway) in in_every_phase() {
        let is_known = gateway.status_or_default().phase != of_a_later_version().status_or_default().phase;
        for observed in [lost(host_not_allowed(serving())), lost(host_taken(nothing()))] {
            for gateway in [gateway.clone(), but(gateway.clone(), suspends), but(gateway.clone(), asks_stopped)] {
                let hosts = status_after(&gateway, &observed, &after(5)).hosts;
                assert_eq!(hosts.is_empty(), is_known, "{phase}: {hosts:?}");
            }
        }
    }
    // One that moves to a host that is taken loses the old one as well, where its namespace may not have it any more.
    let moved = but(started(), |g| g.spec.host = Some("new.example.com".to_owned()));
    assert_eq!(status_after(&moved, &lost(host_taken(serving())), &after(5)).hosts, []);
}

#[test]
fn a_gateway_that_is_held_by_a_finalizer_of_others_lets_go_of_its_host_with_its_ingress() {
    let held = but(but(recorded(Phase::Deleting, State::Stopped), deletes), |g| {
        g.metadata.finalizers = Some(vec!["example.com/hold".to_owned()]);
    });
    let hosts = |observed| status_after(&held, &observed, &after(5)).hosts.len();
    assert_eq!(hosts(serving()), 1);
    assert_eq!(hosts(child(serving(), Child::Ingress, Presence::Terminating)), 1);
    assert_eq!(hosts(child(serving(), Child::Ingress, Presence::Missing)), 0);
}

#[test]
fn the_address_is_told_while_the_gateway_serves() {
    let url = |gateway: &ApiGateway, observed| status_after(gateway, &observed, &after(60)).url;
    let address = Some("http://shop.example.com/".to_owned());
    assert_eq!(url(&starting(), serving()), address);
    assert_eq!(url(&started(), serving()), address);
    assert_eq!(url(&restarting(), rolling_out()), address);
    assert_eq!(url(&starting(), coming_up()), None);
    assert_eq!(url(&started(), child(serving(), Child::Ingress, Presence::Missing)), None);
    let told = |gateway| but(gateway, |g: &mut ApiGateway| status(g).url = Some("http://old/".to_owned()));
    assert_eq!(url(&told(starting()), coming_up()), None);
    assert_eq!(url(&told(but(started(), asks_stopped)), serving()), None);
    assert_eq!(url(&told(restarting()), coming_up()), address);
    let lost = but(host_not_allowed(serving()), |o| o.lost = vec![HOST.to_owned()]);
    assert_eq!(url(&told(started()), lost), None, "only its environments are routed");
}

#[test]
fn pods_and_environments_are_counted_with_the_transition() {
    let status = status_after(&starting(), &environments(serving(), &[true, true]), &after(60));
    assert_eq!((status.replicas, status.ready_replicas), (Some(1), Some(1)));
    assert_eq!(status.environments, Some(EnvironmentCount { active: 2, total: 2 }));
    assert_eq!(status.selector.as_deref(), Some("phasegate.dev/gateway=shop"));
    let some = status_after(&started(), &environments(serving(), &[true, false]), &after(60));
    assert_eq!(some.environments, Some(EnvironmentCount { active: 1, total: 2 }));
    let stopped = status_after(&stopping_as_asked(), &environments(nothing(), &[false]), &after(60));
    assert_eq!((stopped.replicas, stopped.ready_replicas), (Some(0), Some(0)));
    assert_eq!(stopped.environments, Some(EnvironmentCount { active: 0, total: 1 }));
}

#[test]
fn pods_that_come_and_go_are_no_news_by_themselves() {
    let mut gateway = started();
    pass(&mut gateway, &serving(), &after(60));
    let more_pods = but(serving(), |o| (o.rollout.replicas, o.rollout.ready) = (5, 4));
    assert_eq!(decide(&gateway, &more_pods, &after(61), &SETTINGS).status, None);
    let mut young = starting();
    pass(&mut young, &coming_up(), &after(60));
    let first_pod = but(coming_up(), |o| (o.rollout.ready, o.rollout.available) = (1, 1));
    assert_eq!(decide(&young, &first_pod, &after(61), &SETTINGS).status, None);
}

#[test]
fn pods_are_counted_when_available_changes() {
    let mut gateway = started();
    pass(&mut gateway, &serving(), &after(60));
    let lost = but(serving(), |o| {
        o.rollout = but(o.rollout.clone(), |r| (r.complete, r.ready, r.available) = (false, 0, 0));
    });
    let plan = pass(&mut gateway, &lost, &after(61));
    assert_eq!(plan.status.unwrap().ready_replicas, Some(0));
}

#[test]
fn the_generation_is_the_one_that_was_looked_at() {
    let edited = but(started(), |g| g.metadata.generation = Some(9));
    assert_eq!(status_after(&edited, &serving(), &after(60)).observed_generation, Some(9));
    let held = but(but(started(), |g| g.metadata.generation = Some(9)), suspends);
    assert_eq!(status_after(&held, &serving(), &after(60)).observed_generation, Some(10));
}

#[test]
fn a_quiet_gateway_writes_nothing_and_asks_for_nothing() {
    for (phase, gateway, observed) in [
        ("Started", started(), serving()),
        ("Stopped as asked", stopped_as_asked(), nothing()),
        ("Stopped after a timeout", stopped_after_timeout(), nothing()),
        ("suspended", but(started(), suspends), serving()),
        ("of a later version", of_a_later_version(), serving()),
        ("Created", created(), host_taken(nothing())),
    ] {
        let mut gateway = gateway;
        pass(&mut gateway, &observed, &after(60));
        for seconds in [61, 400, 100_000] {
            let plan = decide(&gateway, &observed, &after(seconds), &SETTINGS);
            assert_eq!(
                (plan.status, plan.steps, plan.events, plan.requeue_after),
                (None, vec![], vec![], None),
                "{phase}"
            );
        }
    }
}
