//! What children have from their gateway.

use serde_json::json;

use super::super::{INHERITED_ANNOTATIONS, INHERITED_LABELS, Inheritance, KeyPattern};
use super::*;

fn patterns(texts: &[&str]) -> Vec<KeyPattern> {
    texts.iter().map(|text| KeyPattern::parse(text).unwrap()).collect()
}

/// The children of a gateway with these labels and annotations, of which `example.com/*` and `team` are inherited.
fn rendered(labels: &Value, annotations: &Value) -> [Value; 4] {
    let mut gateway = gateway(&json!({ "host": "shop.example.com", "replicas": 2 }));
    gateway.metadata.labels = serde_json::from_value(labels.clone()).unwrap();
    gateway.metadata.annotations = serde_json::from_value(annotations.clone()).unwrap();
    let inheritance = Inheritance {
        labels: patterns(&["example.com/*", "team", "app.kubernetes.io/*"]),
        annotations: patterns(&["example.com/*"]),
    };
    let inherited = inheritance.of(&gateway.metadata);
    let children = render_children(&gateway, &RenderContext { inherited, ..within(Duration::from_secs(300)) });
    [
        as_json(&children.deployment),
        as_json(&children.service),
        as_json(&children.ingress),
        as_json(&children.disruption_budget),
    ]
}

#[test]
fn every_child_and_pod_has_what_is_inherited_and_nothing_else_of_the_gateway() {
    let labels = json!({ "team": "a", "example.com/cost": "7", "example.community/x": "1", "other": "b" });
    let annotations = json!({ "example.com/owner": "me", "team": "none of it" });
    let all = rendered(&labels, &annotations);
    let pods = at(&all[0], "/spec/template/metadata").clone();
    for metadata in all.iter().map(|child| at(child, "/metadata")).chain([&pods]) {
        assert_at(metadata, "/labels/team", &json!("a"));
        assert_at(metadata, "/labels/example.com~1cost", &json!("7"));
        assert_at(metadata, "/annotations/example.com~1owner", &json!("me"));
        for foreign in ["/labels/other", "/labels/example.community~1x", "/annotations/team"] {
            assert_at(metadata, foreign, &Value::Null);
        }
    }
    assert_eq!(*at(&all[1], "/metadata/annotations/phasegate.dev~1inherited-labels"), json!("example.com/cost,team"));
    assert_at(&all[0], "/spec/selector/matchLabels", &json!({ "phasegate.dev/gateway": "shop" }));
}

#[test]
fn a_childs_own_keys_are_not_overridden_and_not_listed_as_the_gateways() {
    let labels = json!({ "app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/part-of": "shops" });
    let [deployment, ..] = rendered(&labels, &Value::Null);
    assert_at(&deployment, "/metadata/labels/app.kubernetes.io~1managed-by", &json!("phasegate"));
    assert_at(&deployment, "/metadata/labels/app.kubernetes.io~1part-of", &json!("shops"));
    let listed = "/metadata/annotations/phasegate.dev~1inherited-labels";
    assert_at(&deployment, listed, &json!("app.kubernetes.io/part-of"));
}

#[test]
fn without_anything_to_inherit_children_are_as_ever() {
    let none = RenderContext {
        inherited: Inheritance::default().of(&gateway(&json!({})).metadata),
        ..within(Duration::from_secs(300))
    };
    assert_eq!(
        render_children(&gateway(&json!({})), &none),
        render_children(&gateway(&json!({})), &within(Duration::from_secs(300)))
    );
}

#[test]
fn what_the_gateway_drops_is_taken_back_and_what_others_added_stays() {
    let both = rendered(&json!({ "team": "a", "example.com/cost": "7" }), &json!({ "example.com/owner": "me" }));
    let one = rendered(&json!({ "team": "b" }), &Value::Null);
    let mut stored = both[0].clone();
    stored["metadata"]["labels"]["theirs"] = json!("x");
    stored["spec"]["template"]["metadata"]["annotations"]["theirs"] = json!("x");
    let mut desired: k8s_openapi::api::apps::v1::Deployment = serde_json::from_value(one[0].clone()).unwrap();
    let found: k8s_openapi::api::apps::v1::Deployment = serde_json::from_value(stored.clone()).unwrap();
    super::super::notice_what_is_not_inherited_any_more(&mut desired.metadata, &found.metadata);
    let desired = as_json(&desired);
    assert!(super::super::difference(&desired, &stored).is_some(), "it is written");

    let merged = super::super::merge(&stored, &desired, None);

    for place in ["/metadata", "/spec/template/metadata"] {
        let metadata = at(&merged, place);
        assert_at(metadata, "/labels/team", &json!("b"));
        assert_at(metadata, "/labels/example.com~1cost", &Value::Null);
        assert_at(metadata, "/annotations/example.com~1owner", &Value::Null);
    }
    assert_at(&merged, "/metadata/labels/theirs", &json!("x"));
    assert_at(&merged, "/spec/template/metadata/annotations/theirs", &json!("x"));
    let annotations = at(&merged, "/metadata/annotations");
    assert_eq!((&annotations[INHERITED_LABELS], &annotations[INHERITED_ANNOTATIONS]), (&json!("team"), &json!("")));
    assert_eq!(super::super::difference(&desired, &merged), None, "and once");
}

#[test]
fn keys_by_which_others_tell_their_objects_are_refused() {
    for (text, sentence) in [
        ("*", "must be a key or prefix/*"),
        ("/*", "must be a key or prefix/*"),
        ("example*", "must be a key or prefix/*"),
        ("a/b/*", "must be a key or prefix/*"),
        ("two words", "must be a key or prefix/*"),
        ("kubernetes.io/*", "keys of Kubernetes and its controllers cannot be inherited"),
        (
            "kubectl.kubernetes.io/last-applied-configuration",
            "keys of Kubernetes and its controllers cannot be inherited",
        ),
        ("nginx.ingress.kubernetes.io/*", "keys of Kubernetes and its controllers cannot be inherited"),
        ("node.k8s.io/x", "keys of Kubernetes and its controllers cannot be inherited"),
        ("argocd.argoproj.io/instance", "other controllers select their objects by it"),
        ("argocd.argoproj.io/*", "other controllers select their objects by it"),
        ("meta.helm.sh/release-name", "other controllers select their objects by it"),
        ("phasegate.dev/*", "other controllers select their objects by it"),
        ("pod-template-hash", "other controllers select their objects by it"),
    ] {
        assert_eq!(KeyPattern::parse(text), Err(sentence.to_owned()), "{text}");
    }
    for text in ["team", "example.com/team", "example.com/*", "app.kubernetes.io/part-of", ""] {
        assert!(KeyPattern::parse(text).is_ok(), "{text}");
    }
}
