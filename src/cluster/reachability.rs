//! Outages of the API server or its storage. No gateway is at fault for that time, so the clocks of all
//! attempts are held.
//!
//! **Architecture invariant:** an outage is recorded only after evidence, and ends only when a probe is
//! answered, writes succeed and the watches have caught up.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::{Client, Resource};
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio::time::Instant;

use super::heartbeat::Heartbeats;

/// The time of the last sign of life of the API server, from an answer or a watch.
#[derive(Clone)]
pub struct LastContact(Arc<Mutex<Instant>>);

impl Default for LastContact {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }
}

impl LastContact {
    /// Records a sign of life.
    pub fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn at(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Periods in which this process could not reach the API server, or the API server not its storage.
#[derive(Clone)]
pub struct Outages {
    client: Client,
    probe: Arc<str>,
    last_contact: LastContact,
    heartbeats: Heartbeats,
    register: Arc<Mutex<Register>>,
    noticed: Arc<Notify>,
    /// The last shared probe, and its result.
    asked: Arc<AsyncMutex<Option<(Instant, bool)>>>,
}

struct Register {
    periods: Vec<Period>,
    /// The last successful write.
    wrote: Instant,
    /// The last write that failed for lack of storage.
    failed: Option<Instant>,
    /// Since when a request went unanswered although others were answered.
    suspected: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Period {
    began: Instant,
    ended: Option<Instant>,
}

/// The interval of probes.
const PROBE: Duration = Duration::from_secs(1);
/// How long recovery waits for the watches once the API server answers. One may fail for another reason.
const CATCHING_UP: Duration = Duration::from_secs(30);
/// How long a storage outage may have gone unnoticed, since only writers notice it.
const UNNOTICED: Duration = Duration::from_secs(60);
/// Within this time every failed write is repeated. If nothing fails any more, nobody is left who writes.
const TRIED_AGAIN: Duration = Duration::from_secs(30);
/// How long after an outage single writes may hang: each of the API server's connections to etcd has a backoff of its
/// own, and the first successful write ends the outage.
const AFTERMATH: Duration = Duration::from_secs(60);
/// Periods older than any reasonable deadline are dropped.
const MEMORY: Duration = Duration::from_secs(24 * 3600);

/// The URL path of a probe: an object that may be read, existing or not, past the API server's caches.
/// `/version` would be answered without a storage.
pub fn probe<K: Resource<DynamicType = ()>>(namespace: &str, name: &str) -> String {
    format!("{}/{name}", K::url_path(&(), Some(namespace)))
}

impl Outages {
    /// No outage yet, and the future that ends each outage once it is over.
    pub fn new(
        client: Client,
        last_contact: LastContact,
        heartbeats: Heartbeats,
        probe: String,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let register = Register { periods: Vec::new(), wrote: Instant::now(), failed: None, suspected: None };
        let register = Arc::new(Mutex::new(register));
        let outages = Self {
            client,
            probe: probe.into(),
            last_contact,
            heartbeats,
            register,
            noticed: Arc::default(),
            asked: Arc::default(),
        };
        (outages.clone(), outages.watch_for_recovery())
    }

    /// A request went unanswered for `waited`. That alone is no outage, since a webhook may be slow. A probe
    /// decides: if it fails, the outage began with the last sign of life, or when the request was sent.
    pub fn unanswered(&self, waited: Duration) {
        let sent = Instant::now().checked_sub(waited);
        let last_contact = self.last_contact.at();
        self.lock().suspected = Some(sent.map_or(last_contact, |sent| last_contact.min(sent)));
        self.noticed.notify_one();
    }

    /// Whether a request since `sent` went unanswered although others were answered: no outage overlaps that
    /// time or ended shortly before it, and none has begun. Concurrent callers share one probe.
    pub async fn others_were_answered_since(&self, sent: Instant) -> bool {
        let mut asked = self.asked.lock().await;
        let answers = match *asked {
            Some((at, answers)) if at.elapsed() < PROBE => answers,
            _ => self.answers().await,
        };
        *asked = Some((Instant::now(), answers));
        answers && self.within(sent.elapsed() + AFTERMATH, Instant::now()).is_zero()
    }

    /// A request could not be sent, its answer not be read, or a watch broke. The outage began with the last
    /// sign of life, and lasts until a probe is answered and all watches have caught up. A hanging API server
    /// is noticed only by the next request, which may come much later.
    pub fn began(&self) {
        if self.begin(self.last_contact.at()) {
            tracing::warn!("the API server is unreachable; all start deadlines are paused");
        }
    }

    /// A write succeeded.
    pub fn wrote(&self) {
        self.lock().wrote = Instant::now();
    }

    /// The API server answered without its storage. The outage began with the last successful write, and lasts
    /// until the next one.
    pub fn cannot_write(&self, words: &str) {
        let now = Instant::now();
        let mut register = self.lock();
        register.failed = Some(now);
        let since = register.wrote.max(now.checked_sub(UNNOTICED).unwrap_or(register.wrote));
        drop(register);
        if self.begin(since) {
            tracing::warn!("the API server cannot write to etcd; all start deadlines are paused: {words}");
        }
    }

    /// Begins a period. Returns whether none was ongoing.
    fn begin(&self, at: Instant) -> bool {
        let mut register = self.lock();
        if register.is_ongoing() {
            return false;
        }
        register.periods.retain(|period| period.ended.is_none_or(|ended| at.saturating_duration_since(ended) < MEMORY));
        // Time is never counted twice.
        let at = register.periods.last().and_then(|last| last.ended).map_or(at, |ended| at.max(ended));
        register.periods.push(Period { began: at, ended: None });
        drop(register);
        self.noticed.notify_one();
        true
    }

    async fn watch_for_recovery(self) {
        loop {
            self.noticed.notified().await;
            if self.ongoing().is_none() && !self.suspicion_is_right().await {
                continue;
            }
            while !(self.answers().await && self.lock().writes_are_carried_out()) {
                tokio::time::sleep(PROBE).await;
            }
            // What happened meanwhile is known only once the watches go on.
            let answered = Instant::now();
            while !self.heartbeats.all_healthy() && answered.elapsed() < CATCHING_UP {
                tokio::time::sleep(PROBE).await;
            }
            if let Some(last) = self.lock().periods.last_mut() {
                last.ended = Some(Instant::now());
                tracing::warn!(
                    seconds = last.began.elapsed().as_secs(),
                    "the API server is reachable again; start deadlines continue"
                );
            }
        }
    }

    /// Whether the storage is the reason for an unanswered request. If not, the caller or a webhook is at
    /// fault.
    async fn suspicion_is_right(&self) -> bool {
        let Some(since) = self.lock().suspected.take() else { return false };
        if self.answers().await {
            return false;
        }
        if self.begin(since) {
            tracing::warn!("the API server or etcd does not respond; all start deadlines are paused");
        }
        true
    }

    async fn answers(&self) -> bool {
        let Ok(request) = http::Request::get(&*self.probe).body(Vec::new()) else { return true };
        match tokio::time::timeout(5 * PROBE, self.client.request_text(request)).await {
            Ok(Ok(_)) => true,
            // A refusal or NotFound is an answer. Too busy, or not authenticating anybody yet, means not back.
            Ok(Err(kube::Error::Api(status))) => status.code < 500 && !matches!(status.code, 401 | 429),
            Ok(Err(_)) | Err(_) => false,
        }
    }

    /// How long the current outage has lasted, if there is one.
    pub fn ongoing(&self) -> Option<Duration> {
        self.lock().periods.last().filter(|last| last.ended.is_none()).map(|last| last.began.elapsed())
    }

    /// How much of the time from `past` before `now` was an outage.
    pub fn within(&self, past: Duration, now: Instant) -> Duration {
        overlap(&self.lock().periods, past, now)
    }

    fn lock(&self) -> MutexGuard<'_, Register> {
        // A single assignment each.
        self.register.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Register {
    fn is_ongoing(&self) -> bool {
        self.periods.last().is_some_and(|last| last.ended.is_none())
    }

    /// Whether a write succeeded since the last failure, or nothing fails any more. A storage that can be read
    /// may still refuse writes: a full one, or one with a full disk.
    fn writes_are_carried_out(&self) -> bool {
        self.failed.is_none_or(|failed| self.wrote > failed || failed.elapsed() > TRIED_AGAIN)
    }
}

fn overlap(periods: &[Period], past: Duration, now: Instant) -> Duration {
    periods
        .iter()
        .map(|period| {
            // Counted back from now, since the past may precede this process.
            let from = now.saturating_duration_since(period.began).min(past);
            let until = period.ended.map_or(Duration::ZERO, |ended| now.saturating_duration_since(ended));
            from.saturating_sub(until)
        })
        .sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// The register of outages, with what ends them, of a client whose probes are answered like this; `None`: never.
    fn outages(answer: Option<u16>) -> (Outages, LastContact) {
        let server = tower::service_fn(move |_: http::Request<kube::client::Body>| async move {
            let Some(code) = answer else { return std::future::pending().await };
            let status = format!(r#"{{"kind":"Status","status":"Failure","code":{code},"reason":"","message":""}}"#);
            let body = kube::client::Body::from(status.into_bytes());
            Ok::<_, std::convert::Infallible>(http::Response::builder().status(code).body(body).unwrap())
        });
        let last_contact = LastContact::default();
        let (outages, ending) =
            Outages::new(Client::new(server, "a"), last_contact.clone(), Heartbeats::default(), "/probe".to_owned());
        tokio::spawn(ending);
        (outages, last_contact)
    }

    /// The time that was an outage, of the last hour, and whether one goes on.
    fn counted(outages: &Outages) -> (u64, bool) {
        (outages.within(3_600 * SECOND, Instant::now()).as_secs(), outages.ongoing().is_some())
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_not_answered_is_an_outage_only_where_the_storage_does_not_answer_either() {
        for (answer, expected) in
            [(Some(404), (0, false)), (Some(403), (0, false)), (None, (16, true)), (Some(500), (16, true))]
        {
            let (outages, last_contact) = outages(answer);
            tokio::time::sleep(30 * SECOND).await;
            last_contact.now();
            tokio::time::sleep(5 * SECOND).await;
            // Something was heard while the request waited.
            outages.unanswered(10 * SECOND);
            tokio::time::sleep(6 * SECOND).await;
            assert_eq!(counted(&outages), expected, "{answer:?}");
        }
        let (outages, _) = outages(None);
        tokio::time::sleep(30 * SECOND).await;
        outages.unanswered(10 * SECOND);
        tokio::time::sleep(6 * SECOND).await;
        assert_eq!(counted(&outages), (36, true), "from when something was heard last");
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_no_answer_in_an_outage_is_told_apart_from_who_has_none_alone() {
        let (well, _) = outages(Some(404));
        assert!(well.others_were_answered_since(Instant::now()).await);
        let (away, _) = outages(None);
        assert!(!away.others_were_answered_since(Instant::now()).await);

        // An outage that has ended since.
        tokio::time::sleep(5 * SECOND).await;
        let sent = Instant::now();
        well.cannot_write("etcdserver: no leader");
        tokio::time::sleep(SECOND).await;
        well.wrote();
        tokio::time::sleep(5 * SECOND).await;
        assert_eq!(well.ongoing(), None);
        assert!(!well.others_were_answered_since(sent).await);
        assert!(!well.others_were_answered_since(Instant::now()).await, "some connections to etcd may still be down");
        tokio::time::sleep(AFTERMATH).await;
        assert!(well.others_were_answered_since(Instant::now()).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_storage_is_away_from_the_last_write_that_was_carried_out_until_the_next() {
        let (outages, _) = outages(Some(404));
        tokio::time::sleep(20 * SECOND).await;
        outages.wrote();
        tokio::time::sleep(5 * SECOND).await;
        outages.cannot_write("etcdserver: no leader");
        tokio::time::sleep(10 * SECOND).await;
        assert_eq!(counted(&outages), (15, true), "it can be read, and takes nothing");
        outages.cannot_write("etcdserver: no leader");
        tokio::time::sleep(SECOND).await;
        outages.wrote();
        tokio::time::sleep(2 * SECOND).await;
        let (seconds, goes_on) = counted(&outages);
        assert!((16..=18).contains(&seconds) && !goes_on, "{seconds} s");
        // What was counted is not counted again.
        outages.cannot_write("etcdserver: no leader");
        assert!(counted(&outages).0 <= 19, "{:?}", counted(&outages));
    }

    #[tokio::test(start_paused = true)]
    async fn a_storage_that_nobody_writes_to_any_more_is_back_when_it_can_be_read_and_nothing_fails() {
        let (outages, _) = outages(Some(404));
        outages.cannot_write("etcdserver: no leader");
        tokio::time::sleep(TRIED_AGAIN - SECOND).await;
        assert!(outages.ongoing().is_some());
        tokio::time::sleep(3 * SECOND).await;
        assert_eq!(outages.ongoing(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_server_that_knows_nobody_or_is_too_busy_is_not_back() {
        for code in [401, 429, 500, 503] {
            let (outages, _) = outages(Some(code));
            outages.began();
            tokio::time::sleep(60 * SECOND).await;
            assert!(outages.ongoing().is_some(), "{code}");
        }
    }

    #[test]
    fn only_what_falls_into_the_time_asked_for_counts() {
        let start = Instant::now();
        let now = start + 100 * SECOND;
        let periods = [
            Period { began: start + 10 * SECOND, ended: Some(start + 20 * SECOND) },
            Period { began: start + 60 * SECOND, ended: Some(start + 75 * SECOND) },
            Period { began: start + 95 * SECOND, ended: None },
        ];
        assert_eq!(overlap(&periods, 1_000 * SECOND, now), 30 * SECOND);
        assert_eq!(overlap(&periods, 30 * SECOND, now), 10 * SECOND);
        assert_eq!(overlap(&periods, 2 * SECOND, now), 2 * SECOND);
        assert_eq!(overlap(&periods[..2], 20 * SECOND, now), Duration::ZERO);
        assert_eq!(overlap(&[], 20 * SECOND, now), Duration::ZERO);
    }
}
