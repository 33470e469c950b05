//! Each named row of the machine's table is reached by a situation that was written by hand from the table.

use std::collections::BTreeSet;

use super::builders::*;
use crate::api::ApiGateway;
use crate::decide::observed::{Child, Moment, Observed, Presence};
use crate::decide::{Row, decide};

/// A situation for each row, in the order of the table.
pub fn cases() -> Vec<(Row, ApiGateway, Observed, Moment)> {
    let held_by_others = |g: &mut ApiGateway| {
        deletes(g);
        g.metadata.finalizers = Some(vec!["example.com/theirs".to_owned()]);
    };
    let old_pods = child(rolling_out(), Child::Ingress, Presence::Missing);
    let unreached = child(old_pods.clone(), Child::Service, Presence::Missing);
    let terminating = pods(nothing(), 1, 1);
    vec![
        (Row::Deletion, but(but(started(), deletes), is_kept), external(serving()), after(60)),
        (Row::Deletion, but(starting(), held_by_others), nothing(), after(60)),
        (Row::NeverStarted, but(fresh(), asks_stopped), nothing(), after(0)),
        (Row::NeverStarted, but(created(), asks_stopped), host_taken(nothing()), after(60)),
        (Row::Blocked, fresh(), not_allowed(nothing()), after(0)),
        (Row::Blocked, fresh(), host_taken(nothing()), after(0)),
        (Row::Blocked, fresh(), name_taken(nothing()), after(0)),
        (Row::Blocked, fresh(), registry_away(nothing()), after(0)),
        (Row::FirstStart, fresh(), nothing(), after(0)),
        (Row::FirstStart, created(), nothing(), after(60)),
        (Row::Cancelled, but(starting(), asks_stopped), serving(), after(60)),
        (Row::Cancelled, but(restarting(), asks_stopped), rolling_out(), after(60)),
        (Row::Ready, starting(), serving(), after(60)),
        (Row::Ready, starting(), serving(), after(301)),
        (Row::Ready, but(starting(), changes_the_image), serving(), after(60)),
        (Row::NewRequest, but(starting(), changes_the_image), coming_up(), after(60)),
        (Row::NewRequest, but(starting(), asks_for_a_retry), coming_up(), after(301)),
        (Row::NewRequest, but(restarting(), asks_for_a_restart), rolling_out(), after(60)),
        (Row::Resumed, starting(), untried(nothing()), after(301)),
        (Row::RestartDeadline, restarting(), unreached, after(301)),
        (Row::PartialStart, starting(), rolling_out(), after(301)),
        (Row::StartDeadline, starting(), coming_up(), after(301)),
        (Row::StartDeadline, starting(), old_pods, after(301)),
        (Row::StartDeadline, restarting(), coming_up(), after(301)),
        (Row::RequestAfterTimeout, but(timed_out(), asks_for_a_retry), coming_up(), after(301)),
        (Row::RequestAfterTimeout, but(timed_out(), asks_for_a_restart), coming_up(), after(301)),
        (Row::CleanupAfterTimeout, timed_out(), coming_up(), after(301)),
        (Row::Stop, but(started(), asks_stopped), serving(), after(60)),
        (Row::Restart, but(started(), asks_for_a_restart), serving(), after(60)),
        (Row::NothingLeft, stopping_as_asked(), nothing(), after(60)),
        (Row::NothingLeft, stopping_after_timeout(), nothing(), after(601)),
        (Row::OnlyTerminating, stopping_after_timeout(), terminating, after(601)),
        (Row::StartAgain, but(stopped_as_asked(), asks_running), nothing(), after(60)),
        (Row::StartAgain, but(stopped_after_timeout(), asks_for_a_retry), nothing(), after_failure(1)),
        (Row::StartAgain, with_retries(stopped_after_timeout(), 1, None), nothing(), after_failure(61)),
    ]
}

#[test]
fn each_situation_takes_the_row_that_the_table_has_for_it() {
    for (row, gateway, observed, moment) in cases() {
        let plan = decide(&gateway, &observed, &moment, &SETTINGS);
        assert_eq!(plan.row(), Some(row), "{row:?}: {gateway:?}");
    }
}

#[test]
fn each_row_has_a_situation_and_a_name_of_its_own() {
    let reached: BTreeSet<Row> = cases().into_iter().map(|(row, ..)| row).collect();
    assert_eq!(reached, BTreeSet::from(Row::ALL));
    let names: BTreeSet<&str> = Row::ALL.map(Row::name).into();
    assert_eq!(names.len(), Row::ALL.len());
    for row in Row::ALL {
        assert_eq!(Row::named(row.name()), Some(row));
    }
    assert_eq!(Row::named("hibernation"), None);
}

#[test]
fn where_everything_stays_no_row_is_named() {
    for (gateway, observed) in [
        (starting(), coming_up()),
        (started(), rolling_out()),
        (but(started(), suspends), serving()),
        (stopping_as_asked(), coming_up()),
        (stopping_after_timeout(), pods(nothing(), 1, 1)),
        (stopped_after_timeout(), nothing()),
        (of_a_later_version(), nothing()),
    ] {
        assert_eq!(decide(&gateway, &observed, &after(60), &SETTINGS).row(), None, "{gateway:?}");
    }
}
