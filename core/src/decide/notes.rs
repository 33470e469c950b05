//! The Events that go with a status: few, and each once.

use super::conditions;
use super::observed::{Child, Repair};
use super::plan::{Move, Note};
use super::words::{plain, say};
use crate::api::{ApiGatewayStatus, Phase, Reason, StoredChange, condition};

pub(super) fn of(
    movement: Option<&Move>,
    repairs: &[Repair],
    before: &ApiGatewayStatus,
    after: &ApiGatewayStatus,
) -> Vec<Note> {
    let mut notes = Vec::new();
    if let (Some(movement), Some(last)) = (movement, after.history.last()) {
        let warning = match (movement.reason, &movement.phase) {
            (Reason::Started | Reason::Stopped | Reason::Resumed | Reason::RetryScheduled, _) => Some(false),
            (Reason::StartDeadlineExceeded | Reason::RestartDeadlineExceeded, Phase::Started) => Some(true),
            _ => None,
        };
        if let Some(warning) = warning {
            notes.push(Note { warning, reason: movement.reason, message: last.message.clone() });
        }
    }
    for type_ in [condition::STALLED, condition::RECONCILING] {
        if let Some((reason, message)) = conditions::trouble(after, type_)
            && conditions::trouble(before, type_).is_none_or(|(earlier, _)| earlier != reason)
            && notes.iter().all(|note| note.reason != reason)
        {
            notes.push(Note { warning: true, reason, message: message.to_owned() });
        }
    }
    notes.extend(Child::ALL.iter().filter_map(|child| changed(*child, before, after)));
    notes.extend(repairs.iter().map(repaired));
    notes.into_iter().map(|note| Note { message: plain(&note.message), ..note }).collect()
}

/// What was changed on the way in, once.
fn changed(child: Child, before: &ApiGatewayStatus, after: &ApiGatewayStatus) -> Option<Note> {
    let of = |status: &ApiGatewayStatus| -> Vec<StoredChange> {
        status.changed.iter().filter(|change| change.child == child.kind()).cloned().collect()
    };
    let changes = of(after);
    if changes.is_empty() || changes == of(before) {
        return None;
    }
    let told = changes
        .iter()
        .map(|change| format!("{}: asked {}, stored {}", change.path, say(&change.asked), say(&change.stored)));
    let told = told.collect::<Vec<_>>().join("; ");
    let message = format!("the {} was stored as something else than what was written: {told}", child.kind());
    Some(Note { warning: false, reason: Reason::ChangedOnWrite, message })
}

fn repaired(repair: &Repair) -> Note {
    let kind = repair.child.kind();
    let message = match (&repair.path, &repair.manager) {
        (path, _) if path.is_empty() => format!("the {kind} was deleted, and is made anew"),
        (path, Some(manager)) => format!("the {kind} was edited by {}: {path} is put back", say(manager)),
        (path, None) => format!("the {kind} was edited: {path} is put back"),
    };
    Note { warning: false, reason: Reason::DriftRepaired, message }
}
