//! What the API server itself counted, and what an operator did.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, bail};
use kube::Client;
use phasegate_harness::scrape::{counters, label};

/// Requests that the API server answered, by verb and resource (with its subresource).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requests(BTreeMap<(String, String), u64>);

/// The kinds that the operator reads and writes.
const RESOURCES: [&str; 9] = [
    "apigateways",
    "environments",
    "deployments",
    "services",
    "ingresses",
    "poddisruptionbudgets",
    "pods",
    "namespaces",
    "events.events.k8s.io",
];

impl Requests {
    /// Reads the API server's counters of the kinds that the operator reads and writes. Watches
    /// are left out: each is renewed every minute, whatever happens.
    pub async fn read(client: &Client) -> Result<Self> {
        let request = kube::core::Request::new("").get("metrics", &Default::default())?;
        let text = client.request_text(request).await?;
        let mut counts = BTreeMap::new();
        for (labels, count) in counters(&text, "apiserver_request_total") {
            let label = |name: &str| label(labels, name);
            let (Some(verb), Some(resource)) = (label("verb"), label("resource")) else { continue };
            let resource = match (resource, label("group")) {
                ("events", Some("events.k8s.io")) => "events.events.k8s.io",
                (resource, _) => resource,
            };
            if verb == "WATCH" || !RESOURCES.contains(&resource) {
                continue;
            }
            let target = match label("subresource") {
                Some(subresource) if !subresource.is_empty() => format!("{resource}/{subresource}"),
                _ => resource.to_owned(),
            };
            *counts.entry((verb.to_owned(), target)).or_default() += count.parse::<f64>()? as u64;
        }
        Ok(Self(counts))
    }

    /// Reads a counter in an operator's metrics by two of its labels. Watches are left out here, too.
    pub fn counted(metrics: &str, counter: &str, by: [&str; 2]) -> Result<Self> {
        let mut counts = BTreeMap::new();
        for (labels, count) in counters(metrics, counter) {
            let [first, second] = by.map(|name| label(labels, name).unwrap_or_default());
            if first != "watch" {
                *counts.entry((first.to_owned(), second.to_owned())).or_default() += count.parse::<f64>()? as u64;
            }
        }
        Ok(Self(counts))
    }

    /// Waits until nothing was counted for as long as `quiet`.
    pub async fn until_quiet(client: &Client, quiet: Duration) -> Result<()> {
        const STEP: Duration = Duration::from_secs(1);
        const DEADLINE: u32 = 300;
        let mut every = tokio::time::interval(STEP);
        let mut before = Self::read(client).await?;
        let mut so_far = Duration::ZERO;
        for _ in 0..DEADLINE {
            every.tick().await;
            let now = Self::read(client).await?;
            so_far = if now == before { so_far + STEP } else { Duration::ZERO };
            if so_far >= quiet {
                return Ok(());
            }
            before = now;
        }
        bail!("the control plane does not come to rest");
    }

    /// What was counted since `before`.
    pub fn since(&self, before: &Self) -> Self {
        let counted = self.0.iter().map(|(key, count)| {
            let earlier = before.0.get(key).copied().unwrap_or_default();
            (key.clone(), count.saturating_sub(earlier))
        });
        Self(counted.filter(|(_, count)| *count > 0).collect())
    }

    /// Those that only the operator makes while a burst starts, and the number of its Events,
    /// which the scheduler's are counted with.
    pub fn of_the_operator(self, events: usize) -> Self {
        let is_of_others = |verb: &str, target: &str| {
            // The user creates gateways; this program lists what it waits for; the garbage collector
            // asks for owners that it does not know yet; the other controllers and the simulated
            // kubelet write pods and statuses.
            matches!((verb, target), ("POST" | "GET" | "LIST", "apigateways"))
                || verb == "LIST"
                || target.starts_with("pods")
                || target.starts_with("namespaces")
                || target.starts_with("events")
                || target == "deployments/status"
        };
        let mut own: BTreeMap<_, _> =
            self.0.into_iter().filter(|((verb, target), _)| !is_of_others(verb, target)).collect();
        own.insert(("POST".to_owned(), "events.events.k8s.io".to_owned()), events as u64);
        Self(own)
    }

    /// Requests that change something.
    pub fn writes(&self) -> u64 {
        self.total(|verb| !is_read(verb))
    }

    /// Requests that only ask.
    pub fn reads(&self) -> u64 {
        self.total(is_read)
    }

    fn total(&self, counts: impl Fn(&str) -> bool) -> u64 {
        self.0.iter().filter(|((verb, _), _)| counts(verb)).map(|(_, count)| count).sum()
    }

    /// How many of a verb and a resource.
    pub fn of(&self, row: &str) -> u64 {
        self.rows().find(|(target, _)| target == row).map_or(0, |(_, count)| count)
    }

    /// Each verb and resource with its count.
    pub fn rows(&self) -> impl Iterator<Item = (String, u64)> {
        self.0.iter().map(|((verb, target), count)| (format!("{verb} {target}"), *count))
    }
}

/// In the API server's words, or in the operator's.
fn is_read(verb: &str) -> bool {
    matches!(verb, "GET" | "LIST" | "get" | "list")
}
