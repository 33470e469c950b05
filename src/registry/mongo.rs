//! A platform's MongoDB as a registry: what is known of it, the steps of gateways' plans, and whom to wake.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use mongodb::bson::{Document, doc};
use serde_json::Value;

use super::breaker::Breaker;
use super::config::Settings;
use super::document::{Answer, Documents, EnvironmentDocument, GatewayDocument, Read};
use super::intent::{Collection, Defaults, mirrored};
use super::known::{self, Begun, Concerned, Known, Shelved};
use super::report::{self, EnvironmentView, Identity, Situation, mirrored_id};
use super::store::{RegistryError, Store, Stored};
use crate::api::{ApiGateway, Environment, GATEWAY_ID_ANNOTATION, ObjectKey, Phase};
use crate::children;
use crate::cluster::lease::Claim;
use crate::control::watch::{Caches, Scope};
use crate::control::work::WorkQueue;
use crate::decide::Step;
use crate::decide::observed::RegistryFacts;
use crate::metrics::Metrics;
use crate::queue::{Key, Kind, Stage};

/// A platform's MongoDB.
pub struct Mongo {
    /// Bounded calls.
    pub store: Store,
    /// Whether it answers.
    pub breaker: Breaker,
    /// The documents as they were last seen.
    pub known: Known,
    /// What documents that say nothing mean.
    pub defaults: Defaults,
    /// How often the collections are read where there are no change streams.
    pub scan_interval: Duration,
    /// What is watched, once everything was listed.
    pub scopes: OnceLock<Vec<(Scope, Arc<Caches>)>>,
    /// What of the documents became objects.
    pub objects: Mutex<Made>,
    /// Shows whether the database answers.
    pub metrics: Metrics,
    queue: WorkQueue,
    waiting: Mutex<HashSet<Key>>,
}

/// What became of documents, as far as caches do not say it.
#[derive(Default)]
pub struct Made {
    /// Where the gateways of an id are.
    of_id: HashMap<String, HashMap<ObjectKey, Seen>>,
    ids: HashMap<ObjectKey, String>,
    /// Gateways that were applied and that the cache may not have yet.
    pub fresh_gateways: HashMap<ObjectKey, ApiGateway>,
    /// Environments, likewise.
    pub fresh_environments: HashMap<ObjectKey, Environment>,
    /// Ids that wait for whoever is in their object's place.
    blocked: HashMap<(Collection, ObjectKey), BTreeSet<String>>,
    /// What the API server refused.
    refused: HashMap<(Collection, ObjectKey), Refused>,
}

/// What of an object intake looks at, but for its place: so that a status is no news.
type Seen = u64;

struct Refused {
    object: String,
    answer: Answer,
    until: Option<Instant>,
}

fn seen(meta: &ObjectMeta) -> Seen {
    let mut hasher = DefaultHasher::new();
    (&meta.uid, meta.generation, &meta.labels, &meta.annotations).hash(&mut hasher);
    (meta.deletion_timestamp.is_some(), &meta.finalizers).hash(&mut hasher);
    hasher.finish()
}

impl Mongo {
    /// A registry of which nothing is known yet.
    pub fn new(settings: Settings, claim: Claim, queue: WorkQueue, metrics: Metrics) -> Self {
        let breaker = Breaker::default();
        Self {
            defaults: settings.defaults.clone(),
            scan_interval: settings.scan_interval,
            store: Store::new(settings, claim, breaker.clone(), metrics.clone()),
            breaker,
            known: Known::default(),
            scopes: OnceLock::new(),
            objects: Mutex::default(),
            metrics,
            queue,
            waiting: Mutex::default(),
        }
    }

    /// What is known of what was made.
    pub fn made(&self) -> MutexGuard<'_, Made> {
        // Each use leaves it whole.
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The caches of the scope that a namespace is in.
    pub fn caches(&self, namespace: &str) -> Option<&Arc<Caches>> {
        let in_scope = |(scope, _): &&(Scope, Arc<Caches>)| match scope {
            Scope::Cluster => true,
            Scope::Namespace(name) => name == namespace,
        };
        self.scopes.get()?.iter().find(in_scope).map(|(_, caches)| caches)
    }

    /// Why it cannot be asked now.
    pub fn unavailable(&self) -> Option<String> {
        let unread = || (!self.known.is_complete()).then(|| "its documents have not been read yet".to_owned());
        self.breaker.words().or_else(unread)
    }

    // Facts.

    /// What is known of a gateway.
    pub fn facts(&self, gateway: &ApiGateway, environments: &[EnvironmentView]) -> RegistryFacts {
        let unavailable = self.unavailable();
        if unavailable.is_some() {
            self.waits(gateway_key(&ObjectKey::of(gateway)));
        }
        let facts = if self.known.is_complete() {
            let documents = self.known.of(&Identity::of(gateway).gateway_id);
            self.situation(gateway, environments, &documents).facts()
        } else {
            nothing_known(gateway, environments)
        };
        RegistryFacts { unavailable, ..facts }
    }

    fn situation<'a>(
        &'a self,
        gateway: &'a ApiGateway,
        environments: &'a [EnvironmentView],
        documents: &'a Documents,
    ) -> Situation<'a> {
        Situation { gateway, environments, documents, defaults: &self.defaults }
    }

    // Steps.

    /// Carries out one step of a gateway's plan.
    ///
    /// # Errors
    /// When it was not carried out.
    pub async fn carry_out(
        &self,
        gateway: &ApiGateway,
        environments: &[EnvironmentView],
        step: Step,
    ) -> Result<(), RegistryError> {
        match step {
            Step::Record => self.record(gateway, environments).await,
            Step::Report => self.report(gateway, environments).await,
            Step::ActivateDocuments => self.switch(gateway, environments, true).await,
            Step::DeactivateDocuments => self.switch(gateway, environments, false).await,
            Step::Forget => self.forget(gateway, environments).await,
            Step::Create(_)
            | Step::Update(_)
            | Step::Delete(_)
            | Step::ActivateEnvironments
            | Step::DeactivateEnvironments
            | Step::AddFinalizer
            | Step::RemoveFinalizer
            | Step::ReadEvents => Ok(()),
        }
    }

    async fn record(&self, gateway: &ApiGateway, environments: &[EnvironmentView]) -> Result<(), RegistryError> {
        let identity = Identity::of(gateway);
        let id = &identity.gateway_id;
        let now = Timestamp::now();
        let documents = self.known.of(id);
        let situation = self.situation(gateway, environments, &documents);
        if !situation.is_gateway_recorded() {
            let taken = if documents.gateways.is_empty() {
                false
            } else {
                let write = situation.take_over(now);
                self.change::<GatewayDocument>("record", write.filter, write.update).await?
            };
            if !taken && identity.platforms {
                self.read_again(id).await?;
            } else if !taken {
                self.insert::<GatewayDocument>(id, situation.first_document(now)).await?;
            }
        }
        for (view, document) in situation.unrecorded_environments() {
            let Some(document) = document else {
                self.insert::<EnvironmentDocument>(id, situation.first_environment(view, now)).await?;
                continue;
            };
            let update = match &view.host {
                Some(host) => doc! { "$set": { "host": host } },
                None => doc! { "$unset": { "host": "" } },
            };
            let filter = doc! { "_id": document.id.clone() };
            if !self.change::<EnvironmentDocument>("record", filter, update).await? {
                self.read_again(id).await?;
            }
        }
        for document in situation.surplus_environments() {
            self.store.remove::<EnvironmentDocument>(doc! { "_id": document.id.clone() }).await?;
            EnvironmentDocument::shelf(&self.known).forget(&document.id);
        }
        let documents = self.known.of(id);
        let recorded = self.situation(gateway, environments, &documents).facts().recorded;
        if recorded { Ok(()) } else { Err(RegistryError::Changed) }
    }

    /// Tells the last transition. A miss means that the platform wrote meanwhile: its word is read, and stands.
    async fn report(&self, gateway: &ApiGateway, environments: &[EnvironmentView]) -> Result<(), RegistryError> {
        const TRIES: usize = 3;
        let id = Identity::of(gateway).gateway_id;
        for _ in 0..TRIES {
            let documents = self.known.of(&id);
            let situation = self.situation(gateway, environments, &documents);
            let Some(write) = situation.report(Timestamp::now()) else { return Ok(()) };
            if !self.change::<GatewayDocument>("report", write.filter, write.update).await? {
                self.read_again(&id).await?;
            }
        }
        let documents = self.known.of(&id);
        if self.situation(gateway, environments, &documents).report(Timestamp::now()).is_none() {
            Ok(())
        } else {
            Err(RegistryError::Changed)
        }
    }

    async fn switch(
        &self,
        gateway: &ApiGateway,
        environments: &[EnvironmentView],
        active: bool,
    ) -> Result<(), RegistryError> {
        let id = Identity::of(gateway).gateway_id;
        let documents = self.known.of(&id);
        let Some(write) = self.situation(gateway, environments, &documents).switch(active) else { return Ok(()) };
        let operation = if active { "activate" } else { "deactivate" };
        let names = write.names.len();
        let begun = self.begin::<EnvironmentDocument>();
        let written = self.store.change_all::<EnvironmentDocument>(operation, write.filter, write.update).await?;
        if usize::try_from(written).is_ok_and(|written| written == names) {
            for document in documents.environments().filter(|document| write.names.contains(&document.name)) {
                let now = EnvironmentDocument {
                    state: Some(if active { report::ACTIVE } else { report::INACTIVE }.to_owned()),
                    uid: Some(gateway.uid().to_owned()),
                    seq: Some(report::seq(gateway)),
                    ..document.clone()
                };
                self.take_in(begun, Ok(now)).await?;
            }
            return Ok(());
        }
        // Somebody else wrote some of them meanwhile.
        let begun = self.begin::<EnvironmentDocument>();
        let now = self.store.find::<EnvironmentDocument>(doc! { "gatewayId": &id }).await?;
        EnvironmentDocument::shelf(&self.known).replace_of(begun, &id, now);
        Ok(())
    }

    async fn forget(&self, gateway: &ApiGateway, environments: &[EnvironmentView]) -> Result<(), RegistryError> {
        let id = Identity::of(gateway).gateway_id;
        let documents = self.known.of(&id);
        let Some(forget) = self.situation(gateway, environments, &documents).to_forget() else { return Ok(()) };
        self.remove(&id, forget.gateway, forget.environments).await
    }

    /// Removes documents: those of environments first, or nothing would find them again.
    ///
    /// # Errors
    /// When they were not removed.
    pub async fn remove(
        &self,
        gateway_id: &str,
        gateway: Option<Document>,
        environments: Option<Document>,
    ) -> Result<(), RegistryError> {
        if let Some(filter) = &gateway {
            // The platform may want it again.
            let still = self.store.find::<GatewayDocument>(filter.clone()).await?;
            if still.is_empty() {
                return self.read_again(gateway_id).await;
            }
        }
        if let Some(filter) = environments {
            self.store.remove::<EnvironmentDocument>(filter).await?;
        }
        if let Some(filter) = gateway {
            self.store.remove::<GatewayDocument>(filter).await?;
        }
        self.read_again(gateway_id).await
    }

    /// Reads all about a gateway id.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn read_again(&self, gateway_id: &str) -> Result<(), RegistryError> {
        let filter = || doc! { "gatewayId": gateway_id };
        let begun = (self.begin::<GatewayDocument>(), self.begin::<EnvironmentDocument>());
        let gateways = self.store.find::<GatewayDocument>(filter()).await?;
        let environments = self.store.find::<EnvironmentDocument>(filter()).await?;
        let mut concerned = GatewayDocument::shelf(&self.known).replace_of(begun.0, gateway_id, gateways);
        concerned.extend(EnvironmentDocument::shelf(&self.known).replace_of(begun.1, gateway_id, environments));
        // What somebody else wrote is intake's to look at.
        self.wake_documents(&concerned);
        Ok(())
    }

    /// Changes a document and takes in what that left behind. Returns whether the filter found one.
    ///
    /// # Errors
    /// When it was not changed.
    pub async fn change<T: Stored>(
        &self,
        operation: &'static str,
        filter: Document,
        update: Document,
    ) -> Result<bool, RegistryError> {
        let begun = self.begin::<T>();
        match self.store.change::<T>(operation, filter, update).await? {
            Some(read) => self.take_in(begun, read).await.map(|()| true),
            None => Ok(false),
        }
    }

    /// Inserts a document about a gateway, unless somebody else was first.
    async fn insert<T: Stored>(&self, gateway_id: &str, document: Document) -> Result<(), RegistryError> {
        let begun = self.begin::<T>();
        match self.store.insert::<T>(document).await {
            Ok(read) => self.take_in(begun, read).await,
            Err(RegistryError::Duplicate(_)) => self.read_again(gateway_id).await,
            Err(error) => Err(error),
        }
    }

    fn begin<T: Stored>(&self) -> Begun {
        T::shelf(&self.known).begin()
    }

    /// Takes in a document as a request that was begun then left it. It may show what somebody else wrote before, of
    /// which the change stream will then tell nothing new. Where the stream told something while the answer was on
    /// its way, it is not known which is newer, and the document is read once more: an older version would stand
    /// for good.
    async fn take_in<T: Stored>(&self, mut begun: Begun, read: Read<T>) -> Result<(), RegistryError> {
        const TRIES: usize = 5;
        let id = known::id(&read).clone();
        let mut read = Some(read);
        for _ in 0..TRIES {
            let concerned = match read {
                Some(read) => T::shelf(&self.known).put_since(begun, read),
                None => T::shelf(&self.known).forget_since(begun, &id),
            };
            if let Some(concerned) = concerned {
                self.wake_documents(&concerned);
                return Ok(());
            }
            begun = self.begin::<T>();
            read = self.store.find::<T>(doc! { "_id": id.clone() }).await?.into_iter().next();
        }
        Err(RegistryError::Changed)
    }

    /// A gateway was applied: its place is known from now on, whatever the cache says.
    pub fn applied(&self, holder: &ObjectKey, gateway: ApiGateway) {
        let cached = self.caches(&holder.namespace).is_some_and(|caches| caches.gateway(holder).is_some());
        let mut made = self.made();
        if let Some(id) = report::platforms_id(&gateway).map(str::to_owned) {
            made.of_id.entry(id.clone()).or_default().entry(holder.clone()).or_insert(0);
            made.ids.insert(holder.clone(), id);
        }
        if !cached {
            made.fresh_gateways.insert(holder.clone(), gateway);
        }
    }

    // Whom to wake.

    /// Documents changed: their intents and their gateways are looked at.
    pub fn changed(&self, concerned: &Concerned) {
        // Before everything is known, it would be looked at in vain.
        if !self.known.is_complete() {
            return;
        }
        self.wake_documents(concerned);
        for id in concerned {
            let holders: Vec<ObjectKey> =
                self.made().of_id.get(id).into_iter().flat_map(|seen| seen.keys().cloned()).collect();
            for holder in mirrored(id).into_iter().chain(holders) {
                self.wake(gateway_key(&holder), Stage::UnderWay);
            }
        }
    }

    /// Intents are to be looked at.
    pub fn wake_documents(&self, concerned: &Concerned) {
        for id in concerned {
            self.wake(document_key(id), Stage::New);
        }
    }

    /// A gateway is to be looked at.
    pub fn wake_gateway(&self, holder: &ObjectKey) {
        self.wake(gateway_key(holder), Stage::UnderWay);
    }

    fn wake(&self, key: Key, stage: Stage) {
        self.queue.wake(key, stage);
    }

    /// Somebody waits until the database answers.
    pub fn waits(&self, key: Key) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
    }

    /// Wakes whoever waits for the database.
    pub fn wake_waiting(&self) {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        for key in waiting {
            self.wake(key, Stage::UnderWay);
        }
    }

    /// A gateway appeared or changed.
    pub fn saw_gateway(&self, gateway: &ApiGateway) {
        let holder = ObjectKey::of(gateway);
        let mut made = self.made();
        made.fresh_gateways.remove(&holder);
        let mut concerned = made.unblock(Collection::Gateways, &holder);
        match report::platforms_id(gateway) {
            Some(id) => {
                let now = seen(&gateway.metadata);
                concerned.extend(made.moved(&holder, Some(id)));
                let before = made.of_id.entry(id.to_owned()).or_default().insert(holder.clone(), now);
                made.ids.insert(holder, id.to_owned());
                if before != Some(now) {
                    concerned.insert(id.to_owned());
                }
            }
            None => concerned.extend(made.moved(&holder, None)),
        }
        drop(made);
        self.wake_documents(&concerned);
    }

    /// A gateway is gone.
    pub fn lost_gateway(&self, holder: &ObjectKey) {
        let mut made = self.made();
        made.fresh_gateways.remove(holder);
        let mut concerned = made.unblock(Collection::Gateways, holder);
        concerned.extend(made.moved(holder, None));
        drop(made);
        // One that was kubectl's may have left its mirror behind.
        concerned.insert(mirrored_id(&holder.namespace, &holder.name));
        self.wake_documents(&concerned);
    }

    /// An environment appeared or changed.
    pub fn saw_environment(&self, environment: &Environment) {
        let holder = ObjectKey::of(environment);
        let mut made = self.made();
        made.fresh_environments.remove(&holder);
        let mut concerned = made.unblock(Collection::Environments, &holder);
        drop(made);
        concerned.extend(environment.annotations().get(GATEWAY_ID_ANNOTATION).cloned());
        self.wake_documents(&concerned);
    }

    /// An environment is gone.
    pub fn lost_environment(&self, holder: &ObjectKey) {
        let mut made = self.made();
        made.fresh_environments.remove(holder);
        let mut concerned = made.unblock(Collection::Environments, holder);
        drop(made);
        // The gateway that it named is not known any more; it may be any whose name its own begins with.
        concerned.extend(self.owners_of_environment(holder));
        self.wake_documents(&concerned);
    }

    fn owners_of_environment(&self, ObjectKey { namespace, name }: &ObjectKey) -> Concerned {
        let made = self.made();
        let gateways = name.match_indices('-').map(|(end, _)| ObjectKey::new(namespace, &name[..end]));
        gateways.filter_map(|gateway| made.ids.get(&gateway).cloned()).collect()
    }
}

impl Made {
    /// Where the objects of an id are.
    pub fn places_of(&self, gateway_id: &str) -> Vec<ObjectKey> {
        self.of_id.get(gateway_id).into_iter().flat_map(|seen| seen.keys().cloned()).collect()
    }

    /// What is at a place carries `id` now. Returns the id that it carried before, if that is another.
    fn moved(&mut self, holder: &ObjectKey, id: Option<&str>) -> Option<String> {
        let before = self.ids.get(holder).filter(|before| Some(before.as_str()) != id)?.clone();
        self.ids.remove(holder);
        if let Some(places) = self.of_id.get_mut(&before) {
            places.remove(holder);
            if places.is_empty() {
                self.of_id.remove(&before);
            }
        }
        Some(before)
    }

    /// An id waits for whoever is in its object's place.
    pub fn block(&mut self, collection: Collection, holder: ObjectKey, gateway_id: &str) {
        self.blocked.entry((collection, holder)).or_default().insert(gateway_id.to_owned());
    }

    fn unblock(&mut self, collection: Collection, holder: &ObjectKey) -> Concerned {
        self.blocked.remove(&(collection, holder.clone())).unwrap_or_default()
    }

    /// The API server refused an object.
    pub fn refuse(
        &mut self,
        collection: Collection,
        holder: &ObjectKey,
        object: &Value,
        answer: Answer,
        for_: Option<Duration>,
    ) {
        let until = for_.map(|time| Instant::now() + time);
        let refused = Refused { object: children::hash(object), answer, until };
        self.refused.insert((collection, holder.clone()), refused);
    }

    /// What the API server said when it refused this object, if it did.
    pub fn refusal(&mut self, collection: Collection, holder: &ObjectKey, object: &Value) -> Option<Answer> {
        let key = (collection, holder.clone());
        let refused = self.refused.get(&key)?;
        let over = refused.until.is_some_and(|until| until <= Instant::now());
        if over || refused.object != children::hash(object) {
            self.refused.remove(&key);
            return None;
        }
        Some(refused.answer.clone())
    }
}

/// What may be said before anything is known: what was recorded once is, and nothing that waits for documents
/// goes on.
fn nothing_known(gateway: &ApiGateway, environments: &[EnvironmentView]) -> RegistryFacts {
    let phase = gateway.status.as_ref().and_then(|status| status.phase.as_ref());
    let waits = matches!(phase, Some(Phase::Starting | Phase::Stopping)) && !environments.is_empty();
    RegistryFacts {
        external: true,
        recorded: !matches!(phase, None | Some(Phase::Created)),
        to_activate: waits,
        to_deactivate: waits,
        forgotten: false,
        ..RegistryFacts::settled()
    }
}

fn gateway_key(gateway: &ObjectKey) -> Key {
    Key { object: gateway.clone(), kind: Kind::Gateway }
}

/// The queue's key of a gateway id.
pub fn document_key(gateway_id: &str) -> Key {
    Key { object: ObjectKey::new("", gateway_id), kind: Kind::Document }
}
