//! An admission webhook for one namespace. The test sets its response.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use axum::serve::Listener;
use http::header::CONTENT_TYPE;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

use crate::cluster::Cluster;
use crate::command::run;
use crate::wait::eventually;
use crate::world::World;

/// The response of the webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Allows everything.
    Allows,
    /// Denies everything with this code and reason, and the message `not on Fridays`.
    Denies(u16, &'static str),
    /// Does not respond while this mode lasts.
    Hangs,
}

/// A running webhook. It is removed with its configuration when this value is dropped.
pub struct Webhook<'a> {
    world: &'a World,
    url: String,
    answer: watch::Sender<Admission>,
    _end: oneshot::Sender<()>,
}

/// The webhook's message for an object that is not the test's own. It proves that the webhook is called.
const IN_FORCE: &str = "the webhook is in force";
/// An address without a listener.
const NOWHERE: &str = "https://127.0.0.1:1/";

impl<'a> Webhook<'a> {
    /// Starts a webhook that allows everything, for these resources of the world's namespace. They are written as
    /// `group/plural` or `group/plural/status`. `seconds` is its timeout. Its name is
    /// `NAMESPACE.example.com`.
    ///
    /// It uses the API server's own certificate, so that the world's cluster must be a local one.
    pub async fn start(world: &'a World, resources: &[&str], seconds: u8) -> Self {
        let (sender, answer) = watch::channel(Admission::Allows);
        let (end, ended) = oneshot::channel();
        let (bound, address) = oneshot::channel();
        let tls = acceptor(&world.cluster);
        // The webhook runs on a thread of its own, because a test that waits for a process blocks its thread.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let serving = runtime.spawn(serve(tls, answer, bound));
            let _ = runtime.block_on(ended);
            serving.abort();
            runtime.shutdown_background();
        });
        let url = format!("https://{}/", address.await.unwrap());
        let webhook = Self { world, url, answer: sender, _end: end };
        webhook.configure(resources, seconds).await;
        webhook.until_tried(IN_FORCE).await;
        webhook
    }

    /// Sets the response from now on.
    pub fn answers(&self, answer: Admission) {
        self.answer.send_replace(answer);
    }

    /// Makes the API server call an address without a listener.
    pub async fn goes_away(&self) {
        self.is_at(NOWHERE).await;
        self.until_tried("failed calling webhook").await;
    }

    /// Restores the webhook's address.
    pub async fn comes_back(&self) {
        self.is_at(&self.url).await;
        self.until_tried(IN_FORCE).await;
    }

    fn configurations(&self) -> Api<ValidatingWebhookConfiguration> {
        Api::all(self.world.client.clone())
    }

    async fn configure(&self, resources: &[&str], seconds: u8) {
        let rule = |resource: &str| {
            let (group, plural) = resource.split_once('/').unwrap();
            json!({ "apiGroups": [group], "apiVersions": ["*"], "operations": ["*"], "resources": [plural] })
        };
        let rules: Vec<Value> = resources.iter().copied().chain(["/configmaps"]).map(rule).collect();
        let authority = std::fs::read(self.world.cluster.kubeconfig.with_file_name("ca.crt")).unwrap();
        let authority = k8s_openapi::ByteString(authority);
        let configuration = json!({
            "metadata": { "name": self.world.namespace },
            "webhooks": [{
                "name": format!("{}.example.com", self.world.namespace),
                "clientConfig": { "url": self.url, "caBundle": authority },
                "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": self.world.namespace } },
                "rules": rules,
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                "failurePolicy": "Fail",
                "timeoutSeconds": seconds,
            }],
        });
        let configuration = serde_json::from_value(configuration).unwrap();
        self.configurations().create(&PostParams::default(), &configuration).await.unwrap();
    }

    async fn is_at(&self, url: &str) {
        let patch = json!([{ "op": "replace", "path": "/webhooks/0/clientConfig/url", "value": url }]);
        let patch: Patch<()> = Patch::Json(serde_json::from_value(patch).unwrap());
        self.configurations().patch(&self.world.namespace, &PatchParams::default(), &patch).await.unwrap();
    }

    /// Waits until an object that is not the test's own is refused with these words.
    async fn until_tried(&self, words: &str) {
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        let probe: ConfigMap = serde_json::from_value(json!({ "metadata": { "name": "probe" } })).unwrap();
        let waited = eventually(Duration::from_millis(100), async || {
            let refused = self.world.api::<ConfigMap>().create(&dry_run, &probe).await.err()?;
            refused.to_string().contains(words).then_some(())
        });
        assert!(waited.await.is_some(), "no object is refused in the words {words:?}");
    }
}

impl Drop for Webhook<'_> {
    fn drop(&mut self) {
        let name = &self.world.namespace;
        let kind = "validatingwebhookconfiguration";
        let _ = run(self.world.cluster.kubectl().args(["delete", kind, name, "--ignore-not-found"]));
    }
}

/// The certificate of a cluster's API server, which is valid for 127.0.0.1.
fn acceptor(cluster: &Cluster) -> TlsAcceptor {
    let file = |name: &str| cluster.kubeconfig.with_file_name(name);
    let certificates = |path: &Path| CertificateDer::pem_file_iter(path).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates(&file("server.crt")), key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// Accepts connections and their TLS handshakes.
struct Encrypted {
    plain: TcpListener,
    tls: TlsAcceptor,
}

impl Listener for Encrypted {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, address)) = self.plain.accept().await else { continue };
            if let Ok(stream) = self.tls.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.plain.local_addr()
    }
}

async fn serve(tls: TlsAcceptor, answer: watch::Receiver<Admission>, bound: oneshot::Sender<SocketAddr>) {
    let plain = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    bound.send(plain.local_addr().unwrap()).unwrap();
    let app = Router::new().route("/", post(review)).with_state(answer);
    axum::serve(Encrypted { plain, tls }, app).await.unwrap();
}

async fn review(
    State(mut answer): State<watch::Receiver<Admission>>,
    body: Bytes,
) -> ([(http::HeaderName, &'static str); 1], String) {
    let review: Value = serde_json::from_slice(&body).unwrap();
    let request = &review["request"];
    let verdict = if request["kind"]["kind"] == "ConfigMap" {
        let is_probe = request["object"]["metadata"]["name"] == "probe";
        if is_probe { denies(403, "Forbidden", IN_FORCE) } else { json!({ "allowed": true }) }
    } else {
        let _ = answer.wait_for(|answer| *answer != Admission::Hangs).await;
        match *answer.borrow() {
            Admission::Denies(code, reason) => denies(code, reason, "not on Fridays"),
            Admission::Allows | Admission::Hangs => json!({ "allowed": true }),
        }
    };
    let mut response = verdict;
    response["uid"] = request["uid"].clone();
    let answer = json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response });
    ([(CONTENT_TYPE, "application/json")], answer.to_string())
}

fn denies(code: u16, reason: &str, message: &str) -> Value {
    json!({ "allowed": false, "status": { "code": code, "reason": reason, "message": message } })
}
