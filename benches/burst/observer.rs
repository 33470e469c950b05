//! One watch over the gateways of a namespace, or one change stream over documents of a database, by
//! which every contestant is timed.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::{Stream, StreamExt};
use kube::api::Api;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt};
use mongodb::Collection;
use mongodb::bson::Document;
use mongodb::change_stream::ChangeStream;
use mongodb::change_stream::event::ChangeStreamEvent;
use mongodb::options::FullDocumentType;
use phasegate::api::ApiGateway;
use phasegate::decide::Place;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// What is seen of a fleet.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    places: HashMap<String, Option<Place>>,
    /// When each gateway was first seen to be Started.
    pub started: HashMap<String, Instant>,
    /// How many are Started, and meant to be.
    pub running: usize,
    /// How many are Stopped.
    pub stopped: usize,
    /// How many were seen to be given up at their deadline.
    pub timed_out: usize,
    /// How many changes of documents there were, whoever made them.
    pub changes: usize,
}

impl Seen {
    fn take_in(&mut self, name: String, place: Option<Place>) {
        if place == Some(Place::Started) {
            self.started.entry(name.clone()).or_insert_with(Instant::now);
        }
        let before = self.places.insert(name, place);
        if before == Some(place) {
            return;
        }
        match before {
            Some(Some(Place::Started)) => self.running -= 1,
            Some(Some(Place::Stopped)) => self.stopped -= 1,
            _ => {}
        }
        match place {
            Some(Place::Started) => self.running += 1,
            Some(Place::Stopped) => self.stopped += 1,
            Some(Place::TimedOut) => self.timed_out += 1,
            _ => {}
        }
    }
}

/// Whose a document is, and where that is.
type About = fn(&Document) -> (&str, Option<Place>);

/// Takes in what a watch tells of gateways; `listed` is told once they were all seen.
async fn see_gateways(
    mut events: impl Stream<Item = watcher::Result<Event<ApiGateway>>> + Unpin,
    listed: oneshot::Sender<()>,
    sender: watch::Sender<Seen>,
) {
    let mut listed = Some(listed);
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(gateway) | Event::InitApply(gateway)) => {
                sender.send_modify(|seen| seen.take_in(gateway.name_any(), Place::of_gateway(&gateway)));
            }
            Ok(Event::InitDone) => {
                if let Some(listed) = listed.take() {
                    let _ = listed.send(());
                }
            }
            Ok(Event::Init | Event::Delete(_)) => {}
            Err(error) => eprintln!("the observer's watch was interrupted: {error}"),
        }
    }
}

/// Takes in what a change stream tells of documents.
async fn see_documents(
    mut changes: ChangeStream<ChangeStreamEvent<Document>>,
    about: About,
    sender: watch::Sender<Seen>,
) {
    while let Some(event) = changes.next().await {
        match event {
            Ok(event) => sender.send_modify(|seen| {
                seen.changes += 1;
                // None where a document is gone.
                if let Some(document) = &event.full_document {
                    let (name, place) = about(document);
                    seen.take_in(name.to_owned(), place);
                }
            }),
            // The sender goes, and whoever waits is told.
            Err(error) => return eprintln!("the observer's change stream broke: {error}"),
        }
    }
}

/// Watches until it is dropped.
pub struct Observer {
    seen: watch::Receiver<Seen>,
    task: JoinHandle<()>,
}

impl Observer {
    /// Starts watching, and returns when the watch is there.
    pub async fn start(client: &Client, namespace: &str) -> Result<Self> {
        let gateways: Api<ApiGateway> = Api::namespaced(client.clone(), namespace);
        let events = Box::pin(watcher(gateways, watcher::Config::default()));
        let (sender, seen) = watch::channel(Seen::default());
        let (listed, ready) = oneshot::channel();
        let task = tokio::spawn(see_gateways(events, listed, sender));
        ready.await.context("the observer has no watch")?;
        Ok(Self { seen, task })
    }

    /// Starts watching documents, each of which is of a name and in a place, or anywhere else.
    pub async fn of_documents(documents: Collection<Document>, about: About) -> Result<Self> {
        let changes = documents.watch().full_document(FullDocumentType::UpdateLookup).await?;
        let (sender, seen) = watch::channel(Seen::default());
        let task = tokio::spawn(see_documents(changes, about, sender));
        Ok(Self { seen, task })
    }

    /// What was seen so far.
    pub fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// Waits until what is seen is as `wanted`, and returns it.
    pub async fn until(&mut self, patience: Duration, wanted: impl Fn(&Seen) -> bool) -> Result<Seen> {
        let waited = tokio::time::timeout(patience, self.seen.wait_for(wanted)).await.map(|seen| seen.map(drop));
        match waited {
            Ok(seen) => seen.context("the observer has ended")?,
            Err(_) => {
                let Seen { running, stopped, timed_out, .. } = *self.seen.borrow();
                bail!("after {patience:?} {running} are started, {stopped} stopped, {timed_out} timed out")
            }
        }
        Ok(self.seen.borrow().clone())
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
