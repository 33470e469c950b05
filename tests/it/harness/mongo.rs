//! MongoDB for the tests: a wire server of a test's own (tests/mongo), or a database of its own
//! on the real server that `MONGODB_URI` names.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mongodb::bson::Document;
use mongodb::options::{ClientOptions, WriteConcern};
use mongodb::{Client, Collection};

use super::cluster::{Supervised, output, root, run_id, supervised};
use super::components::{child_of, signal};
use super::tcp::TcpProxy;

/// The longest that any condition is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a server of a test's own remembers when it is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// Nothing.
    Memory,
    /// Whatever it has answered.
    File,
}

/// How one learns of changes from a server of a test's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changes {
    /// By change streams.
    Streamed,
    /// By asking again: change streams are refused, as by a real server that is no replica set.
    Polled,
}

/// A database that no other test uses. It ends with this value.
pub struct Database {
    uri: String,
    name: String,
    client: Client,
    // None: it is on the server of MONGODB_URI.
    server: Option<Server>,
}

impl Database {
    /// A database with change streams: of `MONGODB_URI` if that is set, which must then be a replica
    /// set, or else in memory.
    pub async fn new(test: &str) -> Self {
        match std::env::var("MONGODB_URI") {
            Ok(uri) if !uri.is_empty() => Self::connected(uri, name(test), None).await,
            _ => Self::local(test, Storage::Memory, Changes::Streamed).await,
        }
    }

    /// A database on a server of its own, whatever `MONGODB_URI` says: for tests that kill it, or
    /// that stand between it and others, or that need one without change streams.
    pub async fn local(test: &str, storage: Storage, changes: Changes) -> Self {
        let name = name(test);
        let place = name.clone();
        let server = tokio::task::spawn_blocking(move || Server::start(&place, storage, changes)).await.unwrap();
        Self::connected(uri_of(server.address()), name, Some(server)).await
    }

    async fn connected(uri: String, name: String, server: Option<Server>) -> Self {
        let client = client_of(&uri).await;
        Self { uri, name, client, server }
    }

    /// How it is reached. It may hold a password.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// How it is reached through a proxy to [`Self::address`].
    pub fn uri_through(&self, proxy: &TcpProxy) -> String {
        uri_of(proxy.address())
    }

    /// Where the server of its own listens.
    pub fn address(&self) -> SocketAddr {
        self.server.as_ref().expect("a server of its own").address()
    }

    /// The database's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A collection, written with majority concern.
    pub fn collection(&self, name: &str) -> Collection<Document> {
        self.client.database(&self.name).collection(name)
    }

    /// Waits until a document is as `wanted`, whatever becomes of the server meanwhile, and returns it.
    pub async fn until(
        &self,
        collection: &str,
        filter: Document,
        what: &str,
        wanted: impl Fn(&Document) -> bool,
    ) -> Document {
        let documents = self.collection(collection);
        let mut last = None;
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                match documents.find_one(filter.clone()).await {
                    Ok(Some(document)) if wanted(&document) => return document,
                    found => last = Some(found),
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
        waited.unwrap_or_else(|_| {
            panic!("{collection} {filter} did not come to {what} within {PATIENCE:?}; last: {last:?}")
        })
    }

    /// Kills the server of its own, as a crash would.
    pub fn kill(&mut self) {
        self.server.as_mut().expect("a server of its own").kill();
    }

    /// Starts the server of its own again where it was, after [`Self::kill`].
    pub async fn start_again(&mut self) {
        self.start_again_with(&[]).await;
    }

    /// The same; every resume token from before is too old.
    pub async fn start_again_without_history(&mut self) {
        self.start_again_with(&["--forget-changes"]).await;
    }

    async fn start_again_with(&mut self, flags: &'static [&'static str]) {
        let mut server = self.server.take().expect("a server of its own");
        let started = tokio::task::spawn_blocking(move || {
            server.start_again(flags);
            server
        });
        self.server = Some(started.await.unwrap());
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            if std::thread::panicking() {
                eprintln!("the database's log is {}", server.log.display());
            }
            return;
        }
        let (uri, name) = (self.uri.clone(), self.name.clone());
        // The test's own runtime cannot be waited in here.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { client_of(&uri).await.database(&name).drop().await })
        });
        match thread.join() {
            Ok(Ok(())) => {}
            failed => eprintln!("database {} is left behind: {failed:?}", self.name),
        }
    }
}

/// A name of this test's own, within the 38 bytes that the strictest of servers allow.
fn name(test: &str) -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("pg-{test}-{}-{number}", run_id());
    assert!(name.len() <= 38, "{name} is too long");
    name
}

/// Without the other options a driver would look for the rest of a replica set.
fn uri_of(address: SocketAddr) -> String {
    format!("mongodb://{address}/?directConnection=true")
}

async fn client_of(uri: &str) -> Client {
    let mut options = ClientOptions::parse(uri).await.unwrap();
    options.server_selection_timeout = Some(Duration::from_secs(5));
    options.write_concern = Some(WriteConcern::majority());
    Client::with_options(options).unwrap()
}

/// A wire server. It ends with this value or with this process.
struct Server {
    process: Supervised,
    port: u16,
    flags: Vec<String>,
    file: PathBuf,
    log: PathBuf,
}

impl Server {
    fn start(name: &str, storage: Storage, changes: Changes) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mongo");
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join(format!("{name}.h2"));
        // An earlier run of the same process id may have been killed.
        let _ = std::fs::remove_file(&file);
        let log = folder.join(format!("{name}.log"));
        let mut flags = Vec::new();
        if storage == Storage::File {
            flags.extend(["--file".to_owned(), file.to_str().unwrap().to_owned()]);
        }
        if changes == Changes::Streamed {
            flags.push("--change-streams".to_owned());
        }
        let (process, port) = start_process(0, &flags, &log);
        Self { process, port, flags, file, log }
    }

    fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    fn kill(&mut self) {
        // Not by way of the supervisor: when that is told to end, the server closes its file.
        signal(child_of(self.process.pid()), "KILL");
        let _ = self.process.ended();
    }

    fn start_again(&mut self, flags: &[&str]) {
        let mut all = self.flags.clone();
        all.extend(flags.iter().map(|&flag| flag.to_owned()));
        (self.process, _) = start_process(self.port, &all, &self.log);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.end();
        let _ = std::fs::remove_file(&self.file);
    }
}

/// Starts a server, and returns when it listens.
fn start_process(port: u16, flags: &[String], log: &Path) -> (Supervised, u16) {
    let mut command = supervised(Path::new("java")).unwrap();
    // Tests begin often and last a moment: a quick start matters more than a quick server.
    command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx512m"]);
    command.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn");
    command.args(["-cp", &class_path(), "Server", "--port", &port.to_string()]).args(flags);
    command.stdout(Stdio::piped()).stderr(OpenOptions::new().create(true).append(true).open(log).unwrap());
    let mut process = Supervised::start(&mut command).unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout().unwrap()).read_line(&mut line).unwrap();
    let port = line.trim().parse().unwrap_or_else(|_| {
        let said = std::fs::read_to_string(log).unwrap_or_default();
        panic!("the database did not start:\n{said}")
    });
    (process, port)
}

/// The wire server's programs, fetched once.
fn class_path() -> String {
    static FOLDER: Mutex<Option<String>> = Mutex::new(None);
    let mut folder = FOLDER.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = folder.get_or_insert_with(|| {
        let mut fetch = Command::new(root().join("tests/mongo/fetch"));
        // It shows how far it is.
        output(fetch.stderr(Stdio::inherit())).unwrap().trim().to_owned()
    });
    format!("{folder}:{folder}/*")
}
