//! Live reads of what a plan at a deadline depends on.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use super::{Found, Pass, facts, is_active};
use crate::api::{ApiGateway, Environment, Guarded, ObjectKey};
use crate::cache::child::{CachedChild, ChildKind, FoundChildren};
use crate::cache::routes::Support;
use crate::cache::watched::Watched;
use crate::children::{self, HttpRoute};
use crate::cluster::calls::CallError;
use crate::control::context::Context;
use crate::decide::observed::EnvironmentFacts;
use crate::decide::readiness;

/// Gathers the facts again with live reads of the children, since a cache may be behind. If they are ready, the
/// environments decide, and are read as well.
///
/// # Errors
/// If the API server does not answer. Nothing has changed then.
pub async fn live<'a>(ctx: &'a Context, pass: &mut Pass<'a>) -> Result<(), CallError> {
    let gateway = pass.gateway;
    // All reads are awaited even if one fails: a dropped request would count as unanswered.
    let routes = async {
        let has_routes = children::concerns_routes(gateway) && pass.caches.routes().support() == Support::Served;
        if has_routes { read::<HttpRoute>(ctx, gateway).await } else { Ok(None) }
    };
    let (deployment, service, ingress, http_route, disruption_budget) = tokio::join!(
        read::<Deployment>(ctx, gateway),
        read::<Service>(ctx, gateway),
        read::<Ingress>(ctx, gateway),
        routes,
        read::<PodDisruptionBudget>(ctx, gateway),
    );
    let children = FoundChildren {
        deployment: deployment?,
        service: service?,
        ingress: ingress?,
        http_route: http_route?,
        disruption_budget: disruption_budget?,
    };
    let environments = pass.caches.environments.of(&ObjectKey::of(gateway));
    again(ctx, pass, Found { children: children.clone(), environments: environments.clone() });
    if readiness::workload_ready(&pass.observed) && !readiness::environments_active(&pass.observed) {
        let environments = live_environments(ctx, pass, environments).await?;
        again(ctx, pass, Found { children, environments });
    }
    Ok(())
}

/// Replaces the facts of a pass.
fn again<'a>(ctx: &'a Context, pass: &mut Pass<'a>, found: Found) {
    let remembered = std::mem::take(&mut pass.remembered);
    *pass = facts(ctx, pass.caches, pass.gateway, found, pass.moment, remembered, pass.now);
}

/// Environments that are read at once.
const AT_ONCE: usize = 8;

/// The environments, of which those that are not active in the cache are read. The reads end with the first group in
/// which one is not active: the start is not complete then, whatever the others are.
async fn live_environments(
    ctx: &Context,
    pass: &Pass<'_>,
    environments: Vec<(String, Arc<Environment>)>,
) -> Result<Vec<(String, Arc<Environment>)>, CallError> {
    let namespace = pass.gateway.namespace_or_empty();
    let mut all: BTreeMap<_, _> = environments.into_iter().collect();
    let waiting: Vec<_> = pass.observed.environments.iter().filter(|facts| facts.is_awaited()).collect();
    for group in waiting.chunks(AT_ONCE) {
        let read = |facts: &&EnvironmentFacts| {
            let key = ObjectKey::new(namespace, &facts.name);
            async move { ctx.calls.get_by_list::<Guarded<Environment>>(&key).await }
        };
        let mut all_active = true;
        for (facts, read) in group.iter().zip(join_all(group.iter().map(read)).await) {
            match read? {
                Some(Guarded(Ok(found), _)) => {
                    all_active &= is_active(&found) || found.metadata.deletion_timestamp.is_some();
                    all.insert(facts.name.clone(), Arc::new(found));
                }
                // As the cache has it.
                Some(Guarded(Err(_), _)) => all_active = false,
                None => drop(all.remove(&facts.name)),
            }
        }
        if !all_active {
            break;
        }
    }
    Ok(all.into_iter().collect())
}

async fn read<K: ChildKind>(ctx: &Context, gateway: &ApiGateway) -> Result<Option<Arc<CachedChild<K>>>, CallError> {
    let found = ctx.calls.get::<Watched<K>>(&ObjectKey::of(gateway)).await?;
    Ok(found.map(|watched| Arc::new(watched.into())))
}
