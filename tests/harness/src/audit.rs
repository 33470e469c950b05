//! What the API server of an audited cluster has noted.

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use crate::cluster::Cluster;

/// One request that was answered.
#[derive(Debug)]
pub struct Noted {
    /// When it was received.
    pub at: Timestamp,
    /// The operator that asked, by its identity; empty for anybody else.
    pub operator: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: String,
    /// The kind's plural.
    pub resource: String,
    /// The object's name.
    pub object: String,
    /// What it was answered with.
    pub code: u64,
}

impl Noted {
    fn read(line: &str) -> Option<Self> {
        let entry: Value = serde_json::from_str(line).unwrap();
        let text = |path: &str| entry.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let agent = text("/userAgent");
        let operator = agent.strip_prefix("phasegate/").and_then(|agent| agent.split(['(', ')']).nth(1));
        (text("/stage") == "ResponseComplete").then(|| Self {
            at: text("/requestReceivedTimestamp").parse().unwrap(),
            operator: operator.unwrap_or_default().to_owned(),
            verb: text("/verb"),
            resource: text("/objectRef/resource"),
            object: text("/objectRef/name"),
            code: entry["responseStatus"]["code"].as_u64().unwrap(),
        })
    }

    /// Whether it changed something, or was to.
    pub fn is_write(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
    }

    /// Whether it is about a child of a gateway.
    pub fn is_of_child(&self) -> bool {
        ["deployments", "services", "ingresses", "poddisruptionbudgets"].contains(&self.resource.as_str())
    }
}

/// The requests that were answered, in the order in which they were received; only of lines of the log that have these words.
pub fn noted(cluster: &Cluster, words: &str) -> Vec<Noted> {
    let log = std::fs::read_to_string(cluster.audit_log()).unwrap();
    // The last line may be in the middle of being written.
    let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let mut noted: Vec<Noted> = whole.lines().filter(|line| line.contains(words)).filter_map(Noted::read).collect();
    noted.sort_by_key(|noted| noted.at);
    noted
}
