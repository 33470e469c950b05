//! When a gateway's workload is ready, and when it serves.

use super::observed::{Child, HostVerdict, Observed, Presence};

/// The Deployment is as desired and complete; Service and Ingress exist as desired. One that is contested counts as it is stored.
pub fn workload_ready(observed: &Observed) -> bool {
    let is_there = |child| *observed.child(child) == Presence::Equal || observed.is_left_as_it_is(child);
    observed.host == HostVerdict::Free
        && is_there(Child::Deployment)
        && observed.rollout.complete
        && is_there(Child::Service)
        && (is_there(Child::Ingress) || observed.ingress == Presence::NotWanted)
}

/// Every environment that may be active is.
pub fn environments_active(observed: &Observed) -> bool {
    observed.environments.iter().all(|environment| environment.active || environment.refused)
}

/// A pod is available, and traffic can reach it.
pub fn serves(observed: &Observed) -> bool {
    observed.deployment.is_ours()
        && observed.rollout.available >= 1
        && observed.service.is_ours()
        && (observed.ingress.is_ours() || observed.ingress == Presence::NotWanted)
}

/// An environment activation or a child that a start needs is not there.
pub fn something_missing(observed: &Observed) -> bool {
    let missing = |presence: &Presence| *presence == Presence::Missing;
    missing(&observed.deployment)
        || missing(&observed.service)
        || missing(&observed.ingress)
        || (workload_ready(observed) && !environments_active(observed))
}
