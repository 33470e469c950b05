//! When a gateway's workload is ready, and when it serves.

use super::observed::{HostVerdict, Observed, Presence};

/// The Deployment equals what is desired and is complete; Service and Ingress exist as desired.
pub fn workload_ready(observed: &Observed) -> bool {
    observed.host == HostVerdict::Free
        && observed.deployment == Presence::Equal
        && observed.rollout.complete
        && observed.service == Presence::Equal
        && observed.ingress.is_settled()
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
