//! From caches, or from a live read, to the plain facts that a decision is made from.

use std::sync::Arc;
use std::time::Instant;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;

use crate::api::{ApiGateway, Environment, EnvironmentState, namespace_and_name};
use crate::cache::{self, AllowedHosts};
use crate::calls::CallError;
use crate::context::Context;
use crate::decide::environment::{Around, GatewayFacts};
use crate::decide::hosts::{self, Stake};
use crate::decide::observed::{Child, EnvironmentFacts, HostVerdict, Observed, Presence, Rollout};
use crate::desired::{Desired, Part};
use crate::memory::Expectation;
use crate::registry::report::EnvironmentView;
use crate::resources::{self, Owner};

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

/// The children in the caches.
pub fn cached(ctx: &Context, gateway: &ApiGateway) -> Found {
    let holder = namespace_and_name(gateway);
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

/// Facts about a gateway, whose children are those that `desired` was made for.
pub fn facts(ctx: &Context, gateway: &ApiGateway, desired: &Desired<'_>) -> Observed {
    let compared = desired.compared(ctx);
    let phase = gateway.status.as_ref().and_then(|status| status.phase.as_ref());
    let mut observed = Observed {
        deployment: expected::<Deployment>(ctx, gateway, desired, compared.deployment),
        service: expected::<Service>(ctx, gateway, desired, compared.service),
        ingress: expected::<Ingress>(ctx, gateway, desired, compared.ingress),
        disruption_budget: expected::<PodDisruptionBudget>(ctx, gateway, desired, compared.disruption_budget),
        rollout: desired.found.deployment.as_deref().map(rollout).unwrap_or_default(),
        pods: cache::pods(&ctx.caches.pods, &namespace_and_name(gateway)).seen_in(phase),
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
        (Some(Expectation::Deleted(uid)), Some(found)) if found.meta().uid.as_ref() == Some(&uid) => {
            Presence::Terminating
        }
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

fn rollout(deployment: &Deployment) -> Rollout {
    let desired = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let Some(status) = &deployment.status else {
        return Rollout { desired, behind: true, ..Rollout::default() };
    };
    let condition = |type_: &str| status.conditions.iter().flatten().find(|condition| condition.type_ == type_);
    let says = |type_: &str, value: &str, reason: Option<&str>| {
        condition(type_)
            .filter(|condition| {
                condition.status == value && reason.is_none_or(|reason| condition.reason.as_deref() == Some(reason))
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
        updated,
        behind: !current,
        template: condition("Progressing")
            .and_then(|condition| newest_template(&deployment.name_any(), condition.message.as_deref()?)),
    }
}

/// The `pod-template-hash` of the ReplicaSet that a Deployment speaks of: its name is the Deployment's and the
/// hash. Watching ReplicaSets for this alone would cost as much as watching Deployments.
fn newest_template(deployment: &str, words: &str) -> Option<String> {
    let replica_set = words.split('"').nth(1)?;
    Some(replica_set.strip_prefix(deployment)?.strip_prefix('-')?.to_owned())
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
        .of(&namespace_and_name(gateway))
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// The words of every version of the Deployment controller that is supported.
    #[test]
    fn the_newest_template_is_told_by_what_the_deployment_says_of_its_progress() {
        for words in [
            "Created new replica set \"shop-7d9f8b6c5\"",
            "Found new replica set \"shop-7d9f8b6c5\"",
            "ReplicaSet \"shop-7d9f8b6c5\" is progressing.",
            "ReplicaSet \"shop-7d9f8b6c5\" has successfully progressed.",
            "ReplicaSet \"shop-7d9f8b6c5\" has timed out progressing.",
        ] {
            assert_eq!(newest_template("shop", words).as_deref(), Some("7d9f8b6c5"), "{words}");
        }
        for words in ["Deployment \"shop\" is progressing.", "Deployment is paused", ""] {
            assert_eq!(newest_template("shop", words), None, "{words}");
        }
    }
}
