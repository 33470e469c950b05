//! What the API server made of a child: what counts of it, and what is told.

use serde_json::{Value, json};

use super::super::{Form, drift};
use super::*;

const CONTAINER: &str = "/spec/template/spec/containers/0";

fn form(desired: &Value, stored: &Value) -> Form {
    Form::of("Deployment", desired, stored)
}

fn told(desired: &Value, stored: &Value) -> Vec<(String, String, String)> {
    form(desired, stored).changes.into_iter().map(|change| (change.path, change.asked, change.stored)).collect()
}

#[track_caller]
fn assert_told(desired: &Value, stored: &Value, path: &str, asked: &str, is: &str) {
    assert_eq!(told(desired, stored), [(path.to_owned(), asked.to_owned(), is.to_owned())]);
}

#[test]
fn what_the_api_server_fills_in_is_told_of_nobody() {
    let all = children(&json!({ "host": "shop.example.com", "replicas": 2 }));
    let deployment = as_json(&all.deployment);
    assert_eq!(told(&deployment, &stored_deployment(&deployment)), []);
    let service = as_json(&all.service);
    assert_eq!(told(&service, &stored_service(&service)), []);
    let ingress = as_json(&all.ingress);
    assert_eq!(told(&ingress, &set(&ingress, "/spec/ingressClassName", json!("usual"))), []);
}

#[test]
fn a_change_on_the_way_in_is_told_by_its_path() {
    let desired = deployment(&json!({ "env": [{ "name": "A", "value": "secret" }], "replicas": 1 }));
    let stored = stored_deployment(&desired);
    let changed = |pointer: &str, value: Value| set(&stored, pointer, value);
    let limits = json!({ "limits": { "cpu": "500m", "memory": "2Gi" } });
    assert_told(
        &desired,
        &changed(&format!("{CONTAINER}/resources"), limits),
        &format!("{CONTAINER}/resources/limits"),
        "nothing",
        r#"{"cpu":"500m","memory":"2Gi"}"#,
    );
    let image = format!("{CONTAINER}/image");
    let pinned = changed(&image, json!("ghcr.io/acme/gateway@sha256:01"));
    assert_told(&desired, &pinned, &image, "ghcr.io/acme/gateway:1", "ghcr.io/acme/gateway@sha256:01");
    let sidecar = changed("/spec/template/spec/containers/1", json!({ "name": "proxy", "image": "proxy" }));
    assert_told(&desired, &sidecar, "/spec/template/spec/containers", "gateway", "gateway, proxy");
    let tolerated = changed("/spec/template/spec/tolerations", json!([{ "operator": "Exists" }]));
    assert_told(&desired, &tolerated, "/spec/template/spec/tolerations", "nothing", "one entry");
    assert_told(&desired, &changed("/spec/replicas", json!(3)), "/spec/replicas", "1", "3");
    let label = "/metadata/labels/phasegate.dev~1gateway";
    assert_told(&desired, &changed(label, json!("x")), "/metadata/labels/phasegate.dev/gateway", "shop", "x");
    let rounded = deployment(&json!({ "resources": { "requests": { "cpu": "1.5m" } } }));
    let cpu = format!("{CONTAINER}/resources/requests/cpu");
    assert_told(&rounded, &set(&stored_deployment(&rounded), &cpu, json!("2m")), &cpu, "1.5m", "2m");
}

#[test]
fn the_value_of_a_variable_is_not_told() {
    let desired = deployment(&json!({ "env": [{ "name": "A", "value": "secret" }] }));
    let stored = set(&stored_deployment(&desired), &format!("{CONTAINER}/env/0/value"), json!("other"));
    let hidden = "(hidden)";
    assert_told(&desired, &stored, &format!("{CONTAINER}/env/0/value"), hidden, hidden);
}

#[test]
fn what_a_terminal_obeys_is_not_told() {
    let desired = deployment(&json!({}));
    let image = format!("{CONTAINER}/image");
    let stored = set(&stored_deployment(&desired), &image, json!("a\u{1b}[31m\u{202e}b\u{200b}c"));
    assert_told(&desired, &stored, &image, "ghcr.io/acme/gateway:1", "a [31m b c");
    let long = set(&stored_deployment(&desired), &image, json!("a".repeat(5_000)));
    assert_told(&desired, &long, &image, "ghcr.io/acme/gateway:1", &format!("{}…", "a".repeat(160)));
}

#[test]
fn a_form_changes_with_all_that_is_ours_and_with_nothing_else() {
    let desired = deployment(&json!({}));
    let stored = stored_deployment(&desired);
    let before = form(&desired, &stored).hash;
    for (pointer, value) in [
        ("/metadata/resourceVersion", json!("43")),
        ("/metadata/labels/team", json!("blue")),
        ("/metadata/annotations/note", json!("hello")),
        ("/metadata/finalizers", json!(["example.com/wait"])),
        ("/metadata/ownerReferences/1", json!({ "kind": "App", "name": "app", "uid": "uid-of-app" })),
        ("/spec/template/metadata/annotations", json!({ "restarted": "today" })),
        ("/spec/template/metadata/labels/team", json!("blue")),
        ("/spec/replicas", json!(7)),
        ("/status/replicas", json!(7)),
    ] {
        assert_eq!(form(&desired, &set(&stored, pointer, value)).hash, before, "{pointer}");
    }
    for (pointer, value) in [
        ("/metadata/labels/phasegate.dev~1gateway", json!("other")),
        ("/metadata/annotations/phasegate.dev~1renderer", json!("0")),
        ("/metadata/ownerReferences/0/blockOwnerDeletion", json!(false)),
        ("/spec/template/metadata/labels/phasegate.dev~1gateway", json!("other")),
        ("/spec/template/spec/dnsPolicy", json!("Default")),
        ("/spec/template/spec/schedulerName", json!("mine")),
        ("/spec/template/spec/priorityClassName", json!("high")),
        ("/spec/template/spec/hostAliases", json!([{ "ip": "127.0.0.1" }])),
        ("/spec/template/spec/containers/0/imagePullPolicy", json!("Always")),
        ("/spec/template/spec/containers/0/lifecycle/postStart", json!({ "exec": { "command": ["x"] } })),
    ] {
        assert_ne!(form(&desired, &set(&stored, pointer, value)).hash, before, "{pointer}");
    }
    let asked_otherwise = deployment(&json!({ "command": ["/gate"] }));
    assert_ne!(form(&asked_otherwise, &stored).hash, before, "another wish was not answered by this");
}

#[test]
fn drift_is_told_against_what_was_accepted() {
    let desired = deployment(&json!({}));
    let limits = format!("{CONTAINER}/resources/limits");
    let accepted = set(&stored_deployment(&desired), &limits, json!({ "cpu": "500m" }));
    let edited = set(&accepted, "/spec/template/spec/schedulerName", json!("mine"));
    let told = |accepted| drift(&desired, accepted, &edited);
    assert_eq!(told(Some(&accepted)).as_deref(), Some("/spec/template/spec/schedulerName"));
    assert_eq!(told(None), Some(limits), "as far as is known");
    let ingress = as_json(&children(&json!({ "host": "shop.example.com" })).ingress);
    let classed = set(&ingress, "/spec/ingressClassName", json!("theirs"));
    assert_eq!(drift(&ingress, Some(&ingress), &classed).as_deref(), Some("/spec/ingressClassName"));
    let scaled = set(&stored_deployment(&desired), "/spec/replicas", json!(7));
    assert_eq!(drift(&desired, Some(&stored_deployment(&desired)), &scaled), None);
    assert_eq!(drift(&desired, Some(&accepted), &accepted), None);
    assert_eq!(
        drift(&desired, Some(&accepted), &stored_deployment(&desired)).as_deref(),
        Some("/spec/template/spec/containers/0/resources"),
        "what admission added and somebody took away"
    );
}
