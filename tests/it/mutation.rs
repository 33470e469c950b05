//! A gateway starts although admission changes its children, reports each change once, and detects drift from what was
//! stored.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams};
use phasegate::api::{ApiGateway, Phase, State, condition};
use phasegate::decide::conditions::find;
use serde_json::{Value, json};

use crate::harness::{
    AuditEntry, CHILDREN, Fault, Fleet, Policies, Policy, PolicyEffect, Proxy, Requests, SETTLED, World, audit_entries,
    gateway, is_true, path, private_world,
};
use crate::plugin::said;

pub const ANY: &[&str] = &["CREATE", "UPDATE"];

/// The resource of children of a kind.
fn resource(kind: &str) -> &'static str {
    match kind {
        "Deployment" => "apps/deployments",
        "Service" => "/services",
        "Ingress" => "networking.k8s.io/ingresses",
        _ => "policy/poddisruptionbudgets",
    }
}

/// A policy that makes these changes to children of a kind, for gateways whose names have this prefix.
pub fn changes<'a>(of: &'a str, kind: &str, operations: &'a [&'a str], patches: &'a str) -> Policy<'a> {
    Policy { of, resource: resource(kind), operations, does: PolicyEffect::Changes(patches) }
}

pub const LIMITS: &str = r#"[JSONPatch{op: "add", path: "/spec/template/spec/containers/0/resources",
    value: {"limits": {"cpu": "500m", "memory": "2Gi"}, "requests": {"cpu": "500m", "memory": "2Gi"}}}]"#;

pub const NODE_PORT: &str = r#"[JSONPatch{op: "replace", path: "/spec/type", value: "NodePort"}]"#;

const SIDECAR: &str = r#"object.spec.template.spec.containers.exists(c, c.name == "proxy") ? [] : [JSONPatch{op: "add",
    path: "/spec/template/spec/containers/-", value: {"name": dyn("proxy"), "image": dyn("acme/proxy:1"),
    "securityContext": dyn({"allowPrivilegeEscalation": dyn(false), "capabilities": dyn({"drop": ["ALL"]}),
    "runAsNonRoot": dyn(true), "seccompProfile": dyn({"type": "RuntimeDefault"})})}}]"#;

/// A change by admission, as the status reports it: child, path, and stored value.
type Told = (&'static str, &'static str, &'static str);

/// Each way in which admission changes a child.
fn every_change() -> Vec<(Policy<'static>, Vec<Told>)> {
    let change = |name, kind, patch, path, stored| (changes(name, kind, ANY, patch), vec![(kind, path, stored)]);
    let limits = r#"{"cpu":"500m","memory":"2Gi"}"#;
    vec![
        (
            changes("limits", "Deployment", ANY, LIMITS),
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
            changes("exposed", "Service", ANY, NODE_PORT),
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

/// A gateway with every child, and with an Ingress class that only a policy changes.
fn whole(name: &str, namespace: &str) -> Value {
    let host = format!("{name}.{namespace}.example.com");
    gateway(
        name,
        json!({ "image": "acme/gateway:1", "replicas": 2, "host": host, "ingressClassName": "ours", "startDeadline": "60s" }),
    )
}

fn told(gateway: &ApiGateway) -> Vec<(String, String, String)> {
    let changed = gateway.status.iter().flat_map(|status| &status.changed);
    // The API server allocates another port each time.
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

/// The versions of all children of a gateway. Each write of a child changes its version.
async fn generations(world: &World, name: &str) -> BTreeMap<&'static str, (Option<String>, Option<i64>)> {
    let mut all = BTreeMap::new();
    for kind in CHILDREN {
        let child = world.of_kind(kind).get_opt(name).await.unwrap();
        // A status update changes the resourceVersion of a Deployment and of a PodDisruptionBudget.
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
    let (policies, expected): (Vec<Policy>, Vec<Vec<Told>>) = every_change().into_iter().unzip();
    let names: Vec<&str> = policies.iter().map(|policy| policy.of).collect();
    let _policies = Policies::new(&world, &policies).await;
    let mut operator = world.operator();
    for name in &names {
        world.apply(&whole(name, &world.namespace)).await;
    }

    for (name, expected) in names.iter().zip(&expected) {
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

    // Neither another reconcile nor another operator repeats a write that admission would change again.
    let mut before = BTreeMap::new();
    for name in &names {
        before.insert(*name, generations(&world, name).await);
    }
    operator.end();
    let _operator = world.operator();
    world.apply(&gateway("later", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("later").await;
    for name in &names {
        assert_eq!(generations(&world, name).await, before[name], "{name}");
        assert_eq!(events_of(&world, name, "ChangedOnWrite").await.len(), 1, "{name}");
    }

    // A change of the spec is rolled out, and the gateway is ready.
    for name in &names {
        let patch = json!({ "spec": { "env": [{ "name": "A", "value": "b" }] } });
        let changed = world.patch(name, patch).await;
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
    let _policies = Policies::new(&world, &[changes("shop", "Deployment", &["CREATE"], LIMITS)]).await;
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

    // A repair restores the stored value, not the sent one.
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
    assert!(notes[0].contains("/spec/template/spec/hostNetwork was changed"), "{notes:?}");
}

#[tokio::test]
async fn a_policy_that_comes_under_a_running_fleet_lets_changes_restarts_and_starts_through() {
    let world = World::new("later").await;
    let _operator = world.operator();
    world.apply(&whole("shop", &world.namespace)).await;
    let started = world.until_started("shop").await;
    world.until_ready_again(&started).await;
    let _policies = Policies::new(&world, &[changes("shop", "Deployment", &["UPDATE"], LIMITS)]).await;

    // A write by any client triggers the policy. That is not an edit by the client, so nothing is reverted.
    world.patch_object::<Deployment>("shop", json!({ "metadata": { "annotations": { "note": "mine" } } })).await;
    world.until_event("shop", "ChangedOnWrite").await;
    world.until_condition("shop", condition::READY, "True", "Started").await;
    assert_eq!(events_of(&world, "shop", "DriftRepaired").await, Vec::<String>::new());

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

const SELECTOR: &str = r#"[JSONPatch{op: "add", path: "/spec/selector/matchLabels/team", value: "shop"},
    JSONPatch{op: "add", path: "/spec/template/metadata/labels/team", value: "shop"}]"#;

/// A selector is immutable: to change it, the operator would delete and recreate the Deployment.
#[tokio::test]
async fn a_label_that_admission_adds_to_a_selector_costs_no_deployment_that_serves() {
    let world = World::new("selected").await;
    let _policies = Policies::new(&world, &[changes("shop", "Deployment", &["CREATE"], SELECTOR)]).await;
    let mut operator = world.operator();
    world.apply(&whole("shop", &world.namespace)).await;
    let started = world.until_started("shop").await;
    let ready = world.until_ready_again(&started).await;
    let path = "/spec/selector/matchLabels".to_owned();
    assert_eq!(told(&ready)[0].1, path, "{:?}", told(&ready));
    let uid = |deployment: &Deployment| deployment.metadata.uid.clone();
    let before: Deployment = world.api().get("shop").await.unwrap();

    let changed = world.patch("shop", json!({ "spec": { "image": "acme/gateway:2" } })).await;
    world.until_ready_again(&changed).await;
    operator.end();
    let _operator = world.operator();
    let changed = world.patch("shop", json!({ "spec": { "image": "acme/gateway:3" } })).await;
    world.until_ready_again(&changed).await;
    let after: Deployment = world.api().get("shop").await.unwrap();
    assert_eq!(uid(&after), uid(&before));
    let pod = after.spec.unwrap().template.spec.unwrap();
    assert_eq!(pod.containers[0].image.as_deref(), Some("acme/gateway:3"));
}

/// Garbage collection deletes only objects with an owner reference.
#[tokio::test]
async fn a_child_whose_owner_admission_removes_is_warned_of_and_goes_with_a_stop() {
    const DISOWNED: &str = r#"has(object.metadata.ownerReferences)
        ? [JSONPatch{op: "remove", path: "/metadata/ownerReferences"}] : []"#;
    let world = World::new("disowned").await;
    let _policies = Policies::new(&world, &[changes("shop", "Service", &["CREATE"], DISOWNED)]).await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("shop").await;
    let told = events_of(&world, "shop", "ChangedOnWrite").await;
    let warned = "Without the owner reference the Service outlives the gateway";
    assert!(told.iter().any(|told| told.contains(warned)), "{told:?}");
    world.patch("shop", json!({ "spec": { "state": "Stopped" } })).await;
    world.until_phase("shop", Phase::Stopped, State::Stopped).await;
    world.until_nothing_is_left().await;
}

/// There are no pods, so no pod is the cause.
#[tokio::test]
async fn a_deployment_that_admission_pauses_is_told_as_that_and_one_that_is_made_anew_is_not_paused() {
    const PAUSED: &str = r#"[JSONPatch{op: "add", path: "/spec/paused", value: true}]"#;
    let world = World::new("paused").await;
    let policies = Policies::new(&world, &[changes("shop", "Deployment", ANY, PAUSED)]).await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "startDeadline": "60s" }))).await;
    world.until_condition("shop", condition::RECONCILING, "True", "DeploymentPaused").await;
    policies.lift().await;
    world.patch("shop", json!({ "spec": { "state": "Stopped" } })).await;
    world.until_phase("shop", Phase::Stopped, State::Stopped).await;
    world.patch("shop", json!({ "spec": { "state": "Running" } })).await;
    world.until_started("shop").await;
}

#[tokio::test]
async fn what_is_wrong_with_the_pods_is_told_whatever_admission_made_of_their_deployment() {
    let world = World::new("causes").await;
    let _policies = Policies::new(&world, &[changes("bad", "Deployment", ANY, LIMITS)]).await;
    let _operator = world.operator();
    world.apply(&gateway("bad", json!({ "image": "acme/unpullable:1", "startDeadline": "60s" }))).await;
    world.until_condition("bad", condition::RECONCILING, "True", "ImagePullFailed").await;
}

#[tokio::test]
async fn fifty_gateways_whose_children_admission_changes_are_quiet_and_a_restart_writes_none_of_them() {
    let world = private_world("quietly").await;
    let policies = [changes("gw", "Deployment", ANY, LIMITS), changes("gw", "Service", ANY, NODE_PORT)];
    let _policies = Policies::new(&world, &policies).await;
    let mut operator = world.operator();
    let fleet = Fleet::apply(&world, "gw", 50, json!({ "ingressClassName": "ours" })).await;
    for name in fleet.names() {
        let started = world.until_started(name).await;
        world.until_ready_again(&started).await;
    }
    let before = Requests::settle(&world.client).await;
    tokio::time::sleep(Duration::from_secs(60) - SETTLED).await;
    assert_eq!(Requests::read(&world.client).await.since(&before), BTreeMap::new());

    operator.end();
    let before = Requests::read(&world.client).await;
    let _operator = world.operator();
    // The newest gateway is listed last, and has no children.
    world.apply(&gateway("later", json!({ "image": "acme/gateway:1", "state": "Stopped" }))).await;
    world.until_condition("later", condition::READY, "True", "Stopped").await;
    let counted = Requests::settle(&world.client).await.since(&before);
    for resource in ["deployments", "services", "ingresses"] {
        for verb in ["PUT", "POST", "PATCH", "DELETE"] {
            assert_eq!(counted.get(&(verb.to_owned(), resource.to_owned())), None, "{counted:?}");
        }
    }
}

/// Another controller wants another value and responds to each repair.
#[tokio::test]
async fn a_child_that_another_controller_changes_each_time_is_written_ever_more_seldom_and_named() {
    let world = World::audited("contested").await;
    let _operator = world.operator();
    world.apply(&whole("shop", &world.namespace)).await;
    let started = world.until_started("shop").await;
    world.until_ready_again(&started).await;
    let is_repair =
        |noted: &&AuditEntry| !noted.operator.is_empty() && noted.is_write() && noted.resource == "services";
    let repairs = || audit_entries(&world.cluster, &world.namespace).iter().filter(is_repair).count();
    let before = repairs();
    let rival = rival(&world);

    let contested = world.until_condition("shop", condition::STALLED, "True", "Contested").await;
    let status = contested.status.as_ref().unwrap();
    let said_of = find(&status.conditions, condition::READY).unwrap();
    assert_eq!(said_of.status, "False");
    let words = "another client (rival) changes the Service each time the operator reverts it: /spec/sessionAffinity. ";
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

    // A requested change does not wait for the backoff of the repairs.
    let changed = world.patch("shop", json!({ "spec": { "image": "acme/gateway:2" } })).await;
    world
        .until("shop", "the change rolled out", |now: &Deployment| {
            let pod = now.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
            pod.containers[0].image.as_deref() == Some("acme/gateway:2")
        })
        .await;
    assert!(repairs() - before <= 10, "{} writes", repairs() - before);

    // Once the other controller ends, its change is reverted, and the gateway is ready.
    rival.abort();
    world.until_ready_again(&changed).await;
}

/// Sets its own value after each repair.
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

/// The operator was killed before it saw the answer, and the next one begins after the deadline.
#[tokio::test]
async fn what_admission_made_of_a_child_whose_answer_was_lost_fails_no_start() {
    const PATH_TYPE: &str =
        r#"[JSONPatch{op: "replace", path: "/spec/rules/0/http/paths/0/pathType", value: "ImplementationSpecific"}]"#;
    let world = World::new("lost-answer").await;
    let _policies = Policies::new(&world, &[changes("shop", "Ingress", ANY, PATH_TYPE)]).await;
    let proxy = Proxy::start(&world.cluster.operator_kubeconfig()).await;
    let mut lost = proxy.when(Fault::HangAfterwards, |asked| asked.verb == "create" && asked.is_of("ingresses"));
    let mut operator = world.operator_as(proxy.kubeconfig(), &[]);
    let host = format!("shop.{}.example.com", world.namespace);
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "host": host }))).await;
    lost.caught(1).await;
    operator.kill();
    drop(lost);
    let complete =
        |deployment: &Deployment| deployment.status.as_ref().is_some_and(|status| status.available_replicas == Some(1));
    world.until("shop", "available", complete).await;
    // The test moves the deadline into the past and does not wait for it.
    let started_at = world.gateway("shop").await.status.unwrap().attempt.unwrap().started_at.0;
    let long_ago = started_at - Duration::from_secs(3_600);
    world.patch_status("shop", json!({ "status": { "attempt": { "startedAt": long_ago } } })).await;

    let _operator = world.operator_as(proxy.kubeconfig(), &[]);

    let shop = world.until_started("shop").await;
    assert_eq!(path(&shop), ["Starting/Running StartRequested", "Started/Running Started"]);
    let status = shop.status.unwrap();
    assert!(status.last_failure.is_none() && status.attempt.unwrap().number == 1);
    assert!(status.changed.iter().any(|change| change.child == "Ingress"), "{:?}", status.changed);
}
