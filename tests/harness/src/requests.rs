//! What the API server itself counted.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::Client;

/// Requests that the API server answered for the kinds that the operator reads and writes,
/// by verb and resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requests(BTreeMap<(String, String), u64>);

const RESOURCES: [&str; 8] =
    ["apigateways", "environments", "deployments", "services", "ingresses", "poddisruptionbudgets", "pods", "events"];

impl Requests {
    /// Reads the API server's counters. Other components write Deployments' and pods' status
    /// too, so this says something only where nothing else happens.
    pub async fn read(client: &Client) -> Self {
        let request = kube::core::Request::new("").get("metrics", &Default::default()).unwrap();
        let text = client.request_text(request).await.unwrap();
        let mut counts = BTreeMap::new();
        for line in text.lines().filter(|line| line.starts_with("apiserver_request_total{")) {
            let (labels, count) = line.rsplit_once(' ').unwrap();
            let label = |name: &str| {
                let start = labels.find(&format!("{name}=\"")).unwrap() + name.len() + 2;
                labels[start..].split('"').next().unwrap().to_owned()
            };
            let (verb, resource) = (label("verb"), label("resource"));
            if RESOURCES.contains(&resource.as_str()) && verb != "WATCH" {
                *counts.entry((verb, resource)).or_default() += count.parse::<f64>().unwrap() as u64;
            }
        }
        Self(counts)
    }

    /// Waits until the other components, which finish their own work, are quiet too. The garbage
    /// collector looks for new kinds every 30 seconds and then asks for every owner of that kind.
    pub async fn settle(client: &Client) {
        let mut every = tokio::time::interval(Duration::from_secs(5));
        let mut before = Self::read(client).await;
        let mut quiet = 0;
        for _ in 0..40 {
            every.tick().await;
            let now = Self::read(client).await;
            quiet = if now == before { quiet + 1 } else { 0 };
            if quiet == 9 {
                return;
            }
            before = now;
        }
        panic!("requests go on: {:?}", Self::read(client).await.since(&before));
    }

    /// What was counted since `before`.
    pub fn since(&self, before: &Self) -> BTreeMap<(String, String), u64> {
        self.0
            .iter()
            .map(|(key, count)| (key.clone(), count - before.0.get(key).copied().unwrap_or_default()))
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}
