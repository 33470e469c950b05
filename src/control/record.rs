//! Record, the last stage of a pass: writes the status by compare-and-swap, then records Events, metrics and a
//! log line.
//!
//! **Architecture invariant:** this is the only way out of a pass, for failures too: the status says what
//! failed before the pass is repeated.

use std::borrow::Cow;
use std::pin::{Pin, pin};
use std::time::Duration;

use kube::Resource;
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use super::act::Outcome;
use super::clock::Now;
use super::context::Context;
use super::error::Error;
use super::failed_writes;
use super::gather::Pass;
use super::memory::CACHE_LAG;
use crate::api::{self, ApiGateway, ApiGatewayStatus, HostClaim, ObjectKey, Phase, Reason, uid_of};
use crate::cache::caches::Caches;
use crate::children;
use crate::cluster::calls::{CallError, FIELD_MANAGER, Object};
use crate::decide::hosts::HostRequest;
use crate::decide::observed::{Observed, Presence, Settings};
use crate::decide::replay::Recorded;
use crate::decide::requests::Requests;
use crate::decide::{Learned, PlannedEvent, say};
use crate::decide::{Place, Plan, Row, Step};
use crate::queue::{Key, Kind, Requeue, Stage};

/// Puts the memory back, writes the plan's status if it says anything new, and records its Events. Returns when
/// to requeue the gateway.
///
/// # Errors
/// If the status was not written, or a step failed: the pass must be repeated.
pub async fn record(ctx: &Context, pass: Pass<'_>, plan: Plan, outcome: Outcome) -> Result<Requeue, Error> {
    let judged_at = pass.judged_at().filter(|_| !plan.moves);
    let Pass {
        gateway,
        caches,
        observed,
        mut remembered,
        written,
        waits_for_registry,
        without_event,
        now,
        settings,
        ..
    } = pass;
    remembered.is_judged_at(judged_at);
    ctx.memory.keep(gateway, remembered);
    if let Some(written) = written {
        ctx.memory.wrote(gateway, written, false);
    }
    if waits_for_registry {
        ctx.registry.wait(Key { object: ObjectKey::of(gateway), kind: Kind::Gateway });
    }
    let status_waits = plan.status.is_some().then(|| status_waits(ctx, gateway, plan.moves, now)).flatten();
    if status_waits.is_some() {
        tracing::debug!(gateway = gateway.key(), ?status_waits, "another client writes the status");
    } else if let Some(status) = &plan.status {
        let before = gateway.status.as_ref().map(|status| status.hosts.as_slice()).unwrap_or_default();
        let claims = claims_newly(before, &status.hosts).then(|| caches.host_request_of_gateway(gateway));
        record_conflict(ctx, gateway, &gateway.status).await;
        let write = pin!(write(ctx, gateway, &settings, &plan, status));
        match with_host_reserved(caches, claims, write).await {
            Ok(()) => {
                ctx.memory.status_was_answered(gateway);
                ctx.memory.repairs_told(gateway, observed.writes.untold.len());
            }
            Err(StatusWriteError::HostLost) => return Ok(Requeue::CacheBehind),
            Err(StatusWriteError::Failed(error)) => {
                failed_writes::status(ctx, gateway, &error, now).await;
                return Error::again(error);
            }
        }
    } else if !plan.events.is_empty() {
        // A repair that the status does not mention.
        record_events(ctx, gateway, &plan);
        ctx.memory.repairs_told(gateway, observed.writes.untold.len());
    }
    match outcome {
        Outcome::Done if without_event => Ok(Requeue::Now),
        // The missing dependency has answered, which the status does not say yet.
        Outcome::Done if observed.unanswered.is_some() => Ok(Requeue::Now),
        Outcome::Done | Outcome::Learned(Learned::MayNotRemoveFinalizer) if status_waits.is_some() => {
            Ok(status_waits.into_iter().chain(plan.requeue_after).min().into())
        }
        Outcome::Done | Outcome::Learned(Learned::MayNotRemoveFinalizer) => Ok(requeue(&plan, &observed)),
        Outcome::HalfWay => Ok(Requeue::InTurn(Stage::HalfWay)),
        Outcome::CacheBehind | Outcome::Learned(Learned::Surprise(..) | Learned::Unanswered(_)) => {
            Ok(Requeue::CacheBehind)
        }
        Outcome::Learned(Learned::Refused(refusal)) => Err(refusal.into()),
        Outcome::Learned(Learned::RegistryFailed(words)) => Err(Error::Registry(words)),
        Outcome::Unanswered(_, error) | Outcome::WriteFailed(_, error) | Outcome::Failed(error) => Error::again(error),
    }
}

/// The backoff before the status may be written, if somebody else writes it as well.
fn status_waits(ctx: &Context, gateway: &ApiGateway, moves: bool, now: Now) -> Option<Duration> {
    ctx.memory.status_conflicts.waits(gateway.uid(), &gateway.status, moves, now.monotonic)
}

/// Reports another writer of an object's status, before the status is overwritten: after that, `managedFields`
/// does not name the writer any more.
pub(super) async fn record_conflict<K: Object>(ctx: &Context, object: &K, found: &impl Serialize) {
    if !ctx.memory.status_conflicts.is_contested(uid_of(object.meta()), found) {
        return;
    }
    let fresh = ctx.calls.get_by_list::<K>(&ObjectKey::of(object)).await.ok().flatten();
    let manager = fresh.and_then(|fresh| children::last_manager(fresh.meta(), "/status", FIELD_MANAGER));
    let by = manager.map_or_else(String::new, |manager| format!(" ({})", say(&manager)));
    let message = format!(
        "another client{by} changes the status each time the operator writes it. The operator writes it with \
         increasing backoff. Remove that client's permission to update or patch the status subresource."
    );
    let event = PlannedEvent { warning: true, reason: Reason::Contested, message };
    tracing::warn!(object = %ObjectKey::of(object), reason = %event.reason, "{}", event.message);
    ctx.recorder.record(&event, object.object_ref(&()));
    ctx.metrics.failed(event.reason);
}

/// When to requeue a gateway without an event: at once after a transition, when the plan says so, or when the
/// cache should show what was created.
fn requeue(plan: &Plan, observed: &Observed) -> Requeue {
    if plan.moves {
        return Requeue::Now;
    }
    let behind = plan.steps.iter().any(|step| matches!(step, Step::Create(_)))
        || observed.children().iter().any(|(_, presence)| **presence == Presence::Expected);
    let wakes: Option<Duration> = plan.requeue_after.into_iter().chain(behind.then_some(CACHE_LAG)).min();
    wakes.into()
}

/// Whether a status contains a new host claim.
pub(super) fn claims_newly(before: &[HostClaim], after: &[HostClaim]) -> bool {
    let held = |host: &String| before.iter().any(|claim| claim.host == *host);
    after.iter().any(|claim| !held(&claim.host))
}

/// Why a status was not written.
pub(super) enum StatusWriteError {
    /// Another claimant took the host at the same moment.
    HostLost,
    /// The API server did not carry it out.
    Failed(CallError),
}

/// Writes a status. A newly claimed host is reserved meanwhile: of two claimants that found it free at once,
/// one claims it and the other is requeued. The future is pinned by the caller, since passing it by value would
/// double its size in each of many reconciles.
pub(super) async fn with_host_reserved<T>(
    caches: &Caches,
    claims: Option<HostRequest>,
    write: Pin<&mut impl Future<Output = Result<T, CallError>>>,
) -> Result<T, StatusWriteError> {
    if claims.as_ref().is_some_and(|request| !caches.claims().reserve(request.clone())) {
        return Err(StatusWriteError::HostLost);
    }
    let written = write.await;
    if let (Some(request), Err(_)) = (claims, &written) {
        caches.space().release(&request.claimant);
    }
    written.map_err(StatusWriteError::Failed)
}

async fn write(
    ctx: &Context,
    gateway: &ApiGateway,
    settings: &Settings,
    plan: &Plan,
    status: &ApiGatewayStatus,
) -> Result<(), CallError> {
    if Place::of_status(status).is_none() {
        // The rest of such a status may have fields that this version would drop.
        let patch = json!({
            "metadata": { "resourceVersion": gateway.metadata.resource_version },
            "status": { "conditions": status.conditions },
        });
        ctx.calls.merge_status::<ApiGateway>(&ObjectKey::of(gateway), &patch).await?;
        plan.events.iter().for_each(|event| ctx.recorder.record(event, gateway.object_ref(&())));
        return Ok(());
    }
    if ctx.memory.changes_nothing(gateway, status) {
        return Ok(());
    }
    match replace(ctx, gateway, status).await {
        Ok(written) if written.metadata.resource_version == gateway.metadata.resource_version => {
            ctx.memory.changed_nothing(gateway, status);
        }
        Ok(written) => {
            ctx.memory.status_conflicts.wrote(gateway.uid(), &gateway.status, &written.status, Instant::now());
            ctx.memory.wrote(gateway, written, plan.moves);
        }
        Err(error) => {
            if error.is_stale() {
                ctx.memory.forget_write(gateway);
            }
            return Err(error);
        }
    }
    if let Some(recorded) = Recorded::decided(gateway, plan, settings) {
        count_transition(ctx, status, &recorded);
        log_transition(gateway, &recorded);
    }
    record_events(ctx, gateway, plan);
    Ok(())
}

fn record_events(ctx: &Context, gateway: &ApiGateway, plan: &Plan) {
    for event in &plan.events {
        ctx.recorder.record(event, gateway.object_ref(&()));
        // Attempts that were given up are counted by cause, with their transition.
        if event.warning && !matches!(event.reason, Reason::StartDeadlineExceeded | Reason::RestartDeadlineExceeded) {
            ctx.metrics.failed(event.reason);
        }
    }
}

/// Replaces a status. If older CRDs refuse some of its values, it is written without them; otherwise no
/// deadline would hold.
async fn replace(ctx: &Context, gateway: &ApiGateway, status: &ApiGatewayStatus) -> Result<ApiGateway, CallError> {
    let mut status = Cow::Borrowed(status);
    loop {
        let next = ApiGateway {
            metadata: gateway.metadata.clone(),
            spec: gateway.spec.clone(),
            status: Some(status.clone().into_owned()),
        };
        let error = match ctx.calls.replace_status(&next).await {
            Ok(written) => return Ok(written),
            Err(error) => error,
        };
        // Each round says less, so this terminates.
        let Some(simpler) = api::for_older_crds(&status, &error.invalid_fields()) else { return Err(error) };
        tracing::warn!(
            gateway = gateway.key(),
            %error,
            "the CustomResourceDefinitions are older than this operator and reject a status; a reduced status is \
             written. Apply the definitions of this version (kubectl apply --server-side -f crds)"
        );
        status = Cow::Owned(simpler);
    }
}

fn count_transition(ctx: &Context, status: &ApiGatewayStatus, last: &Recorded) {
    match (last.reason, &last.to) {
        (why, Phase::Starting) => ctx.metrics.attempt_began(why),
        (Reason::Started, Phase::Started) => {
            let began = status.attempt.as_ref().map_or(last.at, |attempt| attempt.started_at.0);
            ctx.metrics.started(last.at.duration_since(began).as_secs_f64().max(0.0));
        }
        (Reason::StartDeadlineExceeded | Reason::RestartDeadlineExceeded, Phase::Started) => {
            let cause = status.last_failure.as_ref().map_or(last.reason, |failure| failure.reason);
            ctx.metrics.timed_out(cause);
        }
        _ => {}
    }
}

/// Logs a transition with the inputs of its decision. `docs/src/reference/log.md` describes the fields.
fn log_transition(gateway: &ApiGateway, recorded: &Recorded) {
    let asked = recorded.asked.as_ref();
    tracing::info!(
        gateway = gateway.key(),
        phase = %recorded.to,
        state = %recorded.state,
        attempt = recorded.attempt,
        reason = %recorded.reason,
        transition = recorded.number,
        uid = gateway.uid(),
        at = %recorded.at,
        from = recorded.from.as_ref().map(Phase::as_str),
        row = recorded.row.map(Row::name),
        seconds = recorded.seconds,
        deadline = recorded.deadline.map(|deadline| deadline.as_secs_f64()),
        paused = recorded.paused,
        asked = asked.map(|asked| asked.state.as_str()),
        requests = asked.and_then(|asked| names(asked.requests)),
        generation = asked.and_then(|asked| asked.generation),
        retry = asked.and_then(|asked| asked.retry.as_deref()),
        restart = asked.and_then(|asked| asked.restart.as_deref()),
        "{}",
        recorded.message
    );
}

/// The requests as the log names them.
fn names(requests: Requests) -> Option<&'static str> {
    match (requests.start, requests.restart) {
        (false, false) => None,
        (true, false) => Some("start"),
        (false, true) => Some("restart"),
        (true, true) => Some("start,restart"),
    }
}
