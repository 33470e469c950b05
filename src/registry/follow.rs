//! Follows the collections: what documents say becomes known here, and whoever it concerns is woken.

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

/// How often it is asked whether the database is back: first and at most.
const PROBE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// How often the place in a change stream is kept.
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// Follows both collections, and looks whether the database answers.
pub fn follow(mongo: &Arc<Mongo>, running: &mut JoinSet<()>) {
    running.spawn(probe(Arc::clone(mongo)));
    running.spawn(index(Arc::clone(mongo)));
    let told = Arc::new(AtomicBool::new(false));
    running.spawn(follow_one::<GatewayDocument>(Arc::clone(mongo), Arc::clone(&told)));
    running.spawn(follow_one::<EnvironmentDocument>(Arc::clone(mongo), told));
}

/// Asks a database that was found away until it answers, and wakes whoever waits for it.
async fn probe(mongo: Arc<Mongo>) {
    // It is prepared by the first question.
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
                Err(error) => tracing::debug!(%error, "the registry is still away"),
            }
        }
        mongo.breaker.reset();
        mongo.metrics.registry.is_up(true);
        mongo.wake_waiting();
    }
}

/// Creates the indexes, as soon as that can be.
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
                tracing::debug!(%error, "the indexes could not be made yet");
                tokio::time::sleep(backoff::delay(failures, PROBE.0, PROBE.1)).await;
            }
        }
    }
}

fn tell_missing_index(refusal: &str) {
    tracing::error!(
        "an index cannot be made, duplicates in its collection mostly: {}; the operator goes on without it, and answers \
         in the documents that have a gatewayId in common",
        say(refusal)
    );
}

/// How the following of a collection ended.
enum End {
    /// The server has no change streams.
    NoStreams(String),
    /// It goes on from where it was, or from a new scan.
    Again,
}

/// Follows a collection: by a change stream, or where there are none by reading it again and again.
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
                    tracing::warn!(?every, "the registry has no change streams and is read again and again: {words}");
                }
            }
            Err(error) => {
                if begun.elapsed() > PROBE.1 {
                    failures = 0;
                }
                failures += 1;
                let delay = backoff::delay(failures, PROBE.0, PROBE.1);
                tracing::debug!(%error, ?delay, collection = T::COLLECTION, "following it is begun again");
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
            // Too old, or of another stream.
            tracing::info!(collection = T::COLLECTION, "the change stream cannot be resumed: {}", say(&message));
            mongo.store.keep_token::<T>(None).await?;
            return Ok(End::Again);
        }
        Err(RegistryError::Refused(message)) => {
            scan::<T>(mongo).await?;
            return Ok(End::NoStreams(say(&message)));
        }
        Err(error) => return Err(error),
    };
    // Begun after the stream, so that nothing falls between them. Where the stream goes on from what is
    // known already, that is enough.
    if !(resumed && mongo.known.is_complete()) {
        scan::<T>(mongo).await?;
    }
    read_to_its_end::<T>(mongo, opened).await
}

/// Takes in what a change stream tells, and keeps its place.
async fn read_to_its_end<T: Stored>(mongo: &Mongo, mut stream: Stream) -> Result<End, RegistryError> {
    let mut kept = Instant::now();
    let mut news = false;
    // A server that does not say where an empty batch ends makes the driver forget where it was.
    let mut place = None;
    loop {
        match mongo.store.next::<T>(&mut stream).await {
            Ok(Change::Is(read)) => {
                news = true;
                let concerned = T::shelf(&mongo.known).put(*read);
                mongo.changed(&concerned);
            }
            Ok(Change::Gone(id)) => {
                news = true;
                let concerned = T::shelf(&mongo.known).forget(&id);
                mongo.changed(&concerned);
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

/// Reads all of a collection.
async fn scan<T: Stored>(mongo: &Mongo) -> Result<(), RegistryError> {
    let begun = T::shelf(&mongo.known).begin();
    let listed = mongo.store.find::<T>(Document::new()).await?;
    let count = listed.len();
    let concerned = T::shelf(&mongo.known).swap(begun, listed);
    if mongo.known.listed::<T>() {
        // Now it can be judged what is missing, too.
        tracing::info!("the registry's documents were read");
        mongo.wake_documents(&mongo.known.gateways());
        mongo.wake_waiting();
    } else {
        tracing::debug!(collection = T::COLLECTION, count, changed = concerned.len(), "it was read");
        mongo.changed(&concerned);
    }
    Ok(())
}
