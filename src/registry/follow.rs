//! Follows both collections: updates the document cache and requeues affected gateways.
//!
//! **Architecture invariant:** a change stream is no memory. After a restart, everything is read again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mongodb::bson::Document;
use tokio::task::JoinSet;

use super::document::{EnvironmentDocument, GatewayDocument};
use super::mongo::Mongo;
use super::store::{Change, RegistryError, Stored, Stream};
use crate::cluster::backoff;
use crate::decide::say;

/// The backoff of probes of an unavailable database: first and longest.
const PROBE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// How often the resume token of a change stream is stored.
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// Follows both collections, and probes the database while it is unavailable.
pub fn follow(mongo: &Arc<Mongo>, running: &mut JoinSet<()>) {
    running.spawn(probe(Arc::clone(mongo)));
    running.spawn(index(Arc::clone(mongo)));
    let told = Arc::new(AtomicBool::new(false));
    running.spawn(follow_one::<GatewayDocument>(Arc::clone(mongo), Arc::clone(&told)));
    running.spawn(follow_one::<EnvironmentDocument>(Arc::clone(mongo), told));
}

/// Probes an unavailable database until it answers, then requeues everything that waits for it.
async fn probe(mongo: Arc<Mongo>) {
    // The first call prepares the client.
    if let Err(error) = mongo.store.ping().await {
        mongo.breaker.trip(&error.to_string());
    }
    mongo.metrics.registry.is_up(mongo.breaker.words().is_none());
    loop {
        mongo.breaker.wait_until_away().await;
        mongo.metrics.registry.is_up(false);
        let mut failures = 0;
        loop {
            failures += 1;
            tokio::time::sleep(backoff::delay(failures, PROBE.0, PROBE.1)).await;
            match mongo.store.ping().await {
                Ok(()) => break,
                Err(error) => tracing::debug!(%error, "the registry is still unavailable"),
            }
        }
        mongo.breaker.reset();
        mongo.metrics.registry.is_up(true);
        mongo.requeue_waiting();
    }
}

/// Creates the indexes once possible.
async fn index(mongo: Arc<Mongo>) {
    mongo.metrics.registry.misses_indexes(0);
    let mut failures = 0;
    loop {
        mongo.breaker.wait_until_back().await;
        let made = match mongo.store.prepare().await {
            Ok(()) => mongo.store.create_indexes().await,
            Err(error) => Err(error),
        };
        match made {
            Ok(refused) => {
                mongo.metrics.registry.misses_indexes(refused.len());
                refused.iter().for_each(|refusal| tell_missing_index(refusal));
                return;
            }
            Err(error) => {
                failures += 1;
                tracing::debug!(%error, "failed to create the indexes; retrying");
                tokio::time::sleep(backoff::delay(failures, PROBE.0, PROBE.1)).await;
            }
        }
    }
}

fn tell_missing_index(refusal: &str) {
    tracing::error!(
        "failed to create an index, usually because of duplicates: {}. The operator continues without it and reports \
         duplicates in the documents",
        say(refusal)
    );
}

/// Why the following of a collection ended.
enum End {
    /// The server has no change streams.
    NoStreams(String),
    /// Continue from the last position, or from a new scan.
    Again,
}

/// Follows a collection: by a change stream, or by periodic scans if there are none.
async fn follow_one<T: Stored>(mongo: Arc<Mongo>, told: Arc<AtomicBool>) {
    let mut failures = 0;
    let mut streams = true;
    loop {
        mongo.breaker.wait_until_back().await;
        let begun = Instant::now();
        let outcome = if streams {
            stream::<T>(&mongo).await
        } else {
            tokio::time::sleep(mongo.scan_interval).await;
            scan::<T>(&mongo).await.map(|()| End::Again)
        };
        match outcome {
            Ok(End::Again) => failures = 0,
            Ok(End::NoStreams(words)) => {
                streams = false;
                if !told.swap(true, Ordering::Relaxed) {
                    let every = mongo.scan_interval;
                    tracing::warn!(?every, "the registry has no change streams; polling instead: {words}");
                }
            }
            Err(error) => {
                if begun.elapsed() > PROBE.1 {
                    failures = 0;
                }
                failures += 1;
                // After an outage, resume as soon as the database answers and on the connection that answered:
                // other idle connections may have broken with it.
                let is_away = mongo.breaker.words().is_some();
                let delay = if is_away { PROBE.0 } else { backoff::delay(failures, PROBE.0, PROBE.1) };
                tracing::debug!(%error, ?delay, collection = T::COLLECTION, "restarting the change stream");
                tokio::time::sleep(delay).await;
            }
        }
    }
}

/// Follows a collection's change stream until it ends.
async fn stream<T: Stored>(mongo: &Mongo) -> Result<End, RegistryError> {
    mongo.store.prepare().await?;
    let token = mongo.store.token::<T>().await?;
    let resumed = token.is_some();
    let opened = match mongo.store.watch::<T>(token).await {
        Ok(opened) => opened,
        Err(RegistryError::Refused(message)) if resumed => {
            // The token is too old, or belongs to another stream.
            tracing::info!(collection = T::COLLECTION, "failed to resume the change stream: {}", say(&message));
            mongo.store.keep_token::<T>(None).await?;
            return Ok(End::Again);
        }
        Err(RegistryError::Refused(message)) => {
            scan::<T>(mongo).await?;
            return Ok(End::NoStreams(say(&message)));
        }
        Err(error) => return Err(error),
    };
    // The scan begins after the stream, so that no change falls between them. A resumed stream with a complete
    // cache needs no scan.
    if !(resumed && mongo.cache.is_complete()) {
        scan::<T>(mongo).await?;
    }
    read_to_its_end::<T>(mongo, opened).await
}

/// Applies the events of a change stream, and stores its position.
async fn read_to_its_end<T: Stored>(mongo: &Mongo, mut stream: Stream) -> Result<End, RegistryError> {
    let mut kept = Instant::now();
    let mut news = false;
    // If a server sends no position with an empty batch, the driver forgets its own.
    let mut place = None;
    loop {
        match mongo.store.next::<T>(&mut stream).await {
            Ok(Change::Is(read)) => {
                news = true;
                let affected = T::collection_cache(&mongo.cache).put(*read);
                mongo.changed(&affected);
            }
            Ok(Change::Gone(id)) => {
                news = true;
                let affected = T::collection_cache(&mongo.cache).forget(&id);
                mongo.changed(&affected);
            }
            Ok(Change::Nothing) => {}
            Ok(Change::Ends) => {
                mongo.store.keep_token::<T>(None).await?;
                return Ok(End::Again);
            }
            Err(RegistryError::Refused(message)) => {
                tracing::info!(collection = T::COLLECTION, "the change stream ended: {}", say(&message));
                mongo.store.keep_token::<T>(None).await?;
                return Ok(End::Again);
            }
            Err(error) => return Err(error),
        }
        place = stream.resume_token().or(place);
        if news && kept.elapsed() >= KEEP_EVERY {
            mongo.store.keep_token::<T>(place.as_ref()).await?;
            (kept, news) = (Instant::now(), false);
        }
    }
}

/// Reads a whole collection.
async fn scan<T: Stored>(mongo: &Mongo) -> Result<(), RegistryError> {
    let read_start = T::collection_cache(&mongo.cache).begin();
    let listed = mongo.store.find::<T>(Document::new()).await?;
    let count = listed.len();
    let affected = T::collection_cache(&mongo.cache).swap(read_start, listed);
    if mongo.cache.listed::<T>() {
        // Missing objects can be judged from now on.
        tracing::info!("listed the registry's documents");
        mongo.requeue_documents(&mongo.cache.gateways());
        mongo.requeue_waiting();
    } else {
        tracing::debug!(collection = T::COLLECTION, count, changed = affected.len(), "listed the collection");
        mongo.changed(&affected);
    }
    Ok(())
}
