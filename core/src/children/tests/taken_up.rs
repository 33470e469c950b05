//! Children of a gateway whose spec reads differently since newer definitions have defaults, and nobody has changed it.

use k8s_openapi::api::apps::v1::Deployment;
use serde_json::{Value, json};

use super::super::{DESIRED_ANNOTATION, INPUTS_ANNOTATION, desired, difference, render, taken_up};
use super::*;

/// A gateway that took up this spec.
fn took_up(spec: &Value) -> ApiGateway {
    let mut gateway = gateway(spec);
    gateway.metadata.generation = Some(4);
    let handled = taken_up::as_asked(&gateway, None, None);
    gateway.status.get_or_insert_default().handled = Some(handled);
    gateway
}

/// The same, as definitions with these defaults read it.
fn reads(gateway: &ApiGateway, defaults: &Value) -> ApiGateway {
    let mut object = serde_json::to_value(gateway).unwrap();
    object["spec"].as_object_mut().unwrap().extend(defaults.as_object().unwrap().clone());
    serde_json::from_value(object).unwrap()
}

fn rendered(gateway: &ApiGateway) -> Children {
    render(gateway, &RenderContext::default())
}

/// What is desired where the children are as these.
fn desired_beside(gateway: &ApiGateway, found: &Children) -> Children {
    desired(gateway, &RenderContext::default(), (Some(&found.deployment), found.ingress.as_ref()))
}

const SPECS: fn() -> [Value; 2] = || [json!({}), json!({ "host": "shop.example.com", "replicas": 3 })];

#[test]
fn a_default_changes_no_child() {
    for spec in SPECS() {
        for defaults in [
            json!({ "terminationGracePeriodSeconds": 45 }),
            json!({ "readinessPath": "/ready", "nodeSelector": { "pool": "gateways" } }),
            json!({ "ingressClassName": "nginx", "path": "/api", "tls": { "secretName": "all" } }),
        ] {
            let before = took_up(&spec);
            let found = rendered(&before);
            let now = desired_beside(&reads(&before, &defaults), &found);
            for (now, found) in [
                (as_json(&now.deployment), as_json(&found.deployment)),
                (as_json(&now.service), as_json(&found.service)),
            ] {
                assert_eq!(difference(&now, &found), None, "{spec} with {defaults}");
            }
            assert_eq!(now.ingress.map(|ingress| ingress.spec), found.ingress.map(|ingress| ingress.spec));
            assert_eq!(now.disruption_budget, found.disruption_budget);
        }
    }
}

#[test]
fn a_default_for_the_replicas_takes_no_pods_away_and_makes_no_disruption_budget() {
    let before = took_up(&json!({}));
    for replicas in [1, 4] {
        let now = desired_beside(&reads(&before, &json!({ "replicas": replicas })), &rendered(&before));
        assert_eq!((now.deployment.spec.unwrap().replicas, now.disruption_budget), (None, None));
    }
}

#[test]
fn what_a_default_means_comes_with_the_next_change_or_restart() {
    let before = took_up(&json!({ "host": "shop.example.com" }));
    let found = rendered(&before);
    let read = reads(&before, &json!({ "terminationGracePeriodSeconds": 45, "ingressClassName": "nginx" }));
    let mut changed = reads(&read, &json!({ "image": "acme/gateway:2" }));
    changed.metadata.generation = Some(5);
    assert_eq!(desired_beside(&changed, &found), rendered(&changed));
    let mut restarted = read;
    restarted.status.as_mut().unwrap().restarts = 1;
    let handled = taken_up::as_asked(&restarted, None, None);
    restarted.status.as_mut().unwrap().handled = Some(handled);
    assert_eq!(desired_beside(&restarted, &found), rendered(&restarted));
}

#[test]
fn scaling_rolls_no_pods_that_a_default_left_alone() {
    let before = took_up(&json!({ "replicas": 1 }));
    let found = rendered(&before);
    let mut read = reads(&before, &json!({ "terminationGracePeriodSeconds": 45 }));
    let still = taken_up::is_still(&read, read.status.as_ref().unwrap().handled.as_ref().unwrap());
    read.status.as_mut().unwrap().handled = Some(still);
    let mut scaled = reads(&read, &json!({ "replicas": 5 }));
    scaled.metadata.generation = Some(5);
    let now = desired_beside(&scaled, &found).deployment;
    let template = |deployment: &Deployment| deployment.spec.as_ref().unwrap().template.clone();
    assert_eq!(now.spec.as_ref().unwrap().replicas, Some(5));
    assert_eq!(template(&now), template(&found.deployment));
    // By its stamp it is another object than the one that was accepted.
    let stamp = |deployment: &Deployment| deployment.metadata.annotations.as_ref().unwrap()[DESIRED_ANNOTATION].clone();
    assert_ne!(stamp(&now), stamp(&found.deployment));
}

#[test]
fn a_child_that_is_made_anew_is_as_the_spec_reads() {
    let read = reads(&took_up(&json!({})), &json!({ "terminationGracePeriodSeconds": 45 }));
    let anew = rendered(&read);
    let now = desired_beside(&read, &anew);
    assert_eq!(difference(&as_json(&now.deployment), &as_json(&anew.deployment)), None);
    assert_eq!(now.deployment.metadata.annotations.unwrap()[INPUTS_ANNOTATION].len(), 18);
}

#[test]
fn an_edit_of_pods_that_nobody_left_alone_is_repaired() {
    let gateway = took_up(&json!({}));
    let mut edited = rendered(&gateway);
    edited.deployment.spec.as_mut().unwrap().template.spec.as_mut().unwrap().host_network = Some(true);
    let now = desired_beside(&gateway, &edited);
    assert!(difference(&as_json(&now.deployment), &as_json(&edited.deployment)).is_some());
}
