//! The operator's HTTP endpoints report its health, readiness and metrics correctly.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams};
use phasegate::api::{ApiGateway, Environment, Phase, State};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Fault, Health, Proxy, World, environment, eventually, gateway};

#[tokio::test]
async fn a_reconcile_that_hangs_is_not_alive_and_is_named() {
    let world = World::new("livez").await;
    let proxy = Proxy::start(&world.cluster.operator_kubeconfig()).await;
    let health = Health::reserve();
    let flags = ["--http-bind", &health.address(), "--call-timeout", "20s", "--live-within", "5s"];
    let _operator = world.operator_as(proxy.kubeconfig(), &flags);
    health.until("/readyz", 200, &["ok"]).await;
    let mut hang = proxy.when(Fault::Hang, |asked| asked.verb == "create" && asked.is_of("deployments"));
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    hang.caught(1).await;

    health.until("/livez", 503, &["reconcile", &format!("{}/shop", world.namespace)]).await;

    drop(hang);
    world.until_started("shop").await;
    health.until("/readyz", 200, &["ok"]).await;
    let (_, said) = health.get("/livez").await.unwrap();
    assert!(!said.contains("reconcile"), "{said}");
}

/// Changes every object, so that every live watch receives an event.
async fn poke(world: &World, number: usize) {
    let patch = json!({ "metadata": { "annotations": { "example.com/poked": number.to_string() } } });
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    namespaces.patch(&world.namespace, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    macro_rules! poke {
        ($($kind:ty),+) => {$(
            for object in world.api::<$kind>().list(&ListParams::default()).await.unwrap() {
                world.patch_object::<$kind>(&object.name_any(), patch.clone()).await;
            }
        )+};
    }
    poke!(ApiGateway, Environment, Deployment, Service, Ingress, PodDisruptionBudget, Pod);
}

#[tokio::test]
async fn a_watch_that_falls_silent_is_not_alive_and_is_named() {
    let world = World::new("silence").await;
    let proxy = Proxy::start(&world.cluster.operator_kubeconfig()).await;
    let health = Health::reserve();
    let flags = ["--http-bind", &health.address(), "--live-within", "15s"];
    let _operator = world.operator_as(proxy.kubeconfig(), &flags);
    let host = "silence.example.com";
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "replicas": 2, "host": host }))).await;
    world.create::<Environment>(environment("dev", "shop", None)).await;
    world.until_started("shop").await;
    let poking = async {
        let mut every = tokio::time::interval(Duration::from_secs(2));
        for number in 0.. {
            every.tick().await;
            poke(&world, number).await;
        }
    };

    let story = async {
        health.until("/livez", 200, &[]).await;
        let mut silence = proxy.when(Fault::Mute, |asked| asked.verb == "watch" && asked.is_of("services"));
        silence.caught(1).await;
        drop(silence);
        health.until_only_wrong("/livez", &["the watch of services"]).await;
        // The silent watch times out without help, and the next watch is alive.
        health.until("/livez", 200, &[]).await;
    };

    tokio::select! {
        () = story => {}
        () = poking => {}
    }
}

#[tokio::test]
async fn an_operator_that_could_not_list_everything_is_not_ready_and_says_what_is_missing() {
    let world = World::new("readyz").await;
    let proxy = Proxy::start(&world.cluster.operator_kubeconfig()).await;
    let health = Health::reserve();
    let mut failing = proxy.when(Fault::Answer(500), |asked| asked.verb == "list" && asked.is_of("pods"));
    let _operator = world.operator_as(proxy.kubeconfig(), &["--http-bind", &health.address()]);
    failing.caught(1).await;

    health.until_only_wrong("/readyz", &["failed to watch pods"]).await;
    health.until("/livez", 200, &[]).await;

    drop(failing);
    health.until("/readyz", 200, &["ok"]).await;
}

#[tokio::test]
async fn an_operator_that_cannot_reach_the_api_server_is_not_ready_and_alive() {
    let world = World::new("unreachable").await;
    let proxy = Proxy::start(&world.cluster.operator_kubeconfig()).await;
    let health = Health::reserve();
    let _operator = world.operator_as(proxy.kubeconfig(), &["--http-bind", &health.address()]);
    health.until("/readyz", 200, &["ok"]).await;

    let cut = proxy.when(Fault::Cut, |_| true);

    health.until("/readyz", 503, &["API server"]).await;
    health.until("/livez", 200, &[]).await;
    drop(cut);
    health.until("/readyz", 200, &["ok"]).await;
}

/// Opens a connection to an operator's port that sends these bytes and nothing more.
async fn silent(health: &Health, sent: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(health.address()).await.unwrap();
    // The operator may have closed the connection already.
    let _ = stream.write_all(sent).await;
    stream
}

/// Whether the operator closes a connection in time.
async fn is_closed(stream: &mut TcpStream, within: Duration) -> bool {
    let mut answer = Vec::new();
    tokio::time::timeout(within, stream.read_to_end(&mut answer)).await.is_ok()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn connections_that_ask_nothing_silence_nobody_and_take_no_room() {
    const HELD: usize = 400;
    let world = World::new("held").await;
    let health = Health::reserve();
    let operator = world.operator_with(&["--http-bind", &health.address()]);
    health.until("/readyz", 200, &["ok"]).await;
    operator.limit_files(HELD / 2);
    let mut held = Vec::new();
    for _ in 0..HELD {
        held.push(silent(&health, b"GET /livez HTTP/1.1\r\nHost: operator\r\n").await);
    }

    let asked = Instant::now();
    let (status, _) = health.get("/livez").await.unwrap();
    assert_eq!(status, 200);
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
    // Each of these steps needs another connection or another slot.
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("shop").await;
    health.until("/metrics", 200, &["phasegate_gateways"]).await;

    // The operator closed the oldest connections at once. It closes the last ones when their header times out.
    for stream in &mut held {
        assert!(is_closed(stream, Duration::from_secs(15)).await);
    }
    let mut large = silent(&health, format!("GET /livez HTTP/1.1\r\nA: {}", "a".repeat(100_000)).as_bytes()).await;
    assert!(is_closed(&mut large, Duration::from_secs(3)).await, "a header of 100 KB is read");
    let mut idle = silent(&health, b"GET /livez HTTP/1.1\r\nHost: operator\r\n\r\n").await;
    assert!(is_closed(&mut idle, Duration::from_secs(3)).await, "a connection is kept after its answer");
}

/// The samples of a scrape by name and labels.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    lines.map(sample).collect()
}

/// The sum of the samples of this name that have all of these labels.
fn sum(samples: &BTreeMap<String, f64>, name: &str, labels: &[(&str, &str)]) -> f64 {
    let of_name = |key: &str| key.split('{').next() == Some(name);
    let has_all = |key: &str| labels.iter().all(|(label, value)| key.contains(&format!("{label}=\"{value}\"")));
    samples.iter().filter(|(key, _)| of_name(key) && has_all(key)).map(|(_, value)| value).sum()
}

#[tokio::test]
async fn the_metrics_agree_with_the_api_server_and_name_no_tenant() {
    let world = World::new("metrics").await;
    let proxy = Proxy::start(&world.cluster.operator_kubeconfig()).await;
    let health = Health::reserve();
    let _operator = world.operator_as(proxy.kubeconfig(), &["--http-bind", &health.address()]);
    let host = "tenant.example.com";
    world.apply(&gateway("tenant-good", json!({ "image": "acme/gateway:1", "host": host }))).await;
    world.apply(&gateway("tenant-bad", json!({ "image": "acme/unpullable:1", "startDeadline": "4s" }))).await;
    world.apply(&gateway("tenant-off", json!({ "image": "acme/gateway:1", "state": "Stopped" }))).await;
    let good = world.until_started("tenant-good").await;
    world.until_phase("tenant-off", Phase::Stopped, State::Stopped).await;
    let bad = world.until_phase("tenant-bad", Phase::Stopped, State::Stopped).await;
    // Events are written after the status.
    for (name, last) in [("tenant-good", "Started"), ("tenant-bad", "Stopped")] {
        world.until_event(name, last).await;
    }
    let created = |resource: &'static str| proxy.count(|asked| asked.verb == "create" && asked.is_of(resource)) as f64;
    let counted = |samples: &BTreeMap<String, f64>, resource: &str| {
        sum(samples, "phasegate_api_requests_total", &[("verb", "create"), ("resource", resource)])
    };

    let at_rest = eventually(Duration::from_millis(100), async || {
        let (_, text) = health.get("/metrics").await?;
        let samples = samples(&text);
        let idle =
            ["phasegate_queue_running", "phasegate_queue_waiting"].iter().all(|name| sum(&samples, name, &[]) == 0.0);
        (idle && counted(&samples, "events") == created("events")).then_some((text, samples))
    });

    let (text, samples) = at_rest.await.expect("the operator is at rest");
    let gateways =
        |state: &str, phase: &str| sum(&samples, "phasegate_gateways", &[("state", state), ("phase", phase)]);
    assert_eq!(gateways("Running", "Started"), 1.0, "{text}");
    assert_eq!(gateways("Stopped", "Stopped"), 2.0, "{text}");
    assert_eq!(sum(&samples, "phasegate_gateways", &[]), 3.0, "{text}");
    assert_eq!(sum(&samples, "phasegate_gateways_given_up", &[]), 1.0, "{text}");
    assert_eq!(sum(&samples, "phasegate_start_attempts_total", &[("reason", "StartRequested")]), 2.0, "{text}");
    assert_eq!(sum(&samples, "phasegate_start_attempts_total", &[]), 2.0, "{text}");
    assert_eq!(sum(&samples, "phasegate_start_duration_seconds_count", &[]), 1.0, "{text}");
    let history = good.status.unwrap().history;
    let took = history[1].at.0.duration_since(history[0].at.0).as_secs_f64();
    let observed = sum(&samples, "phasegate_start_duration_seconds_sum", &[]);
    assert!((observed - took).abs() < 1.0, "{observed} s instead of {took} s");
    let cause = bad.status.unwrap().last_failure.unwrap().reason.to_string();
    assert_eq!(sum(&samples, "phasegate_start_timeouts_total", &[("reason", &cause)]), 1.0, "{text}");
    assert_eq!(sum(&samples, "phasegate_start_timeouts_total", &[]), 1.0, "{text}");
    // The proxy counts the same requests.
    for resource in ["deployments", "services", "ingresses", "events"] {
        assert_eq!(counted(&samples, resource), created(resource), "{resource}: {text}");
    }
    let (verb, answered) = ([("verb", "create")], "phasegate_api_request_duration_seconds_count");
    let creates = sum(&samples, "phasegate_api_requests_total", &verb);
    assert_eq!(sum(&samples, answered, &verb), creates, "{text}");
    assert!(sum(&samples, "phasegate_reconciles_total", &[("kind", "ApiGateway"), ("result", "ok")]) >= 3.0, "{text}");
    assert_eq!(sum(&samples, "phasegate_leader", &[]), 1.0, "{text}");
    for name in ["tenant", &world.namespace, host] {
        assert!(!text.contains(name), "{name} is in {text}");
    }
}
