//! Change streams: their events, and the stored position to resume from.
//!
//! **Architecture invariant:** the document in an insert, a replace or a delete is never used. It may be long
//! outdated, so the document is read again.

use std::time::Duration;

use mongodb::Collection;
use mongodb::bson::{self, Bson, Document, doc};
use mongodb::change_stream::ChangeStream;
use mongodb::change_stream::event::{ChangeStreamEvent, OperationType, ResumeToken};
use mongodb::options::FullDocumentType;

use super::lenient::Lenient;
use super::{RegistryError, Store, Stored};
use crate::metrics::labels::Operation;
use crate::registry::document::{Read, StoredDocument, is};

/// The operator's own collection, with the resume tokens of its change streams.
const OWN: &str = "phasegate";

/// How long the server waits for a change before it reports that there was none.
const AWAIT: Duration = Duration::from_secs(10);

/// A change stream of one collection.
pub type Stream = ChangeStream<Lenient<ChangeStreamEvent<Document>>>;

/// An event of a change stream.
pub enum Change<T> {
    /// A document as it is now.
    Is(Box<Read<T>>),
    /// A removed document.
    Gone(Bson),
    /// The end of the stream: the collection was dropped or renamed.
    Ends,
    /// An irrelevant event.
    Nothing,
}

impl Store {
    /// Opens a change stream, from a stored position if there is one.
    ///
    /// # Errors
    /// If it cannot be opened. Refused means that the server has no change streams, or does not know the token
    /// any more.
    pub async fn watch<T: Stored>(&self, after: Option<ResumeToken>) -> Result<Stream, RegistryError> {
        let collection = self.collection::<T>()?;
        let watch = async {
            collection
                .watch()
                .full_document(FullDocumentType::UpdateLookup)
                .max_await_time(AWAIT)
                .resume_after(after)
                .await
        };
        Ok(self.read(Operation::Watch, watch).await?.with_type())
    }

    /// The next event, or that there was none for a while.
    ///
    /// # Errors
    /// If the stream does not continue.
    pub async fn next<T: Stored>(&self, stream: &mut Stream) -> Result<Change<T>, RegistryError> {
        match tokio::time::timeout(AWAIT + self.settings.timeout, stream.next_if_any()).await {
            Ok(Ok(Some(Lenient(event)))) => self.change_of(&event).await,
            Ok(Ok(None)) if stream.is_alive() => Ok(Change::Nothing),
            Ok(Ok(None)) => Ok(Change::Ends),
            Ok(Err(error)) => Err(self.away(self.error(&error))),
            Err(_) => Err(self.away(self.timed_out())),
        }
    }

    async fn change_of<T: Stored>(&self, event: &ChangeStreamEvent<Document>) -> Result<Change<T>, RegistryError> {
        match (&event.operation_type, &event.full_document) {
            // The document was looked up when the event was fetched.
            (OperationType::Update, Some(document)) if document.contains_key("_id") => {
                Ok(Change::Is(Box::new(T::read(kept_of::<T>(document)))))
            }
            // In a resumed stream, an insert, replace or delete may be long past. It names the document to read
            // and not its state.
            (OperationType::Insert | OperationType::Replace | OperationType::Update | OperationType::Delete, _) => {
                match event.document_key.as_ref().and_then(|key| key.get("_id")) {
                    Some(id) => self.look_up(id).await,
                    None => Ok(Change::Nothing),
                }
            }
            (
                OperationType::Drop | OperationType::Rename | OperationType::DropDatabase | OperationType::Invalidate,
                _,
            ) => Ok(Change::Ends),
            _ => Ok(Change::Nothing),
        }
    }

    async fn look_up<T: Stored>(&self, id: &Bson) -> Result<Change<T>, RegistryError> {
        let found = self.find::<T>(doc! { "_id": is(id.clone()) }).await?.into_iter().next();
        Ok(found.map_or_else(|| Change::Gone(id.clone()), |read| Change::Is(Box::new(read))))
    }

    /// The stored position of a collection's change stream.
    ///
    /// # Errors
    /// If the database cannot be asked.
    pub async fn token<T: Stored>(&self) -> Result<Option<ResumeToken>, RegistryError> {
        let own: Collection<Document> = self.database()?.collection(OWN);
        let find = async { own.find_one(doc! { "_id": token_id::<T>() }).await };
        Ok(self.read(Operation::Find, find).await?.and_then(|kept| token_in(&kept)))
    }

    /// Stores the position of a collection's change stream.
    ///
    /// # Errors
    /// If it cannot be stored.
    pub async fn keep_token<T: Stored>(&self, token: Option<&ResumeToken>) -> Result<(), RegistryError> {
        let own: Collection<Document> = self.database()?.collection(OWN);
        let id = token_id::<T>();
        let Some(Ok(token)) = token.map(bson::serialize_to_bson) else {
            return self.write(Operation::Token, async { own.delete_one(doc! { "_id": id }).await.map(drop) }).await;
        };
        let keep = async {
            let set = doc! { "$set": { "token": token } };
            own.update_one(doc! { "_id": id }, set).upsert(true).await.map(drop)
        };
        self.write(Operation::Token, keep).await
    }
}

/// The token in a stored document. A token of another version counts as missing.
pub fn token_in(kept: &Document) -> Option<ResumeToken> {
    bson::deserialize_from_bson(kept.get("token")?.clone()).ok()
}

fn token_id<T: Stored>() -> String {
    format!("resume-{}", T::COLLECTION)
}

/// Only the fields that are read. The rest of a document belongs to the platform and may be large.
fn kept_of<T: StoredDocument>(document: &Document) -> Document {
    let fields = ["_id"].iter().chain(T::FIELDS);
    fields.filter_map(|field| Some(((*field).to_owned(), document.get(field)?.clone()))).collect()
}
