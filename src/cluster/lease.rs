//! Leadership: one operator of several writes. A claim expires by itself.
//!
//! The Lease object is changed by compare-and-swap on its resourceVersion. What this process
//! believes of its own leadership is a moment on its own monotonic clock, counted from
//! *before* the renewal was sent; every write asks for it first. A process that was frozen, or
//! cut off, finds its claim expired when it comes back, whatever the Lease says meanwhile.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;

use crate::cluster::calls::{CallError, Calls};
use crate::service::health::Health;

/// How leadership is decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Election {
    /// The namespace of the Lease.
    pub namespace: String,
    /// The name of the Lease.
    pub name: String,
    /// Who we are. No two processes may be the same.
    pub identity: String,
    /// How long others wait for a leader that says nothing.
    pub duration: Duration,
    /// How long a leader believes in a claim that it could not renew: shorter than others
    /// wait, by more than clocks can drift apart in that time.
    pub renew_deadline: Duration,
    /// How often a leader says that it is there, and the others look.
    pub retry_period: Duration,
}

/// Whether this process may write, asked before every write.
#[derive(Clone, Debug)]
pub struct Claim(Arc<Mutex<Until>>);

#[derive(Clone, Copy, Debug)]
enum Until {
    /// There is no election: nobody else writes.
    Always,
    /// Leader until then.
    Instant(Instant),
    /// Not leader.
    Never,
}

impl Claim {
    /// The claim of the only operator.
    pub fn unconditional() -> Self {
        Self(Arc::new(Mutex::new(Until::Always)))
    }

    /// A claim that is yet to be won.
    pub fn none() -> Self {
        Self(Arc::new(Mutex::new(Until::Never)))
    }

    /// For how long writes may still be under way; `None`: for ever.
    pub fn remaining(&self) -> Option<Duration> {
        match *self.lock() {
            Until::Always => None,
            Until::Instant(until) => Some(until.saturating_duration_since(Instant::now())),
            Until::Never => Some(Duration::ZERO),
        }
    }

    /// Whether a write may begin now.
    pub fn is_valid(&self) -> bool {
        self.remaining().is_none_or(|left| !left.is_zero())
    }

    fn extend(&self, until: Instant) {
        *self.lock() = Until::Instant(until);
    }

    fn give_up(&self) {
        *self.lock() = Until::Never;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Until> {
        // One assignment: a panic elsewhere cannot leave it half-written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes part in an election.
pub struct Candidate {
    calls: Calls,
    election: Election,
    claim: Claim,
    health: Health,
    seen: Option<Seen>,
}

/// Another's claim, and since when it has not changed, by our own clock.
struct Seen {
    version: Option<String>,
    at: Instant,
}

impl Candidate {
    /// A candidate who is not leader yet. `calls` are not themselves bound to the claim.
    pub fn new(calls: Calls, election: Election, claim: Claim, health: Health) -> Self {
        Self { calls, election, claim, health, seen: None }
    }

    /// Returns once this process is leader.
    pub async fn win(&mut self) {
        loop {
            match self.attempt(Self::may_take).await {
                Ok(true) => {
                    tracing::info!(identity = self.election.identity, "leader");
                    return;
                }
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "the Lease cannot be had; it is tried again"),
            }
            tokio::time::sleep(self.election.retry_period).await;
        }
    }

    /// Renews the claim, and returns once it is lost.
    pub async fn keep(&mut self) {
        while self.claim.is_valid() {
            tokio::time::sleep(self.election.retry_period).await;
            match self.attempt(Self::holds).await {
                Ok(true) => {}
                Ok(false) => {
                    self.claim.give_up();
                    tracing::warn!("another operator is leader");
                }
                Err(error) => tracing::warn!(%error, "the claim could not be renewed"),
            }
        }
        tracing::warn!("leadership is lost; nothing is written until it is won again");
    }

    /// Lets another take over at once. Returns when the Lease is not ours any more.
    pub async fn release(&mut self) {
        self.claim.give_up();
        while let Err(error) = self.try_to_release().await {
            tracing::debug!(%error, "the Lease is not released yet");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn try_to_release(&self) -> Result<(), CallError> {
        let Some(mut lease) = self.calls.get::<Lease>(&self.election.namespace, &self.election.name).await? else {
            return Ok(());
        };
        if holder(&lease) == Some(&self.election.identity) {
            lease.spec.get_or_insert_default().holder_identity = None;
            self.calls.replace(&lease).await?;
        }
        Ok(())
    }

    /// Tries once to write the Lease, if it is as `wanted`, and shows how it went. True: leader.
    async fn attempt(&mut self, wanted: fn(&mut Self, Option<&Lease>) -> bool) -> Result<bool, CallError> {
        let outcome = self.try_once(wanted).await;
        self.health.lease(outcome.as_ref().err().map(ToString::to_string));
        outcome
    }

    async fn try_once(&mut self, wanted: fn(&mut Self, Option<&Lease>) -> bool) -> Result<bool, CallError> {
        let before = Instant::now();
        let found = self.calls.get::<Lease>(&self.election.namespace, &self.election.name).await?;
        if !wanted(self, found.as_ref()) {
            return Ok(false);
        }
        let lease = self.lease(found.clone());
        let outcome = match found {
            None => self.calls.create(&lease).await,
            Some(_) => self.calls.replace(&lease).await,
        };
        match outcome {
            Ok(()) => {
                self.claim.extend(before + self.election.renew_deadline);
                Ok(true)
            }
            // Somebody else was faster.
            Err(error) if error.is_stale() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether a Lease is ours. One that another held meanwhile is not renewed but won again, with
    /// nothing left of what was built on the earlier leadership.
    fn holds(&mut self, lease: Option<&Lease>) -> bool {
        lease.and_then(holder) == Some(&self.election.identity)
    }

    /// Whether a Lease is ours, free, or has not changed for as long as its holder had.
    fn may_take(&mut self, lease: Option<&Lease>) -> bool {
        let Some(lease) = lease else { return true };
        match holder(lease) {
            None => true,
            Some(identity) if *identity == self.election.identity => true,
            Some(_) => {
                let version = lease.metadata.resource_version.clone();
                let theirs = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds).unwrap_or_default();
                let patience =
                    self.election.duration.max(Duration::from_secs(u64::try_from(theirs).unwrap_or_default()));
                match &self.seen {
                    Some(seen) if seen.version == version => seen.at.elapsed() >= patience,
                    _ => {
                        self.seen = Some(Seen { version, at: Instant::now() });
                        false
                    }
                }
            }
        }
    }

    fn lease(&self, before: Option<Lease>) -> Lease {
        let now = MicroTime(Timestamp::now());
        let spec = before.as_ref().and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let ours = spec.holder_identity.as_ref() == Some(&self.election.identity);
        let metadata = before.map_or_else(
            || ObjectMeta {
                name: Some(self.election.name.clone()),
                namespace: Some(self.election.namespace.clone()),
                ..ObjectMeta::default()
            },
            |lease| lease.metadata,
        );
        Lease {
            metadata,
            spec: Some(LeaseSpec {
                holder_identity: Some(self.election.identity.clone()),
                // Rounded up: others must not wait for less than we count on.
                lease_duration_seconds: i32::try_from(self.election.duration.as_millis().div_ceil(1000)).ok(),
                acquire_time: if ours { spec.acquire_time } else { Some(now.clone()) },
                lease_transitions: Some(spec.lease_transitions.unwrap_or_default() + i32::from(!ours)),
                renew_time: Some(now),
                ..spec
            }),
        }
    }
}

fn holder(lease: &Lease) -> Option<&String> {
    lease.spec.as_ref()?.holder_identity.as_ref().filter(|identity| !identity.is_empty())
}
