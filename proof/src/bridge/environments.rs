//! The decision about an environment, as the production code makes it.

use std::collections::HashMap;

use phasegate_core::api::{Environment, EnvironmentState};
use phasegate_core::decide::Place;
use phasegate_core::decide::environment::{EnvironmentContext, GatewayFacts, Routed, decide};
use phasegate_core::decide::observed::HostVerdict;
use serde_json::json;

use super::statuses::NOW;

/// The gateway of an environment: its node, and whether it is suspended.
pub type GatewayOf = Option<(Option<Place>, bool)>;

#[derive(Default)]
pub(super) struct Environments(HashMap<(bool, GatewayOf), bool>);

impl Environments {
    /// Whether an environment becomes, or stays, Active.
    pub(super) fn decide(&mut self, active: bool, gateway: GatewayOf) -> bool {
        *self.0.entry((active, gateway)).or_insert_with(|| decided(active, gateway))
    }
}

fn decided(active: bool, gateway: GatewayOf) -> bool {
    let state = if active { "Active" } else { "Inactive" };
    let object = json!({
        "apiVersion": "phasegate.dev/v1alpha1",
        "kind": "Environment",
        "metadata": { "name": "env", "namespace": "tenants", "uid": "uid", "generation": 1 },
        "spec": { "gatewayRef": { "name": "shop" } },
        "status": { "state": state },
    });
    // The model renders valid objects only.
    let environment: Environment = serde_json::from_value(object).unwrap_or_else(|error| unreachable!("{error}"));
    let context = EnvironmentContext {
        gateway: gateway.map(|(place, suspended)| GatewayFacts { place, suspended }),
        counts: true,
        host: HostVerdict::Free,
        lost: false,
        routed: Routed::Yes,
        exposed: true,
    };
    let after = decide(&environment, &context, NOW).or(environment.status);
    after.is_some_and(|status| status.state == EnvironmentState::Active)
}
