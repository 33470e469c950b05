//! `status`, `get`, `history` and `wait` report gateways in every state.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::ListParams;
use phasegate::api::{ApiGateway, Phase, State, condition};
use serde_json::{Value, json};

use super::{Running, assert_snapshot, masked, plugin, said};
use crate::harness::{World, environment, gateway, root};

/// Creates started, starting, failing, timed out and stopped gateways, in one namespace and with one operator.
async fn all_states(world: &World) {
    let host = |name: &str| format!("{name}.{}.example.com", world.namespace);
    let spec = |image: &str, more: Value| {
        let mut spec = json!({ "image": format!("acme/{image}:1"), "startDeadline": "10m" });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    for object in [
        gateway("up", spec("gateway", json!({ "host": host("up") }))),
        gateway("slow", spec("never-ready", json!({}))),
        gateway("broken", spec("unpullable", json!({}))),
        gateway("late", spec("unpullable", json!({ "startDeadline": "20s" }))),
        gateway("off", spec("gateway", json!({ "state": "Stopped" }))),
    ] {
        world.apply(&object).await;
    }
    let dev = environment("up-dev", "up", Some(&host("dev")));
    world.create::<phasegate::api::Environment>(dev).await;
    world.until_started("up").await;
    world.until_phase("slow", Phase::Starting, State::Running).await;
    world.until_condition("broken", condition::READY, "False", "ImagePullFailed").await;
    world.until_condition("off", condition::READY, "True", "Stopped").await;
    world.until_phase("late", Phase::Stopped, State::Stopped).await;
    world
        .until::<phasegate::api::Environment>("up-dev", "active", |dev| {
            dev.status.as_ref().is_some_and(|status| status.state == phasegate::api::EnvironmentState::Active)
        })
        .await;
    // After the container statuses, the simulated node reports nothing more about a pod.
    for name in ["slow", "broken"] {
        let of_gateway = ListParams::default().labels(&format!("phasegate.dev/gateway={name}"));
        let pod = world.api::<Pod>().list(&of_gateway).await.unwrap().items[0].name_any();
        world
            .until::<Pod>(&pod, "known to its node", |pod| {
                pod.status.as_ref().is_some_and(|status| status.container_statuses.is_some())
            })
            .await;
    }
}

#[tokio::test]
async fn every_state_is_told_by_status_get_history_and_wait() {
    let world = World::new("states").await;
    let _operator = world.operator();
    all_states(&world).await;
    for name in ["up", "slow", "broken", "late", "off"] {
        let status = said(&world, &["status", name]).await.ok();
        // The cluster determines which Events exist by now, and their order.
        let (status, events) = status.split_once("\n\nEvents\n").unwrap_or((&status, ""));
        assert_snapshot(&format!("status-{name}"), &masked(&world, status));
        match name {
            "up" => assert!(events.contains("Started   "), "{events}"),
            "broken" => assert!(events.contains("ImagePullFailed"), "{events}"),
            "late" => assert!(events.contains("StartDeadlineExceeded"), "{events}"),
            _ => {}
        }
    }

    let get = said(&world, &["get"]).await.ok();
    assert_snapshot("get", &masked(&world, &get));
    assert_snapshot("get-wide", &masked(&world, &said(&world, &["get", "-o", "wide"]).await.ok()));
    let stuck = said(&world, &["get", "--stuck", "-o", "name"]).await.ok();
    assert_eq!(stuck, "apigateway.phasegate.dev/broken\napigateway.phasegate.dev/late\n", "one is going to fail");
    let late = said(&world, &["history", "late"]).await.ok();
    assert_snapshot("history", &masked(&world, &late));

    structured(&world).await;
    wait_ends_as_the_gateway_does(&world).await;
}

/// Checks the output for programs: JSON and YAML.
async fn structured(world: &World) {
    let json =
        async |arguments: &[&str]| -> Value { serde_json::from_str(&said(world, arguments).await.ok()).unwrap() };
    let broken = json(&["status", "broken", "-o", "json"]).await;
    assert_eq!(broken["phase"], "Starting");
    assert_eq!(
        (&broken["ready"], &broken["available"], &broken["stalled"]),
        (&json!(false), &json!(false), &json!(false))
    );
    assert_eq!(broken["cause"]["reason"], "ImagePullFailed");
    assert_eq!(broken["attempt"]["deadlineSeconds"], 600);
    assert_eq!(broken["children"][0]["kind"], "Deployment");
    assert_eq!(broken["children"][0]["children"][0]["children"][0]["state"], "ImagePullBackOff");
    let late = json(&["status", "late", "-o", "json"]).await;
    assert_eq!(
        (&late["state"], &late["asked"], &late["stalled"]),
        (&json!("Stopped"), &json!("Running"), &json!(true))
    );
    assert!(late["cause"]["message"].as_str().unwrap().contains("\"acme/unpullable:1\" cannot be pulled"), "{late}");
    assert!(late["cause"]["hint"].as_str().unwrap().contains("kubectl phasegate retry late"), "{late}");
    let fleet = json(&["get", "-o", "json"]).await;
    let names: Vec<_> = fleet["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["broken", "late", "off", "slow", "up"]);
    let history = json(&["history", "late", "-o", "json"]).await;
    let steps: Vec<_> =
        history["transitions"].as_array().unwrap().iter().map(|step| step["phase"].as_str().unwrap()).collect();
    assert_eq!(steps, ["Starting", "Started", "Stopping", "Stopped"]);
    let waited = json(&["wait", "up", "--for", "available", "-o", "json"]).await;
    assert_eq!(waited["reached"], "available");
    documented(&[&waited, &broken, &late, &fleet, &fleet["items"][0], &history, &history["transitions"][0]]);
    let yaml = said(world, &["get", "off", "-o", "yaml"]).await.ok();
    assert!(yaml.starts_with("items:\n") && yaml.contains("name: \"off\"\n"), "{yaml}");
}

/// Asserts that the documentation has every field of these objects.
fn documented(objects: &[&Value]) {
    let text = std::fs::read_to_string(root().join("docs/src/reference/plugin.md")).unwrap();
    let fields = objects.iter().flat_map(|object| object.as_object().unwrap().keys());
    let missing: Vec<_> = fields.filter(|field| !text.contains(&format!("`{field}`"))).collect();
    assert!(missing.is_empty(), "docs/src/reference/plugin.md says nothing about {missing:?}");
}

async fn wait_ends_as_the_gateway_does(world: &World) {
    let wait = async |name: &str, goal: &str, timeout: &str| {
        said(world, &["wait", name, "--for", goal, "--timeout", timeout]).await
    };
    let mut told = vec![
        wait("up", "available", "1m").await.ok(),
        wait("off", "stopped", "1m").await.ok(),
        wait("nobody", "gone", "1m").await.ok(),
        wait("late", "available", "1m").await.failed(2),
        wait("off", "available", "1m").await.failed(3),
        wait("nobody", "available", "1m").await.failed(4),
        wait("broken", "available", "1s").await.failed(124),
        wait("up", "gone", "1s").await.failed(124),
    ];
    let gone = Running::start(plugin(world, &["wait", "slow", "--for", "gone"]));
    world.api::<ApiGateway>().delete("slow", &Default::default()).await.unwrap();
    assert_eq!(gone.ended().await, 0);
    let deleted = said(world, &["status", "slow"]).await.failed(4);
    told.push(deleted);
    assert_snapshot("wait", &masked(world, &told.concat()));
}
