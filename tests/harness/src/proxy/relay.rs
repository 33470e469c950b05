//! The way of a response from the API server to the client, and what faults do to the events of a watch.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{BodyDataStream, Bytes};
use futures::{Stream, StreamExt, stream};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::fault::status;
use super::{BoxError, Fault, ProxiedRequest, Switchboard};

/// How long events are held back to be merged.
const HELD: Duration = Duration::from_millis(500);

/// The response, with the faults that apply to it while it is in progress.
pub(super) fn relay(
    board: Arc<Switchboard>,
    asked: ProxiedRequest,
    data: BodyDataStream,
) -> impl Stream<Item = Result<Bytes, BoxError>> + Send {
    let (out, sent) = mpsc::channel(16);
    let changed = board.changed.subscribe();
    let relay =
        Relay { board, asked, out, changed, rest: Vec::new(), last: BTreeMap::new(), held: Vec::new(), since: None };
    tokio::spawn(relay.run(data));
    stream::unfold(sent, |mut sent| async move { Some((sent.recv().await?, sent)) })
}

/// The response has ended, by itself or by a fault.
struct Ended;

/// An event of a watch. Its object keeps the bytes of the API server, because a client may depend on their order.
#[derive(Clone, Deserialize)]
struct WatchedEvent {
    #[serde(rename = "type")]
    kind: String,
    object: Box<RawValue>,
}

impl WatchedEvent {
    fn uid(&self) -> Option<String> {
        let object: Value = serde_json::from_str(self.object.get()).unwrap();
        object["metadata"]["uid"].as_str().map(str::to_owned)
    }

    fn line(&self) -> String {
        format!("{{\"type\":\"{}\",\"object\":{}}}\n", self.kind, self.object)
    }
}

struct Relay {
    board: Arc<Switchboard>,
    asked: ProxiedRequest,
    out: mpsc::Sender<Result<Bytes, BoxError>>,
    changed: watch::Receiver<()>,
    /// The beginning of an event whose end is still to come.
    rest: Vec<u8>,
    /// The last event of each object, by its uid.
    last: BTreeMap<String, WatchedEvent>,
    /// The events that are held back, in their order.
    held: Vec<WatchedEvent>,
    since: Option<Instant>,
}

impl Relay {
    async fn run(mut self, data: BodyDataStream) {
        let mut data = pin!(data);
        while self.step(&mut data).await.is_ok() {}
    }

    async fn step(&mut self, data: &mut (impl Stream<Item = Result<Bytes, axum::Error>> + Unpin)) -> Result<(), Ended> {
        match self.board.fault(&self.asked, Fault::is_of_streams) {
            Some(Fault::Mute) => {
                self.out.closed().await;
                return Err(Ended);
            }
            Some(_) => return self.cut().await,
            None => {}
        }
        let flush = self.since.map(|since| since + HELD);
        tokio::select! {
            () = self.out.closed() => Err(Ended),
            _ = self.changed.changed() => Ok(()),
            () = tokio::time::sleep_until(flush.unwrap_or_else(Instant::now)), if flush.is_some() => self.flush().await,
            chunk = data.next() => match chunk {
                Some(Ok(chunk)) if self.asked.verb == "watch" => self.events(&chunk).await,
                Some(Ok(chunk)) => self.send(chunk).await,
                Some(Err(_)) => self.cut().await,
                None => {
                    self.flush().await?;
                    Err(Ended)
                }
            },
        }
    }

    /// Forwards the events that are complete with this chunk.
    async fn events(&mut self, chunk: &[u8]) -> Result<(), Ended> {
        self.rest.extend_from_slice(chunk);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            self.event(serde_json::from_slice(&line).unwrap()).await?;
        }
        Ok(())
    }

    async fn event(&mut self, event: WatchedEvent) -> Result<(), Ended> {
        if event.kind == "BOOKMARK" {
            return self.send_event(&event).await;
        }
        let before = event.uid().and_then(|uid| self.last.insert(uid, event.clone()));
        match self.board.fault(&self.asked, Fault::is_of_events) {
            Some(Fault::ErrorEvent(code)) => {
                let object = serde_json::value::to_raw_value(&status(code, None)).unwrap();
                self.send_event(&WatchedEvent { kind: "ERROR".into(), object }).await?;
                return Err(Ended);
            }
            Some(Fault::HalfEvent) => {
                let text = event.line();
                self.send(Bytes::copy_from_slice(&text.as_bytes()[..text.len() / 2])).await?;
                return self.cut().await;
            }
            Some(Fault::Double) => self.send_event(&event).await?,
            Some(Fault::Replay) => {
                if let Some(before) = before {
                    self.send_event(&before).await?;
                }
            }
            Some(Fault::Merge) => {
                self.hold(event);
                return Ok(());
            }
            Some(Fault::Late(time)) => tokio::time::sleep(time).await,
            _ => {}
        }
        self.flush().await?;
        self.send_event(&event).await
    }

    /// Holds an event back, in the place of an earlier one of its object.
    fn hold(&mut self, mut event: WatchedEvent) {
        self.since.get_or_insert_with(Instant::now);
        match self.held.iter_mut().find(|held| held.uid().is_some() && held.uid() == event.uid()) {
            Some(held) => {
                // A client that does not know the object yet receives it as added.
                if held.kind == "ADDED" && event.kind == "MODIFIED" {
                    event.kind.clone_from(&held.kind);
                }
                *held = event;
            }
            None => self.held.push(event),
        }
    }

    async fn flush(&mut self) -> Result<(), Ended> {
        self.since = None;
        for event in std::mem::take(&mut self.held) {
            self.send_event(&event).await?;
        }
        Ok(())
    }

    async fn send_event(&self, event: &WatchedEvent) -> Result<(), Ended> {
        self.send(Bytes::from(event.line())).await
    }

    async fn send(&self, bytes: Bytes) -> Result<(), Ended> {
        self.out.send(Ok(bytes)).await.map_err(|_| Ended)
    }

    async fn cut(&self) -> Result<(), Ended> {
        let _ = self.out.send(Err("cut".into())).await;
        Err(Ended)
    }
}
