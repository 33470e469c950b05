//! The children that a gateway is to have, rendered from it; whose an object is; and how what is desired is compared
//! with what is there and merged into it.
//!
//! May import `api`. Invariants: pure, the same gateway renders the same children; and what is rendered changes only
//! with [`RENDERER`], or an upgrade of the operator would roll every pod.

mod compare;
mod defaults;
mod deployment;
mod disruption_budget;
mod expansion;
mod form;
mod ingress;
mod inherited;
mod managers;
mod merge;
mod ownership;
mod places;
mod quantity;
mod service;
pub mod taken_up;
mod unfit;

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use kube::Resource;
use sha2::{Digest, Sha256};

use crate::api::{ApiGateway, ApiGatewaySpec, DesiredState, Phase};
pub use compare::{difference, must_be_made_anew};
pub use deployment::CONTAINER;
pub use disruption_budget::wants_disruption_budget;
pub use form::{Form, drift, form_hash, put_where_nothing_was, with_nothing_filled_in};
pub use ingress::{MOST_HOSTS, keep_routes, routed_hosts, routes, wants_ingress};
pub use inherited::{
    INHERITED_ANNOTATIONS, INHERITED_LABELS, Inheritance, Inherited, KeyPattern, notice_what_is_not_inherited_any_more,
};
pub use managers::last_manager;
pub use merge::merge;
pub use ownership::{Owner, is_gateway, is_marked, owner_of};
pub use quantity::{more, rounded};
pub use unfit::{Unfit, unfit};

/// The version of the rendering. It grows with every change of what is rendered, so that an
/// upgrade of the operator does not roll the fleet's pods.
pub const RENDERER: &str = "2";

/// Label that carries the gateway's uid, on every child.
pub const UID_LABEL: &str = "phasegate.dev/gateway-uid";
/// Label that carries the gateway's name, on every child and pod.
pub const NAME_LABEL: &str = "phasegate.dev/gateway";
/// Label by which everything that phasegate made is found.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "phasegate");
/// Annotation with the version of the rendering that wrote the child.
pub const RENDERER_ANNOTATION: &str = "phasegate.dev/renderer";
/// Annotation with the hash of what the pods were rendered from: the spec and its restarts.
pub const INPUTS_ANNOTATION: &str = "phasegate.dev/inputs";
/// Annotation with the threshold of the startup probe that the pods were rendered with, and the hash of everything else that
/// they were: so it is known whether a deadline alone is another one.
pub const STARTUP_ANNOTATION: &str = "phasegate.dev/startup";
/// Annotation with the hash of what was desired when the child was written: it shows that
/// something was dropped, which a comparison of values cannot.
pub const DESIRED_ANNOTATION: &str = "phasegate.dev/desired";

/// Annotation of a Deployment whose count is the spec's. One that the last release made has none: its count may be an
/// autoscaler's, since the spec could leave it out.
pub const COUNT_ANNOTATION: &str = "phasegate.dev/replicas";
/// What the API server fills in where the spec leaves the count out.
const DEFAULT_COUNT: i32 = 1;

/// The children of one gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct Children {
    /// Runs the pods.
    pub deployment: Deployment,
    /// Gives them an address in the cluster.
    pub service: Service,
    /// Gives them a host name, where the spec has one.
    pub ingress: Option<Ingress>,
    /// Keeps a pod during voluntary disruptions, where there are several.
    pub disruption_budget: Option<PodDisruptionBudget>,
}

/// What children are rendered from beside the gateway itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// How long a start may take.
    pub start_deadline: Duration,
    /// The hosts of the environments that are allowed, in order.
    pub environment_hosts: Vec<String>,
    /// Annotations that whoever runs the operator wants on every Ingress.
    pub ingress_annotations: BTreeMap<String, String>,
    /// What they have from the gateway's own metadata.
    pub inherited: Inherited,
}

/// Renders the children of a gateway whose Deployment and Ingress are as they were `found`.
pub fn desired(
    gateway: &ApiGateway,
    around: &Surroundings,
    found: (Option<&Deployment>, Option<&Ingress>),
) -> Children {
    let (deployment, ingress) = found;
    let mut children = render(&taken_up::gateway(gateway, ingress), around);
    if let Some(found) = deployment {
        keep_count_of_last_release(&mut children.deployment, found);
        keep_pods(gateway, &mut children.deployment, found);
    }
    children
}

/// Renders the children of a gateway.
pub fn render(gateway: &ApiGateway, around: &Surroundings) -> Children {
    let mut deployment = deployment::render(gateway, around.start_deadline);
    inherited::add_to_pods(&mut deployment, &around.inherited);
    deployment::note_startup(&mut deployment, around.start_deadline);
    Children {
        deployment: finished(deployment, around),
        service: finished(service::render(gateway), around),
        ingress: ingress::render(gateway, around).map(|ingress| finished(ingress, around)),
        disruption_budget: disruption_budget::render(gateway).map(|budget| finished(budget, around)),
    }
}

/// Neither an upgrade of the operator, nor newer definitions, nor another default of its deadline may roll the fleet: pods
/// that were rendered from what was taken up are what is desired, whatever would be rendered now. Nor does a deadline roll
/// alone what serves.
fn keep_pods(gateway: &ApiGateway, desired: &mut Deployment, found: &Deployment) {
    let annotation = |object: &Deployment, name: &str| object.metadata.annotations.as_ref()?.get(name).cloned();
    let version = |object: &Deployment| annotation(object, RENDERER_ANNOTATION)?.parse::<u32>().ok();
    let inputs = annotation(found, INPUTS_ANNOTATION);
    let is_taken_up = inputs.as_ref() == Some(&taken_up::inputs(gateway));
    if is_taken_up || gateway.status.as_ref().is_some_and(|status| status.phase == Some(Phase::Started)) {
        deployment::keep_startup(desired, found);
    }
    // A downgrade is another renderer, too.
    let other_renderer = version(found).is_some() && version(found) != version(desired);
    let reads_differently = inputs != annotation(desired, INPUTS_ANNOTATION);
    if !is_taken_up || !(other_renderer || reads_differently) {
        return;
    }
    let (Some(spec), Some(running)) = (&mut desired.spec, &found.spec) else { return };
    spec.template = running.template.clone();
    let annotations = desired.metadata.annotations.get_or_insert_default();
    let stamp = annotations.remove(DESIRED_ANNOTATION);
    for name in [RENDERER_ANNOTATION, INPUTS_ANNOTATION, STARTUP_ANNOTATION] {
        match annotation(found, name) {
            Some(value) => annotations.insert(name.to_owned(), value),
            None => annotations.remove(name),
        };
    }
    // Where nothing else is to change either, it is the object that was written. Of another, by its replicas say, another
    // form was accepted.
    let kept = annotation(found, DESIRED_ANNOTATION).or(stamp).unwrap_or_else(|| hash(desired));
    let mut as_written = desired.clone();
    as_written.metadata.annotations.get_or_insert_default().insert(DESIRED_ANNOTATION.to_owned(), kept);
    let json = |object: &Deployment| serde_json::to_value(object).unwrap_or_default();
    let changed = difference(&json(&as_written), &json(found)).is_some();
    *desired = if changed { stamped(desired.clone()) } else { as_written };
}

/// A default in the definition asks for nothing. A Deployment of the last release keeps its count, and whoever scales it
/// goes on doing so, until the gateway's spec has a count of its own; one that is created anew has the spec's.
fn keep_count_of_last_release(desired: &mut Deployment, found: &Deployment) {
    let annotated =
        |object: &Deployment| object.metadata.annotations.iter().flatten().any(|(key, _)| key == COUNT_ANNOTATION);
    let count = |object: &Deployment| object.spec.as_ref().and_then(|spec| spec.replicas);
    let asked = count(desired);
    let has_its_own = asked != Some(DEFAULT_COUNT) && asked != count(found);
    // One whose annotations somebody took away is nobody's.
    let is_rendered = found.metadata.annotations.iter().flatten().any(|(key, _)| key == RENDERER_ANNOTATION);
    if annotated(found) || has_its_own || !is_rendered {
        return;
    }
    if let (Some(DEFAULT_COUNT), Some(spec)) = (asked, &mut desired.spec) {
        spec.replicas = None;
    }
    if let Some(annotations) = &mut desired.metadata.annotations {
        annotations.remove(COUNT_ANNOTATION);
    }
}

/// Adds what an object has from the gateway's metadata, and writes the hash of all of it into its annotation.
fn finished<K: Resource + serde::Serialize>(mut object: K, around: &Surroundings) -> K {
    inherited::add(object.meta_mut(), &around.inherited);
    stamped(object)
}

/// Writes the hash of an object into its annotation. By it what is desired is told from what was written, and accepted,
/// before.
fn stamped<K: Resource + serde::Serialize>(mut object: K) -> K {
    object.meta_mut().annotations.get_or_insert_default().remove(DESIRED_ANNOTATION);
    let hex = hash(&object);
    object.meta_mut().annotations.get_or_insert_default().insert(DESIRED_ANNOTATION.to_owned(), hex);
    object
}

/// The first 16 hexadecimal digits of the SHA-256 of an object's JSON.
pub fn hash(object: &impl serde::Serialize) -> String {
    // What was read from JSON can always be written as JSON.
    let json = serde_json::to_vec(object).unwrap_or_default();
    Sha256::digest(&json).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Hash of the part of a spec whose change is a new request: all of it but `state` (which is
/// a request of its own), `suspend` and `replicas`.
pub fn spec_hash(spec: &ApiGatewaySpec) -> String {
    hash(&ApiGatewaySpec { state: DesiredState::Running, suspend: false, replicas: None, ..spec.clone() })
}

/// The metadata that every child shares.
fn metadata(gateway: &ApiGateway) -> ObjectMeta {
    ObjectMeta {
        name: gateway.metadata.name.clone(),
        namespace: gateway.metadata.namespace.clone(),
        labels: Some(labels(gateway)),
        annotations: Some(BTreeMap::from([(RENDERER_ANNOTATION.to_owned(), RENDERER.to_owned())])),
        owner_references: Some(vec![owner_reference(gateway)]),
        ..ObjectMeta::default()
    }
}

fn owner_reference(gateway: &ApiGateway) -> OwnerReference {
    OwnerReference {
        api_version: ApiGateway::api_version(&()).into_owned(),
        kind: ApiGateway::kind(&()).into_owned(),
        name: gateway.name_or_empty().to_owned(),
        uid: gateway.uid().to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

fn labels(gateway: &ApiGateway) -> BTreeMap<String, String> {
    let mut labels = pod_labels(gateway);
    labels.insert("app.kubernetes.io/component".to_owned(), "api-gateway".to_owned());
    labels.insert(UID_LABEL.to_owned(), gateway.uid().to_owned());
    labels
}

/// The pods' labels. They say nothing of the gateway's uid: a gateway that adopts the children
/// of an earlier one of its name does not roll its pods.
fn pod_labels(gateway: &ApiGateway) -> BTreeMap<String, String> {
    [
        ("app.kubernetes.io/name", "api-gateway"),
        ("app.kubernetes.io/instance", gateway.name_or_empty()),
        MANAGED_BY,
        (NAME_LABEL, gateway.name_or_empty()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect()
}

/// What selects a gateway's pods. It never changes for a name: a selector cannot be edited.
fn selected(gateway: &ApiGateway) -> BTreeMap<String, String> {
    BTreeMap::from([(NAME_LABEL.to_owned(), gateway.name_or_empty().to_owned())])
}

fn label_selector(gateway: &ApiGateway) -> LabelSelector {
    LabelSelector { match_labels: Some(selected(gateway)), ..LabelSelector::default() }
}

/// The selector of a gateway's pods, as text.
pub fn selector(gateway: &ApiGateway) -> String {
    selected(gateway).into_iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// Where a gateway with a host answers.
pub fn url(gateway: &ApiGateway) -> Option<String> {
    let host = gateway.spec.host.as_ref()?;
    let scheme = if gateway.spec.tls.is_some() { "https" } else { "http" };
    Some(format!("{scheme}://{host}{}", gateway.spec.path.as_deref().unwrap_or("/")))
}

#[cfg(test)]
mod tests;
