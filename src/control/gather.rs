//! From caches, or from a live read, to the plain facts that a decision is made from.

use std::sync::Arc;
use std::time::Instant;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use crate::api::{ApiGateway, Environment, EnvironmentState, ObjectKey};
use crate::cache::index::{self, AllowedHosts};
use crate::cache::seen::{Part, Seen};
use crate::cache::watched::Watched;
use crate::children::{self, Owner};
use crate::cluster::calls::CallError;
use crate::control::context::Context;
use crate::control::desired::Desired;
use crate::control::memory::Expectation;
use crate::decide::environment::{Around, GatewayFacts};
use crate::decide::hosts::{self, Stake};
use crate::decide::observed::{Child, EnvironmentFacts, HostVerdict, Observed, Presence};
use crate::registry::report::EnvironmentView;

/// The children as they are, wherever they were read.
pub struct Found {
    /// The Deployment.
    pub deployment: Option<Arc<Seen<Deployment>>>,
    /// The Service.
    pub service: Option<Arc<Seen<Service>>>,
    /// The Ingress.
    pub ingress: Option<Arc<Seen<Ingress>>>,
    /// The PodDisruptionBudget.
    pub disruption_budget: Option<Arc<Seen<PodDisruptionBudget>>>,
}

/// The children in the caches.
pub fn cached(ctx: &Context, gateway: &ApiGateway) -> Found {
    let holder = ObjectKey::of(gateway);
    Found {
        deployment: ctx.caches.deployments.child_of(&holder),
        service: ctx.caches.services.child_of(&holder),
        ingress: ctx.caches.ingresses.child_of(&holder),
        disruption_budget: ctx.caches.disruption_budgets.child_of(&holder),
    }
}

/// The children as the API server has them now.
///
/// # Errors
/// When the API server does not answer.
pub async fn live(ctx: &Context, gateway: &ApiGateway) -> Result<Found, CallError> {
    Ok(Found {
        deployment: read(ctx, gateway).await?,
        service: read(ctx, gateway).await?,
        ingress: read(ctx, gateway).await?,
        disruption_budget: read(ctx, gateway).await?,
    })
}

async fn read<K: Part>(ctx: &Context, gateway: &ApiGateway) -> Result<Option<Arc<Seen<K>>>, CallError> {
    let found = ctx.calls.get::<Watched<K>>(gateway.namespace_or_empty(), gateway.name_or_empty()).await?;
    Ok(found.map(|watched| Arc::new(watched.into())))
}

/// Facts about a gateway, whose children are those that `desired` was made for.
pub fn facts(ctx: &Context, gateway: &ApiGateway, desired: &Desired<'_>) -> Observed {
    let compared = desired.compared(ctx);
    let phase = gateway.status.as_ref().and_then(|status| status.phase.as_ref());
    let mut observed = Observed {
        deployment: expected::<Deployment>(ctx, gateway, desired, compared.deployment),
        service: expected::<Service>(ctx, gateway, desired, compared.service),
        ingress: expected::<Ingress>(ctx, gateway, desired, compared.ingress),
        disruption_budget: expected::<PodDisruptionBudget>(ctx, gateway, desired, compared.disruption_budget),
        rollout: desired.found.deployment.as_ref().map(|seen| seen.rollout.clone()).unwrap_or_default(),
        pods: index::pods(&ctx.caches.pods, &ObjectKey::of(gateway)).seen_in(phase),
        environments: desired.environments.iter().map(|(_, facts)| facts.clone()).collect(),
        host: desired.host.clone(),
        registry: ctx.registry.facts(gateway, || environment_views(desired)),
        refusal: ctx.memory.refusal(gateway),
        tried: ctx.memory.has_tried(gateway),
    };
    let silent = observed.troubles().filter(|pod| pod.trouble.is_silent());
    let silence = ctx.memory.silence(gateway, &silent.collect::<Vec<_>>(), Instant::now());
    observed.pods.silence = silence;
    observed
}

/// A child as our own last call left it, where the cache is behind.
fn expected<K: Part>(ctx: &Context, gateway: &ApiGateway, desired: &Desired<'_>, presence: Presence) -> Presence {
    match (ctx.memory.expectation(gateway, K::CHILD), K::found(&desired.found)) {
        (Some(Expectation::Created), None) if presence == Presence::Missing => Presence::Expected,
        (Some(Expectation::Deleted(uid)), Some(found)) if found.uid.as_ref() == Some(&uid) => Presence::Terminating,
        _ if cannot_be_changed(ctx, gateway, K::CHILD, &presence) => Presence::Immutable,
        _ => presence,
    }
}

/// Whether the API server said that the child has to be made anew to be as desired.
fn cannot_be_changed(ctx: &Context, gateway: &ApiGateway, kind: Child, presence: &Presence) -> bool {
    let refusal = ctx.memory.refusal(gateway);
    matches!(presence, Presence::Different(_))
        && refusal.is_some_and(|refusal| refusal.child == kind && refusal.immutable)
}

/// Whether somebody may have the host that their spec names.
pub fn host_verdict(ctx: &Context, claimant: impl Into<Stake>) -> HostVerdict {
    let stake = claimant.into();
    let namespace = stake.claimant.object.namespace.clone();
    let allowed = ctx.caches.allowed_hosts.child_of(&ObjectKey::new(&namespace, &namespace));
    if let (Some(host), Some(AllowedHosts(Some(suffixes)))) = (&stake.wanted, allowed.as_deref())
        && !hosts::is_allowed(host, suffixes)
    {
        return HostVerdict::NotAllowed { host: host.clone(), allowed: suffixes.join(", ") };
    }
    ctx.caches.claims().verdict(stake)
}

/// The environments of a gateway that are not being deleted, with what a decision looks at.
pub fn environments(ctx: &Context, gateway: &ApiGateway) -> Vec<(Arc<Environment>, EnvironmentFacts)> {
    ctx.caches
        .environments
        .of(&ObjectKey::of(gateway))
        .into_iter()
        .filter(|(_, environment)| environment.metadata.deletion_timestamp.is_none())
        .map(|(name, environment)| {
            let stake = Stake::from(&*environment);
            let facts = EnvironmentFacts {
                name,
                active: environment.status.as_ref().is_some_and(|status| status.state == EnvironmentState::Active),
                claimed: stake.is_recorded(),
                refused: host_verdict(ctx, stake) != HostVerdict::Free,
            };
            (environment, facts)
        })
        .collect()
}

/// The environments of a gateway, as the registry mirrors them.
pub fn environment_views(desired: &Desired<'_>) -> Vec<EnvironmentView> {
    let views = desired.environments.iter().map(|(environment, facts)| EnvironmentView {
        name: facts.name.clone(),
        host: environment.spec.host.clone(),
        active: facts.active,
    });
    views.collect()
}

/// The gateway of an environment; one that is being deleted is gone already.
pub fn gateway_of(ctx: &Context, environment: &Environment) -> Option<ApiGateway> {
    let gateway = ctx.caches.gateway(&environment.gateway_key())?;
    (!gateway.is_being_deleted()).then_some(gateway)
}

/// What is known around an environment of `gateway`.
pub fn around(ctx: &Context, environment: &Environment, gateway: Option<ApiGateway>) -> Around {
    let holder = environment.gateway_key();
    let unreadable = ctx.caches.cannot_read_gateway(&holder);
    let routed = environment.spec.host.as_ref().is_none_or(|host| {
        let ingress = || ctx.caches.ingresses.child_of(&holder)?.object().ok();
        gateway.as_ref().is_some_and(|gateway| {
            ingress().is_some_and(|ingress| {
                children::owner_of(&ingress.metadata, gateway) == Owner::Ours && children::routes(&ingress, host)
            })
        })
    });
    let facts = gateway.map(|gateway| {
        let status = gateway.status_or_default();
        GatewayFacts { phase: status.phase, state: status.state, suspended: gateway.spec.suspend }
    });
    let facts = facts.or_else(|| unreadable.then_some(GatewayFacts { phase: None, state: None, suspended: true }));
    Around { gateway: facts, host: host_verdict(ctx, environment), routed }
}
