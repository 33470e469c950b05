//! From caches, or from a live read, to the plain facts that a decision is made from.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Serialize;

use crate::api::{ADOPT_ANNOTATION, ApiGateway, Environment, EnvironmentState};
use crate::cache::{self, AllowedHosts};
use crate::calls::CallError;
use crate::context::Context;
use crate::decide::deadline;
use crate::decide::environment::{Around, GatewayFacts};
use crate::decide::hosts::{self, Stake};
use crate::decide::observed::{Child, EnvironmentFacts, HostVerdict, Observed, Presence, Rollout};
use crate::memory::Expectation;
use crate::registry::report::EnvironmentView;
use crate::resources::{self, Children, Owner, Surroundings};

/// The children as they are, wherever they were read.
pub struct Found {
    /// The Deployment.
    pub deployment: Option<Arc<Deployment>>,
    /// The Service.
    pub service: Option<Arc<Service>>,
    /// The Ingress.
    pub ingress: Option<Arc<Ingress>>,
    /// The PodDisruptionBudget.
    pub disruption_budget: Option<Arc<PodDisruptionBudget>>,
}

/// Renders what is desired of a gateway whose children are `found`.
pub fn desired(ctx: &Context, gateway: &ApiGateway, found: &Found) -> Children {
    let mut hosts: Vec<String> = environments(ctx, gateway)
        .into_iter()
        .filter(|(environment, facts)| environment.spec.host.is_some() && facts.claimed && !facts.refused)
        .filter_map(|(environment, _)| environment.spec.host.clone())
        .collect();
    hosts.sort();
    hosts.dedup();
    let around = Surroundings {
        start_deadline: deadline::limit(gateway, &ctx.settings),
        environment_hosts: hosts,
        ingress_annotations: ctx.settings.ingress_annotations.clone(),
    };
    let mut children = resources::render(gateway, &around);
    if let Some(found) = &found.deployment {
        resources::keep_pods_of_other_renderer(&mut children.deployment, found);
    }
    keep_routed_hosts(ctx, gateway, found, &around.environment_hosts, &mut children);
    children
}

/// A gateway that may not have what its spec asks keeps the Ingress that it has, whatever else
/// changes, with the rules of those hosts that are its own and its environments'.
fn keep_routed_hosts(
    ctx: &Context,
    gateway: &ApiGateway,
    found: &Found,
    environment_hosts: &[String],
    children: &mut Children,
) {
    let verdict = host_verdict(ctx, gateway);
    if verdict == HostVerdict::Free && ctx.settings.allows_ingress_class_of(gateway) {
        return;
    }
    if let Some(ingress) = &found.ingress
        && resources::owner_of(&ingress.metadata, gateway) == Owner::Ours
    {
        let lost =
            |host: &String| matches!(verdict, HostVerdict::Taken { .. }) && gateway.spec.host.as_ref() == Some(host);
        let claims = gateway.status.iter().flat_map(|status| &status.hosts).map(|claim| claim.host.clone());
        let mut hosts: Vec<String> = claims.filter(|host| !lost(host)).collect();
        hosts.extend_from_slice(environment_hosts);
        children.ingress = resources::keep_routes(ingress, children.ingress.as_ref(), &hosts);
    }
}

/// The children in the caches.
pub fn cached(ctx: &Context, gateway: &ApiGateway) -> Found {
    let holder = Context::holder(gateway);
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
    let (namespace, name) = (gateway.namespace_or_empty(), gateway.name_or_empty());
    Ok(Found {
        deployment: ctx.calls.get(namespace, name).await?.map(Arc::new),
        service: ctx.calls.get(namespace, name).await?.map(Arc::new),
        ingress: ctx.calls.get(namespace, name).await?.map(Arc::new),
        disruption_budget: ctx.calls.get(namespace, name).await?.map(Arc::new),
    })
}

/// Facts about a gateway whose children are `found`.
pub fn facts(ctx: &Context, gateway: &ApiGateway, found: &Found, desired: &Children) -> Observed {
    let Found { deployment, service, ingress, disruption_budget } = found;
    let host = host_verdict(ctx, gateway);
    Observed {
        deployment: child(ctx, gateway, Child::Deployment, Some(&desired.deployment), deployment.as_deref()),
        service: child(ctx, gateway, Child::Service, Some(&desired.service), service.as_deref()),
        ingress: match child(ctx, gateway, Child::Ingress, desired.ingress.as_ref(), ingress.as_deref()) {
            Presence::Different(_) if routes_a_lost_host(gateway, desired, &host) => Presence::Equal,
            presence => presence,
        },
        disruption_budget: child(
            ctx,
            gateway,
            Child::PodDisruptionBudget,
            desired.disruption_budget.as_ref(),
            disruption_budget.as_deref(),
        ),
        rollout: deployment.as_deref().map(rollout).unwrap_or_default(),
        pods: cache::pods(&ctx.caches.pods, &Context::holder(gateway)),
        environments: environments(ctx, gateway).into_iter().map(|(_, facts)| facts).collect(),
        host,
        registry: ctx.registry.facts(gateway, || environment_views(ctx, gateway)),
        refusal: ctx.memory.refusal(gateway),
        tried: ctx.memory.has_tried(gateway),
    }
}

/// Whether the host was lost after the Ingress was rendered. Such an Ingress is not written; the
/// claim that was recorded first wakes the gateway to another look.
fn routes_a_lost_host(gateway: &ApiGateway, desired: &Children, verdict: &HostVerdict) -> bool {
    let (Some(host), Some(ingress)) = (&gateway.spec.host, &desired.ingress) else { return false };
    let lost = match verdict {
        HostVerdict::Free => false,
        HostVerdict::Taken { .. } => true,
        HostVerdict::NotAllowed { .. } => !Stake::from(gateway).is_recorded(),
    };
    lost && resources::routes(ingress, host)
}

/// One child as it is, or as our own last call left it where the cache is behind.
fn child<K: Resource + Serialize>(
    ctx: &Context,
    gateway: &ApiGateway,
    kind: Child,
    desired: Option<&K>,
    found: Option<&K>,
) -> Presence {
    let presence = presence(gateway, desired, found);
    match (ctx.memory.expectation(gateway, kind), found) {
        (Some(Expectation::Created), None) if desired.is_some() => Presence::Expected,
        (Some(Expectation::Deleted(uid)), Some(found)) if found.meta().uid.as_ref() == Some(&uid) => {
            Presence::Terminating
        }
        _ if cannot_be_changed(ctx, gateway, kind, &presence) => Presence::Immutable,
        _ => presence,
    }
}

/// Whether the API server said that the child has to be made anew to be as desired.
fn cannot_be_changed(ctx: &Context, gateway: &ApiGateway, kind: Child, presence: &Presence) -> bool {
    let refusal = ctx.memory.refusal(gateway);
    matches!(presence, Presence::Different(_))
        && refusal.is_some_and(|refusal| refusal.child == kind && refusal.immutable)
}

/// Compares one child with what is desired of it.
pub fn presence<K: Resource + Serialize>(gateway: &ApiGateway, desired: Option<&K>, found: Option<&K>) -> Presence {
    let Some(found) = found else {
        return if desired.is_some() { Presence::Missing } else { Presence::NotWanted };
    };
    match (resources::owner_of(found.meta(), gateway), desired) {
        // What nobody desires is in nobody's way.
        (Owner::Stranger(_) | Owner::Predecessor, None) => Presence::NotWanted,
        (Owner::Stranger(who), Some(_)) => Presence::Stranger(who),
        (Owner::Predecessor, Some(_)) if adopts(gateway) && found.meta().deletion_timestamp.is_none() => {
            Presence::Different("/metadata/ownerReferences".to_owned())
        }
        (Owner::Predecessor, Some(_)) => Presence::Predecessor,
        // `kubectl delete --cascade=orphan` left it behind.
        (Owner::Ours, _) if gateway.is_being_deleted() && !names_its_owner(found.meta(), gateway) => {
            Presence::NotWanted
        }
        (Owner::Ours, _) if found.meta().deletion_timestamp.is_some() => Presence::Terminating,
        (Owner::Ours, None) => Presence::Unwanted,
        (Owner::Ours, Some(desired)) => match (serde_json::to_value(desired), serde_json::to_value(found)) {
            (Ok(desired), Ok(found)) => match resources::difference(&desired, &found) {
                None => Presence::Equal,
                Some(path) => Presence::Different(path),
            },
            // An object that came as JSON can be written as JSON.
            _ => Presence::Different("/".to_owned()),
        },
    }
}

/// Whether a child names the gateway as an owner.
pub fn names_its_owner(child: &ObjectMeta, gateway: &ApiGateway) -> bool {
    child.owner_references.iter().flatten().any(|owner| owner.uid == gateway.uid())
}

/// Whether a gateway takes over the children of an earlier one of its name.
pub fn adopts(gateway: &ApiGateway) -> bool {
    gateway.annotation(ADOPT_ANNOTATION) == Some("true")
}

fn rollout(deployment: &Deployment) -> Rollout {
    let desired = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let Some(status) = &deployment.status else {
        return Rollout { desired, ..Rollout::default() };
    };
    let says = |type_: &str, value: &str, reason: Option<&str>| {
        status
            .conditions
            .iter()
            .flatten()
            .find(|condition| {
                condition.type_ == type_
                    && condition.status == value
                    && reason.is_none_or(|reason| condition.reason.as_deref() == Some(reason))
            })
            .map(|condition| condition.message.clone().unwrap_or_default())
    };
    let current = status.observed_generation >= deployment.metadata.generation;
    let (replicas, updated) = (status.replicas.unwrap_or(0), status.updated_replicas.unwrap_or(0));
    let available = status.available_replicas.unwrap_or(0);
    Rollout {
        complete: current && replicas == desired && updated == desired && available == desired,
        desired,
        replicas,
        ready: status.ready_replicas.unwrap_or(0),
        available,
        progress_deadline_exceeded: says("Progressing", "False", Some("ProgressDeadlineExceeded")),
        replica_failure: says("ReplicaFailure", "True", None),
    }
}

/// Whether somebody may have the host that their spec names.
pub fn host_verdict(ctx: &Context, claimant: impl Into<Stake>) -> HostVerdict {
    let stake = claimant.into();
    let namespace = stake.claimant.namespace.clone();
    let allowed = ctx.caches.allowed_hosts.child_of(&(namespace.clone(), namespace));
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
        .of(&Context::holder(gateway))
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
pub fn environment_views(ctx: &Context, gateway: &ApiGateway) -> Vec<EnvironmentView> {
    let view = |(environment, facts): (Arc<Environment>, EnvironmentFacts)| EnvironmentView {
        name: facts.name,
        host: environment.spec.host.clone(),
        active: facts.active,
    };
    environments(ctx, gateway).into_iter().map(view).collect()
}

/// The gateway of an environment; one that is being deleted is gone already.
pub fn gateway_of(ctx: &Context, environment: &Environment) -> Option<ApiGateway> {
    let namespace = environment.metadata.namespace.as_deref().unwrap_or_default();
    let gateway = ctx.caches.gateway(namespace, &environment.spec.gateway_ref.name)?;
    (!gateway.is_being_deleted()).then_some(gateway)
}

/// What is known around an environment of `gateway`.
pub fn around(ctx: &Context, environment: &Environment, gateway: Option<ApiGateway>) -> Around {
    let namespace = environment.metadata.namespace.clone().unwrap_or_default();
    let name = environment.spec.gateway_ref.name.clone();
    let unreadable = ctx.caches.cannot_read_gateway(&namespace, &name);
    let ingress = ctx.caches.ingresses.child_of(&(namespace, name));
    let routed = environment.spec.host.as_ref().is_none_or(|host| {
        ingress.as_ref().is_some_and(|ingress| {
            gateway.as_ref().is_some_and(|gateway| resources::owner_of(&ingress.metadata, gateway) == Owner::Ours)
                && resources::routes(ingress, host)
        })
    });
    let facts = gateway.map(|gateway| {
        let status = gateway.status_or_default();
        GatewayFacts { phase: status.phase, state: status.state, suspended: gateway.spec.suspend }
    });
    let facts = facts.or_else(|| unreadable.then_some(GatewayFacts { phase: None, state: None, suspended: true }));
    Around { gateway: facts, host: host_verdict(ctx, environment), routed }
}
