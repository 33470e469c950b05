//! The pass over a gateway: gather, decide, act, record.
//!
//! **Architecture invariant:** an attempt is given up only after a live read.

use kube::Resource;

use super::unreadable;
use crate::api::{ApiGateway, Completeness, Guarded, ObjectKey};
use crate::cache::caches::Caches;
use crate::control::act::{self, Outcome};
use crate::control::clock::Now;
use crate::control::context::Context;
use crate::control::error::Error;
use crate::control::gather;
use crate::control::record;
use crate::decide::Plan;
use crate::queue::Requeue;

/// Reconciles one gateway. Returns when to requeue it.
///
/// # Errors
/// If the pass must be repeated.
pub async fn reconcile(ctx: &Context, caches: &Caches, object: &Guarded<ApiGateway>) -> Result<Requeue, Error> {
    let meta = object.meta();
    if !ctx.is_mine(meta) || !caches.knows_namespace(&ObjectKey::of_meta(meta).namespace) {
        return Ok(Requeue::OnChange);
    }
    match &object.0 {
        // It is requeued once its routes are known.
        Ok(cached) if !caches.knows_routes_of(cached) => Ok(Requeue::OnChange),
        Ok(cached) if object.1 == Completeness::InPart => {
            let _turn = ctx.large.acquire().await;
            match ctx.calls.get::<ApiGateway>(&ObjectKey::of(cached)).await {
                Ok(Some(whole)) if whole.uid() == cached.uid() => {
                    let next = one_pass(ctx, caches, &whole).await;
                    ctx.memory.forget_write(&whole);
                    next
                }
                Ok(Some(_)) => Ok(Requeue::CacheBehind),
                Ok(None) => Ok(Requeue::OnChange),
                Err(error) => Error::again(error),
            }
        }
        Ok(cached) => {
            // The cache may be behind our own writes.
            let newer = ctx.memory.newer_than(cached);
            one_pass(ctx, caches, newer.as_deref().unwrap_or(cached)).await
        }
        Err(unreadable) => unreadable::gateway(ctx, unreadable, object.1).await,
    }
}

async fn one_pass(ctx: &Context, caches: &Caches, gateway: &ApiGateway) -> Result<Requeue, Error> {
    let mut pass = gather::cached(ctx, caches, gateway, ctx.memory.recall(gateway), Now::read());
    let mut plan = pass.decide();
    if plan.confirm {
        // Giving up an attempt relies on the API server, not on a cache.
        if let Err(error) = Box::pin(gather::live(ctx, &mut pass)).await {
            return record::record(ctx, pass, Plan::default(), Outcome::Failed(error)).await;
        }
        plan = pass.decide();
    }
    let outcome = act::carry_out(ctx, &plan, &mut pass).await;
    if let Some(learned) = outcome.taught() {
        plan = pass.learn(learned, plan);
    }
    record::record(ctx, pass, plan, outcome).await
}
