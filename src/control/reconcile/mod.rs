//! One reconcile: observe, decide, act, record.

use std::pin::{Pin, pin};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};

use crate::api::{ApiGateway, Environment, Guarded, HostClaim, REGISTRY_FINALIZER};
use crate::cluster::calls::CallError;
use crate::control::act::{self, Outcome};
use crate::control::context::Context;
use crate::control::desired::Desired;
use crate::control::gather;
use crate::control::memory::CACHE_LAG;
use crate::control::record;
use crate::decide::environment;
use crate::decide::hosts::Stake;
use crate::decide::observed::{Observed, Presence};
use crate::decide::{Plan, Step, decide};
use crate::queue::Next;

/// Why a reconcile has to be done again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cache lags behind the API server.
    #[error("the cache is behind; looking again")]
    Stale,
    /// The API server refused a child. The status says so too.
    #[error("the {kind} was refused: {message}")]
    Refused {
        /// The child's kind.
        kind: &'static str,
        /// The API server's words.
        message: String,
    },
    /// The registry could not be written to. The status says so too.
    #[error("the registry could not be asked: {0}")]
    Registry(String),
    /// The API server did not carry out a call.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// How reconciles end: well, with one of [`Error::kind`], or in a defect.
pub const RESULTS: [&str; 7] = ["ok", "stale", "refused", "registry", "not_leader", "failed", "panicked"];

impl Error {
    /// Whether somebody else wrote first, which the next look finds.
    pub fn is_stale(&self) -> bool {
        match self {
            Self::Stale => true,
            Self::Refused { .. } | Self::Registry(_) => false,
            Self::Call(call) => call.is_stale(),
        }
    }

    /// How long the API server asked to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Stale | Self::Refused { .. } | Self::Registry(_) => None,
            Self::Call(call) => call.retry_after(),
        }
    }

    /// What kind of failure it is, for a metric's label.
    pub fn kind(&self) -> &'static str {
        match self {
            _ if self.is_stale() => "stale",
            Self::Refused { .. } => "refused",
            Self::Registry(_) => "registry",
            Self::Call(CallError::NotLeader) => "not_leader",
            Self::Stale | Self::Call(_) => "failed",
        }
    }
}

/// Brings one gateway a step nearer to what is asked. Returns when to look again.
///
/// # Errors
/// When it has to be done again.
pub async fn reconcile(object: &Guarded<ApiGateway>, ctx: &Context) -> Result<Next, Error> {
    if !ctx.is_mine(object.meta()) || !ctx.knows_namespace_of(object.meta()) {
        return Ok(Next::WhenWoken);
    }
    let next = match &object.0 {
        Ok(cached) => {
            let newer = ctx.memory.newer_than(cached);
            one_pass(ctx, newer.as_deref().unwrap_or(cached)).await?
        }
        Err(unreadable) => {
            let meta = &unreadable.metadata;
            let kept = meta.finalizers.iter().flatten().any(|finalizer| finalizer == REGISTRY_FINALIZER);
            if meta.deletion_timestamp.is_some() && kept {
                // What is in the registry is left to intake.
                ended(act::let_go(ctx, meta).await)?;
            }
            record::undecodable::<ApiGateway>(ctx, unreadable).await?;
            Next::WhenWoken
        }
    };
    ctx.memory.succeeded(&object.uid().unwrap_or_default());
    Ok(next)
}

/// Brings one environment to what is decided about it.
///
/// # Errors
/// When it has to be done again.
pub async fn reconcile_environment(object: &Guarded<Environment>, ctx: &Context) -> Result<Next, Error> {
    match &object.0 {
        Ok(environment) => {
            let gateway = gather::gateway_of(ctx, environment);
            let others = gateway.as_ref().is_some_and(|gateway| !ctx.is_mine(&gateway.metadata));
            if others || !ctx.knows_namespace_of(&environment.metadata) {
                return Ok(Next::WhenWoken);
            }
            let around = gather::around(ctx, environment, gateway);
            if let Some(status) = environment::decide(environment, &around, Timestamp::now()) {
                let before = environment.status.as_ref().map(|status| &status.hosts);
                let claims = claims_newly(before, &status.hosts);
                let next = Environment { status: Some(status), ..environment.clone() };
                let write = pin!(ctx.calls.replace_status(&next));
                with_host_reserved(ctx, environment, claims, write).await?;
            }
        }
        Err(unreadable) => record::undecodable::<Environment>(ctx, unreadable).await?,
    }
    ctx.memory.succeeded(&object.uid().unwrap_or_default());
    Ok(Next::WhenWoken)
}

async fn one_pass(ctx: &Context, gateway: &ApiGateway) -> Result<Next, Error> {
    let moment = ctx.memory.moment(gateway, &ctx.outages);
    let mut desired = Desired::of(ctx, gateway, gather::cached(ctx, gateway));
    let mut observed = gather::facts(ctx, gateway, &desired);
    let mut plan = decide(gateway, &observed, &moment, &ctx.settings);
    if plan.confirm {
        desired = Desired::of(ctx, gateway, gather::live(ctx, gateway).await?);
        observed = gather::facts(ctx, gateway, &desired);
        plan = decide(gateway, &observed, &moment, &ctx.settings);
    }

    let outcome = act::carry_out(ctx, gateway, &plan, &desired, &observed).await;

    remember_attempt(ctx, gateway, &plan, &outcome);
    // Its steps wait for the next pass.
    if let Some(learned) = outcome.taught() {
        observed.learn(learned);
        plan = plan.in_the_light_of(gateway, &observed, &moment, &ctx.settings);
    }
    let before = gateway.status.as_ref().map(|status| &status.hosts);
    let claims = plan.status.as_ref().is_some_and(|status| claims_newly(before, &status.hosts));
    let write = pin!(record::record(ctx, gateway, &plan));
    with_host_reserved(ctx, gateway, claims, write).await?;

    let half_way = matches!(outcome, Outcome::HalfWay);
    ended(outcome)?;
    Ok(match plan.moves {
        true => Next::AtOnce,
        false if half_way => Next::InTurn,
        false => wake(&plan, &observed).into(),
    })
}

/// Whether steps came to their end.
fn ended(outcome: Outcome) -> Result<(), Error> {
    match outcome {
        Outcome::Done | Outcome::HalfWay => Ok(()),
        Outcome::Surprise(..) | Outcome::Stale => Err(Error::Stale),
        Outcome::Refused(refusal) => Err(Error::Refused { kind: refusal.child.kind(), message: refusal.message }),
        Outcome::Failed(error) => Err(error.into()),
        Outcome::RegistryFailed(words) => Err(Error::Registry(words)),
    }
}

fn claims_newly(before: Option<&Vec<HostClaim>>, after: &[HostClaim]) -> bool {
    let held = |host: &String| before.into_iter().flatten().any(|claim| claim.host == *host);
    after.iter().any(|claim| !held(&claim.host))
}

/// Writes a status. Where it claims a host, the host is kept for it while it is written: of two
/// that found the host free at the same moment, one claims it and the other looks again. A future that is
/// handed over by value would take its room twice, in each of many reconciles.
async fn with_host_reserved<'a, K, T>(
    ctx: &Context,
    claimant: &'a K,
    claims: bool,
    write: Pin<&mut impl Future<Output = Result<T, CallError>>>,
) -> Result<T, Error>
where
    Stake: From<&'a K>,
{
    if claims && !ctx.caches.claims().reserve(claimant) {
        return Err(Error::Stale);
    }
    let written = write.await;
    if claims && written.is_err() {
        ctx.caches.claims().release(claimant);
    }
    Ok(written?)
}

/// When to look again although nothing happened: when the plan says so, and when the cache
/// should have shown what we created.
fn wake(plan: &Plan, observed: &Observed) -> Option<Duration> {
    let behind = plan.steps.iter().any(|step| matches!(step, Step::Create(_)))
        || observed.children().iter().any(|(_, presence)| **presence == Presence::Expected);
    let wakes = plan.wake.into_iter().chain(behind.then_some(CACHE_LAG));
    wakes.min()
}

/// A call that the API server did not answer is no try: the gateway is not to blame for it.
fn remember_attempt(ctx: &Context, gateway: &ApiGateway, plan: &Plan, outcome: &Outcome) {
    if plan.moves {
        return;
    }
    let refusal = match outcome {
        Outcome::Done => None,
        Outcome::Refused(refusal) => Some(refusal.clone()),
        // The children were written to, whatever the registry did.
        Outcome::RegistryFailed(_) => None,
        Outcome::HalfWay | Outcome::Surprise(..) | Outcome::Stale | Outcome::Failed(_) => return,
    };
    ctx.memory.refused(gateway, refusal);
    if plan.steps.iter().any(|step| !step.is_registrys() && *step != Step::ReadEvents) {
        ctx.memory.tried(gateway);
    }
}
