//! Objects that this version cannot read: they are reported as conditions, which any version can read, and as an Event.
//! The rest of the object is left alone.

use serde_json::json;

use crate::api::{ApiGateway, Environment, ObjectKey, REGISTRY_FINALIZER, Reason, Unreadable, condition, uid_of};
use crate::cluster::calls::{CallError, Object};
use crate::cluster::events;
use crate::control::act::{self, Outcome};
use crate::control::context::Context;
use crate::control::error::Error;
use crate::decide::{Learned, Note, say};
use crate::queue::Next;

/// Reports a gateway. One that is being deleted is let go; what is in the registry is left to intake.
pub(super) async fn gateway(ctx: &Context, object: &Unreadable) -> Result<Next, Error> {
    let meta = &object.metadata;
    let kept = meta.finalizers.iter().flatten().any(|finalizer| finalizer == REGISTRY_FINALIZER);
    if meta.deletion_timestamp.is_some() && kept && ctx.memory.may_let_go(meta) {
        match act::let_go(ctx, meta).await {
            Outcome::Failed(error) | Outcome::Unwritten(_, error) | Outcome::Unanswered(_, error) => {
                return Error::again(error);
            }
            Outcome::Learned(Learned::Refused(refusal)) => return Err(refusal.into()),
            Outcome::Behind => return Ok(Next::Behind),
            Outcome::Done | Outcome::HalfWay | Outcome::Learned(_) => {}
        }
    }
    reported(report::<ApiGateway>(ctx, object).await)
}

/// Reports an environment.
pub(super) async fn environment(ctx: &Context, object: &Unreadable) -> Result<Next, Error> {
    reported(report::<Environment>(ctx, object).await)
}

fn reported(outcome: Result<(), CallError>) -> Result<Next, Error> {
    match outcome {
        Ok(()) => Ok(Next::WhenWoken),
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
        "this version of the operator cannot read the object: {}. Nothing is done. \
         Correct it, run the version that wrote it, or delete it.",
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
            // The moment of its creation, so that reporting the same fault again is no write.
            "lastTransitionTime": meta.creation_timestamp,
        })
    };
    let conditions = [condition(condition::READY, "False"), condition(condition::STALLED, "True")];
    let patch = json!({ "status": { "conditions": conditions } });
    ctx.calls.merge_status::<K>(&key, &patch).await?;
    ctx.memory.reported(uid, fault);
    ctx.herald.tell(&Note { warning: true, reason, message }, events::about::<K>(meta));
    Ok(())
}
