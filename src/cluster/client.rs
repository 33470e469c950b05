//! The client for the API server: configuration, metrics and connections.
//!
//! **Architecture invariant:** connections of a claim end with it, so a request that waits on a connection is
//! never sent after the claim has expired.

use std::future::poll_fn;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use hyper::rt::Executor;
use kube::client::{Body, ClientBuilder};
use kube::config::KubeConfigOptions;
use kube::{Client, Config};
use tokio::task::JoinSet;
use tower::layer::layer_fn;
use tower::{BoxError, Service};

use super::claim::Claim;
use super::heartbeat::Heartbeats;
use super::kubeconfig;
use super::reachability::LastContact;
use crate::metrics::Metrics;
use crate::metrics::labels::{Resource, Verb};

/// Reads how to reach the API server, without contacting it. `identity` goes into the user agent.
///
/// # Errors
/// If there is neither a usable kubeconfig nor a service account.
pub async fn client_config(
    kubeconfig: Option<&Path>,
    context: Option<String>,
    identity: &str,
) -> anyhow::Result<Config> {
    let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
    let mut config = kubeconfig::read(kubeconfig, &options).await?;
    config.default_retry = false;
    config.headers.push((HeaderName::from_static("user-agent"), user_agent(identity)?));
    config.connect_timeout = Some(Duration::from_secs(5));
    // Longer than a watch, so that only a dead connection times out.
    config.read_timeout = Some(Duration::from_secs(90));
    config.reset_reader_on_write = true;
    Ok(config)
}

/// The user agent, for the API server's audit log.
fn user_agent(identity: &str) -> anyhow::Result<HeaderValue> {
    HeaderValue::from_str(&format!("phasegate/{} ({identity})", env!("CARGO_PKG_VERSION")))
        .with_context(|| format!("identity {identity:?} is not a valid header value"))
}

/// A client that counts requests and records answers. It sends only while `claim` is valid.
///
/// # Errors
/// If the address or the credentials cannot be used.
pub fn connect(
    config: Config,
    claim: &Claim,
    metrics: &Metrics,
    last_contact: &LastContact,
    heartbeats: &Heartbeats,
) -> anyhow::Result<Client> {
    let builder = ClientBuilder::try_from((config, Fence { claim: claim.clone(), connections: Arc::default() }))
        .context("invalid API server address or credentials")?;
    let instrumented = layer_fn(|inner| Instrumented {
        inner,
        metrics: metrics.clone(),
        last_contact: last_contact.clone(),
        heartbeats: heartbeats.clone(),
    });
    Ok(builder.with_layer(&instrumented).build())
}

/// Runs connections while a claim is valid and the client exists. A request that was handed to a connection
/// before the process was frozen is not sent when it resumes without its claim.
#[derive(Clone)]
struct Fence {
    claim: Claim,
    connections: Arc<Mutex<JoinSet<()>>>,
}

impl Executor<Pin<Box<dyn Future<Output = ()> + Send>>> for Fence {
    fn execute(&self, mut connection: Pin<Box<dyn Future<Output = ()> + Send>>) {
        let claim = self.claim.clone();
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        while connections.try_join_next().is_some() {}
        connections
            .spawn(poll_fn(move |cx| if claim.is_valid() { connection.as_mut().poll(cx) } else { Poll::Ready(()) }));
    }
}

/// Middleware that records every request and its answer.
struct Instrumented<S> {
    inner: S,
    metrics: Metrics,
    last_contact: LastContact,
    heartbeats: Heartbeats,
}

impl<S, B> Service<Request<Body>> for Instrumented<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError>,
    S::Future: Send + 'static,
    B: Send,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let verb = verb(&request);
        let path = request.uri().path().to_owned();
        let pending = PendingRequest {
            metrics: self.metrics.clone(),
            verb,
            resource: resource(&path),
            code: None,
            began: Instant::now(),
        };
        let (last_contact, heartbeats) = (self.last_contact.clone(), self.heartbeats.clone());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let mut pending = pending;
            let answer = answer.await?;
            last_contact.now();
            pending.code = Some(answer.status());
            if matches!(verb, Verb::List | Verb::Watch) && answer.status().is_success() {
                heartbeats.answered(&path);
            }
            Ok(answer)
        })
    }
}

/// A request in flight. It is counted when it is answered or dropped.
struct PendingRequest {
    metrics: Metrics,
    verb: Verb,
    resource: Resource,
    code: Option<StatusCode>,
    began: Instant,
}

impl Drop for PendingRequest {
    fn drop(&mut self) {
        let code = self.code.as_ref().map_or("none", StatusCode::as_str);
        self.metrics.requested(self.verb, self.resource, code, self.began.elapsed());
    }
}

/// The RBAC verb of a request, from kube's request extensions.
fn verb(request: &Request<Body>) -> Verb {
    match request.extensions().get::<&'static str>().copied() {
        Some("list") => Verb::List,
        Some("watch") => Verb::Watch,
        Some("create") => Verb::Create,
        Some("replace" | "replace_status") => Verb::Update,
        Some("patch" | "patch_status") => Verb::Patch,
        Some("delete") => Verb::Delete,
        _ => Verb::Get,
    }
}

/// The resource in a URL path, if the operator knows it. No other name becomes a label.
fn resource(path: &str) -> Resource {
    // /api/v1/… or /apis/GROUP/VERSION/…, followed by namespaces/NAME/… for namespaced resources.
    let after_version = if path.starts_with("/apis/") { 3 } else { 2 };
    let mut parts = path.split('/').filter(|part| !part.is_empty()).skip(after_version);
    let first = parts.next().unwrap_or_default();
    let inner = if first == "namespaces" { parts.nth(1) } else { None };
    Resource::of(inner.unwrap_or(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resource_of_a_path_is_named_whether_it_is_in_a_namespace_or_not() {
        for (path, expected) in [
            ("/apis/phasegate.dev/v1alpha1/namespaces/deployments/apigateways/shop/status", "apigateways"),
            ("/apis/phasegate.dev/v1alpha1/apigateways", "apigateways"),
            ("/apis/apps/v1/namespaces/a/deployments", "deployments"),
            ("/api/v1/namespaces/a/services/pods", "services"),
            ("/api/v1/pods", "pods"),
            ("/api/v1/namespaces", "namespaces"),
            ("/api/v1/namespaces/a", "namespaces"),
            ("/version", "other"),
            ("/api/v1/namespaces/a/secrets/shop", "other"),
        ] {
            assert_eq!(resource(path).as_str(), expected, "{path}");
        }
    }
}
