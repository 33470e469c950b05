//! The API server's own request counters.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::Client;

use crate::scrape::{counters, label};

/// The requests for resources that the API server answered, by verb and resource. Periodic requests of the
/// control plane are left out (renewed watches and Leases), and so are requests for anything but resources
/// (`/metrics`, discovery).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requests(BTreeMap<(String, String), u64>);

/// How long the API server receives no request before it counts as settled.
pub const SETTLED: Duration = Duration::from_secs(40);

impl Requests {
    /// Reads the API server's counters. They include other components' requests, so that they are meaningful
    /// only if nothing else happens.
    pub async fn read(client: &Client) -> Self {
        let request = kube::core::Request::new("").get("metrics", &Default::default()).unwrap();
        Self::counted(&client.request_text(request).await.unwrap())
    }

    fn counted(text: &str) -> Self {
        let mut counts = BTreeMap::new();
        for (labels, count) in counters(text, "apiserver_request_total") {
            let [verb, resource, scope] =
                ["verb", "resource", "scope"].map(|name| label(labels, name).unwrap_or_default());
            let by_clock = matches!(
                (verb, resource, scope),
                ("WATCH", ..) | (_, "", _) | ("PUT", "leases", _) | ("LIST", "services", "cluster")
            );
            if !by_clock {
                let (verb, resource) = (verb.to_owned(), resource.to_owned());
                *counts.entry((verb, resource)).or_default() += count.parse::<f64>().unwrap() as u64;
            }
        }
        Self(counts)
    }

    /// Waits until the other components are idle, and returns counters that have not changed for [`SETTLED`].
    /// The garbage collector looks for new kinds every 30 seconds and then reads every owner of such a kind.
    pub async fn settle(client: &Client) -> Self {
        const EVERY: Duration = Duration::from_secs(5);
        let mut every = tokio::time::interval(EVERY);
        every.tick().await;
        let mut before = Self::read(client).await;
        let mut quiet = Duration::ZERO;
        for _ in 0..40 {
            every.tick().await;
            let now = Self::read(client).await;
            quiet = if now == before { quiet + EVERY } else { Duration::ZERO };
            if quiet == SETTLED {
                return now;
            }
            before = now;
        }
        panic!("requests go on: {:?}", Self::read(client).await.since(&before));
    }

    /// The requests since `before`.
    pub fn since(&self, before: &Self) -> BTreeMap<(String, String), u64> {
        self.0
            .iter()
            .map(|(key, count)| (key.clone(), count - before.0.get(key).copied().unwrap_or_default()))
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}

#[test]
fn a_read_of_any_resource_is_counted() {
    let line = |verb: &str, resource: &str, count: u64| {
        format!("apiserver_request_total{{code=\"200\",resource=\"{resource}\",verb=\"{verb}\"}} {count}\n")
    };
    let before = Requests::counted(&(line("GET", "pods", 3) + &line("PUT", "leases", 7) + &line("GET", "", 1)));
    let text = line("GET", "pods", 3) + &line("PUT", "leases", 9) + &line("GET", "", 2) + &line("WATCH", "pods", 1);
    assert_eq!(Requests::counted(&text).since(&before), BTreeMap::new());
    let read = Requests::counted(&(text + &line("GET", "leases", 1) + &line("LIST", "secrets", 1)));
    let found: Vec<(String, u64)> = read
        .since(&before)
        .into_iter()
        .map(|((verb, resource), count)| (format!("{verb} {resource}"), count))
        .collect();
    assert_eq!(found, [("GET leases".to_owned(), 1), ("LIST secrets".to_owned(), 1)]);
}
