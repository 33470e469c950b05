//! The pass over the documents of one gateway id: gather, decide, carry out.
//!
//! **Architecture invariant:** `registry/intent` decides; this module only reads objects and carries out the
//! actions.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;
use mongodb::bson::{Bson, doc};

use crate::api::{ApiGateway, Completeness, Environment, ObjectKey, Reason, uid_of};
use crate::cluster::calls::{CallError, Object};
use crate::control::context::Context;
use crate::control::error::Error;
use crate::decide::{PlannedEvent, say};
use crate::metrics::labels::Operation;
use crate::queue::{Requeue, Stage};
use crate::registry::document::{Collection, DocumentError, Documents, EnvironmentDocument, GatewayDocument};
use crate::registry::identity::{self, platforms_id};
use crate::registry::intent::{self, Action, Apply, ErrorUpdate, Objects, REFUSED, Source};
use crate::registry::mongo::{Mongo, document_key};
use crate::registry::store::RegistryError;

/// The field manager of fields that documents determine.
const FIELD_MANAGER: &str = "phasegate-registry";

/// How long to wait after a refusal that may not be the document's fault: a quota or a policy.
const FORBIDDEN_FOR: Duration = Duration::from_secs(300);

/// Does what the documents of one gateway id ask for. Returns when to requeue them.
///
/// # Errors
/// If the pass must be repeated.
pub async fn reconcile(ctx: &Context, mongo: &Mongo, gateway_id: &str) -> Result<Requeue, Error> {
    if !mongo.cache.is_complete() {
        mongo.wait(document_key(gateway_id));
        return Ok(Requeue::OnChange);
    }
    match several_passes(mongo, gateway_id, ctx).await {
        // Documents wait for an unavailable registry. Any other failure is retried.
        Err(Error::Registry(words)) if mongo.breaker.words().is_some() => {
            tracing::debug!(gateway_id, "writing its documents failed, retrying: {words}");
            mongo.wait(document_key(gateway_id));
            Ok(Requeue::OnChange)
        }
        Err(Error::Call(error)) => Error::again(error),
        outcome => outcome,
    }
}

/// Repeats the pass after an object was applied, since its environments follow.
async fn several_passes(mongo: &Mongo, gateway_id: &str, ctx: &Context) -> Result<Requeue, Error> {
    const PASSES: usize = 3;
    let mut later = None;
    let mut budget = CallBudget::default();
    if mongo.cache.of(gateway_id).wait_for_room() {
        if mongo.cache.has_room() {
            mongo.read_again(gateway_id).await.map_err(write_error)?;
        }
        later = Some(FORBIDDEN_FOR);
    }
    for _ in 0..PASSES {
        let documents = mongo.cache.of(gateway_id);
        let objects = gather(mongo, ctx, gateway_id, &documents).await?;
        wait_for_foreign_objects(mongo, gateway_id, &objects);
        let actions = intent::decide(gateway_id, &documents, &objects, &mongo.defaults);
        let mut applied = false;
        for action in actions {
            match carry_out(mongo, ctx, gateway_id, &objects, action).await? {
                ActionResult::Applied => applied = true,
                ActionResult::Refused(again) => later = again.or(later),
                ActionResult::CacheBehind => return Ok(Requeue::CacheBehind),
                ActionResult::Known(again) => {
                    later = again.into_iter().chain(later).min();
                    continue;
                }
                ActionResult::Other => {}
            }
            if budget.is_spent_after_one_more() {
                return Ok(Requeue::InTurn(Stage::UnderWay));
            }
        }
        if !applied {
            break;
        }
    }
    Ok(later.into())
}

/// Bounds the calls of one pass. A gateway may have any number of environment documents, and others wait.
#[derive(Default)]
struct CallBudget {
    calls: usize,
}

impl CallBudget {
    const CALLS: usize = 200;

    fn is_spent_after_one_more(&mut self) -> bool {
        self.calls += 1;
        self.calls >= Self::CALLS
    }
}

/// The result of an action.
enum ActionResult {
    /// An object was applied.
    Applied,
    /// An object was refused, and may be accepted after this time.
    Refused(Option<Duration>),
    /// An object is known to be refused, so nothing was sent; it may be accepted after this time.
    Known(Option<Duration>),
    /// The cache is behind the API server.
    CacheBehind,
    /// Anything else.
    Other,
}

/// The objects related to a gateway id.
async fn gather(mongo: &Mongo, ctx: &Context, gateway_id: &str, documents: &Documents) -> Result<Objects, CallError> {
    let documented: Vec<&GatewayDocument> = documents.gateways.iter().filter_map(|read| read.as_ref().ok()).collect();
    let mut keys: Vec<ObjectKey> =
        documented.iter().map(|document| identity::place(document, &mongo.defaults)).collect();
    // Anybody may write the id into an object. Outside its own place, an object counts only if a document
    // records its uid.
    let is_recorded = |place: &ObjectKey| {
        let uid = uid_at(mongo, ctx, place);
        uid.is_some() && documented.iter().any(|document| document.uid == uid)
    };
    keys.extend(mongo.applied.places_of(gateway_id).into_iter().filter(is_recorded));
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
        None => mongo.applied.fresh_gateway(place)?.metadata.uid,
    }
}

async fn gateway_at(mongo: &Mongo, ctx: &Context, place: &ObjectKey) -> Result<Option<ApiGateway>, CallError> {
    let Some(caches) = ctx.scopes.of(&place.namespace) else { return Ok(None) };
    let guarded = caches.guarded_gateway(place);
    match guarded.as_ref().and_then(|guarded| Some((guarded.0.as_ref().ok()?, guarded.1))) {
        // All of it is compared with what its document asks for.
        Some((_, Completeness::InPart)) => ctx.calls.get(place).await,
        Some((cached, Completeness::Whole)) => {
            let newer = ctx.memory.newer_than(cached);
            Ok(Some(ApiGateway::clone(newer.as_deref().unwrap_or(cached))))
        }
        None => Ok(mongo.applied.fresh_gateway(place)),
    }
}

fn environment_at(mongo: &Mongo, ctx: &Context, place: &ObjectKey) -> Option<Environment> {
    let cached = ctx.scopes.of(&place.namespace)?.environment(place);
    cached.or_else(|| mongo.applied.fresh_environment(place))
}

/// Waits for foreign objects to leave the places of the documents' objects.
fn wait_for_foreign_objects(mongo: &Mongo, gateway_id: &str, objects: &Objects) {
    if gateway_id.contains('.') {
        // A mirror's place is its own.
        return;
    }
    for gateway in objects.gateways.iter().filter(|gateway| platforms_id(gateway) != Some(gateway_id)) {
        mongo.applied.block(Collection::Gateways, ObjectKey::of(gateway), gateway_id);
    }
    let foreign = objects.environments.iter().filter(|environment| !identity::carries(environment.meta(), gateway_id));
    for environment in foreign {
        mongo.applied.block(Collection::Environments, ObjectKey::of(environment), gateway_id);
    }
}

async fn carry_out(
    mongo: &Mongo,
    ctx: &Context,
    gateway_id: &str,
    objects: &Objects,
    action: Action,
) -> Result<ActionResult, Error> {
    match action {
        Action::Apply(apply) => match apply.collection {
            Collection::Gateways => self::apply::<ApiGateway>(mongo, ctx, gateway_id, apply).await,
            Collection::Environments => self::apply::<Environment>(mongo, ctx, gateway_id, apply).await,
        },
        Action::DeleteGateway(place) => {
            if let Some(gateway) = objects.gateways.iter().find(|gateway| ObjectKey::of(*gateway) == place) {
                ctx.calls.delete::<ApiGateway>(&place, gateway.uid()).await?;
                tracing::info!(gateway_id, gateway = gateway.key(), "deleted as its document requests");
            }
            Ok(ActionResult::Other)
        }
        Action::DeleteEnvironment(place) => {
            let is_this = |environment: &&Environment| ObjectKey::of(*environment) == place;
            if let Some(environment) = objects.environments.iter().find(is_this) {
                let uid = uid_of(&environment.metadata);
                ctx.calls.delete::<Environment>(&place, uid).await?;
            }
            Ok(ActionResult::Other)
        }
        Action::SetError(answer) => self::answer(mongo, gateway_id, answer).await,
        Action::Remove(collection, filter) => {
            let filters = match collection {
                Collection::Gateways => (Some(filter), None),
                Collection::Environments => (None, Some(filter)),
            };
            mongo.remove(gateway_id, filters.0, filters.1).await.map_err(write_error)?;
            Ok(ActionResult::Other)
        }
        Action::Requeue(place) => {
            mongo.requeue_gateway(&place);
            Ok(ActionResult::Other)
        }
    }
}

fn write_error(error: RegistryError) -> Error {
    Error::Registry(error.to_string())
}

async fn answer(mongo: &Mongo, gateway_id: &str, answer: ErrorUpdate) -> Result<ActionResult, Error> {
    let ErrorUpdate { collection, filter, answer } = answer;
    let asked = filter.to_string();
    if let Some(left) = mongo.applied.answer_waits(&asked, Instant::now()) {
        return Ok(ActionResult::Known(Some(left)));
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
            if let Some(DocumentError { reason, message }) = answer {
                tracing::warn!(gateway_id, reason, "rejected a document: {message}");
            }
            return Ok(ActionResult::Other);
        }
        // This document has no room for an error, or the platform's rules refuse one. Others are handled.
        Err(RegistryError::Refused(words) | RegistryError::Duplicate(words)) => {
            tracing::error!(
                gateway_id,
                "failed to write the answer to a document: {}. Correct or remove the document: {asked}",
                say(&words)
            );
            let now = Instant::now();
            mongo.applied.cannot_answer(asked, now, now + FORBIDDEN_FOR);
            return Ok(ActionResult::Refused(Some(FORBIDDEN_FOR)));
        }
        // The platform wrote meanwhile: read what it says now.
        Ok(false) => mongo.read_again(gateway_id).await,
        Err(error) => Err(error),
    };
    read.map(|()| ActionResult::Other).map_err(write_error)
}

/// A kind of object that documents may ask for.
trait DocumentedObject: Object {
    fn keep(ctx: &Context, mongo: &Mongo, place: &ObjectKey, object: Self);
}

impl DocumentedObject for ApiGateway {
    fn keep(ctx: &Context, mongo: &Mongo, place: &ObjectKey, object: Self) {
        // Its place is known from now on, whatever the cache says.
        let is_cached = ctx.scopes.of(&place.namespace).is_some_and(|caches| caches.gateway(place).is_some());
        mongo.applied.applied_gateway(place, object, is_cached);
    }
}

impl DocumentedObject for Environment {
    fn keep(ctx: &Context, mongo: &Mongo, place: &ObjectKey, object: Self) {
        // An environment in an unwatched namespace never appears in a cache.
        let is_cached = ctx.scopes.of(&place.namespace).is_none_or(|caches| caches.environment(place).is_some());
        mongo.applied.applied_environment(place, object, is_cached);
    }
}

async fn apply<K: DocumentedObject>(
    mongo: &Mongo,
    ctx: &Context,
    gateway_id: &str,
    apply: Apply,
) -> Result<ActionResult, Error> {
    let Apply { collection, place, object, exists, reverts, source } = apply;
    if let Some((refusal, again)) = mongo.applied.refusal(collection, &place, &object, Instant::now()) {
        return refuse(mongo, gateway_id, collection, source, refusal, again).await.map(|_| ActionResult::Known(again));
    }
    let _guard = match (exists, mongo.applied.begin(collection, &place)) {
        (false, None) => return Ok(ActionResult::CacheBehind),
        (_, guard) => guard,
    };
    // The cache may not show yet what somebody else just created.
    if !exists
        && let Some(found) = ctx.calls.get::<K>(&place).await?
        && !identity::carries(found.meta(), gateway_id)
    {
        return Ok(ActionResult::CacheBehind);
    }
    match ctx.calls.apply::<K>(FIELD_MANAGER, &place, &object).await {
        Ok(applied) => {
            if let Some(path) = reverts {
                record_reverted_edit(ctx, gateway_id, &path, applied.object_ref(&()));
            }
            K::keep(ctx, mongo, &place, applied);
            Ok(ActionResult::Applied)
        }
        Err(error) if is_refusal(&error) => {
            let refusal = DocumentError { reason: REFUSED.to_owned(), message: say(&error.to_string()) };
            let again = (error.is_denial() || error.code() == Some(403)).then_some(FORBIDDEN_FOR);
            let until = again.map(|time| Instant::now() + time);
            mongo.applied.refuse(collection, &place, &object, refusal.clone(), until);
            refuse(mongo, gateway_id, collection, source, refusal, again).await
        }
        Err(error) => Err(error.into()),
    }
}

fn record_reverted_edit(ctx: &Context, gateway_id: &str, path: &str, about: ObjectReference) {
    let message =
        format!("reverted an edit of {path}: the platform's document decides it. Change document {gateway_id:?}");
    ctx.recorder.record(&PlannedEvent { warning: true, reason: Reason::EditReverted, message }, about);
}

/// Whether the API server refuses an object for a reason that the document can fix. A missing or terminating
/// namespace is none.
fn is_refusal(error: &CallError) -> bool {
    if error.is_in_a_namespace_that_goes() {
        return false;
    }
    match error.code() {
        _ if error.is_denial() => true,
        Some(400 | 403 | 422) => true,
        // Server-side apply cannot type the object: an unknown field, or a value of the wrong type.
        Some(500) => error.to_string().contains("failed to create typed patch object"),
        _ => false,
    }
}

/// Writes the refusal into the document, unless it is there already.
async fn refuse(
    mongo: &Mongo,
    gateway_id: &str,
    collection: Collection,
    source: Source,
    refusal: DocumentError,
    again: Option<Duration>,
) -> Result<ActionResult, Error> {
    let Source { filter, current_error } = source;
    if current_error.as_ref() != Some(&refusal) {
        answer(mongo, gateway_id, ErrorUpdate { collection, filter, answer: Some(refusal) }).await?;
    }
    Ok(ActionResult::Refused(again))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_over_documents_without_number_gives_others_their_turn() {
        let mut budget = CallBudget::default();
        let calls = (1..).find(|_| budget.is_spent_after_one_more());
        assert_eq!(calls, Some(200));
    }
}
