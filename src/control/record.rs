//! Last of a pass: the status by compare-and-swap, then Events, counts and a log line. It is the only way out of a pass.

use std::borrow::Cow;
use std::pin::{Pin, pin};
use std::time::Duration;

use kube::Resource;
use serde_json::json;

use super::act::Outcome;
use super::context::Context;
use super::error::Error;
use super::gather::Pass;
use super::memory::CACHE_LAG;
use super::unwritten;
use crate::api::{self, ApiGateway, ApiGatewayStatus, HostClaim, ObjectKey, Phase, Reason, Transition};
use crate::cache::caches::Caches;
use crate::cluster::calls::CallError;
use crate::decide::Learned;
use crate::decide::hosts::Stake;
use crate::decide::observed::{Observed, Presence};
use crate::decide::{Place, Plan, Step};
use crate::queue::{Key, Kind, Next, Stage};

/// Keeps what the pass leaves to be remembered, writes the plan's status if it says anything new, and tells its Events.
/// Returns when to look again.
///
/// # Errors
/// When the status was not written, or a step did not come to its end: the pass has to be done again.
pub async fn record(ctx: &Context, pass: Pass<'_>, plan: Plan, outcome: Outcome) -> Result<Next, Error> {
    let judged_at = pass.judged_at().filter(|_| !plan.moves);
    let Pass { gateway, caches, observed, mut remembered, written, waits_for_registry, unheard, now, .. } = pass;
    remembered.is_judged_at(judged_at);
    ctx.memory.keep(gateway, remembered);
    if let Some(written) = written {
        ctx.memory.wrote(gateway, written, false);
    }
    if waits_for_registry {
        ctx.registry.wait(Key { object: ObjectKey::of(gateway), kind: Kind::Gateway });
    }
    if let Some(status) = &plan.status {
        let before = gateway.status.as_ref().map(|status| status.hosts.as_slice()).unwrap_or_default();
        let claims = claims_newly(before, &status.hosts).then(|| caches.stake_of_gateway(gateway));
        let write = pin!(write(ctx, gateway, &plan, status));
        match with_host_reserved(caches, claims, write).await {
            Ok(()) => {
                ctx.memory.status_was_answered(gateway);
                ctx.memory.repairs_told(gateway, observed.writes.untold.len());
            }
            Err(Unwritten::HostLost) => return Ok(Next::Behind),
            Err(Unwritten::Failed(error)) => {
                unwritten::status(ctx, gateway, &error, now).await;
                return Error::again(error);
            }
        }
    } else if !plan.notes.is_empty() {
        // A child was put right that the status says nothing of.
        tell(ctx, gateway, &plan);
        ctx.memory.repairs_told(gateway, observed.writes.untold.len());
    }
    match outcome {
        Outcome::Done if unheard => Ok(Next::AtOnce),
        // Who was away has answered, which the status does not say yet.
        Outcome::Done if observed.unanswered.is_some() => Ok(Next::AtOnce),
        Outcome::Done | Outcome::Learned(Learned::MayNotLetGo) => Ok(next(&plan, &observed)),
        Outcome::HalfWay => Ok(Next::InTurn(Stage::HalfWay)),
        Outcome::Behind | Outcome::Learned(Learned::Surprise(..) | Learned::Unanswered(_)) => Ok(Next::Behind),
        Outcome::Learned(Learned::Refused(refusal)) => Err(refusal.into()),
        Outcome::Learned(Learned::RegistryFailed(words)) => Err(Error::Registry(words)),
        Outcome::Unanswered(_, error) | Outcome::Unwritten(_, error) | Outcome::Failed(error) => Error::again(error),
    }
}

/// When to look again although nothing happened: at once after a transition, when the plan says so, and when the
/// cache should have shown what we created.
fn next(plan: &Plan, observed: &Observed) -> Next {
    if plan.moves {
        return Next::AtOnce;
    }
    let behind = plan.steps.iter().any(|step| matches!(step, Step::Create(_)))
        || observed.children().iter().any(|(_, presence)| **presence == Presence::Expected);
    let wakes: Option<Duration> = plan.wake.into_iter().chain(behind.then_some(CACHE_LAG)).min();
    wakes.into()
}

/// Whether a status claims a host that was not claimed before.
pub(super) fn claims_newly(before: &[HostClaim], after: &[HostClaim]) -> bool {
    let held = |host: &String| before.iter().any(|claim| claim.host == *host);
    after.iter().any(|claim| !held(&claim.host))
}

/// Why a status was not written.
pub(super) enum Unwritten {
    /// Another claims the host at the same moment.
    HostLost,
    /// The API server did not carry it out.
    Failed(CallError),
}

/// Writes a status. Where it claims a host, the host is kept for it while it is written: of two
/// that found the host free at the same moment, one claims it and the other looks again. A future that is
/// handed over by value would take its room twice, in each of many reconciles.
pub(super) async fn with_host_reserved<T>(
    caches: &Caches,
    claims: Option<Stake>,
    write: Pin<&mut impl Future<Output = Result<T, CallError>>>,
) -> Result<T, Unwritten> {
    if claims.as_ref().is_some_and(|stake| !caches.claims().reserve(stake.clone())) {
        return Err(Unwritten::HostLost);
    }
    let written = write.await;
    if let (Some(stake), Err(_)) = (claims, &written) {
        caches.space().release(&stake.claimant);
    }
    written.map_err(Unwritten::Failed)
}

async fn write(ctx: &Context, gateway: &ApiGateway, plan: &Plan, status: &ApiGatewayStatus) -> Result<(), CallError> {
    if Place::of_status(status).is_none() {
        // The rest of such a status may have fields that this version would drop.
        let patch = json!({
            "metadata": { "resourceVersion": gateway.metadata.resource_version },
            "status": { "conditions": status.conditions },
        });
        ctx.calls.merge_status::<ApiGateway>(&ObjectKey::of(gateway), &patch).await?;
        plan.notes.iter().for_each(|note| ctx.herald.tell(note, gateway.object_ref(&())));
        return Ok(());
    }
    if ctx.memory.changes_nothing(gateway, status) {
        return Ok(());
    }
    match replace(ctx, gateway, status).await {
        Ok(written) if written.metadata.resource_version == gateway.metadata.resource_version => {
            ctx.memory.changed_nothing(gateway, status);
        }
        Ok(written) => ctx.memory.wrote(gateway, written, plan.moves),
        Err(error) => {
            if error.is_stale() {
                ctx.memory.forget_write(gateway);
            }
            return Err(error);
        }
    }
    if let Some(last) = status.history.last().filter(|_| plan.moves) {
        tell_transition(ctx, gateway, status, last);
    }
    tell(ctx, gateway, plan);
    Ok(())
}

fn tell(ctx: &Context, gateway: &ApiGateway, plan: &Plan) {
    for note in &plan.notes {
        ctx.herald.tell(note, gateway.object_ref(&()));
        // Attempts that were given up are counted by their causes, with their transition.
        if note.warning && !matches!(note.reason, Reason::StartDeadlineExceeded | Reason::RestartDeadlineExceeded) {
            ctx.metrics.failed(note.reason);
        }
    }
}

/// Replaces a status. Definitions that are older than this version may refuse words of it: then it is written in
/// plainer ones, or no deadline would hold.
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
        // Each round says less, and there is an end to that.
        let Some(plainer) = api::plainer(&status, &error.invalid_fields()) else { return Err(error) };
        tracing::warn!(
            gateway = gateway.key(),
            %error,
            "the definitions are older than this operator and refuse a status: it is written in plainer words; apply \
             the definitions of this version (kubectl apply --server-side -f crds)"
        );
        status = Cow::Owned(plainer);
    }
}

/// Counts a transition and logs it.
fn tell_transition(ctx: &Context, gateway: &ApiGateway, status: &ApiGatewayStatus, last: &Transition) {
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
    tracing::info!(
        gateway = gateway.key(),
        phase = %last.to,
        state = %last.state,
        attempt = status.attempt.as_ref().map(|attempt| attempt.number),
        reason = %last.reason,
        "{}",
        last.message
    );
}
