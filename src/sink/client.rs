//! Requests to the sink.
//!
//! **Architecture invariant:** a request is bounded in time, and little of its response is read. No redirect is
//! followed: the signature is for one receiver.

use std::time::Duration;

use anyhow::Context as _;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use k8s_openapi::jiff::Timestamp;
use kube::Config;
use kube::client::ConfigExt;

use super::answer::Answer;
use super::config::Settings;
use super::event::CONTENT_TYPE;
use super::signature::Secrets;
use crate::metrics::labels::EventFailure;

/// How much of a response is read, so that its connection can be used again.
const RESPONSE_BYTES: usize = 16 << 10;

/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(30);

/// A client of one sink.
pub struct Sink {
    settings: Settings,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Sink {
    /// A client of the sink. Nothing is sent yet.
    ///
    /// # Errors
    /// If the sink needs CA certificates, and the host has none.
    pub fn new(settings: Settings) -> anyhow::Result<Self> {
        let mut config = Config::new(settings.uri.clone());
        config.root_cert.clone_from(&settings.authorities);
        let connector = config
            .rustls_https_connector()
            .context("no CA certificates for the sink: set --events-sink-ca-file to a file with them")?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Ok(Self { settings, client })
    }

    /// The sink's scheme and host, for messages.
    pub(super) fn shown(&self) -> &str {
        &self.settings.shown
    }

    /// Sends an event once.
    pub(super) async fn send(&self, id: &str, body: Vec<u8>) -> Answer {
        let request = match self.request(id, body) {
            Ok(request) => request,
            Err(error) => {
                tracing::warn!(error, "an event cannot be signed or sent; retrying");
                return Answer::failed(EventFailure::Unsigned);
            }
        };
        tokio::time::timeout(self.settings.timeout, self.answer(request))
            .await
            .unwrap_or(Answer::failed(EventFailure::TimedOut))
    }

    fn request(&self, id: &str, body: Vec<u8>) -> Result<Request<Full<Bytes>>, String> {
        let timestamp = Timestamp::now().as_second();
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.settings.uri.clone())
            .header(header::CONTENT_TYPE, CONTENT_TYPE)
            .header(header::USER_AGENT, concat!("phasegate/", env!("CARGO_PKG_VERSION")));
        if let Some(file) = &self.settings.secret_file {
            let signature = Secrets::read(file)
                .map_err(|error| format!("--events-sink-secret-file {}: {error}", file.display()))?
                .sign(id, timestamp, &body);
            request = request
                .header("webhook-id", id)
                .header("webhook-timestamp", timestamp)
                .header("webhook-signature", signature);
        }
        request.body(Full::new(Bytes::from(body))).map_err(|error| error.to_string())
    }

    async fn answer(&self, request: Request<Full<Bytes>>) -> Answer {
        match self.client.request(request).await {
            Ok(response) => {
                let answer = Answer::of(response.status(), response.headers());
                let _ = Limited::new(response.into_body(), RESPONSE_BYTES).collect().await;
                answer
            }
            Err(error) => {
                tracing::debug!(%error, "the sink does not respond");
                Answer::failed(EventFailure::Unreachable)
            }
        }
    }
}
