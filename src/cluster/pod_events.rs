//! What the Events of pods say: a probe's answer, a volume that cannot be mounted. No status has it.
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
use crate::decide::observed::{Complaint, Silence};

/// What is asked for: not what the status of a pod says as well.
const COMPLAINTS: &str = "type=Warning,regarding.kind=Pod,reason!=FailedScheduling,reason!=BackOff,reason!=Failed";

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
}

/// One Event about a pod.
struct Said {
    reason: String,
    words: String,
    last: Option<Timestamp>,
}

impl Heard {
    fn is_fresh(&self) -> bool {
        self.at.elapsed() < FRESH
    }
}

impl Complaints {
    /// What the Events say about a silent pod.
    pub async fn about(&self, calls: &Calls, namespace: &str, silence: &Silence) -> Option<Complaint> {
        let place = self.place(namespace);
        // Whoever asks meanwhile waits for this list instead of asking for another.
        let mut heard = place.lock().await;
        if !heard.as_ref().is_some_and(Heard::is_fresh) {
            let by_pod = match calls.of_events().list::<Event>(namespace, COMPLAINTS).await {
                Ok(events) => by_pod(events),
                Err(error) => {
                    tracing::warn!(
                        namespace,
                        %error,
                        "the Events of pods cannot be read, and what a probe answers is not told; see the roles in deploy/rbac"
                    );
                    HashMap::new()
                }
            };
            *heard = Some(Heard { at: Instant::now(), by_pod });
        }
        complaint(heard.as_ref()?.by_pod.get(&silence.pod)?, silence.runs)
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

fn by_pod(events: Vec<Event>) -> HashMap<String, Vec<Said>> {
    let mut by_pod: HashMap<String, Vec<Said>> = HashMap::new();
    for event in events {
        let Some(pod) = event.regarding.and_then(|object| object.name) else { continue };
        let series = event.series.map(|series| series.last_observed_time.0);
        let last = series.or(event.deprecated_last_timestamp.map(|at| at.0)).or(event.event_time.map(|at| at.0));
        let (reason, words) = (event.reason.unwrap_or_default(), event.note.unwrap_or_default());
        by_pod.entry(pod).or_default().push(Said { reason, words, last });
    }
    by_pod
}

/// What is said about a pod that runs, or that is being set up: what is missing before other troubles of its
/// node, and the latest words.
fn complaint(said: &[Said], runs: bool) -> Option<Complaint> {
    let latest = |wanted: fn(&Said) -> bool| {
        let said = said.iter().filter(|said| wanted(said));
        said.max_by_key(|said| (said.last, &said.words)).map(|said| said.words.clone())
    };
    if runs {
        return latest(|said| said.reason == "Unhealthy").map(Complaint::Probe);
    }
    let missing = latest(|said| {
        said.reason == "FailedMount" && ["not found", "non-existent"].iter().any(|words| said.words.contains(words))
    });
    let node = || {
        latest(|said| {
            matches!(
                said.reason.as_str(),
                "FailedMount" | "FailedAttachVolume" | "FailedCreatePodSandBox" | "NetworkNotReady"
            )
        })
    };
    missing.map(Complaint::MissingVolume).or_else(|| node().map(Complaint::Node))
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

    fn about(pod: &str, runs: bool, events: Vec<Event>) -> Option<Complaint> {
        complaint(by_pod(events).get(pod)?, runs)
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
        let probe = Complaint::Probe("statuscode: 503".to_owned());
        assert_eq!(about("shop-1", true, events()), Some(probe));
        assert_eq!(about("shop-3", true, events()), None);
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
        assert_eq!(about("shop-1", false, said), Some(Complaint::MissingVolume(missing.to_owned())));
        let key = "MountVolume.SetUp failed for volume \"keys\" : references non-existent secret key: tls.crt";
        let said = vec![event("shop-1", "FailedMount", 1, key)];
        assert_eq!(about("shop-1", false, said), Some(Complaint::MissingVolume(key.to_owned())));
        let sandbox = "failed to set up network: no addresses left";
        let said = vec![event("shop-1", "FailedCreatePodSandBox", 1, sandbox), event("shop-1", "Odd", 2, "odd")];
        assert_eq!(about("shop-1", false, said), Some(Complaint::Node(sandbox.to_owned())));
    }

    fn silent(pod: &str) -> Silence {
        Silence { pod: pod.to_owned(), runs: true, lasted: FRESH, read_at: None, complaint: None }
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
        let probe = |words: &str| Some(Complaint::Probe(words.to_owned()));
        assert_eq!(told, (probe("first"), probe("second")));
        assert_eq!(complaints.about(&calls, "a", &third).await, None);
        assert_eq!(asked.load(Ordering::SeqCst), 1);

        for _ in 0..2 {
            assert_eq!(complaints.about(&calls, "forbidden", &first).await, None);
        }
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }
}
