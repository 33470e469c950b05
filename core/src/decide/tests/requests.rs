//! Requests and their tokens: what counts as new, and when it is taken up.

use super::builders::*;
use crate::api::{
    ApiGateway, ApiGatewayStatus, DesiredState, Handled, Phase, RESTART_ANNOTATION, RETRY_ANNOTATION, State,
};
use crate::decide::observed::{Child, Moment, Observed};
use crate::decide::requests::{Requests, tokens};

const RETRIED: &str = "2025-06-15T15:06:40Z";

fn start() -> Requests {
    Requests { start: true, restart: false }
}

fn restart() -> Requests {
    Requests { start: false, restart: true }
}

fn none() -> Requests {
    Requests::default()
}

#[test]
fn what_is_a_request() {
    let both = Requests { start: true, restart: true };
    let leftover = || taken_up(but(started(), asks_restarting));
    let rows: Vec<(&str, ApiGateway, Requests)> = vec![
        ("nothing new", started(), none()),
        ("a gateway without tokens has no requests", but(fresh(), asks_for_a_restart), none()),
        ("another image", but(started(), changes_the_image), start()),
        ("another environment variable", but(started(), |g| g.spec.env.push(named("A"))), start()),
        ("another deadline", but(started(), |g| g.spec.start_deadline = Some(secs(60).into())), start()),
        ("no host any more", but(started(), drops_the_host), start()),
        ("a retry annotation", but(started(), asks_for_a_retry), start()),
        ("the same retry annotation", taken_up(but(started(), asks_for_a_retry)), none()),
        ("a restart annotation", but(started(), asks_for_a_restart), restart()),
        ("the same restart annotation", taken_up(but(started(), asks_for_a_restart)), none()),
        ("an annotation that is taken away", but(taken_up(but(started(), asks_for_a_retry)), no_annotations), none()),
        ("spec.state turning to Restarting", but(started(), asks_restarting), restart()),
        ("spec.state staying Restarting", leftover(), none()),
        ("spec.state turning back to Running", but(leftover(), asks_running), none()),
        ("spec.state turning from Stopped to Restarting", but(stopped_as_asked(), asks_restarting), restart()),
        ("spec.state turning from Stopped to Running", but(stopped_as_asked(), asks_running), none()),
        ("spec.state turning to Stopped", but(started(), asks_stopped), none()),
        ("anything while asked Stopped", but(but(but(started(), asks_stopped), changes_the_image), everything), none()),
        ("suspend", but(started(), suspends), none()),
        ("resume", but(taken_up(but(started(), suspends)), resumes), none()),
        ("scaling up", but(started(), |g| g.spec.replicas = Some(5)), none()),
        ("scaling to nothing", but(started(), |g| g.spec.replicas = Some(0)), none()),
        ("a hash of another version", hashed_by_an_older_version(started()), none()),
        (
            "another image under a hash of another version",
            but(hashed_by_an_older_version(started()), changes_the_image),
            none(),
        ),
        (
            "a retry annotation beside a hash of another version",
            but(hashed_by_an_older_version(started()), asks_for_a_retry),
            start(),
        ),
        ("both at once", but(but(started(), changes_the_image), asks_for_a_restart), both),
    ];
    for (name, gateway, expected) in rows {
        assert_eq!(Requests::of(&gateway), expected, "{name}");
    }
}

fn named(name: &str) -> k8s_openapi::api::core::v1::EnvVar {
    k8s_openapi::api::core::v1::EnvVar { name: name.to_owned(), ..Default::default() }
}

fn no_annotations(gateway: &mut ApiGateway) {
    gateway.metadata.annotations = None;
}

fn everything(gateway: &mut ApiGateway) {
    asks_for_a_retry(gateway);
    asks_for_a_restart(gateway);
}

#[test]
fn the_hash_leaves_out_state_suspend_and_replicas() {
    let hash = |gateway: &ApiGateway| tokens(gateway).spec_hash;
    let plain = hash(&fresh());
    for edit in [asks_stopped, asks_restarting, suspends, |g: &mut ApiGateway| g.spec.replicas = Some(4)] {
        assert_eq!(hash(&but(fresh(), edit)), plain);
    }
    assert_ne!(hash(&but(fresh(), changes_the_image)), plain);
}

#[test]
fn the_hash_of_a_spec_stays_the_same_for_as_long_as_its_version_does() {
    // Were it to change without its version, an upgrade would restart every gateway that a
    // timeout holds. A new field of the spec must be left out of its JSON while it is absent.
    assert_eq!(tokens(&fresh()).spec_hash, "v1:58e14395028c0575");
}

#[test]
fn the_tokens_are_what_is_asked_now() {
    let gateway = but(but(fresh(), asks_restarting), everything);
    let Handled { state, retry, restart, .. } = tokens(&gateway);
    assert_eq!(state, DesiredState::Restarting);
    assert_eq!((retry.as_deref(), restart.as_deref()), (Some(RETRIED), Some(RETRIED)));
}

#[test]
fn of_a_long_token_a_hash_is_recorded_and_of_one_that_a_terminal_would_obey() {
    let long = "x".repeat(130_000);
    for value in [long.as_str(), &"y".repeat(65), "\u{1b}[2J", "a\nb", "caf\u{e9}"] {
        let asks = |g: &mut ApiGateway| {
            annotate(g, RETRY_ANNOTATION, value);
            annotate(g, RESTART_ANNOTATION, value);
        };
        let asked = tokens(&but(fresh(), asks));
        let token = asked.retry.clone().unwrap();
        assert!(token.starts_with("hash:") && token.len() == 21, "{token:?}");
        assert_eq!(asked.restart, asked.retry);
        assert_eq!(Requests::of(&but(started(), asks)), Requests { start: true, restart: true });
        assert_eq!(Requests::of(&taken_up(but(started(), asks))), none(), "once");

        // The last release recorded it as it is. That alone asks for nothing, and another value does.
        let raw = but(but(started(), asks), |g| {
            let handled = status(g).handled.as_mut().unwrap();
            (handled.retry, handled.restart) = (Some(value.to_owned()), Some(value.to_owned()));
        });
        assert_eq!(Requests::of(&raw), none());
        assert_eq!(Requests::of(&but(raw.clone(), |g| annotate(g, RETRY_ANNOTATION, &format!("{value}z")))), start());
        assert_eq!(Requests::of(&but(raw, asks_for_a_restart)), restart());
    }
    for value in ["now", "", "Thu Nov 27 08:00:00 UTC 2026", &"x".repeat(64)] {
        let retry = tokens(&but(fresh(), |g| annotate(g, RETRY_ANNOTATION, value))).retry;
        assert_eq!(retry.as_deref(), Some(value), "as the last release would record it");
    }
}

/// Whether the tokens are as asked now, after one pass.
fn takes(gateway: &ApiGateway, observed: &Observed, moment: &Moment) -> bool {
    status_after(gateway, observed, moment).handled == Some(tokens(gateway))
}

/// What was asked, as far as it is taken up after one pass.
fn handled_after(gateway: &ApiGateway, observed: &Observed, moment: &Moment) -> Option<Handled> {
    request(&status_after(gateway, observed, moment))
}

/// The request in a status, without what only says which generations are still the same request.
fn request(status: &ApiGatewayStatus) -> Option<Handled> {
    status.handled.clone().map(|handled| Handled { generation: None, read_as: None, replicas: None, ..handled })
}

#[test]
fn entering_starting_takes_all_tokens() {
    let all = |gateway: ApiGateway| but(but(but(gateway, asks_restarting), everything), changes_the_image);
    let resumed = after(301);
    assert!(takes(&all(fresh()), &nothing(), &after(0)));
    assert!(takes(&all(created()), &nothing(), &after(0)));
    assert!(takes(&all(starting()), &coming_up(), &after(60)), "attempt+1 included");
    assert!(takes(&all(restarting()), &rolling_out(), &after(60)));
    assert!(takes(&all(started()), &serving(), &after(60)));
    assert!(takes(&all(timed_out()), &coming_up(), &after(60)));
    assert!(takes(&all(stopped_after_timeout()), &nothing(), &after(60)));
    assert!(takes(&all(stopped_as_asked()), &nothing(), &after(60)));
    let older = hashed_by_an_older_version(starting());
    assert!(takes(&but(older, everything), &untried(nothing()), &resumed));
    let turned_back = but(taken_up(but(restarting(), asks_restarting)), asks_running);
    assert!(takes(&turned_back, &untried(nothing()), &resumed), "a change that is no request is taken too");
    assert!(takes(&with_retries(stopped_after_timeout(), 1, None), &nothing(), &after_failure(60)));
}

#[test]
fn a_gateway_that_serves_takes_all_tokens_when_its_spec_changes() {
    let changed = but(but(started(), changes_the_image), asks_for_a_retry);
    assert!(takes(&changed, &child(serving(), Child::Deployment, different()), &after(60)));
    assert!(takes(&but(taken_up(but(started(), asks_restarting)), asks_running), &serving(), &after(60)));
}

#[test]
fn a_gateway_that_becomes_ready_takes_a_change_of_its_spec() {
    let changed = but(starting(), changes_the_image);
    let status = status_after(&changed, &serving(), &after(60));
    assert_eq!(status.phase, Some(Phase::Started));
    assert_eq!(status.handled, Some(tokens(&changed)));
}

#[test]
fn a_restart_that_is_asked_while_a_gateway_becomes_ready_is_not_lost() {
    let mut gateway = but(but(starting(), asks_for_a_restart), changes_the_image);
    assert_eq!(status_after(&gateway, &serving(), &after(60)).phase, Some(Phase::Started));
    pass(&mut gateway, &serving(), &after(60));
    pass(&mut gateway, &serving(), &after(61));
    let status = gateway.status_or_default();
    assert_eq!((status.phase, status.state, status.restarts), (Some(Phase::Starting), Some(State::Restarting), 1));
}

#[test]
fn a_retry_on_a_gateway_that_serves_is_not_even_written_down() {
    let gateway = but(started(), asks_for_a_retry);
    assert_eq!(handled_after(&gateway, &serving(), &after(60)), request(&started().status_or_default()));
}

#[test]
fn scaling_and_suspending_change_no_token() {
    let untouched = request(&started().status_or_default());
    let scaled = but(started(), |g| g.spec.replicas = Some(3));
    assert_eq!(handled_after(&scaled, &serving(), &after(60)), untouched);
    assert_eq!(handled_after(&but(started(), suspends), &serving(), &after(60)), untouched);
}

#[test]
fn while_a_stop_is_asked_the_tokens_are_taken_in_any_phase() {
    let phases = in_every_phase().into_iter().filter(|(phase, _)| !["Deleting", "of a later version"].contains(phase));
    for (phase, gateway) in phases {
        let asked = but(but(but(gateway, asks_stopped), changes_the_image), everything);
        assert!(takes(&asked, &coming_up(), &after(60)), "{phase}");
    }
}

#[test]
fn after_a_timeout_and_during_a_stop_the_tokens_wait() {
    // In a timed-out gateway a request is met at once, so only a token that is no request is
    // left to wait there.
    let turned_back = but(taken_up(but(timed_out(), asks_restarting)), asks_running);
    let waits = |gateway: &ApiGateway, observed: &Observed, moment: &Moment| {
        handled_after(gateway, observed, moment) == request(&gateway.status_or_default())
    };
    assert!(waits(&turned_back, &coming_up(), &after(60)));
    let late = but(taken_up(but(restarting(), asks_restarting)), asks_running);
    assert!(waits(&late, &coming_up(), &after(301)), "in the moment of the timeout too");
    for gateway in [stopping_after_timeout(), but(stopping_as_asked(), asks_running)] {
        let asked = but(but(gateway, changes_the_image), everything);
        assert!(waits(&asked, &serving(), &after(60)), "while children are there");
        assert!(waits(&asked, &nothing(), &after(60)), "when the last of them is gone");
    }
    for gateway in [stopped_after_timeout(), but(stopped_as_asked(), asks_running)] {
        let asked = but(but(gateway, changes_the_image), everything);
        assert!(waits(&asked, &host_taken(nothing()), &after(60)), "while the host is taken");
        assert!(waits(&asked, &serving(), &after(60)), "while a late child is there");
    }
}

#[test]
fn during_a_start_a_change_that_is_no_request_waits() {
    let turned_back = but(taken_up(but(restarting(), asks_restarting)), asks_running);
    assert_eq!(
        handled_after(&turned_back, &rolling_out(), &after(60)),
        request(&turned_back.status_or_default()),
        "turning back is taken up in Started"
    );
}

#[test]
fn a_hash_of_another_version_is_recorded_anew() {
    for gateway in [starting(), started(), timed_out(), stopping_after_timeout(), stopped_after_timeout()] {
        let asked = hashed_by_an_older_version(gateway);
        assert!(takes(&asked, &coming_up(), &after(60)));
    }
}

#[test]
fn a_gateway_is_met_with_its_tokens() {
    let held: ApiGatewayStatus = status_after(&fresh(), &host_taken(nothing()), &after(0));
    assert_eq!(held.handled, Some(tokens(&fresh())));
    let stopped = but(fresh(), asks_stopped);
    let status = status_after(&stopped, &nothing(), &after(0));
    assert_eq!(status.handled.unwrap().state, DesiredState::Stopped);
}

#[test]
fn a_later_versions_hash_is_left_to_it() {
    let later = but(of_a_later_version(), |g| status(g).handled.as_mut().unwrap().spec_hash = "v9:0".to_owned());
    assert_eq!(handled_after(&later, &serving(), &after(60)).unwrap().spec_hash, "v9:0");
}

#[test]
fn in_an_unknown_phase_no_token_is_touched() {
    let asked = but(but(of_a_later_version(), changes_the_image), everything);
    assert_eq!(handled_after(&asked, &nothing(), &after(60)), request(&asked.status_or_default()));
}
