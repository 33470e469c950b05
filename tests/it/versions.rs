//! The operator works with objects of the last release, with older and newer definitions, and with statuses of a newer
//! version.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{ListParams, PostParams};
use kube::{Api, ResourceExt};
use phasegate::api::{ApiGateway, Environment, Phase, Reason, State, condition};
use serde_json::{Value, json};

use crate::harness::cluster::Cluster;
use crate::harness::{
    Health, World, environment, gateway, is_active, is_true, message, path, private_world, private_world_on, restart,
    root,
};

const LAST_RELEASE: &str = "tests/last-release/crds";

/// Changes the installed definition of ApiGateways.
async fn redefine(world: &World, edit: impl Fn(&mut Value)) {
    let definitions: Api<CustomResourceDefinition> = Api::all(world.client.clone());
    let name = "apigateways.phasegate.dev";
    let mut definition = serde_json::to_value(definitions.get(name).await.unwrap()).unwrap();
    edit(&mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]);
    definitions.replace(name, &PostParams::default(), &serde_json::from_value(definition).unwrap()).await.unwrap();
}

/// The uids of a gateway's pods.
async fn pods(world: &World, name: &str) -> BTreeSet<String> {
    let of_gateway = ListParams::default().labels(&format!("phasegate.dev/gateway={name}"));
    world.api::<Pod>().list(&of_gateway).await.unwrap().into_iter().map(|pod| pod.uid().unwrap()).collect()
}

/// What must not change in a gateway without a request: its history, its attempt, its hosts, its pods, and the specs of
/// its children.
#[derive(Debug, PartialEq)]
struct Untouched {
    path: Vec<String>,
    attempt: Option<i64>,
    hosts: Vec<String>,
    pods: BTreeSet<String>,
    template: Option<Value>,
    replicas: Option<i32>,
    ingress: Option<Value>,
    service: Option<String>,
    budget: bool,
}

async fn untouched(world: &World, name: &str) -> Untouched {
    let gateway = world.gateway(name).await;
    let status = gateway.status.clone().unwrap();
    let ingress = world.api::<Ingress>().get_opt(name).await.unwrap();
    let deployment = world.api::<Deployment>().get_opt(name).await.unwrap().and_then(|found| found.spec);
    Untouched {
        path: path(&gateway),
        attempt: status.attempt.map(|attempt| attempt.number),
        hosts: status.hosts.into_iter().map(|claim| claim.host).collect(),
        pods: pods(world, name).await,
        replicas: deployment.as_ref().and_then(|spec| spec.replicas),
        template: deployment.map(|spec| serde_json::to_value(spec.template).unwrap()),
        ingress: ingress.map(|ingress| serde_json::to_value(ingress.spec).unwrap()),
        service: world.api::<Service>().get_opt(name).await.unwrap().and_then(|service| service.uid()),
        budget: world.api::<PodDisruptionBudget>().get_opt(name).await.unwrap().is_some(),
    }
}

async fn all_untouched(world: &World, names: &[&str]) -> Vec<Untouched> {
    let mut all = Vec::new();
    for name in names {
        all.push(untouched(world, name).await);
    }
    all
}

/// Waits until an operator has reconciled every existing gateway: it lists them all before it reconciles any, and the
/// newest comes last.
async fn all_seen(world: &World, name: &str) {
    world.apply(&gateway(name, json!({ "image": "acme/gateway:1" }))).await;
    world.until_started(name).await;
}

/// Waits until the Deployment controller has finished.
async fn until_settled(world: &World, name: &str) {
    world
        .until(name, "settled", |object: &Deployment| {
            let status = object.status.clone().unwrap_or_default();
            let wanted = object.spec.as_ref().unwrap().replicas;
            let counts = [status.replicas, status.updated_replicas, status.available_replicas];
            status.observed_generation == object.metadata.generation && counts == [wanted; 3]
        })
        .await;
}

async fn serves(world: &World, name: &str, spec: Value) {
    world.apply(&gateway(name, spec)).await;
    world.until_started(name).await;
    until_settled(world, name).await;
}

#[tokio::test]
async fn a_new_default_in_the_definition_starts_nothing_and_rolls_nothing_until_the_next_change() {
    const ALL: [&str; 5] = ["serving", "scaled", "timed-out", "stopped", "suspended"];
    let world = private_world("defaults").await;
    let mut operator = world.operator();
    let host = |name: &str| format!("{name}.example.com");
    serves(&world, "serving", json!({ "image": "acme/gateway:1", "replicas": 2, "host": host("serving") })).await;
    serves(&world, "scaled", json!({ "image": "acme/gateway:1", "replicas": 1 })).await;
    serves(&world, "suspended", json!({ "image": "acme/gateway:1", "host": host("suspended") })).await;
    world.apply(&gateway("timed-out", json!({ "image": "acme/unpullable:1", "startDeadline": "2s" }))).await;
    world.until_phase("timed-out", Phase::Stopped, State::Stopped).await;
    world.apply(&gateway("stopped", json!({ "image": "acme/gateway:1", "state": "Stopped" }))).await;
    world.until_phase("stopped", Phase::Stopped, State::Stopped).await;
    world.patch("suspended", json!({ "spec": { "suspend": true } })).await;
    world.until_condition("suspended", condition::STALLED, "False", "Suspended").await;
    let before = all_untouched(&world, &ALL).await;

    redefine(&world, |properties| {
        let spec = &mut properties["spec"]["properties"];
        spec["terminationGracePeriodSeconds"]["default"] = json!(45);
        spec["readinessPath"]["default"] = json!("/ready");
        spec["ingressClassName"]["default"] = json!("theirs");
        spec["startRetries"]["default"] = json!({ "limit": 3, "backoff": "1s" });
    })
    .await;
    for name in ALL {
        let read = |gateway: &ApiGateway| gateway.spec.termination_grace_period_seconds == Some(45);
        world.until(name, "read with the default", read).await;
    }
    all_seen(&world, "later").await;
    assert_eq!(all_untouched(&world, &ALL).await, before, "the operator that was there");
    operator.end();
    let _operator = world.operator();
    all_seen(&world, "latest").await;
    assert_eq!(all_untouched(&world, &ALL).await, before, "one that begins");

    // Neither scaling nor resuming changes the pod template.
    let scaled = pods(&world, "scaled").await;
    world.patch("scaled", json!({ "spec": { "replicas": 3 } })).await;
    world.until("scaled", "scaled", |object: &Deployment| object.spec.as_ref().unwrap().replicas == Some(3)).await;
    until_settled(&world, "scaled").await;
    assert!(pods(&world, "scaled").await.is_superset(&scaled));
    let resumed = world.patch("suspended", json!({ "spec": { "suspend": false } })).await;
    world.until_ready_again(&resumed).await;
    assert_eq!(untouched(&world, "suspended").await, before[4]);

    let grace = |object: &Deployment| {
        object.spec.as_ref().unwrap().template.spec.as_ref().unwrap().termination_grace_period_seconds
    };
    world.patch("serving", json!({ "spec": { "image": "acme/gateway:2" } })).await;
    world.until("serving", "rendered with the default", |object: &Deployment| grace(object) == Some(45)).await;
    world.patch("timed-out", json!({ "spec": { "image": "acme/gateway:2" } })).await;
    world.until_started("timed-out").await;
}

/// Calls `visit` with every time in a recorded value.
fn each_time(value: &mut Value, visit: &mut impl FnMut(&mut String, Timestamp)) {
    match value {
        Value::String(text) => {
            if let Ok(time) = text.parse() {
                visit(text, time);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| each_time(item, visit)),
        Value::Object(fields) => fields.values_mut().for_each(|field| each_time(field, visit)),
        _ => {}
    }
}

/// Moves all times of the objects by the same amount, so that the last of them is now. Otherwise the recorded start
/// deadline of a day has expired.
fn as_of_now(objects: &mut Value) {
    let mut last = Timestamp::MIN;
    each_time(objects, &mut |_, time| last = last.max(time));
    let age = SignedDuration::from_secs(Timestamp::now().duration_since(last).as_secs());
    each_time(objects, &mut |text, time| *text = (time + age).to_string());
}

/// Recreates the objects that the last release's operator left behind a moment ago. The hosts are the recorded ones.
async fn left_behind(world: &World) {
    let text = std::fs::read_to_string(root().join("tests/last-release/objects.json")).unwrap();
    let mut recorded: Value = serde_json::from_str(&text).unwrap();
    as_of_now(&mut recorded);
    let objects: Vec<Value> = serde_json::from_value(recorded).unwrap();
    let mut uids = Vec::new();
    for mut object in objects {
        let status = object.as_object_mut().unwrap().remove("status");
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        match object["kind"].as_str().unwrap() {
            "ApiGateway" => {
                let earlier = object["metadata"].as_object_mut().unwrap().remove("uid").unwrap();
                let generation = object["metadata"]["generation"].as_i64().unwrap();
                let suspended = object["spec"]["suspend"] == json!(true);
                // The suspension caused its second generation.
                assert_eq!(generation, 1 + i64::from(suspended));
                object["spec"]["suspend"] = json!(false);
                let made: ApiGateway = world.create(object).await;
                if suspended {
                    world.patch(&name, json!({ "spec": { "suspend": true } })).await;
                }
                world.patch_status(&name, json!({ "status": status })).await;
                uids.push((earlier.as_str().unwrap().to_owned(), made.uid().to_owned()));
            }
            "Environment" => {
                world.create::<Environment>(object).await;
                world.patch_status_of::<Environment>(&name, json!({ "status": status })).await;
            }
            kind => {
                let text = uids.iter().fold(object.to_string(), |text, (earlier, now)| text.replace(earlier, now));
                let object: Value = serde_json::from_str(&text).unwrap();
                match kind {
                    "Deployment" => drop(world.create::<Deployment>(object).await),
                    "Service" => drop(world.create::<Service>(object).await),
                    "Ingress" => drop(world.create::<Ingress>(object).await),
                    _ => drop(world.create::<PodDisruptionBudget>(object).await),
                }
            }
        }
    }
    for name in ["serving", "scaled", "suspended"] {
        until_settled(world, name).await;
    }
}

const RECORDED: [&str; 6] = ["serving", "scaled", "timed-out", "stopped", "suspended", "starting"];

/// Another tenant requests each host that the gateways hold.
async fn asks_for_their_hosts(world: &World, domain: &str) {
    for name in ["serving", "suspended", "dev"] {
        let host = format!("{name}.{domain}");
        let thief = format!("wants-{name}");
        world.apply(&gateway(&thief, json!({ "image": "acme/gateway:1", "host": host }))).await;
        world.until_condition(&thief, condition::STALLED, "True", "HostTaken").await;
    }
}

#[tokio::test]
async fn gateways_of_the_last_release_go_on_as_they_are() {
    let world = World::new("last-release").await;
    left_behind(&world).await;
    let before = all_untouched(&world, &RECORDED).await;

    let mut operator = world.operator();
    all_seen(&world, "later").await;
    asks_for_their_hosts(&world, "last-release.example.com").await;
    assert_eq!(all_untouched(&world, &RECORDED).await, before);
    operator.end();
    let _operator = world.operator();
    all_seen(&world, "latest").await;
    assert_eq!(all_untouched(&world, &RECORDED).await, before, "nor when it begins again");
    let environment: Environment = world.api().get("serving-dev").await.unwrap();
    assert!(is_active(&environment));

    // New requests take effect.
    world.patch("serving", json!({ "spec": { "image": "acme/gateway:2" } })).await;
    let newer = |object: &Deployment| {
        let pod = object.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
        pod.containers[0].image.as_deref() == Some("acme/gateway:2")
    };
    world.until("serving", "the newer image", newer).await;
    world.patch("timed-out", json!({ "spec": { "image": "acme/gateway:1", "startDeadline": "5m" } })).await;
    world.until_started("timed-out").await;
    world.patch("starting", json!({ "spec": { "state": "Stopped" } })).await;
    world.until_phase("starting", Phase::Stopped, State::Stopped).await;
}

#[tokio::test]
async fn under_the_last_releases_definitions_gateways_go_on_the_deadline_holds_and_readyz_says_what_to_apply() {
    let world = private_world_on("older", || {
        let cluster = Cluster::private()?;
        cluster.install_definitions(LAST_RELEASE)?;
        Ok(cluster)
    })
    .await;
    left_behind(&world).await;
    let before = all_untouched(&world, &RECORDED).await;
    // Simulates a reason of this version that the installed definition does not have.
    redefine(&world, |properties| {
        for record in ["/lastFailure/properties", "/history/items/properties"] {
            let reason = properties["status"]["properties"].pointer_mut(&format!("{record}/reason/enum"));
            reason.unwrap().as_array_mut().unwrap().retain(|word| word != "ImagePullFailed");
        }
    })
    .await;
    let health = Health::reserve();
    let mut operator = world.operator_with(&["--http-bind", &health.address()]);

    health.until("/readyz", 503, &["older than this operator", "kubectl apply --server-side -f crds"]).await;
    assert!(world.operator_log().contains("older than this operator"), "{}", world.operator_log());
    let spec = json!({ "image": "acme/unpullable:1", "startDeadline": "10s" });
    world.apply(&gateway("unpullable", spec)).await;
    let unpullable = world.until_phase("unpullable", Phase::Stopped, State::Stopped).await;
    let expected = ["Starting/Running StartRequested", "Started/Stopped StartDeadlineExceeded"];
    assert_eq!(path(&unpullable)[..2], expected);
    let status = unpullable.status.clone().unwrap();
    assert_eq!(status.attempt.unwrap().number, 1);
    assert!(status.last_failure.unwrap().message.contains("cannot be pulled"));
    assert!(message(&unpullable, condition::STALLED).contains("cannot be pulled"));
    all_seen(&world, "later").await;
    asks_for_their_hosts(&world, "last-release.example.com").await;
    operator.end();
    let _operator = world.operator_with(&["--http-bind", &health.address()]);
    all_seen(&world, "latest").await;
    assert_eq!(all_untouched(&world, &RECORDED).await, before);

    world.cluster.install_crds().unwrap();
    health.until("/readyz", 200, &["ok"]).await;
    all_seen(&world, "last").await;
    assert_eq!(all_untouched(&world, &RECORDED).await, before, "the definitions that are applied roll nothing");
}

/// The book tells users who downgrade how to find the gateways that the last release cannot read.
#[test]
fn the_book_names_the_reasons_that_the_last_release_does_not_know() {
    let text = std::fs::read_to_string(root().join(LAST_RELEASE).join("apigateways.yaml")).unwrap();
    let definition: Value = serde_saphyr::from_str(&text).unwrap();
    let status =
        "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/lastFailure/properties/reason/enum";
    let known: Vec<&str> =
        definition.pointer(status).unwrap().as_array().unwrap().iter().flat_map(Value::as_str).collect();
    let newer: BTreeSet<&str> =
        Reason::ALL.iter().map(|reason| reason.as_str()).filter(|reason| !known.contains(reason)).collect();

    let page = std::fs::read_to_string(root().join("docs/src/how-to/upgrade.md")).unwrap();
    let (_, below) = page.split_once("\n  grep -wE '").expect("the page lists them");
    let named: BTreeSet<&str> = below.split('\'').next().unwrap().split('|').collect();
    assert_eq!(named, newer, "named in docs/src/how-to/upgrade.md, and newer than the last release");
}

/// Creates everything that an upgrade can leave behind if it is reverted.
async fn leave_behind(world: &World, domain: &str) {
    let host = |name: &str| format!("{name}.{domain}");
    let _operator = world.operator();
    serves(world, "serving", json!({ "image": "acme/gateway:1", "replicas": 2, "host": host("serving") })).await;
    serves(world, "scaled", json!({ "image": "acme/gateway:1" })).await;
    serves(world, "restarted", json!({ "image": "acme/gateway:1" })).await;
    serves(world, "suspended", json!({ "image": "acme/gateway:1", "host": host("suspended") })).await;
    // The API server rounds this quantity, and the status reports it.
    let resources = json!({ "requests": { "cpu": "1.5m" } });
    serves(world, "rounded", json!({ "image": "acme/gateway:1", "resources": resources })).await;
    serves(world, "unread", json!({ "image": "acme/gateway:1" })).await;
    world.apply(&gateway("starting", json!({ "image": "acme/never-ready:1", "startDeadline": "30m" }))).await;
    world.apply(&gateway("timed-out", json!({ "image": "acme/unpullable:1", "startDeadline": "2s" }))).await;
    world.apply(&gateway("stopped", json!({ "image": "acme/gateway:1", "state": "Stopped" }))).await;
    world.patch("scaled", json!({ "spec": { "replicas": 3 } })).await;
    world.patch("restarted", restart("one")).await;
    world.patch("suspended", json!({ "spec": { "suspend": true } })).await;
    world.until_condition("suspended", condition::STALLED, "False", "Suspended").await;
    world.until("scaled", "scaled", |object: &Deployment| object.spec.as_ref().unwrap().replicas == Some(3)).await;
    let restarted = |gateway: &ApiGateway| gateway.status.as_ref().unwrap().restarts == 1;
    world.until("restarted", "restarted", restarted).await;
    world.until_condition("restarted", condition::READY, "True", "Started").await;
    world.until_phase("timed-out", Phase::Stopped, State::Stopped).await;
    world.until_phase("stopped", Phase::Stopped, State::Stopped).await;
    world.until_phase("starting", Phase::Starting, State::Running).await;
    world.until("serving-dev", "active", is_active).await;
    for name in ["scaled", "restarted"] {
        until_settled(world, name).await;
    }
}

/// A downgrade to an operator without some of the values and fields, and an upgrade again. `PHASEGATE_OLDER` names its
/// program.
///
/// The last release does not reconcile what it cannot read: it keeps the pods, and forgets the hosts
/// (docs/src/how-to/upgrade.md).
#[tokio::test]
async fn an_upgrade_that_is_taken_back_and_made_again_rolls_nothing_begins_nothing_and_frees_no_host() {
    const ALL: [&str; 9] =
        ["serving", "scaled", "restarted", "suspended", "rounded", "unread", "starting", "timed-out", "stopped"];
    let world = World::new("taken-back").await;
    let domain = format!("{}.example.com", world.namespace);
    let dev = environment("serving-dev", "serving", Some(&format!("dev.{domain}")));
    world.create::<Environment>(dev).await;
    leave_behind(&world, &domain).await;
    // A pod that waited for a scheduling gate in an earlier attempt.
    let failure = json!({
        "reason": "SchedulingGated", "message": "newer", "hint": "newer", "at": "2026-01-01T00:00:00.000000Z", "attempt": 1,
    });
    world.patch_status("unread", json!({ "status": { "lastFailure": failure } })).await;
    let before = all_untouched(&world, &ALL).await;

    let mut older = world.older_operator();
    all_seen(&world, "later").await;
    asks_for_their_hosts(&world, &domain).await;
    assert_eq!(all_untouched(&world, &ALL).await, before, "under the older operator");
    older.end();

    let _operator = world.operator();
    all_seen(&world, "latest").await;
    assert_eq!(all_untouched(&world, &ALL).await, before, "under this one again");
    let environment: Environment = world.api().get("serving-dev").await.unwrap();
    assert!(is_active(&environment));
    for name in ["wants-serving", "wants-suspended", "wants-dev"] {
        world.until_condition(name, condition::STALLED, "True", "HostTaken").await;
    }
    // New requests take effect.
    for name in ["serving", "rounded", "unread"] {
        let changed = world.patch(name, json!({ "spec": { "image": "acme/gateway:2" } })).await;
        world.until_ready_again(&changed).await;
    }
    world.patch("starting", json!({ "spec": { "state": "Stopped" } })).await;
    world.until_phase("starting", Phase::Stopped, State::Stopped).await;
}

#[tokio::test]
async fn a_status_of_a_newer_version_is_read_and_kept_and_its_gateway_is_worked_on() {
    let world = World::new("newer").await;
    let mut operator = world.operator();
    let host = format!("{}.example.com", world.namespace);
    serves(&world, "shop", json!({ "image": "acme/gateway:1", "host": host })).await;
    operator.end();
    let mut status = serde_json::to_value(world.gateway("shop").await.status.unwrap()).unwrap();
    status["history"][0]["reason"] = json!("HeldByPolicy");
    status["history"][0]["state"] = json!("Drained");
    let failure = json!({
        "reason": "HeldByPolicy", "message": "newer", "hint": "newer", "at": "2026-01-01T00:00:00.000000Z", "attempt": 1,
    });
    status["lastFailure"] = failure;
    let metered = json!({
        "type": "Metered", "status": "True", "reason": "WithinQuota", "message": "newer",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    });
    status["conditions"].as_array_mut().unwrap().push(metered);
    world.patch_status("shop", json!({ "status": status })).await;

    let _operator = world.operator();
    let thief = json!({ "image": "acme/gateway:1", "host": host });
    world.apply(&gateway("wants-it", thief)).await;
    world.until_condition("wants-it", condition::STALLED, "True", "HostTaken").await;
    world.patch_object::<Service>("shop", json!({ "spec": { "selector": { "edited": "yes" } } })).await;
    let repaired =
        |service: &Service| !service.spec.as_ref().unwrap().selector.as_ref().unwrap().contains_key("edited");
    world.until("shop", "repaired", repaired).await;
    world.patch("shop", json!({ "spec": { "state": "Stopped" } })).await;
    let stopped =
        |gateway: &ApiGateway| gateway.status.as_ref().is_some_and(|status| status.phase == Some(Phase::Stopped));
    let shop = world.until("shop", "Stopped", stopped).await;
    assert_eq!(path(&shop)[0], "Starting/Drained HeldByPolicy");
    assert!(is_true(&shop, "Metered"));
    world.delete("shop").await;
}

/// With a newer definition, a spec can request what this version does not support.
#[tokio::test]
async fn a_spec_of_a_newer_version_keeps_its_host_and_its_pods_and_can_be_corrected_or_deleted() {
    let world = private_world("paused").await;
    let _operator = world.operator();
    let spec = json!({ "image": "acme/gateway:1", "host": "paused.example.com" });
    for name in ["shop", "till"] {
        let host = format!("{name}.example.com");
        serves(&world, name, json!({ "image": "acme/gateway:1", "host": host })).await;
    }
    redefine(&world, |properties| {
        let words = properties["spec"]["properties"]["state"]["enum"].as_array_mut().unwrap();
        words.push(json!("Paused"));
    })
    .await;
    let before = all_untouched(&world, &["shop", "till"]).await;
    for name in ["shop", "till"] {
        let paused = json!({ "spec": { "state": "Paused" } });
        world.until_patched(name, paused).await;
        let asked = world.until_condition(name, condition::STALLED, "True", "UnknownWord").await;
        assert!(message(&asked, condition::STALLED).contains("spec.state \"Paused\" is unknown"));
    }
    world.apply(&gateway("thief", json!({ "image": spec["image"], "host": "shop.example.com" }))).await;
    world.until_condition("thief", condition::STALLED, "True", "HostTaken").await;
    assert_eq!(all_untouched(&world, &["shop", "till"]).await, before);

    world.patch("till", json!({ "spec": { "state": "Stopped" } })).await;
    world.until_phase("till", Phase::Stopped, State::Stopped).await;
    world.delete("shop").await;
    world.until_started("thief").await;
}

#[tokio::test]
async fn a_gateway_that_cannot_be_read_keeps_its_host() {
    let world = World::new("unread").await;
    let mut operator = world.operator();
    let host = format!("{}.example.com", world.namespace);
    serves(&world, "shop", json!({ "image": "acme/gateway:1", "host": host })).await;
    operator.end();
    let bad = json!({ "status": { "attempt": { "startedAt": "9999-12-31T23:59:59.000000-23:59" } } });
    world.patch_status("shop", bad).await;

    let _operator = world.operator();
    world.until_event("shop", "Undecodable").await;
    world.apply(&gateway("wants-it", json!({ "image": "acme/gateway:1", "host": host }))).await;

    world.until_condition("wants-it", condition::STALLED, "True", "HostTaken").await;
    world.api::<ApiGateway>().delete("shop", &Default::default()).await.unwrap();
    world.until_started("wants-it").await;
}

#[tokio::test]
async fn two_shards_that_hold_elections_in_one_namespace_have_a_lease_each() {
    let world = World::new("shards").await;
    let namespace = crate::harness::cluster::operator_namespace();
    let election = ["--leader-election", "--lease-namespace", &namespace];
    let _a = world.operator_with(&[&election[..], &["--selector", "shard=a"]].concat());
    let _b = world.operator_with(&[&election[..], &["--selector", "shard=b"]].concat());

    for shard in ["a", "b"] {
        let mut object = gateway(&format!("of-{shard}"), json!({ "image": "acme/gateway:1" }));
        object["metadata"]["labels"] = json!({ "shard": shard });
        world.apply(&object).await;
        world.until_started(&format!("of-{shard}")).await;
    }
}

#[tokio::test]
async fn a_standby_of_another_task_says_whose_lease_it_waits_for() {
    let world = World::new("waits").await;
    let _first = world.candidate(&["--identity", "the-first", "--selector", "shard=a"]);
    crate::harness::until(world.leases(), &world.namespace, "a leader", |lease| {
        lease.spec.as_ref().is_some_and(|spec| spec.holder_identity.is_some())
    })
    .await;
    let health = Health::reserve();

    let _second = world.candidate(&["--selector", "shard=b", "--http-bind", &health.address()]);

    let said = health.until("/readyz", 200, &["ok", "held by the-first since 20", "--lease-name"]).await;
    assert!(said.contains("which reconciles gateways with shard=a of"), "{said}");
    assert!(world.operator_log().contains("is held by the-first"), "{}", world.operator_log());
}

#[tokio::test]
async fn a_standby_without_definitions_is_not_ready_and_says_what_to_apply() {
    let world = private_world_on("standby-without", Cluster::private).await;
    let lease = json!({
        "metadata": { "name": world.namespace },
        "spec": { "holderIdentity": "somebody", "leaseDurationSeconds": 600 },
    });
    world.leases().create(&PostParams::default(), &serde_json::from_value(lease).unwrap()).await.unwrap();
    let health = Health::reserve();

    let _operator = world.candidate(&["--http-bind", &health.address()]);

    health
        .until("/readyz", 503, &["does not serve phasegate.dev/v1alpha1", "kubectl apply --server-side -f crds"])
        .await;
    world.cluster.install_definitions(LAST_RELEASE).unwrap();
    health.until("/readyz", 503, &["older than this operator"]).await;
    world.cluster.install_crds().unwrap();
    health.until("/readyz", 200, &["ok", "held by somebody"]).await;
}
