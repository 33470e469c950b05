//! A reverse proxy that injects faults between an operator and its API server. While a rule applies, it answers
//! for the API server, stays silent, or closes the connection.
//!
//! **Architecture invariant**: the proxy has no identity of its own. The operator's credentials determine what
//! the API server allows.

use std::fmt::Write as _;
use std::future::pending;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, BodyDataStream, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Response, header};
use futures::{Stream, StreamExt, stream};
use kube::Client;
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};

use crate::wait::DEADLINE;

/// A fault for a request, or for a response in progress.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Responds with this HTTP status and does not forward the request.
    Answer(u16),
    /// Responds with 429 and asks the client to retry after this number of seconds.
    TryAgainAfter(u32),
    /// Forwards the request, and responds with this HTTP status instead of the API server's.
    AnswerAfterwards(u16),
    /// Does not respond, and closes the connection when the rule is dropped.
    Hang,
    /// Forwards the request and keeps its response back, and closes the connection when the rule is dropped.
    HangAfterwards,
    /// Closes the connection, even of a response in progress.
    Cut,
    /// Forwards no further byte of the response and keeps the connection open.
    Mute,
}

/// A request, with its parts as Kubernetes names them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxiedRequest {
    /// `get`, `list`, `watch`, `create`, `update`, `patch` or `delete`.
    pub verb: &'static str,
    /// The plural of the kind, or the first part of the path if the request is not for a resource.
    pub resource: String,
    /// `status`, and so on.
    pub subresource: String,
    /// Empty for a request that is not for one namespace.
    pub namespace: String,
    /// Empty for `list` and `watch`.
    pub name: String,
}

impl ProxiedRequest {
    fn new(method: &Method, path: &str, query: &str, body: &[u8]) -> Self {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let rest = match parts.as_slice() {
            ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
            rest => rest,
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            rest => ("", rest),
        };
        let part = |index: usize| rest.get(index).copied().unwrap_or_default().to_owned();
        let mut asked = Self {
            verb: "get",
            resource: part(0),
            name: part(1),
            subresource: part(2),
            namespace: namespace.to_owned(),
        };
        asked.verb = match *method {
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ if query.contains("watch=") => "watch",
            _ if asked.name.is_empty() && parts.first().is_some_and(|part| part.starts_with("api")) => "list",
            _ => "get",
        };
        if asked.verb == "create" {
            // For a create, only the body contains the name.
            let object: Value = serde_json::from_slice(body).unwrap_or_default();
            asked.name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        }
        asked
    }

    /// Whether it is a write.
    pub fn is_write(&self) -> bool {
        !matches!(self.verb, "get" | "list" | "watch")
    }

    /// Whether it is for the kind of this plural.
    pub fn is_of(&self, plural: &str) -> bool {
        self.resource == plural
    }
}

struct Rule {
    number: usize,
    fault: Fault,
    matches: Box<dyn Fn(&ProxiedRequest) -> bool + Send + Sync>,
    caught: watch::Sender<usize>,
}

/// The current rules, and the requests so far.
struct Switchboard {
    rules: Mutex<Vec<Rule>>,
    changed: watch::Sender<()>,
    asked: Mutex<Vec<ProxiedRequest>>,
}

impl Switchboard {
    fn rules(&self) -> MutexGuard<'_, Vec<Rule>> {
        self.rules.lock().unwrap()
    }

    /// The first fault that applies to a request. The request is counted.
    fn fault(&self, asked: &ProxiedRequest, among: fn(&Fault) -> bool) -> Option<Fault> {
        self.rule(asked, among).map(|(_, fault)| fault)
    }

    /// The first fault that applies to a request, with the number of its rule.
    fn rule(&self, asked: &ProxiedRequest, among: fn(&Fault) -> bool) -> Option<(usize, Fault)> {
        let rules = self.rules();
        let rule = rules.iter().find(|rule| among(&rule.fault) && (rule.matches)(asked))?;
        rule.caught.send_modify(|caught| *caught += 1);
        Some((rule.number, rule.fault))
    }

    /// Waits until a rule is dropped.
    async fn dropped(&self, number: usize) {
        let mut changed = self.changed.subscribe();
        let _ = changed.wait_for(|()| !self.rules().iter().any(|rule| rule.number == number)).await;
    }
}

/// A running proxy. It ends with this value.
pub struct Proxy {
    board: Arc<Switchboard>,
    kubeconfig: PathBuf,
    _end: oneshot::Sender<()>,
}

impl Proxy {
    /// Starts a proxy to the API server of this kubeconfig's context.
    pub async fn start(kubeconfig: &Path) -> Self {
        let mut behind = Kubeconfig::read_from(kubeconfig).unwrap();
        let mut config =
            kube::Config::from_custom_kubeconfig(behind.clone(), &KubeConfigOptions::default()).await.unwrap();
        config.auth_info = AuthInfo::default();
        config.default_retry = false;

        let board =
            Arc::new(Switchboard { rules: Mutex::default(), changed: watch::Sender::new(()), asked: Mutex::default() });
        let (end, ended) = oneshot::channel();
        let (bound, address) = oneshot::channel();
        let served = Arc::clone(&board);
        // The proxy runs on a thread of its own, because a test that waits for a process blocks its thread.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let serving = runtime.spawn(serve(served, config, bound));
            let _ = runtime.block_on(ended);
            serving.abort();
            runtime.shutdown_background();
        });

        let address = address.await.unwrap();
        for cluster in behind.clusters.iter_mut().filter_map(|cluster| cluster.cluster.as_mut()) {
            cluster.server = Some(format!("http://{address}"));
            cluster.certificate_authority = None;
            cluster.certificate_authority_data = None;
        }
        // It is next to the original. That folder is readable by its owner only and is removed with the run.
        let kubeconfig = kubeconfig.with_file_name(format!("proxy-{}.kubeconfig", address.port()));
        std::fs::write(&kubeconfig, serde_json::to_vec(&behind).unwrap()).unwrap();
        Self { board, kubeconfig, _end: end }
    }

    /// The kubeconfig of the same user with the proxy as its server.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Applies `fault` to the requests that match, until the returned value is dropped. If several rules match,
    /// the first applies.
    #[must_use]
    pub fn when(&self, fault: Fault, matches: impl Fn(&ProxiedRequest) -> bool + Send + Sync + 'static) -> ActiveFault {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let (sender, caught) = watch::channel(0);
        self.board.rules().push(Rule { number, fault, matches: Box::new(matches), caught: sender });
        self.board.changed.send_replace(());
        ActiveFault { board: Arc::clone(&self.board), number, caught }
    }

    /// The number of requests that match.
    pub fn count(&self, matches: impl Fn(&ProxiedRequest) -> bool) -> usize {
        self.board.asked.lock().unwrap().iter().filter(|asked| matches(asked)).count()
    }
}

/// A fault that applies until this value is dropped.
pub struct ActiveFault {
    board: Arc<Switchboard>,
    number: usize,
    caught: watch::Receiver<usize>,
}

impl ActiveFault {
    /// Waits until the fault was applied to this number of requests or responses.
    pub async fn caught(&mut self, count: usize) {
        let enough = tokio::time::timeout(DEADLINE, self.caught.wait_for(|caught| *caught >= count)).await.is_ok();
        assert!(enough, "only {} of {count} requests met the fault", self.count());
    }

    /// How often the fault was applied so far.
    pub fn count(&self) -> usize {
        *self.caught.borrow()
    }
}

impl Drop for ActiveFault {
    fn drop(&mut self) {
        self.board.rules().retain(|rule| rule.number != self.number);
        self.board.changed.send_replace(());
    }
}

async fn serve(board: Arc<Switchboard>, config: kube::Config, bound: oneshot::Sender<SocketAddr>) {
    let client = Client::try_from(config).unwrap();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    bound.send(listener.local_addr().unwrap()).unwrap();
    let app = Router::new().fallback(handle).with_state((board, client));
    axum::serve(listener, app).await.unwrap();
}

async fn handle(State((board, client)): State<(Arc<Switchboard>, Client)>, request: Request) -> Response<Body> {
    let (mut parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let asked = ProxiedRequest::new(&parts.method, parts.uri.path(), parts.uri.query().unwrap_or_default(), &body);
    board.asked.lock().unwrap().push(asked.clone());
    let rule = board.rule(&asked, |fault| !matches!(fault, Fault::Mute));
    match rule {
        Some((_, Fault::Answer(code))) => return refusal(code, None),
        Some((_, Fault::TryAgainAfter(seconds))) => return refusal(429, Some(seconds)),
        Some((number, Fault::Hang)) => {
            board.dropped(number).await;
            return broken_off();
        }
        Some((_, Fault::Cut)) => return broken_off(),
        Some((_, Fault::AnswerAfterwards(_) | Fault::HangAfterwards | Fault::Mute)) | None => {}
    }

    keep_end_to_end(&mut parts.headers);
    let Ok(answer) = client.send(Request::from_parts(parts, kube::client::Body::from(body))).await else {
        return broken_off();
    };
    let (mut parts, body) = answer.into_parts();
    keep_end_to_end(&mut parts.headers);
    let body = Body::new(body);
    if let Some((_, Fault::AnswerAfterwards(code))) = rule {
        let _ = to_bytes(body, usize::MAX).await;
        return refusal(code, None);
    }
    if let Some((number, Fault::HangAfterwards)) = rule {
        let _ = to_bytes(body, usize::MAX).await;
        board.dropped(number).await;
        return broken_off();
    }
    Response::from_parts(parts, Body::from_stream(flow(board, asked, body.into_data_stream())))
}

/// The rest of a response, while no rule applies to it.
fn flow(
    board: Arc<Switchboard>,
    asked: ProxiedRequest,
    data: BodyDataStream,
) -> impl Stream<Item = Result<Bytes, BoxError>> {
    let changed = board.changed.subscribe();
    stream::unfold((board, asked, data, changed), |(board, asked, mut data, mut changed)| async move {
        loop {
            match board.fault(&asked, |fault| matches!(fault, Fault::Mute | Fault::Cut)) {
                Some(Fault::Mute) => pending().await,
                Some(_) => return Some((Err("cut".into()), (board, asked, data, changed))),
                None => {}
            }
            tokio::select! {
                chunk = data.next() => {
                    let chunk = chunk?.map_err(Into::into);
                    return Some((chunk, (board, asked, data, changed)));
                }
                _ = changed.changed() => {}
            }
        }
    })
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Removes the headers of a connection (hop-by-hop headers).
fn keep_end_to_end(headers: &mut HeaderMap) {
    for name in [header::CONNECTION, header::HOST, header::TRANSFER_ENCODING] {
        headers.remove(name);
    }
}

/// A response that ends before it is complete.
fn broken_off() -> Response<Body> {
    let nothing = stream::once(async { Err::<Bytes, BoxError>("cut".into()) });
    Response::new(Body::from_stream(nothing))
}

fn refusal(code: u16, retry_after: Option<u32>) -> Response<Body> {
    let mut message = format!("the test's proxy answers {code}");
    if let Some(seconds) = retry_after {
        let _ = write!(message, ", try again after {seconds} s");
    }
    let reason = match code {
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "InternalError",
    };
    // An API server reports it in the header and in the body.
    let details = json!({ "retryAfterSeconds": retry_after });
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "code": code, "reason": reason, "message": message, "details": details,
    });
    let mut answer = Response::builder().status(code).header(header::CONTENT_TYPE, "application/json");
    if let Some(seconds) = retry_after {
        answer = answer.header(header::RETRY_AFTER, seconds);
    }
    answer.body(Body::from(status.to_string())).unwrap()
}

#[test]
fn a_request_is_named_as_kubernetes_names_it() {
    let asked = |method, path, query| ProxiedRequest::new(&method, path, query, br#"{"metadata":{"name":"shop"}}"#);
    let new = |verb, resource: &str, subresource: &str, namespace: &str, name: &str| ProxiedRequest {
        verb,
        resource: resource.to_owned(),
        subresource: subresource.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    assert_eq!(
        asked(Method::PUT, "/apis/phasegate.dev/v1alpha1/namespaces/a/apigateways/shop/status", ""),
        new("update", "apigateways", "status", "a", "shop")
    );
    assert_eq!(
        asked(Method::POST, "/api/v1/namespaces/a/services", "fieldManager=x"),
        new("create", "services", "", "a", "shop")
    );
    assert_eq!(asked(Method::GET, "/api/v1/namespaces", "watch=true"), new("watch", "namespaces", "", "", ""));
    assert_eq!(asked(Method::GET, "/api/v1/namespaces", "limit=500"), new("list", "namespaces", "", "", ""));
    assert_eq!(asked(Method::GET, "/version", ""), new("get", "version", "", "", ""));
}
