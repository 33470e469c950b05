//! The Events that accompany a status. Few, and each once.
//!
//! **Architecture invariant:** an Event follows from a change of the status or from a repair. A pass without
//! either records none.

use super::conditions;
use super::observed::{Child, Repair};
use super::plan::{Move, PlannedEvent};
use super::words::{plain, say};
use crate::api::{ApiGatewayStatus, Phase, Reason, StoredChange, condition};
use crate::children::OWNERS;

pub(super) fn of(
    movement: Option<&Move>,
    repairs: &[Repair],
    before: &ApiGatewayStatus,
    after: &ApiGatewayStatus,
) -> Vec<PlannedEvent> {
    let mut events = Vec::new();
    if let (Some(movement), Some(last)) = (movement, after.history.last()) {
        let warning = match (movement.reason, &movement.phase) {
            (Reason::Started | Reason::Stopped | Reason::Resumed | Reason::RetryScheduled, _) => Some(false),
            (Reason::StartDeadlineExceeded | Reason::RestartDeadlineExceeded, Phase::Started) => Some(true),
            _ => None,
        };
        if let Some(warning) = warning {
            events.push(PlannedEvent { warning, reason: movement.reason, message: last.message.clone() });
        }
    }
    for type_ in [condition::STALLED, condition::RECONCILING] {
        if let Some((reason, message)) = conditions::trouble(after, type_)
            && conditions::trouble(before, type_).is_none_or(|(earlier, _)| earlier != reason)
            && events.iter().all(|event| event.reason != reason)
        {
            events.push(PlannedEvent { warning: true, reason, message: message.to_owned() });
        }
    }
    events.extend(Child::ALL.iter().filter_map(|child| changed(*child, before, after)));
    events.extend(repairs.iter().map(repaired));
    events.into_iter().map(|event| PlannedEvent { message: plain(&event.message), ..event }).collect()
}

/// An Event for changes on the way in (admission), once.
fn changed(child: Child, before: &ApiGatewayStatus, after: &ApiGatewayStatus) -> Option<PlannedEvent> {
    let of = |status: &ApiGatewayStatus| -> Vec<StoredChange> {
        status.changed.iter().filter(|change| change.child == child.kind()).cloned().collect()
    };
    let changes = of(after);
    if changes.is_empty() || changes == of(before) {
        return None;
    }
    let told =
        changes.iter().map(|change| format!("{}: requested {}, stored {}", change.path, change.asked, change.stored));
    let told = told.collect::<Vec<_>>().join("; ");
    let kind = child.kind();
    let mut message = format!("the stored {kind} differs from the request: {told}");
    let is_disowned = changes.iter().any(|change| change.path == OWNERS);
    if is_disowned {
        message.push_str(&format!(
            ". Without the owner reference the {kind} outlives the gateway: set spec.state to Stopped before deleting \
             it, and ask the cluster administrator what removes owner references."
        ));
    }
    Some(PlannedEvent { warning: is_disowned, reason: Reason::ChangedOnWrite, message })
}

fn repaired(repair: &Repair) -> PlannedEvent {
    let kind = repair.child.kind();
    let message = match (&repair.path, &repair.manager) {
        (path, _) if path.is_empty() => format!("the {kind} was deleted; the operator recreates it"),
        (path, Some(manager)) => format!("drift of the {kind}: {path} was changed by {} and is reverted", say(manager)),
        (path, None) => format!("drift of the {kind}: {path} was changed and is reverted"),
    };
    PlannedEvent { warning: false, reason: Reason::DriftRepaired, message }
}
