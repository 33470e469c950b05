//! The Events that go with a status: few, and each once.

use super::conditions;
use super::plan::{Move, Note};
use crate::api::{ApiGatewayStatus, Phase, Reason, condition};

pub(super) fn of(movement: Option<&Move>, before: &ApiGatewayStatus, after: &ApiGatewayStatus) -> Vec<Note> {
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
    notes
}
