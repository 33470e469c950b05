//! The loop that three of the designs share: look at the documents, and handle each gateway that is not yet what its
//! user wants.

use std::collections::HashSet;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::job::{Failure, Job};
use crate::store::Store;

/// A design.
pub trait Strategy: Send + Sync + 'static {
    /// Brings one gateway closer to what its user wants. A failure is no end: the gateway is handled again.
    fn handle(&self, job: Job) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// Handles gateways for ever. Each is handled once at a time, and a handled gateway holds up no other.
pub async fn work(strategy: Arc<impl Strategy>, store: Store, poll: Duration) {
    let busy = Arc::new(Mutex::new(HashSet::new()));
    let mut handled = JoinSet::new();
    let mut every = tokio::time::interval(poll);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        while handled.try_join_next().is_some() {}
        // A database that is down is asked again at the next tick.
        for job in store.due().await.unwrap_or_default() {
            if !lock(&busy).insert(job.uid.clone()) {
                continue;
            }
            let (strategy, busy) = (Arc::clone(&strategy), Arc::clone(&busy));
            handled.spawn(async move {
                let uid = job.uid.clone();
                // The next look finds what is left to do.
                let _ = strategy.handle(job).await;
                lock(&busy).remove(&uid);
            });
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
