//! A recorded transition, with the inputs of its decision as far as they are recorded.
//!
//! **Architecture invariant:** an input that is not recorded is `None`. Nothing is guessed here, and nothing is
//! read from a message.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::super::deadline;
use super::super::observed::Settings;
use super::super::place::Place;
use super::super::plan::Plan;
use super::super::requests::{self, Requests};
use super::super::rows::Row;
use crate::api::{ApiGateway, DesiredState, Phase, Reason, State, Transition};
use crate::children::taken_up;

/// A recorded transition.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// Its number among all transitions of the gateway, from 1.
    pub number: i64,
    /// When it was decided.
    pub at: Timestamp,
    /// The previous phase; `None` for the first transition.
    pub from: Option<Phase>,
    /// The new phase.
    pub to: Phase,
    /// The new `status.state`.
    pub state: State,
    /// The reason.
    pub reason: Reason,
    /// The reason, as a sentence.
    pub message: String,
    /// How long the previous phase lasted, in whole seconds.
    pub seconds: i64,
    /// The row that made it.
    pub row: Option<Row>,
    /// The number of the attempt after it; `None` before the first attempt.
    pub attempt: Option<i64>,
    /// The deadline of the attempt.
    pub deadline: Option<Duration>,
    /// For how many seconds the deadline of the attempt that was judged was paused.
    pub paused: Option<i64>,
    /// What the user asked for.
    pub asked: Option<Asked>,
}

/// What a user asked for at the moment of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// `spec.state`.
    pub state: DesiredState,
    /// The requests that were not taken up yet.
    pub requests: Requests,
    /// The generation of the spec.
    pub generation: Option<i64>,
    /// The token of the retry annotation.
    pub retry: Option<String>,
    /// The token of the restart annotation.
    pub restart: Option<String>,
}

impl Recorded {
    /// The transition of a plan, with all inputs that the log records; `None` if the plan makes none.
    pub fn decided(gateway: &ApiGateway, plan: &Plan, settings: &Settings) -> Option<Self> {
        let after = plan.status.as_ref().filter(|_| plan.moves)?;
        let before = gateway.status.as_ref().and_then(|status| status.attempt.as_ref());
        let judged = match (before, &after.attempt) {
            (Some(before), Some(after)) if after.number == before.number => Some(after),
            (before, _) => before,
        };
        let tokens = requests::tokens(gateway);
        let asked = Asked {
            state: gateway.spec.state,
            requests: Requests::of(gateway),
            generation: gateway.metadata.generation,
            retry: tokens.retry,
            restart: tokens.restart,
        };
        Some(Self {
            row: plan.row(),
            attempt: after.attempt.as_ref().map(|attempt| attempt.number),
            deadline: Some(deadline::limit(gateway, settings)),
            paused: judged.map(|attempt| attempt.held_seconds),
            asked: Some(asked),
            ..Self::of(after.history.last()?, after.transitions)
        })
    }

    /// A transition of `status.history`, which records no inputs.
    fn of(transition: &Transition, number: i64) -> Self {
        Self {
            number,
            at: transition.at.0,
            from: transition.from.clone(),
            to: transition.to.clone(),
            state: transition.state,
            reason: transition.reason,
            message: transition.message.clone(),
            seconds: transition.seconds,
            row: None,
            attempt: None,
            deadline: None,
            paused: None,
            asked: None,
        }
    }
}

/// The transitions of `status.history`, oldest first, with what else the object records about them.
pub fn history(gateway: &ApiGateway) -> Vec<Recorded> {
    let Some(status) = &gateway.status else { return Vec::new() };
    let current = status.attempt.as_ref();
    let (mut begun_later, mut served) = (0, false);
    let told = |(transition, age): (&Transition, i64)| {
        // Each transition to Starting begins an attempt.
        let attempt = current.map(|attempt| attempt.number.saturating_sub(begun_later)).filter(|number| *number > 0);
        begun_later += i64::from(transition.to == Phase::Starting);
        let judges_current = begun_later == 0;
        // A gateway that serves takes up another deadline without a new attempt.
        served |= Place::of(Some(&transition.to), Some(transition.state)) == Some(Place::Started);
        Recorded {
            attempt,
            deadline: deadline_of_current(gateway).filter(|_| judges_current && !served),
            paused: current.filter(|_| judges_current).map(|attempt| attempt.held_seconds),
            ..Recorded::of(transition, status.transitions.saturating_sub(age))
        }
    };
    let mut recorded: Vec<_> = status.history.iter().rev().zip(0..).map(told).collect();
    recorded.reverse();
    recorded
}

/// The deadline of the current attempt, if the spec has it and was not edited since it was taken up.
fn deadline_of_current(gateway: &ApiGateway) -> Option<Duration> {
    let handled = gateway.status.as_ref()?.handled.as_ref()?;
    gateway.spec.start_deadline.filter(|_| !taken_up::spec_changed(gateway, handled)).map(Duration::from)
}
