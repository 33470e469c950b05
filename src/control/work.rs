//! Works on what the queue says: many objects at once, each in a task of its own.

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
use crate::queue::{Key, Kind, Next, WorkQueue};
use crate::registry::Registry;

/// How long an object waits after its first failure, and at most.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);
/// At most where somebody is away: a start goes on within half a minute of their return.
const LONGEST_OUTAGE: Duration = Duration::from_secs(16);

/// Works until `ended`, and then lets what is on its way finish for as long as `drain`.
pub async fn work(queue: &WorkQueue, ctx: &Arc<Context>, ended: impl Future<Output = ()>, drain: Duration) {
    let worker = Arc::new(Worker { ctx: Arc::clone(ctx), failures: Mutex::default() });
    // What runs ends with this: a lost leadership drops it all.
    let mut running = JoinSet::new();
    tokio::pin!(ended);
    loop {
        while let Some(key) = queue.begin() {
            // A document may concern a gateway of a namespace that is not watched.
            if key.kind == Kind::Document || ctx.scopes.of(&key.object.namespace).is_some() {
                running.spawn(Arc::clone(&worker).one(key));
            } else {
                queue.end(&key, Next::WhenWoken);
            }
        }
        tokio::select! {
            Some(finished) = running.join_next() => {
                // A task ends without its key only when it is aborted, which ends the queue too.
                if let Ok((key, next)) = finished {
                    queue.end(&key, next);
                }
            }
            () = queue.changed() => {}
            () = &mut ended => break,
        }
    }
    let finish = async { while running.join_next().await.is_some() {} };
    if tokio::time::timeout(drain, finish).await.is_err() {
        tracing::warn!("not everything that was on its way has finished");
    }
}

struct Worker {
    ctx: Arc<Context>,
    /// How often each object failed in a row, and its uid: one of the same name that is made anew begins anew.
    failures: Mutex<HashMap<Key, (String, u32)>>,
}

impl Worker {
    /// Works on one object once.
    async fn one(self: Arc<Self>, key: Key) -> (Key, Next) {
        let begun = Instant::now();
        // A defect met by one object must not end the work on all others.
        let looked = AssertUnwindSafe(self.several_looks(&key)).catch_unwind().await;
        let (outcome, next) = match looked {
            Ok(Ok(Next::Behind)) => (Outcome::Stale, Next::After(self.behind(&key))),
            Ok(Ok(next)) => (Outcome::Ok, next),
            Ok(Err(error)) => (error.label(), Next::After(self.failed(&key, &error))),
            Err(_) => {
                tracing::error!(object = %key.object, "a defect: the reconcile panicked");
                (Outcome::Panicked, Next::After(LONGEST))
            }
        };
        self.ctx.metrics.reconciled(key.kind, outcome, begun.elapsed());
        (key, next)
    }

    /// A transition that was recorded is acted on without standing in line again: the clock of an
    /// attempt runs from its first write.
    async fn several_looks(&self, key: &Key) -> Result<Next, Error> {
        const AT_MOST: usize = 3;
        for _ in 1..AT_MOST {
            let next = self.look_at(key).await?;
            if next != Next::AtOnce {
                return Ok(next);
            }
        }
        self.look_at(key).await
    }

    /// Looks at an object once. What goes through ends a row of failures, whatever the next look meets.
    async fn look_at(&self, key: &Key) -> Result<Next, Error> {
        let next = self.reconcile(key).await?;
        if next != Next::Behind {
            self.succeeded(key);
        }
        Ok(next)
    }

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let ctx = &*self.ctx;
        if key.kind == Kind::Document {
            let Registry::MongoDb(mongo) = &ctx.registry else { return Ok(Next::WhenWoken) };
            return reconcile::documents(ctx, mongo, &key.object.name).await;
        }
        // An object is in the one scope whose watch woke it.
        let Some(caches) = ctx.scopes.of(&key.object.namespace) else { return Ok(Next::WhenWoken) };
        // One that is gone needs no look.
        if key.kind == Kind::Environment {
            let Some(environment) = caches.guarded_environment(&key.object) else { return Ok(Next::WhenWoken) };
            return reconcile::environment(ctx, caches, &environment).await;
        }
        let Some(gateway) = caches.guarded_gateway(&key.object) else { return Ok(Next::WhenWoken) };
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

    /// The uid of an object that is there. Documents have none: their key is their gateway's id.
    fn uid(&self, key: &Key) -> String {
        let caches = self.ctx.scopes.of(&key.object.namespace);
        let uid = caches.and_then(|caches| match key.kind {
            Kind::Gateway => Some(uid_of(caches.guarded_gateway(&key.object)?.meta()).to_owned()),
            Kind::Environment => Some(uid_of(caches.guarded_environment(&key.object)?.meta()).to_owned()),
            Kind::Document => None,
        });
        uid.unwrap_or_default()
    }

    /// When an object is looked at again whose cache is behind.
    fn behind(&self, key: &Key) -> Duration {
        let delay = self.not_after_judgement(key, backoff::delay(self.count_failure(key), FIRST, LONGEST));
        tracing::debug!(object = %key.object, ?delay, "looking again");
        delay
    }

    /// A deadline is judged when it passes, whatever fails until then.
    fn not_after_judgement(&self, key: &Key, delay: Duration) -> Duration {
        let judged_at = if key.kind == Kind::Gateway { self.ctx.memory.judged_at(&self.uid(key)) } else { None };
        let left = judged_at.map(|at| at.saturating_duration_since(tokio::time::Instant::now()));
        left.filter(|left| !left.is_zero()).map_or(delay, |left| left.min(delay))
    }

    /// Says why a reconcile failed. Returns when it is done again: each object on its own, later every
    /// time, and not before the API server asked for it.
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
                    "the reconcile failed and is done again: {error}"
                );
            }
            Kind::Environment => {
                tracing::warn!(
                    environment = %key.object,
                    failures,
                    ?delay,
                    "the reconcile failed and is done again: {error}"
                );
            }
            Kind::Document => {
                let gateway_id = &key.object.name;
                tracing::warn!(
                    gateway_id,
                    failures,
                    ?delay,
                    "the documents could not be followed and are again: {error}"
                );
            }
        }
        delay
    }
}
