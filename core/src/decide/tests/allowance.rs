//! What gateways may ask for: every entry with what it covers and what it does not, written by hand.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Toleration;
use serde_json::{Value, json};

use super::builders::SETTINGS;
use crate::api::{ApiGatewaySpec, ParentRef};
use crate::decide::allowance::{
    Allowance, Allowed, AllowedParent, Entry, ImagePrefix, NodeLabel, NotAllowed, Taint, Violations, default_parent,
    listed,
};
use crate::shown::is_hidden;

fn spec(fields: Value) -> ApiGatewaySpec {
    let mut spec = json!({ "image": "ghcr.io/acme/gateway:1" });
    spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    serde_json::from_value(spec).unwrap()
}

#[test]
fn an_image_prefix_covers_what_is_below_it_by_whole_parts_of_its_path() {
    let digest = format!("@sha256:{}", "a".repeat(64));
    let rows: &[(&str, &[&str], &[&str])] = &[
        (
            "ghcr.io/acme",
            &["ghcr.io/acme/gateway", "ghcr.io/acme/gateway:1.4", "ghcr.io/acme/team/gateway:1", "ghcr.io/acme"],
            &[
                "ghcr.io/acme-evil/gateway:1",
                "ghcr.io/acmeevil:1",
                "ghcr.io/other/acme/gateway",
                "ghcr.io:443/acme/gateway",
                "evil.io/ghcr.io/acme/gateway",
                "ghcr.io.evil.io/acme/gateway",
                "acme/gateway",
                "ghcr.io",
            ],
        ),
        ("ghcr.io/acme/", &["ghcr.io/acme/gateway"], &["ghcr.io/acme-evil/gateway"]),
        ("ghcr.io", &["ghcr.io/any/thing:1"], &["ghcr.io:5000/any/thing", "docker.io/ghcr.io/x", "ghcr.io:1"]),
        (
            "docker.io/library",
            &["nginx", "nginx:1.27", "docker.io/nginx", "docker.io/library/nginx:1", "index.docker.io/library/nginx"],
            &["acme/nginx", "docker.io/acme/nginx", "library.evil.io/nginx", "quay.io/library/nginx"],
        ),
        ("index.docker.io/acme", &["acme/gateway:1", "docker.io/acme/gateway"], &["gateway", "docker.io/acme"]),
        ("docker.io/library/nginx", &["nginx:1"], &["nginx-evil:1", "docker.io/nginx/nginx"]),
        (
            "registry.local:5000/team",
            &["registry.local:5000/team/gateway:1"],
            &["registry.local/team/gateway:1", "registry.local:5001/team/gateway", "registry.local:5000/gateway"],
        ),
        ("localhost/team", &["localhost/team/gateway"], &["localhost:5000/team/gateway", "docker.io/localhost/team"]),
    ];
    for (prefix, covered, others) in rows {
        let prefix = ImagePrefix::parse(prefix).unwrap();
        for image in *covered {
            assert!(prefix.covers(image), "{prefix:?} {image}");
        }
        for image in *others {
            assert!(!prefix.covers(image), "{prefix:?} {image}");
        }
    }
    let acme = ImagePrefix::parse("ghcr.io/acme").unwrap();
    assert!(acme.covers(&format!("ghcr.io/acme/gateway{digest}")));
    assert!(acme.covers(&format!("ghcr.io/acme/gateway:1{digest}")));
    assert!(!acme.covers(&format!("ghcr.io/evil/gateway:1{digest}")));
}

#[test]
fn what_is_no_image_reference_is_below_no_prefix() {
    let prefix = ImagePrefix::parse("ghcr.io/acme").unwrap();
    for image in [
        "",
        "ghcr.io/acme/",
        "ghcr.io/acme//x",
        "ghcr.io/acme/../evil/x",
        "ghcr.io/acme@evil.io/x",
        "ghcr.io/acme:1@evil.io/x",
        "ghcr.io/acme/x:1:2/y",
        "ghcr.io/Acme/x",
        " ghcr.io/acme/x",
        "https://ghcr.io/acme/x",
        "ghcr.io./acme/x",
    ] {
        assert!(!prefix.covers(image), "{image:?}");
    }
}

#[test]
fn a_prefix_that_could_be_read_in_two_ways_is_refused() {
    for (text, why) in [
        ("acme", "registry"),
        ("acme/gateway", "registry"),
        ("https://ghcr.io/acme", "registry"),
        ("*.io/acme", "registry"),
        ("ghcr.io/acme/*", "wildcard"),
        ("ghcr.io/acme/gateway:1", "tag"),
        ("ghcr.io/acme//x", "repository"),
        ("ghcr.io/ACME", "repository"),
        ("ghcr.io:port/acme", "registry"),
        ("/", "registry"),
    ] {
        let refused = ImagePrefix::parse(text).unwrap_err();
        assert!(refused.contains(why), "{text}: {refused}");
    }
}

#[test]
fn a_node_label_covers_itself_or_all_of_its_values_or_all_keys_below_a_prefix() {
    let rows: &[(&str, &str, Option<&str>, bool)] = &[
        ("pool=tenants", "pool", Some("tenants"), true),
        ("pool=tenants", "pool", Some("system"), false),
        // A topology key asks for every value.
        ("pool=tenants", "pool", None, false),
        ("pool=", "pool", Some(""), true),
        ("pool=", "pool", Some("x"), false),
        ("pool", "pool", Some("anything"), true),
        ("pool", "pool", None, true),
        ("pool", "pools", Some("tenants"), false),
        ("pool", "example.com/pool", Some("tenants"), false),
        ("example.com/*", "example.com/pool", Some("tenants"), true),
        ("example.com/*", "example.com/pool", None, true),
        ("example.com/*", "sub.example.com/pool", Some("tenants"), false),
        ("example.com/*", "example.com.evil/pool", Some("tenants"), false),
    ];
    for (label, key, value, covered) in rows {
        let read = NodeLabel::parse(label).unwrap();
        assert_eq!(read.covers(key, *value), *covered, "{label}: {key} {value:?}");
    }
    for wrong in ["=x", "a/b/c", "a b", "/x", "x/", "*", "a/*/b", "a/b/*", "a/*=x", "a=b=c", "a=b/c", "ä"] {
        assert!(NodeLabel::parse(wrong).unwrap_err().contains("key"), "{wrong}");
    }
}

fn toleration(key: &str, operator: &str, value: &str, effect: &str) -> Toleration {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Toleration {
        key: some(key),
        operator: some(operator),
        value: some(value),
        effect: some(effect),
        toleration_seconds: None,
    }
}

#[test]
fn a_taint_covers_a_toleration_only_if_it_is_all_that_this_tolerates() {
    const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";
    let rows: &[(&str, Toleration, bool)] = &[
        ("pool", toleration("pool", "Exists", "", ""), true),
        ("pool", toleration("pool", "Equal", "tenants", "NoSchedule"), true),
        ("pool", toleration("pool", "Gt", "5", ""), true),
        ("pool=tenants", toleration("pool", "", "tenants", ""), true),
        ("pool=tenants", toleration("pool", "Equal", "tenants", "NoExecute"), true),
        ("pool=tenants", toleration("pool", "Equal", "system", ""), false),
        ("pool=tenants", toleration("pool", "Exists", "", ""), false),
        // An operator of a newer Kubernetes that compares.
        ("pool=5", toleration("pool", "Gt", "5", ""), false),
        ("pool=", toleration("pool", "Equal", "", ""), true),
        ("pool:NoSchedule", toleration("pool", "Exists", "", "NoSchedule"), true),
        ("pool:NoSchedule", toleration("pool", "Exists", "", "NoExecute"), false),
        ("pool:NoSchedule", toleration("pool", "Exists", "", ""), false),
        ("pool=tenants:NoSchedule", toleration("pool", "Equal", "tenants", "NoSchedule"), true),
        ("pool=tenants:NoSchedule", toleration("pool", "Equal", "tenants", ""), false),
        ("example.com/*:NoSchedule", toleration("example.com/pool", "Exists", "", "NoSchedule"), true),
        ("example.com/*", toleration(CONTROL_PLANE, "Exists", "", "NoSchedule"), false),
        // Everything, control-plane nodes included.
        ("pool", toleration("", "Exists", "", ""), false),
        ("pool", toleration("", "Exists", "", "NoSchedule"), false),
    ];
    for (taint, toleration, covered) in rows {
        assert_eq!(Taint::parse(taint).unwrap().covers(toleration), *covered, "{taint}: {toleration:?}");
    }
    for (wrong, why) in [("pool:Never", "effect"), (":NoSchedule", "key"), ("pool=a:b:NoSchedule", "key"), ("*", "key")]
    {
        assert!(Taint::parse(wrong).unwrap_err().contains(why), "{wrong}");
    }
}

#[test]
fn a_list_has_entries_or_the_word_none_and_an_error_names_the_entry() {
    let read = |text: &str| listed::<Taint>(text).map(|list| list.len());
    assert_eq!(read("a, b:NoExecute ,c=d,"), Ok(3));
    assert_eq!(read("none"), Ok(0));
    assert_eq!(read(""), Ok(0));
    assert_eq!(read("a, b c"), Err("\"b c\": must be key, key=value or prefix/*".to_owned()));
    assert!(read("a,none").unwrap_err().contains("only entry"));
    // An empty variable is one that is not set.
    assert_eq!(Allowed::<Vec<Taint>>::list_of_flag(""), Ok(Allowed::Any));
    assert_eq!(Allowed::<Vec<Taint>>::list_of_flag("none"), Ok(Allowed::Only(Vec::new())));
    assert_eq!(Allowed::number_of_flag("3"), Ok(Allowed::Only(3)));
    for wrong in ["-1", "1001", "three", "1.5", " "] {
        assert!(Allowed::number_of_flag(wrong).unwrap_err().contains("number"), "{wrong:?}");
    }
    assert!(Allowed::duration_of_flag("forever").unwrap_err().contains("duration"));
}

fn annotated(annotations: &[(&str, &str)]) -> Allowance {
    let map: BTreeMap<String, String> =
        annotations.iter().map(|(key, value)| (format!("phasegate.dev/{key}"), (*value).to_owned())).collect();
    Allowance::of_namespace(&map)
}

fn narrowed(fields: Value, annotations: &[(&str, &str)]) -> Option<NotAllowed> {
    let found = Violations::of(&spec(fields), "tenants", &Allowance::ANYTHING, &annotated(annotations));
    found.pods.or(found.ingress_class).or(found.parent_ref)
}

#[test]
fn a_gateway_attaches_its_route_to_the_gateways_that_both_allow_and_to_the_default_unasked() {
    let route = |parents: Value| json!({ "exposure": "HTTPRoute", "parentRefs": parents });
    let public = || json!([{ "namespace": "infra", "name": "public" }]);
    let own = || json!([{ "name": "ours" }]);
    let allows = |list| [("allowed-parent-refs", list)];
    for (asked, list) in [
        (route(public()), "infra/public"),
        (route(public()), "infra/*"),
        (route(own()), "tenants/ours"),
        (route(own()), "./ours"),
        (route(own()), "infra/public, ./*"),
        (route(json!([{ "namespace": "tenants", "name": "ours" }])), "./*"),
        (route(json!([])), "none"),
        (json!({ "exposure": "Ingress", "parentRefs": public() }), "none"),
        (json!({ "parentRefs": public() }), "none"),
    ] {
        assert_eq!(narrowed(asked.clone(), &allows(list)), None, "{asked} {list}");
    }
    assert_eq!(narrowed(route(public()), &[]), None, "nobody narrows it");
    for (asked, list, told) in [
        (route(public()), "infra/private", ["spec.parentRefs[0]", "\"infra/public\"", "allows only infra/private"]),
        (route(public()), "./*", ["spec.parentRefs[0]", "\"infra/public\"", "allows only ./*"]),
        (route(public()), "none", ["spec.parentRefs[0]", "\"infra/public\"", "allows none"]),
        (route(own()), "infra/ours", ["spec.parentRefs[0]", "\"tenants/ours\"", "allows only infra/ours"]),
        (
            json!({ "exposure": "Both", "parentRefs": [{ "name": "ours" }, { "namespace": "other", "name": "ours" }] }),
            "./*",
            ["spec.parentRefs[1]", "\"other/ours\"", "allows only ./*"],
        ),
    ] {
        let violation = narrowed(asked.clone(), &allows(list)).unwrap();
        assert_eq!(words(&violation), told, "{asked} {list}");
    }
    for wrong in ["public", "infra/public/https", "/public", "infra/", "*/public", "Infra/public", "infra/pub*"] {
        assert!(AllowedParent::parse(wrong).is_err(), "{wrong}");
        let closed = narrowed(route(public()), &allows(wrong)).unwrap();
        assert!(closed.instead.contains("and allows nothing"), "{wrong}: {}", closed.instead);
    }
}

#[test]
fn a_default_parent_is_a_gateway_with_its_namespace_and_perhaps_a_listener() {
    let parent = |namespace: &str, name: &str, listener: Option<&str>| ParentRef {
        namespace: Some(namespace.to_owned()),
        name: name.to_owned(),
        section_name: listener.map(str::to_owned),
    };
    assert_eq!(default_parent("infra/public"), Ok(parent("infra", "public", None)));
    assert_eq!(default_parent("infra/public/https"), Ok(parent("infra", "public", Some("https"))));
    for wrong in ["public", "infra/public/https/x", "infra/", "./public", "infra/*", ""] {
        assert!(default_parent(wrong).is_err(), "{wrong}");
    }
}

fn words(violation: &NotAllowed) -> [&str; 3] {
    [&violation.field, &violation.asked, &violation.instead]
}

#[test]
fn what_a_gateway_may_not_have_is_told_by_field_with_what_it_asks_and_what_it_may_have() {
    let spread =
        |key: &str, when: &str| json!({ "topologySpread": [{ "topologyKey": key, "whenUnsatisfiable": when }] });
    let rows: &[(Value, &str, &str, [&str; 3])] = &[
        (
            json!({ "image": "nginx:1" }),
            "allowed-image-prefixes",
            "ghcr.io/acme, quay.io",
            ["spec.image", "\"nginx:1\" (docker.io/library/nginx)", "allows only ghcr.io/acme, quay.io"],
        ),
        (
            json!({ "image": "ghcr.io/evil/x@sha256:00" }),
            "allowed-image-prefixes",
            "ghcr.io/acme",
            ["spec.image", "\"ghcr.io/evil/x@sha256:00\"", "allows only ghcr.io/acme"],
        ),
        (
            json!({ "nodeSelector": { "pool": "tenants", "node-role.kubernetes.io/control-plane": "" } }),
            "allowed-node-labels",
            "pool=tenants",
            ["spec.nodeSelector", "\"node-role.kubernetes.io/control-plane=\"", "allows only pool=tenants"],
        ),
        (
            spread("node-role.kubernetes.io/control-plane", "DoNotSchedule"),
            "allowed-node-labels",
            "none",
            ["spec.topologySpread[0].topologyKey", "\"node-role.kubernetes.io/control-plane\"", "allows none"],
        ),
        (
            spread("pool", "ScheduleAnyway"),
            "allowed-node-labels",
            "pool=tenants",
            ["spec.topologySpread[0].topologyKey", "\"pool\"", "allows only pool=tenants"],
        ),
        (
            json!({ "tolerations": [{ "key": "pool", "operator": "Exists" }, { "operator": "Exists" }] }),
            "allowed-tolerations",
            "pool",
            ["spec.tolerations[1]", "every taint", "allows only pool"],
        ),
        (
            json!({ "tolerations": [{ "key": "a", "value": "b", "effect": "NoExecute" }] }),
            "allowed-tolerations",
            "none",
            ["spec.tolerations[0]", "\"a=b:NoExecute\"", "allows none"],
        ),
        (json!({ "replicas": 6 }), "max-replicas", "5", ["spec.replicas", "6", "allows at most 5"]),
        (json!({}), "max-replicas", "0", ["spec.replicas", "1", "allows at most 0"]),
        (
            json!({ "startDeadline": "2h" }),
            "max-start-deadline",
            "90m",
            ["spec.startDeadline", "2h", "allows at most 1h30m"],
        ),
        (
            json!({ "ingressClassName": "internal" }),
            "allowed-ingress-classes",
            "public",
            ["spec.ingressClassName", "\"internal\"", "allows only public"],
        ),
    ];
    for (fields, annotation, value, told) in rows {
        let violation =
            narrowed(fields.clone(), &[(annotation, value)]).unwrap_or_else(|| panic!("{annotation}: {fields}"));
        assert_eq!(words(&violation), *told);
        assert_eq!(violation.by, format!("the namespace annotation phasegate.dev/{annotation}"));
    }
}

#[test]
fn what_a_gateway_may_have_is_no_breach() {
    let rows: &[(Value, &str, &str)] = &[
        (json!({}), "allowed-image-prefixes", "quay.io, ghcr.io/acme"),
        (json!({ "nodeSelector": { "pool": "tenants" } }), "allowed-node-labels", "pool=tenants"),
        (json!({}), "allowed-node-labels", "none"),
        (
            json!({ "topologySpread": [{ "topologyKey": "topology.kubernetes.io/zone" }, { "topologyKey": "kubernetes.io/hostname" }] }),
            "allowed-node-labels",
            "none",
        ),
        (json!({ "tolerations": [{ "key": "pool", "operator": "Exists" }] }), "allowed-tolerations", "pool"),
        (json!({}), "allowed-tolerations", "none"),
        (json!({ "replicas": 5 }), "max-replicas", "5"),
        (json!({ "startDeadline": "90m" }), "max-start-deadline", "1h30m"),
        (json!({}), "max-start-deadline", "1s"),
        (json!({ "ingressClassName": "public" }), "allowed-ingress-classes", "public"),
        // The cluster's default.
        (json!({}), "allowed-ingress-classes", "none"),
    ];
    for (fields, annotation, value) in rows {
        assert_eq!(narrowed(fields.clone(), &[(annotation, value)]), None, "{annotation}: {fields}");
    }
}

#[test]
fn what_cannot_be_read_allows_nothing_and_says_so() {
    let asks = json!({
        "nodeSelector": { "a": "b" }, "tolerations": [{ "key": "a" }], "ingressClassName": "public", "replicas": 0,
        "startDeadline": "1s",
    });
    for (annotation, value, field) in [
        ("allowed-image-prefixes", "ghcr.io/acme, acme", "spec.image"),
        ("allowed-node-labels", "a b", "spec.nodeSelector"),
        ("allowed-tolerations", "a:Sometimes", "spec.tolerations[0]"),
        ("allowed-ingress-classes", "Public", "spec.ingressClassName"),
        ("max-replicas", "many", "spec.replicas"),
        ("max-start-deadline", "long", "spec.startDeadline"),
    ] {
        let violation = narrowed(asks.clone(), &[(annotation, value)]).unwrap_or_else(|| panic!("{annotation}"));
        assert_eq!(violation.field, field);
        assert!(violation.instead.starts_with("is invalid (") && violation.instead.ends_with("and allows nothing"));
    }
    // A gateway that names none would have the default, which may be longer than what somebody meant.
    assert!(narrowed(json!({}), &[("max-start-deadline", "")]).is_some());
}

#[test]
fn an_annotation_narrows_further_and_never_gives_what_a_flag_takes() {
    let flags = Allowance {
        image_prefixes: Allowed::list_of_flag("ghcr.io").unwrap(),
        max_replicas: Allowed::number_of_flag("3").unwrap(),
        ..Allowance::ANYTHING
    };
    let by = |fields: Value, annotations: &[(&str, &str)]| {
        Violations::of(&spec(fields), "tenants", &flags, &annotated(annotations)).pods.map(|violation| violation.by)
    };
    let flag = |name: &str| Some(format!("the operator flag --{name}"));
    let annotation = |name: &str| Some(format!("the namespace annotation phasegate.dev/{name}"));
    assert_eq!(by(json!({}), &[]), None);
    assert_eq!(by(json!({}), &[("allowed-image-prefixes", "ghcr.io/acme")]), None);
    let other = [("allowed-image-prefixes", "ghcr.io/other")];
    assert_eq!(by(json!({}), &other), annotation("allowed-image-prefixes"));
    let wider = [("allowed-image-prefixes", "docker.io"), ("max-replicas", "10")];
    assert_eq!(by(json!({ "image": "nginx" }), &wider), flag("allowed-image-prefixes"));
    assert_eq!(by(json!({ "replicas": 4 }), &[("max-replicas", "10")]), flag("max-replicas"));
    assert_eq!(by(json!({ "replicas": 3 }), &[("max-replicas", "2")]), annotation("max-replicas"));
}

#[test]
fn a_gateway_that_names_no_deadline_has_the_default_or_the_longest_that_its_namespace_allows() {
    let deadline = |annotations: &[(&str, &str)]| SETTINGS.narrowed_by(&annotated(annotations)).start_deadline;
    assert_eq!(deadline(&[]), Duration::from_secs(300));
    assert_eq!(deadline(&[("max-start-deadline", "2m")]), Duration::from_secs(120));
    assert_eq!(deadline(&[("max-start-deadline", "1h")]), Duration::from_secs(300));
    assert_eq!(deadline(&[("max-start-deadline", "x")]), Duration::from_secs(300));
}

#[test]
fn a_long_list_is_told_in_part_and_others_words_on_one_line() {
    let many: Vec<String> = (0..40).map(|number| format!("r{number}.io")).collect();
    let violation = narrowed(json!({}), &[("allowed-image-prefixes", &many.join(","))]).unwrap();
    assert!(violation.instead.ends_with("r9.io and 30 more"), "{}", violation.instead);
    let odd = "x\u{1b}[2J\u{202e}\n".repeat(500);
    for (asks, annotation, value) in [
        (json!({ "image": odd }), "allowed-image-prefixes", "none"),
        (json!({ "nodeSelector": { "a": odd } }), "allowed-node-labels", "none"),
        (json!({ "topologySpread": [{ "topologyKey": odd }] }), "allowed-node-labels", "none"),
        (json!({ "tolerations": [{ "key": odd, "value": odd, "effect": odd }] }), "allowed-tolerations", "none"),
        (json!({ "ingressClassName": odd }), "allowed-ingress-classes", "none"),
        (json!({ "exposure": "HTTPRoute", "parentRefs": [{ "name": odd }] }), "allowed-parent-refs", "none"),
        // What an admin wrote, who may have pasted it.
        (json!({}), "allowed-image-prefixes", odd.as_str()),
        (json!({ "nodeSelector": { "a": "b" } }), "allowed-node-labels", odd.as_str()),
        (json!({ "tolerations": [{ "key": "a" }] }), "allowed-tolerations", odd.as_str()),
        (json!({ "ingressClassName": "public" }), "allowed-ingress-classes", odd.as_str()),
    ] {
        let NotAllowed { asked, instead, .. } = narrowed(asks, &[(annotation, value)]).unwrap();
        let told = format!("{asked} {instead}");
        assert!(told.contains("x[2J") || told.contains("x\\u{1b}[2J"), "{annotation}: {told}");
        assert!(told.chars().count() < 400 && !told.contains(is_hidden), "{annotation}: {told:?}");
    }
}
