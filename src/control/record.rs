//! Records what was decided: the status by compare-and-swap, then Events and a log line.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use kube::core::error_boundary::InvalidObject;
use serde_json::json;
use tokio::sync::mpsc;

use crate::api::{ApiGateway, ApiGatewayStatus, Phase, Reason, Transition, condition};
use crate::cluster::calls::{CallError, Calls, FIELD_MANAGER, Object};
use crate::control::context::Context;
use crate::decide::{Note, Plan, say};

/// Tells Events in the background: a slow or failing Event delays no reconcile.
///
/// kube's own Recorder repeats the first words for a reason where the same reason comes again
/// within minutes; here the second failure of a gateway is told in its own words.
#[derive(Clone)]
pub struct Herald {
    events: mpsc::Sender<Event>,
    identity: Arc<str>,
}

impl Herald {
    /// Starts telling Events. When many are waiting, further ones are dropped.
    pub fn start(calls: Calls, identity: &str) -> Self {
        const WAITING: usize = 1_000;
        let (sender, mut receiver) = mpsc::channel::<Event>(WAITING);
        tokio::spawn(async move {
            while let Some(event) = receiver.recv().await {
                if let Err(error) = calls.create(&event).await {
                    tracing::warn!(%error, reason = event.reason, "an Event could not be told");
                }
            }
        });
        Self { events: sender, identity: identity.into() }
    }

    /// Tells an Event about an object.
    pub fn tell(&self, note: &Note, about: ObjectReference) {
        let now = Timestamp::now();
        let event = Event {
            metadata: ObjectMeta {
                // As client-go names them: unique for an object and a moment.
                name: Some(format!("{}.{:x}", about.name.as_deref().unwrap_or_default(), now.as_nanosecond())),
                namespace: about.namespace.clone(),
                ..ObjectMeta::default()
            },
            type_: Some(if note.warning { "Warning" } else { "Normal" }.to_owned()),
            reason: Some(note.reason.to_string()),
            note: Some(shortened(&note.message)),
            action: Some("Reconcile".to_owned()),
            event_time: Some(MicroTime(now)),
            regarding: Some(about),
            reporting_controller: Some(FIELD_MANAGER.to_owned()),
            // An Event's field may have 128 characters.
            reporting_instance: Some(self.identity.chars().take(128).collect()),
            ..Event::default()
        };
        if self.events.try_send(event).is_err() {
            tracing::warn!(reason = %note.reason, "too many Events are waiting; one was dropped");
        }
    }
}

/// An Event's note may have 1,024 bytes.
fn shortened(message: &str) -> String {
    let mut end = message.len().min(1_000);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message[..end].to_owned()
}

/// Writes the plan's status, if it says anything new, and tells its Events.
///
/// # Errors
/// When the write did not succeed; a conflict means that the object changed meanwhile and
/// that the decision has to be made again.
pub async fn record(ctx: &Context, gateway: &ApiGateway, plan: &Plan) -> Result<(), CallError> {
    let Some(status) = &plan.status else { return Ok(()) };
    if matches!(status.phase, Some(Phase::Unknown(_))) {
        // The rest of such a status may have fields that this version would drop.
        let patch = json!({
            "metadata": { "resourceVersion": gateway.metadata.resource_version },
            "status": { "conditions": status.conditions },
        });
        let (namespace, name) = (gateway.namespace_or_empty(), gateway.name_or_empty());
        ctx.calls.merge_status::<ApiGateway>(namespace, name, &patch).await?;
        plan.notes.iter().for_each(|note| ctx.herald.tell(note, gateway.object_ref(&())));
        return Ok(());
    }
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
    ctx.memory.wrote(gateway, written, plan.moves);
    if plan.moves
        && let Some(last) = status.history.last()
    {
        count(ctx, status, last);
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
        // Attempts that were given up are counted by their causes, above.
        if note.warning && !matches!(note.reason, Reason::StartDeadlineExceeded | Reason::RestartDeadlineExceeded) {
            ctx.metrics.failed(note.reason);
        }
    }
    Ok(())
}

fn count(ctx: &Context, status: &ApiGatewayStatus, last: &Transition) {
    match (last.reason, &last.to) {
        (why, Phase::Starting) => ctx.metrics.attempt_began(why),
        (Reason::Started, Phase::Started) => {
            let began = status.attempt.as_ref().map_or(last.at.0, |attempt| attempt.started_at.0);
            ctx.metrics.started(last.at.0.duration_since(began).as_secs_f64().max(0.0));
        }
        (Reason::StartDeadlineExceeded | Reason::RestartDeadlineExceeded, Phase::Started) => {
            let cause = status.last_failure.as_ref().map_or(last.reason, |failure| failure.reason);
            ctx.metrics.timed_out(cause);
        }
        _ => {}
    }
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
