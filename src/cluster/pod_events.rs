//! What the Events of pods say: a probe's answer, that it was a probe which ended a container, a volume that cannot be
//! mounted. No status has it.
//!
//! They are read, not watched, and only where a pod is silent: API servers keep no cache of Events, so each
//! watch would have them look at every Event of the cluster, and begin anew every few minutes. All the silent
//! pods of a namespace are answered from one list, which may be a few seconds old: the API server reads all
//! Events of a namespace for it, whoever they are about.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::events::v1::Event;
use k8s_openapi::jiff::Timestamp;
use tokio::sync::Mutex as AsyncMutex;

use super::calls::Calls;
use crate::decide::observed::{Answer, Complaint, PodTrouble, Silence, Trouble};

/// What is asked for: not what the status of a pod says as well, nor what is told of every pod.
const COMPLAINTS: &str = "regarding.kind=Pod,reason!=FailedScheduling,reason!=BackOff,reason!=Failed,\
    reason!=Scheduled,reason!=Pulling,reason!=Pulled,reason!=Created,reason!=Started,reason!=SuccessfulAttachVolume";

/// How much is read of a namespace: an Event has little more than a kilobyte, and whoever may write Events writes as many as
/// they like. Where there are more, a pod that is not among those is asked about alone.
const OF_NAMESPACE: (u32, usize) = (500, 4);

/// How much is read of one pod.
const OF_POD: (u32, usize) = (200, 1);

/// For how long a list answers whoever asks.
const FRESH: Duration = Duration::from_secs(4);

/// The lists of Events of those namespaces that were asked about a moment ago.
#[derive(Default)]
pub struct Complaints {
    namespaces: Mutex<HashMap<String, Arc<AsyncMutex<Option<Heard>>>>>,
}

struct Heard {
    at: Instant,
    by_pod: HashMap<String, Vec<Said>>,
    /// Whether that is all there is.
    complete: bool,
}

/// One Event about a pod.
struct Said {
    reason: String,
    container: Option<String>,
    words: String,
    last: Option<Timestamp>,
}

impl Heard {
    fn is_fresh(&self) -> bool {
        self.is_younger_than(FRESH)
    }

    fn is_younger_than(&self, age: Duration) -> bool {
        self.at.elapsed() < age
    }
}

impl Complaints {
    /// What the Events say about a silent pod.
    pub async fn about(&self, calls: &Calls, namespace: &str, silence: &Silence) -> Option<Complaint> {
        let place = self.place(namespace);
        // Whoever asks meanwhile waits for this list instead of asking for another.
        let mut heard = place.lock().await;
        // What ended a container was said just before it ended.
        let oldest = if silence.about.trouble.may_be_a_probes() { FRESH.min(silence.lasted) } else { FRESH };
        if !heard.as_ref().is_some_and(|heard| heard.is_younger_than(oldest)) {
            let (events, complete) = read(calls, namespace, COMPLAINTS, OF_NAMESPACE).await;
            *heard = Some(Heard { at: Instant::now(), by_pod: by_pod(events), complete });
        }
        let heard = heard.as_mut()?;
        let pod = &silence.about.pod;
        if !heard.complete && !heard.by_pod.contains_key(pod) {
            let fields = format!("{COMPLAINTS},regarding.name={pod}");
            let (events, _) = read(calls, namespace, &fields, OF_POD).await;
            let said = by_pod(events).remove(pod).unwrap_or_default();
            heard.by_pod.insert(pod.clone(), said);
        }
        complaint(heard.by_pod.get(pod)?, &silence.about)
    }

    fn place(&self, namespace: &str) -> Arc<AsyncMutex<Option<Heard>>> {
        // Every use is one call, so that a panic elsewhere leaves the map whole.
        let mut namespaces = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = |place: &Arc<AsyncMutex<Option<Heard>>>| match place.try_lock() {
            Ok(heard) => heard.as_ref().is_some_and(Heard::is_fresh),
            Err(_) => true,
        };
        namespaces.retain(|name, place| name == namespace || is_fresh(place));
        Arc::clone(namespaces.entry(namespace.to_owned()).or_default())
    }
}

/// Events, and whether these are all. Where they cannot be read there are none.
async fn read(calls: &Calls, namespace: &str, fields: &str, most: (u32, usize)) -> (Vec<Event>, bool) {
    calls.of_events().list::<Event>(namespace, fields, most).await.unwrap_or_else(|error| {
        tracing::warn!(
            namespace,
            %error,
            "the Events of pods cannot be read, and what a probe answers is not told; see the roles in deploy/rbac"
        );
        (Vec::new(), true)
    })
}

fn by_pod(events: Vec<Event>) -> HashMap<String, Vec<Said>> {
    let mut by_pod: HashMap<String, Vec<Said>> = HashMap::new();
    for event in events {
        let Some(object) = event.regarding else { continue };
        let Some(pod) = object.name else { continue };
        let container = object.field_path.as_deref().and_then(container);
        let series = event.series.map(|series| series.last_observed_time.0);
        let last = series.or(event.deprecated_last_timestamp.map(|at| at.0)).or(event.event_time.map(|at| at.0));
        let (reason, words) = (event.reason.unwrap_or_default(), event.note.unwrap_or_default());
        by_pod.entry(pod).or_default().push(Said { reason, container, words, last });
    }
    by_pod
}

/// The container of a field path such as `spec.containers{gateway}`.
fn container(path: &str) -> Option<String> {
    let (_, rest) = path.split_once('{')?;
    Some(rest.strip_suffix('}')?.to_owned())
}

/// What is said about a pod, by what its trouble is.
fn complaint(said: &[Said], about: &PodTrouble) -> Option<Complaint> {
    match &about.trouble {
        Trouble::SettingUp => set_up(said),
        Trouble::Unready { .. } | Trouble::Initializing { .. } => {
            answer(said, about, |_| true).or_else(|| answer(said, &anybody(about), |_| true)).map(Complaint::Probe)
        }
        Trouble::Ended { code, .. } => killed(said, about, *code).map(Complaint::Killed),
        _ => None,
    }
}

/// The latest words that are wanted.
fn latest(said: &[Said], wanted: impl Fn(&Said) -> bool) -> Option<&Said> {
    said.iter().filter(|said| wanted(said)).max_by_key(|said| (said.last, &said.words))
}

/// What is missing, before other troubles of its node.
fn set_up(said: &[Said]) -> Option<Complaint> {
    let is_missing = |said: &Said| {
        said.reason == "FailedMount" && ["not found", "non-existent"].iter().any(|words| said.words.contains(words))
    };
    let is_nodes = |said: &Said| {
        matches!(
            said.reason.as_str(),
            "FailedMount" | "FailedAttachVolume" | "FailedCreatePodSandBox" | "NetworkNotReady"
        )
    };
    let missing = latest(said, is_missing).map(|said| Complaint::MissingVolume(said.words.clone()));
    missing.or_else(|| latest(said, is_nodes).map(|said| Complaint::Node(said.words.clone())))
}

/// The same pod, whichever of its containers.
fn anybody(about: &PodTrouble) -> PodTrouble {
    PodTrouble { container: None, ..about.clone() }
}

fn is_of(said: &Said, about: &PodTrouble) -> bool {
    said.container.is_none() || about.container.is_none() || said.container == about.container
}

/// The latest answer of a probe.
fn answer(said: &[Said], about: &PodTrouble, wanted: impl Fn(&Said) -> bool) -> Option<Answer> {
    let said = latest(said, |said| said.reason == "Unhealthy" && is_of(said, about) && wanted(said))?;
    Some(Answer { container: said.container.clone(), words: said.words.clone() })
}

/// The answer for which a kubelet ended the container. It says that it does; where that is lost among many Events, a probe
/// that may end a container has failed, and a signal ended it.
fn killed(said: &[Said], about: &PodTrouble, code: i32) -> Option<Answer> {
    // 128 and the signal: KILL or TERM.
    let by_signal = matches!(code, 137 | 143);
    let was_told = said.iter().any(|said| said.reason == "Killing" && is_of(said, about));
    let ends = |said: &Said| ["Liveness probe", "Startup probe"].iter().any(|probe| said.words.starts_with(probe));
    answer(said, about, ends).filter(|_| by_signal || was_told)
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
    use crate::cluster::pulse::Pulses;
    use crate::cluster::reachability::{LastHeard, Outages};

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

    fn about(pod: &str, trouble: Trouble, events: Vec<Event>) -> Option<Complaint> {
        complaint(by_pod(events).get(pod)?, &in_trouble(pod, trouble))
    }

    fn answer_of(container: Option<&str>, words: &str) -> Answer {
        Answer { container: container.map(str::to_owned), words: words.to_owned() }
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
        let probe = Complaint::Probe(answer_of(None, "statuscode: 503"));
        assert_eq!(about("shop-1", RUNS, events()), Some(probe));
        assert_eq!(about("shop-3", RUNS, events()), None);
    }

    #[test]
    fn a_pod_that_is_being_set_up_has_what_is_missing_and_else_what_its_node_says() {
        let missing = "MountVolume.SetUp failed for volume \"keys\" : secret \"db\" not found";
        let timed_out = "Unable to attach or mount volumes: timed out waiting for the condition";
        let said = vec![
            event("shop-1", "FailedMount", 1, missing),
            event("shop-1", "FailedMount", 9, timed_out),
            event("shop-1", "Unhealthy", 10, "of an earlier run"),
        ];
        assert_eq!(about("shop-1", Trouble::SettingUp, said), Some(Complaint::MissingVolume(missing.to_owned())));
        let key = "MountVolume.SetUp failed for volume \"keys\" : references non-existent secret key: tls.crt";
        let said = vec![event("shop-1", "FailedMount", 1, key)];
        assert_eq!(about("shop-1", Trouble::SettingUp, said), Some(Complaint::MissingVolume(key.to_owned())));
        let sandbox = "failed to set up network: no addresses left";
        let said = vec![event("shop-1", "FailedCreatePodSandBox", 1, sandbox), event("shop-1", "Odd", 2, "odd")];
        assert_eq!(about("shop-1", Trouble::SettingUp, said), Some(Complaint::Node(sandbox.to_owned())));
    }

    #[test]
    fn a_container_in_trouble_has_the_answer_of_its_own_probe_and_else_that_of_another() {
        let of = |container: &str| PodTrouble { container: Some(container.to_owned()), ..in_trouble("shop-1", RUNS) };
        let said = by_pod(vec![
            of_container("gateway", event("shop-1", "Unhealthy", 1, "refused")),
            of_container("proxy", event("shop-1", "Unhealthy", 2, "not yet")),
        ]);
        let told = |container: &str| complaint(&said["shop-1"], &of(container));
        assert_eq!(told("gateway"), Some(Complaint::Probe(answer_of(Some("gateway"), "refused"))));
        assert_eq!(told("other"), Some(Complaint::Probe(answer_of(Some("proxy"), "not yet"))));
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
        let killed = Some(Complaint::Killed(answer_of(Some("gateway"), words)));
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
        let said = by_pod(vec![unhealthy(), killing("proxy")]);
        assert_eq!(complaint(&said["shop-1"], &of_gateway), None, "another container was ended");
    }

    fn silent(pod: &str) -> Silence {
        Silence { about: in_trouble(pod, RUNS), lasted: FRESH, read_at: None, complaint: None }
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
        let (outages, _) = Outages::new(client.clone(), LastHeard::default(), Pulses::default(), String::new());
        let calls = Calls::new(client, Duration::from_secs(10), Claim::none(), outages);
        let complaints = Complaints::default();
        let (first, second, third) = (silent("shop-1"), silent("shop-2"), silent("shop-3"));

        let told = tokio::join!(complaints.about(&calls, "a", &first), complaints.about(&calls, "a", &second));
        let probe = |words: &str| Some(Complaint::Probe(answer_of(None, words)));
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
            let said =
                if alone { event("shop-9", "Unhealthy", 1, "its own") } else { event("noise", "Unhealthy", 1, "x") };
            let list = json!({ "metadata": { "continue": "more" }, "items": [said] }).to_string();
            queries.lock().unwrap().push(query);
            async move { (StatusCode::OK, list) }
        });
        let client = Client::new(server, "a");
        let (outages, _) = Outages::new(client.clone(), LastHeard::default(), Pulses::default(), String::new());
        let calls = Calls::new(client, Duration::from_secs(10), Claim::none(), outages);
        let complaints = Complaints::default();
        for _ in 0..2 {
            let told = complaints.about(&calls, "a", &silent("shop-9")).await;
            assert_eq!(told, Some(Complaint::Probe(answer_of(None, "its own"))));
        }
        let asked = asked.lock().unwrap();
        assert_eq!(asked.len(), OF_NAMESPACE.1 + OF_POD.1, "{asked:?}");
        assert!(asked.iter().all(|query| query.contains("limit=")), "{asked:?}");
        assert!(asked[1].contains("continue=more"), "{asked:?}");
    }
}
