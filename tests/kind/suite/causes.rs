//! With real kubelets, a real scheduler and a real quota, a gateway that does not start reports the cause soon after it
//! is observable, and keeps it after the clean-up.

use std::time::{Duration, Instant};

use futures::future::join_all;
use k8s_openapi::api::core::v1::{ContainerState, Pod};
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use kube::api::ListParams;
use phasegate::api::{ApiGateway, Phase, Reason, State, condition};
use serde_json::{Value, json};

use crate::ground::{OFTEN, image, serving, world};
use crate::harness::{World, eventually};

/// A cause: the spec that produces it, the sign that it is observable, and the expected report.
struct Row {
    /// The gateway's name.
    name: &'static str,
    /// The fields of its spec besides a working image. `%` stands for that image.
    spec: &'static str,
    seen: Seen,
    /// The expected reason.
    reason: Reason,
    /// The parts that the message and hint must contain: the object, the cause and what to do.
    words: &'static [&'static str],
}

/// The sign that the cause is observable in the API.
enum Seen {
    /// A container waits for this reason.
    Waiting(&'static [&'static str]),
    /// A container has ended.
    Ended,
    /// A pod is unschedulable.
    Unscheduled,
    /// A container runs and is not ready. It is reported after half of the start deadline, because a probe may still
    /// succeed in the usual time of a start.
    Unready,
    /// An Event about one of the gateway's objects has this reason.
    Event(&'static str),
}

const fn row(
    name: &'static str,
    spec: &'static str,
    seen: Seen,
    reason: Reason,
    words: &'static [&'static str],
) -> Row {
    Row { name, spec, seen, reason, words }
}

const ROWS: &[Row] = &[
    row(
        "no-image",
        r#"{ "image": "registry.invalid/acme/gateway:1" }"#,
        Seen::Waiting(&["ErrImagePull", "ImagePullBackOff"]),
        Reason::ImagePullFailed,
        &["pod no-image-", "image \"registry.invalid/acme/gateway:1\" cannot be pulled", "cannot reach the registry"],
    ),
    row(
        "crash-loop",
        r#"{ "env": [{ "name": "EXIT", "value": "3" }] }"#,
        Seen::Ended,
        Reason::CrashLoop,
        &["pod crash-loop-", "terminated with exit code 3", "told to end with exit code 3", "kubectl logs --previous"],
    ),
    row(
        "exit-0",
        r#"{ "env": [{ "name": "EXIT", "value": "0" }] }"#,
        Seen::Ended,
        Reason::CrashLoop,
        &["pod exit-0-", "terminated with exit code 0", "A gateway must keep running"],
    ),
    row(
        "no-memory",
        r#"{ "env": [{ "name": "GROW", "value": "true" }], "resources": { "limits": { "memory": "48Mi" } } }"#,
        Seen::Ended,
        Reason::CrashLoop,
        // A runtime that misses the OOM kill reports only the exit code.
        &["pod no-memory-", "with exit code 137", "spec.resources.limits.memory"],
    ),
    row(
        "no-command",
        r#"{ "command": ["/no/such/program"] }"#,
        Seen::Waiting(&["RunContainerError", "CrashLoopBackOff"]),
        Reason::CrashLoop,
        &["pod no-command-", "/no/such/program", "spec.command"],
    ),
    row(
        "probe",
        r#"{ "env": [{ "name": "HEALTH", "value": "500" }], "readinessPath": "/healthz" }"#,
        Seen::Unready,
        Reason::ReadinessFailing,
        &["pod probe-", "running but not ready: Readiness probe failed", "statuscode: 500", "spec.readinessPath"],
    ),
    row(
        "other-port",
        r#"{ "port": 9999 }"#,
        Seen::Unready,
        Reason::ReadinessFailing,
        &["pod other-port-", "9999", "connection refused", "spec.port"],
    ),
    row(
        "no-variable",
        r#"{ "env": [{ "name": "TOKEN", "valueFrom": { "secretKeyRef": { "name": "absent", "key": "token" } } }] }"#,
        Seen::Waiting(&["CreateContainerConfigError"]),
        Reason::ConfigMissing,
        &["pod no-variable-", "secret \"absent\" not found", "Create it in the gateway's namespace"],
    ),
    row(
        "no-volume",
        r#"{ "volumes": [{ "name": "keys", "mountPath": "/keys", "secret": { "name": "absent" } }] }"#,
        Seen::Event("FailedMount"),
        Reason::ConfigMissing,
        &["pod no-volume-", "volume \"keys\"", "secret \"absent\" not found", "spec.volumes"],
    ),
    row(
        "root",
        r#"{ "image": "%-root" }"#,
        Seen::Waiting(&["CreateContainerConfigError"]),
        Reason::RunsAsRoot,
        &["pod root-", "image will run as root", "USER 65532"],
    ),
    row(
        "no-room",
        r#"{ "resources": { "requests": { "cpu": "1000" }, "limits": { "memory": "64Mi" } } }"#,
        Seen::Unscheduled,
        Reason::Unschedulable,
        &["pod no-room-", "Insufficient cpu", "lower spec.resources.requests"],
    ),
    row(
        "quota",
        r#"{ "resources": { "limits": { "memory": "2Ti" } } }"#,
        Seen::Event("FailedCreate"),
        Reason::QuotaExceeded,
        &["quota refuses the pods", "exceeded quota: memory", "ResourceQuota"],
    ),
];

/// The longest time from an observable cause to its report.
const SOON: Duration = Duration::from_secs(10);
const DEADLINE: Duration = Duration::from_secs(60);

impl Row {
    fn gateway(&self) -> Value {
        // The quota of the namespace requires a memory limit of each pod.
        let resources = json!({ "limits": { "memory": "64Mi" } });
        let mut further = json!({ "startDeadline": format!("{}s", DEADLINE.as_secs()), "resources": resources });
        let own: Value = serde_json::from_str(&self.spec.replace('%', &image())).unwrap();
        further.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        serving(self.name, further)
    }

    /// Whether a pod or an Event shows the cause.
    fn is_seen(&self, pods: &[Pod], events: &[Event]) -> bool {
        let begins = |name: Option<&String>| name.is_some_and(|name| name.starts_with(self.name));
        match self.seen {
            Seen::Event(reason) => events.iter().any(|event| {
                let about = event.regarding.as_ref().and_then(|object| object.name.as_ref());
                event.reason.as_deref() == Some(reason) && begins(about)
            }),
            _ => pods.iter().filter(|pod| begins(pod.metadata.name.as_ref())).any(|pod| self.shows(pod)),
        }
    }

    fn shows(&self, pod: &Pod) -> bool {
        let Some(status) = &pod.status else { return false };
        let containers = || status.container_statuses.iter().flatten();
        let states = || containers().flat_map(|container| [&container.state, &container.last_state]).flatten();
        match self.seen {
            Seen::Waiting(reasons) => states().any(|state: &ContainerState| {
                let reason = state.waiting.as_ref().and_then(|waiting| waiting.reason.as_deref());
                reason.is_some_and(|reason| reasons.contains(&reason))
            }),
            Seen::Ended => states().any(|state| state.terminated.is_some()),
            Seen::Unready => states().any(|state| state.running.is_some()),
            Seen::Unscheduled => status.conditions.iter().flatten().any(|condition| {
                condition.type_ == "PodScheduled" && condition.reason.as_deref() == Some("Unschedulable")
            }),
            Seen::Event(_) => false,
        }
    }

    /// The longest time from the observable cause to its report.
    fn soon(&self) -> Duration {
        if matches!(self.seen, Seen::Unready) { DEADLINE / 2 + SOON } else { SOON }
    }

    fn says_all(&self, told: &str) {
        let missing: Vec<_> = self.words.iter().filter(|words| !told.contains(**words)).collect();
        assert!(missing.is_empty(), "{}: {missing:?} is not in {told:?}", self.name);
    }
}

/// The reason and message of a gateway's condition Ready.
fn ready(gateway: &ApiGateway) -> Option<(&str, &str)> {
    let conditions = gateway.status.iter().flat_map(|status| &status.conditions);
    let mut ready = conditions.filter(|condition| condition.type_ == condition::READY);
    ready.next().map(|condition| (condition.reason.as_str(), condition.message.as_str()))
}

/// Polls all gateways, pods and Events until every cause is reported. Returns the delay of each report after its cause
/// was observable.
async fn watch(world: &World) -> Vec<Duration> {
    let mut seen: Vec<Option<Instant>> = vec![None; ROWS.len()];
    let mut told: Vec<Option<Instant>> = vec![None; ROWS.len()];
    let all = eventually(OFTEN, async || {
        let everything = ListParams::default();
        // The gateways are read first, so that a reported cause is observable in the later reads.
        let gateways = world.api::<ApiGateway>().list(&everything).await.unwrap();
        let now = Instant::now();
        let (pods, events) = tokio::join!(async { world.api::<Pod>().list(&everything).await.unwrap() }, async {
            world.api::<Event>().list(&everything).await.unwrap()
        },);
        for (index, row) in ROWS.iter().enumerate() {
            let gateway = gateways.iter().find(|gateway| gateway.name_any() == row.name).unwrap();
            if ready(gateway).is_some_and(|(reason, _)| reason == row.reason.as_str()) {
                told[index].get_or_insert(now);
            }
            if row.is_seen(&pods.items, &events.items) {
                seen[index].get_or_insert(now);
            }
        }
        let both = seen.iter().zip(&told).all(|(seen, told)| seen.is_some() && told.is_some());
        both.then(|| seen.iter().zip(&told).map(|(seen, told)| told.unwrap() - seen.unwrap()).collect())
    });
    all.await.unwrap_or_else(|| {
        let missing =
            ROWS.iter().zip(seen.iter().zip(&told)).filter(|(_, (seen, told))| seen.is_none() || told.is_none());
        panic!("seen, told: {:?}", missing.map(|(row, both)| (row.name, both)).collect::<Vec<_>>())
    })
}

#[tokio::test]
async fn each_cause_that_a_real_node_makes_is_told_within_ten_seconds_and_kept_after_the_clean_up() {
    let (world, _undisturbed) = world("causes").await;
    world.quota("memory", json!({ "limits.memory": "1Ti" })).await;
    for row in ROWS {
        world.apply(&row.gateway()).await;
    }

    let late = watch(&world).await;

    for (row, late) in ROWS.iter().zip(late) {
        println!("{}: told after {late:.1?}", row.name);
        assert!(late <= row.soon(), "{} was told {late:?} after it was to be seen", row.name);
        let gateway = world.gateway(row.name).await;
        if let Some((reason, message)) = ready(&gateway).filter(|(reason, _)| *reason == row.reason.as_str()) {
            assert_eq!(reason, row.reason.as_str());
            row.says_all(message);
        }
    }
    join_all(ROWS.iter().map(async |row| {
        let stopped = world.until_phase(row.name, Phase::Stopped, State::Stopped).await;
        let failure = stopped.status.unwrap().last_failure.unwrap();
        assert_eq!(failure.reason, row.reason, "{}: {failure:?}", row.name);
        row.says_all(&format!("{}. {}", failure.message, failure.hint));
    }))
    .await;
}
