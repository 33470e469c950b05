//! What is rendered of a gateway.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::{Inherited, desired, difference, render, routes, selector, url};
use super::*;
use crate::api::Phase;

const POD: &str = "/spec/template/spec";
const CONTAINER: &str = "/spec/template/spec/containers/0";

fn service(spec: &Value) -> Value {
    as_json(&children(spec).service)
}

fn ingress(spec: &Value) -> Value {
    as_json(&children(spec).ingress)
}

#[test]
fn every_child_carries_the_name_the_labels_and_the_owner() {
    let all = children(&json!({ "host": "shop.example.com", "replicas": 2 }));
    let all = [as_json(&all.deployment), as_json(&all.service), as_json(&all.ingress), as_json(&all.disruption_budget)];
    for child in &all {
        assert_at(child, "/metadata/name", &json!("shop"));
        assert_at(child, "/metadata/namespace", &json!("tenants"));
        let labels = json!({
            "app.kubernetes.io/name": "api-gateway",
            "app.kubernetes.io/instance": "shop",
            "app.kubernetes.io/component": "api-gateway",
            "app.kubernetes.io/managed-by": "phasegate",
            "phasegate.dev/gateway": "shop",
            "phasegate.dev/gateway-uid": "uid-of-shop",
        });
        assert_at(child, "/metadata/labels", &labels);
        let owners = json!([{
            "apiVersion": "phasegate.dev/v1alpha1",
            "kind": "ApiGateway",
            "name": "shop",
            "uid": "uid-of-shop",
            "controller": true,
            "blockOwnerDeletion": true,
        }]);
        assert_at(child, "/metadata/ownerReferences", &owners);
        assert_at(child, "/metadata/annotations/phasegate.dev~1renderer", &json!("2"));
        assert_eq!(at(child, "/metadata/annotations/phasegate.dev~1desired").as_str().unwrap().len(), 16);
    }
}

#[test]
fn pods_are_as_restricted_pod_security_demands() {
    let deployment = deployment(&json!({}));
    let pod = json!({ "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } });
    assert_at(&deployment, &format!("{POD}/securityContext"), &pod);
    let container = json!({
        "allowPrivilegeEscalation": false,
        "capabilities": { "drop": ["ALL"] },
        "readOnlyRootFilesystem": true,
        "runAsNonRoot": true,
    });
    assert_at(&deployment, &format!("{CONTAINER}/securityContext"), &container);
    for forbidden in ["hostNetwork", "hostPID", "hostIPC", "hostUsers"] {
        assert_at(&deployment, &format!("{POD}/{forbidden}"), &Value::Null);
    }
}

#[test]
fn pods_get_no_token_and_no_service_links_and_a_writable_tmp() {
    let deployment = deployment(&json!({}));
    assert_at(&deployment, &format!("{POD}/automountServiceAccountToken"), &json!(false));
    assert_at(&deployment, &format!("{POD}/enableServiceLinks"), &json!(false));
    assert_at(&deployment, &format!("{POD}/volumes"), &json!([{ "name": "tmp", "emptyDir": {} }]));
    assert_at(&deployment, &format!("{CONTAINER}/volumeMounts"), &json!([{ "name": "tmp", "mountPath": "/tmp" }]));
}

#[test]
fn endpoints_leave_before_a_pod_stops() {
    let sleep = format!("{CONTAINER}/lifecycle/preStop/sleep/seconds");
    let plain = deployment(&json!({}));
    assert_at(&plain, &sleep, &json!(5));
    assert_at(&plain, &format!("{POD}/terminationGracePeriodSeconds"), &json!(30));
    let short = deployment(&json!({ "terminationGracePeriodSeconds": 3 }));
    assert_at(&short, &sleep, &json!(3));
    assert_at(&short, &format!("{POD}/terminationGracePeriodSeconds"), &json!(3));
}

#[test]
fn a_rollout_never_takes_a_pod_away_first() {
    let expected = json!({ "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 0, "maxSurge": "25%" } });
    let deployment = deployment(&json!({}));
    assert_at(&deployment, "/spec/strategy", &expected);
    assert_at(&deployment, "/spec/revisionHistoryLimit", &json!(3));
}

#[test]
fn a_rollouts_progress_deadline_is_that_of_the_start() {
    let seconds = |deadline| {
        let children = render(&gateway(&json!({})), &within(deadline));
        children.deployment.spec.unwrap().progress_deadline_seconds
    };
    assert_eq!(seconds(Duration::from_secs(90)), Some(90));
    assert_eq!(seconds(Duration::from_millis(1_500)), Some(1));
    assert_eq!(seconds(Duration::from_millis(10)), Some(1), "Kubernetes wants it above 0");
    assert_eq!(seconds(Duration::from_secs(u64::MAX)), Some(i32::MAX));
}

#[test]
fn replicas_left_out_are_left_to_their_owner() {
    assert_at(&deployment(&json!({})), "/spec/replicas", &Value::Null);
    assert_at(&deployment(&json!({ "replicas": 0 })), "/spec/replicas", &json!(0));
    assert_at(&deployment(&json!({ "replicas": 3 })), "/spec/replicas", &json!(3));
}

#[test]
fn pods_are_found_by_name_and_by_nothing_that_changes() {
    let selected = json!({ "phasegate.dev/gateway": "shop" });
    let rendered = deployment(&json!({ "replicas": 2 }));
    assert_at(&rendered, "/spec/selector", &json!({ "matchLabels": selected }));
    assert_at(&service(&json!({})), "/spec/selector", &selected);
    let budget = as_json(&children(&json!({ "replicas": 2 })).disruption_budget);
    assert_at(&budget, "/spec/selector", &json!({ "matchLabels": selected }));
    for (key, value) in selected.as_object().unwrap() {
        let pointer = format!("/spec/template/metadata/labels/{}", key.replace('/', "~1"));
        assert_at(&rendered, &pointer, value);
    }
    let text = "phasegate.dev/gateway=shop";
    assert_eq!(selector(&gateway(&json!({}))), text);
}

#[test]
fn the_container_runs_what_the_spec_says() {
    let plain = deployment(&json!({}));
    assert_at(&plain, &format!("{CONTAINER}/name"), &json!("gateway"));
    assert_at(&plain, &format!("{CONTAINER}/image"), &json!("ghcr.io/acme/gateway:1"));
    let port = json!([{ "name": "http", "containerPort": 8080, "protocol": "TCP" }]);
    assert_at(&plain, &format!("{CONTAINER}/ports"), &port);
    for absent in ["command", "args", "env", "envFrom", "resources"] {
        assert_at(&plain, &format!("{CONTAINER}/{absent}"), &Value::Null);
    }
    for absent in ["imagePullSecrets", "nodeSelector", "tolerations", "topologySpreadConstraints"] {
        assert_at(&plain, &format!("{POD}/{absent}"), &Value::Null);
    }
    let full = deployment(&json!({
        "port": 9000,
        "command": ["/gate"],
        "args": ["--verbose"],
        "env": [{ "name": "A", "value": "1" }],
        "envFrom": [{ "configMapRef": { "name": "settings" } }],
        "resources": { "limits": { "memory": "256Mi" }, "requests": { "cpu": "100m" } },
        "imagePullSecrets": [{ "name": "pull" }],
        "nodeSelector": { "disk": "ssd" },
        "tolerations": [{ "key": "tenants", "operator": "Exists" }],
        "topologySpread": [{ "topologyKey": "zone" }],
    }));
    for (field, value) in [
        ("ports", json!([{ "name": "http", "containerPort": 9000, "protocol": "TCP" }])),
        ("command", json!(["/gate"])),
        ("args", json!(["--verbose"])),
        ("env", json!([{ "name": "A", "value": "1" }])),
        ("envFrom", json!([{ "configMapRef": { "name": "settings" } }])),
        ("resources", json!({ "limits": { "memory": "256Mi" }, "requests": { "cpu": "100m" } })),
    ] {
        assert_at(&full, &format!("{CONTAINER}/{field}"), &value);
    }
    let selected = json!({ "phasegate.dev/gateway": "shop" });
    for (field, value) in [
        ("imagePullSecrets", json!([{ "name": "pull" }])),
        ("nodeSelector", json!({ "disk": "ssd" })),
        ("tolerations", json!([{ "key": "tenants", "operator": "Exists" }])),
        (
            "topologySpreadConstraints",
            json!([{
                "maxSkew": 1,
                "topologyKey": "zone",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": { "matchLabels": selected },
            }]),
        ),
    ] {
        assert_at(&full, &format!("{POD}/{field}"), &value);
    }
}

#[test]
fn volumes_come_from_config_maps_secrets_and_empty_folders() {
    let deployment = deployment(&json!({ "volumes": [
        { "name": "conf", "mountPath": "/etc/gate", "configMap": { "name": "gate", "optional": true } },
        { "name": "keys", "mountPath": "/keys", "readOnly": true, "secret": { "name": "gate-keys" } },
        { "name": "scratch", "mountPath": "/scratch", "emptyDir": { "sizeLimit": "64Mi" } },
    ] }));
    let volumes = json!([
        { "name": "tmp", "emptyDir": {} },
        { "name": "conf", "configMap": { "name": "gate", "optional": true } },
        { "name": "keys", "secret": { "secretName": "gate-keys" } },
        { "name": "scratch", "emptyDir": { "sizeLimit": "64Mi" } },
    ]);
    assert_at(&deployment, &format!("{POD}/volumes"), &volumes);
    let mounts = json!([
        { "name": "tmp", "mountPath": "/tmp" },
        { "name": "conf", "mountPath": "/etc/gate" },
        { "name": "keys", "mountPath": "/keys", "readOnly": true },
        { "name": "scratch", "mountPath": "/scratch" },
    ]);
    assert_at(&deployment, &format!("{CONTAINER}/volumeMounts"), &mounts);
}

#[test]
fn pods_are_probed_on_a_path_or_on_their_open_port() {
    let plain = deployment(&json!({}));
    let open = json!({ "periodSeconds": 2, "failureThreshold": 3, "tcpSocket": { "port": "http" } });
    assert_at(&plain, &format!("{CONTAINER}/readinessProbe"), &open);
    let path = deployment(&json!({ "readinessPath": "/ready" }));
    let get = json!({ "periodSeconds": 2, "failureThreshold": 3, "httpGet": { "path": "/ready", "port": "http" } });
    assert_at(&path, &format!("{CONTAINER}/readinessProbe"), &get);
    for deployment in [plain, path] {
        let alive = json!({ "port": "http" });
        assert_at(&deployment, &format!("{CONTAINER}/livenessProbe/tcpSocket"), &alive);
        assert_at(&deployment, &format!("{CONTAINER}/livenessProbe/httpGet"), &Value::Null);
        // Its time begins once the container has accepted a connection.
        assert_at(&deployment, &format!("{CONTAINER}/livenessProbe/initialDelaySeconds"), &Value::Null);
        assert_at(&deployment, &format!("{CONTAINER}/startupProbe/tcpSocket"), &alive);
        assert_at(&deployment, &format!("{CONTAINER}/startupProbe/httpGet"), &Value::Null);
    }
}

/// Nobody ends a program before the deadline does, nor one that the deadline is too short for on a busy node.
#[test]
fn a_program_has_as_long_to_listen_as_its_start_may_take() {
    let failures = |deadline| {
        let deployment = as_json(&render(&gateway(&json!({})), &within(deadline)).deployment);
        assert_at(&deployment, &format!("{CONTAINER}/startupProbe/periodSeconds"), &json!(2));
        at(&deployment, &format!("{CONTAINER}/startupProbe/failureThreshold")).as_i64().unwrap()
    };
    let rows = [
        (Duration::from_secs(1), 25),
        (Duration::from_secs(40), 25),
        (Duration::from_secs(150), 80),
        (Duration::from_secs(151), 81),
        (Duration::from_secs(24 * 3_600), 43_205),
        (Duration::MAX, i64::from(i32::MAX)),
    ];
    for (deadline, expected) in rows {
        assert_eq!(failures(deadline), expected, "{deadline:?}");
    }
}

/// A gateway that serves.
fn serving(spec: &Value) -> ApiGateway {
    let mut gateway = gateway(spec);
    gateway.status.get_or_insert_default().phase = Some(Phase::Started);
    gateway
}

#[test]
fn another_deadline_alone_rolls_no_pods_that_serve_and_one_of_the_spec_gives_its_time_to_a_start() {
    let startup = format!("{CONTAINER}/startupProbe/failureThreshold");
    let kept = |gateway: &ApiGateway, seconds: u64, found: &Value| {
        let found = serde_json::from_value(found.clone()).unwrap();
        as_json(&desired(gateway, &within(Duration::from_secs(seconds)), (Some(&found), None)).deployment)
    };
    let plain = json!({});
    let found = stored_deployment(&deployment(&plain));
    // Another default of the operator's, in a start or later.
    for gateway in [gateway(&plain), serving(&plain)] {
        let other = kept(&gateway, 600, &found);
        assert_eq!(at(&other, "/spec/template"), at(&deployment(&plain), "/spec/template"));
        assert_at(&other, "/spec/progressDeadlineSeconds", &json!(600));
        let stored = stored_deployment(&other);
        assert_eq!(difference(&kept(&gateway, 600, &stored), &stored), None);
        let edited = set(&found, &startup, json!(1));
        assert!(difference(&kept(&gateway, 300, &edited), &edited).is_some(), "a hand edit is repaired");
    }
    let longer = json!({ "startDeadline": "10m" });
    assert_at(&kept(&gateway(&longer), 600, &found), &startup, &json!(305));
    let later = kept(&serving(&longer), 600, &found);
    assert_at(&later, &startup, &json!(155));
    let stored = stored_deployment(&later);
    assert_eq!(difference(&kept(&serving(&longer), 600, &stored), &stored), None);
    // What rolls them for another reason brings it.
    let image = json!({ "startDeadline": "10m", "image": "ghcr.io/acme/gateway:2" });
    assert_at(&kept(&serving(&image), 600, &stored), &startup, &json!(305));
    let mut restarted = serving(&longer);
    restarted.status.get_or_insert_default().restarts = 1;
    assert_at(&kept(&restarted, 600, &stored), &startup, &json!(305));
}

#[test]
fn another_deadline_alone_rolls_no_pods_that_inherit_something() {
    let context = |seconds| RenderContext {
        inherited: Inherited { labels: [("team".to_owned(), "blue".to_owned())].into(), ..Inherited::default() },
        ..within(Duration::from_secs(seconds))
    };
    let gateway = serving(&json!({}));
    let found = as_json(&desired(&gateway, &context(300), (None, None)).deployment);
    let found = serde_json::from_value(stored_deployment(&found)).unwrap();
    let other = as_json(&desired(&gateway, &context(600), (Some(&found), None)).deployment);
    assert_at(&other, &format!("{CONTAINER}/startupProbe/failureThreshold"), &json!(155));
}

#[test]
fn what_ends_without_a_message_leaves_the_end_of_its_log() {
    let policy = format!("{CONTAINER}/terminationMessagePolicy");
    assert_at(&deployment(&json!({})), &policy, &json!("FallbackToLogsOnError"));
}

#[test]
fn only_a_restart_annotates_the_pods() {
    assert_at(&deployment(&json!({})), "/spec/template/metadata/annotations", &Value::Null);
    let mut restarted = gateway(&json!({}));
    restarted.status.get_or_insert_default().restarts = 2;
    let rendered = as_json(&render(&restarted, &within(Duration::from_secs(300))).deployment);
    assert_at(&rendered, "/spec/template/metadata/annotations", &json!({ "phasegate.dev/restart": "2" }));
}

#[test]
fn the_service_forwards_port_80_to_the_pods() {
    let service = service(&json!({ "port": 9000 }));
    assert_at(&service, "/spec/type", &json!("ClusterIP"));
    let ports = json!([{ "name": "http", "port": 80, "protocol": "TCP", "targetPort": "http" }]);
    assert_at(&service, "/spec/ports", &ports);
}

#[test]
fn without_a_host_there_is_no_ingress() {
    assert_eq!(children(&json!({})).ingress, None);
    assert_eq!(url(&gateway(&json!({}))), None);
}

#[test]
fn the_ingress_routes_the_host_to_the_service() {
    let plain = ingress(&json!({ "host": "shop.example.com" }));
    let rule = |path: &str| {
        json!([{ "host": "shop.example.com", "http": { "paths": [{
            "path": path,
            "pathType": "Prefix",
            "backend": { "service": { "name": "shop", "port": { "name": "http" } } },
        }] } }])
    };
    assert_at(&plain, "/spec", &json!({ "rules": rule("/") }));
    let full = json!({
        "host": "shop.example.com",
        "path": "/api",
        "ingressClassName": "nginx",
        "tls": { "secretName": "cert" },
    });
    let expected = json!({
        "ingressClassName": "nginx",
        "rules": rule("/api"),
        "tls": [{ "hosts": ["shop.example.com"], "secretName": "cert" }],
    });
    assert_at(&ingress(&full), "/spec", &expected);
    assert_eq!(url(&gateway(&full)).unwrap(), "https://shop.example.com/api");
    assert_eq!(url(&gateway(&json!({ "host": "shop.example.com" }))).unwrap(), "http://shop.example.com/");
}

#[test]
fn the_ingress_routes_every_allowed_environment_too() {
    let context = RenderContext {
        environment_hosts: vec!["dev.example.com".to_owned(), "prod.example.com".to_owned()],
        ingress_annotations: [("example.com/waf".to_owned(), "on".to_owned())].into(),
        ..RenderContext::default()
    };
    let hosts = |spec: &Value| {
        let ingress = as_json(&render(&gateway(spec), &context).ingress);
        let hosts = at(&ingress, "/spec/rules").as_array().unwrap().iter().map(|rule| rule["host"].clone()).collect();
        (Value::Array(hosts), ingress)
    };
    let (own, ingress) = hosts(&json!({ "host": "shop.example.com", "tls": { "secretName": "cert" } }));
    assert_eq!(own, json!(["shop.example.com", "dev.example.com", "prod.example.com"]));
    assert_at(&ingress, "/spec/tls/0/hosts", &own);
    assert_at(&ingress, "/metadata/annotations/example.com~1waf", &json!("on"));
    let (others, _) = hosts(&json!({}));
    assert_eq!(others, json!(["dev.example.com", "prod.example.com"]));
    let rendered = render(&gateway(&json!({})), &context).ingress.unwrap();
    assert!(routes(&rendered, "dev.example.com") && !routes(&rendered, "example.com"));
}

/// The Deployment as an operator with an older rendering wrote it.
fn older(desired: &Value) -> Value {
    let older = set(desired, "/metadata/annotations/phasegate.dev~1renderer", json!("0"));
    let older = set(&older, "/metadata/annotations/phasegate.dev~1desired", json!("0123456789abcdef"));
    set(&older, "/spec/template/spec/enableServiceLinks", json!(true))
}

/// What is desired of the Deployment of a gateway that has this one.
fn kept(gateway: &ApiGateway, found: &Value) -> Value {
    let found = serde_json::from_value(found.clone()).unwrap();
    as_json(&desired(gateway, &within(Duration::from_secs(300)), (Some(&found), None)).deployment)
}

#[test]
fn pods_of_an_older_rendering_are_left_alone_until_the_spec_changes() {
    let kept = |spec: &Value, found: &Value| kept(&gateway(spec), found);
    let plain = json!({});
    let found = stored_deployment(&older(&deployment(&plain)));
    assert_eq!(difference(&kept(&plain, &found), &found), None, "an upgrade is no difference");
    for changed in [json!({ "image": "ghcr.io/acme/gateway:2" }), json!({ "port": 81 })] {
        assert_eq!(kept(&changed, &found), deployment(&changed), "a changed spec is rendered anew");
    }
    let same = stored_deployment(&deployment(&plain));
    let edited = set(&same, "/spec/template/spec/enableServiceLinks", json!(true));
    assert!(difference(&kept(&plain, &edited), &edited).is_some(), "a hand edit is repaired");
    let newer = set(&found, "/metadata/annotations/phasegate.dev~1renderer", json!("999"));
    assert_eq!(difference(&kept(&plain, &newer), &newer), None, "a downgrade rolls nothing either");
    let unmarked = without(&found, "/metadata/annotations/phasegate.dev~1renderer");
    assert_eq!(kept(&plain, &unmarked), deployment(&plain));
}

#[test]
fn a_restart_renders_pods_of_an_older_rendering_anew() {
    let found = stored_deployment(&older(&deployment(&json!({}))));
    let mut restarted = gateway(&json!({}));
    restarted.status.get_or_insert_default().restarts = 1;
    let rendered = render(&restarted, &within(Duration::from_secs(300))).deployment;
    assert_eq!(kept(&restarted, &found), as_json(&rendered));
}

#[test]
fn only_several_replicas_get_a_disruption_budget() {
    for few in [json!({}), json!({ "replicas": 0 }), json!({ "replicas": 1 })] {
        assert_eq!(children(&few).disruption_budget, None);
    }
    let budget = as_json(&children(&json!({ "replicas": 2 })).disruption_budget);
    assert_at(&budget, "/spec/maxUnavailable", &json!(1));
    assert_at(&budget, "/spec/minAvailable", &Value::Null);
    assert_at(&budget, "/spec/unhealthyPodEvictionPolicy", &json!("AlwaysAllow"));
}

#[test]
fn the_same_gateway_is_rendered_the_same_and_another_is_hashed_differently() {
    let hash = |spec: &Value| at(&deployment(spec), "/metadata/annotations/phasegate.dev~1desired").clone();
    assert_eq!(deployment(&json!({ "replicas": 2 })), deployment(&json!({ "replicas": 2 })));
    assert_ne!(hash(&json!({ "command": ["/gate"] })), hash(&json!({})));
}

#[test]
fn an_upgrade_does_not_roll_the_fleet() {
    // When this fails, the rendering changed: raise RENDERER, and then these.
    let full = json!({
        "host": "shop.example.com",
        "replicas": 2,
        "tls": { "secretName": "cert" },
        "env": [{ "name": "A", "value": "1" }],
        "readinessPath": "/ready",
        "volumes": [{ "name": "conf", "mountPath": "/etc/gate", "configMap": { "name": "gate" } }],
    });
    let children = children(&full);
    let hashes = [
        as_json(&children.deployment),
        as_json(&children.service),
        as_json(&children.ingress),
        as_json(&children.disruption_budget),
    ]
    .map(|child| at(&child, "/metadata/annotations/phasegate.dev~1desired").as_str().unwrap().to_owned());
    assert_eq!(
        (super::super::RENDERER, hashes.each_ref().map(String::as_str)),
        ("2", ["8b7e8022f6d3fca2", "d0bf114985935863", "ceee07071d235542", "0a1ee68cb875d055"])
    );
}

#[test]
fn an_ingress_that_is_kept_has_the_rules_of_its_own_hosts_and_of_environments_only() {
    let context = |hosts: &[&str]| RenderContext {
        environment_hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        ..within(Duration::from_secs(300))
    };
    let tls = json!({ "secretName": "certificate" });
    let old = gateway(&json!({ "host": "old.example.com", "path": "/v1", "tls": tls }));
    let found = render_children(&old, &context(&["gone.example.com", "stays.example.com"])).ingress.unwrap();
    let new = gateway(&json!({ "host": "taken.example.com", "path": "/v2", "ingressClassName": "other", "tls": tls }));
    let rendered = render_children(&new, &context(&["added.example.com", "stays.example.com"])).ingress.unwrap();
    let kept = |hosts: &[&str]| {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        super::super::keep_routes(&found, Some(&rendered), &hosts)
    };

    let some = as_json(&kept(&["old.example.com", "added.example.com", "stays.example.com"]).unwrap());

    let rule = |number: usize| {
        let rule = at(&some, &format!("/spec/rules/{number}"));
        (at(rule, "/host").as_str().unwrap(), at(rule, "/http/paths/0/path").as_str().unwrap())
    };
    assert_eq!(
        [rule(0), rule(1), rule(2)],
        [("old.example.com", "/v1"), ("added.example.com", "/v2"), ("stays.example.com", "/v1")]
    );
    assert_eq!(at(&some, "/spec/rules").as_array().unwrap().len(), 3);
    let secured = json!(["old.example.com", "added.example.com", "stays.example.com"]);
    assert_eq!(*at(&some, "/spec/tls/0/hosts"), secured);
    assert_eq!(*at(&some, "/spec/ingressClassName"), Value::Null);
    // Nothing changed: nothing to write.
    let all = kept(&["old.example.com", "gone.example.com", "stays.example.com"]).unwrap();
    assert_eq!(super::super::difference(&as_json(&all), &as_json(&found)), None);
    // A rule without a host catches everybody's traffic, and none at all is refused.
    assert_eq!(kept(&[]), None);
}

#[test]
fn an_ingress_that_keeps_its_routes_is_another_object_only_where_a_rule_changes() {
    let context = RenderContext { environment_hosts: vec!["dev.example.com".to_owned()], ..RenderContext::default() };
    let found = render(&gateway(&json!({ "host": "shop.example.com" })), &context).ingress.unwrap();
    let stamp = |ingress: &k8s_openapi::api::networking::v1::Ingress| {
        ingress.metadata.annotations.as_ref().unwrap()["phasegate.dev/desired"].clone()
    };
    let kept = |hosts: &[&str]| {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        super::super::keep_routes(&found, None, &hosts).unwrap()
    };
    assert_eq!(stamp(&kept(&["shop.example.com", "dev.example.com"])), stamp(&found));
    assert_ne!(stamp(&kept(&["shop.example.com"])), stamp(&found));
}

#[test]
fn a_count_that_the_last_release_left_to_an_autoscaler_stays_until_the_spec_has_its_own() {
    const COUNT: &str = "/metadata/annotations/phasegate.dev~1replicas";
    let released =
        |count: i32| set(&without(&deployment(&json!({ "replicas": 1 })), COUNT), "/spec/replicas", json!(count));
    let current = |count: i32| set(&deployment(&json!({ "replicas": 1 })), "/spec/replicas", json!(count));
    // What the spec says, the Deployment, and the count that is wanted of it; none: whatever it is.
    for (what, spec, found, wanted) in [
        ("the default does not scale an autoscaler's down", json!({ "replicas": 1 }), released(5), None),
        ("nor up from zero", json!({ "replicas": 1 }), released(0), None),
        ("nor does it end what began at one", json!({ "replicas": 1 }), released(1), None),
        ("a count of the spec's own is the spec's", json!({ "replicas": 3 }), released(5), Some(3)),
        ("one that was always the spec's is not written again", json!({ "replicas": 3 }), released(3), Some(3)),
        ("zero is a count of its own", json!({ "replicas": 0 }), released(5), Some(0)),
        ("what this release made has the spec's", json!({ "replicas": 1 }), current(5), Some(1)),
        ("older definitions have no default", json!({}), released(5), None),
    ] {
        let mut desired: k8s_openapi::api::apps::v1::Deployment = serde_json::from_value(deployment(&spec)).unwrap();
        super::super::keep_count_of_last_release(&mut desired, &serde_json::from_value(found.clone()).unwrap());
        assert_eq!(desired.spec.as_ref().unwrap().replicas, wanted, "{what}");
        // Where nothing is to be changed, nothing is written for the mark alone.
        let is_marked = desired.metadata.annotations.unwrap().contains_key("phasegate.dev/replicas");
        let is_written = wanted.is_some_and(|count| *at(&found, "/spec/replicas") != json!(count));
        assert_eq!(is_marked, is_written, "{what}");
    }
}
