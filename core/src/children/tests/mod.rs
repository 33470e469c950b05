//! What is rendered, compared, merged, and whose it is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod compare;
mod form;
mod http_route;
mod inherited;
mod invalid_field;
mod merge;
mod ownership;
mod promises;
mod render;
mod taken_up;

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::{Children, RenderContext, render as render_children};
use crate::api::ApiGateway;

/// A gateway of which only the image is given, and what `spec` says besides.
fn gateway(spec: &Value) -> ApiGateway {
    let mut whole = json!({ "image": "ghcr.io/acme/gateway:1" });
    let more = spec.as_object().unwrap().clone();
    whole.as_object_mut().unwrap().extend(more);
    let mut gateway = ApiGateway::new("shop", serde_json::from_value(whole).unwrap());
    gateway.metadata.namespace = Some("tenants".to_owned());
    gateway.metadata.uid = Some("uid-of-shop".to_owned());
    gateway
}

fn children(spec: &Value) -> Children {
    render_children(&gateway(spec), &within(Duration::from_secs(300)))
}

/// No environments, no annotations, and this start deadline.
fn within(start_deadline: Duration) -> RenderContext {
    RenderContext { start_deadline, ..RenderContext::default() }
}

fn as_json(object: &impl Serialize) -> Value {
    serde_json::to_value(object).unwrap()
}

fn deployment(spec: &Value) -> Value {
    as_json(&children(spec).deployment)
}

/// What a JSON pointer finds; null where there is nothing.
fn at<'a>(object: &'a Value, pointer: &str) -> &'a Value {
    object.pointer(pointer).unwrap_or(&Value::Null)
}

/// The same object, with one value set; parents that are not there are made.
fn set(object: &Value, pointer: &str, value: Value) -> Value {
    let mut object = object.clone();
    let mut place = &mut object;
    for key in pointer.split('/').skip(1) {
        let key = key.replace("~1", "/");
        place = match place {
            Value::Array(list) => {
                let index: usize = key.parse().unwrap();
                if index == list.len() {
                    list.push(Value::Null);
                }
                &mut list[index]
            }
            other => {
                if other.is_null() {
                    *other = json!({});
                }
                other.as_object_mut().unwrap().entry(key).or_insert(Value::Null)
            }
        };
    }
    *place = value;
    object
}

/// The same object without one value.
fn without(object: &Value, pointer: &str) -> Value {
    let mut object = object.clone();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    object.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(&key.replace("~1", "/"));
    object
}

/// A Deployment as the API server gives it back: with its defaults and its own fields.
fn stored_deployment(desired: &Value) -> Value {
    let mut stored = desired.clone();
    for (pointer, value) in [
        ("/metadata/uid", json!("uid-of-deployment")),
        ("/metadata/resourceVersion", json!("42")),
        ("/metadata/generation", json!(1)),
        ("/metadata/creationTimestamp", json!("2025-06-15T15:06:40Z")),
        ("/metadata/annotations/deployment.kubernetes.io~1revision", json!("1")),
        ("/spec/template/metadata/creationTimestamp", Value::Null),
        ("/spec/template/spec/restartPolicy", json!("Always")),
        ("/spec/template/spec/dnsPolicy", json!("ClusterFirst")),
        ("/spec/template/spec/schedulerName", json!("default-scheduler")),
        ("/spec/template/spec/containers/0/imagePullPolicy", json!("IfNotPresent")),
        ("/spec/template/spec/containers/0/terminationMessagePath", json!("/dev/termination-log")),
        ("/spec/template/spec/containers/0/readinessProbe/timeoutSeconds", json!(1)),
        ("/spec/template/spec/containers/0/readinessProbe/successThreshold", json!(1)),
        ("/spec/template/spec/containers/0/startupProbe/timeoutSeconds", json!(1)),
        ("/spec/template/spec/containers/0/startupProbe/successThreshold", json!(1)),
        ("/spec/template/spec/containers/0/livenessProbe/timeoutSeconds", json!(1)),
        ("/spec/template/spec/containers/0/livenessProbe/successThreshold", json!(1)),
        ("/status/observedGeneration", json!(1)),
        ("/status/replicas", json!(1)),
    ] {
        stored = set(&stored, pointer, value);
    }
    if at(&stored, "/spec/replicas").is_null() { set(&stored, "/spec/replicas", json!(1)) } else { stored }
}

fn stored_service(desired: &Value) -> Value {
    let mut stored = desired.clone();
    for (pointer, value) in [
        ("/metadata/resourceVersion", json!("42")),
        ("/spec/clusterIP", json!("10.0.0.7")),
        ("/spec/clusterIPs", json!(["10.0.0.7"])),
        ("/spec/ipFamilies", json!(["IPv4"])),
        ("/spec/ipFamilyPolicy", json!("SingleStack")),
        ("/spec/internalTrafficPolicy", json!("Cluster")),
        ("/spec/sessionAffinity", json!("None")),
        ("/status/loadBalancer", json!({})),
    ] {
        stored = set(&stored, pointer, value);
    }
    stored
}

#[track_caller]
fn assert_at(object: &Value, pointer: &str, expected: &Value) {
    assert_eq!(at(object, pointer), expected, "at {pointer}");
}
