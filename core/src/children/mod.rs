//! The children of a gateway: rendering, ownership, comparison and merging.
//!
//! **Architecture invariant:** this module is pure and imports only `api`. The same gateway renders the same
//! children, and the output changes only together with [`RENDERER`]; otherwise an upgrade of the operator would
//! roll every pod of the fleet.

mod compare;
mod defaults;
mod deployment;
mod disruption_budget;
mod expansion;
mod form;
mod http_route;
mod ingress;
mod inherited;
mod invalid_field;
mod managers;
mod merge;
mod ownership;
mod paths;
mod quantity;
mod service;
pub mod taken_up;

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use kube::Resource;
use sha2::{Digest, Sha256};

use crate::api::{ApiGateway, ApiGatewaySpec, DesiredState, ParentRef, Phase};
pub use compare::{difference, must_be_made_anew};
pub use deployment::CONTAINER;
pub use disruption_budget::wants_disruption_budget;
pub use form::{Form, drift, form_hash, put_where_nothing_was, with_nothing_filled_in};
pub use http_route::{
    GATEWAY_API, HttpRoute, MOST_HOSTNAMES, Parent, RouteStatus, Verdict, accepted_by_all, concerns_routes, hostnames,
    keep_hostnames, parent_refs, parents, served_by_all, wants_http_route,
};
pub use ingress::{MOST_HOSTS, keep_routes, routed_hosts, routes, wants_ingress};
pub use inherited::{
    INHERITED_ANNOTATIONS, INHERITED_LABELS, Inheritance, Inherited, KeyPattern, notice_what_is_not_inherited_any_more,
};
pub use invalid_field::{InvalidField, invalid_field};
pub use managers::last_manager;
pub use merge::merge;
pub use ownership::{Owner, is_gateway, is_marked, owner_of};
pub use paths::OWNERS;
pub use quantity::{more, rounded};

/// The version of the renderer. It increases with every change of the output. Pods of another renderer are left
/// alone, so that an upgrade of the operator does not roll them.
pub const RENDERER: &str = "2";

/// Label of every child: the uid of its gateway.
pub const UID_LABEL: &str = "phasegate.dev/gateway-uid";
/// Label of every child and pod: the name of the gateway.
pub const NAME_LABEL: &str = "phasegate.dev/gateway";
/// Label of everything that phasegate creates.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "phasegate");
/// Annotation of a child: the [`RENDERER`] that wrote it.
pub const RENDERER_ANNOTATION: &str = "phasegate.dev/renderer";
/// Annotation of a Deployment: the hash of the spec and restarts that its pods were rendered from.
pub const INPUTS_ANNOTATION: &str = "phasegate.dev/inputs";
/// Annotation of a Deployment: the startup probe's threshold and the hash of the rest of the template. It shows
/// whether only the deadline changed.
pub const STARTUP_ANNOTATION: &str = "phasegate.dev/startup";
/// Annotation of a child: the hash of its desired state at the last write. It reveals a field that was dropped,
/// which a comparison of values cannot.
pub const DESIRED_ANNOTATION: &str = "phasegate.dev/desired";

/// Annotation of a Deployment whose replica count follows the spec. The last release did not set it; the count
/// of its Deployments may belong to an autoscaler.
pub const COUNT_ANNOTATION: &str = "phasegate.dev/replicas";
/// The API server's default of a spec without a count.
const DEFAULT_COUNT: i32 = 1;

/// The children of one gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct Children {
    /// Runs the pods.
    pub deployment: Deployment,
    /// Gives the pods an address in the cluster.
    pub service: Service,
    /// Routes the gateway's hosts, if it has any.
    pub ingress: Option<Ingress>,
    /// Routes the gateway's hosts through the Gateway API, if the spec asks for it.
    pub http_route: Option<HttpRoute>,
    /// Keeps pods during voluntary disruptions, if there are several.
    pub disruption_budget: Option<PodDisruptionBudget>,
}

/// Inputs of rendering besides the gateway itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RenderContext {
    /// The start deadline.
    pub start_deadline: Duration,
    /// The hosts of the allowed environments, sorted.
    pub environment_hosts: Vec<String>,
    /// The hosts among them that do not fit into the HTTPRoute.
    pub without_room: Vec<String>,
    /// The parents of HTTPRoutes whose gateway names none.
    pub default_parent_refs: Vec<ParentRef>,
    /// Annotations for every Ingress, from the operator's flags.
    pub ingress_annotations: BTreeMap<String, String>,
    /// What the children inherit from the gateway's metadata.
    pub inherited: Inherited,
}

impl RenderContext {
    /// The hosts of a gateway's HTTPRoute.
    pub fn route_hosts<'a>(&'a self, gateway: &'a ApiGateway) -> impl Iterator<Item = &'a String> {
        let of_environments = self.environment_hosts.iter().filter(|host| !self.without_room.contains(host));
        gateway.spec.host().into_iter().chain(of_environments).take(MOST_HOSTNAMES)
    }
}

/// Renders the children, given the Deployment and the Ingress that were `found`.
pub fn desired(
    gateway: &ApiGateway,
    context: &RenderContext,
    found: (Option<&Deployment>, Option<&Ingress>),
) -> Children {
    let (deployment, ingress) = found;
    let mut children = render(&taken_up::gateway(gateway, ingress), context);
    if let Some(found) = deployment {
        keep_count_of_last_release(&mut children.deployment, found);
        keep_pods(gateway, &mut children.deployment, found);
    }
    children
}

/// Renders the children of a gateway that has none.
pub fn render(gateway: &ApiGateway, context: &RenderContext) -> Children {
    let mut deployment = deployment::render(gateway, context.start_deadline);
    inherited::add_to_pods(&mut deployment, &context.inherited);
    deployment::note_startup(&mut deployment, context.start_deadline);
    Children {
        deployment: finished(deployment, context),
        service: finished(service::render(gateway), context),
        ingress: ingress::render(gateway, context).map(|ingress| finished(ingress, context)),
        http_route: http_route::render(gateway, context).map(|route| finished(route, context)),
        disruption_budget: disruption_budget::render(gateway).map(|budget| finished(budget, context)),
    }
}

/// Keeps the pods as they are if only the renderer, a CRD default or the operator's default deadline changed:
/// none of these may roll the fleet. Nor does a new deadline alone roll a gateway that serves.
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
    // If nothing else changes, the desired hash is that of the stored object. If something does, such as the
    // replicas, another form was accepted.
    let kept = annotation(found, DESIRED_ANNOTATION).or(stamp).unwrap_or_else(|| hash(desired));
    let mut as_written = desired.clone();
    as_written.metadata.annotations.get_or_insert_default().insert(DESIRED_ANNOTATION.to_owned(), kept);
    let json = |object: &Deployment| serde_json::to_value(object).unwrap_or_default();
    let changed = difference(&json(&as_written), &json(found)).is_some();
    *desired = if changed { stamped(desired.clone()) } else { as_written };
}

/// A default in the CRD is no request. A Deployment of the last release keeps its count, and whoever scales it
/// continues to, until the spec has a count of its own. A Deployment that is recreated gets the count of the
/// spec.
fn keep_count_of_last_release(desired: &mut Deployment, found: &Deployment) {
    let annotated =
        |object: &Deployment| object.metadata.annotations.iter().flatten().any(|(key, _)| key == COUNT_ANNOTATION);
    let count = |object: &Deployment| object.spec.as_ref().and_then(|spec| spec.replicas);
    let asked = count(desired);
    let has_its_own = asked != Some(DEFAULT_COUNT) && asked != count(found);
    // A Deployment without our annotations is not one that the operator rendered.
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

/// Adds the inherited metadata, then the hash of the desired state.
fn finished<K: Resource + serde::Serialize>(mut object: K, context: &RenderContext) -> K {
    inherited::add(object.meta_mut(), &context.inherited);
    stamped(object)
}

/// Adds the hash of the desired state as an annotation, which tells this desired state from earlier ones.
fn stamped<K: Resource + serde::Serialize>(mut object: K) -> K {
    object.meta_mut().annotations.get_or_insert_default().remove(DESIRED_ANNOTATION);
    let hex = hash(&object);
    object.meta_mut().annotations.get_or_insert_default().insert(DESIRED_ANNOTATION.to_owned(), hex);
    object
}

/// Whether the last write of an object had this desired state.
pub fn is_written_as<K: Resource>(found: &K, desired: &K) -> bool {
    let stamp = |object: &K| object.meta().annotations.as_ref()?.get(DESIRED_ANNOTATION).cloned();
    stamp(found) == stamp(desired)
}

/// The first 16 hexadecimal digits of the SHA-256 of an object's JSON.
pub fn hash(object: &impl serde::Serialize) -> String {
    // Data that was read as JSON can be written as JSON.
    let json = serde_json::to_vec(object).unwrap_or_default();
    Sha256::digest(&json).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// The hash of the fields whose change is a new request: all except `state` (a request of its own), `suspend`
/// and `replicas`.
pub fn spec_hash(spec: &ApiGatewaySpec) -> String {
    hash(&ApiGatewaySpec { state: DesiredState::Running, suspend: false, replicas: None, ..spec.clone() })
}

/// The common metadata of all children.
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

/// The labels of the pods. They omit the gateway's uid, so that a gateway can adopt the children of an earlier
/// one without rolling pods.
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

/// The labels that select a gateway's pods. They are constant for a name, since a selector is immutable.
fn selected(gateway: &ApiGateway) -> BTreeMap<String, String> {
    BTreeMap::from([(NAME_LABEL.to_owned(), gateway.name_or_empty().to_owned())])
}

fn label_selector(gateway: &ApiGateway) -> LabelSelector {
    LabelSelector { match_labels: Some(selected(gateway)), ..LabelSelector::default() }
}

/// The label selector of a gateway's pods, as text.
pub fn selector(gateway: &ApiGateway) -> String {
    selected(gateway).into_iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// The URL of a gateway with a host.
pub fn url(gateway: &ApiGateway) -> Option<String> {
    let host = gateway.spec.host()?;
    let scheme = if gateway.spec.tls.is_some() { "https" } else { "http" };
    Some(format!("{scheme}://{host}{}", gateway.spec.path.as_deref().unwrap_or("/")))
}

#[cfg(test)]
mod tests;
