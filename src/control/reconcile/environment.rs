//! One pass over an environment. It is smaller than a gateway's: there is nothing to act on but its own status.

use std::pin::pin;

use super::unreadable;
use crate::api::{Environment, Guarded, ObjectKey};
use crate::cache::caches::Caches;
use crate::control::clock::Now;
use crate::control::context::Context;
use crate::control::error::Error;
use crate::control::gather;
use crate::control::record::{Unwritten, claims_newly, with_host_reserved};
use crate::control::unwritten;
use crate::decide::environment;
use crate::queue::Next;

/// Brings one environment to what is decided about it.
///
/// # Errors
/// When it has to be done again.
pub async fn reconcile(ctx: &Context, caches: &Caches, object: &Guarded<Environment>) -> Result<Next, Error> {
    let environment = match &object.0 {
        Ok(environment) => environment,
        Err(object) => return unreadable::environment(ctx, object).await,
    };
    let gateway = gather::gateway_of(caches, environment);
    let others = gateway.as_ref().is_some_and(|gateway| !ctx.is_mine(&gateway.metadata));
    if others || !caches.knows_namespace(&ObjectKey::of(environment).namespace) {
        return Ok(Next::WhenWoken);
    }
    let around = gather::around(caches, environment, gateway);
    let now = Now::read();
    let Some(status) = environment::decide(environment, &around, now.wall) else {
        unwritten::environment_is_written(ctx, environment);
        return Ok(Next::WhenWoken);
    };
    let before = environment.status.as_ref().map(|status| status.hosts.as_slice()).unwrap_or_default();
    let claims = claims_newly(before, &status.hosts)
        .then(|| caches.stake_of_environment(environment, &caches.routed_by(&environment.gateway_key())));
    let next = Environment { status: Some(status), ..environment.clone() };
    let write = pin!(ctx.calls.replace_status(&next));
    match with_host_reserved(caches, claims, write).await {
        Ok(_) => {
            unwritten::environment_is_written(ctx, environment);
            Ok(Next::WhenWoken)
        }
        Err(Unwritten::HostLost) => Ok(Next::Behind),
        Err(Unwritten::Failed(error)) => {
            unwritten::environment(ctx, environment, &error, now).await;
            Error::again(error)
        }
    }
}
