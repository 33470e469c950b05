//! A reverse proxy that injects faults between an operator and its API server. While a rule applies, it answers
//! for the API server, stays silent, or closes the connection.
//!
//! **Architecture invariant**: the proxy has no identity of its own. The operator's credentials determine what
//! the API server allows.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Response, Uri, header};
use kube::Client;
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use tokio::sync::{oneshot, watch};

use crate::wait::DEADLINE;

mod fault;
mod relay;
mod request;

pub use fault::Fault;
use fault::{broken_off, page, refusal};
use relay::relay;
pub use request::ProxiedRequest;

struct Rule {
    number: usize,
    fault: Fault,
    matches: Box<dyn Fn(&ProxiedRequest) -> bool + Send + Sync>,
    /// How often it still applies.
    left: usize,
    caught: watch::Sender<usize>,
}

/// The current rules, and the requests so far.
struct Switchboard {
    rules: Mutex<Vec<Rule>>,
    changed: watch::Sender<()>,
    asked: Mutex<Vec<ProxiedRequest>>,
    /// What the API server first responded while a rule applied, by the rule and the request.
    firsts: Mutex<BTreeMap<(Option<usize>, String), Bytes>>,
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
        let mut rules = self.rules();
        let rule = rules.iter_mut().find(|rule| rule.left > 0 && among(&rule.fault) && (rule.matches)(asked))?;
        rule.left -= 1;
        // A fault of an answer is met when the API server has answered: whoever waits for it may end the client.
        if !rule.fault.is_of_answers() {
            rule.caught.send_modify(|caught| *caught += 1);
        }
        Some((rule.number, rule.fault))
    }

    /// A request that meets a fault of its answer was answered by the API server.
    fn answered(&self, number: Option<usize>) {
        if let Some(rule) = self.rules().iter().find(|rule| Some(rule.number) == number) {
            rule.caught.send_modify(|caught| *caught += 1);
        }
    }

    /// Waits until a rule is dropped.
    async fn dropped(&self, number: Option<usize>) {
        let mut changed = self.changed.subscribe();
        let _ = changed.wait_for(|()| !self.rules().iter().any(|rule| Some(rule.number) == number)).await;
    }

    /// The first response to this request while the rule applied.
    fn first(&self, number: Option<usize>, uri: &Uri, bytes: Bytes) -> Bytes {
        self.firsts.lock().unwrap().entry((number, uri.to_string())).or_insert(bytes).clone()
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

        let board = Arc::new(Switchboard {
            rules: Mutex::default(),
            changed: watch::Sender::new(()),
            asked: Mutex::default(),
            firsts: Mutex::default(),
        });
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
        self.when_next(usize::MAX, fault, matches)
    }

    /// The same for so many requests or events that match, the next ones.
    #[must_use]
    pub fn when_next(
        &self,
        times: usize,
        fault: Fault,
        matches: impl Fn(&ProxiedRequest) -> bool + Send + Sync + 'static,
    ) -> ActiveFault {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let (sender, caught) = watch::channel(0);
        self.board.rules().push(Rule { number, fault, matches: Box::new(matches), left: times, caught: sender });
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
    let query = parts.uri.query().unwrap_or_default();
    let asked = ProxiedRequest::new(&parts.method, parts.uri.path(), query, &body);
    board.asked.lock().unwrap().push(asked.clone());
    let (rule, fault) = board.rule(&asked, Fault::is_of_requests).unzip();
    match fault {
        Some(Fault::Answer(code)) => return refusal(code, None),
        Some(Fault::TryAgainAfter(seconds)) => return refusal(429, Some(seconds)),
        Some(Fault::ErrorPage(code)) => return page(code),
        Some(Fault::Cut) => return broken_off(Bytes::new()),
        Some(Fault::Hang) => {
            board.dropped(rule).await;
            return broken_off(Bytes::new());
        }
        Some(Fault::Delay(time)) => tokio::time::sleep(time).await,
        Some(Fault::Pages(size)) => parts.uri = with_limit(&parts.uri, size),
        _ => {}
    }

    keep_end_to_end(&mut parts.headers);
    let request = || {
        let mut request = Request::new(kube::client::Body::from(body.clone()));
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = parts.uri.clone();
        *request.headers_mut() = parts.headers.clone();
        request
    };
    if fault == Some(Fault::Twice) {
        let _ = client.send(request()).await;
    }
    let answer = match fault {
        Some(Fault::Hold) => send_when_dropped(Arc::clone(&board), rule, client, request()).await,
        _ => client.send(request()).await,
    };
    let Ok(answer) = answer else {
        return broken_off(Bytes::new());
    };
    let (mut answered, body) = answer.into_parts();
    keep_end_to_end(&mut answered.headers);
    let body = Body::new(body);
    if !fault.is_some_and(|fault| fault.is_of_answers()) {
        return Response::from_parts(answered, Body::from_stream(relay(board, asked, body.into_data_stream())));
    }

    let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
    board.answered(rule);
    match fault {
        Some(Fault::AnswerAfterwards(code)) => refusal(code, None),
        Some(Fault::CutAfterwards) => broken_off(Bytes::new()),
        Some(Fault::HangAfterwards) => {
            board.dropped(rule).await;
            broken_off(Bytes::new())
        }
        Some(Fault::HoldAfterwards) => {
            board.dropped(rule).await;
            Response::from_parts(answered, Body::from(bytes))
        }
        Some(Fault::Truncate) => broken_off(bytes.slice(..bytes.len() / 2)),
        Some(Fault::Empty) => Response::new(Body::empty()),
        Some(Fault::Garbage) => page(200),
        Some(Fault::Stale) => Response::from_parts(answered, Body::from(board.first(rule, &parts.uri, bytes))),
        Some(Fault::AnswerLate(time)) => {
            tokio::time::sleep(time).await;
            Response::from_parts(answered, Body::from(bytes))
        }
        _ => Response::from_parts(answered, Body::from(bytes)),
    }
}

/// Sends a request when a rule is dropped. A client that closes its connection ends its handler, and does not take such
/// a request back.
async fn send_when_dropped(
    board: Arc<Switchboard>,
    rule: Option<usize>,
    client: Client,
    request: Request<kube::client::Body>,
) -> kube::Result<Response<kube::client::Body>> {
    let sending = tokio::spawn(async move {
        board.dropped(rule).await;
        client.send(request).await
    });
    sending.await.unwrap()
}

/// The same request for pages of this size.
fn with_limit(uri: &Uri, size: u32) -> Uri {
    let query = uri.query().unwrap_or_default();
    let others = query.split('&').filter(|part| !part.is_empty() && !part.starts_with("limit="));
    let query: Vec<String> = others.map(str::to_owned).chain([format!("limit={size}")]).collect();
    format!("{}?{}", uri.path(), query.join("&")).parse().unwrap()
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Removes the headers of a connection (hop-by-hop headers).
fn keep_end_to_end(headers: &mut HeaderMap) {
    for name in [header::CONNECTION, header::HOST, header::TRANSFER_ENCODING] {
        headers.remove(name);
    }
}
