//! An HTTP sink of events. The test sets its response.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use http::{HeaderMap, HeaderName, StatusCode};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

use crate::wait::eventually;

/// The response of the sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkAnswer {
    /// Takes every event.
    Takes,
    /// Answers with this status and this header.
    Answers(u16, Option<(&'static str, &'static str)>),
    /// Does not respond while this mode lasts.
    Hangs,
}

/// A request that the sink received.
#[derive(Clone, Debug)]
pub struct ReceivedEvent {
    /// Its path and query.
    pub target: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// Whether the sink took it.
    pub taken: bool,
}

impl ReceivedEvent {
    /// The event.
    pub fn event(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// A header.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A running sink. It ends with this value.
pub struct EventSink {
    url: String,
    answer: watch::Sender<SinkAnswer>,
    received: Received,
    _end: oneshot::Sender<()>,
}

type Received = Arc<Mutex<Vec<ReceivedEvent>>>;

impl EventSink {
    /// Starts a sink that takes every event.
    pub async fn start() -> Self {
        let (answer, answers) = watch::channel(SinkAnswer::Takes);
        let (end, ended) = oneshot::channel();
        let (bound, address) = oneshot::channel();
        let received = Received::default();
        let state = (answers, Arc::clone(&received));
        // The sink runs on a thread of its own, because a test that waits for a process blocks its thread.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let serving = runtime.spawn(async move {
                let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
                bound.send(listener.local_addr().unwrap()).unwrap();
                axum::serve(listener, Router::new().fallback(take).with_state(state)).await.unwrap();
            });
            let _ = runtime.block_on(ended);
            serving.abort();
            runtime.shutdown_background();
        });
        let url = format!("http://{}/events?from=phasegate", address.await.unwrap());
        Self { url, answer, received, _end: end }
    }

    /// Its URL, with a path and a query.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Sets the response from now on, also to requests that hang.
    pub fn answers(&self, answer: SinkAnswer) {
        self.answer.send_replace(answer);
    }

    /// Every request so far, in the order of the responses.
    pub fn received(&self) -> Vec<ReceivedEvent> {
        self.received.lock().unwrap().clone()
    }

    /// The events that it took, in order.
    pub fn taken(&self) -> Vec<ReceivedEvent> {
        self.received().into_iter().filter(|received| received.taken).collect()
    }

    /// Waits until the requests satisfy `wanted`, and returns them.
    pub async fn until(&self, what: &str, wanted: impl Fn(&[ReceivedEvent]) -> bool) -> Vec<ReceivedEvent> {
        let waited = eventually(Duration::from_millis(100), async || {
            let received = self.received.lock().unwrap();
            wanted(&received).then(|| received.clone())
        });
        let waited = waited.await;
        waited.unwrap_or_else(|| panic!("the sink did not receive {what}: {:#?}", self.received()))
    }

    /// Waits until it took this many events of a gateway, and returns these.
    pub async fn until_taken(&self, gateway: &str, count: usize) -> Vec<Value> {
        let of_gateway = |received: &[ReceivedEvent]| -> Vec<Value> {
            let taken = received.iter().filter(|received| received.taken).map(ReceivedEvent::event);
            taken.filter(|event| event["subject"] == gateway).collect()
        };
        let what = format!("{count} events of {gateway}");
        of_gateway(&self.until(&what, |received| of_gateway(received).len() >= count).await)
    }
}

async fn take(
    State((mut answers, received)): State<(watch::Receiver<SinkAnswer>, Received)>,
    target: http::Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, HeaderMap) {
    let answer = answers.wait_for(|answer| *answer != SinkAnswer::Hangs).await.map_or(SinkAnswer::Hangs, |it| *it);
    let taken = answer == SinkAnswer::Takes;
    let request = ReceivedEvent { target: target.to_string(), headers, body, taken };
    received.lock().unwrap().push(request);
    match answer {
        SinkAnswer::Answers(code, header) => {
            let header = header.map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
            (StatusCode::from_u16(code).unwrap(), header.into_iter().collect())
        }
        SinkAnswer::Takes | SinkAnswer::Hangs => (StatusCode::ACCEPTED, HeaderMap::new()),
    }
}
