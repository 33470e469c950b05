//! Recorded decisions are made again: with the same results as long as neither the machine nor the record was
//! changed, and with a reason otherwise.

use super::builders::*;
use super::rows::cases;
use crate::api::{ApiGateway, DesiredState, HISTORY_LENGTH, Phase, Reason, State};
use crate::decide::observed::{Moment, Observed};
use crate::decide::replay::{Asked, Recorded, Replayed, Verdict, history, replay};
use crate::decide::requests::Requests;
use crate::decide::{Plan, Row, decide};

/// A life of a gateway: a timeout, an automatic retry, a restart that fails, a stop, and another start.
fn life() -> (ApiGateway, Vec<Recorded>) {
    let mut gateway = with_retries(fresh(), 1, None);
    gateway.status = None;
    gateway.spec.start_deadline = Some(secs(300).into());
    let mut log = Vec::new();
    let mut live = |gateway: &mut ApiGateway, observed: Observed, seconds: u64| {
        let moment = after_failure_of(seconds);
        let before = gateway.clone();
        let plan: Plan = pass(gateway, &observed, &moment);
        log.extend(Recorded::decided(&before, &plan, &SETTINGS));
    };
    live(&mut gateway, nothing(), 0);
    live(&mut gateway, coming_up(), 301);
    live(&mut gateway, coming_up(), 0);
    live(&mut gateway, nothing(), 20);
    live(&mut gateway, nothing(), 70);
    live(&mut gateway, serving(), 30);
    asks_for_a_restart(&mut gateway);
    live(&mut gateway, serving(), 500);
    live(&mut gateway, rolling_out(), 301);
    asks_stopped(&mut gateway);
    live(&mut gateway, serving(), 40);
    live(&mut gateway, nothing(), 10);
    asks_running(&mut gateway);
    live(&mut gateway, nothing(), 90);
    (gateway, log)
}

/// So many seconds after the last transition and after the last failure.
fn after_failure_of(seconds: u64) -> Moment {
    Moment { failure: secs(seconds), ..after(seconds) }
}

fn differing(replayed: &[Replayed<'_>]) -> Vec<(i64, String)> {
    let why = |replayed: &Replayed<'_>| match &replayed.verdict {
        Verdict::Different(why) => Some((replayed.recorded.number, why.clone())),
        Verdict::Same | Verdict::Undecidable => None,
    };
    replayed.iter().filter_map(why).collect()
}

const LIFE: [Row; 11] = [
    Row::FirstStart,
    Row::StartDeadline,
    Row::CleanupAfterTimeout,
    Row::NothingLeft,
    Row::StartAgain,
    Row::Ready,
    Row::Restart,
    Row::RestartDeadline,
    Row::Stop,
    Row::NothingLeft,
    Row::StartAgain,
];

#[test]
fn the_history_of_a_life_is_decided_again_as_it_was_recorded() {
    let (gateway, log) = life();
    for recorded in [history(&gateway), log] {
        let replayed = replay(&recorded);
        let rows: Vec<_> = replayed.iter().map(|replayed| replayed.row.unwrap()).collect();
        assert_eq!(rows, LIFE);
        assert!(replayed.iter().all(|replayed| replayed.verdict == Verdict::Same), "{replayed:?}");
    }
}

#[test]
fn a_decision_of_each_row_is_decided_again_as_it_was_recorded() {
    for (row, before, observed, moment) in cases() {
        let plan = decide(&before, &observed, &moment, &SETTINGS);
        let after = but(before.clone(), |g| g.status = plan.status.clone());
        let logged = Recorded::decided(&before, &plan, &SETTINGS).unwrap();
        assert_eq!(logged.row, Some(row));
        let kept = history(&after).pop().unwrap();
        for recorded in [logged, kept] {
            let records_its_row = recorded.row.is_some();
            let recorded = [recorded];
            let replayed = replay(&recorded).pop().unwrap();
            assert_eq!(replayed.verdict, Verdict::Same, "{replayed:?}");
            // A history does not record whether pods were left, so it is not known which row ended the stop.
            if records_its_row || row != Row::OnlyTerminating {
                assert_eq!(replayed.row, Some(row), "{replayed:?}");
            }
        }
    }
}

#[test]
fn the_log_records_what_a_decision_was_made_from_and_the_status_does_not() {
    let (gateway, log) = life();
    let restart = &log[6];
    let asked = Asked {
        state: DesiredState::Running,
        requests: Requests { start: false, restart: true },
        generation: Some(2),
        retry: None,
        restart: Some("2025-06-15T15:06:40Z".to_owned()),
    };
    assert_eq!((restart.asked.as_ref(), restart.attempt, restart.row), (Some(&asked), Some(3), Some(Row::Restart)));
    assert_eq!((restart.deadline, restart.paused), (Some(secs(300)), Some(0)));
    let kept = history(&gateway);
    assert_eq!(kept.len(), log.len());
    for (kept, log) in kept.iter().zip(&log) {
        let reduced = Recorded { row: None, deadline: None, paused: None, asked: None, ..log.clone() };
        assert_eq!(*kept, reduced);
    }
    let assumed = |recorded: &[Recorded], at: usize| replay(recorded)[at].assumed.clone();
    assert_eq!(assumed(&log, 1), ["traffic reaches no available pod"]);
    assert_eq!(assumed(&kept, 1), ["the deadline, and that it passed", "traffic reaches no available pod"]);
    assert_eq!(assumed(&log, 6), [""; 0]);
    assert_eq!(assumed(&kept, 6), ["the request that the reason names"]);
}

#[test]
fn an_entry_that_was_changed_is_decided_differently() {
    let tampered = |at: usize, edit: fn(&mut Recorded)| {
        let (_, mut log) = life();
        edit(&mut log[at]);
        differing(&replay(&log))
    };
    let number = |found: Vec<(i64, String)>| found.into_iter().map(|(number, _)| number).collect::<Vec<_>>();
    let early = tampered(1, |entry| entry.seconds = 200);
    assert_eq!(early, [(2, "this version makes no transition for StartDeadlineExceeded".to_owned())]);
    let paused = tampered(1, |entry| entry.paused = Some(30));
    assert_eq!(number(paused), [2], "with 30 s of pause, the deadline had not passed");
    let kept_serving = tampered(1, |entry| entry.reason = Reason::Started);
    assert_eq!(kept_serving, [(2, "this version decides Started, Running (Started)".to_owned())]);
    let other_phase = tampered(5, |entry| entry.to = Phase::Stopping);
    assert_eq!(
        other_phase,
        [
            (6, "this version decides Started, Running (Started)".to_owned()),
            (7, "it begins in Started, and the transition before it ends in Stopping".to_owned()),
        ]
    );
    assert_eq!(number(tampered(6, |entry| entry.state = State::Running)), [7, 8]);
    let attempt = tampered(6, |entry| entry.attempt = Some(7));
    assert_eq!(attempt[0], (7, "this version counts attempt 3, not 7".to_owned()));
    let unasked = tampered(6, |entry| entry.asked.as_mut().unwrap().requests = Requests::default());
    assert_eq!(unasked, [(7, "this version makes no transition for RestartRequested".to_owned())]);
    let no_reason = tampered(0, |entry| entry.reason = Reason::Pending);
    assert_eq!(no_reason, [(1, "this version decides Starting, Running (StartRequested)".to_owned())]);
}

#[test]
fn a_history_that_was_cut_is_decided_again_from_where_it_begins() {
    let mut gateway = fresh();
    pass(&mut gateway, &nothing(), &after(0));
    pass(&mut gateway, &serving(), &after(30));
    for _ in 0..6 {
        for (asks, observed) in [(asks_stopped as fn(&mut ApiGateway), serving()), (asks_running, nothing())] {
            asks(&mut gateway);
            pass(&mut gateway, &observed, &after(40));
            pass(&mut gateway, &if observed == nothing() { serving() } else { nothing() }, &after(20));
        }
    }
    let recorded = history(&gateway);
    assert_eq!((recorded.len(), recorded[0].number), (HISTORY_LENGTH, 7));
    for begin in 0..4 {
        let cut = &recorded[begin..];
        let replayed = replay(cut);
        assert!(differing(&replayed).is_empty(), "{replayed:?}");
        assert!(replayed[0].assumed.contains(&"the transition before it"), "{:?}", replayed[0].assumed);
        assert!(!replayed[1].assumed.contains(&"the transition before it"));
    }
    // A line of a log is missing in the middle.
    let gap = [recorded[..3].to_vec(), recorded[5..].to_vec()].concat();
    let replayed = replay(&gap);
    assert!(differing(&replayed).is_empty(), "{replayed:?}");
    assert!(replayed[3].assumed.contains(&"the transition before it"));
}

#[test]
fn values_of_another_version_are_not_decided_again() {
    let (_, log) = life();
    let edits: [fn(&mut Recorded); 3] = [
        |entry| entry.from = Some(Phase::Unknown("Hibernating".to_owned())),
        |entry| entry.reason = Reason::Unknown("Hibernated"),
        |entry| entry.asked.as_mut().unwrap().state = DesiredState::Unknown("Hibernating"),
    ];
    for edit in edits {
        let changed = [but(log[5].clone(), edit)];
        assert_eq!(replay(&changed)[0].verdict, Verdict::Undecidable, "{changed:?}");
    }
}

#[test]
fn the_deadline_of_a_history_is_that_of_the_spec_as_long_as_it_is_the_one_of_the_attempt() {
    let mut gateway = fresh();
    gateway.spec.start_deadline = Some(secs(300).into());
    pass(&mut gateway, &nothing(), &after(0));
    pass(&mut gateway, &coming_up(), &after(301));
    pass(&mut gateway, &coming_up(), &after(0));
    let deadlines = |gateway: &ApiGateway| history(gateway).iter().map(|entry| entry.deadline).collect::<Vec<_>>();
    assert_eq!(deadlines(&gateway), [None, Some(secs(300)), Some(secs(300))]);
    let edited = but(gateway.clone(), |g| g.spec.start_deadline = Some(secs(900).into()));
    assert_eq!(deadlines(&edited), [None, None, None]);
    assert!(differing(&replay(&history(&edited))).is_empty());
    let early = but(gateway, |g| status(g).history[1].seconds = 100);
    assert_eq!(differing(&replay(&history(&early))).len(), 1);
}

#[test]
fn a_deadline_that_was_edited_while_the_gateway_served_is_not_that_of_its_attempt() {
    let mut gateway = fresh();
    gateway.spec.start_deadline = Some(secs(10).into());
    pass(&mut gateway, &nothing(), &after(0));
    pass(&mut gateway, &rolling_out(), &after(11));
    let mut gateway = but(gateway, |g| g.spec.start_deadline = Some(secs(300).into()));
    pass(&mut gateway, &rolling_out(), &after(40));
    asks_stopped(&mut gateway);
    pass(&mut gateway, &rolling_out(), &after(50));
    let recorded = history(&gateway);
    let rows: Vec<_> = replay(&recorded).iter().map(|replayed| replayed.row).collect();
    assert_eq!(rows, [Some(Row::FirstStart), Some(Row::PartialStart), Some(Row::Stop)]);
    assert!(differing(&replay(&recorded)).is_empty());
}
