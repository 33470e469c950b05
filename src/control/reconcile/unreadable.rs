//! The pass over unreadable objects: reports them through conditions, which any version can read, and an Event.
//!
//! **Architecture invariant:** the rest of an unreadable object is never written.

use serde_json::json;

use crate::api::{
    ApiGateway, Completeness, Environment, ObjectKey, REGISTRY_FINALIZER, Reason, Unreadable, condition, uid_of,
};
use crate::cluster::calls::{CallError, Object};
use crate::cluster::events;
use crate::control::act::{self, Outcome};
use crate::control::context::Context;
use crate::control::error::Error;
use crate::decide::{Learned, PlannedEvent, say};
use crate::queue::Requeue;

/// Reports an unreadable gateway. If it is terminating, our finalizer is removed, and intake cleans up the
/// registry. An object of which only a part is in memory keeps its finalizers until somebody makes it smaller,
/// since finalizers are written as a whole.
pub(super) async fn gateway(ctx: &Context, object: &Unreadable, completeness: Completeness) -> Result<Requeue, Error> {
    let meta = &object.metadata;
    let has_ours = meta.finalizers.iter().flatten().any(|finalizer| finalizer == REGISTRY_FINALIZER);
    let kept = has_ours && completeness == Completeness::Whole;
    if meta.deletion_timestamp.is_some() && kept && ctx.memory.may_remove_finalizer(meta) {
        match act::remove_finalizer(ctx, meta).await {
            Outcome::Failed(error) | Outcome::WriteFailed(_, error) | Outcome::Unanswered(_, error) => {
                return Error::again(error);
            }
            Outcome::Learned(Learned::Refused(refusal)) => return Err(refusal.into()),
            Outcome::CacheBehind => return Ok(Requeue::CacheBehind),
            Outcome::Done | Outcome::HalfWay | Outcome::Learned(_) => {}
        }
    }
    reported(report::<ApiGateway>(ctx, object).await)
}

/// Reports an unreadable environment.
pub(super) async fn environment(ctx: &Context, object: &Unreadable) -> Result<Requeue, Error> {
    reported(report::<Environment>(ctx, object).await)
}

fn reported(outcome: Result<(), CallError>) -> Result<Requeue, Error> {
    match outcome {
        Ok(()) => Ok(Requeue::OnChange),
        Err(error) => Error::again(error),
    }
}

async fn report<K: Object>(ctx: &Context, object: &Unreadable) -> Result<(), CallError> {
    let meta = &object.metadata;
    let key = ObjectKey::of_meta(meta);
    let uid = uid_of(meta);
    let fault = format!("{}:{}", meta.generation.unwrap_or_default(), object.error);
    if meta.deletion_timestamp.is_some() || ctx.memory.has_reported(uid, &fault) {
        return Ok(());
    }
    let message = format!(
        "this version of the operator cannot read the object: {}. Reconciliation is paused. Correct it, run the \
         version that wrote it, or delete it.",
        say(&object.error)
    );
    tracing::error!(kind = %K::kind(&()), object = %key, "{message}");
    let reason = Reason::Undecodable;
    let condition = |type_: &str, status: &str| {
        json!({
            "type": type_,
            "status": status,
            "reason": reason,
            "message": message,
            "observedGeneration": meta.generation,
            // The creation time, so that reporting the same fault again is no write.
            "lastTransitionTime": meta.creation_timestamp,
        })
    };
    let conditions = [condition(condition::READY, "False"), condition(condition::STALLED, "True")];
    let patch = json!({ "status": { "conditions": conditions } });
    ctx.calls.merge_status::<K>(&key, &patch).await?;
    ctx.memory.reported(uid, fault);
    ctx.recorder.record(&PlannedEvent { warning: true, reason, message }, events::about::<K>(meta));
    Ok(())
}
