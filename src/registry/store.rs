//! Calls to MongoDB: each is bounded in time and by leadership, and none is repeated here.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use mongodb::bson::{self, Bson, Document, doc};
use mongodb::change_stream::ChangeStream;
use mongodb::change_stream::event::{ChangeStreamEvent, ResumeToken};
use mongodb::error::{Error as MongoError, ErrorKind, WriteFailure};
use mongodb::options::{ClientOptions, Credential, FullDocumentType, IndexOptions, ReturnDocument, WriteConcern};
use mongodb::{Client, Collection, Database, IndexModel};
use tokio::sync::OnceCell;

use super::breaker::Breaker;
use super::config::Settings;
use super::document::{ENVIRONMENTS, EnvironmentDocument, GATEWAYS, GatewayDocument, Kept, Read, projection};
use super::known::Shelved;
use crate::cluster::lease::Claim;
use crate::metrics::Metrics;

/// The operator's own collection: where its change streams go on.
const OWN: &str = "phasegate";

/// For how long the server waits for a change before it says that there was none.
pub const AWAIT: Duration = Duration::from_secs(10);

/// Why a call to the registry did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// It is away.
    #[error("{0}")]
    Unavailable(String),
    /// Another operator is leader, or this one's claim has expired; nothing was sent.
    #[error("this operator is not leader")]
    NotLeader,
    /// A document of this key is there already.
    #[error("a document of this key is there already: {0}")]
    Duplicate(String),
    /// It answered, and did not do it.
    #[error("the database refused: {message}")]
    Refused {
        /// Its error code.
        code: i32,
        /// Its words.
        message: String,
    },
    /// The documents changed meanwhile.
    #[error("the document changed meanwhile")]
    Changed,
}

impl RegistryError {
    /// A metric's label.
    fn label(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::NotLeader => "not_leader",
            Self::Duplicate(_) => "duplicate",
            Self::Refused { .. } => "refused",
            Self::Changed => "changed",
        }
    }
}

/// What a change stream tells.
pub enum Change<T> {
    /// A document as it is now.
    Is(Box<Read<T>>),
    /// A document is gone.
    Gone(Bson),
    /// The stream ends: the collection was dropped or renamed.
    Ends,
    /// Nothing that concerns anybody.
    Nothing,
}

/// A kind of document, with its collection.
pub trait Stored: Shelved + Sync {
    /// The collection's name.
    const COLLECTION: &'static str;
}

impl Stored for GatewayDocument {
    const COLLECTION: &'static str = GATEWAYS;
}

impl Stored for EnvironmentDocument {
    const COLLECTION: &'static str = ENVIRONMENTS;
}

/// A bounded client.
pub struct Store {
    settings: Settings,
    claim: Claim,
    breaker: Breaker,
    metrics: Metrics,
    database: OnceCell<Database>,
}

impl Store {
    /// Bounds every call by the settings' timeout, and every write by `claim` as well. Asks nobody yet.
    pub fn new(settings: Settings, claim: Claim, breaker: Breaker, metrics: Metrics) -> Self {
        Self { settings, claim, breaker, metrics, database: OnceCell::new() }
    }

    /// Prepares the client. A connection string may name a DNS record, which may be out of reach.
    ///
    /// # Errors
    /// When it cannot be prepared now.
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
        // What fails is done again by whoever needs it, after its own backoff.
        options.retry_reads = Some(false);
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
        let unprepared = || RegistryError::Unavailable(format!("{} was not reached yet", self.settings.hosts));
        self.database.get().ok_or_else(unprepared)
    }

    fn collection<T: Stored>(&self) -> Result<Collection<Document>, RegistryError> {
        Ok(self.database()?.collection(T::COLLECTION))
    }

    /// Whether it answers. Asked although it was found away.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), RegistryError> {
        self.prepare().await?;
        let database = self.database()?;
        let ping = database.run_command(doc! { "ping": 1 });
        self.timed("ping", self.settings.timeout, async { ping.await.map(drop) }).await
    }

    /// Creates the indexes that are missing. Returns those that the platform's data does not allow.
    ///
    /// # Errors
    /// When it cannot be asked.
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
            match self.write("create_index", create).await {
                Ok(()) => {}
                Err(error @ (RegistryError::Refused { .. } | RegistryError::Duplicate(_))) => {
                    refused.push(format!("{name}: {error}"));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(refused)
    }

    /// Reads the documents that a filter finds.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn find<T: Stored>(&self, filter: Document) -> Result<Vec<Read<T>>, RegistryError> {
        let collection = self.collection::<T>()?;
        let mut cursor =
            self.read("find", async { collection.find(filter).projection(projection::<T>()).await }).await?;
        let mut documents = Vec::new();
        loop {
            // Each batch is a call.
            let next = tokio::time::timeout(self.settings.timeout, cursor.advance());
            match next.await {
                Ok(Ok(true)) => match cursor.deserialize_current() {
                    Ok(document) => documents.push(T::read(document)),
                    Err(error) => return Err(self.error(&error)),
                },
                Ok(Ok(false)) => return Ok(documents),
                Ok(Err(error)) => return Err(self.away(self.error(&error))),
                Err(_) => return Err(self.away(self.timed_out())),
            }
        }
    }

    /// Changes one document, if it is as the filter says. Returns it as it is afterwards.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn change<T: Stored>(
        &self,
        operation: &'static str,
        filter: Document,
        update: Document,
    ) -> Result<Option<Read<T>>, RegistryError> {
        let collection = self.collection::<T>()?;
        let change = async {
            let change = collection.find_one_and_update(filter, update);
            change.return_document(ReturnDocument::After).projection(projection::<T>()).await
        };
        Ok(self.write(operation, change).await?.map(T::read))
    }

    /// Changes all documents that are as the filter says. Returns how many.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn change_all<T: Stored>(
        &self,
        operation: &'static str,
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
    /// When one of its key is there, or it cannot be asked.
    pub async fn insert<T: Stored>(&self, mut document: Document) -> Result<Read<T>, RegistryError> {
        let collection = self.collection::<T>()?;
        let insert = async { collection.insert_one(&document).await };
        let inserted = self.write("insert", insert).await?;
        document.insert("_id", inserted.inserted_id);
        Ok(T::read(document))
    }

    /// Removes the documents that a filter finds. Returns how many.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn remove<T: Stored>(&self, filter: Document) -> Result<u64, RegistryError> {
        let collection = self.collection::<T>()?;
        let remove = async { collection.delete_many(filter).await };
        Ok(self.write("remove", remove).await?.deleted_count)
    }

    /// Opens a change stream, from where an earlier one ended.
    ///
    /// # Errors
    /// When it cannot be opened: refused, where the server has none or does not know the token any more.
    pub async fn watch<T: Stored>(
        &self,
        after: Option<ResumeToken>,
    ) -> Result<ChangeStream<ChangeStreamEvent<Document>>, RegistryError> {
        let collection = self.collection::<T>()?;
        let watch = async {
            collection
                .watch()
                .full_document(FullDocumentType::UpdateLookup)
                .max_await_time(AWAIT)
                .resume_after(after)
                .await
        };
        self.read("watch", watch).await
    }

    /// The next change, or that there was none for a while.
    ///
    /// # Errors
    /// When the stream does not go on.
    pub async fn next<T: Stored>(
        &self,
        stream: &mut ChangeStream<ChangeStreamEvent<Document>>,
    ) -> Result<Change<T>, RegistryError> {
        use mongodb::change_stream::event::OperationType as Type;
        let event = match tokio::time::timeout(AWAIT + self.settings.timeout, stream.next_if_any()).await {
            Ok(Ok(Some(event))) => event,
            Ok(Ok(None)) if stream.is_alive() => return Ok(Change::Nothing),
            Ok(Ok(None)) => return Ok(Change::Ends),
            Ok(Err(error)) => return Err(self.away(self.error(&error))),
            Err(_) => return Err(self.away(self.timed_out())),
        };
        let id = || event.document_key.as_ref().and_then(|key| key.get("_id").cloned());
        Ok(match (&event.operation_type, &event.full_document) {
            // Looked up when the event was fetched.
            (Type::Update, Some(document)) if document.contains_key("_id") => {
                Change::Is(Box::new(T::read(kept_of::<T>(document))))
            }
            // An insertion, a replacement or a removal may be long past where a stream goes on from an earlier
            // place: it says which document to look at, and not how it is.
            (Type::Insert | Type::Replace | Type::Update | Type::Delete, _) => match id() {
                None => Change::Nothing,
                Some(id) => match self.find::<T>(doc! { "_id": id.clone() }).await?.into_iter().next() {
                    Some(read) => Change::Is(Box::new(read)),
                    None => Change::Gone(id),
                },
            },
            (Type::Drop | Type::Rename | Type::DropDatabase | Type::Invalidate, _) => Change::Ends,
            _ => Change::Nothing,
        })
    }

    /// Where the change stream of a collection is to go on.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn token<T: Stored>(&self) -> Result<Option<ResumeToken>, RegistryError> {
        let own: Collection<Document> = self.database()?.collection(OWN);
        let find = async { own.find_one(doc! { "_id": token_id::<T>() }).await };
        let found = self.read("find", find).await?;
        let token = found.and_then(|found| found.get("token").cloned());
        // One that another version wrote is as good as none.
        Ok(token.and_then(|token| bson::deserialize_from_bson(token).ok()))
    }

    /// Keeps where the change stream of a collection is to go on.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub async fn keep_token<T: Stored>(&self, token: Option<&ResumeToken>) -> Result<(), RegistryError> {
        let own: Collection<Document> = self.database()?.collection(OWN);
        let id = token_id::<T>();
        let Some(Ok(token)) = token.map(bson::serialize_to_bson) else {
            return self.write("token", async { own.delete_one(doc! { "_id": id }).await.map(drop) }).await;
        };
        let keep = async {
            let set = doc! { "$set": { "token": token } };
            own.update_one(doc! { "_id": id }, set).upsert(true).await.map(drop)
        };
        self.write("token", keep).await
    }

    /// Nothing is sent unless this process is leader at this moment.
    async fn write<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = mongodb::error::Result<T>>,
    ) -> Result<T, RegistryError> {
        let limit = self.claim.remaining().map_or(self.settings.timeout, |left| left.min(self.settings.timeout));
        let mut call = pin!(self.unless_away(operation, limit, call));
        // Asked at every step and not once: the process may be frozen between two of them.
        poll_fn(
            |cx| {
                if self.claim.is_valid() { call.as_mut().poll(cx) } else { Poll::Ready(Err(RegistryError::NotLeader)) }
            },
        )
        .await
    }

    async fn read<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = mongodb::error::Result<T>>,
    ) -> Result<T, RegistryError> {
        self.unless_away(operation, self.settings.timeout, call).await
    }

    /// What one call finds, ends all that are under way: none waits for what another knows.
    async fn unless_away<T>(
        &self,
        operation: &'static str,
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
        operation: &'static str,
        limit: Duration,
        call: impl Future<Output = mongodb::error::Result<T>>,
    ) -> Result<T, RegistryError> {
        let begun = Instant::now();
        let outcome = match tokio::time::timeout(limit, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.error(&error)),
            // A claim that ran out is no fault of the database.
            Err(_) if limit < self.settings.timeout => Err(RegistryError::NotLeader),
            Err(_) => Err(self.timed_out()),
        };
        let result = outcome.as_ref().err().map_or("ok", RegistryError::label);
        self.metrics.registry_requested(operation, result, begun.elapsed());
        outcome
    }

    /// Tells everybody where an error says that the database is away.
    fn away(&self, error: RegistryError) -> RegistryError {
        if let RegistryError::Unavailable(words) = &error {
            self.breaker.trip(words);
        }
        error
    }

    fn timed_out(&self) -> RegistryError {
        RegistryError::Unavailable(format!("{} did not answer within {:?}", self.settings.hosts, self.settings.timeout))
    }

    /// The driver's error in words that hold no secret and do not change from call to call.
    fn error(&self, error: &MongoError) -> RegistryError {
        let hosts = &self.settings.hosts;
        let unavailable = |words: String| RegistryError::Unavailable(words);
        match error.kind.as_ref() {
            ErrorKind::ServerSelection { message, .. } | ErrorKind::ConnectionPoolCleared { message, .. } => {
                unavailable(unreachable(hosts, message))
            }
            ErrorKind::Io(error) => unavailable(format!("{hosts}: {error}")),
            ErrorKind::DnsResolve { .. } => unavailable(format!("the name {hosts} cannot be resolved")),
            ErrorKind::Authentication { .. } => unavailable(refuses_credentials(hosts)),
            ErrorKind::InvalidTlsConfig { message, .. } => unavailable(format!("{hosts}: {message}")),
            ErrorKind::Shutdown => unavailable(format!("the connection to {hosts} was closed")),
            ErrorKind::Command(error) if is_away(error.code) => unavailable(format!("{hosts}: {}", error.message)),
            ErrorKind::Command(error) if error.code == DUPLICATE_KEY => RegistryError::Duplicate(error.message.clone()),
            ErrorKind::Command(error) => RegistryError::Refused { code: error.code, message: error.message.clone() },
            ErrorKind::Write(WriteFailure::WriteError(error)) if error.code == DUPLICATE_KEY => {
                RegistryError::Duplicate(error.message.clone())
            }
            ErrorKind::Write(WriteFailure::WriteError(error)) => {
                RegistryError::Refused { code: error.code, message: error.message.clone() }
            }
            // The write may be lost with the server that has it.
            ErrorKind::Write(WriteFailure::WriteConcernError(error)) => {
                unavailable(format!("{hosts}: {}", error.message))
            }
            other => RegistryError::Refused { code: 0, message: other.to_string() },
        }
    }
}

fn refuses_credentials(hosts: &str) -> String {
    format!("{hosts} refuses the credentials")
}

/// What the driver says when it finds no server to ask holds what went wrong with each that it tried, in the form
/// of its errors: `Kind: …, labels: …`.
fn unreachable(hosts: &str, message: &str) -> String {
    let cause = message.split_once("Kind: ").map(|(_, error)| error.split(", labels: ").next().unwrap_or(error));
    match cause {
        Some(cause) if cause.contains(" failure: ") => refuses_credentials(hosts),
        Some(cause) => format!("no server of {hosts} can be reached: {}", cause.trim_start_matches("I/O error: ")),
        None => format!("no server of {hosts} can be reached"),
    }
}

const DUPLICATE_KEY: i32 = 11_000;

/// Whether an error code says that the server cannot serve anybody like us now: it is no primary, is going or
/// coming, does not know the user, or does not allow what the user needs.
fn is_away(code: i32) -> bool {
    const CODES: &[i32] = &[
        6, 7, 13, 18, 50, 63, 89, 91, 133, 134, 150, 189, 202, 234, 262, 391, 9001, 10_058, 10_107, 11_600, 11_602,
        13_388, 13_435, 13_436,
    ];
    CODES.contains(&code)
}

fn token_id<T: Stored>() -> String {
    format!("resume-{}", T::COLLECTION)
}

/// Only the fields that are read: what else a document has is the platform's, and may be large.
fn kept_of<T: Kept>(document: &Document) -> Document {
    let fields = ["_id"].iter().chain(T::FIELDS);
    fields.filter_map(|field| Some(((*field).to_owned(), document.get(field)?.clone()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_the_driver_from_a_server_is_said_and_no_credentials() {
        let pool = "Connection pool for db:27017 cleared because another operation failed with: ";
        let selection = "Server selection timeout: No available servers. Topology: { Type: Single, Servers: \
                         [ { Address: db:27017, Type: Unknown, Error: ";
        for (message, words) in [
            (
                format!("{pool}Kind: SCRAM failure: Authentication failed., labels: {{}}"),
                "db:27017 refuses the credentials",
            ),
            (
                format!("{selection}Kind: SCRAM failure: Authentication failed., labels: {{}} }} ] }}"),
                "db:27017 refuses the credentials",
            ),
            (
                format!("{selection}Kind: I/O error: Connection refused (os error 111), labels: {{}} }} ] }}"),
                "no server of db:27017 can be reached: Connection refused (os error 111)",
            ),
            ("Server selection timeout".to_owned(), "no server of db:27017 can be reached"),
        ] {
            assert_eq!(unreachable("db:27017", &message), words);
        }
    }

    #[test]
    fn a_server_that_fails_over_is_away_and_one_that_refuses_what_is_written_is_not() {
        let fails_over = [
            ("ShutdownInProgress", 91),
            ("PrimarySteppedDown", 189),
            ("NotWritablePrimary", 10_107),
            ("InterruptedAtShutdown", 11_600),
            ("InterruptedDueToReplStateChange", 11_602),
            ("NotPrimaryNoSecondaryOk", 13_435),
            ("NotPrimaryOrSecondary", 13_436),
        ];
        for (name, code) in fails_over {
            assert!(is_away(code), "{name}");
        }
        for (name, code) in [("BadValue", 2), ("DocumentValidationFailure", 121), ("DuplicateKey", DUPLICATE_KEY)] {
            assert!(!is_away(code), "{name}");
        }
    }
}
