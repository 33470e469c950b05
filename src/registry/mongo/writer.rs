//! Writes to documents: the registry steps of plans, and what intake sets and removes.
//!
//! **Architecture invariant:** every transition is fenced, and the cache reflects a write before it returns.

use k8s_openapi::jiff::Timestamp;
use mongodb::bson::{Document, doc};

use super::Mongo;
use crate::api::ApiGateway;
use crate::decide::Step;
use crate::metrics::labels::Operation;
use crate::registry::cache::{self, CachedDocument, ReadStart};
use crate::registry::document::{ACTIVE, EnvironmentDocument, GatewayDocument, INACTIVE, Read, is};
use crate::registry::identity::Identity;
use crate::registry::report::{self, EnvironmentView, Situation};
use crate::registry::store::{RegistryError, Stored};

impl Mongo {
    /// Carries out a registry step of a gateway's plan.
    ///
    /// # Errors
    /// If the step was not carried out.
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
        let now = Timestamp::now();
        let documents = self.cache.of(&identity.gateway_id);
        let situation = self.situation(gateway, environments, &documents);
        if !situation.is_gateway_recorded() {
            self.record_gateway(&identity, &situation, now).await?;
        }
        self.record_environments(&identity.gateway_id, &situation, now).await?;
        let documents = self.cache.of(&identity.gateway_id);
        let recorded = self.situation(gateway, environments, &documents).facts().recorded;
        if recorded { Ok(()) } else { Err(RegistryError::Changed) }
    }

    async fn record_gateway(
        &self,
        identity: &Identity,
        situation: &Situation<'_>,
        now: Timestamp,
    ) -> Result<(), RegistryError> {
        if !situation.documents.gateways.is_empty() {
            let write = situation.take_over(now);
            if self.change::<GatewayDocument>(Operation::Record, write.filter, write.update).await? {
                return Ok(());
            }
        }
        if identity.platforms {
            self.read_again(&identity.gateway_id).await
        } else {
            self.insert::<GatewayDocument>(&identity.gateway_id, situation.first_document(now)).await
        }
    }

    async fn record_environments(
        &self,
        gateway_id: &str,
        situation: &Situation<'_>,
        now: Timestamp,
    ) -> Result<(), RegistryError> {
        for (view, document) in situation.unrecorded_environments() {
            let Some(document) = document else {
                self.insert::<EnvironmentDocument>(gateway_id, situation.first_environment(view, now)).await?;
                continue;
            };
            let update = match &view.host {
                Some(host) => doc! { "$set": { "host": host } },
                None => doc! { "$unset": { "host": "" } },
            };
            let filter = doc! { "_id": is(document.id.clone()) };
            if !self.change::<EnvironmentDocument>(Operation::Record, filter, update).await? {
                self.read_again(gateway_id).await?;
            }
        }
        for document in situation.surplus_environments() {
            self.store.remove::<EnvironmentDocument>(doc! { "_id": is(document.id.clone()) }).await?;
            EnvironmentDocument::collection_cache(&self.cache).forget(&document.id);
        }
        Ok(())
    }

    /// Reports the last transition. If the filter finds nothing, the platform wrote meanwhile; its write is
    /// read and stands.
    async fn report(&self, gateway: &ApiGateway, environments: &[EnvironmentView]) -> Result<(), RegistryError> {
        const TRIES: usize = 3;
        let id = Identity::of(gateway).gateway_id;
        for _ in 0..TRIES {
            let documents = self.cache.of(&id);
            let situation = self.situation(gateway, environments, &documents);
            let Some(write) = situation.report(Timestamp::now()) else { return Ok(()) };
            if !self.change::<GatewayDocument>(Operation::Report, write.filter, write.update).await? {
                self.read_again(&id).await?;
            }
        }
        let documents = self.cache.of(&id);
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
        let documents = self.cache.of(&id);
        let Some(write) = self.situation(gateway, environments, &documents).switch(active) else { return Ok(()) };
        let operation = if active { Operation::Activate } else { Operation::Deactivate };
        let names = write.names.len();
        let read_start = self.begin::<EnvironmentDocument>();
        let written = self.store.change_all::<EnvironmentDocument>(operation, write.filter, write.update).await?;
        if usize::try_from(written).is_ok_and(|written| written == names) {
            for document in documents.environments().filter(|document| write.names.contains(&document.name)) {
                let now = EnvironmentDocument {
                    state: Some(if active { ACTIVE } else { INACTIVE }.to_owned()),
                    uid: Some(gateway.uid().to_owned()),
                    seq: Some(report::seq(gateway)),
                    ..document.clone()
                };
                self.take_in(read_start, Ok(now)).await?;
            }
            return Ok(());
        }
        // Somebody else wrote some of them meanwhile.
        let read_start = self.begin::<EnvironmentDocument>();
        let now = self.store.find::<EnvironmentDocument>(doc! { "gatewayId": &id }).await?;
        EnvironmentDocument::collection_cache(&self.cache).replace_of(read_start, &id, now);
        Ok(())
    }

    async fn forget(&self, gateway: &ApiGateway, environments: &[EnvironmentView]) -> Result<(), RegistryError> {
        let id = Identity::of(gateway).gateway_id;
        let documents = self.cache.of(&id);
        let Some(forget) = self.situation(gateway, environments, &documents).to_forget() else { return Ok(()) };
        self.remove(&id, forget.gateway, forget.environments).await
    }

    /// Removes documents, environments first; otherwise nothing would find those again.
    ///
    /// # Errors
    /// If they were not removed.
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

    /// Reads all documents of a gateway id.
    ///
    /// # Errors
    /// If the database cannot be asked.
    pub async fn read_again(&self, gateway_id: &str) -> Result<(), RegistryError> {
        let filter = || doc! { "gatewayId": gateway_id };
        let read_start = (self.begin::<GatewayDocument>(), self.begin::<EnvironmentDocument>());
        let gateways = self.store.find::<GatewayDocument>(filter()).await?;
        let environments = self.store.find::<EnvironmentDocument>(filter()).await?;
        let mut affected =
            GatewayDocument::collection_cache(&self.cache).replace_of(read_start.0, gateway_id, gateways);
        affected.extend(EnvironmentDocument::collection_cache(&self.cache).replace_of(
            read_start.1,
            gateway_id,
            environments,
        ));
        // Intake must see what somebody else wrote.
        self.requeue_documents(&affected);
        Ok(())
    }

    /// Changes a document and updates the cache. Returns whether the filter found one.
    ///
    /// # Errors
    /// If the document was not changed.
    pub async fn change<T: Stored>(
        &self,
        operation: Operation,
        filter: Document,
        update: Document,
    ) -> Result<bool, RegistryError> {
        let read_start = self.begin::<T>();
        match self.store.change::<T>(operation, filter, update).await? {
            Some(read) => self.take_in(read_start, read).await.map(|()| true),
            None => Ok(false),
        }
    }

    /// Inserts a document about a gateway, unless somebody else was first.
    async fn insert<T: Stored>(&self, gateway_id: &str, document: Document) -> Result<(), RegistryError> {
        let read_start = self.begin::<T>();
        match self.store.insert::<T>(document).await {
            Ok(read) => self.take_in(read_start, read).await,
            Err(RegistryError::Duplicate(_)) => self.read_again(gateway_id).await,
            Err(error) => Err(error),
        }
    }

    fn begin<T: Stored>(&self) -> ReadStart {
        T::collection_cache(&self.cache).begin()
    }

    /// Updates the cache with the answer to an earlier request. The answer may include earlier writes of
    /// others, which the change stream then reports as nothing new. If the stream reported the document
    /// meanwhile, it is unknown which is newer, so the document is read again; otherwise an older version could
    /// stay for good.
    async fn take_in<T: Stored>(&self, mut read_start: ReadStart, read: Read<T>) -> Result<(), RegistryError> {
        const TRIES: usize = 5;
        let id = cache::id(&read).clone();
        let mut read = Some(read);
        for _ in 0..TRIES {
            let affected = match read {
                Some(read) => T::collection_cache(&self.cache).put_since(read_start, read),
                None => T::collection_cache(&self.cache).forget_since(read_start, &id),
            };
            if let Some(affected) = affected {
                self.requeue_documents(&affected);
                return Ok(());
            }
            read_start = self.begin::<T>();
            read = self.store.find::<T>(doc! { "_id": is(id.clone()) }).await?.into_iter().next();
        }
        Err(RegistryError::Changed)
    }
}
