//! What the API server itself counted.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kube::Client;

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
        for line in text.lines().filter(|line| line.starts_with("apiserver_request_total{")) {
            let (labels, count) = line.rsplit_once(' ').context("a counter without a number")?;
            let label = |name: &str| {
                let (_, rest) = labels.split_once(&format!("{name}=\""))?;
                rest.split('"').next()
            };
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

    /// Waits until nothing was counted for as long as `quiet`.
    pub async fn until_quiet(client: &Client, quiet: Duration) -> Result<()> {
        const STEP: Duration = Duration::from_secs(1);
        const PATIENCE: u32 = 300;
        let mut every = tokio::time::interval(STEP);
        let mut before = Self::read(client).await?;
        let mut so_far = Duration::ZERO;
        for _ in 0..PATIENCE {
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
        self.total(|verb| !matches!(verb, "GET" | "LIST"))
    }

    /// Requests that only ask.
    pub fn reads(&self) -> u64 {
        self.total(|verb| matches!(verb, "GET" | "LIST"))
    }

    fn total(&self, counts: impl Fn(&str) -> bool) -> u64 {
        self.0.iter().filter(|((verb, _), _)| counts(verb)).map(|(_, count)| count).sum()
    }

    /// Each verb and resource with its count.
    pub fn rows(&self) -> impl Iterator<Item = (String, u64)> {
        self.0.iter().map(|((verb, target), count)| (format!("{verb} {target}"), *count))
    }
}
