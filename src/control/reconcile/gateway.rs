//! One pass over a gateway: gather, decide, act, record.

use kube::Resource;

use super::unreadable;
use crate::api::{ApiGateway, Extent, Guarded, ObjectKey};
use crate::cache::caches::Caches;
use crate::control::act::{self, Outcome};
use crate::control::clock::Now;
use crate::control::context::Context;
use crate::control::error::Error;
use crate::control::gather;
use crate::control::record;
use crate::decide::Plan;
use crate::queue::Next;

/// Brings one gateway a step nearer to what is asked. Returns when to look again.
///
/// # Errors
/// When it has to be done again.
pub async fn reconcile(ctx: &Context, caches: &Caches, object: &Guarded<ApiGateway>) -> Result<Next, Error> {
    let meta = object.meta();
    if !ctx.is_mine(meta) || !caches.knows_namespace(&ObjectKey::of_meta(meta).namespace) {
        return Ok(Next::WhenWoken);
    }
    match &object.0 {
        Ok(cached) if object.1 == Extent::InPart => {
            let _turn = ctx.large.acquire().await;
            match ctx.calls.get::<ApiGateway>(&ObjectKey::of(cached)).await {
                Ok(Some(whole)) if whole.uid() == cached.uid() => {
                    let next = one_pass(ctx, caches, &whole).await;
                    ctx.memory.forget_write(&whole);
                    next
                }
                Ok(Some(_)) => Ok(Next::Behind),
                Ok(None) => Ok(Next::WhenWoken),
                Err(error) => Error::again(error),
            }
        }
        Ok(cached) => {
            // The cache may lag behind our own writes.
            let newer = ctx.memory.newer_than(cached);
            one_pass(ctx, caches, newer.as_deref().unwrap_or(cached)).await
        }
        Err(object) => unreadable::gateway(ctx, object).await,
    }
}

async fn one_pass(ctx: &Context, caches: &Caches, gateway: &ApiGateway) -> Result<Next, Error> {
    let mut pass = gather::cached(ctx, caches, gateway, ctx.memory.recall(gateway), Now::read());
    let mut plan = pass.decide();
    if plan.confirm {
        // An attempt is given up on what the API server says, and not on what a cache does.
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
