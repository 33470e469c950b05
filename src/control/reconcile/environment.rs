//! The pass over an environment. Smaller than a gateway's: there is nothing to write but its own status.
//!
//! **Architecture invariant:** besides Events, this pass writes only the status of its environment.

use std::pin::pin;

use super::unreadable;
use crate::api::{Environment, Guarded, ObjectKey, uid_of};
use crate::cache::caches::Caches;
use crate::control::clock::Now;
use crate::control::context::Context;
use crate::control::error::Error;
use crate::control::failed_writes;
use crate::control::gather;
use crate::control::record::{StatusWriteError, claims_newly, record_conflict, with_host_reserved};
use crate::decide::environment;
use crate::queue::Requeue;

/// Reconciles one environment. Returns when to requeue it.
///
/// # Errors
/// If the pass must be repeated.
pub async fn reconcile(ctx: &Context, caches: &Caches, object: &Guarded<Environment>) -> Result<Requeue, Error> {
    let environment = match &object.0 {
        Ok(environment) => environment,
        Err(object) => return unreadable::environment(ctx, object).await,
    };
    let gateway = gather::gateway_of(caches, environment);
    let others = gateway.as_ref().is_some_and(|gateway| !ctx.is_mine(&gateway.metadata));
    let waits = gateway.as_ref().is_some_and(|gateway| !caches.knows_routes_of(gateway));
    if others || waits || !caches.knows_namespace(&ObjectKey::of(environment).namespace) {
        return Ok(Requeue::OnChange);
    }
    let context = gather::environment_context(caches, environment, gateway);
    let now = Now::read();
    let Some(status) = environment::decide(environment, &context, now.wall) else {
        failed_writes::environment_is_written(ctx, environment);
        return Ok(Requeue::OnChange);
    };
    let uid = uid_of(&environment.metadata);
    if let Some(wait) = ctx.memory.status_conflicts.waits(uid, &environment.status, false, now.monotonic) {
        return Ok(Requeue::After(wait));
    }
    record_conflict(ctx, environment, &environment.status).await;
    let before = environment.status.as_ref().map(|status| status.hosts.as_slice()).unwrap_or_default();
    let claims = claims_newly(before, &status.hosts)
        .then(|| caches.host_request_of_environment(environment, &caches.routed_by(&environment.gateway_key())));
    let next = Environment { status: Some(status), ..environment.clone() };
    let write = pin!(ctx.calls.replace_status(&next));
    match with_host_reserved(caches, claims, write).await {
        Ok(written) => {
            ctx.memory.status_conflicts.wrote(uid, &environment.status, &written.status, now.monotonic);
            failed_writes::environment_is_written(ctx, environment);
            Ok(Requeue::OnChange)
        }
        Err(StatusWriteError::HostLost) => Ok(Requeue::CacheBehind),
        Err(StatusWriteError::Failed(error)) => {
            failed_writes::environment(ctx, environment, &error, now).await;
            Error::again(error)
        }
    }
}
