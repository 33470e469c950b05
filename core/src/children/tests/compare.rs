//! Comparing: what is drift, and what is somebody else's business.

use serde_json::{Value, json};

use super::super::difference;
use super::*;

const CONTAINER: &str = "/spec/template/spec/containers/0";

fn rich() -> Value {
    json!({
        "host": "shop.example.com",
        "replicas": 2,
        "env": [{ "name": "A", "value": "1" }, { "name": "EMPTY", "value": "" }],
        "resources": { "limits": { "cpu": "1000m", "memory": "1024Mi" }, "requests": { "cpu": "0.5" } },
        "nodeSelector": { "disk": "ssd" },
        "volumes": [{ "name": "scratch", "mountPath": "/scratch", "emptyDir": { "sizeLimit": "1024Mi" } }],
    })
}

#[track_caller]
fn assert_same(desired: &Value, observed: &Value) {
    assert_eq!(difference(desired, observed), None);
}

#[track_caller]
fn assert_differs(desired: &Value, observed: &Value, path: &str) {
    assert_eq!(difference(desired, observed).as_deref(), Some(path));
}

#[test]
fn what_was_written_is_as_desired() {
    let all = children(&rich());
    for child in
        [as_json(&all.deployment), as_json(&all.service), as_json(&all.ingress), as_json(&all.disruption_budget)]
    {
        assert_same(&child, &child);
    }
}

#[test]
fn what_the_api_server_fills_in_is_no_difference() {
    for spec in [json!({}), rich()] {
        let all = children(&spec);
        let (deployment, service) = (as_json(&all.deployment), as_json(&all.service));
        assert_same(&deployment, &stored_deployment(&deployment));
        assert_same(&service, &stored_service(&service));
    }
}

#[test]
fn what_the_api_server_leaves_out_because_it_is_empty_is_no_difference() {
    let desired = deployment(&rich());
    let stored = without(&stored_deployment(&desired), &format!("{CONTAINER}/env/1/value"));
    assert_same(&desired, &stored);
    for empty in [json!(null), json!(""), json!([]), json!({})] {
        assert_same(&json!({ "field": empty }), &json!({}));
    }
    assert_differs(&json!({ "field": 0 }), &json!({}), "/field");
    assert_differs(&json!({ "field": true }), &json!({}), "/field");
    assert_differs(&json!({ "field": false }), &json!({}), "/field");
    assert_differs(&json!({ "field": "a" }), &json!({}), "/field");
}

#[test]
fn quantities_are_numbers() {
    let desired = deployment(&rich());
    let mut stored = stored_deployment(&desired);
    for (pointer, value) in
        [("resources/limits/cpu", "1"), ("resources/limits/memory", "1Gi"), ("resources/requests/cpu", "500m")]
    {
        stored = set(&stored, &format!("{CONTAINER}/{pointer}"), json!(value));
    }
    stored = set(&stored, "/spec/template/spec/volumes/1/emptyDir/sizeLimit", json!("1Gi"));
    assert_same(&desired, &stored);
    let limit = format!("{CONTAINER}/resources/limits/cpu");
    assert_differs(&desired, &set(&stored, &limit, json!("1001m")), &limit);
    assert_differs(&desired, &set(&stored, &limit, json!("1k")), &limit);
    assert_differs(&desired, &set(&stored, &limit, json!("many")), &limit);
}

#[test]
fn every_suffix_of_a_quantity_is_known() {
    let pairs = [
        ("1", "1000m"),
        ("1", "1000000u"),
        ("1", "1000000000n"),
        ("1k", "1000"),
        ("1M", "1000k"),
        ("1G", "1000M"),
        ("1T", "1000G"),
        ("1P", "1000T"),
        ("1E", "1000P"),
        ("1Ki", "1024"),
        ("1Mi", "1024Ki"),
        ("1Gi", "1024Mi"),
        ("1Ti", "1024Gi"),
        ("1Pi", "1024Ti"),
        ("1Ei", "1024Pi"),
        ("1e3", "1k"),
        ("0.1", "100m"),
        ("0", "0m"),
    ];
    for (a, b) in pairs {
        assert_same(&json!({ "limits": { "x": a } }), &json!({ "limits": { "x": b } }));
    }
    assert_differs(&json!({ "limits": { "x": "1M" } }), &json!({ "limits": { "x": "1Mi" } }), "/limits/x");
    assert_differs(&json!({ "image": "1" }), &json!({ "image": "1000m" }), "/image");
}

#[test]
fn what_others_add_beside_ours_is_theirs() {
    let desired = deployment(&rich());
    let stored = stored_deployment(&desired);
    for (pointer, value) in [
        ("/metadata/labels/team", json!("blue")),
        ("/metadata/annotations/note", json!("hello")),
        ("/metadata/finalizers", json!(["example.com/wait"])),
        ("/metadata/ownerReferences/1", json!({ "kind": "App", "name": "app", "uid": "uid-of-app" })),
        ("/spec/template/metadata/annotations", json!({ "sidecar": "no" })),
    ] {
        assert_same(&desired, &set(&stored, pointer, value));
    }
}

#[test]
fn a_hand_edit_of_a_value_is_seen() {
    let desired = deployment(&rich());
    let stored = stored_deployment(&desired);
    for (pointer, value) in [
        (format!("{CONTAINER}/image"), json!("ghcr.io/evil/gateway:1")),
        (format!("{CONTAINER}/env/0/value"), json!("2")),
        (format!("{CONTAINER}/securityContext/readOnlyRootFilesystem"), json!(false)),
        (format!("{CONTAINER}/ports/0/containerPort"), json!(81)),
        ("/spec/replicas".to_owned(), json!(5)),
        ("/spec/template/spec/automountServiceAccountToken".to_owned(), json!(true)),
        ("/spec/template/spec/automountServiceAccountToken".to_owned(), Value::Null),
        (format!("{CONTAINER}/securityContext/allowPrivilegeEscalation"), Value::Null),
        ("/spec/template/metadata/labels/phasegate.dev~1gateway".to_owned(), json!("other")),
        ("/metadata/labels/phasegate.dev~1gateway-uid".to_owned(), json!("other")),
    ] {
        let path = pointer.replace("~1", "/");
        assert_differs(&desired, &set(&stored, &pointer, value), &path);
    }
    assert_differs(&desired, &without(&stored, &format!("{CONTAINER}/image")), &format!("{CONTAINER}/image"));
}

#[test]
fn what_somebody_adds_to_a_list_of_ours_is_seen() {
    let desired = deployment(&rich());
    let stored = stored_deployment(&desired);
    for (list, entry) in [
        ("/spec/template/spec/containers", json!({ "name": "sidecar", "image": "sidecar" })),
        ("/spec/template/spec/containers/0/env", json!({ "name": "B", "value": "2" })),
        ("/spec/template/spec/containers/0/ports", json!({ "containerPort": 9 })),
        ("/spec/template/spec/volumes", json!({ "name": "more", "emptyDir": {} })),
        ("/spec/template/spec/containers/0/volumeMounts", json!({ "name": "tmp", "mountPath": "/more" })),
    ] {
        let length = at(&stored, list).as_array().unwrap().len();
        assert_differs(&desired, &set(&stored, &format!("{list}/{length}"), entry), list);
    }
    let service = as_json(&children(&rich()).service);
    let stored = set(&stored_service(&service), "/spec/ports/1", json!({ "name": "more", "port": 81 }));
    assert_differs(&service, &stored, "/spec/ports");
    let ingress = as_json(&children(&rich()).ingress);
    assert_differs(&ingress, &set(&ingress, "/spec/rules/1", json!({ "host": "more.example.com" })), "/spec/rules");
}

#[test]
fn what_somebody_sets_that_nobody_desires_is_seen() {
    let desired = deployment(&json!({}));
    let stored = stored_deployment(&desired);
    for (pointer, value) in [
        ("/spec/paused", json!(true)),
        ("/spec/template/spec/initContainers", json!([{ "name": "more" }])),
        ("/spec/template/spec/nodeSelector", json!({ "disk": "slow" })),
        ("/spec/template/spec/tolerations", json!([{ "operator": "Exists" }])),
        ("/spec/template/spec/imagePullSecrets", json!([{ "name": "theirs" }])),
        ("/spec/template/spec/serviceAccountName", json!("theirs")),
        ("/spec/template/spec/dnsPolicy", json!("Default")),
        ("/spec/template/spec/schedulerName", json!("mine")),
        ("/spec/template/spec/priorityClassName", json!("high")),
        ("/spec/template/spec/hostAliases", json!([{ "ip": "127.0.0.1" }])),
        ("/spec/template/spec/hostNetwork", json!(true)),
        ("/spec/template/spec/containers/0/imagePullPolicy", json!("Always")),
        ("/spec/template/spec/containers/0/lifecycle/postStart/exec/command", json!(["sleep"])),
        ("/spec/template/spec/containers/0/readinessProbe/timeoutSeconds", json!(9)),
        ("/spec/template/spec/containers/0/command", json!(["sleep"])),
        ("/spec/template/spec/containers/0/env", json!([{ "name": "DEBUG", "value": "1" }])),
        ("/spec/template/spec/containers/0/envFrom", json!([{ "secretRef": { "name": "theirs" } }])),
    ] {
        assert_differs(&desired, &set(&stored, pointer, value), pointer);
    }
    let limited = set(&stored, &format!("{CONTAINER}/resources"), json!({ "limits": { "cpu": "1m" } }));
    assert_differs(&desired, &limited, &format!("{CONTAINER}/resources/limits"));
    let service = as_json(&children(&json!({})).service);
    for (pointer, value) in [
        ("/spec/externalIPs", json!(["198.51.100.7"])),
        ("/spec/sessionAffinity", json!("ClientIP")),
        ("/spec/internalTrafficPolicy", json!("Local")),
        ("/spec/publishNotReadyAddresses", json!(true)),
    ] {
        assert_differs(&service, &set(&stored_service(&service), pointer, value), pointer);
    }
    let ingress = as_json(&children(&json!({ "host": "shop.example.com" })).ingress);
    assert_differs(&ingress, &set(&ingress, "/spec/tls", json!([{ "secretName": "theirs" }])), "/spec/tls");
    assert_same(&ingress, &set(&ingress, "/spec/ingressClassName", json!("default")));
}

#[test]
fn a_list_of_ours_in_another_order_is_another_list() {
    let desired = deployment(&rich());
    let mut stored = stored_deployment(&desired);
    stored.pointer_mut(&format!("{CONTAINER}/env")).unwrap().as_array_mut().unwrap().reverse();
    assert_differs(&desired, &stored, &format!("{CONTAINER}/env/0/name"));
}

#[test]
fn what_somebody_adds_to_a_map_that_selects_is_seen() {
    let all = children(&rich());
    let service = as_json(&all.service);
    assert_differs(&service, &set(&stored_service(&service), "/spec/selector/app", json!("x")), "/spec/selector");
    let deployment = as_json(&all.deployment);
    let stored = stored_deployment(&deployment);
    for map in [
        "/spec/template/spec/nodeSelector",
        "/spec/template/spec/containers/0/resources/limits",
        "/spec/template/spec/containers/0/resources/requests",
        "/spec/selector/matchLabels",
    ] {
        assert_differs(&deployment, &set(&stored, &format!("{map}/more"), json!("1")), map);
    }
    let budget = as_json(&all.disruption_budget);
    assert_differs(&budget, &set(&budget, "/spec/selector/matchLabels/app", json!("x")), "/spec/selector/matchLabels");
}

#[test]
fn what_we_drop_is_seen_by_the_hash() {
    let hash = "/metadata/annotations/phasegate.dev/desired";
    let before = deployment(&json!({ "command": ["/gate"], "nodeSelector": { "disk": "ssd" } }));
    assert_differs(&deployment(&json!({})), &stored_deployment(&before), hash);
    let unhashed = without(&stored_deployment(&before), "/metadata/annotations/phasegate.dev~1desired");
    assert_differs(&before, &unhashed, hash);
}

#[test]
fn a_missing_owner_or_label_of_ours_is_seen() {
    let desired = deployment(&json!({}));
    let stored = stored_deployment(&desired);
    assert_differs(&desired, &without(&stored, "/metadata/ownerReferences"), "/metadata/ownerReferences");
    let other = json!([{ "kind": "App", "name": "app", "uid": "uid-of-app" }]);
    assert_differs(&desired, &set(&stored, "/metadata/ownerReferences", other), "/metadata/ownerReferences");
    let unblocked = set(&stored, "/metadata/ownerReferences/0/blockOwnerDeletion", json!(false));
    assert_differs(&desired, &unblocked, "/metadata/ownerReferences");
    assert_differs(&desired, &without(&stored, "/metadata/labels"), "/metadata/labels");
}

#[test]
fn replicas_of_an_autoscaler_are_no_difference() {
    let desired = deployment(&json!({}));
    assert_same(&desired, &set(&stored_deployment(&desired), "/spec/replicas", json!(7)));
}

#[test]
fn a_value_of_another_kind_is_seen() {
    assert_differs(&json!({ "a": { "b": 1 } }), &json!({ "a": [1] }), "/a");
    assert_differs(&json!({ "a": [1] }), &json!({ "a": 1 }), "/a");
    assert_differs(&json!({ "port": "http" }), &json!({ "port": 80 }), "/port");
}
