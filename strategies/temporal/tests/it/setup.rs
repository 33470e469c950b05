//! A Temporal server for all tests, and workers of one test.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use phasegate_harness::{Supervised, World, eventually, free_port, scratch, supervised, temporal};
use phasegate_temporal::client;
use phasegate_temporal::cluster::GatewayRef;
use phasegate_temporal::workflow::{End, Job, Lifecycle};
use serde_json::Value;
use temporalio_client::{Client, WorkflowGetResultOptions, WorkflowHandle};
use tokio::sync::OnceCell;

/// A test: its namespace, and its task queue of the same name.
pub struct Setup {
    pub world: World,
    pub client: Client,
    server: String,
}

impl Setup {
    pub async fn new(test: &str) -> Self {
        let (world, server) = tokio::join!(World::new(test), server());
        Self { client: client::connect(&server, "user").await.unwrap(), world, server }
    }

    /// Starts a worker process on the cluster.
    pub fn worker(&self, identity: &str) -> Supervised {
        self.worker_with(identity, &self.world.cluster.kubeconfig)
    }

    /// Starts a worker process with a kubeconfig.
    pub fn worker_with(&self, identity: &str, kubeconfig: &Path) -> Supervised {
        let log = scratch("workers").unwrap().join(format!("{}.log", self.world.namespace));
        let log = OpenOptions::new().create(true).append(true).open(log).unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_phasegate-temporal"));
        let arguments = [&self.server, &self.world.namespace, "worker", identity];
        self.world.cluster.supervise(kubeconfig, program, &arguments, log).unwrap()
    }

    /// Starts the gateway of this name.
    pub async fn start(&self, name: &str, deadline_seconds: u64) -> WorkflowHandle<Client, Lifecycle> {
        let gateway = GatewayRef { namespace: self.world.namespace.clone(), name: name.to_owned() };
        client::start(&self.client, &self.world.namespace, Job { gateway, deadline_seconds }).await.unwrap()
    }
}

/// How a workflow ends.
pub async fn end(handle: &WorkflowHandle<Client, Lifecycle>) -> End {
    handle.get_result(WorkflowGetResultOptions::default()).await.unwrap()
}

/// The events of a history as JSON.
pub async fn events(handle: &WorkflowHandle<Client, Lifecycle>) -> Vec<Value> {
    let history: Value = serde_json::from_slice(&client::history(handle).to_json().await.unwrap()).unwrap();
    history["events"].as_array().unwrap().clone()
}

/// The file of a recorded history.
pub fn recorded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("histories").join(name)
}

/// Writes a history to its file if `PHASEGATE_GENERATE=1`.
pub async fn record(handle: &WorkflowHandle<Client, Lifecycle>, name: &str) {
    if std::env::var_os("PHASEGATE_GENERATE").is_some_and(|value| value == "1") {
        let events = serde_json::json!({ "events": events(handle).await });
        std::fs::write(recorded(name), serde_json::to_string_pretty(&events).unwrap() + "\n").unwrap();
    }
}

/// The server's URL. It ends with the process of the tests.
async fn server() -> String {
    static SERVER: OnceCell<(String, Supervised)> = OnceCell::const_new();
    SERVER.get_or_init(start_server).await.0.clone()
}

async fn start_server() -> (String, Supervised) {
    let program = tokio::task::spawn_blocking(temporal).await.unwrap().unwrap();
    let port = free_port().to_string();
    let database = scratch("temporal").unwrap().join(format!("{}.db", std::process::id()));
    let mut command = supervised(program).unwrap();
    command.args(["server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", &port, "--log-level", "error"]);
    command.arg("--db-filename").arg(database).stdout(Stdio::null());
    let process = Supervised::start(&mut command).unwrap();
    let url = format!("http://127.0.0.1:{port}");
    let connected = eventually(Duration::from_millis(200), async || client::connect(&url, "user").await.ok()).await;
    assert!(connected.is_some(), "the Temporal server does not answer");
    (url, process)
}
