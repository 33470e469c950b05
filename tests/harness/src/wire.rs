//! A local server for the MongoDB wire protocol (tests/mongo), for the tests, the demo and the benchmark.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use mongodb::Client;
use mongodb::bson::Document;
use mongodb::options::{ClientOptions, WriteConcern};

use crate::built_tool::BuiltTool;
use crate::supervised::{Supervised, supervised};

/// The data that survives a killed server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// Nothing.
    Memory,
    /// Every acknowledged write.
    File,
}

/// How clients learn of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changes {
    /// By change streams.
    Streamed,
    /// By polling: change streams are refused, as a real server outside a replica set refuses them.
    Polled,
}

/// A wire server. It ends when this value is dropped or the process ends.
pub struct Server {
    process: Supervised,
    port: u16,
    flags: Vec<String>,
    file: PathBuf,
    log: PathBuf,
}

impl Server {
    /// Starts a server with further flags, and returns when it listens. Its files are in `folder`, under this
    /// name.
    pub fn start(folder: &Path, name: &str, storage: Storage, changes: Changes, more: &[String]) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let file = folder.join(format!("{name}.h2"));
        // A killed run may have had the same process ID.
        let _ = std::fs::remove_file(&file);
        let log = folder.join(format!("{name}.log"));
        let mut flags = more.to_vec();
        if storage == Storage::File {
            flags.extend(["--file".to_owned(), file.to_str().context("a path that is no text")?.to_owned()]);
        }
        if changes == Changes::Streamed {
            flags.push("--change-streams".to_owned());
        }
        let (process, port) = start_process(0, &flags, &log)?;
        Ok(Self { process, port, flags, file, log })
    }

    /// The address on which it listens.
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// Its log file.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The process ID of its supervisor, the server's parent.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Waits until it exits without being stopped.
    pub fn ended(&mut self) -> Result<()> {
        self.process.ended().map(drop)
    }

    /// Starts it again at the same address, with further flags, after it has ended.
    pub fn start_again(&mut self, flags: &[&str]) -> Result<()> {
        let mut all = self.flags.clone();
        all.extend(flags.iter().map(|&flag| flag.to_owned()));
        (self.process, _) = start_process(self.port, &all, &self.log)?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.end();
        let _ = std::fs::remove_file(&self.file);
    }
}

/// The other options keep the driver from looking for the rest of a replica set.
pub fn uri_of(address: SocketAddr) -> String {
    format!("mongodb://{address}/?directConnection=true")
}

/// A client that writes with majority concern.
pub async fn client_of(uri: &str) -> Result<Client> {
    let mut options = ClientOptions::parse(uri).await?;
    options.server_selection_timeout = Some(Duration::from_secs(5));
    options.write_concern = Some(WriteConcern::majority());
    Ok(Client::with_options(options)?)
}

/// A string field of a document. It is empty if the field is missing.
pub fn text<'a>(document: &'a Document, field: &str) -> &'a str {
    document.get_str(field).unwrap_or_default()
}

/// Starts a server, and returns when it listens.
fn start_process(port: u16, flags: &[String], log: &Path) -> Result<(Supervised, u16)> {
    let mut command = supervised(Path::new("java"))?;
    // Servers start often and live briefly: a quick start matters more than throughput.
    command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx512m"]);
    command.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn");
    command.args(["-cp", &class_path()?, "Server", "--port", &port.to_string()]).args(flags);
    command.stdout(Stdio::piped()).stderr(OpenOptions::new().create(true).append(true).open(log)?);
    let mut process = Supervised::start(&mut command)?;
    let mut line = String::new();
    BufReader::new(process.stdout().context("the database has no stdout")?).read_line(&mut line)?;
    let port = line.trim().parse().with_context(|| {
        let said = std::fs::read_to_string(log).unwrap_or_default();
        format!("the database did not start:\n{said}")
    })?;
    Ok((process, port))
}

/// The class path of the wire server.
fn class_path() -> Result<String> {
    static FOLDER: BuiltTool = BuiltTool::by("tests/mongo/fetch");
    let folder = FOLDER.path()?.display();
    Ok(format!("{folder}:{folder}/*"))
}
