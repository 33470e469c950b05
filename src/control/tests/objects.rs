//! Gateways, environments and children from which the tables put their worlds together.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use std::any::Any;

use serde::Serialize;
use serde_json::{Value, json};

use crate::api::{
    ApiGateway, ApiGatewayStatus, Attempt, Environment, EnvironmentState, EnvironmentStatus, HostClaim, Phase,
    REGISTRY_FINALIZER, Reason, State, Transition,
};
use crate::children::{self, RenderContext};
use crate::decide::requests;

pub(crate) const HOST: &str = "shop.example.com";

pub(crate) const GATEWAY: &str = "/apis/phasegate.dev/v1alpha1/namespaces/tenants/apigateways/shop";
pub(crate) const STATUS: &str = "/apis/phasegate.dev/v1alpha1/namespaces/tenants/apigateways/shop/status";
pub(crate) const ENVIRONMENT: &str = "/apis/phasegate.dev/v1alpha1/namespaces/tenants/environments/shop-dev/status";
pub(crate) const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/tenants/deployments";
pub(crate) const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/tenants/deployments/shop";
pub(crate) const SERVICES: &str = "/api/v1/namespaces/tenants/services";
pub(crate) const SERVICE: &str = "/api/v1/namespaces/tenants/services/shop";
pub(crate) const INGRESSES: &str = "/apis/networking.k8s.io/v1/namespaces/tenants/ingresses";
pub(crate) const INGRESS: &str = "/apis/networking.k8s.io/v1/namespaces/tenants/ingresses/shop";
pub(crate) const BUDGET: &str = "/apis/policy/v1/namespaces/tenants/poddisruptionbudgets/shop";

/// The same thing, with one difference. Another spec of a gateway is another generation, as the API server has it.
pub(crate) fn but<T: Clone + 'static>(thing: T, edit: impl FnOnce(&mut T)) -> T {
    let mut edited = thing.clone();
    edit(&mut edited);
    if let (Some(before), Some(after)) =
        ((&thing as &dyn Any).downcast_ref::<ApiGateway>(), (&mut edited as &mut dyn Any).downcast_mut::<ApiGateway>())
        && before.spec != after.spec
    {
        after.metadata.generation = before.metadata.generation.map(|generation| generation + 1);
    }
    edited
}

/// The same object, with another value at a JSON pointer.
pub(crate) fn set(mut object: Value, pointer: &str, value: impl Into<Value>) -> Value {
    *object.pointer_mut(pointer).unwrap() = value.into();
    object
}

/// So many seconds ago.
pub(crate) fn ago(seconds: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_secs(seconds)
}

// Gateways.

/// A gateway that the operator has never seen.
pub(crate) fn fresh() -> ApiGateway {
    named("shop")
}

pub(crate) fn named(name: &str) -> ApiGateway {
    let spec = serde_json::from_value(json!({ "image": "ghcr.io/acme/gateway:1", "host": HOST })).unwrap();
    let mut gateway = ApiGateway::new(name, spec);
    gateway.metadata.namespace = Some("tenants".to_owned());
    gateway.metadata.uid = Some(format!("uid-of-{name}"));
    gateway.metadata.resource_version = Some("1".to_owned());
    gateway.metadata.generation = Some(1);
    gateway.metadata.creation_timestamp = Some(Time(ago(1_000)));
    gateway
}

/// A gateway in a phase that it reached so many seconds ago, with its first attempt, everything taken up.
pub(crate) fn recorded(phase: Phase, state: State, seconds: i64) -> ApiGateway {
    let at = MicroTime(ago(seconds));
    but(fresh(), |g| {
        g.status = Some(ApiGatewayStatus {
            phase: Some(phase.clone()),
            state: Some(state),
            observed_generation: Some(1),
            handled: Some(requests::tokens(g)),
            attempt: Some(Attempt {
                number: 1,
                started_at: at.clone(),
                held_seconds: 0,
                held_since: None,
                retries_left: None,
                others: crate::api::UnknownFields::new(),
            }),
            transitions: 1,
            hosts: vec![HostClaim { host: HOST.to_owned(), since: at.clone() }],
            history: vec![Transition {
                at,
                from: None,
                to: phase,
                state,
                reason: Reason::StartRequested,
                message: "so far".to_owned(),
                seconds: 0,
                others: crate::api::UnknownFields::new(),
            }],
            ..ApiGatewayStatus::default()
        });
    })
}

/// A gateway whose attempt has just begun.
pub(crate) fn starting() -> ApiGateway {
    recorded(Phase::Starting, State::Running, 0)
}

/// A gateway whose attempt is past its deadline.
pub(crate) fn overdue() -> ApiGateway {
    recorded(Phase::Starting, State::Running, 400)
}

pub(crate) fn started() -> ApiGateway {
    recorded(Phase::Started, State::Running, 60)
}

pub(crate) fn deletes(gateway: &mut ApiGateway) {
    gateway.metadata.deletion_timestamp = Some(Time(ago(1)));
}

pub(crate) fn finalizer(gateway: &mut ApiGateway) {
    gateway.metadata.finalizers = Some(vec![REGISTRY_FINALIZER.to_owned()]);
}

pub(crate) fn json_of(object: &impl Serialize) -> Value {
    serde_json::to_value(object).unwrap()
}

// Environments.

/// The environment `shop-dev` of the gateway `shop`, with a host of its own that it holds.
pub(crate) fn environment(state: EnvironmentState) -> Environment {
    let spec = json!({ "gatewayRef": { "name": "shop" }, "host": "dev.example.com" });
    let mut environment = Environment::new("shop-dev", serde_json::from_value(spec).unwrap());
    environment.metadata.namespace = Some("tenants".to_owned());
    environment.metadata.uid = Some("uid-of-shop-dev".to_owned());
    environment.metadata.resource_version = Some("1".to_owned());
    environment.metadata.generation = Some(1);
    environment.metadata.creation_timestamp = Some(Time(ago(1_000)));
    environment.status = Some(EnvironmentStatus {
        state,
        hosts: vec![HostClaim { host: "dev.example.com".to_owned(), since: MicroTime(ago(60)) }],
        ..EnvironmentStatus::default()
    });
    environment
}

// Children.

/// The children of a gateway, as they are rendered and as an API server has them.
pub(crate) struct Rendered {
    pub(crate) deployment: Value,
    pub(crate) service: Value,
    pub(crate) ingress: Value,
}

/// The children that are desired of a gateway.
pub(crate) fn children_of(gateway: &ApiGateway) -> Rendered {
    children_with(gateway, &[])
}

/// The children that are desired of a gateway whose environments have these hosts.
pub(crate) fn children_with(gateway: &ApiGateway, hosts: &[&str]) -> Rendered {
    let context = RenderContext {
        start_deadline: Duration::from_secs(300),
        environment_hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        ..RenderContext::default()
    };
    let children = children::render(gateway, &context);
    let stored = |mut object: Value, uid: &str| {
        object["metadata"]["uid"] = json!(uid);
        object["metadata"]["resourceVersion"] = json!("1");
        object["metadata"]["generation"] = json!(1);
        object
    };
    Rendered {
        deployment: rolling_out(stored(json_of(&children.deployment), "uid-of-deployment")),
        service: stored(json_of(&children.service), "uid-of-service"),
        ingress: stored(json_of(&children.ingress.unwrap()), "uid-of-ingress"),
    }
}

/// A Deployment of which no pod is available yet.
fn rolling_out(mut deployment: Value) -> Value {
    deployment["status"] = json!({ "observedGeneration": 1, "replicas": 1, "updatedReplicas": 1 });
    deployment
}

/// A Deployment whose pods are all available.
pub(crate) fn complete(mut deployment: Value) -> Value {
    deployment["status"] = json!({
        "observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1,
    });
    deployment
}

/// The same object, with a label that somebody changed.
pub(crate) fn edited(object: Value) -> Value {
    set(object, "/metadata/labels/app.kubernetes.io~1component", "edited")
}

/// The same Deployment, which selects other pods.
pub(crate) fn of_another_selector(object: Value) -> Value {
    set(object, "/spec/selector/matchLabels/phasegate.dev~1gateway", "other")
}

/// The same object, of a Helm release.
pub(crate) fn foreign_object(mut object: Value) -> Value {
    object["metadata"]["ownerReferences"] = json!([]);
    object["metadata"]["labels"] = json!({ "app.kubernetes.io/managed-by": "Helm" });
    object
}

/// The same object, of an earlier gateway of the name.
pub(crate) fn predecessors(object: Value) -> Value {
    set(object, "/metadata/ownerReferences/0/uid", "uid-of-an-earlier-one")
}

/// The same object, being deleted.
pub(crate) fn terminating(mut object: Value) -> Value {
    object["metadata"]["deletionTimestamp"] = json!("2026-01-02T03:04:05Z");
    object
}

/// The same object, without owner reference.
pub(crate) fn orphaned(mut object: Value) -> Value {
    object["metadata"].as_object_mut().unwrap().remove("ownerReferences");
    object
}
