//! The transactional outbox: a service's state, the events that it publishes and the events that it has handled are one
//! document, so that they change together. A relay publishes what is in the outbox, at least once.
//!
//! concepts: outbox, relay, at-least-once delivery, inbox, idempotent consumer, event id, correlation id, change stream

use futures::TryStreamExt;
use mongodb::Collection;
use mongodb::bson::{Bson, Document, doc};
use serde::{Deserialize, Serialize};

use crate::job::Failure;
use crate::store::{Store, is_duplicate};

/// An event. Its id follows from its content, so that publishing it twice gives one event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// `correlation/service/kind`.
    #[serde(rename = "_id")]
    pub id: String,
    /// What has happened.
    pub kind: String,
    /// The whole that the event is part of.
    pub correlation: String,
    /// What its consumers need to know.
    pub payload: Document,
    handled: bool,
}

impl Event {
    /// An event of a service.
    pub fn new(correlation: &str, service: &str, kind: &str, payload: Document) -> Self {
        let id = format!("{correlation}/{service}/{kind}");
        Self { id, kind: kind.to_owned(), correlation: correlation.to_owned(), payload, handled: false }
    }
}

/// The state of a service's part in a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The service has done its part.
    Done,
    /// It has undone its part, or learned that it must not do it.
    Undone,
}

impl Part {
    fn word(self) -> &'static str {
        match self {
            Self::Done => "Done",
            Self::Undone => "Undone",
        }
    }
}

/// The result of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// The state has changed, and the event is in the outbox.
    Changed,
    /// The event was handled before.
    Duplicate,
    /// The part was undone before it was done. What was done meanwhile has to be undone.
    Superseded,
}

/// The services' parts, and the topic.
#[derive(Clone, Debug)]
pub struct Outbox {
    parts: Collection<Document>,
    events: Collection<Event>,
}

impl Outbox {
    /// The outbox in a store.
    pub fn new(store: &Store) -> Self {
        Self { parts: store.collection("parts"), events: store.collection("events") }
    }

    /// Publishes the first event of a whole.
    ///
    /// # Errors
    /// The database fails.
    pub async fn begin(&self, event: Event) -> Result<(), Failure> {
        if self.parts.find_one(doc! { "_id": &event.id }).await?.is_some() {
            return Ok(());
        }
        let part = doc! { "_id": &event.id, "outbox": [document(&event)?] };
        match self.parts.insert_one(part).await {
            Err(error) if !is_duplicate(&error) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// The result that a commit would have, before anything is done about the event.
    ///
    /// # Errors
    /// The database fails.
    pub async fn look(&self, service: &str, event: &Event) -> Result<Option<Commit>, Failure> {
        let part = self.parts.find_one(doc! { "_id": part_id(service, event) }).await?.unwrap_or_default();
        let inbox = part.get_array("inbox").cloned().unwrap_or_default();
        if inbox.iter().any(|id| id.as_str() == Some(&event.id)) {
            return Ok(Some(Commit::Duplicate));
        }
        let is_undone = part.get_str("state").is_ok_and(|state| state == Part::Undone.word());
        Ok(is_undone.then_some(Commit::Superseded))
    }

    /// Changes a service's part because of an event, and publishes what follows, in one write. A part that is undone
    /// stays undone: this is the version file that makes a late event harmless.
    ///
    /// # Errors
    /// The database fails.
    pub async fn commit(&self, service: &str, event: &Event, state: Part, next: &Event) -> Result<Commit, Failure> {
        let mut before = doc! { "_id": part_id(service, event), "inbox": { "$ne": &event.id } };
        if state == Part::Done {
            before.insert("state", doc! { "$ne": Part::Undone.word() });
        }
        let change = doc! {
            "$set": { "state": state.word() },
            "$push": { "inbox": &event.id, "outbox": document(next)? },
        };
        match self.parts.update_one(before, change).upsert(true).await {
            Ok(_) => Ok(Commit::Changed),
            // The part exists and did not match.
            Err(error) if is_duplicate(&error) => Ok(self.look(service, event).await?.unwrap_or(Commit::Duplicate)),
            Err(error) => Err(error.into()),
        }
    }

    /// Marks a part as undone, before its compensation: what is done meanwhile finds the mark, and is undone as well.
    ///
    /// # Errors
    /// The database fails.
    pub async fn mark_undone(&self, service: &str, event: &Event) -> Result<(), Failure> {
        let mark = doc! { "$set": { "state": Part::Undone.word() } };
        self.parts.update_one(doc! { "_id": part_id(service, event) }, mark).upsert(true).await?;
        Ok(())
    }

    /// Publishes what is in the outboxes. An event is removed from its outbox after it was published: a relay that
    /// dies between the two publishes it again, under the same id.
    ///
    /// # Errors
    /// The database fails.
    pub async fn relay(&self) -> Result<usize, Failure> {
        let full: Vec<Document> =
            self.parts.find(doc! { "outbox.0": { "$exists": true } }).await?.try_collect().await?;
        let mut published = 0;
        for part in full {
            for event in part.get_array("outbox").into_iter().flatten().filter_map(Bson::as_document) {
                let Ok(event) = mongodb::bson::deserialize_from_document::<Event>(event.clone()) else { continue };
                match self.events.insert_one(&event).await {
                    Err(error) if !is_duplicate(&error) => return Err(error.into()),
                    _ => published += 1,
                }
                let ours = doc! { "_id": part.get("_id") };
                self.parts.update_one(ours, doc! { "$pull": { "outbox": { "_id": &event.id } } }).await?;
            }
        }
        Ok(published)
    }

    /// The events that are still to be handled.
    ///
    /// # Errors
    /// The database fails.
    pub async fn pending(&self) -> Result<Vec<Event>, Failure> {
        Ok(self.events.find(doc! { "handled": false }).await?.try_collect().await?)
    }

    /// Acknowledges an event, after its effect was committed.
    ///
    /// # Errors
    /// The database fails.
    pub async fn acknowledge(&self, event: &Event) -> Result<(), Failure> {
        self.events.update_one(doc! { "_id": &event.id }, doc! { "$set": { "handled": true } }).await?;
        Ok(())
    }

    /// Calls `changed` after every change of an outbox or of the topic, while the database has change streams.
    pub async fn follow(&self, changed: impl Fn()) {
        let (Ok(mut parts), Ok(mut events)) =
            (self.parts.watch().await, self.events.clone_with_type::<Document>().watch().await)
        else {
            return;
        };
        loop {
            let seen = tokio::select! {
                seen = parts.try_next() => seen.map(|seen| seen.is_some()),
                seen = events.try_next() => seen.map(|seen| seen.is_some()),
            };
            if !matches!(seen, Ok(true)) {
                return;
            }
            changed();
        }
    }
}

fn part_id(service: &str, event: &Event) -> String {
    format!("{}/{service}", event.correlation)
}

fn document(event: &Event) -> Result<Document, Failure> {
    mongodb::bson::serialize_to_document(event).map_err(|error| Failure::Refused(error.to_string()))
}
