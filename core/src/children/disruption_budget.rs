//! Renders the PodDisruptionBudget: a drain evicts one pod of several at a time.
//!
//! **Architecture invariant:** this module does not read the stored PodDisruptionBudget. The same gateway
//! renders the same PodDisruptionBudget.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{label_selector, metadata};
use crate::api::ApiGateway;

/// Whether a gateway gets a PodDisruptionBudget.
pub fn wants_disruption_budget(gateway: &ApiGateway) -> bool {
    super::taken_up::replicas(gateway).is_some_and(|replicas| replicas > 1)
}

pub(super) fn render(gateway: &ApiGateway) -> Option<PodDisruptionBudget> {
    wants_disruption_budget(gateway).then(|| PodDisruptionBudget {
        metadata: metadata(gateway),
        spec: Some(PodDisruptionBudgetSpec {
            selector: Some(label_selector(gateway)),
            max_unavailable: Some(IntOrString::Int(1)),
            // Otherwise the pods of a gateway that never becomes ready would block the drain of a node for
            // ever.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    })
}
