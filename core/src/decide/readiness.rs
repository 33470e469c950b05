//! Readiness: when a gateway's workload is ready, and when it serves.
//!
//! **Architecture invariant:** this module reads the facts only. Neither a deadline nor a time changes an
//! answer.

use super::observed::{Child, EnvironmentFacts, HostVerdict, Observed, Presence};

/// Whether the Deployment is as desired and complete, and Service, Ingress and HTTPRoute are as desired, the
/// latter accepted by its parents. A contested child counts as it is stored.
pub fn workload_ready(observed: &Observed) -> bool {
    is_ready_if(observed, |presence| *presence == Presence::Equal)
}

/// Whether only the content of children keeps the workload from being ready.
pub fn differs_only(observed: &Observed) -> bool {
    let is_there = |presence: &Presence| matches!(presence, Presence::Equal | Presence::Different(_));
    !workload_ready(observed) && is_ready_if(observed, is_there)
}

fn is_ready_if(observed: &Observed, counts: impl Fn(&Presence) -> bool) -> bool {
    let is_there = |child| counts(observed.child(child)) || observed.is_left_as_it_is(child);
    observed.host == HostVerdict::Free
        && observed.routing.unsupported.is_none()
        && is_there(Child::Deployment)
        && observed.rollout.complete
        && is_there(Child::Service)
        && (is_there(Child::Ingress) || observed.ingress == Presence::NotWanted)
        && (is_there(Child::HttpRoute) && observed.routing.is_accepted() || observed.http_route == Presence::NotWanted)
}

/// Whether every environment that may be Active is.
pub fn environments_active(observed: &Observed) -> bool {
    !observed.environments.iter().any(EnvironmentFacts::is_awaited)
}

/// Whether a pod is available and traffic reaches it.
pub fn serves(observed: &Observed) -> bool {
    observed.deployment.is_ours()
        && observed.rollout.available >= 1
        && observed.service.is_ours()
        && is_reached(observed)
}

/// Whether traffic arrives through an Ingress or an accepted HTTPRoute, or none is expected from outside.
fn is_reached(observed: &Observed) -> bool {
    let not_wanted = |presence: &Presence| *presence == Presence::NotWanted;
    observed.ingress.is_ours()
        || (observed.http_route.is_ours() && observed.routing.serves())
        || (not_wanted(&observed.ingress) && not_wanted(&observed.http_route))
}

/// Whether a child or an environment activation that a start needs is missing.
pub fn something_missing(observed: &Observed) -> bool {
    let missing = |presence: &Presence| *presence == Presence::Missing;
    missing(&observed.deployment)
        || missing(&observed.service)
        || missing(&observed.ingress)
        || missing(&observed.http_route)
        || (workload_ready(observed) && !environments_active(observed))
}
