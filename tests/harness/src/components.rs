//! Kills, freezes and restarts processes: the components of a local cluster, and operators.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::command::run;
use crate::health::plain_client;
use crate::wait::eventually;

/// A component of a private local cluster.
pub struct Component<'a> {
    folder: &'a Path,
    name: &'a str,
}

impl<'a> Component<'a> {
    /// `kube-apiserver`, `etcd` and so on.
    pub fn of(cluster: &'a Cluster, name: &'a str) -> Self {
        Self { folder: cluster.kubeconfig.parent().unwrap(), name }
    }

    fn about(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.folder.join("cluster.json")).unwrap()).unwrap()
    }

    fn pid(&self) -> Option<u32> {
        self.about()["pids"][self.name].as_u64().map(|pid| pid.try_into().unwrap())
    }

    /// The port on which it listens.
    pub fn port(&self) -> u64 {
        self.about()["ports"][self.name].as_u64().unwrap()
    }

    /// Kills it. The supervisor restarts it at once.
    pub async fn restart(&self) {
        let before = self.pid();
        signal(before.unwrap(), "KILL");
        self.until("started again", |pid| pid.is_some() && pid != before).await;
    }

    /// Kills it. The supervisor restarts it when the returned value is dropped.
    pub async fn take_down(&self) -> Down {
        let down = self.folder.join(format!("{}.down", self.name));
        std::fs::write(&down, "").unwrap();
        let down = Down(down);
        signal(self.pid().unwrap(), "KILL");
        self.until("down", |pid| pid.is_none()).await;
        down
    }

    /// Freezes it until the returned value is dropped. It keeps its connections and does not respond.
    pub fn freeze(&self) -> Frozen {
        let pid = self.pid().unwrap();
        signal(pid, "STOP");
        Frozen(pid)
    }

    async fn until(&self, what: &str, wanted: impl Fn(Option<u32>) -> bool) {
        let waited = eventually(Duration::from_millis(50), async || wanted(self.pid()).then_some(())).await;
        assert!(waited.is_some(), "{} is not {what}", self.name);
    }
}

/// Keeps a component down.
pub struct Down(PathBuf);

impl Drop for Down {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Keeps a component frozen.
pub struct Frozen(u32);

impl Drop for Frozen {
    fn drop(&mut self) {
        signal(self.0, "CONT");
    }
}

/// Compacts the history of etcd up to a revision.
pub async fn compact(cluster: &Cluster, revision: &str) {
    let etcd = Component::of(cluster, "etcd");
    let store = plain_client(&format!("http://127.0.0.1:{}", etcd.port()));
    let body = json!({ "revision": revision, "physical": true }).to_string().into_bytes();
    let request = http::Request::post("/v3/kv/compaction").body(body.into()).unwrap();
    assert_eq!(store.send(request).await.unwrap().status(), 200);
}

/// Waits until an API server is ready.
pub async fn until_ready(client: &kube::Client) {
    let waited = eventually(Duration::from_millis(100), async || {
        let request = kube::core::Request::new("").get("readyz", &Default::default()).unwrap();
        client.request_text(request).await.ok()
    });
    assert!(waited.await.is_some(), "the API server is not ready");
}

/// Sends a signal (`KILL`, `TERM`, `STOP`, `CONT`) to a process.
pub fn signal(pid: u32, name: &str) {
    run(Command::new("kill").args(["-s", name, &pid.to_string()])).unwrap();
}

/// The only child of a process.
pub fn child_of(pid: u32) -> u32 {
    let output = Command::new("pgrep").args(["-P", &pid.to_string()]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}
