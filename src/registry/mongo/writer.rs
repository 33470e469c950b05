//! The writes to documents, every transition fenced: the steps of gateways' plans, and what intake answers and removes.
//!
//! Invariant: what a write left behind is known before it returns.

use k8s_openapi::jiff::Timestamp;
use mongodb::bson::{Document, doc};

use super::Mongo;
use crate::api::ApiGateway;
use crate::decide::Step;
use crate::metrics::labels::Operation;
use crate::registry::document::{ACTIVE, EnvironmentDocument, GatewayDocument, INACTIVE, Read, is};
use crate::registry::identity::Identity;
use crate::registry::known::{self, Begun, Shelved};
use crate::registry::report::{self, EnvironmentView, Situation};
use crate::registry::store::{RegistryError, Stored};

impl Mongo {
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
        let now = Timestamp::now();
        let documents = self.known.of(&identity.gateway_id);
        let situation = self.situation(gateway, environments, &documents);
        if !situation.is_gateway_recorded() {
            self.record_gateway(&identity, &situation, now).await?;
        }
        self.record_environments(&identity.gateway_id, &situation, now).await?;
        let documents = self.known.of(&identity.gateway_id);
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
            EnvironmentDocument::shelf(&self.known).forget(&document.id);
        }
        Ok(())
    }

    /// Tells the last transition. A miss means that the platform wrote meanwhile: its word is read, and stands.
    async fn report(&self, gateway: &ApiGateway, environments: &[EnvironmentView]) -> Result<(), RegistryError> {
        const TRIES: usize = 3;
        let id = Identity::of(gateway).gateway_id;
        for _ in 0..TRIES {
            let documents = self.known.of(&id);
            let situation = self.situation(gateway, environments, &documents);
            let Some(write) = situation.report(Timestamp::now()) else { return Ok(()) };
            if !self.change::<GatewayDocument>(Operation::Report, write.filter, write.update).await? {
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
        let operation = if active { Operation::Activate } else { Operation::Deactivate };
        let names = write.names.len();
        let begun = self.begin::<EnvironmentDocument>();
        let written = self.store.change_all::<EnvironmentDocument>(operation, write.filter, write.update).await?;
        if usize::try_from(written).is_ok_and(|written| written == names) {
            for document in documents.environments().filter(|document| write.names.contains(&document.name)) {
                let now = EnvironmentDocument {
                    state: Some(if active { ACTIVE } else { INACTIVE }.to_owned()),
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
        operation: Operation,
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
            read = self.store.find::<T>(doc! { "_id": is(id.clone()) }).await?.into_iter().next();
        }
        Err(RegistryError::Changed)
    }
}
