//! Events: few, and each once.

use super::builders::*;
use crate::api::{ApiGateway, Reason};
use crate::decide::observed::{Child, Moment, Observed, PodEvent, Presence, ProbeResult, Trouble};

/// The Events of a sequence of passes, as `Warning Reason` or `Normal Reason`.
fn told(gateway: &mut ApiGateway, passes: &[(Observed, Moment)]) -> Vec<String> {
    passes
        .iter()
        .flat_map(|(observed, moment)| pass(gateway, observed, moment).events)
        .map(|event| format!("{} {}", if event.warning { "Warning" } else { "Normal" }, event.reason))
        .collect()
}

#[test]
fn a_normal_start_tells_one_event() {
    let mut gateway = fresh();
    let passes = [
        (nothing(), after(0)),
        (nothing(), after(0)),
        (coming_up(), after(1)),
        (coming_up(), after(20)),
        (serving(), after(30)),
        (serving(), after(31)),
    ];
    assert_eq!(told(&mut gateway, &passes), ["Normal Started"]);
}

#[test]
fn a_timeout_warns_once_and_its_clean_up_tells_the_stop() {
    let mut gateway = starting();
    let passes = [
        (coming_up(), after(300)),
        (coming_up(), after(301)),
        (coming_up(), after(302)),
        (child(nothing(), Child::Deployment, Presence::Terminating), after(303)),
        (nothing(), after(304)),
        (nothing(), after(305)),
    ];
    assert_eq!(told(&mut gateway, &passes), ["Warning StartDeadlineExceeded", "Normal Stopped"]);
}

#[test]
fn a_timeout_tells_its_cause() {
    let plan = pass(&mut starting(), &image_not_pullable(coming_up(), "shop-1"), &after(301));
    let told: Vec<_> = plan.events.iter().map(|event| event.reason).collect();
    assert_eq!(told, [Reason::StartDeadlineExceeded]);
    assert!(plan.events[0].message.contains("shop-1"), "{}", plan.events[0].message);
}

#[test]
fn a_stop_as_asked_tells_one_event() {
    let mut gateway = but(started(), asks_stopped);
    let passes = [(serving(), after(1)), (serving(), after(2)), (nothing(), after(3)), (nothing(), after(4))];
    assert_eq!(told(&mut gateway, &passes), ["Normal Stopped"]);
}

#[test]
fn a_stop_names_the_pod_that_it_leaves_alone_once() {
    let unowned = but(nothing(), |o| o.pods.unowned.push("shop-x".to_owned()));
    let mut gateway = stopping_as_asked();
    let plan = pass(&mut gateway, &unowned, &after(1));
    assert_eq!(
        plan.events.iter().map(|event| event.message.as_str()).collect::<Vec<_>>(),
        [
            "all children and their pods are gone; pod shop-x has the gateway's label but no owner reference and is left \
          running. Delete it, or remove its label phasegate.dev/gateway"
        ]
    );
    assert_eq!(told(&mut gateway, &[(unowned.clone(), after(2)), (unowned, after(3))]), Vec::<String>::new());
}

#[test]
fn a_restart_tells_that_it_ended() {
    let mut gateway = but(started(), asks_for_a_restart);
    let passes = [(serving(), after(1)), (rolling_out(), after(2)), (serving(), after(3))];
    assert_eq!(told(&mut gateway, &passes), ["Normal Started"]);
}

#[test]
fn a_restart_that_took_too_long_warns_once() {
    let passes = [(rolling_out(), after(300)), (rolling_out(), after(301)), (rolling_out(), after(999))];
    assert_eq!(told(&mut restarting(), &passes), ["Warning RestartDeadlineExceeded"]);
}

#[test]
fn a_start_that_serves_on_at_its_deadline_warns_once_with_its_cause() {
    let half_up = image_not_pullable(but(rolling_out(), |o| o.rollout.desired = 2), "shop-2");
    let passes = [(half_up.clone(), after(300)), (half_up.clone(), after(301)), (half_up, after(999))];
    assert_eq!(told(&mut starting(), &passes), ["Warning StartDeadlineExceeded"]);
}

#[test]
fn attempts_of_the_operators_own_are_told() {
    assert_eq!(told(&mut starting(), &[(untried(nothing()), after(301))]), ["Normal Resumed"]);
    let mut gateway = with_retries(stopped_after_timeout(), 1, None);
    assert_eq!(told(&mut gateway, &[(nothing(), after_failure(60))]), ["Normal RetryScheduled"]);
}

#[test]
fn what_stalls_warns_once() {
    let held = [(host_taken(nothing()), after(0)), (host_taken(nothing()), after(60))];
    assert_eq!(told(&mut fresh(), &held), ["Warning HostTaken"]);
    let stuck = [(pods(nothing(), 1, 1), after(600)), (pods(nothing(), 1, 1), after(700))];
    assert_eq!(told(&mut stopping_as_asked(), &stuck), ["Warning CleanupStuck"]);
    let unknown = [(serving(), after(1)), (serving(), after(2))];
    assert_eq!(told(&mut of_a_later_version(), &unknown), ["Warning UnknownPhase"]);
}

#[test]
fn a_visible_cause_warns_once_whichever_pod_has_it() {
    let passes = [
        (coming_up(), after(1)),
        (image_not_pullable(coming_up(), "shop-1"), after(2)),
        (image_not_pullable(coming_up(), "shop-2"), after(3)),
    ];
    assert_eq!(told(&mut starting(), &passes), ["Warning ImagePullFailed"]);
}

#[test]
fn each_deeper_cause_warns_and_the_same_in_newer_words_does_not() {
    let ended = |code: i32| in_trouble(coming_up(), "shop-1", ended(code, ""));
    let passes = [
        (silent(coming_up(), 8, Some(probe("connection refused"))), after(8)),
        (silent(coming_up(), 150, Some(probe("connection refused"))), after(150)),
        (silent(coming_up(), 152, Some(probe("statuscode: 503"))), after(152)),
        (ended(143), after(160)),
        (ended(1), after(170)),
    ];
    assert_eq!(told(&mut starting(), &passes), ["Warning ReadinessFailing", "Warning CrashLoop"]);
}

/// A container that ended may have been a probe's; its Events are read a second later.
#[test]
fn what_was_told_is_not_taken_back_while_it_is_read_what_ended_a_container() {
    let late = |code, pod_event: Option<PodEvent>| {
        let ended = Trouble::Ended { code, out_of_memory: false, message: String::new(), brief: false };
        followed(coming_up(), ended, 1, pod_event)
    };
    let read = |code| but(late(code, None), |o| o.pods.unexplained.as_mut().unwrap().read_at = Some(secs(1)));
    let killed = PodEvent::Killed(ProbeResult { container: None, words: "refused".to_owned() });
    let probe_first = [
        (silent(coming_up(), 150, Some(probe("refused"))), after(150)),
        (late(0, None), after(180)),
        (late(0, Some(killed)), after(181)),
    ];
    assert_eq!(told(&mut starting(), &probe_first), ["Warning ReadinessFailing"]);
    let crash_first = [(read(0), after(60)), (late(2, None), after(90)), (read(2), after(91))];
    assert_eq!(told(&mut starting(), &crash_first), ["Warning CrashLoop"]);
}

#[test]
fn what_heals_by_waiting_is_no_event() {
    assert_eq!(told(&mut fresh(), &[(predecessor_goes(nothing()), after(0))]), Vec::<String>::new());
    assert_eq!(told(&mut started(), &[(rolling_out(), after(1))]), Vec::<String>::new());
    assert_eq!(told(&mut but(started(), suspends), &[(rolling_out(), after(1))]), Vec::<String>::new());
}

#[test]
fn a_registry_that_is_away_warns_once_those_who_wait_for_it() {
    let waiting = [(registry_away(nothing()), after(0)), (registry_away(nothing()), after(1))];
    assert_eq!(told(&mut fresh(), &waiting), ["Warning RegistryUnavailable"]);
}
