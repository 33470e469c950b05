//! A fleet in which each state occurs.

use phasegate_harness::{Operator, World, environment, gateway, private_world};
use serde_json::json;

/// A fleet and its operator.
pub struct Fleet {
    pub world: World,
    _operator: Operator,
}

/// Gateways that serve, that start, that fail within their deadline, that failed, that are stopped and suspended.
pub async fn of_each_state() -> Fleet {
    let cluster = private_world("console").await;
    let world = cluster.beside_named("tenants").await;
    world.quota("memory", json!({ "requests.memory": "1Gi" })).await;
    let operator = world.operator();
    let image = "registry.example/acme/gateway:1.4.2";
    for (name, spec) in [
        ("shop", json!({ "image": image, "replicas": 3, "host": "shop.example.com" })),
        ("bank", json!({ "image": image, "host": "bank.example.com", "path": "/api" })),
        ("blog", json!({ "image": image })),
        ("wiki", json!({ "image": image, "host": "shop.example.com", "startDeadline": "30m" })),
        ("docs", json!({ "image": image, "state": "Stopped" })),
        ("search", json!({ "image": image, "suspend": true })),
        (
            "typo",
            json!({ "image": "registry.example/acme/unpullable:1", "startDeadline": "15s", "host": "typo.example.com" }),
        ),
        ("crash", json!({ "image": "registry.example/acme/crashing:2", "startDeadline": "30m" })),
        ("greedy", json!({ "image": image, "resources": { "requests": { "memory": "2Gi" } }, "startDeadline": "30m" })),
        ("slow", json!({ "image": "registry.example/acme/never-ready:1", "startDeadline": "30m" })),
    ] {
        let mut one = gateway(name, spec);
        // The quota wants a request of every pod.
        if one["spec"]["resources"].is_null() {
            one["spec"]["resources"] = json!({ "requests": { "memory": "32Mi" } });
        }
        world.apply(&one).await;
    }
    world
        .create::<phasegate_core::api::Environment>(environment("shop-staging", "shop", Some("staging.example.com")))
        .await;
    for name in ["shop", "bank", "blog"] {
        world.until_started(name).await;
    }
    for (name, reason) in
        [("typo", "StartDeadlineExceeded"), ("crash", "CrashLoop"), ("greedy", "QuotaExceeded"), ("wiki", "HostTaken")]
    {
        world.until_condition(name, "Ready", "False", reason).await;
    }
    Fleet { world, _operator: operator }
}
