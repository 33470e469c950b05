//! The health rules in deploy/argocd and deploy/flux return the right status for objects that the operator wrote.
//!
//! The same table checks objects of a cluster, and recorded ones (tests/health/recorded).

use std::io::Write;
use std::process::{Command, Stdio};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::DeleteParams;
use phasegate::api::{ApiGateway, Environment, Phase, State};
use serde_json::{Value, json};

use crate::contract::generates;
use crate::harness::{World, environment, gateway, output, root, run, scratch};

/// An object's name, and the expected results of Argo CD and Flux.
const ROWS: [(&str, &str, &str, &str); 13] = [
    ("starting", "Progressing", "Starting: attempt 1 is in progress", "InProgress"),
    ("started", "Healthy", "the gateway matches its spec", "Current"),
    ("rolling", "Progressing", "RollingOut: a rollout or repair is in progress", "InProgress"),
    // It stays so until a user changes something, and the message has the cause.
    ("timed-out", "Degraded", "StartDeadlineExceeded: the gateway did not start within 2s: ", "Failed"),
    // Git requests this state.
    ("stopped", "Healthy", "stopped as requested", "Current"),
    ("suspended", "Suspended", "reconciliation is suspended", "Current"),
    ("host-taken", "Degraded", "HostTaken: host \"started.example.com\" is claimed by ", "Failed"),
    ("deleting", "Progressing", "is being deleted", "InProgress"),
    ("active", "Healthy", "its gateway serves", "Current"),
    ("waiting", "Progressing", "GatewayNotStarted: its gateway is starting", "InProgress"),
    // The gateway's status has the cause.
    ("idle", "Suspended", "its gateway is stopped", "Current"),
    ("refused", "Degraded", "HostTaken: host \"active.example.com\" is claimed by ", "Failed"),
    // The gateway may be part of the next sync wave.
    ("orphan", "Progressing", "GatewayNotFound: ", "InProgress"),
];

/// The results of both tools.
#[derive(Debug, PartialEq, serde::Deserialize)]
struct Verdict {
    argo: String,
    message: String,
    flux: String,
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&std::fs::read_to_string(root().join(path)).unwrap()).unwrap()
}

/// Evaluates the published rules for objects, with the interpreters of Argo CD and Flux.
fn judged(objects: &[Value]) -> Vec<Verdict> {
    let argo = &yaml("deploy/argocd/argocd-cm.yaml")["data"];
    let flux = &yaml("deploy/flux/gateways.yaml")["spec"]["healthCheckExprs"];
    let lua = |kind: &str| argo[format!("resource.customizations.health.phasegate.dev_{kind}")].clone();
    let cel = |kind: &str| {
        let found = flux.as_array().unwrap().iter().find(|rules| rules["kind"] == kind).unwrap();
        assert_eq!(found["apiVersion"], "phasegate.dev/v1alpha1");
        json!({ "inProgress": found["inProgress"], "failed": found["failed"], "current": found["current"] })
    };
    let of_each =
        |rule: &dyn Fn(&str) -> Value| json!({ "ApiGateway": rule("ApiGateway"), "Environment": rule("Environment") });
    let asked = json!({ "lua": of_each(&lua), "cel": of_each(&cel), "objects": objects });

    // One folder for each judge: it is removed at the judge's end, while other tests may still build theirs.
    let folder = scratch(&format!("health-{}-{:?}", std::process::id(), std::thread::current().id())).unwrap();
    let program = folder.join("judge");
    run(Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(root().join("tests/health"))
        .env("CGO_ENABLED", "0"))
    .unwrap();
    let mut judge = Command::new(&program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    judge.stdin.take().unwrap().write_all(asked.to_string().as_bytes()).unwrap();
    let answer = judge.wait_with_output().unwrap();
    let _ = std::fs::remove_dir_all(folder);
    assert!(answer.status.success());
    serde_json::from_slice(&answer.stdout).unwrap()
}

/// Asserts that the rules return the table's results for each object.
fn assert_judged(objects: &[Value]) {
    let named = |name: &str| {
        objects.iter().find(|object| object["metadata"]["name"] == name).unwrap_or_else(|| panic!("no {name}"))
    };
    let rows: Vec<Value> = ROWS.iter().map(|(name, ..)| named(name).clone()).collect();
    for ((name, argo, message, flux), verdict) in ROWS.iter().zip(judged(&rows)) {
        assert!(
            verdict.argo == *argo && verdict.message.starts_with(message) && verdict.flux == *flux,
            "{name} is to be {argo} ({message}) and {flux}: {verdict:?}"
        );
    }
}

fn recorded() -> Vec<Value> {
    ROWS.iter().map(|(name, ..)| yaml(&format!("tests/health/recorded/{name}.yaml"))).collect()
}

#[test]
fn recorded_objects_are_judged_as_the_table_says() {
    assert_judged(&recorded());
}

#[test]
fn what_the_operator_has_not_seen_yet_is_waited_for() {
    let mut changed = recorded();
    let without_status = |object: &Value| {
        let mut object = object.clone();
        object.as_object_mut().unwrap().remove("status");
        object
    };
    let unseen: Vec<Value> =
        changed.iter().filter(|object| object["metadata"]["name"] != "deleting").map(without_status).collect();
    for object in &mut changed {
        object["metadata"]["generation"] = json!(object["metadata"]["generation"].as_i64().unwrap() + 1);
    }
    for (object, verdict) in changed.iter().zip(judged(&changed)) {
        assert_eq!((verdict.argo.as_str(), verdict.flux.as_str()), ("Progressing", "InProgress"), "{object}");
    }
    // Flux retries if it cannot evaluate a rule.
    for (object, verdict) in unseen.iter().zip(judged(&unseen)) {
        assert_eq!(
            (verdict.argo.as_str(), verdict.message.as_str()),
            ("Progressing", "waits for the operator"),
            "{object}"
        );
        assert!(verdict.flux.starts_with("Unknown: no such attribute(s): status"), "{object}: {verdict:?}");
    }
}

async fn until_ready(world: &World, name: &str, status: &str, reason: &str, message: &str) {
    let told = |condition: &Condition| {
        condition.type_ == "Ready"
            && condition.status == status
            && condition.reason == reason
            && condition.message.starts_with(message)
    };
    let what = format!("Ready={status} {reason} {message}");
    let wanted = |environment: &Environment| environment.status.iter().flat_map(|status| &status.conditions).any(told);
    world.until::<Environment>(name, &what, wanted).await;
}

#[tokio::test]
async fn objects_of_a_cluster_are_judged_as_the_table_says() {
    let world = World::new("gitops").await;
    let _operator = world.operator();
    let image = |image: &str| json!({ "image": format!("acme/{image}:1") });
    let with = |mut spec: Value, more: Value| {
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    world.apply(&gateway("started", with(image("gateway"), json!({ "host": "started.example.com" })))).await;
    world.apply(&gateway("starting", image("never-ready"))).await;
    world.apply(&gateway("rolling", image("gateway"))).await;
    world.apply(&gateway("timed-out", with(image("unpullable"), json!({ "startDeadline": "2s" })))).await;
    world.apply(&gateway("stopped", with(image("gateway"), json!({ "state": "Stopped" })))).await;
    world.apply(&gateway("suspended", with(image("gateway"), json!({ "suspend": true })))).await;
    let mut deleting = gateway("deleting", image("gateway"));
    deleting["metadata"]["finalizers"] = json!(["example.com/held"]);
    world.apply(&deleting).await;
    for object in [
        environment("active", "started", Some("active.example.com")),
        environment("waiting", "starting", None),
        environment("idle", "stopped", None),
        environment("orphan", "nobody", None),
    ] {
        world.create::<Environment>(object).await;
    }

    world.until_started("deleting").await;
    world.api::<ApiGateway>().delete("deleting", &DeleteParams::default()).await.unwrap();
    world.until_condition("rolling", "Ready", "True", "Started").await;
    world.patch("rolling", json!({ "spec": { "image": "acme/never-ready:2" } })).await;
    world.until_condition("rolling", "Reconciling", "True", "RollingOut").await;
    world.until_condition("started", "Ready", "True", "Started").await;
    until_ready(&world, "active", "True", "Started", "").await;
    world.apply(&gateway("host-taken", with(image("gateway"), json!({ "host": "started.example.com" })))).await;
    world.create::<Environment>(environment("refused", "started", Some("active.example.com"))).await;
    world.until_condition("host-taken", "Stalled", "True", "HostTaken").await;
    until_ready(&world, "refused", "False", "HostTaken", "").await;
    until_ready(&world, "waiting", "False", "GatewayNotStarted", "its gateway is starting").await;
    until_ready(&world, "idle", "False", "GatewayNotStarted", "its gateway is stopped").await;
    until_ready(&world, "orphan", "False", "GatewayNotFound", "").await;
    world.until_phase("timed-out", Phase::Stopped, State::Stopped).await;
    world.until_condition("stopped", "Ready", "True", "Stopped").await;
    world.until_condition("suspended", "Ready", "False", "Suspended").await;
    world.until_condition("starting", "Reconciling", "True", "Starting").await;

    let objects =
        output(world.cluster.kubectl().args(["-n", &world.namespace, "get", "agw,agwenv", "-o", "json"])).unwrap();
    let objects: Value = serde_json::from_str(&objects.replace(&world.namespace, "tenants")).unwrap();
    let objects = objects["items"].as_array().unwrap();
    if generates() {
        record(objects);
    }
    assert_judged(objects);
    // Nothing else removes the finalizer, and the namespace could not be deleted.
    world.patch("deleting", json!({ "metadata": { "finalizers": null } })).await;
}

/// Records objects for the test that needs no cluster.
fn record(objects: &[Value]) {
    for object in objects {
        let mut object = object.clone();
        let metadata = object["metadata"].as_object_mut().unwrap();
        for of_the_cluster in ["resourceVersion", "uid"] {
            metadata.remove(of_the_cluster);
        }
        let path = root().join(format!("tests/health/recorded/{}.yaml", object["metadata"]["name"].as_str().unwrap()));
        std::fs::write(path, serde_saphyr::to_string(&object).unwrap()).unwrap();
    }
}
