//! What it means that a write was not carried out: for the gateway that it was a part of, and for those whom no status can tell.

use std::time::Duration;

use kube::Resource;

use super::clock::Now;
use super::context::Context;
use crate::api::{ApiGateway, Environment, ObjectKey, Reason, uid_of};
use crate::cluster::answer::Meaning;
use crate::cluster::calls::CallError;
use crate::decide::diagnosis::is_quota;
use crate::decide::observed::{Absent, Refusal, Target, Unanswered};
use crate::decide::{Learned, Note};
use crate::queue::{Key, Kind, Stage};

/// For how long a write fails before somebody is told, where it is likely to heal in a moment.
const A_MOMENT: Duration = Duration::from_secs(2);

/// The refusal that an answer is, if it is one.
pub(super) fn refused(what: Target, error: &CallError) -> Option<Refusal> {
    let message = error.to_string();
    (error.meaning() == Some(Meaning::Refused)).then(|| Refusal { what, quota: is_quota(&message), message })
}

/// A write was not carried out and not refused: who is away, if somebody is to be told. Of a webhook that is at once, of anything
/// else when it has lasted. Of an API server that says nothing at all nobody can be told. `has_failed` remembers it, and says
/// for how long it has been so.
pub(super) async fn unanswered(
    ctx: &Context,
    what: Target,
    error: &CallError,
    now: Now,
    has_failed: impl FnOnce(&Unanswered) -> Duration,
) -> Option<Unanswered> {
    let unknown = matches!(error, CallError::TimedOut(_));
    let (by, words) = match error.meaning() {
        Some(Meaning::WebhookAway { webhook, words }) => (Absent::Webhook(webhook), words),
        Some(Meaning::NotPermitted) => (Absent::Permission, error.to_string()),
        Some(Meaning::Away | Meaning::Busy) => (Absent::Cluster, error.to_string()),
        _ if unknown => (Absent::Unknown, error.to_string()),
        _ => return None,
    };
    let at_once = matches!(by, Absent::Webhook(_));
    let mut unanswered = Unanswered { what, by, words, lasted: Duration::ZERO };
    unanswered.lasted = has_failed(&unanswered);
    let has_lasted = at_once || unanswered.lasted >= A_MOMENT;
    let is_told = has_lasted && (!unknown || ctx.outages.others_were_answered_since(now.monotonic).await);
    is_told.then_some(unanswered)
}

/// What is told of an object that leaves no room for a status.
fn no_room<K: Resource<DynamicType = ()>>(error: &CallError) -> Option<Note> {
    let message = format!(
        "the {} is so large that there is no room for its status, and nothing is done for it: {error}. Shorten it: labels, \
         annotations, managed fields, and of a gateway the values of its variables.",
        K::kind(&())
    );
    error.is_too_large().then_some(Note { warning: true, reason: Reason::TooLarge, message })
}

/// The status of a gateway could not be written. No condition says so, so an Event does.
pub(super) async fn status(ctx: &Context, gateway: &ApiGateway, error: &CallError, now: Now) {
    let learned = match refused(Target::Status, error) {
        Some(refusal) => {
            ctx.memory.status_was_answered(gateway);
            Some(Learned::Refused(refusal))
        }
        None => {
            let has_failed = |what: &Unanswered| ctx.memory.status_was_not_answered(gateway, what, now);
            let unanswered = unanswered(ctx, Target::Status, error, now, has_failed).await;
            // A storage that is away is everybody's, and told as that.
            unanswered.filter(|unanswered| unanswered.by != Absent::Cluster).map(Learned::Unanswered)
        }
    };
    if let Some(note) = no_room::<ApiGateway>(error).or_else(|| learned?.note())
        && tell(ctx, gateway, &note, now)
    {
        ctx.metrics.failed(note.reason);
    }
}

/// The status of an environment could not be written. Its gateway is to know, and who looks at the environment.
pub(super) async fn environment(ctx: &Context, environment: &Environment, error: &CallError, now: Now) {
    let what = Target::Environment(environment.metadata.name.clone().unwrap_or_default());
    let uid = uid_of(&environment.metadata);
    let learned = match refused(what.clone(), error) {
        Some(refusal) => Some(Learned::Refused(refusal)),
        None => {
            let has_failed = |what: &Unanswered| ctx.memory.environment_was_not_answered(uid, what, now);
            unanswered(ctx, what, error, now, has_failed).await.map(Learned::Unanswered)
        }
    };
    let Some(learned) = learned else { return };
    if let Some(note) = no_room::<Environment>(error).or_else(|| learned.note()) {
        tell(ctx, environment, &note, now);
    }
    if ctx.memory.environment_is_hindered(uid, learned) {
        wake_gateway(ctx, environment);
    }
}

/// The status of an environment says what it is to say.
pub(super) fn environment_is_written(ctx: &Context, environment: &Environment) {
    if ctx.memory.environment_was_written(uid_of(&environment.metadata)) {
        wake_gateway(ctx, environment);
    }
}

fn wake_gateway(ctx: &Context, environment: &Environment) {
    ctx.queue.wake(Key { object: environment.gateway_key(), kind: Kind::Gateway }, Stage::UnderWay);
}

/// Tells by an Event what no status says, seldom: each try of a write fails alike, and in words that may differ. Returns whether
/// it did.
fn tell<K: Resource<DynamicType = ()>>(ctx: &Context, object: &K, note: &Note, now: Now) -> bool {
    let tells = ctx.memory.may_tell(uid_of(object.meta()), note.reason, now);
    if tells {
        let (kind, object_key) = (K::kind(&()), ObjectKey::of_meta(object.meta()));
        tracing::warn!(%kind, object = %object_key, reason = %note.reason, "{}", note.message);
        ctx.herald.tell(note, object.object_ref(&()));
    }
    tells
}
