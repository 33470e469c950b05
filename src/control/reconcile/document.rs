//! What the documents of one gateway id ask for: gather, decide, carry out.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;
use mongodb::bson::{Bson, Document, doc};

use crate::api::{ApiGateway, Environment, Extent, ObjectKey, Reason, uid_of};
use crate::cluster::calls::{CallError, Object};
use crate::control::context::Context;
use crate::control::error::Error;
use crate::decide::{Note, say};
use crate::metrics::labels::Operation;
use crate::queue::{Next, Stage};
use crate::registry::document::{Answer, Collection, Documents, EnvironmentDocument, GatewayDocument};
use crate::registry::identity::{self, platforms_id};
use crate::registry::intent::{self, Act, AnswerIn, Apply, Objects, REFUSED};
use crate::registry::mongo::{Mongo, document_key};
use crate::registry::store::RegistryError;

/// The field manager of what documents ask for.
const FIELD_MANAGER: &str = "phasegate-registry";

/// For how long a refusal that may not be the document's fault stands: a quota, a policy.
const FORBIDDEN_FOR: Duration = Duration::from_secs(300);

/// Does what the documents of one gateway id ask for. Returns when to look again.
///
/// # Errors
/// When it has to be done again.
pub async fn reconcile(ctx: &Context, mongo: &Mongo, gateway_id: &str) -> Result<Next, Error> {
    if !mongo.known.is_complete() {
        mongo.wait(document_key(gateway_id));
        return Ok(Next::WhenWoken);
    }
    match several_looks(mongo, gateway_id, ctx).await {
        // Who cannot write to a registry that is away waits for it. Any other failure is tried again.
        Err(Error::Registry(words)) if mongo.breaker.words().is_some() => {
            tracing::debug!(gateway_id, "its documents wait for the registry: {words}");
            mongo.wait(document_key(gateway_id));
            Ok(Next::WhenWoken)
        }
        Err(Error::Call(error)) => Error::again(error),
        outcome => outcome,
    }
}

/// An object that was applied is looked at once more: its environments follow.
async fn several_looks(mongo: &Mongo, gateway_id: &str, ctx: &Context) -> Result<Next, Error> {
    const LOOKS: usize = 3;
    let mut later = None;
    let mut turn = Turn::default();
    for _ in 0..LOOKS {
        let documents = mongo.known.of(gateway_id);
        let objects = gather(mongo, ctx, gateway_id, &documents).await?;
        wait_for_strangers(mongo, gateway_id, &objects);
        let acts = intent::decide(gateway_id, &documents, &objects, &mongo.defaults);
        let mut applied = false;
        for act in acts {
            match carry_out(mongo, ctx, gateway_id, &objects, act).await? {
                Done::Applied => applied = true,
                Done::Refused(again) => later = again.or(later),
                Done::Behind => return Ok(Next::Behind),
                Done::Known(again) => {
                    later = again.into_iter().chain(later).min();
                    continue;
                }
                Done::Else => {}
            }
            if turn.is_over_after_one_more() {
                return Ok(Next::InTurn(Stage::UnderWay));
            }
        }
        if !applied {
            break;
        }
    }
    Ok(later.into())
}

/// How much one pass may ask for. One gateway may have any number of documents of environments, and others wait.
#[derive(Default)]
struct Turn {
    calls: usize,
}

impl Turn {
    const CALLS: usize = 200;

    fn is_over_after_one_more(&mut self) -> bool {
        self.calls += 1;
        self.calls >= Self::CALLS
    }
}

/// What came of an act.
enum Done {
    /// An object was applied.
    Applied,
    /// An object was refused; perhaps it is not after so long.
    Refused(Option<Duration>),
    /// It is known to be refused, and nobody was asked; perhaps it is not after so long.
    Known(Option<Duration>),
    /// The cache is behind the API server.
    Behind,
    /// Something else.
    Else,
}

/// The objects that have to do with a gateway id.
async fn gather(mongo: &Mongo, ctx: &Context, gateway_id: &str, documents: &Documents) -> Result<Objects, CallError> {
    let documented: Vec<&GatewayDocument> = documents.gateways.iter().filter_map(|read| read.as_ref().ok()).collect();
    let mut keys: Vec<ObjectKey> =
        documented.iter().map(|document| identity::place(document, &mongo.defaults)).collect();
    // Anybody may write the id into an object of theirs. Elsewhere only the one that a document records has to do with it.
    let is_recorded = |place: &ObjectKey| {
        let uid = uid_at(mongo, ctx, place);
        uid.is_some() && documented.iter().any(|document| document.uid == uid)
    };
    keys.extend(mongo.made.places_of(gateway_id).into_iter().filter(is_recorded));
    keys.extend(identity::mirrored(gateway_id));
    keys.sort();
    keys.dedup();
    let mut gateways: Vec<ApiGateway> = Vec::new();
    for place in &keys {
        gateways.extend(gateway_at(mongo, ctx, place).await?);
    }
    let mut environments = Vec::new();
    for gateway in &gateways {
        let (namespace, name) = (gateway.namespace_or_empty(), gateway.name_or_empty());
        for document in documents.environments() {
            let place = ObjectKey::new(namespace, identity::environment_name(name, &document.name));
            environments.extend(environment_at(mongo, ctx, &place));
        }
    }
    Ok(Objects { gateways, environments, watched: ctx.scopes.namespaces() })
}

fn uid_at(mongo: &Mongo, ctx: &Context, place: &ObjectKey) -> Option<String> {
    match ctx.scopes.of(&place.namespace)?.guarded_gateway(place) {
        Some(cached) => cached.meta().uid.clone(),
        None => mongo.made.fresh_gateway(place)?.metadata.uid,
    }
}

async fn gateway_at(mongo: &Mongo, ctx: &Context, place: &ObjectKey) -> Result<Option<ApiGateway>, CallError> {
    let Some(caches) = ctx.scopes.of(&place.namespace) else { return Ok(None) };
    let guarded = caches.guarded_gateway(place);
    match guarded.as_ref().and_then(|guarded| Some((guarded.0.as_ref().ok()?, guarded.1))) {
        // All of it is compared with what its document asks for.
        Some((_, Extent::InPart)) => ctx.calls.get(place).await,
        Some((cached, Extent::Whole)) => {
            let newer = ctx.memory.newer_than(cached);
            Ok(Some(ApiGateway::clone(newer.as_deref().unwrap_or(cached))))
        }
        None => Ok(mongo.made.fresh_gateway(place)),
    }
}

fn environment_at(mongo: &Mongo, ctx: &Context, place: &ObjectKey) -> Option<Environment> {
    let cached = ctx.scopes.of(&place.namespace)?.environment(place);
    cached.or_else(|| mongo.made.fresh_environment(place))
}

/// Whoever is in an object's place is waited for.
fn wait_for_strangers(mongo: &Mongo, gateway_id: &str, objects: &Objects) {
    if gateway_id.contains('.') {
        // That of a mirror is its own.
        return;
    }
    for gateway in objects.gateways.iter().filter(|gateway| platforms_id(gateway) != Some(gateway_id)) {
        mongo.made.block(Collection::Gateways, ObjectKey::of(gateway), gateway_id);
    }
    let strangers =
        objects.environments.iter().filter(|environment| !identity::carries(environment.meta(), gateway_id));
    for environment in strangers {
        mongo.made.block(Collection::Environments, ObjectKey::of(environment), gateway_id);
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
                ctx.calls.delete::<ApiGateway>(&place, gateway.uid()).await?;
                tracing::info!(gateway_id, gateway = gateway.key(), "deleted, as its document asks");
            }
            Ok(Done::Else)
        }
        Act::DeleteEnvironment(place) => {
            let is_this = |environment: &&Environment| ObjectKey::of(*environment) == place;
            if let Some(environment) = objects.environments.iter().find(is_this) {
                let uid = uid_of(&environment.metadata);
                ctx.calls.delete::<Environment>(&place, uid).await?;
            }
            Ok(Done::Else)
        }
        Act::Answer(answer) => self::answer(mongo, gateway_id, answer).await,
        Act::Remove(collection, filter) => {
            let filters = match collection {
                Collection::Gateways => (Some(filter), None),
                Collection::Environments => (None, Some(filter)),
            };
            mongo.remove(gateway_id, filters.0, filters.1).await.map_err(unwritten)?;
            Ok(Done::Else)
        }
        Act::Look(place) => {
            mongo.wake_gateway(&place);
            Ok(Done::Else)
        }
    }
}

fn unwritten(error: RegistryError) -> Error {
    Error::Registry(error.to_string())
}

async fn answer(mongo: &Mongo, gateway_id: &str, answer: AnswerIn) -> Result<Done, Error> {
    let AnswerIn { collection, filter, answer } = answer;
    let asked = filter.to_string();
    if let Some(left) = mongo.made.answer_waits(&asked, Instant::now()) {
        return Ok(Done::Known(Some(left)));
    }
    let update = match &answer {
        Some(answer) => doc! { "$set": { "error": Bson::from(answer) } },
        None => doc! { "$unset": { "error": "" } },
    };
    let missed = match collection {
        Collection::Gateways => mongo.change::<GatewayDocument>(Operation::Answer, filter, update).await,
        Collection::Environments => mongo.change::<EnvironmentDocument>(Operation::Answer, filter, update).await,
    };
    let read = match missed {
        Ok(true) => {
            if let Some(Answer { reason, message }) = answer {
                tracing::warn!(gateway_id, reason, "a document was refused: {message}");
            }
            return Ok(Done::Else);
        }
        // One document has no room for an answer, or the platform's rules and indexes have none: others are answered.
        Err(RegistryError::Refused(words) | RegistryError::Duplicate(words)) => {
            tracing::error!(
                gateway_id,
                "a document cannot be answered: {}; correct or remove it: {asked}",
                say(&words)
            );
            let now = Instant::now();
            mongo.made.cannot_answer(asked, now, now + FORBIDDEN_FOR);
            return Ok(Done::Refused(Some(FORBIDDEN_FOR)));
        }
        // The platform wrote meanwhile: what it says now is looked at.
        Ok(false) => mongo.read_again(gateway_id).await,
        Err(error) => Err(error),
    };
    read.map(|()| Done::Else).map_err(unwritten)
}

/// An object that documents may ask for.
trait Asked: Object {
    fn keep(ctx: &Context, mongo: &Mongo, place: &ObjectKey, object: Self);
}

impl Asked for ApiGateway {
    fn keep(ctx: &Context, mongo: &Mongo, place: &ObjectKey, object: Self) {
        // Its place is known from now on, whatever the cache says.
        let is_cached = ctx.scopes.of(&place.namespace).is_some_and(|caches| caches.gateway(place).is_some());
        mongo.made.applied_gateway(place, object, is_cached);
    }
}

impl Asked for Environment {
    fn keep(ctx: &Context, mongo: &Mongo, place: &ObjectKey, object: Self) {
        // One of a namespace that is not watched is never in a cache that would take its place.
        let is_cached = ctx.scopes.of(&place.namespace).is_none_or(|caches| caches.environment(place).is_some());
        mongo.made.applied_environment(place, object, is_cached);
    }
}

async fn apply<K: Asked>(mongo: &Mongo, ctx: &Context, gateway_id: &str, apply: Apply) -> Result<Done, Error> {
    let Apply { collection, place, object, exists, reverts, document } = apply;
    if let Some((refusal, again)) = mongo.made.refusal(collection, &place, &object, Instant::now()) {
        return refuse(mongo, gateway_id, collection, document, refusal, again).await.map(|_| Done::Known(again));
    }
    // The cache may not have yet what somebody else made a moment ago.
    if !exists
        && let Some(found) = ctx.calls.get::<K>(&place).await?
        && !identity::carries(found.meta(), gateway_id)
    {
        return Ok(Done::Behind);
    }
    match ctx.calls.apply::<K>(FIELD_MANAGER, &place, &object).await {
        Ok(applied) => {
            if let Some(path) = reverts {
                tell_reverted(ctx, gateway_id, &path, applied.object_ref(&()));
            }
            K::keep(ctx, mongo, &place, applied);
            Ok(Done::Applied)
        }
        Err(error) if is_refusal(&error) => {
            let refusal = Answer { reason: REFUSED.to_owned(), message: say(&error.to_string()) };
            let again = (error.is_denial() || error.code() == Some(403)).then_some(FORBIDDEN_FOR);
            let until = again.map(|time| Instant::now() + time);
            mongo.made.refuse(collection, &place, &object, refusal.clone(), until);
            refuse(mongo, gateway_id, collection, document, refusal, again).await
        }
        Err(error) => Err(error.into()),
    }
}

fn tell_reverted(ctx: &Context, gateway_id: &str, path: &str, about: ObjectReference) {
    let message = format!("{path} is the platform's: an edit was undone. Change the document {gateway_id:?}");
    ctx.herald.tell(&Note { warning: true, reason: Reason::EditReverted, message }, about);
}

/// Whether the API server will not have an object, in words that are for the document. A namespace that is
/// missing or going is no fault of the document.
fn is_refusal(error: &CallError) -> bool {
    if error.is_in_a_namespace_that_goes() {
        return false;
    }
    match error.code() {
        _ if error.is_denial() => true,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_over_documents_without_number_gives_others_their_turn() {
        let mut turn = Turn::default();
        let calls = (1..).find(|_| turn.is_over_after_one_more());
        assert_eq!(calls, Some(200));
    }
}
