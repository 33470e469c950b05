//! The HTTPRoute: what is rendered of it, and what its controllers say.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::{
    Children, HttpRoute, MOST_HOSTNAMES, Parent, RouteStatus, Verdict, difference, hostnames, keep_hostnames, parents,
};
use super::*;
use crate::api::ParentRef;

fn context(hosts: &[&str]) -> RenderContext {
    let default = ParentRef { namespace: Some("infra".to_owned()), name: "public".to_owned(), section_name: None };
    RenderContext {
        environment_hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        default_parent_refs: vec![default],
        ..within(Duration::from_secs(300))
    }
}

fn routed(spec: &Value, hosts: &[&str]) -> Children {
    render_children(&gateway(spec), &context(hosts))
}

fn names(route: &HttpRoute) -> Vec<&str> {
    hostnames(route).collect()
}

#[test]
fn an_exposure_decides_which_of_ingress_and_route_there_are_and_without_a_host_there_is_none() {
    for (exposure, ingress, route) in [
        (json!({}), true, false),
        (json!({ "exposure": "Ingress" }), true, false),
        (json!({ "exposure": "HTTPRoute" }), false, true),
        (json!({ "exposure": "Both" }), true, true),
        (json!({ "exposure": "None" }), false, false),
    ] {
        let with_host = |host: &str| {
            let mut spec = exposure.clone();
            spec[host] = json!("shop.example.com");
            spec
        };
        let children = routed(&with_host("host"), &[]);
        assert_eq!((children.ingress.is_some(), children.http_route.is_some()), (ingress, route), "{exposure}");
        let of_environment = routed(&exposure, &["dev.example.com"]);
        assert_eq!((of_environment.ingress.is_some(), of_environment.http_route.is_some()), (ingress, route));
        let hostless = routed(&exposure, &[]);
        assert_eq!((hostless.ingress, hostless.http_route), (None, None), "{exposure}");
    }
    let nowhere = render_children(
        &gateway(&json!({ "exposure": "HTTPRoute", "host": "shop.example.com" })),
        &within(Duration::from_secs(300)),
    );
    assert_eq!(nowhere.http_route, None, "no Gateway is named");
}

#[test]
fn a_route_is_attached_to_the_gateways_that_are_named_and_routes_every_host_to_the_service() {
    let asked = json!({
        "exposure": "HTTPRoute", "host": "shop.example.com", "path": "/v1",
        "parentRefs": [{ "name": "ours" }, { "namespace": "infra", "name": "public", "sectionName": "https" }],
    });
    let route = routed(&asked, &["*.dev.example.com"]).http_route.unwrap();
    let json = as_json(&route);
    assert_at(&json, "/apiVersion", &json!("gateway.networking.k8s.io/v1"));
    assert_at(&json, "/kind", &json!("HTTPRoute"));
    assert_at(&json, "/metadata/labels/phasegate.dev~1gateway-uid", &json!("uid-of-shop"));
    assert_at(&json, "/metadata/ownerReferences/0/uid", &json!("uid-of-shop"));
    let spec = json!({
        "parentRefs": [
            { "group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "tenants", "name": "ours" },
            { "group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "infra", "name": "public", "sectionName": "https" },
        ],
        "hostnames": ["shop.example.com", "*.dev.example.com"],
        "rules": [{
            "matches": [{ "path": { "type": "PathPrefix", "value": "/v1" } }],
            "backendRefs": [{ "group": "", "kind": "Service", "name": "shop", "port": 80, "weight": 1 }],
        }],
    });
    assert_at(&json, "/spec", &spec);
    let read: HttpRoute = serde_json::from_value(json).unwrap();
    assert_eq!(read, route, "it is read as it was written");

    let default = routed(&json!({ "exposure": "HTTPRoute", "host": "shop.example.com" }), &[]).http_route.unwrap();
    let parent =
        json!([{ "group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "infra", "name": "public" }]);
    assert_at(&as_json(&default), "/spec/parentRefs", &parent);
    assert_at(&as_json(&default), "/spec/rules/0/matches/0/path/value", &json!("/"));
}

#[test]
fn a_route_has_as_many_hosts_as_its_definition_takes_and_an_ingress_has_all() {
    let hosts: Vec<String> = (0..20).map(|number| format!("e{number:02}.example.com")).collect();
    let mut context = context(&hosts.iter().map(String::as_str).collect::<Vec<_>>());
    context.without_room = vec!["e00.example.com".to_owned()];
    let gateway = gateway(&json!({ "exposure": "Both", "host": "shop.example.com" }));
    let children = render_children(&gateway, &context);
    let route = children.http_route.unwrap();
    assert_eq!(names(&route).len(), MOST_HOSTNAMES);
    assert_eq!(names(&route)[..2], ["shop.example.com", "e01.example.com"]);
    assert_eq!(super::super::routed_hosts(&children.ingress.unwrap()).len(), 21);
}

#[test]
fn what_others_put_into_a_route_is_seen() {
    let desired =
        as_json(&routed(&json!({ "exposure": "HTTPRoute", "host": "shop.example.com" }), &[]).http_route.unwrap());
    let edited = |pointer: &str, key: &str, value: Value| {
        let mut found = desired.clone();
        found.pointer_mut(pointer).unwrap()[key] = value;
        // As a watch reads it.
        let read: HttpRoute = serde_json::from_value(found).unwrap();
        difference(&desired, &as_json(&read))
    };
    assert_eq!(edited("/metadata/labels", "theirs", json!("x")), None);
    for (pointer, key, value) in [
        ("/spec", "hostnames", json!(["shop.example.com", "other.example.com"])),
        ("/spec/rules/0", "timeouts", json!({ "request": "1s" })),
        ("/spec/rules/0", "filters", json!([{ "type": "URLRewrite" }])),
        ("/spec/rules/0/backendRefs/0", "weight", json!(7)),
        ("/spec/parentRefs/0", "port", json!(8080)),
    ] {
        assert!(edited(pointer, key, value).is_some(), "{pointer}/{key}");
    }
}

#[test]
fn a_route_that_is_kept_has_the_hosts_that_it_may_have_and_is_none_without_any() {
    let found = routed(
        &json!({ "exposure": "HTTPRoute", "host": "old.example.com" }),
        &["gone.example.com", "stays.example.com"],
    );
    let found = found.http_route.unwrap();
    let rendered = routed(&json!({ "exposure": "HTTPRoute", "host": "taken.example.com" }), &["added.example.com"]);
    let kept = |rendered: Option<&HttpRoute>, hosts: &[&str]| {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        keep_hostnames(&found, rendered, &hosts)
    };
    let rendered = rendered.http_route;
    let some = kept(rendered.as_ref(), &["old.example.com", "added.example.com", "stays.example.com"]).unwrap();
    assert_eq!(names(&some), ["old.example.com", "added.example.com", "stays.example.com"]);
    let without = kept(None, &["old.example.com", "added.example.com"]).unwrap();
    assert_eq!(names(&without), ["old.example.com"]);
    let all = kept(None, &["old.example.com", "gone.example.com", "stays.example.com"]).unwrap();
    assert_eq!(difference(&as_json(&all), &as_json(&found)), None);
    // One without hostnames catches everybody's traffic.
    assert_eq!(kept(rendered.as_ref(), &[]), None);
}

/// What is said of a route of generation 3 that is attached to `infra/public`.
fn said(parents_said: Value) -> Vec<Parent> {
    let spec = json!({ "parentRefs": [{ "group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "infra", "name": "public" }] });
    let status: RouteStatus = serde_json::from_value(json!({ "parents": parents_said })).unwrap();
    parents(&spec, Some(&status), "tenants", 3)
}

fn answer(conditions: &[(&str, &str, i64)]) -> Value {
    let conditions: Vec<Value> = conditions
        .iter()
        .map(|(type_, status, generation)| {
            json!({
                "type": type_, "status": status, "observedGeneration": generation, "reason": format!("Is{type_}"),
                "message": "because", "lastTransitionTime": "2026-01-02T03:04:05Z",
            })
        })
        .collect();
    json!({ "controllerName": "example.com/c", "parentRef": { "namespace": "infra", "name": "public" }, "conditions": conditions })
}

#[test]
fn a_parent_accepts_a_route_when_it_is_accepted_and_resolved_at_its_generation() {
    let refused = |condition: &str| Verdict::Refused {
        condition: condition.to_owned(),
        reason: format!("Is{condition}"),
        message: "because".to_owned(),
    };
    type Row<'a> = (&'a [(&'a str, &'a str, i64)], Verdict, bool);
    let rows: &[Row<'_>] = &[
        (&[("Accepted", "True", 3), ("ResolvedRefs", "True", 3)], Verdict::Accepted, true),
        (&[("Accepted", "True", 3), ("ResolvedRefs", "True", 3), ("Programmed", "True", 3)], Verdict::Accepted, true),
        (&[("Accepted", "True", 3), ("ResolvedRefs", "True", 3), ("Programmed", "Unknown", 3)], Verdict::Silent, true),
        (
            &[("Accepted", "True", 3), ("ResolvedRefs", "True", 3), ("Programmed", "False", 3)],
            refused("Programmed"),
            false,
        ),
        (&[("Accepted", "True", 3)], Verdict::Silent, false),
        (&[("Accepted", "True", 2), ("ResolvedRefs", "True", 2)], Verdict::Silent, true),
        (&[("Accepted", "True", 3), ("ResolvedRefs", "True", 2)], Verdict::Silent, true),
        (&[("Accepted", "Unknown", 3), ("ResolvedRefs", "True", 3)], Verdict::Silent, false),
        (&[("Accepted", "False", 2), ("ResolvedRefs", "True", 2)], Verdict::Silent, false),
        (&[("Accepted", "False", 3), ("ResolvedRefs", "True", 3)], refused("Accepted"), false),
        (&[("Accepted", "True", 3), ("ResolvedRefs", "False", 3)], refused("ResolvedRefs"), false),
        (&[], Verdict::Silent, false),
    ];
    for (conditions, verdict, serves) in rows {
        let expected = Parent { name: "infra/public".to_owned(), verdict: verdict.clone(), serves: *serves };
        assert_eq!(said(json!([answer(conditions)])), [expected], "{conditions:?}");
    }
}

#[test]
fn an_answer_counts_for_the_parent_that_it_names_and_silence_is_told() {
    let accepted = || answer(&[("Accepted", "True", 3), ("ResolvedRefs", "True", 3)]);
    let silent = Parent { name: "infra/public".to_owned(), verdict: Verdict::Silent, serves: false };
    let silent = [silent];
    assert_eq!(said(json!([])), silent);
    for other in [
        json!({ "name": "public" }),
        json!({ "namespace": "infra", "name": "other" }),
        json!({ "namespace": "infra", "name": "public", "sectionName": "https" }),
        json!({ "namespace": "infra", "name": "public", "kind": "Service", "group": "" }),
    ] {
        let mut anothers = accepted();
        anothers["parentRef"] = other.clone();
        assert_eq!(said(json!([anothers])), silent, "{other}");
    }
    let refused = answer(&[("Accepted", "False", 3), ("ResolvedRefs", "True", 3)]);
    assert_eq!(said(json!([refused, accepted()]))[0].verdict, Verdict::Accepted, "of two controllers one serves it");
    let named = json!({ "parentRefs": [{ "name": "ours", "sectionName": "https" }] });
    assert_eq!(parents(&named, None, "tenants", 3)[0].name, "tenants/ours/https");
    assert_eq!(parents(&json!({}), None, "tenants", 3), []);
}
