//! Interprets failed writes: for the affected gateway, and for objects whose status cannot mention them.
//!
//! **Architecture invariant:** every Event of this module passes `Memory::may_tell`, so a failure that repeats
//! causes no flood of Events.

use std::time::Duration;

use kube::Resource;

use super::clock::Now;
use super::context::Context;
use crate::api::{ApiGateway, Environment, ObjectKey, Reason, uid_of};
use crate::cluster::calls::CallError;
use crate::cluster::error_kind::ErrorKind;
use crate::decide::diagnosis::is_quota;
use crate::decide::observed::{MissingDependency, Refusal, Target, Unanswered};
use crate::decide::{Learned, PlannedEvent};
use crate::queue::{Key, Kind, Stage};

/// How long a write must fail before it is reported, if it is likely to recover in a moment.
const A_MOMENT: Duration = Duration::from_secs(2);

/// The refusal in an answer, if it is one.
pub(super) fn refused(what: Target, error: &CallError) -> Option<Refusal> {
    let message = error.to_string();
    (error.error_kind() == Some(ErrorKind::Refused)).then(|| Refusal { what, quota: is_quota(&message), message })
}

/// A write that failed without a refusal: the missing dependency, if it is to be reported. An unavailable
/// webhook is reported at once, anything else once it has lasted. An API server that answers nothing cannot be
/// told. `has_failed` records the failure and returns how long it has lasted.
pub(super) async fn unanswered(
    ctx: &Context,
    what: Target,
    error: &CallError,
    now: Now,
    has_failed: impl FnOnce(&Unanswered) -> Duration,
) -> Option<Unanswered> {
    let unknown = matches!(error, CallError::TimedOut(_));
    let (by, words) = match error.error_kind() {
        Some(ErrorKind::WebhookUnavailable { webhook, words }) => (MissingDependency::Webhook(webhook), words),
        Some(ErrorKind::NotPermitted) => (MissingDependency::Permission, error.to_string()),
        Some(ErrorKind::Unavailable | ErrorKind::Busy) => (MissingDependency::Cluster, error.to_string()),
        _ if unknown => (MissingDependency::Unknown, error.to_string()),
        _ => return None,
    };
    let at_once = matches!(by, MissingDependency::Webhook(_));
    let mut unanswered = Unanswered { what, by, words, lasted: Duration::ZERO };
    unanswered.lasted = has_failed(&unanswered);
    let has_lasted = at_once || unanswered.lasted >= A_MOMENT;
    let is_told = has_lasted && (!unknown || ctx.outages.others_were_answered_since(now.monotonic).await);
    is_told.then_some(unanswered)
}

/// The Event for an object without room for a status.
fn no_room<K: Resource<DynamicType = ()>>(error: &CallError) -> Option<PlannedEvent> {
    let message = format!(
        "the {} is too large to store its status, so reconciliation is paused: {error}. Shorten its labels, \
         annotations, managed fields or variables.",
        K::kind(&())
    );
    error.is_too_large().then_some(PlannedEvent { warning: true, reason: Reason::TooLarge, message })
}

/// Handles a gateway's status that could not be written. No condition can say so, so an Event does.
pub(super) async fn status(ctx: &Context, gateway: &ApiGateway, error: &CallError, now: Now) {
    let learned = match refused(Target::Status, error) {
        Some(refusal) => {
            ctx.memory.status_was_answered(gateway);
            Some(Learned::Refused(refusal))
        }
        None => {
            let has_failed = |what: &Unanswered| ctx.memory.status_was_not_answered(gateway, what, now);
            let unanswered = unanswered(ctx, Target::Status, error, now, has_failed).await;
            // A storage outage affects everybody and is reported as an outage.
            unanswered.filter(|unanswered| unanswered.by != MissingDependency::Cluster).map(Learned::Unanswered)
        }
    };
    if let Some(event) = no_room::<ApiGateway>(error).or_else(|| learned?.event())
        && record_event(ctx, gateway, &event, now)
    {
        ctx.metrics.failed(event.reason);
    }
}

/// Handles an environment's status that could not be written: informs its gateway, and records an Event.
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
    if let Some(event) = no_room::<Environment>(error).or_else(|| learned.event()) {
        record_event(ctx, environment, &event, now);
    }
    if ctx.memory.environment_is_blocked(uid, learned) {
        requeue_gateway(ctx, environment);
    }
}

/// Records that an environment's status is up to date.
pub(super) fn environment_is_written(ctx: &Context, environment: &Environment) {
    if ctx.memory.environment_was_written(uid_of(&environment.metadata)) {
        requeue_gateway(ctx, environment);
    }
}

fn requeue_gateway(ctx: &Context, environment: &Environment) {
    ctx.queue.add(Key { object: environment.gateway_key(), kind: Kind::Gateway }, Stage::UnderWay);
}

/// Records an Event that no status mentions, rarely: every try fails alike, with messages that may differ.
/// Returns whether it did.
fn record_event<K: Resource<DynamicType = ()>>(ctx: &Context, object: &K, event: &PlannedEvent, now: Now) -> bool {
    let tells = ctx.memory.may_tell(uid_of(object.meta()), event.reason, now);
    if tells {
        let (kind, object_key) = (K::kind(&()), ObjectKey::of_meta(object.meta()));
        tracing::warn!(%kind, object = %object_key, reason = %event.reason, "{}", event.message);
        ctx.recorder.record(event, object.object_ref(&()));
    }
    tells
}
