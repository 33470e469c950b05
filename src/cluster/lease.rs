//! Leader election through a Lease.
//!
//! The Lease is updated by compare-and-swap on its resourceVersion. The leader's claim is a deadline on its own
//! monotonic clock, counted from *before* the renewal was sent, and every write checks it. A process that was
//! frozen or cut off finds its claim expired when it resumes, whatever the Lease says meanwhile.
//!
//! **Architecture invariant:** at most one operator writes at any time, without synchronized clocks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use super::calls::{CallError, Calls};
use super::claim::Claim;
use crate::api::ObjectKey;

/// The parameters of an election.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Election {
    /// The Lease.
    pub lease: ObjectKey,
    /// The identity of this process; unique.
    pub identity: String,
    /// What this operator works on, as text. Operators with different tasks do not take over from each other.
    pub works_on: String,
    /// How long others wait for a leader that does not renew.
    pub duration: Duration,
    /// How long a leader trusts a claim that it could not renew. Shorter than the wait of others, by more than
    /// clocks drift in that time.
    pub renew_deadline: Duration,
    /// How often the leader renews and the others try.
    pub retry_period: Duration,
}

/// Annotation of the Lease: what its holder works on.
const WORKS_ON_ANNOTATION: &str = "phasegate.dev/works-on";

/// The result of the last try, for health checks.
#[derive(Clone, Default)]
pub struct LeaseHealth(Arc<Mutex<Tried>>);

#[derive(Clone, Default)]
struct Tried {
    once: bool,
    trouble: Option<String>,
    waits_for: Option<String>,
}

impl LeaseHealth {
    /// Whether this process read the Lease in its last try and so could take over.
    pub fn stands_by(&self) -> bool {
        let tried = self.lock();
        tried.once && tried.trouble.is_none()
    }

    /// Why this process could not get or keep the Lease.
    pub fn trouble(&self) -> Option<String> {
        self.lock().trouble.clone()
    }

    /// Who holds the Lease, and since when.
    pub fn waits_for(&self) -> Option<String> {
        self.lock().waits_for.clone()
    }

    fn tried(&self, trouble: Option<String>, waits_for: Option<String>) {
        *self.lock() = Tried { once: true, trouble, waits_for };
    }

    fn lock(&self) -> MutexGuard<'_, Tried> {
        // A single assignment each.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A participant of an election.
pub struct Candidate {
    calls: Calls,
    election: Election,
    claim: Claim,
    health: LeaseHealth,
    seen: Option<Seen>,
    other_holder: Option<OtherHolder>,
}

/// The current holder.
#[derive(Clone, Debug, PartialEq, Eq)]
struct OtherHolder {
    holder: String,
    since: Option<MicroTime>,
    /// Absent if an earlier version holds it.
    works_on: Option<String>,
}

impl OtherHolder {
    fn of(lease: &Lease) -> Option<Self> {
        Some(Self {
            holder: holder(lease)?.clone(),
            since: lease.spec.as_ref()?.acquire_time.clone(),
            works_on: lease.metadata.annotations.as_ref().and_then(|all| all.get(WORKS_ON_ANNOTATION)).cloned(),
        })
    }

    /// Whether the holder works on something that this operator could not take over.
    fn has_another_task(&self, election: &Election) -> bool {
        self.works_on.as_ref().is_some_and(|theirs| *theirs != election.works_on)
    }

    fn sentence(&self, election: &Election) -> String {
        let Election { lease, works_on, .. } = election;
        let since = self.since.as_ref().map(|since| format!(" since {}", since.0)).unwrap_or_default();
        let held = format!("standby: Lease {lease} is held by {}{since}", self.holder);
        match &self.works_on {
            Some(theirs) if self.has_another_task(election) => format!(
                "{held}, which reconciles {theirs}; this operator reconciles {works_on} and needs its own Lease \
                 (--lease-name)"
            ),
            _ => held,
        }
    }
}

/// Another holder's version of the Lease, and since when it is unchanged, by our own clock.
struct Seen {
    version: Option<String>,
    at: Instant,
}

impl Candidate {
    /// A candidate that is not leader yet. `calls` must not be bound to the claim itself.
    pub fn new(calls: Calls, election: Election, claim: Claim, health: LeaseHealth) -> Self {
        Self { calls, election, claim, health, seen: None, other_holder: None }
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
                Err(error) => tracing::warn!(%error, "failed to acquire the Lease; retrying"),
            }
            tokio::time::sleep(self.election.retry_period).await;
        }
    }

    /// Renews the claim. Returns once it is lost.
    pub async fn keep(&mut self) {
        while self.claim.is_valid() {
            tokio::time::sleep(self.election.retry_period).await;
            match self.attempt(Self::holds).await {
                Ok(true) => {}
                Ok(false) => {
                    self.claim.give_up();
                    tracing::warn!("another replica is leader");
                }
                Err(error) => tracing::warn!(%error, "failed to renew the Lease in time"),
            }
        }
        tracing::warn!("leadership lost; no writes until this replica is leader again");
    }

    /// Releases the Lease, so that another operator takes over at once. Returns when it is released.
    pub async fn release(&mut self) {
        self.claim.give_up();
        while let Err(error) = self.try_to_release().await {
            tracing::debug!(%error, "the Lease is not released yet; retrying");
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

    /// Tries once to write the Lease if `wanted` accepts it, and records the result. Returns whether this
    /// process is leader.
    async fn attempt(&mut self, wanted: fn(&mut Self, Option<&Lease>) -> bool) -> Result<bool, CallError> {
        let outcome = self.try_once(wanted).await;
        let waits_for = self.other_holder.as_ref().filter(|_| matches!(outcome, Ok(false)));
        let sentence = waits_for.map(|other_holder| other_holder.sentence(&self.election));
        self.health.tried(outcome.as_ref().err().map(ToString::to_string), sentence);
        outcome
    }

    /// Remembers the holder and logs a new one once.
    fn remember_holder(&mut self, other_holder: Option<OtherHolder>) {
        if let Some(other_holder) =
            other_holder.as_ref().filter(|other_holder| self.other_holder.as_ref() != Some(other_holder))
        {
            let sentence = other_holder.sentence(&self.election);
            if other_holder.has_another_task(&self.election) {
                tracing::warn!("{sentence}");
            } else {
                tracing::info!("{sentence}");
            }
        }
        self.other_holder = other_holder;
    }

    async fn try_once(&mut self, wanted: fn(&mut Self, Option<&Lease>) -> bool) -> Result<bool, CallError> {
        let before = Instant::now();
        let found = self.calls.get::<Lease>(&self.election.lease).await?;
        if !wanted(self, found.as_ref()) {
            self.remember_holder(found.as_ref().and_then(OtherHolder::of));
            return Ok(false);
        }
        self.other_holder = None;
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
            // Another operator was faster.
            Err(error) if error.is_stale() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether this process holds the Lease. If another held it meanwhile, it is not renewed but must be won
    /// again, since everything built on the earlier leadership is void.
    fn holds(&mut self, lease: Option<&Lease>) -> bool {
        lease.and_then(holder) == Some(&self.election.identity)
    }

    /// Whether the Lease is ours, free, or unchanged for as long as its holder's duration.
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
