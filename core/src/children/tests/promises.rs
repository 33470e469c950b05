//! Promises that were broken once.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::json;

use super::super::{Owner, difference, owner_of};
use super::*;

/// Section 6: lists that we own are compared whole, and hand edits are repaired. A list that
/// is desired to be empty is ours too: `kubectl set env` is the most common of hand edits.
#[test]
fn a_hand_edit_of_what_is_desired_to_be_absent_is_seen() {
    let pod = "/spec/template/spec";
    let container = format!("{pod}/containers/0");
    let desired = deployment(&json!({}));
    let stored = stored_deployment(&desired);
    let unseen: Vec<String> = [
        (format!("{container}/env"), json!([{ "name": "A", "value": "1" }])),
        (format!("{container}/envFrom"), json!([{ "secretRef": { "name": "s" } }])),
        (format!("{container}/command"), json!(["/bin/sh"])),
        (format!("{container}/args"), json!(["-c", "x"])),
        (format!("{container}/resources/limits"), json!({ "cpu": "1" })),
        (format!("{container}/securityContext/privileged"), json!(true)),
        (format!("{container}/securityContext/capabilities/add"), json!(["NET_ADMIN"])),
        (format!("{pod}/initContainers"), json!([{ "name": "more", "image": "more" }])),
        (format!("{pod}/nodeSelector"), json!({ "disk": "ssd" })),
        (format!("{pod}/tolerations"), json!([{ "operator": "Exists" }])),
        (format!("{pod}/imagePullSecrets"), json!([{ "name": "pull" }])),
        (format!("{pod}/hostNetwork"), json!(true)),
        (format!("{pod}/serviceAccountName"), json!("admin")),
    ]
    .into_iter()
    .filter(|(pointer, value)| difference(&desired, &set(&stored, pointer, value.clone())).is_none())
    .map(|(pointer, _)| pointer)
    .collect();
    assert_eq!(unseen, Vec::<String>::new());
}

/// The same of an Ingress: `merge` drops these, but nobody sees that there is something to drop.
#[test]
fn a_hand_edit_of_an_ingress_is_seen() {
    let ingress = as_json(&children(&json!({ "host": "shop.example.com" })).ingress);
    let backend = json!({ "service": { "name": "evil", "port": { "number": 80 } } });
    assert!(difference(&ingress, &set(&ingress, "/spec/defaultBackend", backend)).is_some());
    let tls = json!([{ "hosts": ["shop.example.com"], "secretName": "evil" }]);
    assert!(difference(&ingress, &set(&ingress, "/spec/tls", tls)).is_some());
}

/// Section 6: quantities are normalised. The API server stores `2000` of an extended resource
/// as `2k`; its name has a slash.
#[test]
fn quantities_of_extended_resources_are_numbers() {
    let desired = deployment(&json!({ "resources": { "limits": { "example.com/tokens": "2000" } } }));
    let limit = "/spec/template/spec/containers/0/resources/limits/example.com~1tokens";
    assert_eq!(difference(&desired, &set(&stored_deployment(&desired), limit, json!("2k"))), None);
}

/// I5: an `ApiGateway` of somebody else's group is foreign, not our predecessor.
#[test]
fn a_kind_of_the_same_name_in_another_group_is_foreign() {
    let owner = OwnerReference {
        api_version: "gateways.example.com/v1".to_owned(),
        kind: "ApiGateway".to_owned(),
        name: "shop".to_owned(),
        uid: "uid-of-theirs".to_owned(),
        controller: Some(true),
        block_owner_deletion: None,
    };
    let meta = ObjectMeta { owner_references: Some(vec![owner]), ..ObjectMeta::default() };
    assert!(matches!(owner_of(&meta, &gateway(&json!({}))), Owner::Foreign(_)));
}
