//! Other people's clusters change what is written on its way in. A gateway starts all the same, says once what was changed, and
//! what was stored is what counts from then on.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use phasegate::api::{ApiGateway, condition};
use phasegate::decide::conditions::find;
use serde_json::{Value, json};

use crate::harness::{Fleet, Requests, World, eventually, file, gateway, is_true, private_world};
use crate::plugin::said;

const ANY: &[&str] = &["CREATE", "UPDATE"];

/// The kinds of children, as the API has them.
const KINDS: [(&str, &str, &str, &str); 4] = [
    ("Deployment", "apps", "v1", "deployments"),
    ("Service", "", "v1", "services"),
    ("Ingress", "networking.k8s.io", "v1", "ingresses"),
    ("PodDisruptionBudget", "policy", "v1", "poddisruptionbudgets"),
];

/// What a cluster does to children of a kind.
struct Mutation {
    /// Also the name of the gateways that it concerns.
    name: &'static str,
    kind: &'static str,
    operations: &'static [&'static str],
    /// The patch, as CEL has it.
    patch: &'static str,
}

/// The smallest object of a kind.
fn least(kind: &str, name: &str) -> DynamicObject {
    let labels = json!({ "app": "probe" });
    let spec = match kind {
        "Deployment" => json!({
            "replicas": 1,
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{ "name": "gateway", "image": "acme/gateway:1" }] },
            },
        }),
        "Service" => json!({ "ports": [{ "port": 80 }], "selector": labels, "type": "ClusterIP" }),
        "Ingress" => json!({ "rules": [{ "host": "probe.example.com" }] }),
        _ => json!({ "maxUnavailable": 1, "selector": { "matchLabels": labels } }),
    };
    let (kind, group, version, _) = KINDS.iter().find(|(of, ..)| *of == kind).unwrap();
    let api_version = if group.is_empty() { (*version).to_owned() } else { format!("{group}/{version}") };
    let metadata = json!({
        "name": name, "labels": { "app.kubernetes.io/name": "probe" }, "annotations": { "probe": "yes" },
    });
    let object = json!({ "apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec });
    serde_json::from_value(object).unwrap()
}

/// Policies that are in force in a world's namespace.
struct Policies<'a> {
    world: &'a World,
    names: Vec<String>,
}

impl<'a> Policies<'a> {
    /// Returns once each of them changes what it is to change.
    async fn new(world: &'a World, mutations: &[Mutation]) -> Self {
        let kind = |mutation: &Mutation| mutation.kind.to_lowercase();
        let name = |mutation: &Mutation| format!("{}-{}-{}", world.namespace, mutation.name, kind(mutation));
        let items: Vec<Value> =
            mutations.iter().flat_map(|mutation| policy(world, &name(mutation), mutation)).collect();
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
        let file = file("mutation", &format!("{}.json", world.namespace), &list.to_string()).unwrap();
        let applied = world.kubectl(&["apply", "-f", file.to_str().unwrap()]);
        assert!(applied.status.success(), "{applied:?}");
        let policies = Self { world, names: mutations.iter().map(name).collect() };
        join_all(mutations.iter().map(|mutation| policies.until_in_force(mutation))).await;
        policies
    }

    async fn until_in_force(&self, mutation: &Mutation) {
        let api = self.world.of_kind(mutation.kind);
        let changes = async || {
            let stored = if mutation.operations.contains(&"CREATE") {
                let dry_run = PostParams { dry_run: true, ..PostParams::default() };
                api.create(&dry_run, &least(mutation.kind, mutation.name)).await
            } else {
                let dry_run = PatchParams { dry_run: true, ..PatchParams::default() };
                let touch = json!({ "metadata": { "annotations": { "touched": "yes" } } });
                api.patch(mutation.name, &dry_run, &Patch::Merge(touch)).await
            };
            stored.ok().filter(|stored| stored.annotations().contains_key("changed-here")).map(drop)
        };
        let waited = eventually(Duration::from_millis(100), changes).await;
        assert!(waited.is_some(), "{} is not in force", mutation.name);
    }
}

impl Drop for Policies<'_> {
    fn drop(&mut self) {
        for kind in ["mutatingadmissionpolicybinding", "mutatingadmissionpolicy"] {
            let mut arguments = vec!["delete", kind, "--wait=false"];
            arguments.extend(self.names.iter().map(String::as_str));
            self.world.kubectl(&arguments);
        }
    }
}

/// A policy, which leaves a mark besides, and its binding.
fn policy(world: &World, name: &str, mutation: &Mutation) -> [Value; 2] {
    let (_, group, version, resource) = KINDS.iter().find(|(kind, ..)| *kind == mutation.kind).unwrap();
    let rule = json!({
        "apiGroups": [group], "apiVersions": [version], "operations": mutation.operations, "resources": [resource],
    });
    let mark = r#"[JSONPatch{op: "add", path: "/metadata/annotations/changed-here", value: "yes"}]"#;
    let expression = format!("{mark} + ({})", mutation.patch);
    let condition = format!("object.metadata.name.startsWith('{}')", mutation.name);
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicy",
        "metadata": { "name": name },
        "spec": {
            "failurePolicy": "Fail",
            "reinvocationPolicy": "IfNeeded",
            "matchConstraints": { "resourceRules": [rule] },
            "matchConditions": [{ "name": "concerned", "expression": condition }],
            "mutations": [{ "patchType": "JSONPatch", "jsonPatch": { "expression": expression } }],
        },
    });
    let here = json!({ "matchLabels": { "kubernetes.io/metadata.name": world.namespace } });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": { "name": name },
        "spec": { "policyName": name, "matchResources": { "namespaceSelector": here } },
    });
    [policy, binding]
}

const LIMITS: &str = r#"[JSONPatch{op: "add", path: "/spec/template/spec/containers/0/resources",
    value: {"limits": {"cpu": "500m", "memory": "2Gi"}, "requests": {"cpu": "500m", "memory": "2Gi"}}}]"#;

const SIDECAR: &str = r#"object.spec.template.spec.containers.exists(c, c.name == "proxy") ? [] : [JSONPatch{op: "add",
    path: "/spec/template/spec/containers/-", value: {"name": dyn("proxy"), "image": dyn("acme/proxy:1"),
    "securityContext": dyn({"allowPrivilegeEscalation": dyn(false), "capabilities": dyn({"drop": ["ALL"]}),
    "runAsNonRoot": dyn(true), "seccompProfile": dyn({"type": "RuntimeDefault"})})}}]"#;

/// What happens to the gateway of a name, and what is told of it: child, path, and what is stored.
type Told = (&'static str, &'static str, &'static str);

/// Each way in which a child is changed on its way in.
fn every_change() -> Vec<(Mutation, Vec<Told>)> {
    let change =
        |name, kind, patch, path, stored| (Mutation { name, kind, operations: ANY, patch }, vec![(kind, path, stored)]);
    let limits = r#"{"cpu":"500m","memory":"2Gi"}"#;
    vec![
        (
            Mutation { name: "limits", kind: "Deployment", operations: ANY, patch: LIMITS },
            vec![
                ("Deployment", "/spec/template/spec/containers/0/resources/limits", limits),
                ("Deployment", "/spec/template/spec/containers/0/resources/requests", limits),
            ],
        ),
        change(
            "tolerant",
            "Deployment",
            r#"[JSONPatch{op: "add", path: "/spec/template/spec/tolerations", value: [{"key": "t", "operator": "Exists"}]}]"#,
            "/spec/template/spec/tolerations",
            "one entry",
        ),
        change(
            "pulling",
            "Deployment",
            r#"[JSONPatch{op: "add", path: "/spec/template/spec/imagePullSecrets", value: [{"name": "theirs"}]}]"#,
            "/spec/template/spec/imagePullSecrets",
            "theirs",
        ),
        change(
            "pinned",
            "Deployment",
            r#"[JSONPatch{op: "replace", path: "/spec/template/spec/containers/0/image", value: "acme/gateway:1.0.7"}]"#,
            "/spec/template/spec/containers/0/image",
            "acme/gateway:1.0.7",
        ),
        change(
            "raised",
            "Deployment",
            r#"[JSONPatch{op: "add", path: "/spec/replicas", value: 3}]"#,
            "/spec/replicas",
            "3",
        ),
        change("accompanied", "Deployment", SIDECAR, "/spec/template/spec/containers", "gateway, proxy"),
        change(
            "variable",
            "Deployment",
            r#"[JSONPatch{op: "add", path: "/spec/template/spec/containers/0/env", value: [{"name": "TZ", "value": "UTC"}]}]"#,
            "/spec/template/spec/containers/0/env",
            "TZ",
        ),
        change(
            "prioritised",
            "Deployment",
            r#"[JSONPatch{op: "add", path: "/spec/template/spec/dnsPolicy", value: "Default"}]"#,
            "/spec/template/spec/dnsPolicy",
            "Default",
        ),
        (
            Mutation {
                name: "exposed",
                kind: "Service",
                operations: ANY,
                patch: r#"[JSONPatch{op: "replace", path: "/spec/type", value: "NodePort"}]"#,
            },
            vec![("Service", "/spec/type", "NodePort"), ("Service", "/spec/externalTrafficPolicy", "Cluster")],
        ),
        change(
            "relabelled",
            "Service",
            r#"[JSONPatch{op: "replace", path: "/metadata/labels/" + jsonpatch.escapeKey("app.kubernetes.io/name"), value: "theirs"}]"#,
            "/metadata/labels/app.kubernetes.io/name",
            "theirs",
        ),
        change(
            "classed",
            "Ingress",
            r#"[JSONPatch{op: "add", path: "/spec/ingressClassName", value: "theirs"}]"#,
            "/spec/ingressClassName",
            "theirs",
        ),
        change(
            "certified",
            "Ingress",
            r#"[JSONPatch{op: "add", path: "/spec/tls", value: [{"secretName": "theirs"}]}]"#,
            "/spec/tls",
            "one entry",
        ),
        change(
            "budgeted",
            "PodDisruptionBudget",
            r#"[JSONPatch{op: "replace", path: "/spec/maxUnavailable", value: "50%"}]"#,
            "/spec/maxUnavailable",
            "50%",
        ),
    ]
}

/// With every child, and a class that nothing but a policy changes.
fn whole(name: &str, namespace: &str) -> Value {
    let host = format!("{name}.{namespace}.example.com");
    gateway(
        name,
        json!({ "image": "acme/gateway:1", "replicas": 2, "host": host, "ingressClassName": "ours", "startDeadline": "60s" }),
    )
}

fn told(gateway: &ApiGateway) -> Vec<(String, String, String)> {
    let changed = gateway.status.iter().flat_map(|status| &status.changed);
    // Another number each time.
    changed
        .filter(|change| !change.path.ends_with("/nodePort"))
        .map(|change| (change.child.clone(), change.path.clone(), change.stored.clone()))
        .collect()
}

async fn events_of(world: &World, name: &str, reason: &str) -> Vec<String> {
    let events = world.api::<Event>().list(&ListParams::default()).await.unwrap();
    let about = |event: &&Event| {
        event.reason.as_deref() == Some(reason)
            && event.regarding.as_ref().is_some_and(|object| object.name.as_deref() == Some(name))
    };
    events.iter().filter(about).map(|event| event.note.clone().unwrap_or_default()).collect()
}

/// The versions of all children of a gateway: each write of one shows.
async fn generations(world: &World, name: &str) -> BTreeMap<&'static str, (Option<String>, Option<i64>)> {
    let mut all = BTreeMap::new();
    for (kind, ..) in KINDS {
        let child = world.of_kind(kind).get_opt(name).await.unwrap();
        // A Deployment's and a budget's version changes with its status.
        let spec = child.map(|child| {
            let by_version = matches!(kind, "Service" | "Ingress");
            (child.resource_version().filter(|_| by_version), child.metadata.generation)
        });
        all.insert(kind, spec.unwrap_or_default());
    }
    all
}

#[tokio::test]
async fn whatever_admission_makes_of_a_child_the_gateway_starts_and_says_once_what_was_changed() {
    let world = World::new("mutated").await;
    let changes = every_change();
    let (mutations, expected): (Vec<Mutation>, Vec<Vec<Told>>) = changes.into_iter().unzip();
    let _policies = Policies::new(&world, &mutations).await;
    let mut operator = world.operator();
    for mutation in &mutations {
        world.apply(&whole(mutation.name, &world.namespace)).await;
    }

    for (mutation, expected) in mutations.iter().zip(&expected) {
        let name = mutation.name;
        let started = world.until_started(name).await;
        let ready = world.until_ready_again(&started).await;
        let owned = |(child, path, stored): &Told| ((*child).to_owned(), (*path).to_owned(), (*stored).to_owned());
        assert_eq!(told(&ready), expected.iter().map(owned).collect::<Vec<_>>(), "{name}");
        world.until_event(name, "ChangedOnWrite").await;
        let events = events_of(&world, name, "ChangedOnWrite").await;
        assert_eq!(events.len(), 1, "{name}: {events:?}");
        assert!(events[0].contains(&told(&ready)[0].1), "{events:?}");
        let status = said(&world, &["status", name]).await.stdout;
        assert!(status.contains(&told(&ready)[0].1), "{status}");
    }

    // Neither a second look nor another operator writes what it would not get.
    let mut before = BTreeMap::new();
    for mutation in &mutations {
        before.insert(mutation.name, generations(&world, mutation.name).await);
    }
    operator.end();
    let _operator = world.operator();
    world.apply(&gateway("later", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("later").await;
    for mutation in &mutations {
        assert_eq!(generations(&world, mutation.name).await, before[mutation.name], "{}", mutation.name);
        assert_eq!(events_of(&world, mutation.name, "ChangedOnWrite").await.len(), 1, "{}", mutation.name);
    }

    // A change is rolled out, and is ready.
    for mutation in &mutations {
        let patch = json!({ "spec": { "env": [{ "name": "A", "value": "b" }] } });
        let changed = world.patch(mutation.name, patch).await;
        world.until_ready_again(&changed).await;
    }
}

#[tokio::test]
async fn a_quantity_that_the_api_server_rounds_is_as_desired() {
    let world = World::new("rounded").await;
    let _operator = world.operator();
    for (name, resources) in [
        ("thin", json!({ "requests": { "cpu": "1.5m" } })),
        ("share", json!({ "requests": { "cpu": "0.0333" }, "limits": { "memory": "0.3333333Gi" } })),
    ] {
        world.apply(&gateway(name, json!({ "image": "acme/gateway:1", "resources": resources }))).await;
        let started = world.until_started(name).await;
        world.until_ready_again(&started).await;
        world.until_event(name, "ChangedOnWrite").await;
    }
    let cpu = "/spec/template/spec/containers/0/resources/requests/cpu".to_owned();
    assert_eq!(told(&world.gateway("thin").await), [("Deployment".to_owned(), cpu, "2m".to_owned())]);
}

#[tokio::test]
async fn what_was_added_to_a_child_when_it_was_created_stays_and_costs_no_second_rollout() {
    let world = World::new("atbirth").await;
    let mutation = Mutation { name: "shop", kind: "Deployment", operations: &["CREATE"], patch: LIMITS };
    let _policies = Policies::new(&world, &[mutation]).await;
    let mut operator = world.operator();
    world.apply(&whole("shop", &world.namespace)).await;
    let started = world.until_started("shop").await;
    world.until_ready_again(&started).await;
    let limits = |deployment: &Deployment| {
        let pod = deployment.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
        pod.containers[0].resources.as_ref().and_then(|resources| resources.limits.clone()).unwrap_or_default()
    };
    operator.end();
    let _operator = world.operator();
    world.apply(&gateway("later", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("later").await;
    let deployment: Deployment = world.api().get("shop").await.unwrap();
    assert_eq!((deployment.metadata.generation, limits(&deployment).len()), (Some(1), 2));

    // A repair brings back what is stored, and not what was sent.
    let edit = json!({ "spec": { "template": { "spec": { "hostNetwork": true } } } });
    world.patch_object::<Deployment>("shop", edit).await;
    let repaired = world
        .until("shop", "the edit undone", |now: &Deployment| {
            now.spec.as_ref().unwrap().template.spec.as_ref().unwrap().host_network != Some(true)
        })
        .await;
    assert_eq!(limits(&repaired).len(), 2);
    let notes = {
        world.until_event("shop", "DriftRepaired").await;
        events_of(&world, "shop", "DriftRepaired").await
    };
    assert!(notes[0].contains("/spec/template/spec/hostNetwork is put back"), "{notes:?}");
}

#[tokio::test]
async fn a_policy_that_comes_under_a_running_fleet_lets_changes_restarts_and_starts_through() {
    let world = World::new("later").await;
    let _operator = world.operator();
    world.apply(&whole("shop", &world.namespace)).await;
    let started = world.until_started("shop").await;
    world.until_ready_again(&started).await;
    let mutation = Mutation { name: "shop", kind: "Deployment", operations: &["UPDATE"], patch: LIMITS };
    let _policies = Policies::new(&world, &[mutation]).await;

    let changed = world.patch("shop", json!({ "spec": { "image": "acme/gateway:2" } })).await;
    let ready = world.until_ready_again(&changed).await;
    assert_eq!(told(&ready).len(), 2);
    let restart = json!({ "metadata": { "annotations": { "phasegate.dev/restart-requested-at": "now" } } });
    world.patch("shop", restart).await;
    let restarted = world
        .until("shop", "the restart done", |shop: &ApiGateway| {
            let status = shop.status.as_ref().unwrap();
            status.restarts == 1 && is_true(shop, condition::READY) && status.last_failure.is_none()
        })
        .await;
    assert_eq!(restarted.status.unwrap().phase.unwrap().as_str(), "Started");
    world.patch("shop", json!({ "spec": { "state": "Stopped" } })).await;
    world.until_condition("shop", condition::READY, "True", "Stopped").await;
    let asked = world.patch("shop", json!({ "spec": { "state": "Running" } })).await;
    let again = world.until_ready_again(&asked).await;
    assert_eq!(again.status.unwrap().last_failure, None);
}

#[tokio::test]
async fn what_is_wrong_with_the_pods_is_told_whatever_admission_made_of_their_deployment() {
    let world = World::new("causes").await;
    let mutation = Mutation { name: "bad", kind: "Deployment", operations: ANY, patch: LIMITS };
    let _policies = Policies::new(&world, &[mutation]).await;
    let _operator = world.operator();
    world.apply(&gateway("bad", json!({ "image": "acme/unpullable:1", "startDeadline": "60s" }))).await;
    world.until_condition("bad", condition::RECONCILING, "True", "ImagePullFailed").await;
}

#[tokio::test]
async fn fifty_gateways_whose_children_admission_changes_are_quiet_and_a_restart_writes_none_of_them() {
    let world = private_world("quietly").await;
    let service = r#"[JSONPatch{op: "replace", path: "/spec/type", value: "NodePort"}]"#;
    let mutations = [
        Mutation { name: "gw", kind: "Deployment", operations: ANY, patch: LIMITS },
        Mutation { name: "gw", kind: "Service", operations: ANY, patch: service },
    ];
    let _policies = Policies::new(&world, &mutations).await;
    let mut operator = world.operator();
    let fleet = Fleet::apply(&world, "gw", 50, json!({ "ingressClassName": "ours" })).await;
    for name in fleet.names() {
        let started = world.until_started(name).await;
        world.until_ready_again(&started).await;
    }
    Requests::settle(&world.client).await;
    let before = Requests::read(&world.client).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(Requests::read(&world.client).await.since(&before), BTreeMap::new());

    operator.end();
    let before = Requests::read(&world.client).await;
    let _operator = world.operator();
    world.apply(&gateway("later", json!({ "image": "acme/gateway:1", "state": "Stopped" }))).await;
    world.until_condition("later", condition::READY, "True", "Stopped").await;
    Requests::settle(&world.client).await;
    let counted = Requests::read(&world.client).await.since(&before);
    for resource in ["deployments", "services", "ingresses"] {
        for verb in ["PUT", "POST", "PATCH", "DELETE"] {
            assert_eq!(counted.get(&(verb.to_owned(), resource.to_owned())), None, "{counted:?}");
        }
    }
}

/// Whoever stamps each write makes another object of it each time.
#[tokio::test]
async fn a_policy_that_stamps_every_write_costs_few_writes_and_nobody_else_a_thing() {
    const STAMP: &str = r#"[JSONPatch{op: "add", path: "/metadata/annotations/" + jsonpatch.escapeKey("field.example/seen"),
        value: has(object.metadata.resourceVersion) ? object.metadata.resourceVersion : "0"}]"#;
    let deployment: &'static str = Box::leak(
        format!(
            r#"{STAMP} + [JSONPatch{{op: "add", path: "/spec/template/spec/tolerations", value: [{{"key": "seen",
            "operator": "Equal", "value": has(object.metadata.resourceVersion) ? string(object.metadata.resourceVersion) : "0"}}]}}]"#
        )
        .into_boxed_str(),
    );
    let service: &'static str = Box::leak(
        format!(r#"{STAMP} + [JSONPatch{{op: "replace", path: "/spec/type", value: "NodePort"}}]"#).into_boxed_str(),
    );
    let ingress: &'static str = Box::leak(
        format!(
            r#"{STAMP} + [JSONPatch{{op: "add", path: "/spec/tls", value: [{{"secretName":
            has(object.metadata.resourceVersion) ? "seen-" + object.metadata.resourceVersion : "seen"}}]}}]"#
        )
        .into_boxed_str(),
    );
    let world = private_world("stamped").await;
    let stamp = |kind, patch| Mutation { name: "gw", kind, operations: ANY, patch };
    let mutations = [stamp("Deployment", deployment), stamp("Service", service), stamp("Ingress", ingress)];
    let _policies = Policies::new(&world, &mutations).await;
    let _operator = world.operator();
    let before = Requests::read(&world.client).await;
    let names: Vec<String> = (0..10).map(|number| format!("gw-{number}")).collect();
    for name in &names {
        world.apply(&whole(name, &world.namespace)).await;
    }
    for name in &names {
        let started = world.until_started(name).await;
        world.until_ready_again(&started).await;
        // A foreign label makes the object new, and is nobody's business.
        let label = json!({ "metadata": { "labels": { "theirs": "yes" } } });
        world.patch_object::<Service>(name, label).await;
    }
    let neighbour = world.beside("neighbour").await;
    let _second = neighbour.operator();
    neighbour.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    neighbour.until_started("shop").await;
    Requests::settle(&world.client).await;

    let counted = Requests::read(&world.client).await.since(&before);

    let puts = |resource: &str| counted.get(&("PUT".to_owned(), resource.to_owned())).copied().unwrap_or(0);
    for resource in ["services", "ingresses"] {
        assert!(puts(resource) < 2 * 10, "{counted:?}");
    }
    // The Deployment's controller puts them, too, and each of its writes is stamped.
    for name in &names {
        let deployment: Deployment = world.api().get(name).await.unwrap();
        assert!(deployment.metadata.generation.unwrap() < 20, "{name}: {:?}", deployment.metadata);
    }
}

/// Another controller that wants something else, and answers each repair.
#[tokio::test]
async fn a_child_that_another_controller_changes_each_time_is_written_ever_more_seldom_and_named() {
    let world = private_world("contested").await;
    let _operator = world.operator();
    world.apply(&whole("shop", &world.namespace)).await;
    let started = world.until_started("shop").await;
    world.until_ready_again(&started).await;
    let before = Requests::read(&world.client).await;
    let rival = rival(&world);

    let contested = world.until_condition("shop", condition::STALLED, "True", "Contested").await;
    let status = contested.status.as_ref().unwrap();
    let said_of = find(&status.conditions, condition::READY).unwrap();
    assert_eq!(said_of.status, "False");
    let words = "the Service is changed again each time it is put right, last by rival: /spec/sessionAffinity. ";
    assert!(said_of.message.starts_with(words), "{}", said_of.message);
    assert!(is_true(&contested, condition::AVAILABLE), "what serves goes on");
    let field = &status.contested[0];
    assert_eq!(
        (field.child.as_str(), field.path.as_str(), field.manager.as_deref()),
        ("Service", "/spec/sessionAffinity", Some("rival"))
    );
    world.until_event("shop", "Contested").await;
    let stuck = said(&world, &["get", "--stuck"]).await.stdout;
    assert!(stuck.contains("shop") && stuck.contains("Contested"), "{stuck}");

    // A change that is asked does not wait for the contest.
    let changed = world.patch("shop", json!({ "spec": { "image": "acme/gateway:2" } })).await;
    world
        .until("shop", "the change rolled out", |now: &Deployment| {
            let pod = now.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
            pod.containers[0].image.as_deref() == Some("acme/gateway:2")
        })
        .await;
    let counted = Requests::read(&world.client).await.since(&before);
    let puts = counted.get(&("PUT".to_owned(), "services".to_owned())).copied().unwrap_or(0);
    assert!(puts <= 10, "{counted:?}");

    // Once it is left alone it is put right, and is ready.
    rival.abort();
    world.until_ready_again(&changed).await;
}

/// Sets what it wants each time it is put right.
fn rival(world: &World) -> tokio::task::JoinHandle<()> {
    let services: Api<Service> = world.api();
    tokio::spawn(async move {
        let mut versions = Box::pin(kube::runtime::watcher::watch_object(services.clone(), "shop"));
        while let Ok(Some(version)) = futures::TryStreamExt::try_next(&mut versions).await {
            let affinity = version.and_then(|service| service.spec?.session_affinity);
            if affinity.as_deref() != Some("ClientIP") {
                let params = PatchParams { field_manager: Some("rival".to_owned()), ..PatchParams::default() };
                let patch = Patch::Merge(json!({ "spec": { "sessionAffinity": "ClientIP" } }));
                services.patch("shop", &params, &patch).await.unwrap();
            }
        }
    })
}
