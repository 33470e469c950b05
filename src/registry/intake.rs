//! Inward: follows the collections, and makes objects of what their documents ask for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kube::Resource;
use mongodb::bson::{Bson, Document, doc};
use tokio::task::JoinSet;

use super::document::{Answer, Documents, EnvironmentDocument, GatewayDocument};
use super::intent::{self, Act, AnswerIn, Apply, Collection, Objects, REFUSED};
use super::mongo::{Mongo, document_key};
use super::report::platforms_id;
use super::store::{Change, RegistryError, Stored};
use crate::api::{ApiGateway, Environment, ObjectKey, Reason};
use crate::cluster::backoff;
use crate::cluster::calls::{CallError, Object};
use crate::control::context::Context;
use crate::control::reconcile::Error;
use crate::control::watch::Scope;
use crate::decide::{Note, say};

/// The field manager of what documents ask for.
const FIELD_MANAGER: &str = "phasegate-registry";

/// How often it is asked whether the database is back: first and at most.
const PROBE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// How often the place in a change stream is kept.
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// For how long a refusal that may not be the document's fault stands: a quota, a policy.
const FORBIDDEN_FOR: Duration = Duration::from_secs(300);

// What follows the collections.

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
    mongo.metrics.registry_is(mongo.breaker.words().is_none());
    loop {
        mongo.breaker.wait_until_away().await;
        mongo.metrics.registry_is(false);
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
        mongo.metrics.registry_is(true);
        mongo.wake_waiting();
    }
}

/// Creates the indexes, as soon as that can be.
async fn index(mongo: Arc<Mongo>) {
    mongo.metrics.registry_misses_indexes(0);
    let mut failures = 0;
    loop {
        mongo.breaker.wait_until_back().await;
        let made = match mongo.store.prepare().await {
            Ok(()) => mongo.store.create_indexes().await,
            Err(error) => Err(error),
        };
        match made {
            Ok(refused) => {
                mongo.metrics.registry_misses_indexes(refused.len());
                for refusal in refused {
                    tracing::error!(
                        "an index cannot be made, duplicates in its collection mostly: {}; the operator goes on \
                         without it, and answers in the documents that have a gatewayId in common",
                        say(&refusal)
                    );
                }
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
    let mut stream = match mongo.store.watch::<T>(token).await {
        Ok(stream) => stream,
        Err(RegistryError::Refused { message, .. }) if resumed => {
            // Too old, or of another stream.
            tracing::info!(collection = T::COLLECTION, "the change stream cannot be resumed: {}", say(&message));
            mongo.store.keep_token::<T>(None).await?;
            return Ok(End::Again);
        }
        Err(RegistryError::Refused { message, .. }) => {
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
            Err(RegistryError::Refused { message, .. }) => {
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

// What documents ask for.

/// Does what the documents of one gateway id ask for.
///
/// # Errors
/// When it has to be done again.
pub async fn reconcile(mongo: &Mongo, gateway_id: &str, ctx: &Context) -> Result<Option<Duration>, Error> {
    if !mongo.known.is_complete() {
        mongo.waits(document_key(gateway_id));
        return Ok(None);
    }
    let outcome = several_looks(mongo, gateway_id, ctx).await;
    match outcome {
        // Woken when it is back.
        Err(Error::Registry(words)) if mongo.breaker.words().is_some() => {
            tracing::debug!(gateway_id, "its documents wait for the registry: {words}");
            Ok(None)
        }
        outcome => outcome,
    }
}

/// An object that was applied is looked at once more: its environments follow.
async fn several_looks(mongo: &Mongo, gateway_id: &str, ctx: &Context) -> Result<Option<Duration>, Error> {
    const LOOKS: usize = 3;
    let mut later = None;
    for _ in 0..LOOKS {
        let documents = mongo.known.of(gateway_id);
        let objects = gather(mongo, ctx, gateway_id, &documents);
        wait_for_strangers(mongo, gateway_id, &objects);
        let acts = intent::decide(gateway_id, &documents, &objects, &mongo.defaults);
        let mut applied = false;
        for act in acts {
            match carry_out(mongo, ctx, gateway_id, &objects, act).await? {
                Done::Applied => applied = true,
                Done::Refused(again) => later = again.or(later),
                Done::Else => {}
            }
        }
        if !applied {
            break;
        }
    }
    Ok(later)
}

/// What came of an act.
enum Done {
    /// An object was applied.
    Applied,
    /// An object was refused; perhaps it is not after so long.
    Refused(Option<Duration>),
    /// Something else.
    Else,
}

/// The objects that have to do with a gateway id.
fn gather(mongo: &Mongo, ctx: &Context, gateway_id: &str, documents: &Documents) -> Objects {
    let places = documents.gateways.iter().filter_map(|read| read.as_ref().ok());
    let mut holders: Vec<ObjectKey> = places.map(|document| intent::place(document, &mongo.defaults)).collect();
    holders.extend(mongo.made().places_of(gateway_id));
    holders.extend(intent::mirrored(gateway_id));
    holders.sort();
    holders.dedup();
    let gateways: Vec<ApiGateway> = holders.iter().filter_map(|holder| gateway_at(mongo, ctx, holder)).collect();
    let mut environments = Vec::new();
    for gateway in &gateways {
        let (namespace, name) = (gateway.namespace_or_empty(), gateway.name_or_empty());
        for document in documents.environments() {
            let holder = ObjectKey::new(namespace, intent::environment_name(name, &document.name));
            environments.extend(environment_at(mongo, &holder));
        }
    }
    let watched = mongo.scopes.get().and_then(|scopes| {
        let name = |(scope, _): &(Scope, _)| match scope {
            Scope::Cluster => None,
            Scope::Namespace(name) => Some(name.clone()),
        };
        scopes.iter().map(name).collect::<Option<Vec<_>>>()
    });
    Objects { gateways, environments, watched }
}

fn gateway_at(mongo: &Mongo, ctx: &Context, holder: &ObjectKey) -> Option<ApiGateway> {
    let cached = mongo.caches(&holder.namespace)?.gateway(holder);
    match cached {
        Some(cached) => Some(ctx.memory.newer_than(&cached).map_or(cached, |newer| ApiGateway::clone(&newer))),
        None => mongo.made().fresh_gateways.get(holder).cloned(),
    }
}

fn environment_at(mongo: &Mongo, holder: &ObjectKey) -> Option<Environment> {
    let cached = mongo.caches(&holder.namespace)?.environment(holder);
    cached.or_else(|| mongo.made().fresh_environments.get(holder).cloned())
}

/// Whoever is in an object's place is waited for.
fn wait_for_strangers(mongo: &Mongo, gateway_id: &str, objects: &Objects) {
    if gateway_id.contains('.') {
        // That of a mirror is its own.
        return;
    }
    let mut made = mongo.made();
    for gateway in objects.gateways.iter().filter(|gateway| platforms_id(gateway) != Some(gateway_id)) {
        made.block(Collection::Gateways, ObjectKey::of(gateway), gateway_id);
    }
    let strangers = objects.environments.iter().filter(|environment| !intent::carries(environment.meta(), gateway_id));
    for environment in strangers {
        made.block(Collection::Environments, ObjectKey::of(environment), gateway_id);
    }
}

async fn carry_out(mongo: &Mongo, ctx: &Context, gateway_id: &str, objects: &Objects, act: Act) -> Result<Done, Error> {
    match act {
        Act::Apply(apply) => match apply.collection {
            Collection::Gateways => self::apply::<ApiGateway>(mongo, ctx, gateway_id, apply).await,
            Collection::Environments => self::apply::<Environment>(mongo, ctx, gateway_id, apply).await,
        },
        Act::DeleteGateway(place) => {
            if let Some(gateway) = objects.gateways.iter().find(|gateway| ObjectKey::of(*gateway) == place) {
                let ObjectKey { namespace, name } = &place;
                ctx.calls.delete::<ApiGateway>(namespace, name, gateway.uid()).await?;
                tracing::info!(gateway_id, gateway = gateway.key(), "deleted, as its document asks");
            }
            Ok(Done::Else)
        }
        Act::DeleteEnvironment(place) => {
            let is_this = |environment: &&Environment| ObjectKey::of(*environment) == place;
            if let Some(environment) = objects.environments.iter().find(is_this) {
                let ObjectKey { namespace, name } = &place;
                let uid = environment.metadata.uid.as_deref().unwrap_or_default();
                ctx.calls.delete::<Environment>(namespace, name, uid).await?;
            }
            Ok(Done::Else)
        }
        Act::Answer(answer) => {
            self::answer(mongo, gateway_id, answer).await?;
            Ok(Done::Else)
        }
        Act::Remove(collection, filter) => {
            let filters = match collection {
                Collection::Gateways => (Some(filter), None),
                Collection::Environments => (None, Some(filter)),
            };
            mongo.remove(gateway_id, filters.0, filters.1).await.map_err(|error| waits(mongo, gateway_id, &error))?;
            Ok(Done::Else)
        }
        Act::Look(place) => {
            mongo.wake_gateway(&place);
            Ok(Done::Else)
        }
    }
}

/// Who cannot write to the registry waits for it.
fn waits(mongo: &Mongo, gateway_id: &str, error: &RegistryError) -> Error {
    mongo.waits(document_key(gateway_id));
    Error::Registry(error.to_string())
}

async fn answer(mongo: &Mongo, gateway_id: &str, answer: AnswerIn) -> Result<(), Error> {
    let AnswerIn { collection, filter, answer } = answer;
    let update = match &answer {
        Some(answer) => doc! { "$set": { "error": Bson::from(answer) } },
        None => doc! { "$unset": { "error": "" } },
    };
    let missed = match collection {
        Collection::Gateways => mongo.change::<GatewayDocument>("answer", filter, update).await,
        Collection::Environments => mongo.change::<EnvironmentDocument>("answer", filter, update).await,
    };
    let read = match missed {
        Ok(true) => {
            if let Some(Answer { reason, message }) = answer {
                tracing::warn!(gateway_id, reason, "a document was refused: {message}");
            }
            return Ok(());
        }
        // The platform wrote meanwhile: what it says now is looked at.
        Ok(false) => mongo.read_again(gateway_id).await,
        Err(error) => Err(error),
    };
    read.map_err(|error| waits(mongo, gateway_id, &error))
}

/// An object that documents may ask for.
trait Asked: Object {
    fn keep(mongo: &Mongo, place: &ObjectKey, object: Self);
}

impl Asked for ApiGateway {
    fn keep(mongo: &Mongo, place: &ObjectKey, object: Self) {
        // Its place is known from now on, whatever the cache says.
        mongo.applied(place, object);
    }
}

impl Asked for Environment {
    fn keep(mongo: &Mongo, place: &ObjectKey, object: Self) {
        if mongo.caches(&place.namespace).is_some_and(|caches| caches.environment(&place).is_none()) {
            mongo.made().fresh_environments.insert(place.clone(), object);
        }
    }
}

async fn apply<K: Asked>(mongo: &Mongo, ctx: &Context, gateway_id: &str, apply: Apply) -> Result<Done, Error> {
    let Apply { collection, holder: place, object, exists, reverts, document } = apply;
    let refused = mongo.made().refusal(collection, &place, &object);
    if let Some(refusal) = refused {
        return refuse(mongo, gateway_id, collection, document, refusal, None).await;
    }
    // The cache may not have yet what somebody else made a moment ago.
    if !exists
        && let Some(found) = ctx.calls.get::<K>(&place.namespace, &place.name).await?
        && !intent::carries(found.meta(), gateway_id)
    {
        return Err(Error::Stale);
    }
    match ctx.calls.apply::<K>(FIELD_MANAGER, &place.namespace, &place.name, &object).await {
        Ok(applied) => {
            if let Some(path) = reverts {
                let note = Note {
                    warning: true,
                    reason: Reason::EditReverted,
                    message: format!(
                        "{path} is the platform's: an edit was undone. Change the document {gateway_id:?}"
                    ),
                };
                ctx.herald.tell(&note, applied.object_ref(&()));
            }
            K::keep(mongo, &place, applied);
            Ok(Done::Applied)
        }
        Err(error) if is_refusal(&error) => {
            let refusal = Answer { reason: REFUSED.to_owned(), message: say(&error.to_string()) };
            let again = (error.code() == Some(403)).then_some(FORBIDDEN_FOR);
            mongo.made().refuse(collection, &place, &object, refusal.clone(), again);
            refuse(mongo, gateway_id, collection, document, refusal, again).await
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether the API server will not have an object, in words that are for the document. A namespace that is
/// missing or going is no fault of the document.
fn is_refusal(error: &CallError) -> bool {
    if error.is_in_a_namespace_that_goes() {
        return false;
    }
    match error.code() {
        Some(400 | 403 | 422) => true,
        // What server-side apply cannot type: a field that is not in the schema, or a value of another type.
        Some(500) => error.to_string().contains("failed to create typed patch object"),
        _ => false,
    }
}

async fn refuse(
    mongo: &Mongo,
    gateway_id: &str,
    collection: Collection,
    filter: Document,
    refusal: Answer,
    again: Option<Duration>,
) -> Result<Done, Error> {
    let documents = mongo.known.of(gateway_id);
    let id = filter.get("_id").cloned().unwrap_or(Bson::Null);
    let said = match collection {
        Collection::Gateways => {
            let mut readable = documents.gateways.iter().filter_map(|read| read.as_ref().ok());
            readable.find(|document| document.id == id).and_then(|document| document.error.clone())
        }
        Collection::Environments => {
            documents.environments().find(|document| document.id == id).and_then(|document| document.error.clone())
        }
    };
    if said.as_ref() != Some(&refusal) {
        answer(mongo, gateway_id, AnswerIn { collection, filter, answer: Some(refusal) }).await?;
    }
    Ok(Done::Refused(again))
}
