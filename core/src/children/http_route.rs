//! Renders the HTTPRoute of the Gateway API: the hosts of the gateway and of its environments, attached to the
//! Gateways that the spec names. A gateway without hosts gets none, since a route without hostnames matches all
//! traffic.
//!
//! The spec is kept as raw JSON, so that a comparison sees every value that others put there, whatever version
//! of the Gateway API named it.
//!
//! **Architecture invariant:** `render` does not read the stored HTTPRoute. The same gateway and context render
//! the same HTTPRoute.

use std::borrow::Cow;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};

use super::service::SERVICE_PORT;
use super::{RenderContext, metadata, stamped};
use crate::api::{ApiGateway, ParentRef};

/// The API group of Gateways and their routes.
pub const GATEWAY_API: &str = "gateway.networking.k8s.io";

/// The most hostnames of an HTTPRoute, as its CRD limits them.
pub const MOST_HOSTNAMES: usize = 16;

/// An HTTPRoute.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
pub struct HttpRoute {
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// Its specification.
    pub spec: Option<Value>,
    /// What controllers report. Read, never written.
    pub status: Option<RouteStatus>,
}

impl Serialize for HttpRoute {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("HTTPRoute", 3 + usize::from(self.spec.is_some()))?;
        object.serialize_field("apiVersion", &Self::api_version(&()))?;
        object.serialize_field("kind", &Self::kind(&()))?;
        object.serialize_field("metadata", &self.metadata)?;
        if let Some(spec) = &self.spec {
            object.serialize_field("spec", spec)?;
        }
        object.end()
    }
}

impl Resource for HttpRoute {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "HTTPRoute".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        GATEWAY_API.into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "httproutes".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// The parents of a gateway's HTTPRoute: those in the spec, or the operator's default.
pub fn parent_refs<'a>(gateway: &'a ApiGateway, default: &'a [ParentRef]) -> &'a [ParentRef] {
    if gateway.spec.parent_refs.is_empty() { default } else { &gateway.spec.parent_refs }
}

/// Whether a gateway asks for an HTTPRoute, or has one.
pub fn concerns_routes(gateway: &ApiGateway) -> bool {
    let accepted = gateway.status.as_ref().and_then(|status| status.accepted.as_ref());
    gateway.spec.exposure().by_route() || accepted.is_some_and(|accepted| accepted.http_route.is_some())
}

/// Whether a gateway gets an HTTPRoute.
pub fn wants_http_route(gateway: &ApiGateway, context: &RenderContext) -> bool {
    gateway.spec.exposure().by_route()
        && !parent_refs(gateway, &context.default_parent_refs).is_empty()
        && context.route_hosts(gateway).next().is_some()
}

pub(super) fn render(gateway: &ApiGateway, context: &RenderContext) -> Option<HttpRoute> {
    if !wants_http_route(gateway, context) {
        return None;
    }
    let parents = parent_refs(gateway, &context.default_parent_refs);
    let path = gateway.spec.path.as_deref().unwrap_or("/");
    // All defaults of the CRD are spelled out, so that the API server fills in nothing.
    let backend =
        json!({ "group": "", "kind": "Service", "name": gateway.name_or_empty(), "port": SERVICE_PORT, "weight": 1 });
    Some(HttpRoute {
        metadata: metadata(gateway),
        spec: Some(json!({
            "parentRefs": parents.iter().map(|parent| attached(parent, gateway)).collect::<Vec<_>>(),
            "hostnames": context.route_hosts(gateway).collect::<Vec<_>>(),
            "rules": [{ "matches": [{ "path": { "type": "PathPrefix", "value": path } }], "backendRefs": [backend] }],
        })),
        status: None,
    })
}

fn attached(parent: &ParentRef, gateway: &ApiGateway) -> Value {
    let namespace = parent.namespace_or(gateway.namespace_or_empty());
    let mut attached = json!({ "group": GATEWAY_API, "kind": "Gateway", "namespace": namespace, "name": parent.name });
    if let Some(section) = &parent.section_name {
        attached["sectionName"] = json!(section);
    }
    attached
}

/// The found HTTPRoute, reduced to those `hosts` that it has or that are rendered. `None` if no host remains.
pub fn keep_hostnames(found: &HttpRoute, rendered: Option<&HttpRoute>, hosts: &[String]) -> Option<HttpRoute> {
    let has = |route: &HttpRoute, host: &str| hostnames(route).any(|other| other == host);
    let is_kept = |host: &&String| has(found, host) || rendered.is_some_and(|rendered| has(rendered, host));
    let kept: Vec<&String> = hosts.iter().filter(is_kept).take(MOST_HOSTNAMES).collect();
    if kept.is_empty() {
        return None;
    }
    let mut route = found.clone();
    route.metadata.resource_version = None;
    route.metadata.generation = None;
    route.status = None;
    if let Some(Value::Object(spec)) = &mut route.spec {
        spec.insert("hostnames".to_owned(), json!(kept));
    }
    Some(if route.spec == found.spec { route } else { stamped(route) })
}

/// The hostnames of an HTTPRoute.
pub fn hostnames(route: &HttpRoute) -> impl Iterator<Item = &str> {
    let hosts = route.spec.as_ref().and_then(|spec| spec.get("hostnames")?.as_array());
    hosts.into_iter().flatten().filter_map(Value::as_str)
}

/// The status of an HTTPRoute.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct RouteStatus {
    parents: Vec<OfParent>,
}

/// The report of one controller about one parent.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, rename_all = "camelCase")]
struct OfParent {
    parent_ref: Reference,
    conditions: Vec<RouteCondition>,
}

/// A parent reference in a route or its status.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, rename_all = "camelCase")]
struct Reference {
    group: Option<String>,
    kind: Option<String>,
    namespace: Option<String>,
    name: String,
    section_name: Option<String>,
    port: Option<i32>,
}

/// A condition; only the fields that are read.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, rename_all = "camelCase")]
struct RouteCondition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
    reason: String,
    message: String,
    observed_generation: i64,
}

/// A parent of an HTTPRoute, and what its controller reports about the route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// `namespace/name` of the Gateway, and its listener.
    pub name: String,
    /// The verdict on the current generation.
    pub verdict: Verdict,
    /// Whether the route was accepted by the latest report, on the current generation or an earlier one.
    pub serves: bool,
}

/// The verdict of a parent's controller on the current generation of an HTTPRoute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Accepted, with all references resolved.
    Accepted,
    /// Refused.
    Refused {
        /// The condition with the refusal, such as `Accepted`.
        condition: String,
        /// Its reason.
        reason: String,
        /// Its message.
        message: String,
    },
    /// No report yet.
    Silent,
}

impl HttpRoute {
    /// The parents of the route, and what is reported about each.
    pub fn parents(&self) -> Vec<Parent> {
        let namespace = self.metadata.namespace.as_deref().unwrap_or_default();
        let generation = self.metadata.generation.unwrap_or_default();
        let spec = self.spec.as_ref();
        spec.map_or_else(Vec::new, |spec| parents(spec, self.status.as_ref(), namespace, generation))
    }
}

/// The conditions that must be true; the last one only if a controller sets it.
const ACCEPTED: &str = "Accepted";
const RESOLVED: &str = "ResolvedRefs";
const PROGRAMMED: &str = "Programmed";

/// The parents of a route of this namespace and generation, in order, and what `status` reports about each.
pub fn parents(spec: &Value, status: Option<&RouteStatus>, namespace: &str, generation: i64) -> Vec<Parent> {
    let references = spec.get("parentRefs").cloned().unwrap_or_default();
    let references: Vec<Reference> = serde_json::from_value(references).unwrap_or_default();
    let parent = |reference: &Reference| {
        let asked = reference.in_full(namespace);
        let answers = status.into_iter().flat_map(|status| &status.parents);
        let answers: Vec<&OfParent> = answers.filter(|answer| answer.parent_ref.in_full(namespace) == asked).collect();
        let verdicts = answers.iter().map(|answer| answer.verdict(generation));
        Parent {
            name: asked.name(),
            // Several controllers may report about one parent. One that accepts the route serves it.
            verdict: verdicts.min_by_key(rank).unwrap_or(Verdict::Silent),
            serves: answers.iter().any(|answer| answer.serves()),
        }
    };
    references.iter().map(parent).collect()
}

/// Whether every parent accepts the current generation of the route.
pub fn accepted_by_all(parents: &[Parent]) -> bool {
    !parents.is_empty() && parents.iter().all(|parent| parent.verdict == Verdict::Accepted)
}

/// Whether every parent accepted the route in its latest report.
pub fn served_by_all(parents: &[Parent]) -> bool {
    !parents.is_empty() && parents.iter().all(|parent| parent.serves)
}

fn rank(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Accepted => 0,
        Verdict::Refused { .. } => 1,
        Verdict::Silent => 2,
    }
}

impl OfParent {
    fn said(&self, type_: &str) -> Option<&RouteCondition> {
        self.conditions.iter().find(|said| said.type_ == type_)
    }

    fn verdict(&self, generation: i64) -> Verdict {
        let now = |type_: &str| self.said(type_).filter(|said| said.observed_generation >= generation);
        let all = [ACCEPTED, RESOLVED, PROGRAMMED];
        if let Some(no) = all.into_iter().filter_map(now).find(|said| said.status == "False") {
            let RouteCondition { type_, reason, message, .. } = no.clone();
            return Verdict::Refused { condition: type_, reason, message };
        }
        let is_true = |type_: &str| now(type_).is_some_and(|said| said.status == "True");
        let is_programmed = self.said(PROGRAMMED).is_none() || is_true(PROGRAMMED);
        if is_true(ACCEPTED) && is_true(RESOLVED) && is_programmed { Verdict::Accepted } else { Verdict::Silent }
    }

    fn serves(&self) -> bool {
        let says = |type_: &str, is: &str| self.said(type_).is_some_and(|said| said.status == is);
        says(ACCEPTED, "True") && says(RESOLVED, "True") && !says(PROGRAMMED, "False")
    }
}

impl Reference {
    /// Fills in the CRD's defaults of a reference.
    fn in_full(&self, namespace: &str) -> Self {
        let or = |field: &Option<String>, default: &str| Some(field.clone().unwrap_or_else(|| default.to_owned()));
        Self {
            group: or(&self.group, GATEWAY_API),
            kind: or(&self.kind, "Gateway"),
            namespace: or(&self.namespace, namespace),
            ..self.clone()
        }
    }

    fn name(&self) -> String {
        let namespace = self.namespace.as_deref().unwrap_or_default();
        let section = self.section_name.as_ref().map_or_else(String::new, |section| format!("/{section}"));
        format!("{namespace}/{}{section}", self.name)
    }
}
