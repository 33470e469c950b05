//! Whose an object is.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::json;

use super::super::{NAME_LABEL, Owner, UID_LABEL, owner_of};
use super::*;

fn owner(api_version: &str, kind: &str, name: &str, uid: &str, controller: Option<bool>) -> OwnerReference {
    OwnerReference {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
        controller,
        block_owner_deletion: None,
    }
}

fn gateways(name: &str, uid: &str) -> OwnerReference {
    owner("phasegate.dev/v1alpha1", "ApiGateway", name, uid, Some(true))
}

fn whose(owners: Vec<OwnerReference>, uid_label: Option<&str>) -> Owner {
    let meta = ObjectMeta {
        owner_references: Some(owners),
        labels: uid_label.map(|uid| [(UID_LABEL.to_owned(), uid.to_owned())].into()),
        ..ObjectMeta::default()
    };
    owner_of(&meta, &gateway(&json!({})))
}

fn is_foreign(owner: &Owner, named: &str) -> bool {
    matches!(owner, Owner::Foreign(who) if who.contains(named))
}

#[test]
fn what_is_rendered_is_ours() {
    let all = children(&json!({ "host": "shop.example.com", "replicas": 2 }));
    let gateway = gateway(&json!({}));
    assert_eq!(owner_of(&all.deployment.metadata, &gateway), Owner::Ours);
    assert_eq!(owner_of(&all.service.metadata, &gateway), Owner::Ours);
    assert_eq!(owner_of(&all.ingress.unwrap().metadata, &gateway), Owner::Ours);
    assert_eq!(owner_of(&all.disruption_budget.unwrap().metadata, &gateway), Owner::Ours);
}

#[test]
fn the_controllers_uid_decides() {
    assert_eq!(whose(vec![gateways("shop", "uid-of-shop")], None), Owner::Ours);
    let release = owner("helm.example.com/v1", "Release", "shop", "uid-of-release", Some(true));
    let helm = whose(vec![release.clone()], None);
    assert!(is_foreign(&helm, "Release") && is_foreign(&helm, "shop"), "{helm:?}");
    let labelled = whose(vec![release], Some("uid-of-shop"));
    assert!(is_foreign(&labelled, "Release"), "a label does not outweigh a controller: {labelled:?}");
}

#[test]
fn an_owner_that_is_no_controller_decides_nothing() {
    let app = owner("example.com/v1", "App", "app", "uid-of-app", None);
    let not_ours = owner("phasegate.dev/v1alpha1", "ApiGateway", "shop", "uid-of-shop", Some(false));
    assert_eq!(whose(vec![app.clone()], Some("uid-of-shop")), Owner::Ours);
    assert!(is_foreign(&whose(vec![app.clone()], None), "an unknown owner"));
    assert!(is_foreign(&whose(vec![not_ours], None), "an unknown owner"));
    assert_eq!(whose(vec![app, gateways("shop", "uid-of-shop")], None), Owner::Ours);
}

#[test]
fn an_earlier_gateway_of_the_same_name_is_a_predecessor() {
    assert_eq!(whose(vec![gateways("shop", "uid-of-an-earlier-shop")], None), Owner::Predecessor);
    assert_eq!(
        whose(vec![gateways("shop", "uid-of-an-earlier-shop")], Some("uid-of-shop")),
        Owner::Predecessor,
        "a label does not outweigh a controller"
    );
    assert!(is_foreign(&whose(vec![gateways("other", "uid-of-other")], None), "other"));
    let other_kind = owner("example.com/v1", "App", "shop", "uid-of-app", Some(true));
    assert!(is_foreign(&whose(vec![other_kind], None), "App"));
}

#[test]
fn without_a_controller_the_uid_label_decides() {
    assert_eq!(whose(vec![], Some("uid-of-shop")), Owner::Ours);
    let labelled = |uid: &str, name: &str| {
        let labels = [(UID_LABEL.to_owned(), uid.to_owned()), (NAME_LABEL.to_owned(), name.to_owned())];
        owner_of(&ObjectMeta { labels: Some(labels.into()), ..ObjectMeta::default() }, &gateway(&json!({})))
    };
    assert_eq!(labelled("uid-of-shop", "shop"), Owner::Ours);
    assert_eq!(labelled("uid-of-an-earlier-shop", "shop"), Owner::Ours, "orphaned, or restored without its owner");
    assert!(is_foreign(&labelled("uid-of-another", "another"), "an unknown owner"));
    assert!(is_foreign(&whose(vec![], Some("uid-of-another")), "an unknown owner"));
    assert!(is_foreign(&whose(vec![], None), "an unknown owner"));
    assert!(is_foreign(&owner_of(&ObjectMeta::default(), &gateway(&json!({}))), "an unknown owner"));
}
