//! Rewrites a status for CRDs that are older than this version. What they refuse is said less exactly, so that
//! the transition is recorded all the same.
//!
//! **Architecture invariant:** phase, state, attempt and conditions are never rewritten. If the CRDs refuse one
//! of them, there is no older form.

use super::reason::Reason;
use super::status::{ApiGatewayStatus, Failure, Transition};

/// Returns the status without the values that the API server refused; `refused` are its field paths. `None` if
/// no such status exists.
pub fn for_older_crds(status: &ApiGatewayStatus, refused: &[&str]) -> Option<ApiGatewayStatus> {
    if refused.is_empty() {
        return None;
    }
    let mut less = status.clone();
    for field in refused {
        let path: Vec<&str> = field.strip_prefix("status.")?.split(['.', '[', ']']).filter(|p| !p.is_empty()).collect();
        match path.as_slice() {
            ["lastFailure", "reason"] => say_less_of_failure(&mut less.last_failure),
            ["lastFailure", ..] => less.last_failure = None,
            ["history", index, "reason"] => say_less_of_step(&mut less.history, index),
            ["history", ..] => less.history.clear(),
            ["subject", ..] => less.subject = None,
            ["accepted", ..] => less.accepted = None,
            ["changed", ..] => less.changed.clear(),
            ["contested", ..] => less.contested.clear(),
            ["environments", ..] => less.environments = None,
            ["handled", "generation"] => less.handled.as_mut()?.generation = None,
            ["handled", "readAs"] => less.handled.as_mut()?.read_as = None,
            ["handled", "replicas"] => less.handled.as_mut()?.replicas = None,
            [other] if less.others.remove(*other).is_some() => {}
            _ => return None,
        }
    }
    (less != *status).then_some(less)
}

/// The least specific reason. Every version knows it.
const PLAINEST: Reason = Reason::SlowStart;

fn say_less_of_failure(failure: &mut Option<Failure>) {
    match failure {
        Some(known) if known.reason != PLAINEST => known.reason = PLAINEST,
        _ => *failure = None,
    }
}

fn say_less_of_step(history: &mut Vec<Transition>, index: &str) {
    match index.parse::<usize>().ok().and_then(|index| history.get_mut(index)) {
        Some(step) if step.reason != PLAINEST => step.reason = PLAINEST,
        _ => history.clear(),
    }
}
