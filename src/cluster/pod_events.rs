//! Reads the Events of pods for what no status says: a probe's result, that a probe ended a container, a volume
//! that cannot be mounted.
//!
//! Events are read, not watched, and only for a pod whose status explains nothing. API servers have no watch
//! cache for Events: a watch would make them scan all Events of the cluster and restart every few minutes. One
//! list, up to a few seconds old, serves all such pods of a namespace, since the API server reads all Events of
//! the namespace for it anyway.
//!
//! **Architecture invariant:** a failed read is an empty list. Missing Events fail no pass.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::events::v1::Event;
use k8s_openapi::jiff::Timestamp;
use tokio::sync::Mutex as AsyncMutex;

use super::calls::Calls;
use crate::decide::observed::{PodEvent, PodTrouble, ProbeResult, Trouble, UnexplainedWait};

/// Leaves out what the status says as well, and what is reported for every pod.
const FIELD_SELECTOR: &str = "regarding.kind=Pod,reason!=FailedScheduling,reason!=BackOff,reason!=Failed,\
    reason!=Scheduled,reason!=Pulling,reason!=Pulled,reason!=Created,reason!=Started,reason!=SuccessfulAttachVolume";

/// The bound of a namespace's list. An Event has little more than a kilobyte, and anybody may write any number.
/// A pod that is not on a truncated list is read alone.
const OF_NAMESPACE: (u32, usize) = (500, 4);

/// The bound of one pod's list.
const OF_POD: (u32, usize) = (200, 1);

/// How long a list is reused.
const FRESH: Duration = Duration::from_secs(4);

/// Recent lists of Events by namespace.
#[derive(Default)]
pub struct PodEvents {
    namespaces: Mutex<HashMap<String, Arc<AsyncMutex<Option<EventList>>>>>,
}

struct EventList {
    at: Instant,
    by_pod: HashMap<String, Vec<EventSummary>>,
    /// Whether the list is complete.
    complete: bool,
}

/// One Event about a pod.
struct EventSummary {
    reason: String,
    container: Option<String>,
    words: String,
    last: Option<Timestamp>,
}

impl EventList {
    fn is_fresh(&self) -> bool {
        self.is_younger_than(FRESH)
    }

    fn is_younger_than(&self, age: Duration) -> bool {
        self.at.elapsed() < age
    }
}

impl PodEvents {
    /// What the Events say about a pod whose trouble its status does not explain.
    pub async fn about(&self, calls: &Calls, namespace: &str, unexplained: &UnexplainedWait) -> Option<PodEvent> {
        let place = self.place(namespace);
        // Concurrent callers wait for this list instead of requesting another.
        let mut list = place.lock().await;
        // The Event about the end of a container comes just before it.
        let oldest = if unexplained.about.trouble.may_be_a_probes() { FRESH.min(unexplained.lasted) } else { FRESH };
        if !list.as_ref().is_some_and(|list| list.is_younger_than(oldest)) {
            let (events, complete) = read(calls, namespace, FIELD_SELECTOR, OF_NAMESPACE).await;
            *list = Some(EventList { at: Instant::now(), by_pod: by_pod(events), complete });
        }
        let list = list.as_mut()?;
        let pod = &unexplained.about.pod;
        if !list.complete && !list.by_pod.contains_key(pod) {
            let fields = format!("{FIELD_SELECTOR},regarding.name={pod}");
            let (events, _) = read(calls, namespace, &fields, OF_POD).await;
            let summaries = by_pod(events).remove(pod).unwrap_or_default();
            list.by_pod.insert(pod.clone(), summaries);
        }
        pod_event(list.by_pod.get(pod)?, &unexplained.about)
    }

    fn place(&self, namespace: &str) -> Arc<AsyncMutex<Option<EventList>>> {
        // A single call each, so a panic elsewhere leaves the map whole.
        let mut namespaces = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = |place: &Arc<AsyncMutex<Option<EventList>>>| match place.try_lock() {
            Ok(list) => list.as_ref().is_some_and(EventList::is_fresh),
            Err(_) => true,
        };
        namespaces.retain(|name, place| name == namespace || is_fresh(place));
        Arc::clone(namespaces.entry(namespace.to_owned()).or_default())
    }
}

/// Lists Events, and whether the list is complete. An unreadable list counts as empty.
async fn read(calls: &Calls, namespace: &str, fields: &str, most: (u32, usize)) -> (Vec<Event>, bool) {
    calls.of_events().list::<Event>(namespace, fields, most).await.unwrap_or_else(|error| {
        tracing::warn!(
            namespace,
            %error,
            "failed to read Events of pods; messages lack probe failures. Grant the operator the roles in deploy/rbac"
        );
        (Vec::new(), true)
    })
}

fn by_pod(events: Vec<Event>) -> HashMap<String, Vec<EventSummary>> {
    let mut by_pod: HashMap<String, Vec<EventSummary>> = HashMap::new();
    for event in events {
        let Some(object) = event.regarding else { continue };
        let Some(pod) = object.name else { continue };
        let container = object.field_path.as_deref().and_then(container);
        let series = event.series.map(|series| series.last_observed_time.0);
        let last = series.or(event.deprecated_last_timestamp.map(|at| at.0)).or(event.event_time.map(|at| at.0));
        let (reason, words) = (event.reason.unwrap_or_default(), event.note.unwrap_or_default());
        by_pod.entry(pod).or_default().push(EventSummary { reason, container, words, last });
    }
    by_pod
}

/// The container of a field path such as `spec.containers{gateway}`.
fn container(path: &str) -> Option<String> {
    let (_, rest) = path.split_once('{')?;
    Some(rest.strip_suffix('}')?.to_owned())
}

/// The Event that explains a trouble.
fn pod_event(summaries: &[EventSummary], about: &PodTrouble) -> Option<PodEvent> {
    match &about.trouble {
        Trouble::SettingUp => set_up(summaries),
        Trouble::Unready { .. } | Trouble::Initializing { .. } => answer(summaries, about, |_| true)
            .or_else(|| answer(summaries, &of_any_container(about), |_| true))
            .map(PodEvent::Probe),
        Trouble::Ended { code, .. } => killed(summaries, about, *code).map(PodEvent::Killed),
        _ => None,
    }
}

/// The latest matching Event.
fn latest(summaries: &[EventSummary], wanted: impl Fn(&EventSummary) -> bool) -> Option<&EventSummary> {
    summaries.iter().filter(|summary| wanted(summary)).max_by_key(|summary| (summary.last, &summary.words))
}

/// A missing volume first, then other troubles of the node.
fn set_up(summaries: &[EventSummary]) -> Option<PodEvent> {
    let is_missing = |summary: &EventSummary| {
        summary.reason == "FailedMount"
            && ["not found", "non-existent"].iter().any(|words| summary.words.contains(words))
    };
    let is_nodes = |summary: &EventSummary| {
        matches!(
            summary.reason.as_str(),
            "FailedMount" | "FailedAttachVolume" | "FailedCreatePodSandBox" | "NetworkNotReady"
        )
    };
    let missing = latest(summaries, is_missing).map(|summary| PodEvent::MissingVolume(summary.words.clone()));
    missing.or_else(|| latest(summaries, is_nodes).map(|summary| PodEvent::Node(summary.words.clone())))
}

/// The same pod, any container.
fn of_any_container(about: &PodTrouble) -> PodTrouble {
    PodTrouble { container: None, ..about.clone() }
}

fn is_of(summary: &EventSummary, about: &PodTrouble) -> bool {
    summary.container.is_none() || about.container.is_none() || summary.container == about.container
}

/// The latest result of a probe.
fn answer(
    summaries: &[EventSummary],
    about: &PodTrouble,
    wanted: impl Fn(&EventSummary) -> bool,
) -> Option<ProbeResult> {
    let summary =
        latest(summaries, |summary| summary.reason == "Unhealthy" && is_of(summary, about) && wanted(summary))?;
    Some(ProbeResult { container: summary.container.clone(), words: summary.words.clone() })
}

/// The probe result for which the kubelet killed the container. The kubelet reports the kill; if that Event is
/// lost among many, a failed probe that may kill together with a signal counts as well.
fn killed(summaries: &[EventSummary], about: &PodTrouble, code: i32) -> Option<ProbeResult> {
    // 128 plus the signal: KILL or TERM.
    let by_signal = matches!(code, 137 | 143);
    let was_told = summaries.iter().any(|summary| summary.reason == "Killing" && is_of(summary, about));
    let ends = |summary: &EventSummary| {
        ["Liveness probe", "Startup probe"].iter().any(|probe| summary.words.starts_with(probe))
    };
    answer(summaries, about, ends).filter(|_| by_signal || was_told)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Router;
    use http::{StatusCode, Uri};
    use kube::Client;
    use serde_json::json;

    use super::*;
    use crate::cluster::claim::Claim;
    use crate::cluster::heartbeat::Heartbeats;
    use crate::cluster::reachability::{LastContact, Outages};

    fn event(pod: &str, reason: &str, second: u32, words: &str) -> Event {
        serde_json::from_value(json!({
            "metadata": { "name": format!("{pod}.{second}") },
            "eventTime": null,
            "regarding": { "kind": "Pod", "name": pod },
            "reason": reason,
            "note": words,
            "deprecatedLastTimestamp": format!("2026-01-02T03:04:{second:02}Z"),
        }))
        .unwrap()
    }

    const RUNS: Trouble = Trouble::Unready { was_ready: false };

    fn in_trouble(pod: &str, trouble: Trouble) -> PodTrouble {
        PodTrouble { pod: pod.to_owned(), template: None, container: None, node: None, trouble }
    }

    fn about(pod: &str, trouble: Trouble, events: Vec<Event>) -> Option<PodEvent> {
        pod_event(by_pod(events).get(pod)?, &in_trouble(pod, trouble))
    }

    fn answer_of(container: Option<&str>, words: &str) -> ProbeResult {
        ProbeResult { container: container.map(str::to_owned), words: words.to_owned() }
    }

    fn of_container(name: &str, event: Event) -> Event {
        let mut event = event;
        event.regarding.as_mut().unwrap().field_path = Some(format!("spec.containers{{{name}}}"));
        event
    }

    #[test]
    fn a_pod_that_runs_has_the_latest_answer_of_its_own_probe() {
        let events = || {
            vec![
                event("shop-1", "Unhealthy", 9, "connection refused"),
                event("shop-1", "Unhealthy", 11, "statuscode: 503"),
                event("shop-1", "FailedMount", 12, "secret \"db\" not found"),
                event("shop-2", "Unhealthy", 13, "another's"),
            ]
        };
        let probe = PodEvent::Probe(answer_of(None, "statuscode: 503"));
        assert_eq!(about("shop-1", RUNS, events()), Some(probe));
        assert_eq!(about("shop-3", RUNS, events()), None);
    }

    #[test]
    fn a_pod_that_is_being_set_up_has_what_is_missing_and_else_what_its_node_says() {
        let missing = "MountVolume.SetUp failed for volume \"keys\" : secret \"db\" not found";
        let timed_out = "Unable to attach or mount volumes: timed out waiting for the condition";
        let summaries = vec![
            event("shop-1", "FailedMount", 1, missing),
            event("shop-1", "FailedMount", 9, timed_out),
            event("shop-1", "Unhealthy", 10, "of an earlier run"),
        ];
        assert_eq!(about("shop-1", Trouble::SettingUp, summaries), Some(PodEvent::MissingVolume(missing.to_owned())));
        let key = "MountVolume.SetUp failed for volume \"keys\" : references non-existent secret key: tls.crt";
        let summaries = vec![event("shop-1", "FailedMount", 1, key)];
        assert_eq!(about("shop-1", Trouble::SettingUp, summaries), Some(PodEvent::MissingVolume(key.to_owned())));
        let sandbox = "failed to set up network: no addresses left";
        let summaries = vec![event("shop-1", "FailedCreatePodSandBox", 1, sandbox), event("shop-1", "Odd", 2, "odd")];
        assert_eq!(about("shop-1", Trouble::SettingUp, summaries), Some(PodEvent::Node(sandbox.to_owned())));
    }

    #[test]
    fn a_container_in_trouble_has_the_answer_of_its_own_probe_and_else_that_of_another() {
        let of = |container: &str| PodTrouble { container: Some(container.to_owned()), ..in_trouble("shop-1", RUNS) };
        let summaries = by_pod(vec![
            of_container("gateway", event("shop-1", "Unhealthy", 1, "refused")),
            of_container("proxy", event("shop-1", "Unhealthy", 2, "not yet")),
        ]);
        let told = |container: &str| pod_event(&summaries["shop-1"], &of(container));
        assert_eq!(told("gateway"), Some(PodEvent::Probe(answer_of(Some("gateway"), "refused"))));
        assert_eq!(told("other"), Some(PodEvent::Probe(answer_of(Some("proxy"), "not yet"))));
    }

    /// As a kubelet tells it, and what it does not tell of a program that ends by itself.
    #[test]
    fn what_a_probe_ended_is_told_from_what_ended_by_itself() {
        let ended = |code| Trouble::Ended { code, out_of_memory: false, message: String::new(), brief: false };
        let words = "Liveness probe failed: dial tcp 10.244.0.9:9999: connect: connection refused";
        let unhealthy = || of_container("gateway", event("shop-1", "Unhealthy", 1, words));
        let killing = |container: &str| {
            let words = format!("Container {container} failed liveness probe, will be restarted");
            of_container(container, event("shop-1", "Killing", 2, &words))
        };
        let readiness = || of_container("gateway", event("shop-1", "Unhealthy", 3, "Readiness probe failed: refused"));
        let killed = Some(PodEvent::Killed(answer_of(Some("gateway"), words)));
        let rows = [
            (0, vec![unhealthy(), killing("gateway"), readiness()], killed.clone()),
            (2, vec![unhealthy(), killing("gateway")], killed.clone()),
            (137, vec![unhealthy()], killed.clone()),
            (143, vec![unhealthy()], killed),
            (1, vec![unhealthy()], None),
            (0, vec![readiness(), killing("gateway")], None),
            (137, vec![readiness()], None),
        ];
        for (code, events, expected) in rows {
            assert_eq!(about("shop-1", ended(code), events), expected, "exit code {code}");
        }
        let of_gateway = PodTrouble { container: Some("gateway".to_owned()), ..in_trouble("shop-1", ended(0)) };
        let summaries = by_pod(vec![unhealthy(), killing("proxy")]);
        assert_eq!(pod_event(&summaries["shop-1"], &of_gateway), None, "another container was ended");
    }

    fn silent(pod: &str) -> UnexplainedWait {
        UnexplainedWait { about: in_trouble(pod, RUNS), lasted: FRESH, read_at: None, pod_event: None }
    }

    #[tokio::test]
    async fn one_list_answers_all_the_silent_pods_of_a_namespace_also_where_it_is_refused() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let server = Router::new().fallback(move |uri: Uri| {
            count.fetch_add(1, Ordering::SeqCst);
            let events = [event("shop-1", "Unhealthy", 1, "first"), event("shop-2", "Unhealthy", 1, "second")];
            let list = json!({ "metadata": {}, "items": events }).to_string();
            let refused = uri.path().contains("/forbidden/");
            async move { if refused { (StatusCode::FORBIDDEN, String::new()) } else { (StatusCode::OK, list) } }
        });
        let client = Client::new(server, "a");
        let (outages, _) = Outages::new(client.clone(), LastContact::default(), Heartbeats::default(), String::new());
        let calls = Calls::new(client, Duration::from_secs(10), Claim::none(), outages);
        let complaints = PodEvents::default();
        let (first, second, third) = (silent("shop-1"), silent("shop-2"), silent("shop-3"));

        let told = tokio::join!(complaints.about(&calls, "a", &first), complaints.about(&calls, "a", &second));
        let probe = |words: &str| Some(PodEvent::Probe(answer_of(None, words)));
        assert_eq!(told, (probe("first"), probe("second")));
        assert_eq!(complaints.about(&calls, "a", &third).await, None);
        assert_eq!(asked.load(Ordering::SeqCst), 1);

        for _ in 0..2 {
            assert_eq!(complaints.about(&calls, "forbidden", &first).await, None);
        }
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    /// An API server that always has one more page of others' Events.
    #[tokio::test]
    async fn of_endless_events_a_few_pages_are_read_and_a_pod_that_is_not_in_them_is_asked_about_alone() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let queries = Arc::clone(&asked);
        let server = Router::new().fallback(move |uri: Uri| {
            let query = uri.query().unwrap_or_default().to_owned();
            let alone = query.contains("regarding.name%3Dshop-9");
            let summaries =
                if alone { event("shop-9", "Unhealthy", 1, "its own") } else { event("noise", "Unhealthy", 1, "x") };
            let list = json!({ "metadata": { "continue": "more" }, "items": [summaries] }).to_string();
            queries.lock().unwrap().push(query);
            async move { (StatusCode::OK, list) }
        });
        let client = Client::new(server, "a");
        let (outages, _) = Outages::new(client.clone(), LastContact::default(), Heartbeats::default(), String::new());
        let calls = Calls::new(client, Duration::from_secs(10), Claim::none(), outages);
        let complaints = PodEvents::default();
        for _ in 0..2 {
            let told = complaints.about(&calls, "a", &silent("shop-9")).await;
            assert_eq!(told, Some(PodEvent::Probe(answer_of(None, "its own"))));
        }
        let asked = asked.lock().unwrap();
        assert_eq!(asked.len(), OF_NAMESPACE.1 + OF_POD.1, "{asked:?}");
        assert!(asked.iter().all(|query| query.contains("limit=")), "{asked:?}");
        assert!(asked[1].contains("continue=more"), "{asked:?}");
    }
}
