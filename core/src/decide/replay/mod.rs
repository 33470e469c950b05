//! Makes recorded decisions again, with this version's [`decide`], and compares the results.
//!
//! A history records the transitions and some inputs of their decisions. It does not record what was observed:
//! children, pods, hosts, answers of the API server. [`replay`] assumes a world in which the recorded reason is
//! true, and names what it assumes. So it finds a decision that this version makes differently for the same
//! reason, a deadline that had not passed, an attempt that does not follow, and an edited entry. It does not find
//! whether the reason was true.
//!
//! **Architecture invariant:** the results come from [`decide`] alone. This module repeats no row of the machine.

mod facts;
mod recorded;

use super::decide;
use super::rows::Row;
use crate::api::{Phase, Reason, State};
use facts::Facts;
pub use recorded::{Asked, Recorded, history};

/// A recorded decision, made again.
#[derive(Clone, Debug, PartialEq)]
pub struct Replayed<'a> {
    /// What was recorded.
    pub recorded: &'a Recorded,
    /// The row that this version takes; `None` if everything stays.
    pub row: Option<Row>,
    /// What this version decides; `None` if everything stays.
    pub decided: Option<Decided>,
    /// How it compares with what was recorded.
    pub verdict: Verdict,
    /// The facts that are not recorded, and are assumed.
    pub assumed: Vec<&'static str>,
}

/// The result of a decision that moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// The new phase.
    pub phase: Phase,
    /// The new `status.state`.
    pub state: State,
    /// The reason.
    pub reason: Reason,
}

/// How a decision compares with the recorded one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Phase, state and reason are the recorded ones.
    Same,
    /// This version decides differently, or the entry does not follow from the one before; why.
    Different(String),
    /// The entry has a value of another version, so the decision cannot be made again.
    Undecidable,
}

impl Verdict {
    /// Whether this version decides differently.
    pub fn differs(&self) -> bool {
        matches!(self, Self::Different(_))
    }
}

/// Makes each decision of a history again. The history is in order, and may lack its beginning and entries.
pub fn replay(history: &[Recorded]) -> Vec<Replayed<'_>> {
    let earlier = std::iter::once(None).chain(history.iter().map(Some));
    let follows = |before: &&Recorded, next: &Recorded| before.number.saturating_add(1) == next.number;
    history
        .iter()
        .zip(earlier)
        .map(|(next, before)| again(next, before.filter(|before| follows(before, next))))
        .collect()
}

fn again<'a>(recorded: &'a Recorded, before: Option<&Recorded>) -> Replayed<'a> {
    let undecidable = |assumed| Replayed { recorded, row: None, decided: None, verdict: Verdict::Undecidable, assumed };
    // The spec of the facts is a constant that can be read.
    let Ok(Facts { gateway, observed, moment, settings, mut assumed, foreign }) = Facts::of(recorded, before) else {
        return undecidable(Vec::new());
    };
    if before.is_none() && recorded.number > 1 {
        assumed.push("the transition before it");
    }
    if foreign {
        return undecidable(assumed);
    }
    let plan = decide(&gateway, &observed, &moment, &settings);
    let decided = plan.movement.as_ref().map(|movement| Decided {
        phase: movement.phase.clone(),
        state: movement.state,
        reason: movement.reason,
    });
    let attempt = plan.status.as_ref().and_then(|status| status.attempt.as_ref()).map(|attempt| attempt.number);
    let why = broken_chain(recorded, before)
        .or_else(|| other_result(recorded, decided.as_ref()))
        .or_else(|| other_attempt(recorded, before, attempt));
    let verdict = why.map_or(Verdict::Same, Verdict::Different);
    Replayed { recorded, row: plan.row(), decided, verdict, assumed }
}

/// Why an entry does not follow from the one before it.
fn broken_chain(recorded: &Recorded, before: Option<&Recorded>) -> Option<String> {
    let name = |phase: Option<&Phase>| phase.map_or_else(|| "no phase".to_owned(), ToString::to_string);
    let led_to =
        before.map_or_else(|| recorded.from.as_ref().filter(|_| recorded.number != 1), |before| Some(&before.to));
    (led_to != recorded.from.as_ref()).then(|| {
        format!("it begins in {}, and the transition before it ends in {}", name(recorded.from.as_ref()), name(led_to))
    })
}

fn other_result(recorded: &Recorded, decided: Option<&Decided>) -> Option<String> {
    match decided {
        None => Some(format!("this version makes no transition for {}", recorded.reason)),
        Some(Decided { phase, state, reason }) => {
            let is_same = (phase, *state, *reason) == (&recorded.to, recorded.state, recorded.reason);
            (!is_same).then(|| format!("this version decides {phase}, {state} ({reason})"))
        }
    }
}

fn other_attempt(recorded: &Recorded, before: Option<&Recorded>, decided: Option<i64>) -> Option<String> {
    let (number, decided) = (recorded.attempt?, decided?);
    before.is_some_and(|_| number != decided).then(|| format!("this version counts attempt {decided}, not {number}"))
}
