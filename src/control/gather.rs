//! Gather, the first stage of a pass: collects the facts.
//!
//! **Architecture invariant:** this module only reads, from the caches, the memory and, if a cache is not
//! enough, the API server.

mod live;

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
use super::desired::{Desired, EnvironmentOf, Permitted};
use super::memory::{Expectation, Remembered};
use crate::api::{ApiGateway, Environment, EnvironmentState, Exposure, HostClaim, ObjectKey, uid_of};
use crate::cache::caches::Caches;
use crate::cache::child::{CachedChild, ChildKind, FoundChildren};
use crate::cache::pods;
use crate::cache::routes::Support;
use crate::children::{self, HttpRoute, MOST_HOSTNAMES, Owner, Verdict};
use crate::decide::Learned;
use crate::decide::allowance::Violations;
use crate::decide::environment::{EnvironmentContext, GatewayFacts, Routed};
use crate::decide::hosts::HostRequest;
use crate::decide::observed::{
    Child, EnvironmentFacts, HostVerdict, Moment, Observed, Presence, RegistryFacts, Routing, Settings,
    TerminatingChild, Unsupported, Writes,
};
use crate::decide::{self, Place, Plan};

pub use live::live;

/// The state of one pass over a gateway.
pub struct Pass<'a> {
    /// The gateway.
    pub gateway: &'a ApiGateway,
    /// The caches of its scope.
    pub caches: &'a Caches,
    /// The operator's settings, as the namespace restricts them.
    pub settings: Cow<'a, Settings>,
    /// The moment of the pass.
    pub moment: Moment,
    /// The desired state, and the children that were found.
    pub desired: Desired<'a>,
    /// The facts.
    pub observed: Observed,
    /// What is remembered of the gateway, as this pass leaves it.
    pub remembered: Remembered,
    /// Whether the registry was unavailable when the facts were gathered. A registry that fails later is
    /// retried with backoff and not when it answers: it may be answering all the while.
    pub waits_for_registry: bool,
    /// The gateway as written by a step of this pass.
    pub written: Option<ApiGateway>,
    /// Whether a write changed nothing, so that no watch event will follow.
    pub without_event: bool,
    /// Both clocks at the beginning of the pass.
    pub now: Now,
}

impl Pass<'_> {
    /// Decides about the gateway.
    pub fn decide(&self) -> Plan {
        decide::decide(self.gateway, &self.observed, &self.moment, &self.settings)
    }

    /// Adds the result of a step to the facts. Returns the plan that was carried out, with the status that
    /// follows.
    pub fn learn(&mut self, learned: Learned, plan: Plan) -> Plan {
        self.observed.learn(learned);
        plan.in_the_light_of(self.gateway, &self.observed, &self.moment, &self.settings)
    }

    /// When the attempt is due to be judged, if one runs and its clock is not held.
    pub fn judged_at(&self) -> Option<Instant> {
        let left = decide::judged_in(self.gateway, &self.observed, &self.moment, &self.settings)?;
        self.now.monotonic.checked_add(left)
    }
}

/// Gathers facts from the caches.
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
    let key = ObjectKey::of(gateway);
    let found = Found { children: caches.children_of(&key), environments: caches.environments.of(&key) };
    facts(ctx, caches, gateway, found, moment, remembered, now)
}

/// The objects of a gateway, as they were read for one pass.
struct Found {
    children: FoundChildren,
    /// By name.
    environments: Vec<(String, Arc<Environment>)>,
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
    let Found { children, environments } = found;
    let found = remembered.accepted.newest(children);
    let narrowed = caches.allowance_of(gateway.namespace_or_empty());
    let settings = ctx.settings.narrowed_by(&narrowed);
    let (host, lost) = hosts_of_gateway(caches, gateway);
    let violations = Violations::of(&gateway.spec, gateway.namespace_or_empty(), &settings.allowance, &narrowed);
    let permitted = Permitted { host, lost, violations };
    let without_room = without_room(caches, gateway);
    let environments = facts_of_environments(caches, gateway, environments, &without_room);
    let filled_in = remembered.accepted.filled_in_by_cluster(gateway);
    let desired = Desired::of(gateway, found, permitted, environments, without_room, filled_in, &settings);
    let settled = remembered.settled();
    let compared = desired.compared(&mut remembered.accepted, settled);
    let phase = gateway.status.as_ref().and_then(|status| status.phase.as_ref());
    let expected = Expected { found: &desired.found, remembered: &remembered, now };
    let mut observed = Observed {
        deployment: expected.presence::<Deployment>(compared.deployment),
        service: expected.presence::<Service>(compared.service),
        ingress: expected.presence::<Ingress>(compared.ingress),
        http_route: expected.presence::<HttpRoute>(compared.http_route),
        disruption_budget: expected.presence::<PodDisruptionBudget>(compared.disruption_budget),
        routing: Routing::default(),
        rollout: desired.found.deployment.as_ref().map(|seen| seen.rollout.clone()).unwrap_or_default(),
        pods: pods::of(&caches.pods, &ObjectKey::of(gateway)).seen_in(phase),
        environments: desired.environments.iter().map(|(_, facts)| facts.clone()).collect(),
        host: desired.permitted.host.clone(),
        lost: desired.permitted.lost.clone(),
        violations: desired.permitted.violations.clone(),
        registry: RegistryFacts {
            may_remove_finalizer: ctx.memory.may_remove_finalizer(&gateway.metadata),
            ..ctx.registry.facts(gateway, || desired.environment_views())
        },
        refusal: remembered.refusal(gateway).cloned(),
        unanswered: remembered.what_was_unanswered(gateway),
        tried: remembered.has_tried(gateway),
        writes: Writes::default(),
    };
    observed.routing = routing(caches, gateway, &desired, &observed, &settings);
    let waits = observed.routing.parents.iter().any(|parent| parent.verdict == Verdict::Silent);
    observed.routing.unanswered = remembered.route_waits(waits, now);
    learn_of_environments(ctx, &desired, &mut observed);
    remembered.accepted.keep(&desired.found, &observed);
    observed.writes =
        remembered.accepted.facts(gateway, &observed, |known, child| desired.is_as_before(child, known), now);
    observed.writes.terminating = terminating(&desired.found, &observed, moment.now);
    remembered.found_settled(compared.settled);
    let followed: Vec<_> = observed.troubles().filter(|pod| pod.trouble.is_followed()).collect();
    let unexplained = remembered.unexplained(&followed, now, |lasted| ctx.outages.within(lasted, now.monotonic));
    observed.pods.unexplained = unexplained;
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
        without_event: false,
        now,
    }
}

/// Whether the requested HTTPRoute can exist, and what is reported about the current one.
fn routing(
    caches: &Caches,
    gateway: &ApiGateway,
    desired: &Desired<'_>,
    observed: &Observed,
    settings: &Settings,
) -> Routing {
    let asks = gateway.spec.exposure().by_route() && desired.route_hosts().next().is_some();
    let unsupported = || match caches.routes().support() {
        Support::Missing => Some(Unsupported::NoDefinition),
        Support::NotPermitted(words) => Some(Unsupported::NotPermitted(words)),
        Support::Unknown | Support::Served => {
            let is_named = !children::parent_refs(gateway, &settings.default_parent_refs).is_empty();
            (!is_named).then_some(Unsupported::NoParent)
        }
    };
    let found = desired.found.http_route.as_ref().filter(|_| observed.http_route.is_ours());
    Routing {
        unsupported: if asks { unsupported() } else { None },
        parents: found.map(|route| route.parents.to_vec()).unwrap_or_default(),
        unanswered: std::time::Duration::ZERO,
    }
}

/// Environments are reconciled separately as well. A blocked write of one of them blocks the gateway.
fn learn_of_environments(ctx: &Context, desired: &Desired<'_>, observed: &mut Observed) {
    let allowed = desired.environments.iter().filter(|(_, facts)| !facts.refused);
    match ctx.memory.blocked(allowed.map(|(environment, _)| uid_of(&environment.metadata))) {
        Some(Learned::Refused(refusal)) if observed.refusal.is_none() => observed.refusal = Some(refusal),
        Some(Learned::Unanswered(unanswered)) if observed.unanswered.is_none() => {
            observed.unanswered = Some(unanswered);
        }
        _ => {}
    }
}

/// Children that were deleted and still exist.
fn terminating(found: &FoundChildren, observed: &Observed, now: Timestamp) -> Vec<TerminatingChild> {
    let meta = |child: Child| match child {
        Child::Deployment => meta(found.deployment.as_deref()),
        Child::Service => meta(found.service.as_deref()),
        Child::Ingress => meta(found.ingress.as_deref()),
        Child::HttpRoute => meta(found.http_route.as_deref()),
        Child::PodDisruptionBudget => meta(found.disruption_budget.as_deref()),
    };
    let terminating = |child: Child| {
        let meta = (*observed.child(child) == Presence::Terminating).then(|| meta(child)).flatten()?;
        let lasted = now.duration_since(meta.deletion_timestamp?.0);
        let lasted = lasted.try_into().unwrap_or_default();
        Some(TerminatingChild { child, lasted, finalizers: meta.finalizers.unwrap_or_default() })
    };
    Child::ALL.into_iter().filter_map(terminating).collect()
}

fn meta<K: ChildKind>(found: Option<&CachedChild<K>>) -> Option<ObjectMeta> {
    Some(found?.object().ok()?.meta().clone())
}

/// The effects of our own calls, which the cache may not show yet.
struct Expected<'a> {
    found: &'a FoundChildren,
    remembered: &'a Remembered,
    now: Now,
}

impl Expected<'_> {
    /// A child as our last call left it.
    fn presence<K: ChildKind>(&self, presence: Presence) -> Presence {
        match (self.remembered.expectation(K::CHILD, self.now), K::found(self.found)) {
            (Some(Expectation::Created), None) if presence == Presence::Missing => Presence::Expected,
            (Some(Expectation::Deleted(uid)), Some(found)) if found.uid == *uid => Presence::Terminating,
            _ => presence,
        }
    }
}

/// Whether a gateway may have the host in its spec, and which of its hosts it must give up.
fn hosts_of_gateway(caches: &Caches, gateway: &ApiGateway) -> (HostVerdict, Vec<String>) {
    let request = caches.host_request_of_gateway(gateway);
    let mut lost = lost_claims(caches, &request, gateway.status.iter().flat_map(|status| &status.hosts));
    if gateway.spec.is_left_alone() {
        // While nothing is written, void routes do not show anywhere else.
        let forbidden = |host: &String| caches.refuses(gateway.namespace_or_empty(), host).is_some();
        lost.extend(caches.routed_hosts(gateway).into_iter().filter(forbidden));
    }
    (caches.host_verdict(&request), lost)
}

/// The hosts of recorded claims that are void.
fn lost_claims<'a>(
    caches: &Caches,
    request: &HostRequest,
    recorded: impl Iterator<Item = &'a HostClaim>,
) -> Vec<String> {
    let claims = caches.claims();
    recorded.filter(|claim| claims.is_lost(request, &claim.host)).map(|claim| claim.host.clone()).collect()
}

/// The hosts of the youngest environments, which do not fit into the HTTPRoute.
fn without_room(caches: &Caches, gateway: &ApiGateway) -> Vec<String> {
    if !gateway.spec.exposure().by_route() {
        return Vec::new();
    }
    let environments = caches.environments.of(&ObjectKey::of(gateway));
    let mut hosts: Vec<_> = environments
        .iter()
        .filter(|(_, environment)| environment.metadata.deletion_timestamp.is_none())
        .filter_map(|(name, environment)| {
            let created = environment.metadata.creation_timestamp.as_ref().map(|at| at.0);
            Some((created, name, environment.spec.host.as_ref()?))
        })
        .collect();
    hosts.sort();
    let room = MOST_HOSTNAMES - usize::from(gateway.spec.host().is_some());
    hosts.into_iter().skip(room).map(|(_, _, host)| host.clone()).collect()
}

/// Whether an environment's host fits into none of the gateway's routes.
fn has_no_room(gateway: &ApiGateway, environment: &Environment, without_room: &[String]) -> bool {
    gateway.spec.exposure() == Exposure::HTTPRoute
        && environment.spec.host.as_ref().is_some_and(|host| without_room.contains(host))
}

fn is_active(environment: &Environment) -> bool {
    environment.status.as_ref().is_some_and(|status| status.state == EnvironmentState::Active)
}

/// The environments that are not terminating, with their facts.
fn facts_of_environments(
    caches: &Caches,
    gateway: &ApiGateway,
    environments: Vec<(String, Arc<Environment>)>,
    without_room: &[String],
) -> Vec<EnvironmentOf> {
    let routed = caches.routed_by(&ObjectKey::of(gateway));
    environments
        .into_iter()
        .filter(|(_, environment)| environment.metadata.deletion_timestamp.is_none())
        .map(|(name, environment)| {
            let request = caches.host_request_of_environment(&environment, &routed);
            let facts = EnvironmentFacts {
                name,
                active: is_active(&environment),
                claimed: request.is_recorded(),
                refused: caches.host_verdict(&request) != HostVerdict::Free
                    || has_no_room(gateway, &environment, without_room),
            };
            (environment, facts)
        })
        .collect()
}

/// The gateway of an environment. A terminating one counts as gone.
pub fn gateway_of(caches: &Caches, environment: &Environment) -> Option<ApiGateway> {
    let gateway = caches.gateway(&environment.gateway_key())?;
    (!gateway.is_being_deleted()).then_some(gateway)
}

/// The facts about an environment of `gateway`.
pub fn environment_context(
    caches: &Caches,
    environment: &Environment,
    gateway: Option<ApiGateway>,
) -> EnvironmentContext {
    let key = environment.gateway_key();
    let unreadable = caches.cannot_read_gateway(&key);
    let routed = routed(caches, &key, environment, gateway.as_ref());
    let exposed = gateway.as_ref().is_none_or(|gateway| gateway.spec.exposure() != Exposure::None);
    let no_room = gateway.as_ref().and_then(|gateway| {
        let host = environment.spec.host.clone()?;
        has_no_room(gateway, environment, &without_room(caches, gateway))
            .then_some(HostVerdict::NoRoom { host, limit: MOST_HOSTNAMES })
    });
    let facts = gateway
        .map(|gateway| GatewayFacts { place: Place::of_gateway(&gateway), suspended: gateway.spec.is_left_alone() })
        .or_else(|| unreadable.then_some(GatewayFacts { place: None, suspended: true }));
    let request = caches.host_request_of_environment(environment, &caches.routed_by(&key));
    let counts = caches.environments.counts(environment);
    let lost = lost_claims(caches, &request, environment.status.iter().flat_map(|status| &status.hosts));
    let host = match caches.host_verdict(&request) {
        HostVerdict::Free => no_room.unwrap_or(HostVerdict::Free),
        refused => refused,
    };
    EnvironmentContext { gateway: facts, counts, host, lost: !lost.is_empty(), routed, exposed }
}

/// Whether a gateway routes the host of an environment.
fn routed(caches: &Caches, key: &ObjectKey, environment: &Environment, gateway: Option<&ApiGateway>) -> Routed {
    let Some(host) = &environment.spec.host else { return Routed::Yes };
    let Some(gateway) = gateway else { return Routed::No };
    let ingress = caches.ingresses.child_of(key).and_then(|seen| seen.object().ok());
    let is_ours = |meta: &ObjectMeta| children::owner_of(meta, gateway) == Owner::Ours;
    if ingress.is_some_and(|ingress| is_ours(&ingress.metadata) && children::routes(&ingress, host)) {
        return Routed::Yes;
    }
    let Some(seen) = caches.http_routes.child_of(key) else { return Routed::No };
    let names = |route: &HttpRoute| is_ours(&route.metadata) && children::hostnames(route).any(|other| other == host);
    match seen.object() {
        Ok(found) if names(&found) => {
            match (children::accepted_by_all(&seen.parents), children::served_by_all(&seen.parents)) {
                (true, _) => Routed::Yes,
                (false, true) => Routed::AsBefore,
                (false, false) => Routed::NotYet,
            }
        }
        _ => Routed::No,
    }
}
