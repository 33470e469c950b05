//! Works on what the queue says: many objects at once, each in a task of its own.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt;
use kube::Resource;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::cluster::backoff;
use crate::control::context::Context;
use crate::control::reconcile::{Error, reconcile, reconcile_environment};
use crate::control::watch::{Scope, reference};
use crate::queue::{Key, Kind, Load, Next, Queue, Stage};
use crate::registry::{Registry, intake};

/// The queue as watches and workers share it.
#[derive(Clone)]
pub struct WorkQueue {
    queue: Arc<Mutex<Queue>>,
    bell: Arc<Notify>,
}

impl WorkQueue {
    /// A queue with room for `places` objects to be worked on at once.
    pub fn new(places: u16) -> Self {
        let queue = Queue::new(usize::from(places), Instant::now());
        Self { queue: Arc::new(Mutex::new(queue)), bell: Arc::default() }
    }

    /// Something happened that concerns an object.
    pub fn wake(&self, key: Key, stage: Stage) {
        self.lock().wake(key, stage, Instant::now());
        self.bell.notify_one();
    }

    /// How the queue is doing.
    pub fn load(&self) -> Load {
        self.lock().load(Instant::now())
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing in the queue panics, so it is never left half-changed.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the objects of each scope are worked on with.
pub struct Contexts(HashMap<Option<String>, Arc<Context>>);

impl Contexts {
    /// One context for each scope.
    pub fn new(contexts: impl IntoIterator<Item = (Scope, Arc<Context>)>) -> Self {
        let by_namespace = |(scope, context)| match scope {
            Scope::Cluster => (None, context),
            Scope::Namespace(namespace) => (Some(namespace), context),
        };
        Self(contexts.into_iter().map(by_namespace).collect())
    }

    /// The context of an object. Each is in the one scope whose watch woke it.
    fn of(&self, key: &Key) -> Option<&Arc<Context>> {
        let scope = || match key.kind {
            // Documents are in no namespace: whatever context has all that scopes share.
            Kind::Document => self.0.values().next(),
            Kind::Gateway | Kind::Environment => self.0.get(&Some(key.object.namespace.clone())),
        };
        self.0.get(&None).or_else(scope)
    }
}

/// Works until `ended`, and then lets what is on its way finish for as long as `drain`.
pub async fn work(queue: &WorkQueue, contexts: &Contexts, ended: impl Future<Output = ()>, drain: Duration) {
    // What runs ends with this: a lost leadership drops it all.
    let mut running = JoinSet::new();
    tokio::pin!(ended);
    loop {
        loop {
            let Some(key) = queue.lock().begin(Instant::now()) else { break };
            match contexts.of(&key) {
                Some(context) => drop(running.spawn(one(key, Arc::clone(context)))),
                None => queue.lock().end(&key, Next::WhenWoken, Instant::now()),
            }
        }
        let due = queue.lock().next_due();
        tokio::select! {
            Some(finished) = running.join_next() => end(queue, finished.ok()),
            () = queue.bell.notified() => {}
            () = until(due) => {}
            () = &mut ended => break,
        }
    }
    let finish = async { while running.join_next().await.is_some() {} };
    if tokio::time::timeout(drain, finish).await.is_err() {
        tracing::warn!("not everything that was on its way has finished");
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => futures::future::pending().await,
    }
}

/// A task ends without its key only when it is aborted, which ends the queue too.
fn end(queue: &WorkQueue, finished: Option<(Key, Next)>) {
    if let Some((key, next)) = finished {
        queue.lock().end(&key, next, Instant::now());
    }
}

/// Works on one object once.
async fn one(key: Key, ctx: Arc<Context>) -> (Key, Next) {
    let begun = Instant::now();
    // A defect met by one object must not end the work on all others.
    let outcome = AssertUnwindSafe(several_looks(&key, &ctx)).catch_unwind().await;
    let (result, next) = match outcome {
        Ok(Ok(next)) => ("ok", next),
        Ok(Err((uid, error))) => (error.kind(), Next::After(failed(&key, &ctx, &uid, &error))),
        Err(_) => {
            tracing::error!(object = %key.object, "a defect: the reconcile panicked");
            ("panicked", Next::After(LONGEST))
        }
    };
    ctx.metrics.reconciled(key.kind, result, begun.elapsed());
    (key, next)
}

/// A transition that was recorded is acted on without standing in line again: the clock of an
/// attempt runs from its first write.
async fn several_looks(key: &Key, ctx: &Arc<Context>) -> Result<Next, (String, Error)> {
    const AT_MOST: usize = 3;
    for _ in 1..AT_MOST {
        let next = look_at(key, ctx).await?;
        if next != Next::AtOnce {
            return Ok(next);
        }
    }
    look_at(key, ctx).await
}

async fn look_at(key: &Key, ctx: &Arc<Context>) -> Result<Next, (String, Error)> {
    let uid = |meta: &kube::core::ObjectMeta| meta.uid.clone().unwrap_or_default();
    // One that is gone needs no look.
    match key.kind {
        Kind::Gateway => {
            let Some(gateway) = ctx.caches.gateways.get(&reference(&key.object)) else { return Ok(Next::WhenWoken) };
            reconcile(&gateway, ctx).await.map_err(|error| (uid(gateway.meta()), error))
        }
        Kind::Environment => {
            let Some(environment) = ctx.caches.all_environments.get(&reference(&key.object)) else {
                return Ok(Next::WhenWoken);
            };
            reconcile_environment(&environment, ctx).await.map_err(|error| (uid(environment.meta()), error))
        }
        Kind::Document => {
            let Registry::MongoDb(mongo) = &ctx.registry else { return Ok(Next::WhenWoken) };
            let memory_key = format!("document {}", key.object.name);
            let later =
                intake::reconcile(mongo, &key.object.name, ctx).await.map_err(|error| (memory_key.clone(), error))?;
            ctx.memory.forget(&memory_key);
            Ok(later.into())
        }
    }
}

/// Says why a reconcile failed. Returns when it is done again: each object on its own, later every
/// time, and not before the API server asked for it.
fn failed(key: &Key, ctx: &Context, uid: &str, error: &Error) -> Duration {
    let failures = ctx.memory.failed(uid);
    let delay = backoff::delay(failures, FIRST, LONGEST).max(error.retry_after().unwrap_or_default().min(LONGEST));
    let object = key.object.to_string();
    if error.is_stale() {
        tracing::debug!(object, ?delay, "{error}");
        return delay;
    }
    match key.kind {
        Kind::Gateway => {
            let status = ctx.caches.gateway(&key.object).and_then(|gateway| gateway.status);
            let phase = status.as_ref().and_then(|status| status.phase.as_ref()).map(ToString::to_string);
            let attempt = status.as_ref().and_then(|status| status.attempt.as_ref()).map(|attempt| attempt.number);
            tracing::warn!(
                gateway = object,
                phase,
                attempt,
                failures,
                ?delay,
                "the reconcile failed and is done again: {error}"
            );
        }
        Kind::Environment => {
            tracing::warn!(environment = object, failures, ?delay, "the reconcile failed and is done again: {error}");
        }
        Kind::Document => {
            let gateway_id = &key.object.name;
            tracing::warn!(gateway_id, failures, ?delay, "the documents could not be followed and are again: {error}");
        }
    }
    delay
}

/// How long an object waits after its first failure, and at most.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);
