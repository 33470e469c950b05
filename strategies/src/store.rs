//! The database: the users' documents, and whether a user changed their mind.
//!
//! The database speaks MongoDB's wire protocol, as the platform's does that phasegate comes from, so that all designs
//! and the operator read the same documents. The tests' server has no transactions. What must change atomically is
//! therefore one document: a saga's log, a service's part with its outbox and inbox, an event.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::TryStreamExt;
use mongodb::bson::{Bson, DateTime, Document, doc};
use mongodb::error::{ErrorKind, WriteFailure};
use mongodb::{Collection, Database};
use tokio::sync::watch;

use crate::job::{Failure, Job, Wish};

/// The collections of the job.
#[derive(Clone, Debug)]
pub struct Store {
    database: Database,
    wishes: Arc<watch::Sender<BTreeMap<String, Wish>>>,
}

impl Store {
    /// The store in a database.
    pub fn new(database: Database) -> Self {
        Self { database, wishes: Arc::new(watch::Sender::new(BTreeMap::new())) }
    }

    /// The same documents, seen by another process, which has looked at none of them yet.
    #[must_use]
    pub fn of_another_process(&self) -> Self {
        Self::new(self.database.clone())
    }

    /// Any collection of the database.
    pub fn collection<T: Send + Sync>(&self, name: &str) -> Collection<T> {
        self.database.collection(name)
    }

    fn gateways(&self) -> Collection<Document> {
        self.collection("ApiGateway")
    }

    /// The gateways that are not yet what their user wants. The wishes are remembered for [`Self::until_cancelled`].
    ///
    /// # Errors
    /// The database fails.
    pub async fn due(&self) -> Result<Vec<Job>, Failure> {
        let settled =
            [doc! { "state": "Running", "phase": "Started" }, doc! { "state": "Stopped", "phase": "Stopped" }];
        let documents = self.gateways().find(doc! { "$nor": Bson::from(settled.to_vec()) }).await?;
        let documents: Vec<Document> = documents.try_collect().await?;
        let jobs: Vec<Job> = documents.iter().filter_map(Job::read).collect();
        let wishes = jobs.iter().map(|job| (job.uid.clone(), job.wish)).collect();
        self.wishes.send_if_modified(|known| std::mem::replace(known, wishes) != *known);
        Ok(jobs)
    }

    /// Whether the last look at the documents showed that a user no longer wants the gateway to run.
    pub fn is_cancelled(&self, uid: &str) -> bool {
        self.wishes.borrow().get(uid).is_some_and(|wish| *wish != Wish::Run)
    }

    /// Waits until a user no longer wants the gateway to run.
    pub async fn until_cancelled(&self, uid: &str) {
        let mut wishes = self.wishes.subscribe();
        let _ = wishes.wait_for(|wishes| wishes.get(uid).is_some_and(|wish| *wish != Wish::Run)).await;
    }

    /// The current document of a gateway. `None` if it was deleted, or another has its name.
    ///
    /// # Errors
    /// The database fails.
    pub async fn reread(&self, job: &Job) -> Result<Option<Job>, Failure> {
        let found = self.gateways().find_one(doc! { "gatewayId": &job.name }).await?;
        Ok(found.as_ref().and_then(Job::read).filter(|found| found.uid == job.uid))
    }

    /// Records that an attempt has begun. A user who has changed their mind meanwhile is not overruled.
    ///
    /// # Errors
    /// The database fails.
    pub async fn record_starting(&self, job: &Job) -> Result<(), Failure> {
        self.record(job, Wish::Run, doc! { "phase": "Starting" }).await.map(drop)
    }

    /// Records that the gateway serves. Returns whether the user still wants it.
    ///
    /// # Errors
    /// The database fails.
    pub async fn record_started(&self, job: &Job) -> Result<bool, Failure> {
        self.record(job, Wish::Run, doc! { "phase": "Started", "reason": "Started" }).await
    }

    /// Records that nothing is left of the gateway: the document says so, or is removed if that is the wish. The
    /// filter has the wish that was read: a wish that came later is found by the next look. If the attempt was given
    /// up, the gateway is held stopped until its user wants it again.
    ///
    /// # Errors
    /// The database fails.
    pub async fn record_stopped(&self, job: &Job, reason: &str, given_up: bool) -> Result<(), Failure> {
        let Some(now) = self.reread(job).await? else { return Ok(()) };
        if now.wish == Wish::Delete {
            self.environments().delete_many(doc! { "gatewayId": &job.name }).await?;
            self.gateways().delete_one(doc! { "gatewayId": &job.name, "state": Wish::Delete.word() }).await?;
            return Ok(());
        }
        let next = if given_up { Wish::Stop } else { now.wish };
        let fields = doc! { "phase": "Stopped", "state": next.word(), "reason": reason, "attempt": job.attempt + 1 };
        self.record(job, now.wish, fields).await.map(drop)
    }

    /// The filter is the countermeasure to a lost update: the wish and the attempt are those that were read.
    async fn record(&self, job: &Job, wish: Wish, mut fields: Document) -> Result<bool, Failure> {
        fields.insert("recordedAt", DateTime::now());
        let attempt =
            if job.attempt == 0 { vec![Bson::Null, Bson::from(0_i64)] } else { vec![Bson::from(job.attempt)] };
        let read = doc! { "gatewayId": &job.name, "state": wish.word(), "attempt": { "$in": attempt } };
        Ok(self.gateways().update_one(read, doc! { "$set": fields }).await?.matched_count > 0)
    }

    /// Activates or deactivates the environments of a gateway.
    ///
    /// # Errors
    /// The database fails.
    pub async fn switch_environments(&self, job: &Job, state: &str) -> Result<(), Failure> {
        let others = doc! { "gatewayId": &job.name, "state": { "$ne": state } };
        self.environments().update_many(others, doc! { "$set": { "state": state } }).await?;
        Ok(())
    }

    fn environments(&self) -> Collection<Document> {
        self.collection("Environment")
    }
}

/// Whether a write was refused because a document with its key exists.
pub fn is_duplicate(error: &mongodb::error::Error) -> bool {
    const DUPLICATE_KEY: i32 = 11_000;
    match error.kind.as_ref() {
        ErrorKind::Write(WriteFailure::WriteError(error)) => error.code == DUPLICATE_KEY,
        ErrorKind::Command(error) => error.code == DUPLICATE_KEY,
        _ => false,
    }
}
