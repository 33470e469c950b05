//! Calls to MongoDB.
//!
//! **Architecture invariant:** this module imports only `cluster::claim`, `metrics`, and of `registry`
//! `config`, `breaker`, `document` and `cache`. Every call is bounded in time, and every write by leadership.
//! No call is repeated here.

mod errors;
mod lenient;
mod stream;

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};
use mongodb::error::Error as MongoError;
use mongodb::options::{ClientOptions, Credential, IndexOptions, ReturnDocument, WriteConcern};
use mongodb::{Client, Collection, Database, IndexModel};
use tokio::sync::OnceCell;

use super::breaker::Breaker;
use super::cache::{CachedDocument, within};
use super::config::Settings;
use super::document::{ENVIRONMENTS, EnvironmentDocument, GATEWAYS, GatewayDocument, Read, projection};
use super::size::MemoryBudget;
use crate::cluster::claim::Claim;
use crate::metrics::Metrics;
use crate::metrics::labels::{Operation, RegistryOutcome};

pub use errors::RegistryError;
use lenient::Lenient;
pub use stream::{Change, Stream, token_in};

/// A kind of document with a collection.
pub trait Stored: CachedDocument + Sync {
    /// The collection's name.
    const COLLECTION: &'static str;
}

impl Stored for GatewayDocument {
    const COLLECTION: &'static str = GATEWAYS;
}

impl Stored for EnvironmentDocument {
    const COLLECTION: &'static str = ENVIRONMENTS;
}

/// A client whose calls are bounded.
pub struct Store {
    settings: Settings,
    claim: Claim,
    breaker: Breaker,
    metrics: Metrics,
    database: OnceCell<Database>,
}

impl Store {
    /// Bounds every call by the settings' timeout, and every write also by `claim`. Connects to nothing yet.
    pub fn new(settings: Settings, claim: Claim, breaker: Breaker, metrics: Metrics) -> Self {
        Self { settings, claim, breaker, metrics, database: OnceCell::new() }
    }

    /// Prepares the client. The DNS record of a connection string may not resolve yet.
    ///
    /// # Errors
    /// If the client cannot be prepared now.
    pub async fn prepare(&self) -> Result<(), RegistryError> {
        self.database.get_or_try_init(|| self.connect()).await.map(drop)
    }

    async fn connect(&self) -> Result<Database, RegistryError> {
        let client = async {
            let uri = self.settings.uri.reveal().trim();
            let mut options = ClientOptions::parse(uri).await?;
            self.bound(&mut options);
            Client::with_options(options)
        };
        match tokio::time::timeout(self.settings.timeout, client).await {
            Ok(Ok(client)) => Ok(client.database(&self.settings.database)),
            Ok(Err(error)) => Err(self.error(&error)),
            Err(_) => Err(self.timed_out()),
        }
    }

    fn bound(&self, options: &mut ClientOptions) {
        let timeout = self.settings.timeout;
        let at_most = |given: Option<Duration>, limit: Duration| Some(given.unwrap_or(limit).min(limit));
        options.app_name.get_or_insert_with(|| "phasegate".to_owned());
        options.connect_timeout = at_most(options.connect_timeout, timeout);
        options.server_selection_timeout = at_most(options.server_selection_timeout, timeout * 2 / 5);
        // An idle connection that broke says nothing about the server, so the driver retries a read once on
        // another one. A failed write is repeated by its caller, with backoff.
        options.retry_reads = Some(true);
        options.retry_writes = Some(false);
        let mut concern = WriteConcern::majority();
        concern.w_timeout = Some(timeout);
        options.write_concern = Some(concern);
        if let Some(username) = &self.settings.username {
            let credential = options.credential.get_or_insert_with(Credential::default);
            credential.username = Some(username.clone());
        }
        if let (Some(credential), Some(password)) = (&mut options.credential, &self.settings.password) {
            credential.password = Some(password.reveal().to_owned());
        }
    }

    fn database(&self) -> Result<&Database, RegistryError> {
        let unprepared = || RegistryError::Unavailable(format!("{} has not been reached yet", self.settings.hosts));
        self.database.get().ok_or_else(unprepared)
    }

    fn collection<T: Stored>(&self) -> Result<Collection<Document>, RegistryError> {
        Ok(self.database()?.collection(T::COLLECTION))
    }

    /// Whether the database answers. Also asked while it counts as unavailable.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn ping(&self) -> Result<(), RegistryError> {
        self.prepare().await?;
        let database = self.database()?;
        let ping = database.run_command(doc! { "ping": 1 });
        self.timed(Operation::Ping, self.settings.timeout, async { ping.await.map(drop) }).await
    }

    /// Creates missing indexes. Returns those that the platform's data does not admit.
    ///
    /// # Errors
    /// If the database cannot be asked.
    pub async fn create_indexes(&self) -> Result<Vec<String>, RegistryError> {
        let unique = |keys: Document| {
            let mut options = IndexOptions::default();
            options.unique = Some(true);
            IndexModel::builder().keys(keys).options(options).build()
        };
        let indexes = [
            (GATEWAYS, unique(doc! { "gatewayId": 1 })),
            (ENVIRONMENTS, unique(doc! { "gatewayId": 1, "name": 1 })),
            (ENVIRONMENTS, IndexModel::builder().keys(doc! { "gatewayId": 1, "state": 1 }).build()),
        ];
        let mut refused = Vec::new();
        for (name, index) in indexes {
            let collection: Collection<Document> = self.database()?.collection(name);
            let create = async { collection.create_index(index).await.map(drop) };
            match self.write(Operation::CreateIndex, create).await {
                Ok(()) => {}
                Err(error @ (RegistryError::Refused(_) | RegistryError::Duplicate(_))) => {
                    refused.push(format!("{name}: {error}"));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(refused)
    }

    /// Reads the documents that match a filter.
    ///
    /// # Errors
    /// If the database cannot be asked.
    pub async fn find<T: Stored>(&self, filter: Document) -> Result<Vec<Read<T>>, RegistryError> {
        let collection = self.collection::<T>()?;
        let mut cursor =
            self.read(Operation::Find, async { collection.find(filter).projection(projection::<T>()).await }).await?;
        let (mut documents, mut room) = (Vec::new(), MemoryBudget::default());
        loop {
            // Each batch is a call.
            let next = tokio::time::timeout(self.settings.timeout, cursor.advance());
            match next.await {
                Ok(Ok(true)) => match lenient::document(cursor.current()) {
                    Ok(document) => documents.push(within(&mut room, T::read(document)).0),
                    // One invalid document must not hide the others.
                    Err(error) => {
                        tracing::error!(collection = T::COLLECTION, %error, "skipped a document that is not valid BSON")
                    }
                },
                Ok(Ok(false)) => return Ok(documents),
                Ok(Err(error)) => return Err(self.away(self.error(&error))),
                Err(_) => return Err(self.away(self.timed_out())),
            }
        }
    }

    /// Changes one document that matches a filter. Returns the changed document.
    ///
    /// # Errors
    /// If the database cannot be asked.
    pub async fn change<T: Stored>(
        &self,
        operation: Operation,
        filter: Document,
        update: Document,
    ) -> Result<Option<Read<T>>, RegistryError> {
        let collection = self.collection::<T>()?.clone_with_type::<Lenient<Document>>();
        let change = async {
            let change = collection.find_one_and_update(filter, update);
            // The whole document, since FerretDB supports no projection here.
            change.return_document(ReturnDocument::After).await
        };
        Ok(self.write(operation, change).await?.map(|Lenient(document)| T::read(document)))
    }

    /// Changes all documents that match a filter. Returns their number.
    ///
    /// # Errors
    /// If the database cannot be asked.
    pub async fn change_all<T: Stored>(
        &self,
        operation: Operation,
        filter: Document,
        update: Document,
    ) -> Result<u64, RegistryError> {
        let collection = self.collection::<T>()?;
        let change = async { collection.update_many(filter, update).await };
        Ok(self.write(operation, change).await?.matched_count)
    }

    /// Inserts a document. Returns it.
    ///
    /// # Errors
    /// If a document with its key exists, or the database cannot be asked.
    pub async fn insert<T: Stored>(&self, mut document: Document) -> Result<Read<T>, RegistryError> {
        let collection = self.collection::<T>()?;
        let insert = async { collection.insert_one(&document).await };
        let inserted = self.write(Operation::Insert, insert).await?;
        document.insert("_id", inserted.inserted_id);
        Ok(T::read(document))
    }

    /// Removes the documents that match a filter. Returns their number.
    ///
    /// # Errors
    /// If the database cannot be asked.
    pub async fn remove<T: Stored>(&self, filter: Document) -> Result<u64, RegistryError> {
        let collection = self.collection::<T>()?;
        let remove = async { collection.delete_many(filter).await };
        Ok(self.write(Operation::Remove, remove).await?.deleted_count)
    }

    /// Sends nothing unless this process is leader at this moment.
    async fn write<T>(
        &self,
        operation: Operation,
        call: impl Future<Output = mongodb::error::Result<T>>,
    ) -> Result<T, RegistryError> {
        let limit = self.claim.remaining().map_or(self.settings.timeout, |left| left.min(self.settings.timeout));
        let mut call = pin!(self.unless_away(operation, limit, call));
        // The claim is checked at every poll and not once, since the process may be frozen in between.
        poll_fn(
            |cx| {
                if self.claim.is_valid() { call.as_mut().poll(cx) } else { Poll::Ready(Err(RegistryError::NotLeader)) }
            },
        )
        .await
    }

    async fn read<T>(
        &self,
        operation: Operation,
        call: impl Future<Output = mongodb::error::Result<T>>,
    ) -> Result<T, RegistryError> {
        self.unless_away(operation, self.settings.timeout, call).await
    }

    /// If one call finds the database unavailable, all running calls end with it.
    async fn unless_away<T>(
        &self,
        operation: Operation,
        limit: Duration,
        call: impl Future<Output = mongodb::error::Result<T>>,
    ) -> Result<T, RegistryError> {
        if let Some(words) = self.breaker.words() {
            return Err(RegistryError::Unavailable(words));
        }
        let outcome = tokio::select! {
            outcome = self.timed(operation, limit, call) => outcome,
            () = self.breaker.wait_until_away() => {
                Err(RegistryError::Unavailable(self.breaker.words().unwrap_or_default()))
            }
        };
        outcome.map_err(|error| self.away(error))
    }

    async fn timed<T>(
        &self,
        operation: Operation,
        limit: Duration,
        call: impl Future<Output = mongodb::error::Result<T>>,
    ) -> Result<T, RegistryError> {
        let begun = Instant::now();
        let outcome = match tokio::time::timeout(limit, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.error(&error)),
            // An expired claim is no fault of the database.
            Err(_) if limit < self.settings.timeout => Err(RegistryError::NotLeader),
            Err(_) => Err(self.timed_out()),
        };
        let result = outcome.as_ref().err().map_or(RegistryOutcome::Ok, RegistryError::label);
        self.metrics.registry.requested(operation, result, begun.elapsed());
        outcome
    }

    /// Trips the breaker if an error means that the database is unavailable.
    fn away(&self, error: RegistryError) -> RegistryError {
        if let RegistryError::Unavailable(words) = &error {
            self.breaker.trip(words);
        }
        error
    }

    fn timed_out(&self) -> RegistryError {
        RegistryError::Unavailable(format!(
            "{} did not respond within {:?}",
            self.settings.hosts, self.settings.timeout
        ))
    }

    fn error(&self, error: &MongoError) -> RegistryError {
        errors::translated(&self.settings.hosts, error)
    }
}
