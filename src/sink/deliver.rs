//! The sender: sends what is due while this process is leader.
//!
//! **Architecture invariant:** an event is sent only after the positions are loaded. A position is stored only after
//! its event was taken, refused or lost.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::answer::Answer;
use super::client::Sink;
use super::event;
use super::outbox::{Inner, Outbox};
use super::positions::Stored;
use crate::api::{ApiGateway, ApiGatewayStatus, Guarded, ObjectKey};
use crate::cache::scopes::Scopes;
use crate::cluster::backoff::delay;
use crate::cluster::calls::Calls;
use crate::cluster::claim::Claim;
use crate::metrics::EventMetrics;
use crate::metrics::labels::EventFailure;
use crate::outbox::{Due, Finished, Next, due};

/// How often changed positions are stored. What was delivered since is sent again after a crash, with the same ids.
const STORED_EVERY: Duration = Duration::from_secs(5);

/// What the sender needs.
pub struct Sender {
    inner: Arc<Inner>,
    sink: Arc<Sink>,
    stored: Stored,
    scopes: Arc<Scopes>,
    claim: Claim,
    metrics: EventMetrics,
    /// Why the last attempt failed.
    trouble: Option<EventFailure>,
}

/// The end of an attempt to send.
struct Attempt {
    next: Next,
    /// The number of the event, and of transitions before it that are missed.
    sent: (i64, i64),
    answer: Answer,
}

impl Sender {
    /// A sender of the outbox's events, if there is a sink. `lease` is where positions are kept.
    pub fn new(
        outbox: &Outbox,
        sink: Option<&Arc<Sink>>,
        (calls, lease): (Calls, ObjectKey),
        scopes: Arc<Scopes>,
        (claim, metrics): (Claim, EventMetrics),
    ) -> Option<Self> {
        let (inner, sink) = (outbox.inner()?, Arc::clone(sink?));
        let stored = Stored::new(calls, lease);
        Some(Self { inner, sink, stored, scopes, claim, metrics, trouble: None })
    }

    /// Sends events until `ended`, and stores the positions.
    pub async fn run(mut self, mut ended: watch::Receiver<bool>) {
        tokio::select! {
            () = self.load() => {}
            _ = ended.wait_for(|ended| *ended) => return,
        }
        let mut sending = JoinSet::new();
        let mut next_store = Instant::now() + STORED_EVERY;
        while !*ended.borrow() {
            while self.claim.is_valid() {
                let Some(next) = self.inner.lock().take(Instant::now()) else { break };
                self.begin(next, &mut sending);
            }
            let turn = self.inner.lock().next_turn().map_or(next_store, |turn| turn.min(next_store));
            // At least once in a while: a turn may be due and wait for a place or for the claim.
            let turn = turn.max(Instant::now() + Duration::from_millis(20));
            tokio::select! {
                Some(attempt) = sending.join_next() => if let Ok(attempt) = attempt { self.finish(attempt) },
                () = self.inner.changed() => {}
                () = tokio::time::sleep_until(turn.into()) => {}
                _ = ended.wait_for(|ended| *ended) => {}
            }
            if next_store <= Instant::now() {
                let _ = self.store().await;
                next_store = Instant::now() + STORED_EVERY;
            }
        }
        while let Some(attempt) = sending.try_join_next() {
            if let Ok(attempt) = attempt {
                self.finish(attempt);
            }
        }
        let _ = self.store().await;
    }

    /// Loads the positions. If there are none, stores them before the first event, so that a crash cannot skip any.
    async fn load(&mut self) {
        let mut failures = 0;
        loop {
            match self.stored.read().await {
                Ok(positions) => {
                    self.inner.lock().load(positions.as_ref(), Instant::now());
                    break;
                }
                Err(error) => tracing::warn!(%error, "failed to read the positions of delivered events; retrying"),
            }
            failures += 1;
            pause(failures).await;
        }
        while self.store().await.is_err() {
            failures += 1;
            pause(failures).await;
        }
        tracing::info!(sink = self.sink.shown(), "sending events");
    }

    async fn store(&mut self) -> Result<(), ()> {
        let Some((text, left_out)) = self.inner.lock().changed_positions() else { return Ok(()) };
        if left_out > 0 {
            tracing::warn!(left_out, "positions of delivered events do not fit; after a restart these are sent again");
        }
        self.stored.write(text).await.map_err(|error| {
            self.inner.lock().not_stored();
            tracing::warn!(%error, "failed to store the positions of delivered events; retrying");
        })
    }

    /// Makes the next event of a gateway and sends it.
    fn begin(&self, next: Next, sending: &mut JoinSet<Attempt>) {
        let cached = self.cached(&next);
        let status = next.last.as_deref().or_else(|| status_of(cached.as_deref()));
        let made = match status.map(|status| due(status, next.delivered)) {
            None | Some(Due::Nothing) => None,
            Some(Due::Lost { missed }) => {
                self.tell_missed(&next, missed);
                self.settle(&next, Finished::Lost(next.delivered.saturating_add(missed)));
                return;
            }
            Some(Due::Event(event)) => {
                Some((event.sequence, event.missed, event::body(&next.uid, &next.key, &event, next.skipped)))
            }
        };
        let Some((sequence, missed, body)) = made else {
            self.settle(&next, Finished::Nothing);
            return;
        };
        let sink = Arc::clone(&self.sink);
        sending.spawn(async move {
            let answer = match body {
                Ok(body) => sink.send(&event::id(&next.uid, sequence), body).await,
                Err(error) => {
                    tracing::error!(error, "an event cannot be written");
                    Answer::Refused
                }
            };
            Attempt { next, sent: (sequence, missed), answer }
        });
    }

    fn finish(&mut self, attempt: Attempt) {
        let Attempt { next, sent: (sequence, missed), answer } = attempt;
        let outcome = match answer {
            Answer::Taken => {
                self.metrics.delivered();
                self.tell_missed(&next, missed);
                Finished::Delivered(sequence)
            }
            Answer::Refused => {
                self.metrics.failed(EventFailure::Refused);
                tracing::warn!(gateway = %next.key, sequence, "the sink refused an event; it is not sent again");
                self.tell_missed(&next, missed.saturating_add(1));
                Finished::Refused(sequence)
            }
            Answer::Later(why, retry_after) => {
                self.metrics.failed(why);
                if self.trouble.replace(why) != Some(why) {
                    let (sink, why) = (self.sink.shown(), why.as_str());
                    tracing::warn!(sink, why, gateway = %next.key, "the sink did not take an event; retrying");
                }
                Finished::Failed { retry_after }
            }
        };
        if !matches!(outcome, Finished::Failed { .. }) && self.trouble.take().is_some() {
            tracing::info!(sink = self.sink.shown(), "the sink takes events again");
        }
        self.settle(&next, outcome);
    }

    fn settle(&self, next: &Next, outcome: Finished) {
        let cached = self.cached(next);
        let jitter = u32::try_from(RandomState::new().hash_one(&next.uid) % 25).unwrap_or_default();
        let status = status_of(cached.as_deref());
        self.inner.lock().finished(&next.uid, outcome, status, jitter, Instant::now());
    }

    fn tell_missed(&self, next: &Next, missed: i64) {
        if missed > 0 {
            self.metrics.missed(missed);
            tracing::warn!(gateway = %next.key, missed, "transitions are not delivered");
        }
    }

    /// The cached gateway with the uid.
    fn cached(&self, next: &Next) -> Option<Arc<Guarded<ApiGateway>>> {
        let cached = self.scopes.of(&next.key.namespace)?.guarded_gateway(&next.key)?;
        let is_same = cached.0.as_ref().is_ok_and(|gateway| crate::api::uid_of(&gateway.metadata) == next.uid);
        is_same.then_some(cached)
    }
}

/// The backoff of reading and storing positions.
async fn pause(failures: u32) {
    tokio::time::sleep(delay(failures, Duration::from_millis(500), Duration::from_secs(30))).await;
}

fn status_of(cached: Option<&Guarded<ApiGateway>>) -> Option<&ApiGatewayStatus> {
    cached?.0.as_ref().ok()?.status.as_ref()
}
