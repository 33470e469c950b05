//! Merging: our parts are put into the object that is there, and the rest of it is kept.

use serde_json::{Value, json};

use super::super::{difference, merge, must_be_made_anew};
use super::*;

const CONTAINER: &str = "/spec/template/spec/containers/0";

/// The merged object is as desired, and merging it again changes nothing.
#[track_caller]
fn merged(fresh: &Value, desired: &Value) -> Value {
    let merged = merge(fresh, desired, None);
    assert_eq!(difference(desired, &merged), None);
    assert_eq!(merge(&merged, desired, None), merged);
    merged
}

#[test]
fn what_nobody_desires_is_left_to_the_api_server_to_fill_in() {
    let service = as_json(&children(&json!({})).service);
    let stored = stored_service(&service);
    let written = without(&without(&stored, "/spec/sessionAffinity"), "/spec/internalTrafficPolicy");
    assert_eq!(merged(&stored, &service), written);
    let edited = set(&stored, "/spec/sessionAffinity", json!("ClientIP"));
    assert_eq!(merged(&set(&edited, "/spec/externalIPs", json!(["198.51.100.7"])), &service), written);
}

#[test]
fn a_repair_brings_back_what_admission_made_of_the_child_and_nothing_that_is_an_autoscalers() {
    let desired = deployment(&json!({}));
    let limits = json!({ "limits": { "cpu": "500m" } });
    let accepted = set(&stored_deployment(&desired), &format!("{CONTAINER}/resources"), limits.clone());
    let edited = set(&stored_deployment(&desired), "/spec/replicas", json!(7));
    let edited = set(&edited, "/spec/template/metadata/annotations", json!({ "restarted": "today" }));
    let edited = set(&edited, "/spec/template/spec/hostNetwork", json!(true));

    let merged = merge(&edited, &desired, Some(&accepted));

    assert_eq!(at(&merged, &format!("{CONTAINER}/resources")), &limits);
    assert_eq!(at(&merged, "/spec/template/spec/hostNetwork"), &Value::Null);
    assert_eq!(at(&merged, "/spec/replicas"), &json!(7));
    assert_eq!(at(&merged, "/spec/template/metadata/annotations/restarted"), &json!("today"));
    let service = as_json(&children(&json!({})).service);
    let accepted = set(&stored_service(&service), "/spec/type", json!("NodePort"));
    let elsewhere = set(&stored_service(&service), "/spec/clusterIP", json!("10.0.0.9"));
    let merged = merge(&elsewhere, &service, Some(&accepted));
    assert_eq!((at(&merged, "/spec/type"), at(&merged, "/spec/clusterIP")), (&json!("NodePort"), &json!("10.0.0.9")));
}

#[test]
fn others_fields_are_kept() {
    let desired = deployment(&json!({}));
    let mut fresh = stored_deployment(&deployment(&json!({ "port": 81 })));
    let theirs = [
        ("/metadata/labels/team", json!("blue")),
        ("/metadata/annotations/note", json!("hello")),
        ("/metadata/finalizers", json!(["example.com/wait"])),
        ("/spec/template/metadata/annotations", json!({ "sidecar": "no" })),
    ];
    for (pointer, value) in theirs.clone() {
        fresh = set(&fresh, pointer, value);
    }
    let merged = merged(&fresh, &desired);
    for (pointer, value) in theirs {
        assert_eq!(at(&merged, pointer), &value, "{pointer}");
    }
    for pointer in ["/metadata/resourceVersion", "/metadata/uid", "/status"] {
        assert_eq!(at(&merged, pointer), at(&fresh, pointer), "{pointer}");
    }
    assert_eq!(at(&merged, &format!("{CONTAINER}/ports/0/containerPort")), &json!(8080));
}

#[test]
fn a_services_addresses_are_kept() {
    let desired = as_json(&children(&json!({})).service);
    let fresh = set(&stored_service(&desired), "/spec/ports/0/port", json!(81));
    let merged = merged(&fresh, &desired);
    for pointer in ["/spec/clusterIP", "/spec/clusterIPs", "/spec/ipFamilies", "/spec/ipFamilyPolicy"] {
        assert_eq!(at(&merged, pointer), at(&fresh, pointer), "{pointer}");
    }
    assert_eq!(at(&merged, "/spec/ports/0/port"), &json!(80));
}

#[test]
fn a_service_that_somebody_opened_to_the_outside_is_closed_again() {
    let desired = as_json(&children(&json!({})).service);
    let opened = set(&stored_service(&desired), "/spec/type", json!("NodePort"));
    let opened = set(&opened, "/spec/ports/0/nodePort", json!(30_080));
    assert!(difference(&desired, &opened).is_some());
    let merged = merged(&opened, &desired);
    assert_eq!(at(&merged, "/spec/type"), &json!("ClusterIP"));
    assert_eq!(at(&merged, "/spec/ports/0/nodePort"), &Value::Null);
}

#[test]
fn replicas_are_left_to_an_autoscaler_and_taken_from_a_spec_that_has_them() {
    let fresh = |spec: &Value| set(&stored_deployment(&deployment(spec)), "/spec/replicas", json!(7));
    let left_out = json!({});
    assert_eq!(at(&merged(&fresh(&left_out), &deployment(&left_out)), "/spec/replicas"), &json!(7));
    let given = json!({ "replicas": 2 });
    assert_eq!(at(&merged(&fresh(&given), &deployment(&given)), "/spec/replicas"), &json!(2));
}

#[test]
fn what_somebody_added_to_a_list_of_ours_is_removed() {
    let desired = deployment(&json!({ "env": [{ "name": "A", "value": "1" }] }));
    let fresh = stored_deployment(&desired);
    let fresh = set(&fresh, "/spec/template/spec/containers/1", json!({ "name": "sidecar", "image": "sidecar" }));
    let fresh = set(&fresh, &format!("{CONTAINER}/env/1"), json!({ "name": "B", "value": "2" }));
    let merged = merged(&fresh, &desired);
    assert_eq!(at(&merged, "/spec/template/spec/containers").as_array().unwrap().len(), 1);
    assert_eq!(at(&merged, &format!("{CONTAINER}/env")), &json!([{ "name": "A", "value": "1" }]));
}

#[test]
fn what_somebody_added_to_a_map_that_selects_is_removed() {
    let desired = as_json(&children(&json!({})).service);
    let fresh = set(&stored_service(&desired), "/spec/selector/app", json!("x"));
    assert_eq!(at(&merged(&fresh, &desired), "/spec/selector"), at(&desired, "/spec/selector"));
    let desired = deployment(&json!({ "nodeSelector": { "disk": "ssd" } }));
    let fresh = set(&stored_deployment(&desired), "/spec/template/spec/nodeSelector/zone", json!("a"));
    assert_eq!(at(&merged(&fresh, &desired), "/spec/template/spec/nodeSelector"), &json!({ "disk": "ssd" }));
}

/// As a policy leaves it that wants a label on everything that is created.
#[test]
fn a_selector_that_was_created_with_more_labels_is_kept_and_costs_no_deployment() {
    let desired = deployment(&json!({ "image": "acme/gateway:2" }));
    let stored = stored_deployment(&deployment(&json!({})));
    let labelled = set(&stored, "/spec/selector/matchLabels/team", json!("shop"));
    let labelled = set(&labelled, "/spec/template/metadata/labels/team", json!("shop"));
    assert!(!must_be_made_anew("Deployment", &desired, &labelled));
    let merged = merge(&labelled, &desired, None);
    assert_eq!(at(&merged, "/spec/selector"), at(&labelled, "/spec/selector"));
    assert_eq!(at(&merged, "/spec/template/metadata/labels/team"), "shop");
    assert_eq!(at(&merged, &format!("{CONTAINER}/image")), "acme/gateway:2");

    for (pointer, value) in [
        ("/spec/selector/matchLabels", json!({ "team": "shop" })),
        ("/spec/selector/matchLabels/phasegate.dev~1gateway", json!("other")),
        ("/spec/selector", json!({ "matchExpressions": [] })),
    ] {
        let mut other = stored.clone();
        *other.pointer_mut(pointer).unwrap() = value;
        assert!(must_be_made_anew("Deployment", &desired, &other), "{pointer}");
    }
}

#[test]
fn what_is_no_longer_desired_is_dropped() {
    let before = deployment(&json!({
        "command": ["/gate"],
        "nodeSelector": { "disk": "ssd" },
        "tolerations": [{ "key": "tenants", "operator": "Exists" }],
        "imagePullSecrets": [{ "name": "pull" }],
        "topologySpread": [{ "topologyKey": "zone" }],
        "resources": { "limits": { "cpu": "1" } },
    }));
    let fresh = set(&stored_deployment(&before), "/spec/template/spec/initContainers", json!([{ "name": "more" }]));
    let merged = merged(&fresh, &deployment(&json!({})));
    for key in ["nodeSelector", "tolerations", "imagePullSecrets", "topologySpreadConstraints", "initContainers"] {
        assert_eq!(at(&merged, &format!("/spec/template/spec/{key}")), &Value::Null, "{key}");
    }
    assert_eq!(at(&merged, &format!("{CONTAINER}/command")), &Value::Null);
    assert_eq!(at(&merged, &format!("{CONTAINER}/resources")), &Value::Null);
}

#[test]
fn what_an_ingress_no_longer_has_is_dropped() {
    let before = json!({ "host": "shop.example.com", "ingressClassName": "nginx", "tls": { "secretName": "cert" } });
    let fresh = as_json(&children(&before).ingress);
    let fresh = set(&fresh, "/spec/defaultBackend", json!({ "service": { "name": "x" } }));
    let desired = as_json(&children(&json!({ "host": "new.example.com" })).ingress);
    let merged = merged(&fresh, &desired);
    for key in ["tls", "defaultBackend"] {
        assert_eq!(at(&merged, &format!("/spec/{key}")), &Value::Null, "{key}");
    }
    assert_eq!(at(&merged, "/spec/ingressClassName"), &json!("nginx"), "it may be the cluster's default");
    assert_eq!(at(&merged, "/spec/rules/0/host"), &json!("new.example.com"));
}

#[test]
fn a_budget_that_somebody_turned_round_can_be_written_back() {
    let desired = as_json(&children(&json!({ "replicas": 2 })).disruption_budget);
    let fresh = without(&set(&desired, "/spec/minAvailable", json!(2)), "/spec/maxUnavailable");
    assert_eq!(merged(&fresh, &desired), desired);
}

#[test]
fn our_owner_reference_comes_back_and_others_are_kept() {
    let desired = deployment(&json!({}));
    let stored = stored_deployment(&desired);
    let ours = at(&desired, "/metadata/ownerReferences/0").clone();
    let theirs = json!({ "apiVersion": "v1", "kind": "App", "name": "app", "uid": "uid-of-app" });
    let owners = |fresh: &Value| at(&merged(fresh, &desired), "/metadata/ownerReferences").clone();
    assert_eq!(owners(&without(&stored, "/metadata/ownerReferences")), json!([ours]));
    assert_eq!(owners(&set(&stored, "/metadata/ownerReferences", json!([theirs]))), json!([ours, theirs]));
    assert_eq!(owners(&set(&stored, "/metadata/ownerReferences", json!([theirs, ours]))), json!([ours, theirs]));
    let unblocked = set(&stored, "/metadata/ownerReferences/0/blockOwnerDeletion", json!(false));
    assert_eq!(owners(&unblocked), json!([ours]), "ours is there once");
    let another = json!({ "kind": "ApiGateway", "name": "shop", "uid": "uid-of-an-earlier-shop", "controller": true });
    assert_eq!(owners(&set(&stored, "/metadata/ownerReferences", json!([another, theirs]))), json!([ours, theirs]));
}

#[test]
fn an_annotation_of_the_pods_is_ours_when_it_is_a_restart() {
    let mut restarted = gateway(&json!({}));
    restarted.status.get_or_insert_default().restarts = 1;
    let desired = as_json(&render_children(&restarted, &within(Duration::from_secs(300))).deployment);
    let fresh = stored_deployment(&deployment(&json!({})));
    assert!(difference(&desired, &fresh).is_some(), "a restart differs until it is written");
    let merged = merged(&fresh, &desired);
    assert_eq!(at(&merged, "/spec/template/metadata/annotations/phasegate.dev~1restart"), &json!("1"));
}
