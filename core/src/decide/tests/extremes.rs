//! What random cases (`properties`) found to end the operator, or to be told without end, each as a row.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::builders::*;
use crate::api::{ApiGateway, Attempt, UnknownFields, condition};
use crate::decide::observed::{
    Child, HostVerdict, Moment, Observed, Presence, Repair, Repaired, TerminatingChild, Trouble,
};
use crate::decide::words::LONGEST_MESSAGE;
use crate::decide::{decide, judged_in};

/// The same gateway, whose counters are at their greatest.
fn counted_out(gateway: ApiGateway) -> ApiGateway {
    but(gateway, |g| {
        let status = status(g);
        (status.transitions, status.restarts) = (i64::MAX, i64::MAX);
        status.attempt = Some(Attempt { number: i64::MAX, held_seconds: i64::MAX, ..attempt(1) });
    })
}

#[test]
fn a_counter_at_its_greatest_stays_there_and_the_gateway_goes_on() {
    let mut restarted = but(counted_out(started()), asks_for_a_restart);
    pass(&mut restarted, &serving(), &after(10));
    let status = restarted.status_or_default();
    assert_eq!((status.transitions, status.restarts), (i64::MAX, i64::MAX));
    assert_eq!(status.attempt.map(|attempt| attempt.number), Some(i64::MAX));
    assert_eq!(
        status.history.last().map(|last| last.message.as_str()),
        Some("restart begins as attempt 9223372036854775807; its deadline is 5m")
    );
}

#[test]
fn a_clock_that_was_held_for_ever_is_held_no_longer_than_that() {
    let held =
        but(counted_out(starting()), |g| status(g).attempt.as_mut().unwrap().held_since = Some(MicroTime(at(0))));
    let moment = Moment { held: Duration::MAX, ..after(400) };
    let attempt = status_after(&held, &coming_up(), &moment).attempt.unwrap();
    let expected = Attempt {
        number: i64::MAX,
        started_at: MicroTime(at(0)),
        held_seconds: i64::MAX,
        held_since: None,
        retries_left: None,
        others: UnknownFields::new(),
    };
    assert_eq!(attempt, expected);
    assert_eq!(judged_in(&held, &coming_up(), &moment, &SETTINGS), Some(secs(300)));
}

#[test]
fn a_pod_that_was_silent_for_ever_is_looked_at_again_after_as_long() {
    let observed = but(silent(coming_up(), 30, None), |o| {
        let unexplained = o.pods.unexplained.as_mut().unwrap();
        (unexplained.lasted, unexplained.read_at) = (secs(30), Some(Duration::MAX));
    });
    assert_eq!(decide(&starting(), &observed, &after(60), &SETTINGS).requeue_after, Some(secs(120)));
}

/// A list of others that has no end.
fn many() -> Vec<String> {
    (0..1_000).map(|number| format!("example.com/gate-{number}")).collect()
}

#[test]
fn a_message_ends_where_what_it_quotes_does_not() {
    let gated = followed(coming_up(), Trouble::Gated(many()), 30, None);
    let allowed = but(nothing(), |o| {
        o.host = HostVerdict::NotAllowed {
            host: HOST.to_owned(),
            allowed: many().join(","),
            no_name: Some(many().concat()),
        };
    });
    let terminating = but(child(nothing(), Child::Deployment, Presence::Terminating), |o| {
        o.writes.terminating =
            vec![TerminatingChild { child: Child::Deployment, lasted: secs(60), finalizers: many() }];
    });
    let rows: [(&str, Observed, &str); 3] = [
        ("gates", gated, "False SchedulingGated"),
        ("what a namespace allows", allowed, "False HostNotAllowed"),
        ("finalizers", terminating, "False WaitingForDeletion"),
    ];
    for (what, observed, expected) in rows {
        let status = status_after(&starting(), &observed, &after(60));
        assert_eq!(said(&status, condition::READY), expected, "{what}");
        assert!(message(&status, condition::READY).len() <= LONGEST_MESSAGE, "{what}");
        let failed = status_after(&starting(), &observed, &after(5_000));
        let told = failed
            .last_failure
            .iter()
            .map(|failure| failure.message.len())
            .chain(failed.history.iter().map(|step| step.message.len()));
        assert!(told.max() <= Some(LONGEST_MESSAGE), "{what}");
    }
}

#[test]
fn a_message_in_its_bounds_is_told_as_it_is_and_a_longer_one_is_cut_between_characters() {
    let contested = |path: String| {
        but(child(serving(), Child::Service, different()), |o| {
            let last = Repair { child: Child::Service, path, manager: None };
            o.writes.repaired = vec![Repaired { last, times: 9, wait: secs(60), calm_in: secs(60) }];
        })
    };
    let told = |path: String| status_after(&started(), &contested(path), &after(10)).contested[0].path.clone();
    assert_eq!(told("/spec/type".to_owned()), "/spec/type");
    assert_eq!(told("x".repeat(LONGEST_MESSAGE)), "x".repeat(LONGEST_MESSAGE));
    assert_eq!(told("ä".repeat(LONGEST_MESSAGE)), format!("{}…", "ä".repeat(LONGEST_MESSAGE / 2 - 2)));
}
