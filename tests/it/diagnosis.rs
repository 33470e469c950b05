//! Each cause of a failed start is reported before the deadline, kept after the clean-up, and gone once it is fixed.

use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::{LimitRange, Pod};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kube::api::ListParams;
use phasegate::api::{ApiGateway, Phase, Reason, State, condition};
use serde_json::{Value, json};

use crate::harness::{Health, World, gateway, is_true};
use crate::plugin::said;

/// How the test produces a cause, and how the operator reports it.
pub struct Row {
    /// The gateway's name.
    pub name: &'static str,
    /// The fields of its spec, in addition to an image that starts. `%` stands for the namespace.
    pub spec: &'static str,
    /// The reported reason.
    pub reason: Reason,
    /// What the message contains: the object, the cause and the hint.
    pub words: &'static [&'static str],
}

const fn row(name: &'static str, spec: &'static str, reason: Reason, words: &'static [&'static str]) -> Row {
    Row { name, spec, reason, words }
}

/// All causes.
pub const ROWS: &[Row] = &[
    row(
        "not-found",
        r#"{ "image": "acme/unpullable:1" }"#,
        Reason::ImagePullFailed,
        &["pod not-found-", "image \"acme/unpullable:1\" cannot be pulled: not found", "no such image"],
    ),
    row(
        "denied",
        r#"{ "image": "acme/unpullable-denied:1" }"#,
        Reason::ImagePullFailed,
        &["pod denied-", "cannot be pulled: pull access denied", "spec.imagePullSecrets"],
    ),
    row(
        "unreachable",
        r#"{ "image": "acme/unpullable-unreachable:1" }"#,
        Reason::ImagePullFailed,
        &["pod unreachable-", "no such host", "cannot reach the registry"],
    ),
    row(
        "crashing",
        r#"{ "image": "acme/crashing:1" }"#,
        Reason::CrashLoop,
        &["pod crashing-", "terminated with exit code 1: panic: no configuration", "kubectl logs --previous"],
    ),
    row(
        "oom",
        r#"{ "image": "acme/crashing-oom:1" }"#,
        Reason::CrashLoop,
        &["pod oom-", "OOMKilled", "exit code 137", "spec.resources.limits.memory"],
    ),
    row(
        "no-secret",
        r#"{ "image": "acme/misconfigured:1" }"#,
        Reason::ConfigMissing,
        &["pod no-secret-", "secret \"gateway-secret\" not found", "Create it in the gateway's namespace"],
    ),
    row(
        "no-volume",
        r#"{ "image": "acme/misconfigured-volume:1", "volumes": [{ "name": "keys", "secret": { "name": "gateway-keys" }, "mountPath": "/keys" }] }"#,
        Reason::ConfigMissing,
        &["pod no-volume-", "volume \"keys\" : secret \"gateway-keys\" not found", "spec.volumes"],
    ),
    row(
        "root",
        r#"{ "image": "acme/misconfigured-root:1" }"#,
        Reason::RunsAsRoot,
        &["pod root-", "image will run as root", "USER 65532"],
    ),
    row(
        "probe",
        r#"{ "image": "acme/never-ready-probe:1", "readinessPath": "/healthz" }"#,
        Reason::ReadinessFailing,
        &["pod probe-", "running but not ready: Readiness probe failed", "statuscode: 503", "spec.port"],
    ),
    row(
        "too-large",
        r#"{ "resources": { "requests": { "cpu": "1M" } } }"#,
        Reason::Unschedulable,
        &["pod too-large-", "Insufficient cpu", "lower spec.resources.requests"],
    ),
    row(
        "no-node",
        r#"{ "nodeSelector": { "example.com/disk": "none" } }"#,
        Reason::Unschedulable,
        &["pod no-node-", "node affinity/selector", "correct spec.nodeSelector"],
    ),
    row(
        "quota",
        r#"{ "resources": { "limits": { "memory": "2Ti" } } }"#,
        Reason::QuotaExceeded,
        &["quota refuses the pods", "exceeded quota: memory", "ResourceQuota"],
    ),
    row(
        "admission",
        r#"{ "resources": { "requests": { "memory": "2Gi" }, "limits": { "memory": "1Gi" } } }"#,
        Reason::AdmissionRefused,
        &["refuses the Deployment", "must be less than or equal to memory limit", "Change the field"],
    ),
    row(
        "host",
        r#"{ "host": "%.example.com" }"#,
        Reason::HostTaken,
        &["host \"%.example.com\" is claimed by", "%/holder", "Choose another spec.host"],
    ),
    row(
        "name",
        r#"{ "host": "name.%.example.com" }"#,
        Reason::NameTaken,
        &["Ingress \"name\" already exists", "does not touch it", "Delete or rename that Ingress"],
    ),
];

/// The maximum time between a visible cause and its report.
const SOON: Duration = Duration::from_secs(10);
/// A failed probe may be transient within the usual time of a start, which is half of its deadline.
const USUAL: Duration = Duration::from_secs(15);

impl Row {
    /// The gateway's spec, with a deadline.
    fn spec(&self, namespace: &str) -> Value {
        let mut spec = json!({ "image": "acme/gateway:1", "startDeadline": "30s" });
        let own: Value = serde_json::from_str(&self.spec.replace('%', namespace)).unwrap();
        spec.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        spec
    }

    /// The patch that fixes the cause.
    fn mended(&self, namespace: &str) -> Value {
        let host = format!("free.{namespace}.example.com");
        match self.reason {
            Reason::HostTaken => json!({ "spec": { "host": host } }),
            Reason::NameTaken => json!({ "spec": { "host": null } }),
            _ => json!({ "spec": { "image": "acme/gateway:2", "resources": null, "nodeSelector": null } }),
        }
    }

    fn says_all(&self, namespace: &str, told: &str) -> bool {
        self.words.iter().all(|words| told.contains(&words.replace('%', namespace)))
    }

    /// `kubectl phasegate status` shows the cause.
    async fn is_read(&self, world: &World) {
        let status = said(world, &["status", self.name]).await.ok();
        let told = status.contains(self.reason.as_str()) && self.says_all(&world.namespace, &status);
        assert!(told, "{}: {status}", self.name);
    }

    /// The start has not begun: no pod shows the cause, and no deadline runs.
    fn is_before_the_start(&self) -> bool {
        matches!(self.reason, Reason::HostTaken | Reason::NameTaken)
    }
}

/// Creates everything that the causes need, except the gateways.
pub async fn prepare(world: &World) {
    world.quota("memory", json!({ "limits.memory": "1Ti" })).await;
    // A quota on limits requires each pod to have one.
    let limits = json!({ "type": "Container", "default": { "memory": "1Mi" }, "defaultRequest": { "memory": "1Mi" } });
    let range = json!({ "metadata": { "name": "memory" }, "spec": { "limits": [limits] } });
    world.create::<LimitRange>(range).await;
    let rule = json!({ "host": "other.example.com" });
    world.create::<Ingress>(json!({ "metadata": { "name": "name" }, "spec": { "rules": [rule] } })).await;
}

/// Applies one gateway for each cause.
pub async fn apply_all(world: &World) {
    let host = format!("{}.example.com", world.namespace);
    world.apply(&gateway("holder", json!({ "image": "acme/gateway:1", "host": host }))).await;
    world.until_started("holder").await;
    for row in ROWS {
        world.apply(&gateway(row.name, row.spec(&world.namespace))).await;
    }
}

/// When the cause became visible on the gateway's pod, or on the gateway if no pod shows it.
async fn visible_since(world: &World, row: &Row) -> Timestamp {
    let of_gateway = ListParams::default().labels(&format!("phasegate.dev/gateway={}", row.name));
    let pods = world.api::<Pod>().list(&of_gateway).await.unwrap();
    let turned = pods.items.first().and_then(|pod| {
        let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.filter_map(|condition| condition.last_transition_time.as_ref()).map(|at| at.0).max()
    });
    let gateway = world.gateway(row.name).await;
    let created = gateway.creation_timestamp().unwrap().0;
    turned.unwrap_or(created)
}

async fn event_of(world: &World, row: &Row) -> Event {
    world.until_event(row.name, row.reason.as_str()).await;
    let events = world.api::<Event>().list(&ListParams::default()).await.unwrap();
    let about = |event: &Event| {
        let name = event.regarding.as_ref().and_then(|object| object.name.as_deref());
        name == Some(row.name) && event.reason.as_deref() == Some(row.reason.as_str())
    };
    let told: Vec<Event> = events.items.into_iter().filter(about).collect();
    assert_eq!(told.len(), 1, "{}: {told:#?}", row.name);
    told.into_iter().next().unwrap()
}

/// The conditions and an Event report the cause soon after it became visible.
async fn is_told(world: &World, row: &Row) {
    let told = world.until_condition(row.name, condition::READY, "False", row.reason.as_str()).await;
    let status = told.status.as_ref().unwrap();
    let type_ = if row.is_before_the_start() { condition::STALLED } else { condition::RECONCILING };
    assert!(is_true(&told, type_), "{}: {:#?}", row.name, status.conditions);
    let found = status.conditions.iter().find(|condition| condition.type_ == type_).unwrap();
    assert!(row.says_all(&world.namespace, &found.message), "{}: {}", row.name, found.message);
    row.is_read(world).await;
    let event = event_of(world, row).await;
    assert_eq!(event.type_.as_deref(), Some("Warning"));
    let note = event.note.unwrap();
    assert!(row.says_all(&world.namespace, &note), "{}: {note}", row.name);
    let late = event.event_time.unwrap().0.duration_since(visible_since(world, row).await);
    let soon = if row.reason == Reason::ReadinessFailing { USUAL + SOON } else { SOON };
    assert!(late < SignedDuration::try_from(soon).unwrap(), "{} was told {late:?} after it was visible", row.name);
}

/// The deadline passes and everything is removed. The status still has the cause.
async fn outlasts_the_clean_up(world: &World, row: &Row) {
    if row.is_before_the_start() {
        return;
    }
    let stopped = world.until_phase(row.name, Phase::Stopped, State::Stopped).await;
    let failure = stopped.status.unwrap().last_failure.unwrap();
    assert_eq!(failure.reason, row.reason, "{}: {failure:?}", row.name);
    let told = format!("{}. {}", failure.message, failure.hint);
    assert!(row.says_all(&world.namespace, &told), "{}: {told}", row.name);
    row.is_read(world).await;
}

async fn goes_when_it_is_mended(world: &World, row: &Row) {
    world.patch(row.name, row.mended(&world.namespace)).await;
    let started = world.until_started(row.name).await;
    assert_eq!(started.status.as_ref().unwrap().last_failure, None, "{}", row.name);
    assert!(is_true(&started, condition::READY) && !is_true(&started, condition::STALLED), "{}", row.name);
}

/// A metric's lines: for each reason, the number of rows with it.
fn counted(metric: &str, rows: impl Fn(&&Row) -> bool) -> Vec<String> {
    let count = |reason: &Reason| ROWS.iter().filter(|row| rows(row) && row.reason == *reason).count();
    let counts = Reason::ALL.iter().map(|reason| (reason, count(reason))).filter(|(_, count)| *count > 0);
    counts.map(|(reason, count)| format!("{metric}{{reason=\"{reason}\"}} {count}\n")).collect()
}

#[tokio::test]
async fn each_cause_is_told_before_the_deadline_and_after_the_clean_up_and_goes_when_it_is_mended() {
    let world = World::new("causes").await;
    let health = Health::reserve();
    prepare(&world).await;
    let _operator = world.operator_with(&["--http-bind", &health.address()]);
    apply_all(&world).await;
    let has = async |lines: Vec<String>| {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        health.until("/metrics", 200, &lines).await
    };

    join_all(ROWS.iter().map(|row| is_told(&world, row))).await;
    has(counted("phasegate_failures_total", |_| true)).await;
    has(counted("phasegate_gateways_failing", |_| true)).await;

    join_all(ROWS.iter().map(|row| outlasts_the_clean_up(&world, row))).await;
    has(counted("phasegate_start_timeouts_total", |row| !row.is_before_the_start())).await;
    has(counted("phasegate_failures_total", |_| true)).await;
    has(counted("phasegate_gateways_failing", |_| true)).await;

    join_all(ROWS.iter().map(|row| goes_when_it_is_mended(&world, row))).await;
    for row in ROWS {
        for count in 1..=ROWS.len() {
            let failing = format!("phasegate_gateways_failing{{reason=\"{}\"}} {count}\n", row.reason);
            health.until_without("/metrics", &failing).await;
        }
    }
}

/// The old pods fail as well, but not because of the requested image.
#[tokio::test]
async fn a_rollout_that_is_stuck_names_what_is_wrong_with_the_newest_pods_and_who_serves() {
    let world = World::new("stuck-rollout").await;
    let _operator = world.operator();
    let spec = |image: &str| json!({ "image": image, "startDeadline": "15s", "replicas": 2 });
    world.apply(&gateway("shop", spec("acme/gateway:1"))).await;
    world.until_started("shop").await;

    world.patch("shop", json!({ "spec": { "image": "acme/unpullable:1" } })).await;
    world.until_condition("shop", condition::READY, "False", "ImagePullFailed").await;
    let mut shops = world.record::<ApiGateway>("shop").await;
    world.patch("shop", json!({ "spec": { "image": "acme/crashing:1" } })).await;

    let message = |shop: &ApiGateway, type_: &str| {
        let conditions = shop.status.iter().flat_map(|status| &status.conditions);
        conditions.into_iter().find(|condition| condition.type_ == type_).unwrap().message.clone()
    };
    let crashing = world.until_condition("shop", condition::RECONCILING, "True", "CrashLoop").await;
    let told = message(&crashing, condition::RECONCILING);
    assert!(told.contains("exit code 1") && told.contains("; the old pods keep serving."), "{told}");
    let stalled = world.until_condition("shop", condition::STALLED, "True", "ProgressDeadlineExceeded").await;
    let told = message(&stalled, condition::STALLED);
    assert!(
        told.starts_with("the rollout is stuck; the old pods keep serving: pod shop-")
            && told.contains("terminated with exit code 1: panic: no configuration"),
        "{told}"
    );
    assert!(is_true(&stalled, condition::AVAILABLE));
    let generation = stalled.metadata.generation;
    for shop in shops.up_to(&stalled).await {
        if shop.status.as_ref().unwrap().observed_generation == generation {
            let told = message(&shop, condition::READY);
            assert!(!told.contains("unpullable"), "{told}");
        }
    }
}
