//! Every way in which a pass over a gateway can end.

mod claims;
mod failures;
mod refusals;
mod steps;
mod surprises;
mod webhooks;

use serde_json::Value;

use super::objects::{children_of, edited, starting};
use super::world::World;
use crate::decide::observed::Child;

/// A gateway is starting, and nothing of it is there.
fn nothing_is_there(w: &mut World) {
    w.has(starting(), []);
}

/// A gateway is starting, its Deployment was created a moment ago, and the rest is missing.
fn half_way(w: &mut World) {
    nothing_is_there(w);
    w.created(&[Child::Deployment]);
}

/// A gateway is starting, and somebody edited its Deployment.
fn deployment_is_edited(w: &mut World) {
    let children = children_of(&starting());
    w.has(starting(), [edited(children.deployment), children.service, children.ingress]);
}

/// The Deployment that is desired of it.
fn deployment() -> Value {
    children_of(&starting()).deployment
}
