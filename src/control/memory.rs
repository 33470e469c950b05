//! What this process remembers about each object and does not store. It may be lost at any time.
//!
//! A pass takes a snapshot at its beginning ([`Memory::recall`]), works on it and puts it back at its end
//! ([`Memory::keep`]). Nothing is kept of a gateway that went meanwhile.
//!
//! **Architecture invariant:** correctness never depends on the memory. A process that has lost it does more
//! work, and nothing wrong.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::time::Instant;

use super::accepted::Accepted;
use super::clock::{Now, Stopwatches};
use super::status_conflicts::StatusConflicts;
use crate::api::{ApiGateway, ApiGatewayStatus, Reason, uid_of};
use crate::children;
use crate::decide::Learned;
use crate::decide::observed::{
    Child, MissingDependency, PodEvent, PodTrouble, Refusal, Tried, Unanswered, UnexplainedWait,
};

/// What is remembered, by object uid.
#[derive(Default)]
pub struct Memory {
    gateways: Mutex<HashMap<String, Entry>>,
    environments: Mutex<HashMap<String, BlockedStatus>>,
    reported: Mutex<HashMap<String, String>>,
    told: Mutex<HashMap<String, Vec<(Reason, Instant)>>>,
    /// Conflicts with other writers of statuses.
    pub status_conflicts: StatusConflicts,
}

/// An environment whose status cannot be written.
#[derive(Default)]
struct BlockedStatus {
    failing: Option<Failing>,
    /// What its gateway must know about it.
    by: Option<Learned>,
}

/// How often the same reason is reported for an object by an Event alone.
const TOLD_AGAIN: Duration = Duration::from_secs(600);

#[derive(Default)]
struct Entry {
    remembered: Remembered,
    written: Option<Written>,
    no_op: Option<NoOpWrite>,
}

/// A status write over this version that changed nothing, since the CRDs lack its new fields.
struct NoOpWrite {
    version: Option<String>,
    status: String,
}

/// What is remembered of one gateway between passes.
#[derive(Clone, Debug, Default)]
pub struct Remembered {
    pub(super) stopwatches: Stopwatches,
    tried: Option<(i64, Tried)>,
    refusal: Option<(i64, Refusal)>,
    // Boxed, since most have none.
    unanswered: Option<Box<Failing>>,
    /// The same for the gateway's own status.
    status_unanswered: Option<Box<Failing>>,
    judged_at: Option<Instant>,
    expected: Vec<Expected>,
    settled: Option<u64>,
    pub(super) accepted: Accepted,
    // Boxed, since most have none.
    unexplained: Option<Box<Unexplained>>,
    /// Since when a parent of the HTTPRoute has not answered.
    route_waits_since: Option<Instant>,
}

/// A write that keeps failing without a refusal.
#[derive(Clone, Debug)]
struct Failing {
    attempt: i64,
    what: Unanswered,
    since: Instant,
}

impl Failing {
    /// Records another failure. A failure of another kind begins anew, since only one kind holds the clock.
    fn again(before: Option<Self>, attempt: i64, what: &Unanswered, now: Now) -> Self {
        let is_alike =
            |before: &Self| before.attempt == attempt && before.what.by.holds_the_clock() == what.by.holds_the_clock();
        let since = before.filter(is_alike).map_or(now.monotonic, |before| before.since);
        Self { attempt, what: what.clone(), since }
    }
}

/// A pod that waits without an explanation in its status.
#[derive(Clone, Debug)]
struct Unexplained {
    about: PodTrouble,
    since: Instant,
    read_at: Option<Duration>,
    pod_event: Option<PodEvent>,
}

/// The effect of our own call on a child, which the cache may not show yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// It was created.
    Created,
    /// The object with this uid was deleted.
    Deleted(String),
}

#[derive(Clone, Debug)]
struct Expected {
    child: Child,
    what: Expectation,
    until: Instant,
}

/// Marks a gateway whose finalizer this operator may not remove as reported.
const FINALIZER_KEPT: &str = "it may not be let go of";

/// How long a cache may take to show our own calls.
pub const CACHE_LAG: Duration = Duration::from_secs(5);

/// Our last write, until the cache has caught up with it.
struct Written {
    overtaken: Vec<String>,
    object: Arc<ApiGateway>,
    moved: bool,
}

impl Memory {
    fn entries(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        // Every use is a single assignment, so a panic elsewhere cannot leave an entry half-written.
        self.gateways.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn environments(&self) -> MutexGuard<'_, HashMap<String, BlockedStatus>> {
        self.environments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reports(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.reported.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the snapshot of a gateway, which is remembered from now on.
    pub fn recall(&self, gateway: &ApiGateway) -> Remembered {
        self.entries().entry(gateway.uid().to_owned()).or_default().remembered.clone()
    }

    /// Puts the snapshot of a gateway back.
    pub fn keep(&self, gateway: &ApiGateway, remembered: Remembered) {
        if let Some(entry) = self.entries().get_mut(gateway.uid()) {
            entry.remembered = remembered;
        }
    }

    /// When the attempt of the gateway with this uid is due to be judged, as its last pass knew.
    pub fn judged_at(&self, uid: &str) -> Option<Instant> {
        self.entries().get(uid)?.remembered.judged_at
    }

    /// Our own last write of a gateway, if the cached version is older. A decision on the older one would only
    /// end in a conflict.
    pub fn newer_than(&self, cached: &ApiGateway) -> Option<Arc<ApiGateway>> {
        let mut entries = self.entries();
        let entry = entries.get_mut(cached.uid())?;
        entry.written.take_if(|written| !overtakes(written, cached));
        entry.written.as_ref().map(|written| Arc::clone(&written.object))
    }

    /// Remembers our write over the version `before`, and whether it was a transition.
    pub fn wrote(&self, before: &ApiGateway, after: ApiGateway, moved: bool) {
        if let Some(entry) = self.entries().get_mut(before.uid()) {
            let mut overtaken = entry.written.take().map(|written| written.overtaken).unwrap_or_default();
            overtaken.extend(before.metadata.resource_version.clone());
            entry.written = Some(Written { overtaken, object: Arc::new(after), moved });
        }
    }

    /// Whether the cached version is the echo of a transition of ours, which was acted on when it was written.
    pub fn is_echo(&self, cached: &ApiGateway) -> bool {
        let same = |written: &mut Written| {
            written.moved && written.object.metadata.resource_version == cached.metadata.resource_version
        };
        self.entries().get_mut(cached.uid()).is_some_and(|entry| entry.written.take_if(same).is_some())
    }

    /// Drops repairs for which Events were recorded.
    pub fn repairs_told(&self, gateway: &ApiGateway, count: usize) {
        if let Some(entry) = self.entries().get_mut(gateway.uid()) {
            entry.remembered.accepted.told(count);
        }
    }

    /// Remembers that a status write over this version changed nothing.
    pub fn changed_nothing(&self, gateway: &ApiGateway, status: &ApiGatewayStatus) {
        if let Some(entry) = self.entries().get_mut(gateway.uid()) {
            let version = gateway.metadata.resource_version.clone();
            entry.no_op = Some(NoOpWrite { version, status: children::hash(status) });
        }
    }

    /// Whether a status write is known to change nothing.
    pub fn changes_nothing(&self, gateway: &ApiGateway, status: &ApiGatewayStatus) -> bool {
        self.entries().get(gateway.uid()).and_then(|entry| entry.no_op.as_ref()).is_some_and(|no_op| {
            no_op.version == gateway.metadata.resource_version && no_op.status == children::hash(status)
        })
    }

    /// Forgets our last write: another writer came between, or the next pass reads the gateway anyway.
    pub fn forget_write(&self, gateway: &ApiGateway) {
        if let Some(entry) = self.entries().get_mut(gateway.uid()) {
            entry.written = None;
        }
    }

    /// Records that a missing dependency kept a gateway's status from being written. Returns how long that has
    /// lasted.
    pub fn status_was_not_answered(&self, gateway: &ApiGateway, what: &Unanswered, now: Now) -> Duration {
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(gateway.uid()) else { return Duration::ZERO };
        let before = entry.remembered.status_unanswered.take().map(|before| *before);
        let failing = Failing::again(before, attempt_number(gateway), what, now);
        let lasted = failing.since.elapsed();
        entry.remembered.status_unanswered = Some(Box::new(failing));
        lasted
    }

    /// Records that a gateway's status was written or refused.
    pub fn status_was_answered(&self, gateway: &ApiGateway) {
        if let Some(entry) = self.entries().get_mut(gateway.uid()) {
            entry.remembered.status_unanswered = None;
        }
    }

    /// The same for the environment with this uid.
    pub fn environment_was_not_answered(&self, uid: &str, what: &Unanswered, now: Now) -> Duration {
        let mut environments = self.environments();
        let blocked = environments.entry(uid.to_owned()).or_default();
        let failing = Failing::again(blocked.failing.take(), 0, what, now);
        blocked.failing.insert(failing).since.elapsed()
    }

    /// Records what blocks the status of the environment with this uid. Returns whether that is news for its
    /// gateway.
    pub fn environment_is_blocked(&self, uid: &str, by: Learned) -> bool {
        let mut environments = self.environments();
        let blocked = environments.entry(uid.to_owned()).or_default();
        if matches!(by, Learned::Refused(_)) {
            blocked.failing = None;
        }
        let kind = |by: &Learned| match by {
            Learned::Unanswered(unanswered) => Some(unanswered.by.clone()),
            _ => None,
        };
        let is_news = blocked.by.as_ref().is_none_or(|before| kind(before) != kind(&by));
        blocked.by = Some(by);
        is_news
    }

    /// Records that the status of the environment with this uid is up to date. Returns whether it was blocked
    /// before.
    pub fn environment_was_written(&self, uid: &str) -> bool {
        self.environments().remove(uid).is_some_and(|blocked| blocked.by.is_some())
    }

    /// The first blocked status among these environments, and what blocks it.
    pub fn blocked<'a>(&self, mut uids: impl Iterator<Item = &'a str>) -> Option<Learned> {
        let environments = self.environments();
        if environments.is_empty() {
            return None;
        }
        uids.find_map(|uid| {
            let blocked = environments.get(uid)?;
            let mut by = blocked.by.clone()?;
            if let (Learned::Unanswered(unanswered), Some(failing)) = (&mut by, &blocked.failing) {
                unanswered.lasted = failing.since.elapsed();
            }
            Some(by)
        })
    }

    /// Whether an Event may be recorded for a reason that no status mentions: at most one per interval.
    pub fn may_tell(&self, uid: &str, reason: Reason, now: Now) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let told = told.entry(uid.to_owned()).or_default();
        told.retain(|(_, at)| now.monotonic.saturating_duration_since(*at) < TOLD_AGAIN);
        let is_news = told.iter().all(|(before, _)| *before != reason);
        if is_news {
            told.push((reason, now.monotonic));
        }
        is_news
    }

    /// Whether this process has reported this fault of an object.
    pub fn has_reported(&self, uid: &str, fault: &str) -> bool {
        self.reports().get(uid).is_some_and(|reported| reported == fault)
    }

    /// Remembers that a fault of an object was reported.
    pub fn reported(&self, uid: &str, fault: String) {
        self.reports().insert(uid.to_owned(), fault);
    }

    /// Remembers that our finalizer cannot be removed from a gateway, and that this was reported.
    pub fn may_not_remove_finalizer(&self, gateway: &ObjectMeta) {
        self.reported(uid_of(gateway), FINALIZER_KEPT.to_owned());
    }

    /// Whether our finalizer can be removed from a gateway, as far as known.
    pub fn may_remove_finalizer(&self, gateway: &ObjectMeta) -> bool {
        gateway.deletion_timestamp.is_none() || !self.has_reported(uid_of(gateway), FINALIZER_KEPT)
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, uid: &str) {
        self.entries().remove(uid);
        self.environments().remove(uid);
        self.reports().remove(uid);
        self.told.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
        self.status_conflicts.forget(uid);
    }
}

impl Remembered {
    /// Records when the steps of the current attempt were tried.
    pub fn tried(&mut self, gateway: &ApiGateway, tried: Tried) {
        self.tried = Some((attempt_number(gateway), tried));
    }

    /// Records what refused the last steps, if anything.
    pub fn refused(&mut self, gateway: &ApiGateway, refusal: Option<Refusal>) {
        self.refusal = refusal.map(|refusal| (attempt_number(gateway), refusal));
    }

    /// When this process tried the steps of the current attempt.
    pub fn has_tried(&self, gateway: &ApiGateway) -> Tried {
        let attempt = attempt_number(gateway);
        self.tried.filter(|(number, _)| *number == attempt).map_or(Tried::Never, |(_, tried)| tried)
    }

    /// The refusal in the current attempt.
    pub fn refusal(&self, gateway: &ApiGateway) -> Option<&Refusal> {
        let attempt = attempt_number(gateway);
        self.refusal.as_ref().filter(|(number, _)| *number == attempt).map(|(_, refusal)| refusal)
    }

    /// Records a write that failed without a refusal. Returns how long that has lasted.
    pub fn unanswered(&mut self, gateway: &ApiGateway, what: &Unanswered, now: Now) -> Duration {
        let before = self.unanswered.take().map(|before| *before);
        let failing = Failing::again(before, attempt_number(gateway), what, now);
        let lasted = failing.since.elapsed();
        self.unanswered = Some(Box::new(failing));
        lasted
    }

    /// Records that every write was answered.
    pub fn answered(&mut self) {
        self.unanswered = None;
    }

    /// The last write that failed without a refusal. An unavailable webhook may still be unavailable; any other
    /// failure counts once it was reported.
    pub fn what_was_unanswered(&self, gateway: &ApiGateway) -> Option<Unanswered> {
        let failing = self.unanswered.as_ref().filter(|failing| failing.attempt == attempt_number(gateway))?;
        let counts = matches!(failing.what.by, MissingDependency::Webhook(_)) || says_who_is_away(gateway);
        counts.then(|| Unanswered { lasted: failing.since.elapsed(), ..failing.what.clone() })
    }

    /// How long a missing dependency has kept the status from being written, if that holds the clock.
    pub fn unrecorded(&self, gateway: &ApiGateway, now: Now) -> Duration {
        let failing = self.status_unanswered.as_ref();
        let failing = failing.filter(|failing| failing.attempt == attempt_number(gateway));
        let holds = failing.filter(|failing| failing.what.by.holds_the_clock());
        holds.map_or(Duration::ZERO, |failing| now.monotonic.saturating_duration_since(failing.since))
    }

    /// Records when the attempt is due to be judged, whatever fails meanwhile.
    pub fn is_judged_at(&mut self, at: Option<Instant>) {
        self.judged_at = at;
    }

    /// Records the effect of our call on a child.
    pub fn expect(&mut self, child: Child, what: Expectation) {
        let now = Instant::now();
        self.expected.retain(|expected| expected.child != child && expected.until >= now);
        self.expected.push(Expected { child, what, until: now + CACHE_LAG });
    }

    /// The recent effect of our last call on a child.
    pub fn expectation(&self, child: Child, now: Now) -> Option<&Expectation> {
        let expected = self.expected.iter().find(|expected| expected.child == child)?;
        (expected.until >= now.monotonic).then_some(&expected.what)
    }

    /// Records whether a parent of the HTTPRoute has not answered. Returns for how long.
    pub fn route_waits(&mut self, waits: bool, now: Now) -> Duration {
        let since = waits.then(|| self.route_waits_since.unwrap_or(now.monotonic));
        self.route_waits_since = since;
        since.map_or(Duration::ZERO, |since| now.monotonic.saturating_duration_since(since))
    }

    /// Records the fingerprint under which every child was as desired.
    pub fn found_settled(&mut self, fingerprint: Option<u64>) {
        self.settled = fingerprint;
    }

    /// The fingerprint under which every child was last as desired.
    pub fn settled(&self) -> Option<u64> {
        self.settled
    }

    /// Follows one pod whose trouble its status does not explain: the same one for as long as its trouble
    /// lasts, and one whose container ended before others. Outages do not count; `within` returns how much of a
    /// recent period was an outage.
    pub fn unexplained(
        &mut self,
        followed: &[&PodTrouble],
        now: Now,
        within: impl FnOnce(Duration) -> Duration,
    ) -> Option<UnexplainedWait> {
        let ended = |pod: &PodTrouble| pod.trouble.may_be_a_probes();
        let worst = followed.iter().find(|pod| ended(pod)).or(followed.first());
        let kept = self.unexplained.take().and_then(|kept| {
            let about = followed.iter().find(|pod| pod.is_still(&kept.about))?;
            let outdone = worst.is_some_and(|worst| ended(worst)) && !ended(about);
            (!outdone).then(|| Box::new(Unexplained { about: PodTrouble::clone(about), ..*kept }))
        });
        self.unexplained = kept.or_else(|| {
            let about = PodTrouble::clone(worst?);
            Some(Box::new(Unexplained { about, since: now.monotonic, read_at: None, pod_event: None }))
        });
        self.unexplained.as_ref().map(|kept| {
            let lasted = now.monotonic.saturating_duration_since(kept.since);
            UnexplainedWait {
                about: kept.about.clone(),
                lasted: lasted.saturating_sub(within(lasted)),
                read_at: kept.read_at,
                pod_event: kept.pod_event.clone(),
            }
        })
    }

    /// Records what the Events of the followed pod said. An Event expires after an hour, so what it said is
    /// kept.
    pub fn events_read(&mut self, unexplained: &UnexplainedWait, pod_event: Option<PodEvent>) {
        if let Some(kept) = self.unexplained.as_mut().filter(|kept| unexplained.about.is_still(&kept.about)) {
            kept.read_at = Some(unexplained.lasted);
            kept.pod_event = pod_event.or_else(|| kept.pod_event.take());
        }
    }
}

fn overtakes(written: &Written, cached: &ApiGateway) -> bool {
    cached.metadata.resource_version.as_ref().is_some_and(|version| written.overtaken.contains(version))
}

/// Whether the status reports a write that failed without a refusal.
fn says_who_is_away(gateway: &ApiGateway) -> bool {
    const REASONS: [Reason; 3] = [Reason::ClusterUnavailable, Reason::OperatorNotPermitted, Reason::WriteUnanswered];
    let conditions = gateway.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|condition| REASONS.iter().any(|reason| reason.as_str() == condition.reason))
}

fn attempt_number(gateway: &ApiGateway) -> i64 {
    gateway.status.as_ref().and_then(|status| status.attempt.as_ref()).map_or(0, |attempt| attempt.number)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::decide::observed::{ProbeResult, Trouble};

    const RUNS: Trouble = Trouble::Unready { was_ready: false };

    fn pod(name: &str, trouble: Trouble) -> PodTrouble {
        PodTrouble { pod: name.to_owned(), template: None, container: None, node: None, trouble }
    }

    fn probe(words: &str) -> Option<PodEvent> {
        Some(PodEvent::Probe(ProbeResult { container: None, words: words.to_owned() }))
    }

    /// There was no outage.
    fn never(_: Duration) -> Duration {
        Duration::ZERO
    }

    #[test]
    fn a_pod_is_silent_only_while_somebody_could_have_looked_at_it() {
        const SECOND: Duration = Duration::from_secs(1);
        let start = Now::read();
        let mut remembered = Remembered::default();
        let pod = pod("shop-1", Trouble::NoScheduler("default-scheduler".to_owned()));
        let mut lasted = |after: u32, away: u32| {
            let now = Now { monotonic: start.monotonic + after * SECOND, ..start };
            remembered.unexplained(&[&pod], now, |lasted| lasted.min(away * SECOND)).unwrap().lasted
        };
        assert_eq!(lasted(0, 0), Duration::ZERO);
        assert_eq!(lasted(20, 20), Duration::ZERO);
        assert_eq!(lasted(45, 40), 5 * SECOND);
    }

    #[test]
    fn a_silent_pod_is_followed_until_it_is_silent_no_more_whoever_else_is() {
        const SECOND: Duration = Duration::from_secs(1);
        let start = Now::read();
        let at = |after: u32| Now { monotonic: start.monotonic + after * SECOND, ..start };
        let mut remembered = Remembered::default();
        let (first, second) = (pod("shop-1", RUNS), pod("shop-2", RUNS));
        let told = |remembered: &mut Remembered, pods: &[&PodTrouble], after: u32| {
            let unexplained = remembered.unexplained(pods, at(after), never)?;
            Some((unexplained.about.pod.clone(), unexplained.lasted, unexplained.read_at, unexplained.pod_event))
        };

        assert_eq!(told(&mut remembered, &[], 0), None);
        assert_eq!(told(&mut remembered, &[&second], 0), Some(("shop-2".to_owned(), Duration::ZERO, None, None)));
        let unexplained = remembered.unexplained(&[&first, &second], at(6), never).unwrap();
        let answer = probe("503");
        remembered.events_read(&unexplained, answer.clone());
        let heard = ("shop-2".to_owned(), 7 * SECOND, Some(6 * SECOND), answer);
        assert_eq!(told(&mut remembered, &[&first, &second], 7), Some(heard));

        assert_eq!(told(&mut remembered, &[&first], 8), Some(("shop-1".to_owned(), Duration::ZERO, None, None)));
        remembered.events_read(&unexplained, probe("another's"));
        assert_eq!(told(&mut remembered, &[&first], 9), Some(("shop-1".to_owned(), SECOND, None, None)));
        let set_up = pod("shop-1", Trouble::SettingUp);
        assert_eq!(
            told(&mut remembered, &[&set_up], 9),
            Some(("shop-1".to_owned(), Duration::ZERO, None, None)),
            "in another way"
        );
        assert_eq!(told(&mut remembered, &[], 10), None);
        assert_eq!(told(&mut remembered, &[&set_up], 11), Some(("shop-1".to_owned(), Duration::ZERO, None, None)));
    }

    #[test]
    fn a_pod_whose_container_ended_is_followed_before_one_that_is_silent() {
        let now = Now::read();
        let ended = |code| Trouble::Ended { code, out_of_memory: false, message: String::new(), brief: false };
        let (silent, other, crashed) = (pod("shop-1", RUNS), pod("shop-2", RUNS), pod("shop-3", ended(0)));
        let mut remembered = Remembered::default();
        let mut followed = |pods: &[&PodTrouble]| remembered.unexplained(pods, now, never).unwrap().about.pod;
        assert_eq!(followed(&[&other]), "shop-2");
        assert_eq!(followed(&[&silent, &other, &crashed]), "shop-3");
        let first = pod("shop-0", ended(0));
        assert_eq!(followed(&[&first, &silent, &crashed]), "shop-3", "for as long as it is so");
        assert_eq!(followed(&[&silent, &other]), "shop-1");
    }

    #[test]
    fn what_was_heard_is_kept_when_the_events_are_gone_and_newer_words_replace_it() {
        let now = Now::read();
        let mut remembered = Remembered::default();
        let first = pod("shop-1", RUNS);
        let mut heard = |pod_event: Option<PodEvent>| {
            let unexplained = remembered.unexplained(&[&first], now, never).unwrap();
            remembered.events_read(&unexplained, pod_event);
            remembered.unexplained(&[&first], now, never).unwrap().pod_event
        };
        assert_eq!(heard(probe("refused")), probe("refused"));
        assert_eq!(heard(None), probe("refused"));
        assert_eq!(heard(probe("503")), probe("503"));
    }
}
