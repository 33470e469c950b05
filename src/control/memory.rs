//! What this process knows about each gateway and does not store: it can be lost at any time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;

use crate::api::ApiGateway;
use crate::cluster::reachability::Outages;
use crate::control::clock::Stopwatches;
use crate::decide::observed::{Child, Complaint, Moment, PodTrouble, Refusal, Silence, Trouble};

/// Per gateway uid, what this process remembers.
#[derive(Default)]
pub struct Memory {
    gateways: Mutex<HashMap<String, Entry>>,
}

#[derive(Default)]
struct Entry {
    stopwatches: Stopwatches,
    written: Option<Written>,
    tried: Option<i64>,
    refusal: Option<(i64, Refusal)>,
    expected: HashMap<Child, Expected>,
    settled: Option<u64>,
    failures: u32,
    reported: Option<String>,
    // A box: most have none.
    silence: Option<Box<Silent>>,
}

/// A pod that is not ready and whose status does not say why.
struct Silent {
    pod: String,
    trouble: Trouble,
    since: Instant,
    read_at: Option<Duration>,
    complaint: Option<Complaint>,
}

/// What our own call did to a child and the cache may not show yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// It was created.
    Created,
    /// The object of this uid was deleted.
    Deleted(String),
}

struct Expected {
    what: Expectation,
    until: Instant,
}

/// For how long a cache is given time to show our own calls.
pub const CACHE_LAG: Duration = Duration::from_secs(5);

/// Our last write, for as long as the cache has not caught up with it.
struct Written {
    overtaken: Vec<String>,
    object: Arc<ApiGateway>,
    moved: bool,
}

impl Memory {
    fn entries(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        // A panic elsewhere cannot leave an entry half-written: every use is one assignment.
        self.gateways.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, uid: &str, act: impl FnOnce(&mut Entry) -> T) -> T {
        act(self.entries().entry(uid.to_owned()).or_default())
    }

    /// Our own last write of an object, if the cached version is one that it has overtaken. A
    /// cache lags behind our writes; deciding on it again would only end in a conflict.
    pub fn newer_than(&self, cached: &ApiGateway) -> Option<Arc<ApiGateway>> {
        self.with(cached.uid(), |entry| {
            entry.written.take_if(|written| !overtakes(written, cached));
            entry.written.as_ref().map(|written| Arc::clone(&written.object))
        })
    }

    /// Remembers our write over the version `before`, and whether it was a transition.
    pub fn wrote(&self, before: &ApiGateway, after: ApiGateway, moved: bool) {
        self.with(before.uid(), |entry| {
            let mut overtaken = entry.written.take().map(|written| written.overtaken).unwrap_or_default();
            overtaken.extend(before.metadata.resource_version.clone());
            entry.written = Some(Written { overtaken, object: Arc::new(after), moved });
        });
    }

    /// Whether the cache has caught up with a transition of ours, which was acted on when it was
    /// written: its echo says nothing new.
    pub fn is_echo(&self, cached: &ApiGateway) -> bool {
        self.with(cached.uid(), |entry| {
            let same = |written: &mut Written| {
                written.moved && written.object.metadata.resource_version == cached.metadata.resource_version
            };
            entry.written.take_if(same).is_some()
        })
    }

    /// Forgets our last write: somebody else's came between.
    pub fn lost_a_race(&self, uid: &str) {
        self.with(uid, |entry| entry.written = None);
    }

    /// When a decision about this gateway is made.
    pub fn moment(&self, gateway: &ApiGateway, outages: &Outages) -> Moment {
        let status = gateway.status.as_ref();
        let attempt = status.and_then(|status| status.attempt.as_ref());
        let stamps = [
            attempt.map(|attempt| attempt.started_at.0),
            attempt.and_then(|attempt| attempt.held_since.as_ref()).map(|since| since.0),
            status.and_then(|status| status.history.last()).map(|last| last.at.0),
            status.and_then(|status| status.last_failure.as_ref()).map(|failure| failure.at.0),
            gateway.metadata.deletion_timestamp.as_ref().map(|asked| asked.0),
        ];
        let now = Timestamp::now();
        let instant = Instant::now();
        let [attempt, held, phase, failure, deletion] =
            self.with(gateway.uid(), |entry| entry.stopwatches.read(stamps, now, instant));
        let attempt = attempt.saturating_sub(outages.within(attempt, instant));
        Moment { now, attempt, held, phase, failure, deletion }
    }

    /// Remembers that the steps of an attempt were tried.
    pub fn tried(&self, gateway: &ApiGateway) {
        self.with(gateway.uid(), |entry| entry.tried = Some(attempt_number(gateway)));
    }

    /// Remembers what refused the last steps, or that nothing did.
    pub fn refused(&self, gateway: &ApiGateway, refusal: Option<Refusal>) {
        let attempt = attempt_number(gateway);
        self.with(gateway.uid(), |entry| entry.refusal = refusal.map(|refusal| (attempt, refusal)));
    }

    /// Whether this process has tried the steps of the current attempt.
    pub fn has_tried(&self, gateway: &ApiGateway) -> bool {
        self.with(gateway.uid(), |entry| entry.tried == Some(attempt_number(gateway)))
    }

    /// What the API server refused in the current attempt.
    pub fn refusal(&self, gateway: &ApiGateway) -> Option<Refusal> {
        let attempt = attempt_number(gateway);
        self.with(gateway.uid(), |entry| {
            entry.refusal.as_ref().filter(|(number, _)| *number == attempt).map(|(_, refusal)| refusal.clone())
        })
    }

    /// Remembers what our call did to a child.
    pub fn expect(&self, gateway: &ApiGateway, child: Child, what: Expectation) {
        let until = Instant::now() + CACHE_LAG;
        self.with(gateway.uid(), |entry| entry.expected.insert(child, Expected { what, until }));
    }

    /// What our last call did to a child, if it was a moment ago.
    pub fn expectation(&self, gateway: &ApiGateway, child: Child) -> Option<Expectation> {
        self.with(gateway.uid(), |entry| {
            let expected = entry.expected.get(&child)?;
            if expected.until < Instant::now() {
                entry.expected.remove(&child);
                return None;
            }
            Some(expected.what.clone())
        })
    }

    /// Remembers that every child was found as desired, where everything that the comparison
    /// depends on had this fingerprint.
    pub fn found_settled(&self, gateway: &ApiGateway, fingerprint: u64) {
        self.with(gateway.uid(), |entry| entry.settled = Some(fingerprint));
    }

    /// The fingerprint with which every child was last found as desired.
    pub fn settled(&self, gateway: &ApiGateway) -> Option<u64> {
        self.with(gateway.uid(), |entry| entry.settled)
    }

    /// One of the silent pods of a gateway, and what was heard of it: always the same one, for as long as it
    /// is silent in the same way.
    pub fn silence(&self, gateway: &ApiGateway, silent: &[&PodTrouble], now: Instant) -> Option<Silence> {
        self.with(gateway.uid(), |entry| {
            let is_still =
                |kept: &mut Box<Silent>| silent.iter().any(|pod| pod.pod == kept.pod && pod.trouble == kept.trouble);
            entry.silence = entry.silence.take_if(is_still).or_else(|| {
                let PodTrouble { pod, trouble, .. } = PodTrouble::clone(silent.first()?);
                Some(Box::new(Silent { pod, trouble, since: now, read_at: None, complaint: None }))
            });
            entry.silence.as_ref().map(|kept| Silence {
                pod: kept.pod.clone(),
                runs: kept.trouble == Trouble::Unready,
                lasted: now.saturating_duration_since(kept.since),
                read_at: kept.read_at,
                complaint: kept.complaint.clone(),
            })
        })
    }

    /// Remembers what the Events of a silent pod said, if anything.
    pub fn heard(&self, gateway: &ApiGateway, silence: &Silence, complaint: Option<Complaint>) {
        self.with(gateway.uid(), |entry| {
            if let Some(kept) = entry.silence.as_mut().filter(|kept| kept.pod == silence.pod) {
                kept.read_at = Some(silence.lasted);
                kept.complaint = complaint;
            }
        });
    }

    /// Counts another failed reconcile in a row.
    pub fn failed(&self, uid: &str) -> u32 {
        self.with(uid, |entry| {
            entry.failures = entry.failures.saturating_add(1);
            entry.failures
        })
    }

    /// A reconcile went through.
    pub fn succeeded(&self, uid: &str) {
        if let Some(entry) = self.entries().get_mut(uid) {
            entry.failures = 0;
        }
    }

    /// Whether this process has reported this fault of an object.
    pub fn has_reported(&self, uid: &str, fault: &str) -> bool {
        self.with(uid, |entry| entry.reported.as_deref() == Some(fault))
    }

    /// Remembers that a fault of an object was reported.
    pub fn reported(&self, uid: &str, fault: String) {
        self.with(uid, |entry| entry.reported = Some(fault));
    }

    /// Forgets a gateway that is gone.
    pub fn forget(&self, uid: &str) {
        self.entries().remove(uid);
    }
}

fn overtakes(written: &Written, cached: &ApiGateway) -> bool {
    cached.metadata.resource_version.as_ref().is_some_and(|version| written.overtaken.contains(version))
}

fn attempt_number(gateway: &ApiGateway) -> i64 {
    gateway.status.as_ref().and_then(|status| status.attempt.as_ref()).map_or(0, |attempt| attempt.number)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn pod(name: &str, trouble: Trouble) -> PodTrouble {
        PodTrouble { pod: name.to_owned(), template: None, container: None, trouble }
    }

    #[test]
    fn a_silent_pod_is_followed_until_it_is_silent_no_more_whoever_else_is() {
        const SECOND: Duration = Duration::from_secs(1);
        let spec = serde_json::from_value(serde_json::json!({ "image": "acme/gateway:1" })).unwrap();
        let (memory, gateway, start) = (Memory::default(), ApiGateway::new("shop", spec), Instant::now());
        let (first, second) = (pod("shop-1", Trouble::Unready), pod("shop-2", Trouble::Unready));
        let told = |pods: &[&PodTrouble], after: u32| {
            let silence = memory.silence(&gateway, pods, start + after * SECOND)?;
            Some((silence.pod.clone(), silence.lasted, silence.read_at, silence.complaint))
        };

        assert_eq!(told(&[], 0), None);
        assert_eq!(told(&[&second], 0), Some(("shop-2".to_owned(), Duration::ZERO, None, None)));
        let silence = memory.silence(&gateway, &[&first, &second], start + 6 * SECOND).unwrap();
        let answer = Some(Complaint::Probe("503".to_owned()));
        memory.heard(&gateway, &silence, answer.clone());
        let heard = ("shop-2".to_owned(), 7 * SECOND, Some(6 * SECOND), answer);
        assert_eq!(told(&[&first, &second], 7), Some(heard));

        assert_eq!(told(&[&first], 8), Some(("shop-1".to_owned(), Duration::ZERO, None, None)));
        memory.heard(&gateway, &silence, Some(Complaint::Probe("another's".to_owned())));
        assert_eq!(told(&[&first], 9), Some(("shop-1".to_owned(), SECOND, None, None)));
        let set_up = pod("shop-1", Trouble::SettingUp);
        assert_eq!(told(&[&set_up], 9), Some(("shop-1".to_owned(), Duration::ZERO, None, None)), "in another way");
        assert_eq!(told(&[], 10), None);
        assert_eq!(told(&[&set_up], 11), Some(("shop-1".to_owned(), Duration::ZERO, None, None)));
    }
}
