//! Which events are due, in which order, and what is said of those that are missing.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::{Duration, Instant};

use serde_json::json;

use super::*;
use crate::api::{ApiGatewayStatus, ObjectKey, Transition};

fn transition(number: i64, to: &str) -> Transition {
    let at = format!("2026-01-01T00:00:{number:02}.000000Z");
    let entry =
        json!({ "at": at, "to": to, "state": "Running", "reason": "StartRequested", "message": "", "seconds": 0 });
    serde_json::from_value(entry).unwrap()
}

/// A status with this many transitions, of which the history holds the last `kept`.
fn status(transitions: i64, kept: i64) -> ApiGatewayStatus {
    let numbers = (transitions - kept + 1)..=transitions;
    ApiGatewayStatus {
        transitions,
        history: numbers.map(|number| transition(number, "Starting")).collect(),
        ..ApiGatewayStatus::default()
    }
}

fn second(event: &DueEvent<'_>) -> String {
    event.transition.at.0.to_string()
}

#[test]
fn events_follow_the_delivered_position_one_by_one() {
    let status = status(3, 3);
    for delivered in 0..3 {
        let Due::Event(event) = due(&status, delivered) else { panic!("nothing is due after {delivered}") };
        assert_eq!((event.sequence, event.missed), (delivered + 1, 0));
        assert_eq!(second(&event), format!("2026-01-01T00:00:{:02}Z", delivered + 1));
    }
    assert_eq!(due(&status, 3), Due::Nothing);
    assert_eq!(due(&status, 9), Due::Nothing);
}

#[test]
fn what_left_the_history_is_counted_in_the_next_event() {
    let status = status(45, 20);
    let Due::Event(event) = due(&status, 10) else { panic!("nothing is due") };
    assert_eq!((event.sequence, event.missed), (26, 15));
    let Due::Event(event) = due(&status, 25) else { panic!("nothing is due") };
    assert_eq!((event.sequence, event.missed), (26, 0));
}

#[test]
fn transitions_without_a_history_are_lost_and_not_pending() {
    assert_eq!(due(&status(4, 0), 1), Due::Lost { missed: 3 });
}

#[test]
fn an_entry_has_the_number_of_its_own_attempt() {
    let attempt = json!({ "number": 3, "startedAt": "2026-01-01T00:00:00.000000Z" });
    let history = ["Starting", "Started", "Starting", "Starting", "Started"];
    let status = ApiGatewayStatus {
        transitions: 5,
        history: history.iter().zip(1..).map(|(to, number)| transition(number, to)).collect(),
        attempt: Some(serde_json::from_value(attempt).unwrap()),
        ..ApiGatewayStatus::default()
    };
    let attempts = (0..5).map(|delivered| match due(&status, delivered) {
        Due::Event(event) => event.attempt,
        _ => None,
    });
    assert_eq!(attempts.collect::<Vec<_>>(), [Some(1), Some(1), Some(2), Some(3), Some(3)]);
}

#[test]
fn a_kind_says_what_came_of_an_attempt() {
    let of = |to: &str, state: &str, reason: &str| {
        let entry = json!({ "at": "2026-01-01T00:00:00.000000Z", "to": to, "state": state, "reason": reason, "message": "", "seconds": 0 });
        EventKind::of(&serde_json::from_value(entry).unwrap()).as_str()
    };
    assert_eq!(of("Started", "Running", "Started"), "started");
    assert_eq!(of("Started", "Stopped", "StartDeadlineExceeded"), "failed");
    assert_eq!(of("Started", "Running", "RestartDeadlineExceeded"), "failed");
    assert_eq!(of("Stopped", "Stopped", "Stopped"), "stopped");
    assert_eq!(of("Levitating", "Running", "Started"), "changed");
    let kinds: std::collections::BTreeSet<_> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(kinds.len(), EventKind::ALL.len());
}

#[test]
fn positions_are_read_as_they_were_written_and_the_lower_one_of_a_shared_token_counts() {
    let (text, left_out) = Positions::text([(token("a"), 7), (token("b"), 2), (3, 9), (3, 4)].into_iter());
    let positions = Positions::parse(&text);
    assert_eq!(left_out, 0);
    assert_eq!(
        [token("a"), token("b"), 3, token("c")].map(|token| positions.get(token)),
        [Some(7), Some(2), Some(4), None]
    );
    assert_eq!(Positions::parse("garbage,=,x=1,00=z,,0000000001=5").get(1), Some(5));
}

#[test]
fn the_positions_of_a_large_fleet_fit_into_an_annotation() {
    let (text, left_out) = Positions::text((0..5_000).map(|number| (token(&number.to_string()), 1_000 + number)));
    assert!(left_out == 0 && text.len() < 90_000, "{} bytes", text.len());
    let (text, left_out) = Positions::text((0..50_000).map(|number| (token(&number.to_string()), 10)));
    assert!(left_out > 0 && text.len() <= 240_000, "{} bytes", text.len());
}

/// A fleet whose positions are loaded.
struct Fleet {
    all: Deliveries,
    now: Instant,
}

impl Fleet {
    fn of(gateways: &[&str], stored: Option<&str>) -> Self {
        let (mut all, now) = (Deliveries::default(), Instant::now());
        for uid in gateways {
            all.saw(uid, &ObjectKey::new("a", *uid), &status(2, 2), now);
        }
        all.begin();
        all.load(stored.map(Positions::parse).as_ref(), now);
        Self { all, now }
    }

    fn take(&mut self) -> Option<(String, i64)> {
        self.all.take(self.now).map(|next| (next.uid, next.delivered))
    }

    fn finished(&mut self, uid: &str, outcome: Finished) {
        self.all.finished(uid, outcome, Some(&status(2, 2)), 0, self.now);
    }

    fn failed(&mut self, uid: &str) {
        self.finished(uid, Finished::Failed { retry_after: Duration::ZERO });
    }

    fn later(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }
}

#[test]
fn the_first_operator_with_a_sink_sends_nothing_older_and_a_new_gateway_everything() {
    let mut fleet = Fleet::of(&["old"], None);
    assert_eq!(fleet.take(), None);
    fleet.all.saw("new", &ObjectKey::new("a", "new"), &status(2, 2), fleet.now);
    assert_eq!(fleet.take(), Some(("new".to_owned(), 0)));
    let mut next = Fleet::of(&["old", "new"], Some(&format!("{:010x}=2", token("old"))));
    assert_eq!(next.take(), Some(("new".to_owned(), 0)));
    assert_eq!(next.take(), None);
}

#[test]
fn one_event_of_a_gateway_is_in_flight_and_gateways_do_not_wait_for_each_other() {
    let mut fleet = Fleet::of(&["a", "b"], Some(""));
    assert_eq!([fleet.take(), fleet.take(), fleet.take()], [Some(("a".into(), 0)), Some(("b".into(), 0)), None]);
    fleet.all.saw("a", &ObjectKey::new("a", "a"), &status(2, 2), fleet.now);
    assert_eq!(fleet.take(), None);
    fleet.finished("a", Finished::Delivered(1));
    assert_eq!(fleet.take(), Some(("a".into(), 1)));
    fleet.finished("a", Finished::Delivered(2));
    assert_eq!(fleet.take(), None);
}

#[test]
fn a_sink_that_is_down_is_tried_with_one_event_at_a_time_and_ever_longer_pauses() {
    let names: Vec<String> = (0..20).map(|number| format!("{number:02}")).collect();
    let mut fleet = Fleet::of(&names.iter().map(String::as_str).collect::<Vec<_>>(), Some(""));
    let mut attempts = 0;
    for _ in 0..120 {
        let taken: Vec<_> = std::iter::from_fn(|| fleet.take()).collect();
        attempts += taken.len();
        taken.iter().for_each(|(uid, _)| fleet.failed(uid));
        fleet.later(1);
    }
    assert!((8..=20).contains(&attempts), "{attempts} attempts in two minutes");
    assert_eq!(fleet.all.backlog().0, 40);
    fleet.later(60);
    let (uid, _) = fleet.take().unwrap();
    fleet.finished(&uid, Finished::Delivered(1));
    assert!(std::iter::from_fn(|| fleet.take()).count() > 1);
}

#[test]
fn an_event_that_fails_delays_its_own_gateway_and_no_other_for_long() {
    let mut fleet = Fleet::of(&["bad", "good"], Some(""));
    for _ in 0..5 {
        while let Some((uid, delivered)) = fleet.take() {
            if uid == "bad" { fleet.failed("bad") } else { fleet.finished(&uid, Finished::Delivered(delivered + 1)) }
        }
        fleet.later(1);
    }
    assert_eq!(fleet.all.backlog().0, 2);
    assert!(fleet.all.next_turn().unwrap() > fleet.now);
}

#[test]
fn a_retry_after_is_waited_for() {
    let mut fleet = Fleet::of(&["a"], Some(""));
    fleet.take();
    fleet.finished("a", Finished::Failed { retry_after: Duration::from_secs(40) });
    fleet.later(39);
    assert_eq!(fleet.take(), None);
    fleet.later(1);
    assert_eq!(fleet.take(), Some(("a".into(), 0)));
}

#[test]
fn a_refused_event_is_skipped_and_counted_in_the_next_one() {
    let mut fleet = Fleet::of(&["a"], Some(""));
    fleet.take();
    fleet.finished("a", Finished::Refused(1));
    let next = fleet.all.take(fleet.now).unwrap();
    assert_eq!((next.delivered, next.skipped), (1, 1));
}

#[test]
fn a_deleted_gateways_last_events_are_sent_and_then_it_is_forgotten() {
    let mut fleet = Fleet::of(&["a", "b"], Some(""));
    fleet.take();
    fleet.take();
    assert_eq!(fleet.all.gone("a", Some(&status(2, 2))), 0);
    assert_eq!(fleet.all.gone("b", None), 2);
    fleet.all.finished("b", Finished::Delivered(1), None, 0, fleet.now);
    fleet.all.finished("a", Finished::Delivered(1), None, 0, fleet.now);
    let next = fleet.all.take(fleet.now).unwrap();
    assert_eq!((next.uid.as_str(), next.delivered, next.last.is_some()), ("a", 1, true));
    fleet.all.finished("a", Finished::Delivered(2), None, 0, fleet.now);
    assert_eq!((fleet.take(), fleet.all.backlog().0), (None, 0));
    assert_eq!(fleet.all.changed_positions(), Some((String::new(), 0)));
}

#[test]
fn positions_are_stored_only_after_a_change() {
    let mut fleet = Fleet::of(&["a"], Some(""));
    assert_eq!(fleet.all.changed_positions(), None);
    fleet.take();
    fleet.finished("a", Finished::Delivered(1));
    let stored = fleet.all.changed_positions().unwrap().0;
    assert_eq!(stored, format!("{:010x}=1", token("a")));
    assert_eq!(fleet.all.changed_positions(), None);
    fleet.all.not_stored();
    assert_eq!(fleet.all.changed_positions().unwrap().0, stored);
}

#[test]
fn the_backlog_is_as_old_as_its_oldest_transition() {
    let mut fleet = Fleet::of(&["a"], Some(""));
    let oldest = |fleet: &Fleet| fleet.all.backlog().1.map(|at| at.to_string());
    assert_eq!(oldest(&fleet).as_deref(), Some("2026-01-01T00:00:01Z"));
    fleet.take();
    fleet.finished("a", Finished::Delivered(1));
    assert_eq!(oldest(&fleet).as_deref(), Some("2026-01-01T00:00:02Z"));
    fleet.take();
    fleet.finished("a", Finished::Delivered(2));
    assert_eq!(oldest(&fleet), None);
}
