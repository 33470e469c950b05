//! The table of the state machine, row by row in its order.

mod begin;
mod deadline;
mod deleting;
mod not_allowed;
mod registry;
mod started;
mod starting;
mod stopping;

use std::time::Duration;

use super::builders::*;
use crate::api::{ApiGateway, Phase, Reason, State};
use crate::decide::Step;
use crate::decide::observed::{Child, Moment, Observed, Presence, Settings};
use crate::decide::phase::judge;
use crate::decide::requests::Requests;
use crate::decide::{Plan, Situation, Stay, Verdict, decide};

/// One line of the table: a situation, and what is to happen.
struct Row {
    name: &'static str,
    gateway: ApiGateway,
    observed: Observed,
    moment: Moment,
    expect: Expect,
}

/// What a decision is expected to say.
enum Expect {
    /// The phase, the state or the attempt changes; the number of the attempt afterwards.
    Go(Phase, State, Reason, i64),
    /// Everything stays; these steps, and this wake-up.
    Stay(Vec<Step>, Option<Duration>),
    /// Nothing at all is done or said.
    Nothing,
}

use Child::{Deployment, Ingress, PodDisruptionBudget, Service};
use Expect::Nothing;
use Step::{
    ActivateDocuments, ActivateEnvironments, AddFinalizer, Create, DeactivateDocuments, DeactivateEnvironments, Delete,
    Forget, Record, RemoveFinalizer, Report, Update,
};

fn row(name: &'static str, gateway: ApiGateway, observed: Observed, moment: Moment, expect: Expect) -> Row {
    Row { name, gateway, observed, moment, expect }
}

fn go(phase: Phase, state: State, reason: Reason, attempt: i64) -> Expect {
    Expect::Go(phase, state, reason, attempt)
}

fn starts(attempt: i64) -> Expect {
    go(Phase::Starting, State::Running, Reason::StartRequested, attempt)
}

fn stops_as_asked() -> Expect {
    go(Phase::Stopping, State::Stopped, Reason::StopRequested, 1)
}

fn is_stopped(attempt: i64) -> Expect {
    go(Phase::Stopped, State::Stopped, Reason::Stopped, attempt)
}

/// Steps, and no wake-up.
fn does(steps: &[Step]) -> Expect {
    Expect::Stay(steps.to_vec(), None)
}

/// Steps, and a wake-up after so many seconds.
fn does_and_wakes(steps: &[Step], seconds: u64) -> Expect {
    Expect::Stay(steps.to_vec(), Some(secs(seconds)))
}

/// Steps, and another look once they are done.
fn does_at_once(steps: &[Step]) -> Expect {
    Expect::Stay(steps.to_vec(), Some(Duration::ZERO))
}

fn rests() -> Expect {
    does(&[])
}

/// Runs every row and reports all that fail, not only the first.
fn check(rows: Vec<Row>) {
    check_under(&SETTINGS, rows);
}

/// The same, under other flags.
fn check_under(settings: &Settings, rows: Vec<Row>) {
    let faults: Vec<String> = rows
        .iter()
        .filter_map(|row| {
            let plan = decide(&row.gateway, &row.observed, &row.moment, settings);
            fault(row, &plan).map(|fault| format!("- {}:\n  {fault}", row.name))
        })
        .collect();
    assert!(faults.is_empty(), "{} of {} rows fail:\n{}", faults.len(), rows.len(), faults.join("\n"));
}

fn fault(row: &Row, plan: &Plan) -> Option<String> {
    let before = row.gateway.status_or_default();
    let after = plan.status.clone().unwrap_or_else(|| before.clone());
    match &row.expect {
        Expect::Go(phase, state, reason, attempt) => {
            let number = after.attempt.as_ref().map_or(0, |attempt| attempt.number);
            let last = after.history.last();
            let got = (after.phase.as_ref(), after.state, last.map(|last| last.reason), number);
            let whole = plan.moves && plan.steps.is_empty() && plan.requeue_after.is_none();
            let told = last.is_some_and(|last| last.to == *phase && last.state == *state && last.from == before.phase);
            let right = got == (Some(phase), Some(*state), Some(*reason), *attempt) && whole && told;
            (!right).then(|| {
                let what = if plan.moves { format!("went to {got:?}") } else { format!("stayed, {:?}", plan.steps) };
                format!("expected ({phase}, {state:?}, {reason}, attempt {attempt}), {what}; {last:?}")
            })
        }
        Expect::Stay(steps, requeue_after) => {
            let same = (&after.phase, after.state, &after.attempt.as_ref().map(|attempt| attempt.number))
                == (&before.phase, before.state, &before.attempt.as_ref().map(|attempt| attempt.number))
                && after.history == before.history
                && after.transitions == before.transitions;
            let right = !plan.moves && same && plan.steps == *steps && plan.requeue_after == *requeue_after;
            (!right).then(|| {
                let moved = if same { "stayed".to_owned() } else { format!("{:?}", after.history.last()) };
                format!(
                    "expected {steps:?} wake {requeue_after:?}, got {:?} wake {:?}, {moved}",
                    plan.steps, plan.requeue_after
                )
            })
        }
        Expect::Nothing => {
            let nothing = Plan::default();
            (*plan != nothing).then(|| format!("expected nothing, got {plan:?}"))
        }
    }
}

#[test]
fn any_phase_a_gateway_that_is_being_deleted_is_left_to_garbage_collection() {
    for (phase, gateway) in in_every_phase() {
        for observed in [nothing(), coming_up(), serving(), host_taken(nothing())] {
            let deleted = but(gateway.clone(), deletes);
            let late = after(5_000);
            check(vec![
                row(phase, deleted.clone(), observed.clone(), late, Nothing),
                row(phase, but(deleted.clone(), suspends), observed.clone(), late, Nothing),
                row(phase, but(deleted.clone(), asks_stopped), observed.clone(), late, Nothing),
                row(phase, but(deleted, changes_the_image), observed, late, Nothing),
            ]);
        }
    }
}

#[test]
fn any_phase_the_machine_itself_rests_when_a_gateway_is_being_deleted() {
    for (phase, gateway) in in_every_phase() {
        for observed in [nothing(), coming_up(), serving()] {
            let (gateway, moment) = (but(gateway.clone(), deletes), after(5_000));
            let requests = Requests::of(&gateway);
            let situation =
                Situation { gateway: &gateway, observed: &observed, moment: &moment, settings: &SETTINGS, requests };
            assert_eq!(judge(&situation), Verdict::Stay(Stay::default()), "{phase}");
        }
    }
}

#[test]
fn any_phase_a_suspended_gateway_stays_where_it_is_and_nothing_is_written_for_it() {
    for (phase, gateway) in in_every_phase() {
        for observed in [nothing(), coming_up(), serving(), host_taken(nothing())] {
            let suspended = but(gateway.clone(), suspends);
            let late = after(5_000);
            check(vec![
                row(phase, suspended.clone(), observed.clone(), late, rests()),
                row(phase, but(suspended.clone(), asks_stopped), observed.clone(), late, rests()),
                row(phase, but(suspended.clone(), changes_the_image), observed.clone(), late, rests()),
                row(phase, but(suspended, asks_for_a_restart), observed, late, rests()),
            ]);
        }
    }
}

#[test]
fn any_phase_a_suspended_gateway_routes_no_host_that_its_namespace_may_not_have() {
    let lost = |observed| but(observed, |o: &mut Observed| o.lost = vec![HOST.to_owned()]);
    let others_routes = child(host_not_allowed(serving()), Ingress, different());
    let only_its_own = child(host_not_allowed(serving()), Ingress, Presence::Unwanted);
    for (phase, gateway) in in_every_phase() {
        let is_unknown = matches!(gateway.status_or_default().phase, Some(Phase::Unknown(_)));
        let suspended = but(gateway, suspends);
        let does = |step| if is_unknown { rests() } else { does(&[step]) };
        check(vec![
            row(phase, suspended.clone(), lost(others_routes.clone()), after(60), does(Update(Ingress))),
            row(phase, suspended.clone(), lost(only_its_own.clone()), after(60), does(Delete(Ingress))),
            row(phase, suspended.clone(), lost(host_not_allowed(nothing())), after(60), rests()),
            row(phase, suspended, others_routes.clone(), after(60), rests()),
        ]);
    }
}
