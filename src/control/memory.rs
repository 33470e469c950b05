//! What this process knows about each gateway and does not store: it can be lost at any time.
//!
//! A pass takes out one snapshot at its beginning ([`Memory::recall`]), works on that, and puts it back at its end
//! ([`Memory::keep`]). Of a gateway that went meanwhile nothing is kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::time::Instant;

use super::accepted::Accepted;
use super::clock::{Now, Stopwatches};
use crate::api::{ApiGateway, ApiGatewayStatus, Reason, uid_of};
use crate::children;
use crate::decide::Learned;
use crate::decide::observed::{Absent, Child, Complaint, PodTrouble, Refusal, Silence, Unanswered};

/// Per object uid, what this process remembers.
#[derive(Default)]
pub struct Memory {
    gateways: Mutex<HashMap<String, Entry>>,
    environments: Mutex<HashMap<String, Hindered>>,
    reported: Mutex<HashMap<String, String>>,
    told: Mutex<HashMap<String, Vec<(Reason, Instant)>>>,
}

/// An environment whose status cannot be written.
#[derive(Default)]
struct Hindered {
    failing: Option<Failing>,
    /// What its gateway is to know of it.
    by: Option<Learned>,
}

/// How often the same is told of an object by an Event alone.
const TOLD_AGAIN: Duration = Duration::from_secs(600);

#[derive(Default)]
struct Entry {
    remembered: Remembered,
    written: Option<Written>,
    futile: Option<Futile>,
}

/// A status that was written over this version and changed nothing: the definitions do not have what is new in it.
struct Futile {
    version: Option<String>,
    status: String,
}

/// What is remembered of one gateway between passes.
#[derive(Clone, Debug, Default)]
pub struct Remembered {
    pub(super) stopwatches: Stopwatches,
    tried: Option<i64>,
    refusal: Option<(i64, Refusal)>,
    // A box: most have none.
    unanswered: Option<Box<Failing>>,
    /// The same of the status: what could not be recorded meanwhile is what the others are told of.
    status_unanswered: Option<Box<Failing>>,
    judged_at: Option<Instant>,
    expected: Vec<Expected>,
    settled: Option<u64>,
    pub(super) accepted: Accepted,
    // A box: most have none.
    silence: Option<Box<Silent>>,
}

/// A write that is neither carried out nor refused, again and again.
#[derive(Clone, Debug)]
struct Failing {
    attempt: i64,
    what: Unanswered,
    since: Instant,
}

impl Failing {
    /// Another try failed. What fails for another kind of reason begins anew: one holds the clock, and the other does not.
    fn again(before: Option<Self>, attempt: i64, what: &Unanswered, now: Now) -> Self {
        let is_alike =
            |before: &Self| before.attempt == attempt && before.what.by.holds_the_clock() == what.by.holds_the_clock();
        let since = before.filter(is_alike).map_or(now.monotonic, |before| before.since);
        Self { attempt, what: what.clone(), since }
    }
}

/// A pod whose trouble is told only after a while, or after its Events were read.
#[derive(Clone, Debug)]
struct Silent {
    about: PodTrouble,
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

#[derive(Clone, Debug)]
struct Expected {
    child: Child,
    what: Expectation,
    until: Instant,
}

/// What counts as reported of a gateway that carries our finalizer and is not for this operator to let go of.
const NOT_LET_GO: &str = "it may not be let go of";

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

    fn environments(&self) -> MutexGuard<'_, HashMap<String, Hindered>> {
        self.environments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reports(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.reported.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is remembered of a gateway that is there. From now on something is, until it is forgotten.
    pub fn recall(&self, gateway: &ApiGateway) -> Remembered {
        self.entries().entry(gateway.uid().to_owned()).or_default().remembered.clone()
    }

    /// Keeps what a pass over a gateway leaves behind.
    pub fn keep(&self, gateway: &ApiGateway, remembered: Remembered) {
        if let Some(entry) = self.entries().get_mut(gateway.uid()) {
            entry.remembered = remembered;
        }
    }

    /// When the attempt of the gateway of this uid is to be judged, as far as its last pass knew.
    pub fn judged_at(&self, uid: &str) -> Option<Instant> {
        self.entries().get(uid)?.remembered.judged_at
    }

    /// Our own last write of an object, if the cached version is one that it has overtaken. A
    /// cache lags behind our writes; deciding on it again would only end in a conflict.
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

    /// Whether the cache has caught up with a transition of ours, which was acted on when it was
    /// written: its echo says nothing new.
    pub fn is_echo(&self, cached: &ApiGateway) -> bool {
        let same = |written: &mut Written| {
            written.moved && written.object.metadata.resource_version == cached.metadata.resource_version
        };
        self.entries().get_mut(cached.uid()).is_some_and(|entry| entry.written.take_if(same).is_some())
    }

    /// So many repairs of a gateway's children were told.
    pub fn repairs_told(&self, gateway: &ApiGateway, count: usize) {
        if let Some(entry) = self.entries().get_mut(gateway.uid()) {
            entry.remembered.accepted.told(count);
        }
    }

    /// Remembers that a status was written over this version of a gateway and changed nothing.
    pub fn changed_nothing(&self, gateway: &ApiGateway, status: &ApiGatewayStatus) {
        if let Some(entry) = self.entries().get_mut(gateway.uid()) {
            let version = gateway.metadata.resource_version.clone();
            entry.futile = Some(Futile { version, status: children::hash(status) });
        }
    }

    /// Whether a status is known to change nothing.
    pub fn changes_nothing(&self, gateway: &ApiGateway, status: &ApiGatewayStatus) -> bool {
        self.entries().get(gateway.uid()).and_then(|entry| entry.futile.as_ref()).is_some_and(|futile| {
            futile.version == gateway.metadata.resource_version && futile.status == children::hash(status)
        })
    }

    /// Forgets our last write: somebody else's came between, or the next pass reads the gateway anyway.
    pub fn forget_write(&self, gateway: &ApiGateway) {
        if let Some(entry) = self.entries().get_mut(gateway.uid()) {
            entry.written = None;
        }
    }

    /// Somebody was away without whom the status of a gateway cannot be written. Returns for how long that has been so.
    pub fn status_was_not_answered(&self, gateway: &ApiGateway, what: &Unanswered, now: Now) -> Duration {
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(gateway.uid()) else { return Duration::ZERO };
        let before = entry.remembered.status_unanswered.take().map(|before| *before);
        let failing = Failing::again(before, attempt_number(gateway), what, now);
        let lasted = failing.since.elapsed();
        entry.remembered.status_unanswered = Some(Box::new(failing));
        lasted
    }

    /// The status of a gateway was written, or refused.
    pub fn status_was_answered(&self, gateway: &ApiGateway) {
        if let Some(entry) = self.entries().get_mut(gateway.uid()) {
            entry.remembered.status_unanswered = None;
        }
    }

    /// The same of the environment of this uid.
    pub fn environment_was_not_answered(&self, uid: &str, what: &Unanswered, now: Now) -> Duration {
        let mut environments = self.environments();
        let hindered = environments.entry(uid.to_owned()).or_default();
        let failing = Failing::again(hindered.failing.take(), 0, what, now);
        hindered.failing.insert(failing).since.elapsed()
    }

    /// What keeps the status of the environment of this uid from being written. Returns whether that is news to its gateway.
    pub fn environment_is_hindered(&self, uid: &str, by: Learned) -> bool {
        let mut environments = self.environments();
        let hindered = environments.entry(uid.to_owned()).or_default();
        if matches!(by, Learned::Refused(_)) {
            hindered.failing = None;
        }
        let kind = |by: &Learned| match by {
            Learned::Unanswered(unanswered) => Some(unanswered.by.clone()),
            _ => None,
        };
        let is_news = hindered.by.as_ref().is_none_or(|before| kind(before) != kind(&by));
        hindered.by = Some(by);
        is_news
    }

    /// The status of the environment of this uid says what it is to say. Returns whether it did not before.
    pub fn environment_was_written(&self, uid: &str) -> bool {
        self.environments().remove(uid).is_some_and(|hindered| hindered.by.is_some())
    }

    /// What keeps the statuses of environments of these uids from being written: the first that is so.
    pub fn hindered<'a>(&self, mut uids: impl Iterator<Item = &'a str>) -> Option<Learned> {
        let environments = self.environments();
        if environments.is_empty() {
            return None;
        }
        uids.find_map(|uid| {
            let hindered = environments.get(uid)?;
            let mut by = hindered.by.clone()?;
            if let (Learned::Unanswered(unanswered), Some(failing)) = (&mut by, &hindered.failing) {
                unanswered.lasted = failing.since.elapsed();
            }
            Some(by)
        })
    }

    /// Whether something may be told of an object that no status says: not if it was a moment ago.
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

    /// Remembers that our finalizer on a gateway is not for this operator to remove, and that somebody was told so.
    pub fn may_not_let_go(&self, gateway: &ObjectMeta) {
        self.reported(uid_of(gateway), NOT_LET_GO.to_owned());
    }

    /// Whether our finalizer can be removed from a gateway, as far as this process knows.
    pub fn may_let_go(&self, gateway: &ObjectMeta) -> bool {
        gateway.deletion_timestamp.is_none() || !self.has_reported(uid_of(gateway), NOT_LET_GO)
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, uid: &str) {
        self.entries().remove(uid);
        self.environments().remove(uid);
        self.reports().remove(uid);
        self.told.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

impl Remembered {
    /// The steps of an attempt were tried.
    pub fn tried(&mut self, gateway: &ApiGateway) {
        self.tried = Some(attempt_number(gateway));
    }

    /// What refused the last steps, or that nothing did.
    pub fn refused(&mut self, gateway: &ApiGateway, refusal: Option<Refusal>) {
        self.refusal = refusal.map(|refusal| (attempt_number(gateway), refusal));
    }

    /// Whether this process has tried the steps of the current attempt.
    pub fn has_tried(&self, gateway: &ApiGateway) -> bool {
        self.tried == Some(attempt_number(gateway))
    }

    /// What the API server refused in the current attempt.
    pub fn refusal(&self, gateway: &ApiGateway) -> Option<&Refusal> {
        let attempt = attempt_number(gateway);
        self.refusal.as_ref().filter(|(number, _)| *number == attempt).map(|(_, refusal)| refusal)
    }

    /// A write was neither carried out nor refused. Returns for how long that has been so.
    pub fn unanswered(&mut self, gateway: &ApiGateway, what: &Unanswered, now: Now) -> Duration {
        let before = self.unanswered.take().map(|before| *before);
        let failing = Failing::again(before, attempt_number(gateway), what, now);
        let lasted = failing.since.elapsed();
        self.unanswered = Some(Box::new(failing));
        lasted
    }

    /// Every write was answered.
    pub fn answered(&mut self) {
        self.unanswered = None;
    }

    /// What was neither carried out nor refused when it was last tried. A webhook that was away may be still; what else fails
    /// for a moment counts once somebody was told of it.
    pub fn what_was_unanswered(&self, gateway: &ApiGateway) -> Option<Unanswered> {
        let failing = self.unanswered.as_ref().filter(|failing| failing.attempt == attempt_number(gateway))?;
        let counts = matches!(failing.what.by, Absent::Webhook(_)) || says_who_is_away(gateway);
        counts.then(|| Unanswered { lasted: failing.since.elapsed(), ..failing.what.clone() })
    }

    /// For how long somebody has been away without whom the status cannot be written, where that holds the clock.
    pub fn unrecorded(&self, gateway: &ApiGateway, now: Now) -> Duration {
        let failing = self.status_unanswered.as_ref();
        let failing = failing.filter(|failing| failing.attempt == attempt_number(gateway));
        let holds = failing.filter(|failing| failing.what.by.holds_the_clock());
        holds.map_or(Duration::ZERO, |failing| now.monotonic.saturating_duration_since(failing.since))
    }

    /// When the attempt is to be judged, whatever fails meanwhile.
    pub fn is_judged_at(&mut self, at: Option<Instant>) {
        self.judged_at = at;
    }

    /// What our call did to a child just now.
    pub fn expect(&mut self, child: Child, what: Expectation) {
        let now = Instant::now();
        self.expected.retain(|expected| expected.child != child && expected.until >= now);
        self.expected.push(Expected { child, what, until: now + CACHE_LAG });
    }

    /// What our last call did to a child, if it was a moment ago.
    pub fn expectation(&self, child: Child, now: Now) -> Option<&Expectation> {
        let expected = self.expected.iter().find(|expected| expected.child == child)?;
        (expected.until >= now.monotonic).then_some(&expected.what)
    }

    /// The fingerprint, of everything that the comparison depends on, with which every child was last found as desired.
    pub fn found_settled(&mut self, fingerprint: Option<u64>) {
        self.settled = fingerprint;
    }

    /// The fingerprint with which every child was last found as desired.
    pub fn settled(&self) -> Option<u64> {
        self.settled
    }

    /// One of those pods of a gateway whose trouble is told only after a while, and what was heard of it: always the same
    /// one, for as long as its trouble is the same. One whose container ended goes before the others.
    pub fn silence(&mut self, followed: &[&PodTrouble], now: Now) -> Option<Silence> {
        let ended = |pod: &PodTrouble| pod.trouble.may_be_a_probes();
        let worst = followed.iter().find(|pod| ended(pod)).or(followed.first());
        let kept = self.silence.take().and_then(|kept| {
            let about = followed.iter().find(|pod| pod.is_still(&kept.about))?;
            let outdone = worst.is_some_and(|worst| ended(worst)) && !ended(about);
            (!outdone).then(|| Box::new(Silent { about: PodTrouble::clone(about), ..*kept }))
        });
        self.silence = kept.or_else(|| {
            let about = PodTrouble::clone(worst?);
            Some(Box::new(Silent { about, since: now.monotonic, read_at: None, complaint: None }))
        });
        self.silence.as_ref().map(|kept| Silence {
            about: kept.about.clone(),
            lasted: now.monotonic.saturating_duration_since(kept.since),
            read_at: kept.read_at,
            complaint: kept.complaint.clone(),
        })
    }

    /// What the Events of a silent pod said, if anything. They are kept for an hour at most: what was heard stays.
    pub fn heard(&mut self, silence: &Silence, complaint: Option<Complaint>) {
        if let Some(kept) = self.silence.as_mut().filter(|kept| silence.about.is_still(&kept.about)) {
            kept.read_at = Some(silence.lasted);
            kept.complaint = complaint.or_else(|| kept.complaint.take());
        }
    }
}

fn overtakes(written: &Written, cached: &ApiGateway) -> bool {
    cached.metadata.resource_version.as_ref().is_some_and(|version| written.overtaken.contains(version))
}

/// Whether the status says that something could not be written, and that nobody refused it.
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
    use crate::decide::observed::{Answer, Trouble};

    const RUNS: Trouble = Trouble::Unready { was_ready: false };

    fn pod(name: &str, trouble: Trouble) -> PodTrouble {
        PodTrouble { pod: name.to_owned(), template: None, container: None, node: None, trouble }
    }

    fn probe(words: &str) -> Option<Complaint> {
        Some(Complaint::Probe(Answer { container: None, words: words.to_owned() }))
    }

    #[test]
    fn a_silent_pod_is_followed_until_it_is_silent_no_more_whoever_else_is() {
        const SECOND: Duration = Duration::from_secs(1);
        let start = Now::read();
        let at = |after: u32| Now { monotonic: start.monotonic + after * SECOND, ..start };
        let mut remembered = Remembered::default();
        let (first, second) = (pod("shop-1", RUNS), pod("shop-2", RUNS));
        let told = |remembered: &mut Remembered, pods: &[&PodTrouble], after: u32| {
            let silence = remembered.silence(pods, at(after))?;
            Some((silence.about.pod.clone(), silence.lasted, silence.read_at, silence.complaint))
        };

        assert_eq!(told(&mut remembered, &[], 0), None);
        assert_eq!(told(&mut remembered, &[&second], 0), Some(("shop-2".to_owned(), Duration::ZERO, None, None)));
        let silence = remembered.silence(&[&first, &second], at(6)).unwrap();
        let answer = probe("503");
        remembered.heard(&silence, answer.clone());
        let heard = ("shop-2".to_owned(), 7 * SECOND, Some(6 * SECOND), answer);
        assert_eq!(told(&mut remembered, &[&first, &second], 7), Some(heard));

        assert_eq!(told(&mut remembered, &[&first], 8), Some(("shop-1".to_owned(), Duration::ZERO, None, None)));
        remembered.heard(&silence, probe("another's"));
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
        let mut followed = |pods: &[&PodTrouble]| remembered.silence(pods, now).unwrap().about.pod;
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
        let mut heard = |complaint: Option<Complaint>| {
            let silence = remembered.silence(&[&first], now).unwrap();
            remembered.heard(&silence, complaint);
            remembered.silence(&[&first], now).unwrap().complaint
        };
        assert_eq!(heard(probe("refused")), probe("refused"));
        assert_eq!(heard(None), probe("refused"));
        assert_eq!(heard(probe("503")), probe("503"));
    }
}
