//! The way to the API server: how it is found, and what is noted of every request.

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
use super::kubeconfig;
use super::pulse::Pulses;
use super::reachability::LastHeard;
use crate::metrics::Metrics;
use crate::metrics::labels::{Resource, Verb};

/// Reads how the API server is reached, without asking it. `identity` is who asks.
///
/// # Errors
/// When there is no usable kubeconfig and no service account.
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
    // Longer than a watch lasts, so that only a connection that is dead ends by it.
    config.read_timeout = Some(Duration::from_secs(90));
    config.reset_reader_on_write = true;
    Ok(config)
}

/// Who asks, for the API server's audit log.
fn user_agent(identity: &str) -> anyhow::Result<HeaderValue> {
    HeaderValue::from_str(&format!("phasegate/{} ({identity})", env!("CARGO_PKG_VERSION")))
        .with_context(|| format!("the identity {identity:?} cannot be sent in a header"))
}

/// A client that counts its requests and notes when it was answered. What it has to send is sent while
/// `claim` is valid.
///
/// # Errors
/// When the address or the credentials cannot be used.
pub fn connect(
    config: Config,
    claim: &Claim,
    metrics: &Metrics,
    heard: &LastHeard,
    pulses: &Pulses,
) -> anyhow::Result<Client> {
    let builder = ClientBuilder::try_from((config, Fence { claim: claim.clone(), connections: Arc::default() }))
        .context("the API server's address or credentials cannot be used")?;
    let noted =
        layer_fn(|inner| Noted { inner, metrics: metrics.clone(), heard: heard.clone(), pulses: pulses.clone() });
    Ok(builder.with_layer(&noted).build())
}

/// Runs connections for as long as a claim is valid, and the client is there. A request that was handed to a connection,
/// and not yet sent when the process was frozen, is not sent when it thaws without its claim.
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

/// Notes every request and its answer.
struct Noted<S> {
    inner: S,
    metrics: Metrics,
    heard: LastHeard,
    pulses: Pulses,
}

impl<S, B> Service<Request<Body>> for Noted<S>
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
        let asked =
            Asked { metrics: self.metrics.clone(), verb, resource: resource(&path), code: None, began: Instant::now() };
        let (heard, pulses) = (self.heard.clone(), self.pulses.clone());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let mut asked = asked;
            let answer = answer.await?;
            heard.now();
            asked.code = Some(answer.status());
            if matches!(verb, Verb::List | Verb::Watch) && answer.status().is_success() {
                pulses.answered(&path);
            }
            Ok(answer)
        })
    }
}

/// A request, which is counted when it is answered or given up.
struct Asked {
    metrics: Metrics,
    verb: Verb,
    resource: Resource,
    code: Option<StatusCode>,
    began: Instant,
}

impl Drop for Asked {
    fn drop(&mut self) {
        let code = self.code.as_ref().map_or("none", StatusCode::as_str);
        self.metrics.requested(self.verb, self.resource, code, self.began.elapsed());
    }
}

/// The verb as RBAC names it, from what kube says that a request is.
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

/// The resource that a path is about: one of those that the operator knows, so that no name
/// becomes a label.
fn resource(path: &str) -> Resource {
    // /api/v1/… or /apis/GROUP/VERSION/…, then for what is in a namespace namespaces/NAME/….
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
