//! Records what was decided: the status by compare-and-swap, then Events and a log line.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::core::error_boundary::InvalidObject;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};
use serde_json::json;
use tokio::sync::mpsc;

use crate::api::{ApiGateway, Reason, condition};
use crate::calls::{CallError, FIELD_MANAGER, Object};
use crate::context::Context;
use crate::decide::{Note, Plan, say};
use crate::lease::Claim;

/// Tells Events in the background: a slow or failing Event delays no reconcile.
#[derive(Clone)]
pub struct Herald(mpsc::Sender<(Event, ObjectReference)>);

impl Herald {
    /// Starts telling Events. When many are waiting, further ones are dropped.
    pub fn start(client: Client, claim: Claim) -> Self {
        const WAITING: usize = 1_000;
        let reporter = Reporter { controller: FIELD_MANAGER.to_owned(), instance: None };
        let recorder = Recorder::new(client, reporter);
        let (sender, mut receiver) = mpsc::channel::<(Event, ObjectReference)>(WAITING);
        tokio::spawn(async move {
            while let Some((event, about)) = receiver.recv().await {
                if !claim.is_valid() {
                    continue;
                }
                if let Err(error) = recorder.publish(&event, &about).await {
                    tracing::warn!(%error, reason = event.reason, "an Event could not be told");
                }
            }
        });
        Self(sender)
    }

    fn tell(&self, note: &Note, about: ObjectReference) {
        let event = Event {
            type_: if note.warning { EventType::Warning } else { EventType::Normal },
            reason: note.reason.to_string(),
            note: Some(shortened(&note.message)),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        if self.0.try_send((event, about)).is_err() {
            tracing::warn!(reason = %note.reason, "too many Events are waiting; one was dropped");
        }
    }
}

/// An Event's note may have 1 kB.
fn shortened(message: &str) -> String {
    message.chars().take(900).collect()
}

/// Writes the plan's status, if it says anything new, and tells its Events.
///
/// # Errors
/// When the write did not succeed; a conflict means that the object changed meanwhile and
/// that the decision has to be made again.
pub async fn record(ctx: &Context, gateway: &ApiGateway, plan: &Plan) -> Result<(), CallError> {
    let Some(status) = &plan.status else { return Ok(()) };
    let next =
        ApiGateway { metadata: gateway.metadata.clone(), spec: gateway.spec.clone(), status: Some(status.clone()) };
    let written = match ctx.calls.replace_status(&next).await {
        Ok(written) => written,
        Err(error) => {
            if error.is_stale() {
                ctx.memory.lost_a_race(gateway.uid());
            }
            return Err(error);
        }
    };
    ctx.memory.wrote(gateway, written);
    if plan.moves
        && let Some(last) = status.history.last()
    {
        tracing::info!(
            gateway = gateway.key(),
            phase = %last.to,
            state = ?last.state,
            attempt = status.attempt.as_ref().map(|attempt| attempt.number),
            reason = %last.reason,
            "{}",
            last.message
        );
    }
    for note in &plan.notes {
        ctx.herald.tell(note, gateway.object_ref(&()));
    }
    Ok(())
}

/// Reports an object that this version cannot read: as conditions, which any version can,
/// and as an Event. The rest of the object is left alone.
///
/// # Errors
/// When the write did not succeed.
pub async fn undecodable<K: Object>(ctx: &Context, object: &InvalidObject) -> Result<(), CallError> {
    let meta = &object.metadata;
    let (namespace, name) = (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
    let uid = meta.uid.clone().unwrap_or_default();
    let fault = format!("{}:{}", meta.generation.unwrap_or_default(), object.error);
    if meta.deletion_timestamp.is_some() || ctx.memory.has_reported(&uid, &fault) {
        return Ok(());
    }
    let message = format!(
        "this version of the operator cannot read the object: {}. Nothing is done. \
         Correct it, run the version that wrote it, or delete it.",
        say(&object.error)
    );
    tracing::error!(kind = %K::kind(&()), object = format!("{namespace}/{name}"), "{message}");
    let reason = Reason::Undecodable;
    let condition = |type_: &str, status: &str| {
        json!({
            "type": type_,
            "status": status,
            "reason": reason,
            "message": message,
            "observedGeneration": meta.generation,
            // The moment of its creation, so that reporting the same fault again is no write.
            "lastTransitionTime": meta.creation_timestamp,
        })
    };
    let conditions = [condition(condition::READY, "False"), condition(condition::STALLED, "True")];
    let patch = json!({ "status": { "conditions": conditions } });
    ctx.calls.merge_status::<K>(&namespace, &name, &patch).await?;
    ctx.memory.reported(&uid, fault);
    let about = ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        ..ObjectReference::default()
    };
    ctx.herald.tell(&Note { warning: true, reason, message }, about);
    Ok(())
}
