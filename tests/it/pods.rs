//! The status reports what admission adds to a pod, what its node does to it, and which probes fail.

use futures::future::join_all;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Event, Pod, ResourceQuota};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use phasegate::api::{ApiGateway, Phase, Reason, State, condition};
use serde_json::{Value, json};

use crate::harness::{Health, Policies, Policy, PolicyEffect, World, eventually, gateway, message, restart};
use crate::plugin::said;

/// A value in CEL syntax. In maps and lists with values of several types, each value needs `dyn()`.
fn cel(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| format!("{key:?}: dyn({})", cel(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
        Value::Array(list) => {
            let list = list.iter().map(|value| format!("dyn({})", cel(value)));
            format!("[{}]", list.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// A policy that adds a value to the pods of one gateway.
async fn adds<'a>(world: &'a World, of_gateway: &str, path: &str, value: &Value) -> Policies<'a> {
    let patches = format!("[JSONPatch{{op: \"add\", path: {path:?}, value: {}}}]", cel(value));
    let does = PolicyEffect::Changes(&patches);
    Policies::new(world, &[Policy { of: of_gateway, resource: "/pods", operations: &["CREATE"], does }]).await
}

/// A container that a webhook injects.
fn injected(name: &str, restart_policy: Option<&str>) -> Value {
    let security = json!({ "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] }, "runAsNonRoot": true,
        "seccompProfile": { "type": "RuntimeDefault" } });
    let mut container = json!({ "name": name, "image": "acme/injected:1", "securityContext": security });
    if let Some(policy) = restart_policy {
        container["restartPolicy"] = json!(policy);
    }
    container
}

/// The pods of a gateway with this image, once there are `count` whose node has reported a status.
async fn pods(world: &World, gateway: &str, image: &str, count: usize) -> Vec<Pod> {
    let of_gateway = ListParams::default().labels(&format!("phasegate.dev/gateway={gateway}"));
    let is_wanted = |pod: &Pod| {
        let looked_at = pod.status.as_ref().is_some_and(|status| status.container_statuses.is_some());
        looked_at && pod.spec.as_ref().is_some_and(|spec| spec.containers[0].image.as_deref() == Some(image))
    };
    let found = eventually(std::time::Duration::from_millis(100), async || {
        let mut pods = world.api::<Pod>().list(&of_gateway).await.unwrap().items;
        pods.retain(is_wanted);
        (pods.len() >= count).then_some(pods)
    });
    found.await.unwrap_or_else(|| panic!("{gateway} never had {count} pods of {image}"))
}

pub async fn pod_of(world: &World, gateway: &str, image: &str) -> String {
    pods(world, gateway, image, 1).await[0].name_any()
}

const SERVES: &str = "acme/gateway:1";
pub const NEVER_READY: &str = "acme/never-ready:1";

/// Writes a pod's status as a kubelet does.
pub async fn says(world: &World, pod: &str, status: Value) {
    let patch = Patch::Strategic(json!({ "status": status }));
    world.api::<Pod>().patch_status(pod, &PatchParams::default(), &patch).await.unwrap();
}

/// Creates a kubelet's Event for a container.
pub async fn tells(world: &World, pod: &str, path: &str, reason: &str, words: &str) {
    let type_ = if reason == "Killing" { "Normal" } else { "Warning" };
    let object = json!({ "kind": "Pod", "namespace": world.namespace, "name": pod, "fieldPath": path });
    let event = json!({
        "metadata": { "generateName": format!("{pod}.") },
        "involvedObject": object,
        "type": type_,
        "reason": reason,
        "message": words,
        "lastTimestamp": "2026-01-02T03:04:05Z",
    });
    world.create::<Event>(event).await;
}

pub const GATEWAY: &str = "spec.containers{gateway}";
const THEN: &str = "2026-01-02T03:04:05Z";
const LATER: &str = "2026-01-02T03:04:51Z";

fn running(name: &str, ready: bool, since: &str) -> Value {
    json!({ "name": name, "image": "i", "imageID": "", "restartCount": 0, "ready": ready, "started": ready,
        "state": { "running": { "startedAt": since } } })
}

fn unready(reason: &str) -> Value {
    json!([{ "type": "Ready", "status": "False", "reason": reason, "lastTransitionTime": THEN }])
}

/// What admission adds to the pods of a gateway, and what the operator reports.
struct Added {
    name: &'static str,
    path: &'static str,
    value: Value,
    status: Option<Value>,
    reason: Reason,
    words: &'static [&'static str],
}

fn added() -> Vec<Added> {
    let image = |name: &str| json!({ "name": name, "image": "i", "imageID": "", "restartCount": 0, "ready": false });
    let waits = || {
        let mut gateway = image("gateway");
        gateway["state"] = json!({ "waiting": { "reason": "PodInitializing" } });
        gateway
    };
    let initializing = |container: Value| {
        json!({ "phase": "Pending", "conditions": unready("ContainersNotReady"), "initContainerStatuses": [container],
            "containerStatuses": [waits()] })
    };
    let gate = |status: &str| json!({ "type": "example.com/attached", "status": status, "reason": "Draining", "message": "1 target left" });
    let mut gated = unready("ReadinessGatesNotReady");
    gated.as_array_mut().unwrap().push(gate("False"));
    vec![
        Added {
            name: "gated",
            path: "/spec/schedulingGates",
            value: json!([{ "name": "example.com/hold" }]),
            status: None,
            reason: Reason::SchedulingGated,
            words: &[
                "pod gated-",
                "scheduling gate \"example.com/hold\", not in the spec, is removed",
                "the cluster administrator",
            ],
        },
        Added {
            name: "unclaimed",
            path: "/spec/schedulerName",
            value: json!("nobody"),
            status: None,
            reason: Reason::Unschedulable,
            words: &["pod unclaimed-", "scheduler \"nobody\", not in the spec, has not processed it"],
        },
        Added {
            name: "detached",
            path: "/spec/readinessGates",
            value: json!([{ "conditionType": "example.com/attached" }]),
            status: Some(json!({ "conditions": gated, "containerStatuses": [running("gateway", true, LATER)] })),
            reason: Reason::ReadinessGatesNotReady,
            words: &["pod detached-", "readiness gate \"example.com/attached\" is not: Draining: 1 target left"],
        },
        Added {
            name: "waiting",
            path: "/spec/initContainers",
            value: json!([injected("wait-for-db", None)]),
            status: Some(initializing(running("wait-for-db", false, LATER))),
            reason: Reason::ContainersNotInitialized,
            words: &[
                "pod waiting-",
                "container wait-for-db, which is not in the spec: it has run since 2026-01-02T03:04:51Z and does not \
                 finish",
            ],
        },
        Added {
            name: "meshed",
            path: "/spec/initContainers",
            value: json!([injected("mesh", Some("Always"))]),
            status: Some(initializing(running("mesh", false, LATER))),
            reason: Reason::ContainersNotInitialized,
            words: &[
                "pod meshed-",
                "container mesh, which is not in the spec",
                "is not started: Startup probe failed: no config",
            ],
        },
    ]
}

async fn is_told(world: &World, added: &Added) {
    let _policy = adds(world, added.name, added.path, &added.value).await;
    let spec = json!({ "image": NEVER_READY, "startDeadline": "30s" });
    world.apply(&gateway(added.name, spec)).await;
    if let Some(status) = &added.status {
        let pod = pod_of(world, added.name, NEVER_READY).await;
        says(world, &pod, status.clone()).await;
        tells(world, &pod, "spec.initContainers{mesh}", "Unhealthy", "Startup probe failed: no config").await;
    }
    let told = world.until_condition(added.name, condition::RECONCILING, "True", added.reason.as_str()).await;
    let message = message(&told, condition::RECONCILING);
    assert!(added.words.iter().all(|words| message.contains(words)), "{}: {message}", added.name);
    let shown = said(world, &["get", "--stuck"]).await.ok();
    let row = shown.lines().find(|line| line.starts_with(added.name)).unwrap_or_else(|| panic!("{shown}"));
    assert!(row.contains(added.words[1]), "{row}");

    let stopped = world.until_phase(added.name, Phase::Stopped, State::Stopped).await;
    let failure = stopped.status.unwrap().last_failure.unwrap();
    assert_eq!(failure.reason, added.reason, "{failure:?}");
    assert!(failure.message.contains(added.words[1]), "{failure:?}");
    let shown = said(world, &["get", "--stuck"]).await.ok();
    let row = shown.lines().find(|line| line.starts_with(added.name)).unwrap_or_else(|| panic!("{shown}"));
    assert!(row.contains("StartDeadlineExceeded") && row.contains(&format!("{}: pod ", added.reason)), "{row}");
}

#[tokio::test]
async fn what_others_add_to_a_pod_and_that_holds_it_up_is_named_before_the_deadline_and_after_it() {
    let world = World::new("added").await;
    let _operator = world.operator();
    join_all(added().iter().map(|added| is_told(&world, added))).await;
}

/// Its containers end with exit codes of their own, and the pod exists for as long as its Deployment.
#[tokio::test]
async fn a_pod_that_its_node_shut_down_is_no_crash_and_beside_a_gateway_that_serves_it_is_nothing() {
    let world = World::new("shut-down").await;
    let health = Health::reserve();
    let _operator = world.operator_with(&["--http-bind", &health.address()]);
    let words = "Pod was terminated in response to imminent node shutdown.";
    let run = json!({ "exitCode": 0, "reason": "Completed", "startedAt": THEN, "finishedAt": LATER });
    let ended = || {
        json!({ "phase": "Succeeded", "reason": "Terminated", "message": words, "conditions": unready("PodCompleted"),
            "containerStatuses": [{ "name": "gateway", "image": "i", "imageID": "", "restartCount": 0, "ready": false,
                "state": { "running": null, "terminated": run } }] })
    };
    world.apply(&gateway("shop", json!({ "image": SERVES, "replicas": 2 }))).await;
    world.until_started("shop").await;
    let litter = pod_of(&world, "shop", SERVES).await;
    says(&world, &litter, ended()).await;
    let all = pods(&world, "shop", SERVES, 3).await;
    world.until_condition("shop", condition::READY, "True", "Started").await;
    // It remains while the others are deleted and recreated.
    for pod in all.iter().map(ResourceExt::name_any).filter(|pod| *pod != litter) {
        world.api::<Pod>().delete(&pod, &DeleteParams::default()).await.unwrap();
        world.until_gone::<Pod>(&pod).await;
    }
    pods(&world, "shop", SERVES, 3).await;
    world.until_condition("shop", condition::READY, "True", "Started").await;
    let changed = world.patch("shop", json!({ "spec": { "image": "acme/gateway:2" } })).await;
    world.until_ready_again(&changed).await;
    assert_eq!(world.until_event("shop", "Started").await, ["Normal Started"]);
    for reason in ["CrashLoop", "NodeFailed"] {
        health.until("/metrics", 200, &[&format!("phasegate_failures_total{{reason=\"{reason}\"}} 0\n")]).await;
    }

    world.apply(&gateway("late", json!({ "image": NEVER_READY }))).await;
    let pod = pod_of(&world, "late", NEVER_READY).await;
    says(&world, &pod, ended()).await;
    let late = world.until_condition("late", condition::RECONCILING, "True", "NodeFailed").await;
    let told = message(&late, condition::RECONCILING);
    let node = world.api::<Pod>().get(&pod).await.unwrap().spec.unwrap().node_name.unwrap();
    assert!(told.starts_with(&format!("pod {pod}: its node {node} terminated it: Terminated: {words}")), "{told}");
}

/// The state that a real kubelet leaves: the program handled the signal and ended with its own exit code.
async fn is_killed_by_its_liveness_probe(world: &World, pod: &str, code: i32) {
    let refused = "Liveness probe failed: dial tcp 10.244.0.9:9999: connect: connection refused";
    tells(world, pod, GATEWAY, "Unhealthy", refused).await;
    tells(world, pod, GATEWAY, "Killing", "Container gateway failed liveness probe, will be restarted").await;
    let run = json!({ "exitCode": code, "reason": "Completed", "startedAt": THEN, "finishedAt": LATER });
    let mut container = running("gateway", false, LATER);
    container["lastState"] = json!({ "terminated": run });
    container["restartCount"] = json!(1);
    says(world, pod, json!({ "conditions": unready("ContainersNotReady"), "containerStatuses": [container] })).await;
}

#[tokio::test]
async fn what_a_probe_ended_is_told_by_the_probe_in_a_start_and_in_a_rollout() {
    let world = World::new("killed").await;
    let _operator = world.operator();
    let spec = |image: &str| json!({ "image": image, "port": 9999 });
    world.apply(&gateway("starts", spec(NEVER_READY))).await;
    world.apply(&gateway("rolls", spec(SERVES))).await;
    world.until_started("rolls").await;
    world.patch("rolls", json!({ "spec": { "image": NEVER_READY } })).await;
    for (name, code) in [("starts", 0), ("rolls", 2)] {
        let pod = pod_of(&world, name, NEVER_READY).await;
        is_killed_by_its_liveness_probe(&world, &pod, code).await;
        let told = world.until_condition(name, condition::RECONCILING, "True", "ReadinessFailing").await;
        let told = message(&told, condition::RECONCILING);
        let expected =
            format!("pod {pod}: the kubelet killed it because its probe failed: nothing listens on spec.port 9999: ");
        assert!(told.starts_with(&expected), "{told}");
        let events = world.until_event(name, "ReadinessFailing").await;
        assert!(!events.contains(&"Warning CrashLoop".to_owned()), "{events:?}");
    }
}

/// The simulated program begins to listen after 20 seconds.
#[tokio::test]
async fn a_healthy_start_within_its_usual_time_is_no_failure_and_says_what_it_waits_for() {
    let world = World::new("slow").await;
    let health = Health::reserve();
    let _operator = world.operator_with(&["--http-bind", &health.address()]);
    world.apply(&gateway("shop", json!({ "image": "acme/slow-start:1", "startDeadline": "1m" }))).await;
    let pod = pod_of(&world, "shop", "acme/slow-start:1").await;
    let refused = "Startup probe failed: dial tcp 10.244.0.9:8080: connect: connection refused";
    tells(&world, &pod, GATEWAY, "Unhealthy", refused).await;
    let waits = "not ready yet: nothing listens on spec.port 8080: Startup probe failed";
    world.until("shop", waits, |shop: &ApiGateway| message(shop, condition::READY).contains(waits)).await;
    let shown = said(&world, &["status", "shop"]).await.ok();
    assert!(shown.contains("Not ready") && shown.contains("nothing listens on spec.port 8080"), "{shown}");
    world.until_started("shop").await;
    assert_eq!(world.until_event("shop", "Started").await, ["Normal Started"]);
    health.until("/metrics", 200, &["phasegate_failures_total{reason=\"ReadinessFailing\"} 0\n"]).await;
}

#[tokio::test]
async fn a_node_that_dies_in_a_rollout_is_named_where_no_pod_serves() {
    let world = World::new("node-dies").await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": SERVES }))).await;
    world.until_started("shop").await;
    world.patch("shop", json!({ "spec": { "image": NEVER_READY } })).await;
    pods(&world, "shop", NEVER_READY, 1).await;
    let old = pods(&world, "shop", SERVES, 1).await.swap_remove(0);
    // The containers are ready in the kubelet's last report. The node controller sets the pod's Ready condition to
    // False.
    says(&world, &old.name_any(), json!({ "conditions": [{ "type": "Ready", "status": "False" }] })).await;
    let told = world.until_condition("shop", condition::RECONCILING, "True", "NodeFailed").await;
    let told = message(&told, condition::RECONCILING);
    let node = old.spec.as_ref().unwrap().node_name.as_ref().unwrap();
    let expected = format!("pod {}: its node {node} does not respond; no pod serves.", old.name_any());
    assert!(told.starts_with(&expected), "{told}");
}

#[tokio::test]
async fn a_quota_that_counts_what_the_spec_does_not_say_asks_for_it() {
    let world = World::new("quota-wants").await;
    world.quota("small", json!({ "limits.memory": "1Gi", "requests.cpu": "1" })).await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": SERVES }))).await;
    let told = world.until_condition("shop", condition::RECONCILING, "True", "QuotaExceeded").await;
    let told = message(&told, condition::RECONCILING);
    assert!(told.contains("failed quota: small: must specify"), "{told}");
    let hint =
        "Set spec.resources.limits.memory and spec.resources.requests.cpu: the namespace's ResourceQuota requires it.";
    assert!(told.ends_with(hint), "{told}");
    let resources = json!({ "limits": { "memory": "64Mi" }, "requests": { "cpu": "10m" } });
    world.patch("shop", json!({ "spec": { "resources": resources } })).await;
    world.until_started("shop").await;
}

/// Between a Deployment and its pods is a ReplicaSet. Quotas count it, and admission can deny it.
#[tokio::test]
async fn a_replica_set_that_is_refused_is_told_as_pods_are_and_the_start_goes_on() {
    let world = World::new("replicasets").await;
    world.quota("small", json!({ "count/replicasets.apps": "1" })).await;
    let of_refused = Policy {
        of: "refused",
        resource: "apps/replicasets",
        operations: &["CREATE"],
        does: PolicyEffect::Refuses("false", "no replica sets on Fridays"),
    };
    let _policy = Policies::new(&world, &[of_refused]).await;
    let _operator = world.operator();
    world.apply(&gateway("first", json!({ "image": SERVES }))).await;
    world.until_started("first").await;
    world.apply(&gateway("counted", json!({ "image": SERVES }))).await;
    world.apply(&gateway("refused", json!({ "image": SERVES }))).await;

    let told = world.until_condition("counted", condition::RECONCILING, "True", "QuotaExceeded").await;
    let words = message(&told, condition::RECONCILING);
    assert!(words.contains("exceeded quota: small, requested: count/replicasets.apps=1"), "{words}");
    assert!(words.ends_with("it counts objects, and the gateway needs this one."), "{words}");
    let told = world.until_condition("refused", condition::RECONCILING, "True", "AdmissionRefused").await;
    let words = message(&told, condition::RECONCILING);
    assert!(words.contains("no replica sets on Fridays"), "{words}");
    let hard = json!({ "spec": { "hard": { "count/replicasets.apps": "3" } } });
    world.patch_object::<ResourceQuota>("small", hard).await;
    world.until_started("counted").await;
}

/// The state after a scheduler binds a pod at the moment at which the node dies.
#[tokio::test]
async fn a_pod_that_its_node_does_not_take_up_names_the_node() {
    let world = World::new("untaken").await;
    let _policy = adds(&world, "shop", "/spec/nodeName", &json!("ghost")).await;
    let _operator = world.operator();
    world.apply(&gateway("shop", json!({ "image": SERVES, "startDeadline": "20s" }))).await;
    let told = world.until_condition("shop", condition::RECONCILING, "True", "NodeFailed").await;
    let words = message(&told, condition::RECONCILING);
    assert!(words.starts_with("pod shop-") && words.contains("its node ghost has not started it"), "{words}");
}

#[tokio::test]
async fn another_deadline_alone_rolls_no_pods_that_serve_and_comes_with_the_next_restart() {
    let world = World::new("deadlines").await;
    let threshold = |deployment: &Deployment| {
        let deployment = serde_json::to_value(deployment).unwrap();
        deployment.pointer("/spec/template/spec/containers/0/startupProbe/failureThreshold").unwrap().clone()
    };
    let within = |seconds| {
        move |deployment: &Deployment| deployment.spec.as_ref().unwrap().progress_deadline_seconds == Some(seconds)
    };
    let mut operator = world.operator_with(&["--start-deadline", "100s"]);
    world.apply(&gateway("shop", json!({ "image": SERVES }))).await;
    world.until_started("shop").await;
    let before = pod_of(&world, "shop", SERVES).await;
    operator.end();
    let _operator = world.operator_with(&["--start-deadline", "200s"]);
    let kept = world.until("shop", "the new default", within(200)).await;
    assert_eq!(threshold(&kept), json!(55));
    world.until_condition("shop", condition::READY, "True", "Started").await;
    assert_eq!(pod_of(&world, "shop", SERVES).await, before);

    let changed = world.patch("shop", json!({ "spec": { "startDeadline": "5m" } })).await;
    world.until_ready_again(&changed).await;
    let kept = world.until("shop", "the spec's deadline", within(300)).await;
    assert_eq!(threshold(&kept), json!(55));
    assert_eq!(pod_of(&world, "shop", SERVES).await, before);

    world.patch("shop", restart("one")).await;
    let restarted = |deployment: &Deployment| threshold(deployment) == json!(155);
    world.until("shop", "the time that the spec gives", restarted).await;
    world.until_gone::<Pod>(&before).await;
    world.until_condition("shop", condition::READY, "True", "Started").await;
}
