//! The audit log of an audited cluster's API server.

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use crate::cluster::Cluster;

/// One answered request.
#[derive(Debug)]
pub struct AuditEntry {
    /// When it was received.
    pub at: Timestamp,
    /// The identity of the operator that sent it. It is empty for other clients.
    pub operator: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: String,
    /// The plural of the kind.
    pub resource: String,
    /// The object's name.
    pub object: String,
    /// The status code of the response.
    pub code: u64,
}

impl AuditEntry {
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

    /// Whether the request is a write, successful or not.
    pub fn is_write(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
    }

    /// Whether it is for a child of a gateway.
    pub fn is_of_child(&self) -> bool {
        ["deployments", "services", "ingresses", "httproutes", "poddisruptionbudgets"].contains(&self.resource.as_str())
    }
}

/// The answered requests, in order of arrival. Lines of the log without these words are skipped.
pub fn audit_entries(cluster: &Cluster, words: &str) -> Vec<AuditEntry> {
    let log = std::fs::read_to_string(cluster.audit_log()).unwrap();
    // The last line may be incomplete.
    let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let mut noted: Vec<AuditEntry> =
        whole.lines().filter(|line| line.contains(words)).filter_map(AuditEntry::read).collect();
    noted.sort_by_key(|noted| noted.at);
    noted
}
