//! First of a pass: the facts. It only reads, from the caches and from what is remembered, and where a cache is not
//! enough from the API server.

use std::borrow::Cow;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use super::clock::Now;
use super::context::Context;
use super::desired::{Desired, EnvironmentOf, MayHave};
use super::memory::{Expectation, Remembered};
use crate::api::{ApiGateway, Environment, EnvironmentState, HostClaim, ObjectKey, uid_of};
use crate::cache::caches::Caches;
use crate::cache::pods;
use crate::cache::seen::{Found, Part, Seen};
use crate::cache::watched::Watched;
use crate::children::{self, Owner};
use crate::cluster::calls::CallError;
use crate::decide::Learned;
use crate::decide::allowance::Breaches;
use crate::decide::environment::{Around, GatewayFacts};
use crate::decide::hosts::Stake;
use crate::decide::observed::{
    Child, EnvironmentFacts, Going, HostVerdict, Moment, Observed, Presence, RegistryFacts, Settings, Writes,
};
use crate::decide::{self, Place, Plan};

/// All that a pass over one gateway works on.
pub struct Pass<'a> {
    /// The gateway.
    pub gateway: &'a ApiGateway,
    /// The caches of its scope.
    pub caches: &'a Caches,
    /// The operator's flags, as the namespace narrows them.
    pub settings: Cow<'a, Settings>,
    /// When the pass is.
    pub moment: Moment,
    /// What is desired, and the children that it was compared with.
    pub desired: Desired<'a>,
    /// The facts.
    pub observed: Observed,
    /// What is remembered of the gateway, as this pass will leave it.
    pub remembered: Remembered,
    /// Whether the registry could not be asked when the facts were gathered. One that failed since is tried again after a
    /// backoff, and not when it answers: it may be answering all the while.
    pub waits_for_registry: bool,
    /// The gateway as a step of this pass wrote it.
    pub written: Option<ApiGateway>,
    /// Whether a write left a child as it was, so that no watch will tell of it.
    pub unheard: bool,
    /// When the pass began, by both clocks.
    pub now: Now,
}

impl Pass<'_> {
    /// What is to be done about it.
    pub fn decide(&self) -> Plan {
        decide::decide(self.gateway, &self.observed, &self.moment, &self.settings)
    }

    /// Folds into the facts what acting taught. Returns the plan that was carried out, with the status that they lead to.
    pub fn learn(&mut self, learned: Learned, plan: Plan) -> Plan {
        self.observed.learn(learned);
        plan.in_the_light_of(self.gateway, &self.observed, &self.moment, &self.settings)
    }

    /// When the attempt is to be judged by its deadline, if one is and its clock runs.
    pub fn judged_at(&self) -> Option<Instant> {
        let left = decide::judged_in(self.gateway, &self.observed, &self.moment, &self.settings)?;
        self.now.monotonic.checked_add(left)
    }
}

/// Gathers what the caches know of a gateway.
pub fn cached<'a>(
    ctx: &'a Context,
    caches: &'a Caches,
    gateway: &'a ApiGateway,
    mut remembered: Remembered,
    now: Now,
) -> Pass<'a> {
    let mut moment = remembered.stopwatches.moment(gateway, now, &ctx.outages);
    let unrecorded = remembered.unrecorded(gateway, now);
    moment.unrecorded = unrecorded.saturating_sub(ctx.outages.within(unrecorded, now.monotonic));
    let found = caches.children_of(&ObjectKey::of(gateway));
    facts(ctx, caches, gateway, found, moment, remembered, now)
}

/// Gathers the same once more, with the children as the API server has them now: a cache may be behind.
///
/// # Errors
/// When the API server does not answer. Then nothing has changed.
pub async fn live<'a>(ctx: &'a Context, pass: &mut Pass<'a>) -> Result<(), CallError> {
    let gateway = pass.gateway;
    // Each is waited for, also where another fails: a request that is dropped would count as one without an answer.
    let (deployment, service, ingress, disruption_budget) = tokio::join!(
        read::<Deployment>(ctx, gateway),
        read::<Service>(ctx, gateway),
        read::<Ingress>(ctx, gateway),
        read::<PodDisruptionBudget>(ctx, gateway),
    );
    let found =
        Found { deployment: deployment?, service: service?, ingress: ingress?, disruption_budget: disruption_budget? };
    let remembered = std::mem::take(&mut pass.remembered);
    *pass = facts(ctx, pass.caches, gateway, found, pass.moment, remembered, pass.now);
    Ok(())
}

async fn read<K: Part>(ctx: &Context, gateway: &ApiGateway) -> Result<Option<Arc<Seen<K>>>, CallError> {
    let found = ctx.calls.get::<Watched<K>>(&ObjectKey::of(gateway)).await?;
    Ok(found.map(|watched| Arc::new(watched.into())))
}

fn facts<'a>(
    ctx: &'a Context,
    caches: &'a Caches,
    gateway: &'a ApiGateway,
    found: Found,
    moment: Moment,
    mut remembered: Remembered,
    now: Now,
) -> Pass<'a> {
    let found = remembered.accepted.newest(found);
    let narrowed = caches.allowance_of(gateway.namespace_or_empty());
    let settings = ctx.settings.narrowed_by(&narrowed);
    let (host, lost) = hosts_of_gateway(caches, gateway);
    let may_have = MayHave { host, lost, breaches: Breaches::of(&gateway.spec, &settings.allowance, &narrowed) };
    let desired = Desired::of(gateway, found, may_have, environments(caches, gateway), &settings);
    let settled = remembered.settled();
    let compared = desired.compared(&mut remembered.accepted, settled);
    let phase = gateway.status.as_ref().and_then(|status| status.phase.as_ref());
    let expected = Expected { found: &desired.found, remembered: &remembered, now };
    let mut observed = Observed {
        deployment: expected.presence::<Deployment>(compared.deployment),
        service: expected.presence::<Service>(compared.service),
        ingress: expected.presence::<Ingress>(compared.ingress),
        disruption_budget: expected.presence::<PodDisruptionBudget>(compared.disruption_budget),
        rollout: desired.found.deployment.as_ref().map(|seen| seen.rollout.clone()).unwrap_or_default(),
        pods: pods::of(&caches.pods, &ObjectKey::of(gateway)).seen_in(phase),
        environments: desired.environments.iter().map(|(_, facts)| facts.clone()).collect(),
        host: desired.may_have.host.clone(),
        lost: desired.may_have.lost.clone(),
        breaches: desired.may_have.breaches.clone(),
        registry: RegistryFacts {
            may_let_go: ctx.memory.may_let_go(&gateway.metadata),
            ..ctx.registry.facts(gateway, || desired.environment_views())
        },
        refusal: remembered.refusal(gateway).cloned(),
        unanswered: remembered.what_was_unanswered(gateway),
        tried: remembered.has_tried(gateway),
        writes: Writes::default(),
    };
    learn_of_environments(ctx, &desired, &mut observed);
    remembered.accepted.keep(&desired.found, &observed);
    observed.writes =
        remembered.accepted.facts(gateway, &observed, |known, child| desired.is_as_before(child, known), now);
    observed.writes.going = going(&desired.found, &observed, moment.now);
    remembered.found_settled(compared.settled);
    let followed: Vec<_> = observed.troubles().filter(|pod| pod.trouble.is_followed()).collect();
    let silence = remembered.silence(&followed, now);
    observed.pods.silence = silence;
    let waits_for_registry = observed.registry.unavailable.is_some();
    Pass {
        gateway,
        caches,
        settings,
        moment,
        desired,
        observed,
        remembered,
        waits_for_registry,
        written: None,
        unheard: false,
        now,
    }
}

/// Environments are written by passes of their own as well. What keeps one of those from being written that belong to a gateway
/// keeps the gateway.
fn learn_of_environments(ctx: &Context, desired: &Desired<'_>, observed: &mut Observed) {
    let allowed = desired.environments.iter().filter(|(_, facts)| !facts.refused);
    match ctx.memory.hindered(allowed.map(|(environment, _)| uid_of(&environment.metadata))) {
        Some(Learned::Refused(refusal)) if observed.refusal.is_none() => observed.refusal = Some(refusal),
        Some(Learned::Unanswered(unanswered)) if observed.unanswered.is_none() => {
            observed.unanswered = Some(unanswered);
        }
        _ => {}
    }
}

/// The children that were deleted and are not gone.
fn going(found: &Found, observed: &Observed, now: Timestamp) -> Vec<Going> {
    let meta = |child: Child| match child {
        Child::Deployment => meta(found.deployment.as_deref()),
        Child::Service => meta(found.service.as_deref()),
        Child::Ingress => meta(found.ingress.as_deref()),
        Child::PodDisruptionBudget => meta(found.disruption_budget.as_deref()),
    };
    let going = |child: Child| {
        let meta = (*observed.child(child) == Presence::Terminating).then(|| meta(child)).flatten()?;
        let lasted = now.duration_since(meta.deletion_timestamp?.0);
        let lasted = lasted.try_into().unwrap_or_default();
        Some(Going { child, lasted, finalizers: meta.finalizers.unwrap_or_default() })
    };
    Child::ALL.into_iter().filter_map(going).collect()
}

fn meta<K: Part>(found: Option<&Seen<K>>) -> Option<ObjectMeta> {
    Some(found?.object().ok()?.meta().clone())
}

/// What is remembered of our own calls, where the cache may be behind them.
struct Expected<'a> {
    found: &'a Found,
    remembered: &'a Remembered,
    now: Now,
}

impl Expected<'_> {
    /// A child as our own last call left it.
    fn presence<K: Part>(&self, presence: Presence) -> Presence {
        match (self.remembered.expectation(K::CHILD, self.now), K::found(self.found)) {
            (Some(Expectation::Created), None) if presence == Presence::Missing => Presence::Expected,
            (Some(Expectation::Deleted(uid)), Some(found)) if found.uid == *uid => Presence::Terminating,
            _ => presence,
        }
    }
}

/// Whether a gateway may have the host that its spec names, and which it may not have of those that it has.
fn hosts_of_gateway(caches: &Caches, gateway: &ApiGateway) -> (HostVerdict, Vec<String>) {
    let stake = caches.stake_of_gateway(gateway);
    let mut lost = lost_claims(caches, &stake, gateway.status.iter().flat_map(|status| &status.hosts));
    if gateway.spec.is_left_alone() {
        // What is routed follows from nothing else as long as nothing is written.
        let forbidden = |host: &String| caches.refuses(gateway.namespace_or_empty(), host).is_some();
        lost.extend(caches.routed_hosts(gateway).into_iter().filter(forbidden));
    }
    (host_verdict(caches, &stake), lost)
}

/// Whether somebody may have the host that their spec names.
fn host_verdict(caches: &Caches, stake: &Stake) -> HostVerdict {
    let refused = stake.wanted.as_ref().and_then(|host| caches.refuses(&stake.claimant.object.namespace, host));
    refused.unwrap_or_else(|| caches.claims().verdict(stake.clone()))
}

/// The hosts of those recorded claims that do not stand.
fn lost_claims<'a>(caches: &Caches, stake: &Stake, recorded: impl Iterator<Item = &'a HostClaim>) -> Vec<String> {
    let claims = caches.claims();
    recorded.filter(|claim| claims.is_lost(stake, &claim.host)).map(|claim| claim.host.clone()).collect()
}

/// The environments of a gateway that count and are not being deleted, with what a decision looks at.
fn environments(caches: &Caches, gateway: &ApiGateway) -> Vec<EnvironmentOf> {
    let key = ObjectKey::of(gateway);
    let routed = caches.routed_by(&key);
    caches
        .environments
        .of(&key)
        .into_iter()
        .filter(|(_, environment)| environment.metadata.deletion_timestamp.is_none())
        .map(|(name, environment)| {
            let stake = caches.stake_of_environment(&environment, &routed);
            let facts = EnvironmentFacts {
                name,
                active: environment.status.as_ref().is_some_and(|status| status.state == EnvironmentState::Active),
                claimed: stake.is_recorded(),
                refused: host_verdict(caches, &stake) != HostVerdict::Free,
            };
            (environment, facts)
        })
        .collect()
}

/// The gateway of an environment; one that is being deleted is gone already.
pub fn gateway_of(caches: &Caches, environment: &Environment) -> Option<ApiGateway> {
    let gateway = caches.gateway(&environment.gateway_key())?;
    (!gateway.is_being_deleted()).then_some(gateway)
}

/// What is known around an environment of `gateway`.
pub fn around(caches: &Caches, environment: &Environment, gateway: Option<ApiGateway>) -> Around {
    let key = environment.gateway_key();
    let unreadable = caches.cannot_read_gateway(&key);
    let routed = environment.spec.host.as_ref().is_none_or(|host| {
        let ingress = || caches.ingresses.child_of(&key)?.object().ok();
        gateway.as_ref().is_some_and(|gateway| {
            ingress().is_some_and(|ingress| {
                children::owner_of(&ingress.metadata, gateway) == Owner::Ours && children::routes(&ingress, host)
            })
        })
    });
    let facts = gateway
        .map(|gateway| GatewayFacts { place: Place::of_gateway(&gateway), suspended: gateway.spec.is_left_alone() })
        .or_else(|| unreadable.then_some(GatewayFacts { place: None, suspended: true }));
    let stake = caches.stake_of_environment(environment, &caches.routed_by(&key));
    let counts = caches.environments.counts(environment);
    let lost = lost_claims(caches, &stake, environment.status.iter().flat_map(|status| &status.hosts));
    Around { gateway: facts, counts, host: host_verdict(caches, &stake), lost: !lost.is_empty(), routed }
}
