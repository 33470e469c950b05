//! Large or numerous objects of one tenant cost other tenants nothing, even if they were stored before the limits
//! existed.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use phasegate::api::{ApiGateway, Environment, Phase, State, condition};
use serde_json::{Value, json};

use crate::harness::cluster::Cluster;
use crate::harness::{
    Health, World, environment, eventually, gateway, is_active, message, private_world, private_world_on, restart, root,
};

/// A count from an environment variable. `make proof` sets the full count.
fn size(variable: &str, small: usize) -> usize {
    std::env::var(variable).map_or(small, |text| text.parse().unwrap())
}

/// The memory that deploy/base gives the operator, in bytes.
const LIMIT: u64 = 512 << 20;

/// A gateway of 1.2 MB, which an older release accepted.
fn huge(name: &str) -> Value {
    let variable = |number| json!({ "name": format!("VARIABLE_{number}"), "value": "x".repeat(12_000) });
    let env: Vec<Value> = (0..100).map(variable).collect();
    gateway(name, json!({ "image": "acme/gateway:1", "state": "Stopped", "env": env }))
}

#[tokio::test]
async fn what_was_stored_before_there_were_bounds_is_no_harm_and_is_not_stuck_once_there_are() {
    let world = private_world_on("unbounded", || {
        let cluster = Cluster::private()?;
        cluster.install_definitions("tests/last-release/crds")?;
        Ok(cluster)
    })
    .await;
    let api: Api<ApiGateway> = world.api();
    let create = async |object: Value| {
        api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    };
    let huges = size("PHASEGATE_HUGE", 60);
    for number in 0..huges {
        create(huge(&format!("huge-{number}"))).await;
    }
    let bomb = json!({ "limits": { "memory": "1e9999999" } });
    create(gateway("bomb", json!({ "image": "acme/gateway:1", "resources": bomb }))).await;
    let env = json!([{ "name": "LONG", "value": "x".repeat(40_000) }]);
    create(gateway("long", json!({ "image": "acme/gateway:1", "env": env }))).await;

    let operator = world.operator();
    let held = world.until_condition("bomb", condition::STALLED, "True", "InvalidSpec").await;
    let said = message(&held, condition::STALLED);
    assert!(said.starts_with("spec.resources.limits.memory: invalid value \"1e9999999\""), "{said}");
    world.until_started("long").await;
    for number in 0..huges {
        world.until_phase(&format!("huge-{number}"), Phase::Stopped, State::Stopped).await;
    }
    assert!(world.api::<Deployment>().get_opt("bomb").await.unwrap().is_none());
    let peak = operator.peak_memory();
    println!("{huges} gateways of 1.2 MB: {} MB at most", peak >> 20);
    assert!(peak < LIMIT / 2, "{} MB", peak >> 20);

    let cluster = Arc::clone(&world.cluster);
    tokio::task::spawn_blocking(move || cluster.install_crds().unwrap()).await.unwrap();
    let longer = json!({ "spec": { "env": [{ "name": "LONG", "value": "x".repeat(40_001) }] } });
    let refused = async || {
        let tried = api.patch("long", &PatchParams::default(), &Patch::Merge(&longer)).await;
        tried.err().map(|error| error.to_string())
    };
    let refused = eventually(Duration::from_millis(200), refused).await.unwrap();
    assert!(refused.contains("spec.env[0].value: Too long"), "{refused}");
    // An unchanged field is not a fault: requests, changes and status updates of such a gateway still work.
    world.patch("long", restart("again")).await;
    world.until("long", "a second attempt", |gateway: &ApiGateway| attempt(gateway) == Some(2)).await;
    let changed = world.patch("long", json!({ "spec": { "image": "acme/gateway:2" } })).await;
    world.until_ready_again(&changed).await;
    world.patch("huge-0", json!({ "spec": { "image": "acme/gateway:2" } })).await;
    world
        .until("huge-0", "its generation observed", |gateway: &ApiGateway| {
            gateway.status.as_ref().is_some_and(|status| status.observed_generation == gateway.metadata.generation)
        })
        .await;
    world.patch("bomb", json!({ "spec": { "resources": { "limits": { "memory": "64Mi" } } } })).await;
    world.until_started("bomb").await;
}

fn attempt(gateway: &ApiGateway) -> Option<i64> {
    gateway.status.as_ref()?.attempt.as_ref().map(|attempt| attempt.number)
}

/// As many as the quota of deploy/samples admits, each as large as its definition allows.
#[tokio::test]
async fn a_tenant_that_uses_all_of_its_quota_fits_into_the_operators_memory() {
    let world = World::new("largest").await;
    // The test does not create the quota: the API server enforces quotas, and begins to count only after half a minute.
    let sample = std::fs::read_to_string(root().join("deploy/samples/tenant/quota.yaml")).unwrap();
    assert!(sample.contains("count/apigateways.phasegate.dev: \"100\""), "{sample}");
    let variables = |number| json!({ "name": format!("VARIABLE_{number}"), "value": "x".repeat(32 * 1024) });
    let texts = vec!["x".repeat(8 * 1024); 8];
    let largest = |number: usize| {
        let env: Vec<Value> = (0..8).map(variables).collect();
        let mut object = gateway(
            &format!("large-{number}"),
            json!({ "image": "acme/gateway:1", "state": "Stopped", "env": env, "args": texts, "command": texts }),
        );
        object["metadata"]["annotations"] = json!({ "note": "x".repeat(250 * 1024) });
        object
    };
    let api: Api<ApiGateway> = world.api();
    let create = async |number: usize| {
        api.create(&PostParams::default(), &serde_json::from_value(largest(number)).unwrap()).await
    };
    let count = size("PHASEGATE_LARGEST", 100);
    for number in 0..count {
        create(number).await.unwrap();
    }

    let operator = world.operator();
    for number in 0..count {
        world.until_phase(&format!("large-{number}"), Phase::Stopped, State::Stopped).await;
    }
    let peak = operator.peak_memory();
    println!("{count} gateways of 640 KB: {} MB at most", peak >> 20);
    assert!(peak < LIMIT / 2, "{} MB", peak >> 20);
    // A reconcile of one gateway still reads the whole object.
    world.patch("large-0", json!({ "spec": { "state": "Running" } })).await;
    world.until_started("large-0").await;
    let deployment = world.api::<Deployment>().get("large-0").await.unwrap();
    let pod = deployment.spec.unwrap().template.spec.unwrap();
    assert_eq!(pod.containers[0].env.as_ref().map(Vec::len), Some(8));
    assert_eq!(pod.containers[0].args.as_ref().map(Vec::len), Some(8));
}

/// Finalizers and labels have no limit of their own. Each is as short as possible: eight bytes of them need a hundred
/// in memory.
#[tokio::test]
async fn metadata_without_end_is_not_the_operators_memory() {
    // Each write of such an object takes the API server seconds, and would delay other tests.
    let world = private_world("metadata").await;
    let count = size("PHASEGATE_METADATA", 4);
    let finalizers = vec!["a.b/c"; 140_000];
    let labels: serde_json::Map<_, _> = (0..45_000).map(|number| (format!("l{number}"), json!(""))).collect();
    for number in 0..count {
        let mut dev = environment(&format!("env-{number}"), "none", None);
        dev["metadata"]["finalizers"] = json!(finalizers);
        world.create::<Environment>(dev).await;
        let stopped = json!({ "image": "acme/gateway:1", "state": "Stopped" });
        let mut labelled = gateway(&format!("labelled-{number}"), stopped);
        labelled["metadata"]["labels"] = json!(labels);
        world.create::<ApiGateway>(labelled).await;
    }
    // Status updates take long too, on a machine that runs other tests.
    let operator = world.operator_with(&["--call-timeout", "2m"]);
    for number in 0..count {
        world.until_phase(&format!("labelled-{number}"), Phase::Stopped, State::Stopped).await;
        world.until(&format!("env-{number}"), "told", |environment: &Environment| environment.status.is_some()).await;
    }
    let peak = operator.peak_memory();
    println!("{count} environments and gateways of 1.2 MB of metadata: {} MB at most", peak >> 20);
    assert!(peak < LIMIT / 2, "{} MB", peak >> 20);
    // What the operator does not cache is still stored: it belongs to the API server and to other clients.
    let environment = world.api::<Environment>().get("env-0").await.unwrap();
    assert_eq!(environment.metadata.finalizers.as_ref().map(Vec::len), Some(finalizers.len()));
    let gateway = world.api::<ApiGateway>().get("labelled-0").await.unwrap();
    assert_eq!(gateway.metadata.labels.as_ref().map(|labels| labels.len()), Some(labels.len()));
}

#[tokio::test]
async fn of_one_gateways_environments_so_many_count_and_others_are_told_once() {
    let world = World::new("many").await;
    let count = size("PHASEGATE_ENVIRONMENTS", 230);
    let name = |number: usize| format!("env-{number:05}");
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    for number in 0..count {
        world.create::<Environment>(environment(&name(number), "shop", None)).await;
    }
    let health = Health::reserve();
    let _operator = world.operator_with(&["--http-bind", &health.address()]);

    let started = world.until_started("shop").await;
    let counted = started.status.unwrap().environments.unwrap();
    assert_eq!((counted.active, counted.total), (200, 200));
    let told = |environment: &Environment| said(environment, condition::STALLED) == "True TooManyEnvironments";
    let ready = |environment: &Environment| said(environment, condition::READY);
    let surplus: Vec<String> = (200..count).map(name).collect();
    let mut versions = Vec::new();
    for name in &surplus {
        versions.push(world.until(name, "told", told).await.metadata.resource_version);
    }

    world.patch("shop", json!({ "spec": { "state": "Stopped" } })).await;
    world.until_phase("shop", Phase::Stopped, State::Stopped).await;
    for number in [0, 99, 100, 199] {
        let off = world.until(&name(number), "switched off", |environment: &Environment| !is_active(environment)).await;
        assert_eq!(ready(&off), "False GatewayNotStarted");
    }
    for (name, version) in surplus.iter().zip(versions) {
        let now = world.api::<Environment>().get(name).await.unwrap();
        assert_eq!(now.metadata.resource_version, version, "{name} was told once");
    }
    assert_eq!(health.get("/livez").await.unwrap().0, 200);

    world.api::<Environment>().delete(&name(7), &DeleteParams::default()).await.unwrap();
    let next = |environment: &Environment| ready(environment) == "False GatewayNotStarted";
    world.until(&name(200), "one that counts", next).await;
}

/// A condition of an environment, as `Status Reason`.
fn said(environment: &Environment, type_: &str) -> String {
    let mut conditions = environment.status.iter().flat_map(|status| &status.conditions);
    let found = conditions.find(|condition| condition.type_ == type_);
    found.map(|found| format!("{} {}", found.status, found.reason)).unwrap_or_default()
}

#[tokio::test]
async fn a_gateway_that_leaves_no_room_for_its_status_is_told_of_by_an_event() {
    let world = World::new("no-room").await;
    let api: Api<ApiGateway> = world.api();
    let labels = |count: usize| -> serde_json::Map<_, _> {
        (0..count).map(|number| (format!("l{number:0>40}"), json!("x".repeat(40)))).collect()
    };
    let full = |count: usize, padding: usize| {
        let mut object = gateway("full", json!({ "image": "acme/gateway:1", "state": "Stopped" }));
        object["metadata"]["labels"] = json!(labels(count));
        object["metadata"]["annotations"] = json!({ "note": "x".repeat(padding) });
        serde_json::from_value::<ApiGateway>(object).unwrap()
    };
    // Fill the object to within a hundred bytes of the storage limit: with labels, and with an annotation for the rest.
    let (mut count, mut fits, mut fails) = (9_000, 0, 250_000);
    while api.create(&PostParams::default(), &full(count, fails)).await.is_ok() {
        world.delete("full").await;
        count += 1_500;
    }
    while fails - fits > 100 {
        let half = usize::midpoint(fits, fails);
        match api.create(&PostParams::default(), &full(count, half)).await {
            Ok(_) => {
                world.delete("full").await;
                fits = half;
            }
            Err(_) => fails = half,
        }
    }
    assert!(fits > 0, "the labels leave the last bytes to the annotation: {count}");
    api.create(&PostParams::default(), &full(count, fits)).await.unwrap();

    let _operator = world.operator();
    let events = world.until_event("full", "TooLarge").await;
    assert_eq!(events, ["Warning TooLarge"]);
    assert!(world.gateway("full").await.status.is_none());
    world.patch("full", json!({ "metadata": { "annotations": { "note": null } } })).await;
    world.until_phase("full", Phase::Stopped, State::Stopped).await;
}
