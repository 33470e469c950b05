//! An operator's HTTP endpoints.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use http::Request;
use kube::{Client, Config};

use crate::wait::eventually;

/// An HTTP client without credentials.
pub fn plain_client(url: &str) -> Client {
    let mut config = Config::new(url.parse().unwrap());
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(5));
    Client::try_from(config).unwrap()
}

/// A port that is free and stays free. The kernel may assign ephemeral ports to other connections at any time.
/// These ports are below that range, and each run begins at a different one.
pub fn free_port() -> u16 {
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 18_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = std::process::id().wrapping_mul(151) % u32::from(COUNT);
    loop {
        let next = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = FIRST + u16::try_from((begin + next) % u32::from(COUNT)).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The address at which an operator serves `/livez`, `/readyz` and `/metrics`.
pub struct Health {
    address: SocketAddr,
    client: Client,
}

impl Health {
    /// Reserves an address for an operator that will be started.
    pub fn reserve() -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        Self { address, client: plain_client(&format!("http://{address}")) }
    }

    /// The value of the operator's flag `--http-bind`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The status and body of a response. `None` while no server listens.
    pub async fn get(&self, path: &str) -> Option<(u16, String)> {
        let request = Request::get(path).body(kube::client::Body::empty()).unwrap();
        let answer = self.client.send(request).await.ok()?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect_bytes().await.ok()?;
        Some((status, String::from_utf8(body.to_vec()).unwrap()))
    }

    /// Waits until the response for `path` has this status and contains all of these words, and returns its
    /// body.
    pub async fn until(&self, path: &str, status: u16, words: &[&str]) -> String {
        let what = format!("{status} with {words:?}");
        self.until_so(path, &what, |found, said| found == status && words.iter().all(|word| said.contains(word))).await
    }

    /// Waits until the process reports one failure for each of these words and no other.
    pub async fn until_only_wrong(&self, path: &str, words: &[&str]) {
        let about = |line: &str| words.iter().any(|word| line.starts_with(word));
        let only = |said: &str| said.lines().count() == words.len() && said.lines().all(about);
        self.until_so(path, &format!("503 about {words:?} only"), |found, said| found == 503 && only(said)).await;
    }

    /// Waits until the response for `path` lacks these words.
    pub async fn until_without(&self, path: &str, words: &str) -> String {
        self.until_so(path, &format!("an answer without {words:?}"), |_, said| !said.contains(words)).await
    }

    async fn until_so(&self, path: &str, what: &str, wanted: impl Fn(u16, &str) -> bool) -> String {
        let mut last = None;
        let waited = eventually(Duration::from_millis(100), async || {
            last = self.get(path).await;
            last.as_ref().filter(|(found, said)| wanted(*found, said)).map(|(_, said)| said.clone())
        })
        .await;
        waited.unwrap_or_else(|| panic!("{path} does not come to {what}; the last answer: {last:?}"))
    }
}
