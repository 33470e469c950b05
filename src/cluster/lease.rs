//! Leadership: one operator of several writes. A claim expires by itself.
//!
//! The Lease object is changed by compare-and-swap on its resourceVersion. What this process
//! believes of its own leadership is a moment on its own monotonic clock, counted from
//! *before* the renewal was sent; every write asks for it first. A process that was frozen, or
//! cut off, finds its claim expired when it comes back, whatever the Lease says meanwhile.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use super::calls::{CallError, Calls};
use super::claim::Claim;
use crate::api::ObjectKey;

/// How leadership is decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Election {
    /// The Lease.
    pub lease: ObjectKey,
    /// Who we are. No two processes may be the same.
    pub identity: String,
    /// What we work on, in words: operators with different tasks do not take over from each other.
    pub works_on: String,
    /// How long others wait for a leader that says nothing.
    pub duration: Duration,
    /// How long a leader believes in a claim that it could not renew: shorter than others
    /// wait, by more than clocks can drift apart in that time.
    pub renew_deadline: Duration,
    /// How often a leader says that it is there, and the others look.
    pub retry_period: Duration,
}

/// Annotation of the Lease: what its holder works on.
const WORKS_ON_ANNOTATION: &str = "phasegate.dev/works-on";

/// How the last try to get or keep the Lease ended, for whoever shows it.
#[derive(Clone, Default)]
pub struct LeaseStanding(Arc<Mutex<Tried>>);

#[derive(Clone, Default)]
struct Tried {
    once: bool,
    trouble: Option<String>,
    waits_for: Option<String>,
}

impl LeaseStanding {
    /// Whether the Lease was looked at in the last try, so that this process could take over.
    pub fn stands_by(&self) -> bool {
        let tried = self.lock();
        tried.once && tried.trouble.is_none()
    }

    /// What keeps this process from the Lease.
    pub fn trouble(&self) -> Option<String> {
        self.lock().trouble.clone()
    }

    /// Whose Lease this process waits for, and since when it is theirs.
    pub fn waits_for(&self) -> Option<String> {
        self.lock().waits_for.clone()
    }

    fn tried(&self, trouble: Option<String>, waits_for: Option<String>) {
        *self.lock() = Tried { once: true, trouble, waits_for };
    }

    fn lock(&self) -> MutexGuard<'_, Tried> {
        // Each use is one assignment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes part in an election.
pub struct Candidate {
    calls: Calls,
    election: Election,
    claim: Claim,
    standing: LeaseStanding,
    seen: Option<Seen>,
    rival: Option<Rival>,
}

/// Who has the Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rival {
    holder: String,
    since: Option<MicroTime>,
    /// Absent where an earlier version holds it.
    works_on: Option<String>,
}

impl Rival {
    fn of(lease: &Lease) -> Option<Self> {
        Some(Self {
            holder: holder(lease)?.clone(),
            since: lease.spec.as_ref()?.acquire_time.clone(),
            works_on: lease.metadata.annotations.as_ref().and_then(|all| all.get(WORKS_ON_ANNOTATION)).cloned(),
        })
    }

    /// Whether what the holder works on is nothing that we could take over.
    fn has_another_task(&self, election: &Election) -> bool {
        self.works_on.as_ref().is_some_and(|theirs| *theirs != election.works_on)
    }

    fn sentence(&self, election: &Election) -> String {
        let Election { lease, works_on, .. } = election;
        let since = self.since.as_ref().map(|since| format!(" since {}", since.0)).unwrap_or_default();
        let held = format!("stands by: the Lease {lease} is held by {}{since}", self.holder);
        match &self.works_on {
            Some(theirs) if self.has_another_task(election) => format!(
                "{held}, which works on {theirs}, and this operator on {works_on}: give it a Lease of its own \
                 (--lease-name)"
            ),
            _ => held,
        }
    }
}

/// Another's claim, and since when it has not changed, by our own clock.
struct Seen {
    version: Option<String>,
    at: Instant,
}

impl Candidate {
    /// A candidate who is not leader yet. `calls` are not themselves bound to the claim.
    pub fn new(calls: Calls, election: Election, claim: Claim, standing: LeaseStanding) -> Self {
        Self { calls, election, claim, standing, seen: None, rival: None }
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
        let Some(mut lease) = self.calls.get::<Lease>(&self.election.lease).await? else {
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
        let waits_for = self.rival.as_ref().filter(|_| matches!(outcome, Ok(false)));
        let sentence = waits_for.map(|rival| rival.sentence(&self.election));
        self.standing.tried(outcome.as_ref().err().map(ToString::to_string), sentence);
        outcome
    }

    /// Remembers who has the Lease, and says so once.
    fn meets(&mut self, rival: Option<Rival>) {
        if let Some(rival) = rival.as_ref().filter(|rival| self.rival.as_ref() != Some(rival)) {
            let sentence = rival.sentence(&self.election);
            if rival.has_another_task(&self.election) {
                tracing::warn!("{sentence}");
            } else {
                tracing::info!("{sentence}");
            }
        }
        self.rival = rival;
    }

    async fn try_once(&mut self, wanted: fn(&mut Self, Option<&Lease>) -> bool) -> Result<bool, CallError> {
        let before = Instant::now();
        let found = self.calls.get::<Lease>(&self.election.lease).await?;
        if !wanted(self, found.as_ref()) {
            self.meets(found.as_ref().and_then(Rival::of));
            return Ok(false);
        }
        self.rival = None;
        let lease = self.lease(found.clone());
        let outcome = match found {
            None => self.calls.create(&lease).await,
            Some(_) => self.calls.replace(&lease).await,
        };
        match outcome {
            Ok(_) => {
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
        let mut metadata = before.map_or_else(
            || ObjectMeta {
                name: Some(self.election.lease.name.clone()),
                namespace: Some(self.election.lease.namespace.clone()),
                ..ObjectMeta::default()
            },
            |lease| lease.metadata,
        );
        let works_on = (WORKS_ON_ANNOTATION.to_owned(), self.election.works_on.clone());
        metadata.annotations.get_or_insert_default().extend([works_on]);
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

#[cfg(test)]
mod tests;
