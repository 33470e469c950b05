//! MongoDB for the tests: a private wire server (tests/mongo), or a private database on the real server in
//! `MONGODB_URI`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mongodb::bson::Document;
use mongodb::change_stream::ChangeStream;
use mongodb::change_stream::event::{ChangeStreamEvent, ResumeToken};
use mongodb::options::FullDocumentType;
use mongodb::{Client, Collection};

use crate::cluster::run_id;
use crate::components::{child_of, signal};
use crate::paths::scratch;
use crate::tcp::TcpProxy;
use crate::wait::{DEADLINE, eventually};
use crate::wire::{Changes, Server, Storage, client_of, uri_of};

/// A private database. It is removed when this value is dropped.
pub struct Database {
    uri: String,
    name: String,
    client: Client,
    // `None` if it is on the server in `MONGODB_URI`.
    server: Option<Server>,
}

impl Database {
    /// A database with change streams: on the server in `MONGODB_URI`, which must be a replica set, or on a
    /// wire server in memory if that is unset.
    pub async fn new(test: &str) -> Self {
        match std::env::var("MONGODB_URI") {
            Ok(uri) if !uri.is_empty() => Self::connected(uri, name(test), None).await,
            _ => Self::local(test, Storage::Memory, Changes::Streamed).await,
        }
    }

    /// A database on a private server, regardless of `MONGODB_URI`: for tests that kill it, put a proxy before
    /// it, or need one without change streams.
    pub async fn local(test: &str, storage: Storage, changes: Changes) -> Self {
        let name = name(test);
        let server = started(&name, storage, changes, Vec::new()).await;
        Self::connected(uri_of(server.address()), name, Some(server)).await
    }

    /// A database in memory, on a private server that accepts one user, `NAME:PASSWORD`, over TLS.
    pub async fn guarded(test: &str, user: &str) -> Self {
        let name = name(test);
        let certificate = folder().join(format!("{name}.crt"));
        let flags = ["--user", user, "--tls", certificate.to_str().unwrap()].map(str::to_owned);
        let server = started(&name, Storage::Memory, Changes::Streamed, flags.to_vec()).await;
        let uri = format!("{}&tls=true&tlsCAFile={}", uri_of_user(user, &server), certificate.display());
        Self::connected(uri, name, Some(server)).await
    }

    /// A database on a file, on a private server that accepts one user, `NAME:PASSWORD`.
    pub async fn for_user(test: &str, user: &str) -> Self {
        let name = name(test);
        let flags = vec!["--user".to_owned(), user.to_owned()];
        let server = started(&name, Storage::File, Changes::Streamed, flags).await;
        Self::connected(uri_of_user(user, &server), name, Some(server)).await
    }

    async fn connected(uri: String, name: String, server: Option<Server>) -> Self {
        let client = client_of(&uri).await.unwrap();
        Self { uri, name, client, server }
    }

    /// The connection string. It may contain a password.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// The connection string for a user, `NAME:PASSWORD`, of the private server without TLS.
    pub fn uri_of(&self, user: &str) -> String {
        uri_of_user(user, self.server.as_ref().expect("a server of its own"))
    }

    /// The connection string through a proxy to [`Self::address`].
    pub fn uri_through(&self, proxy: &TcpProxy) -> String {
        uri_of(proxy.address())
    }

    /// The address of the private server.
    pub fn address(&self) -> SocketAddr {
        self.server.as_ref().expect("a server of its own").address()
    }

    /// The database's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A collection with majority write concern.
    pub fn collection(&self, name: &str) -> Collection<Document> {
        self.client.database(&self.name).collection(name)
    }

    /// Waits until a document satisfies `wanted`, through failures of the server, and returns it.
    pub async fn until(
        &self,
        collection: &str,
        filter: Document,
        what: &str,
        wanted: impl Fn(&Document) -> bool,
    ) -> Document {
        let documents = self.collection(collection);
        let mut last = None;
        let waited = eventually(Duration::from_millis(50), async || match documents.find_one(filter.clone()).await {
            Ok(Some(document)) if wanted(&document) => Some(document),
            found => {
                last = Some(found);
                None
            }
        })
        .await;
        waited.unwrap_or_else(|| {
            panic!("{collection} {filter} did not come to {what} within {DEADLINE:?}; last: {last:?}")
        })
    }

    /// Kills the private server, as a crash would.
    pub fn kill(&mut self) {
        let server = self.server.as_mut().expect("a server of its own");
        // The signal bypasses the supervisor, because a supervisor that ends lets the server close its file.
        signal(child_of(server.pid()), "KILL");
        server.ended().unwrap();
    }

    /// Starts the private server again at the same address, after [`Self::kill`].
    pub async fn start_again(&mut self) {
        self.start_again_with(&[]).await;
    }

    /// Starts the private server again. All earlier resume tokens are then too old.
    pub async fn start_again_without_history(&mut self) {
        self.start_again_with(&["--forget-changes"]).await;
    }

    /// Starts the private server again with another user, `NAME:PASSWORD`.
    pub async fn start_again_for(&mut self, user: &'static str) {
        self.start_again_with(&["--user", user]).await;
    }

    async fn start_again_with(&mut self, flags: &[&'static str]) {
        let flags = flags.to_vec();
        let mut server = self.server.take().expect("a server of its own");
        let started = tokio::task::spawn_blocking(move || {
            server.start_again(&flags).unwrap();
            server
        });
        self.server = Some(started.await.unwrap());
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            if std::thread::panicking() {
                eprintln!("the database's log is {}", server.log().display());
            }
            return;
        }
        let (uri, name) = (self.uri.clone(), self.name.clone());
        // A drop must not block the test's own runtime.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { client_of(&uri).await.unwrap().database(&name).drop().await })
        });
        match thread.join() {
            Ok(Ok(())) => {}
            failed => eprintln!("database {} is left behind: {failed:?}", self.name),
        }
    }
}

/// Opens a change stream over a collection, after the given resume token.
///
/// # Errors
/// The change stream cannot be opened.
pub async fn change_stream(
    collection: &Collection<Document>,
    after: Option<ResumeToken>,
) -> mongodb::error::Result<ChangeStream<ChangeStreamEvent<Document>>> {
    collection.watch().full_document(FullDocumentType::UpdateLookup).resume_after(after).await
}

fn folder() -> PathBuf {
    scratch("mongo").unwrap()
}

async fn started(name: &str, storage: Storage, changes: Changes, flags: Vec<String>) -> Server {
    let name = name.to_owned();
    let starting = tokio::task::spawn_blocking(move || Server::start(&folder(), &name, storage, changes, &flags));
    starting.await.unwrap().unwrap()
}

fn uri_of_user(user: &str, server: &Server) -> String {
    let uri = uri_of(server.address()).replace("mongodb://", &format!("mongodb://{user}@"));
    format!("{uri}&authSource=admin&authMechanism=SCRAM-SHA-256")
}

/// A name for this test, within the 38 bytes that the strictest server allows.
fn name(test: &str) -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("pg-{test}-{}-{number}", run_id());
    assert!(name.len() <= 38, "{name} is too long");
    name
}
