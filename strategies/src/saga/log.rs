//! A saga's log: how far it has come. It is one document, changed by compare-and-swap on its version, so that of two
//! coordinators only one continues.

use futures::TryStreamExt;
use mongodb::Collection;
use mongodb::bson::{DateTime, Document, doc};
use serde::{Deserialize, Serialize};

use super::lease::Lease;
use crate::job::{Failure, until_answered};
use crate::store::{Store, is_duplicate};

/// Where a saga goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Course {
    /// Its steps are carried out.
    Forward,
    /// Its compensations are carried out.
    Backward,
    /// All steps have succeeded.
    Done,
    /// All compensations have succeeded.
    Undone,
    /// A compensation was refused: it needs a human.
    Alarmed,
}

/// A log's document.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Log {
    /// The saga.
    #[serde(rename = "_id")]
    pub id: String,
    /// Where the saga goes.
    pub course: Course,
    /// The number of steps that are done, or still to be undone.
    pub at: i32,
    /// The cause of the compensations.
    pub reason: String,
    /// The moment at which the saga began.
    pub began: DateTime,
    owner: String,
    changed: DateTime,
    version: i64,
}

/// What a look at a log showed.
#[derive(Debug)]
pub enum Claim {
    /// The saga is this coordinator's.
    Mine(Log),
    /// Another coordinator, which is alive, has it.
    Theirs,
    /// It has ended.
    Ended(Log),
}

/// The logs of all sagas.
#[derive(Clone, Debug)]
pub struct Logs {
    logs: Collection<Log>,
    alarms: Collection<Document>,
}

impl Logs {
    /// The logs in a store.
    pub fn new(store: &Store) -> Self {
        Self { logs: store.collection("sagas"), alarms: store.collection("alarms") }
    }

    /// A saga's log.
    ///
    /// # Errors
    /// The database fails.
    pub async fn find(&self, id: &str) -> Result<Option<Log>, Failure> {
        Ok(self.logs.find_one(doc! { "_id": id }).await?)
    }

    /// Begins a saga, continues one of this coordinator's, or takes over one whose coordinator is silent.
    ///
    /// # Errors
    /// The database fails.
    pub async fn claim(&self, id: &str, lease: &Lease) -> Result<Claim, Failure> {
        let now = DateTime::now();
        let Some(mut log) = self.find(id).await? else {
            let (id, owner) = (id.to_owned(), lease.owner.clone());
            let log = Log {
                id,
                owner,
                course: Course::Forward,
                at: 0,
                reason: String::new(),
                began: now,
                changed: now,
                version: 0,
            };
            return match self.logs.insert_one(&log).await {
                Ok(_) => Ok(Claim::Mine(log)),
                Err(error) if is_duplicate(&error) => Ok(Claim::Theirs),
                Err(error) => Err(error.into()),
            };
        };
        if matches!(log.course, Course::Done | Course::Undone | Course::Alarmed) {
            return Ok(Claim::Ended(log));
        }
        if log.owner != lease.owner {
            if lease.is_alive(&log.owner, log.changed).await? {
                return Ok(Claim::Theirs);
            }
            log.owner.clone_from(&lease.owner);
            if !self.save(&mut log).await? {
                return Ok(Claim::Theirs);
            }
        }
        Ok(Claim::Mine(log))
    }

    /// Stores a log if it was not changed since it was read. Returns whether it was stored.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn save(&self, log: &mut Log) -> Result<bool, Failure> {
        let mut next = Log { version: log.version + 1, changed: DateTime::now(), ..log.clone() };
        let before = doc! { "_id": &log.id, "version": log.version };
        let stored = until_answered(|| async {
            let replaced = self.logs.replace_one(before.clone(), &next).await?;
            // A write that took effect without an answer is recognised by its owner and version.
            let mine = doc! { "_id": &next.id, "version": next.version, "owner": &next.owner };
            Ok::<_, Failure>(replaced.matched_count > 0 || self.logs.find_one(mine).await?.is_some())
        });
        let stored = stored.await?;
        std::mem::swap(log, &mut next);
        Ok(stored)
    }

    /// Records that a compensation was refused.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn alarm(&self, log: &Log, step: &str, failure: &Failure) -> Result<(), Failure> {
        let alarm = doc! { "$set": { "step": step, "message": failure.message(), "at": DateTime::now() } };
        until_answered(|| async {
            self.alarms.update_one(doc! { "_id": &log.id }, alarm.clone()).upsert(true).await?;
            Ok::<_, Failure>(())
        })
        .await
    }

    /// The alarms: the saga, and the step whose compensation was refused.
    ///
    /// # Errors
    /// The database fails.
    pub async fn alarms(&self) -> Result<Vec<Document>, Failure> {
        Ok(self.alarms.find(doc! {}).await?.try_collect().await?)
    }

    /// Ends an alarm after a human has removed its cause: the compensations continue with the one that was refused.
    ///
    /// # Errors
    /// The database fails, or the saga has no alarm.
    pub async fn mend(&self, id: &str) -> Result<(), Failure> {
        match self.find(id).await? {
            Some(mut log) if log.course == Course::Alarmed => {
                log.course = Course::Backward;
                // The next coordinator takes it over, whoever had it.
                log.owner = String::new();
                log.changed = DateTime::from_millis(0);
                self.reopen(&log).await?;
                self.alarms.delete_one(doc! { "_id": id }).await?;
                Ok(())
            }
            _ => Err(Failure::Refused(format!("saga {id} has no alarm"))),
        }
    }

    async fn reopen(&self, log: &Log) -> Result<(), Failure> {
        let next = Log { version: log.version + 1, ..log.clone() };
        self.logs.replace_one(doc! { "_id": &log.id, "version": log.version }, &next).await?;
        Ok(())
    }
}
