//! One reconcile: observe, decide, act, record.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};

use crate::act::{self, Outcome};
use crate::api::{ApiGateway, Environment};
use crate::calls::CallError;
use crate::context::Context;
use crate::decide::environment;
use crate::decide::observed::{Observed, Presence};
use crate::decide::{Plan, Step, decide};
use crate::memory::CACHE_LAG;
use crate::observe;
use crate::record;
use crate::watch::Guarded;

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
    /// The API server did not carry out a call.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// Brings one gateway a step nearer to what is asked.
///
/// # Errors
/// When it has to be done again; [`error_policy`] says when.
pub async fn reconcile(object: Arc<Guarded<ApiGateway>>, ctx: Arc<Context>) -> Result<Action, Error> {
    if !ctx.is_mine(object.meta()) {
        return Ok(Action::await_change());
    }
    let action = match &object.0 {
        Ok(cached) => {
            let newer = ctx.memory.newer_than(cached);
            one_pass(&ctx, newer.as_deref().unwrap_or(cached)).await?
        }
        Err(unreadable) => {
            record::undecodable::<ApiGateway>(&ctx, unreadable).await?;
            Action::await_change()
        }
    };
    ctx.memory.succeeded(&object.uid().unwrap_or_default());
    Ok(action)
}

/// Brings one environment to what is decided about it.
///
/// # Errors
/// When it has to be done again; [`error_policy`] says when.
pub async fn reconcile_environment(object: Arc<Guarded<Environment>>, ctx: Arc<Context>) -> Result<Action, Error> {
    match &object.0 {
        Ok(environment) => {
            let gateway = observe::gateway_of(&ctx, environment);
            if gateway.as_ref().is_some_and(|gateway| !ctx.is_mine(&gateway.metadata)) {
                return Ok(Action::await_change());
            }
            let around = observe::around(&ctx, environment, gateway);
            if let Some(status) = environment::decide(environment, &around, Timestamp::now()) {
                let next = Environment { status: Some(status), ..environment.clone() };
                ctx.calls.replace_status(&next).await?;
            }
        }
        Err(unreadable) => record::undecodable::<Environment>(&ctx, unreadable).await?,
    }
    ctx.memory.succeeded(&object.uid().unwrap_or_default());
    Ok(Action::await_change())
}

async fn one_pass(ctx: &Context, gateway: &ApiGateway) -> Result<Action, Error> {
    let moment = ctx.memory.moment(gateway);
    let mut found = observe::cached(ctx, gateway);
    let desired = observe::desired(ctx, gateway, &found);
    let mut observed = observe::facts(ctx, gateway, &found, &desired);
    let mut plan = decide(gateway, &observed, &moment, &ctx.settings);
    if plan.gives_up() {
        found = observe::live(ctx, gateway).await?;
        observed = observe::facts(ctx, gateway, &found, &desired);
        plan = decide(gateway, &observed, &moment, &ctx.settings);
    }

    let outcome = act::carry_out(ctx, gateway, &plan.steps, &desired, &found).await;

    remember_attempt(ctx, gateway, &plan, &outcome);
    // What was learned on the way belongs into the status too; its steps wait for the next pass.
    match &outcome {
        Outcome::Surprise(child, presence) => *observed.child_mut(*child) = presence.clone(),
        Outcome::Refused(refusal) => observed.refusal = Some(refusal.clone()),
        Outcome::Done | Outcome::Stale | Outcome::Failed(_) => {}
    }
    if matches!(outcome, Outcome::Surprise(..) | Outcome::Refused(_)) {
        plan = decide(gateway, &observed, &moment, &ctx.settings);
    }
    record::record(ctx, gateway, &plan).await?;

    match outcome {
        Outcome::Done if plan.moves => Ok(Action::requeue(Duration::ZERO)),
        Outcome::Done => Ok(wake(&plan, &observed)),
        Outcome::Surprise(..) | Outcome::Stale => Err(Error::Stale),
        Outcome::Refused(refusal) => Err(Error::Refused { kind: refusal.child.kind(), message: refusal.message }),
        Outcome::Failed(error) => Err(error.into()),
    }
}

/// When to look again although nothing happened: when the plan says so, and when the cache
/// should have shown what we created.
fn wake(plan: &Plan, observed: &Observed) -> Action {
    let behind = plan.steps.iter().any(|step| matches!(step, Step::Create(_)))
        || observed.children().iter().any(|(_, presence)| **presence == Presence::Expected);
    let wakes = plan.wake.into_iter().chain(behind.then_some(CACHE_LAG));
    wakes.min().map_or_else(Action::await_change, Action::requeue)
}

/// A call that the API server did not answer is no try: the gateway is not to blame for it.
fn remember_attempt(ctx: &Context, gateway: &ApiGateway, plan: &Plan, outcome: &Outcome) {
    if plan.moves {
        return;
    }
    match outcome {
        Outcome::Done => ctx.memory.tried(gateway, None),
        Outcome::Refused(refusal) => ctx.memory.tried(gateway, Some(refusal.clone())),
        Outcome::Surprise(..) | Outcome::Stale | Outcome::Failed(_) => {}
    }
}

/// When a failed reconcile is done again: each gateway on its own, later every time.
pub fn error_policy<K: Resource>(object: Arc<K>, error: &Error, ctx: Arc<Context>) -> Action {
    let failures = ctx.memory.failed(&object.uid().unwrap_or_default());
    let delay = backoff(failures);
    let object = format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any());
    match error {
        Error::Stale => tracing::debug!(object, ?delay, "{error}"),
        Error::Call(call) if call.is_stale() => tracing::debug!(object, ?delay, "somebody else wrote first: {call}"),
        Error::Refused { .. } | Error::Call(_) => {
            tracing::warn!(object, failures, ?delay, "reconcile failed and is tried again: {error}");
        }
    }
    Action::requeue(delay)
}

/// 100 ms, doubled with every failure in a row, up to 30 s, and up to a quarter more so that
/// a fleet that failed together does not come back together.
fn backoff(failures: u32) -> Duration {
    const LONGEST: Duration = Duration::from_secs(30);
    let doubled = Duration::from_millis(100).saturating_mul(1 << failures.saturating_sub(1).min(16));
    let delay = doubled.min(LONGEST);
    // A fresh RandomState is random per process and call: good enough for jitter.
    let percent = u32::try_from(RandomState::new().hash_one(failures) % 25).unwrap_or_default();
    delay + delay * percent / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_gateway_waits_longer_every_time_and_at_most_38_seconds() {
        let between = |failures, least_ms, most_ms| {
            let delay = backoff(failures).as_millis();
            assert!((least_ms..=most_ms).contains(&delay), "{failures} failures: {delay} ms");
        };
        between(1, 100, 125);
        between(2, 200, 250);
        between(5, 1_600, 2_000);
        between(60, 30_000, 37_500);
    }
}
