//! The workers: reconcile queued objects concurrently, each in a task of its own.
//!
//! **Architecture invariant:** losing leadership drops all tasks. A panic in one reconcile does not end the
//! others.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt;
use kube::Resource;
use tokio::task::JoinSet;

use super::context::Context;
use super::error::Error;
use super::reconcile;
use crate::api::uid_of;
use crate::cluster::backoff;
use crate::metrics::labels::Outcome;
use crate::queue::{Key, Kind, Requeue, WorkQueue};
use crate::registry::Registry;

/// The backoff of an object after its first failure, and its maximum.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);
/// The maximum backoff during an outage, so that starts continue soon after it.
const LONGEST_OUTAGE: Duration = Duration::from_secs(16);

/// Works until `shutdown`, then lets running reconciles finish for as long as `drain`.
pub async fn work(queue: &WorkQueue, ctx: &Arc<Context>, shutdown: impl Future<Output = ()>, drain: Duration) {
    let worker = Arc::new(Worker { ctx: Arc::clone(ctx), failures: Mutex::default() });
    // Dropped together with this future when leadership is lost.
    let mut running = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        while let Some(key) = queue.take() {
            // A document may concern a gateway in an unwatched namespace.
            if key.kind == Kind::Document || ctx.scopes.of(&key.object.namespace).is_some() {
                running.spawn(Arc::clone(&worker).one(key));
            } else {
                queue.done(&key, Requeue::OnChange);
            }
        }
        tokio::select! {
            Some(finished) = running.join_next() => {
                // A task ends without its key only if it is aborted, which ends the queue too.
                if let Ok((key, next)) = finished {
                    queue.done(&key, next);
                }
            }
            () = queue.changed() => {}
            () = &mut shutdown => break,
        }
    }
    let finish = async { while running.join_next().await.is_some() {} };
    if tokio::time::timeout(drain, finish).await.is_err() {
        tracing::warn!("some reconciles did not finish before shutdown");
    }
}

struct Worker {
    ctx: Arc<Context>,
    /// Failures in a row by object, with its uid, so that a recreated object starts over.
    failures: Mutex<HashMap<Key, (String, u32)>>,
}

impl Worker {
    /// Reconciles one object.
    async fn one(self: Arc<Self>, key: Key) -> (Key, Requeue) {
        let begun = Instant::now();
        // A defect that one object triggers must not end the work on others.
        let passed = AssertUnwindSafe(self.several_passes(&key)).catch_unwind().await;
        let (outcome, next) = match passed {
            Ok(Ok(Requeue::CacheBehind)) => (Outcome::Stale, Requeue::After(self.behind(&key))),
            Ok(Ok(next)) => (Outcome::Ok, next),
            Ok(Err(error)) => (error.label(), Requeue::After(self.failed(&key, &error))),
            Err(_) => {
                tracing::error!(object = %key.object, "bug: the reconcile panicked");
                (Outcome::Panicked, Requeue::After(LONGEST))
            }
        };
        self.ctx.metrics.reconciled(key.kind, outcome, begun.elapsed());
        (key, next)
    }

    /// Repeats the pass at once after a recorded transition, since the clock of an attempt runs from its first
    /// write.
    async fn several_passes(&self, key: &Key) -> Result<Requeue, Error> {
        const AT_MOST: usize = 3;
        for _ in 1..AT_MOST {
            let next = self.pass(key).await?;
            if next != Requeue::Now {
                return Ok(next);
            }
        }
        self.pass(key).await
    }

    /// One pass. A success resets the failure count, whatever the next pass does.
    async fn pass(&self, key: &Key) -> Result<Requeue, Error> {
        let next = self.reconcile(key).await?;
        if next != Requeue::CacheBehind {
            self.succeeded(key);
        }
        Ok(next)
    }

    async fn reconcile(&self, key: &Key) -> Result<Requeue, Error> {
        let ctx = &*self.ctx;
        if key.kind == Kind::Document {
            let Registry::MongoDb(mongo) = &ctx.registry else { return Ok(Requeue::OnChange) };
            return reconcile::documents(ctx, mongo, &key.object.name).await;
        }
        // The object is in the one scope whose watch added it.
        let Some(caches) = ctx.scopes.of(&key.object.namespace) else { return Ok(Requeue::OnChange) };
        // An object that is gone needs no pass.
        if key.kind == Kind::Environment {
            let Some(environment) = caches.guarded_environment(&key.object) else { return Ok(Requeue::OnChange) };
            return reconcile::environment(ctx, caches, &environment).await;
        }
        let Some(gateway) = caches.guarded_gateway(&key.object) else { return Ok(Requeue::OnChange) };
        reconcile::gateway(ctx, caches, &gateway).await
    }

    fn succeeded(&self, key: &Key) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Counts another failure in a row.
    fn count_failure(&self, key: &Key) -> u32 {
        let uid = self.uid(key);
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let (of, count) = failures.entry(key.clone()).or_default();
        if *of != uid {
            (*of, *count) = (uid, 0);
        }
        *count = count.saturating_add(1);
        *count
    }

    /// The uid of an existing object. Documents have none; their key is the id of their gateway.
    fn uid(&self, key: &Key) -> String {
        let caches = self.ctx.scopes.of(&key.object.namespace);
        let uid = caches.and_then(|caches| match key.kind {
            Kind::Gateway => Some(uid_of(caches.guarded_gateway(&key.object)?.meta()).to_owned()),
            Kind::Environment => Some(uid_of(caches.guarded_environment(&key.object)?.meta()).to_owned()),
            Kind::Document => None,
        });
        uid.unwrap_or_default()
    }

    /// The delay for an object whose cache is behind.
    fn behind(&self, key: &Key) -> Duration {
        let delay = self.not_after_judgement(key, backoff::delay(self.count_failure(key), FIRST, LONGEST));
        tracing::debug!(object = %key.object, ?delay, "requeue");
        delay
    }

    /// A deadline is judged on time, whatever fails until then.
    fn not_after_judgement(&self, key: &Key, delay: Duration) -> Duration {
        let judged_at = if key.kind == Kind::Gateway { self.ctx.memory.judged_at(&self.uid(key)) } else { None };
        let left = judged_at.map(|at| at.saturating_duration_since(tokio::time::Instant::now()));
        left.filter(|left| !left.is_zero()).map_or(delay, |left| left.min(delay))
    }

    /// Logs why a reconcile failed. Returns the backoff: per object, growing, and not before the time that the
    /// API server asked for.
    fn failed(&self, key: &Key, error: &Error) -> Duration {
        let failures = self.count_failure(key);
        let longest = if error.is_outage() { LONGEST_OUTAGE } else { LONGEST };
        let delay = backoff::delay(failures, FIRST, longest).max(error.retry_after().unwrap_or_default().min(LONGEST));
        let delay = self.not_after_judgement(key, delay);
        match key.kind {
            Kind::Gateway => {
                let caches = self.ctx.scopes.of(&key.object.namespace);
                let status = caches.and_then(|caches| caches.gateway(&key.object)).and_then(|gateway| gateway.status);
                let phase = status.as_ref().and_then(|status| status.phase.as_ref()).map(ToString::to_string);
                let attempt = status.as_ref().and_then(|status| status.attempt.as_ref()).map(|attempt| attempt.number);
                tracing::warn!(
                    gateway = %key.object,
                    phase,
                    attempt,
                    failures,
                    ?delay,
                    "reconcile failed, requeued with backoff: {error}"
                );
            }
            Kind::Environment => {
                tracing::warn!(
                    environment = %key.object,
                    failures,
                    ?delay,
                    "reconcile failed, requeued with backoff: {error}"
                );
            }
            Kind::Document => {
                let gateway_id = &key.object.name;
                tracing::warn!(
                    gateway_id,
                    failures,
                    ?delay,
                    "reconciling documents failed, requeued with backoff: {error}"
                );
            }
        }
        delay
    }
}
