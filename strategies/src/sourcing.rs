//! Event sourcing: what is known of a gateway is the fold of an append-only log.
//!
//! concepts: event, append-only log, fold, expected version, snapshot, projection, rebuild, state as of a moment,
//! idempotent activity

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use mongodb::Collection;
use mongodb::bson::{DateTime, doc};
use serde::{Deserialize, Serialize};

use crate::cluster::{Child, Cluster};
use crate::job::{Failure, Job, Wish, until_answered};
use crate::store::{Store, is_duplicate};
use crate::worker::Strategy;

/// The number of events after which a snapshot is stored.
const SNAPSHOT_EVERY: i64 = 5;

/// What has happened to an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fact {
    /// The attempt has begun.
    Requested,
    /// The Deployment exists.
    DeploymentCreated,
    /// The Service exists.
    ServiceCreated,
    /// The Ingress exists.
    IngressCreated,
    /// The pods serve.
    Served,
    /// The environments are active: the gateway is started.
    EnvironmentsActivated,
    /// The attempt is to end.
    GivenUp(String),
    /// Nothing is left of the attempt.
    Cleaned,
}

/// An entry of the log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// `attempt/version`: of two writers with the same expectation, only one appends.
    #[serde(rename = "_id")]
    id: String,
    run: String,
    /// The number of the entry in its log, from 1 on.
    pub version: i64,
    /// What has happened.
    pub fact: Fact,
    /// When it was appended.
    pub at: DateTime,
}

/// The fold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The number of entries that are folded.
    pub version: i64,
    /// The moment of the first entry.
    pub began: Option<DateTime>,
    /// How far the start has come.
    pub stage: Stage,
    /// Why the attempt is to end.
    pub given_up: Option<String>,
}

/// How far a start has come. Later stages are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Stage {
    /// The attempt has not begun.
    Nothing,
    /// It has begun.
    Requested,
    /// The Deployment exists.
    Deployment,
    /// The Service exists as well.
    Service,
    /// The Ingress exists as well.
    Ingress,
    /// The pods serve.
    Serving,
    /// The environments are active.
    Started,
    /// Nothing is left.
    Cleaned,
}

impl Default for State {
    fn default() -> Self {
        Self { version: 0, began: None, stage: Stage::Nothing, given_up: None }
    }
}

impl State {
    /// The state after one more entry.
    #[must_use]
    pub fn after(mut self, entry: &Entry) -> Self {
        self.version = entry.version;
        self.began.get_or_insert(entry.at);
        self.stage = match &entry.fact {
            Fact::Requested => Stage::Requested,
            Fact::DeploymentCreated => Stage::Deployment,
            Fact::ServiceCreated => Stage::Service,
            Fact::IngressCreated => Stage::Ingress,
            Fact::Served => Stage::Serving,
            Fact::EnvironmentsActivated => Stage::Started,
            Fact::GivenUp(reason) => {
                self.given_up.get_or_insert_with(|| reason.clone());
                self.stage
            }
            Fact::Cleaned => Stage::Cleaned,
        };
        self
    }
}

/// The logs of all attempts.
#[derive(Clone, Debug)]
pub struct Log {
    entries: Collection<Entry>,
    snapshots: Collection<Snapshot>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Snapshot {
    #[serde(rename = "_id")]
    run: String,
    state: State,
}

impl Log {
    /// The logs in a store.
    pub fn new(store: &Store) -> Self {
        Self { entries: store.collection("log"), snapshots: store.collection("snapshots") }
    }

    /// The current state: the snapshot, and the entries after it.
    ///
    /// # Errors
    /// The database fails.
    pub async fn state(&self, run: &str) -> Result<State, Failure> {
        let snapshot = self.snapshots.find_one(doc! { "_id": run }).await?.map(|snapshot| snapshot.state);
        self.fold(run, snapshot.unwrap_or_default(), None).await
    }

    /// The current state from the entries alone.
    ///
    /// # Errors
    /// The database fails.
    pub async fn rebuilt(&self, run: &str) -> Result<State, Failure> {
        self.fold(run, State::default(), None).await
    }

    /// The state as of a moment.
    ///
    /// # Errors
    /// The database fails.
    pub async fn as_of(&self, run: &str, moment: DateTime) -> Result<State, Failure> {
        self.fold(run, State::default(), Some(moment)).await
    }

    async fn fold(&self, run: &str, from: State, until: Option<DateTime>) -> Result<State, Failure> {
        let mut later = doc! { "run": run, "version": { "$gt": from.version } };
        if let Some(moment) = until {
            later.insert("at", doc! { "$lte": moment });
        }
        let entries = self.entries.find(later).sort(doc! { "version": 1 }).await?;
        Ok(entries.try_fold(from, |state, entry| async move { Ok(state.after(&entry)) }).await?)
    }

    /// Appends a fact to the state that the writer knows. Returns `None` if the log has more entries than that.
    ///
    /// # Errors
    /// The database fails.
    pub async fn append(&self, run: &str, known: &State, fact: Fact) -> Result<Option<State>, Failure> {
        let version = known.version + 1;
        let entry = Entry { id: format!("{run}/{version}"), run: run.to_owned(), version, fact, at: DateTime::now() };
        match self.entries.insert_one(&entry).await {
            Err(error) if is_duplicate(&error) => return Ok(None),
            appended => drop(appended?),
        }
        let state = known.clone().after(&entry);
        if version % SNAPSHOT_EVERY == 0 {
            let snapshot = Snapshot { run: run.to_owned(), state: state.clone() };
            self.snapshots.replace_one(doc! { "_id": run }, &snapshot).upsert(true).await?;
        }
        Ok(Some(state))
    }
}

/// The design.
pub struct Sourced {
    store: Store,
    cluster: Arc<Cluster>,
    log: Log,
}

impl Sourced {
    /// The gateways in a store.
    pub fn new(store: Store, cluster: Arc<Cluster>) -> Self {
        let log = Log::new(&store);
        Self { store, cluster, log }
    }

    /// Does what the state calls for, and says what has happened then.
    async fn act(&self, job: &Job, state: &State) -> Result<Fact, Failure> {
        match state.stage {
            Stage::Nothing => self.store.record_starting(job).await.map(|()| Fact::Requested),
            Stage::Requested => self.cluster.create(Child::Deployment, job).await.map(|()| Fact::DeploymentCreated),
            Stage::Deployment => self.cluster.create(Child::Service, job).await.map(|()| Fact::ServiceCreated),
            Stage::Service => self.cluster.create(Child::Ingress, job).await.map(|()| Fact::IngressCreated),
            Stage::Ingress => self.until_complete(job, state).await.map(|()| Fact::Served),
            _ => self.store.switch_environments(job, "Active").await.map(|()| Fact::EnvironmentsActivated),
        }
    }

    async fn until_complete(&self, job: &Job, state: &State) -> Result<(), Failure> {
        let passed = DateTime::now().saturating_duration_since(state.began.unwrap_or_else(DateTime::now));
        let patience = self.cluster.settings().deadline.saturating_sub(passed).max(Duration::from_millis(100));
        tokio::select! {
            complete = self.cluster.until_complete(job, patience) => complete,
            () = self.store.until_cancelled(&job.uid) => Err(Failure::Refused("Stopped".to_owned())),
        }
    }

    async fn clean(&self, job: &Job) -> Result<(), Failure> {
        self.cluster.delete(Child::Ingress, job).await?;
        self.store.switch_environments(job, "Inactive").await?;
        self.cluster.delete(Child::Service, job).await?;
        self.cluster.delete(Child::Deployment, job).await
    }

    /// The next fact. `None` if the attempt is where it should be.
    async fn next(&self, job: &Job, state: &State) -> Result<Option<Fact>, Failure> {
        let fact = match state.stage {
            Stage::Cleaned => return Ok(None),
            _ if state.given_up.is_some() => self.clean(job).await.map(|()| Fact::Cleaned)?,
            _ if job.wish != Wish::Run || self.store.is_cancelled(&job.uid) => Fact::GivenUp("Stopped".to_owned()),
            Stage::Started => return Ok(None),
            _ => match self.act(job, state).await {
                Err(Failure::Refused(reason)) => Fact::GivenUp(reason),
                happened => happened?,
            },
        };
        Ok(Some(fact))
    }
}

impl Strategy for Sourced {
    async fn handle(&self, job: Job) -> Result<(), Failure> {
        let run = job.run();
        let mut state = self.log.state(&run).await?;
        while let Some(fact) = until_answered(|| self.next(&job, &state)).await? {
            match until_answered(|| self.log.append(&run, &state, fact.clone())).await? {
                Some(next) => state = next,
                None => {
                    state = until_answered(|| self.log.state(&run)).await?;
                    // What was created meanwhile would outlive an attempt that another writer has cleaned.
                    if state.stage == Stage::Cleaned {
                        until_answered(|| self.clean(&job)).await?;
                    }
                }
            }
        }
        // The document is a projection: it follows from the log, and is written again if it does not show it.
        match (state.stage, state.given_up) {
            (Stage::Started, _) => self.store.record_started(&job).await.map(drop),
            (Stage::Cleaned, reason) => {
                let reason = reason.unwrap_or_default();
                self.store.record_stopped(&job, &reason, reason != "Stopped").await
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fold(facts: &[Fact]) -> State {
        let entry = |(version, fact): (i64, &Fact)| Entry {
            id: String::new(),
            run: String::new(),
            version,
            fact: fact.clone(),
            at: DateTime::from_millis(version),
        };
        (1..).zip(facts).map(entry).fold(State::default(), |state, entry| state.after(&entry))
    }

    #[test]
    fn a_state_is_the_fold_of_its_facts() {
        let state = fold(&[Fact::Requested, Fact::DeploymentCreated, Fact::ServiceCreated]);
        assert_eq!((state.version, state.stage, state.given_up.as_deref()), (3, Stage::Service, None));
        assert_eq!(state.began, Some(DateTime::from_millis(1)));
    }

    #[test]
    fn the_first_reason_to_give_up_stands_and_the_stage_stays() {
        let given_up = |reason: &str| Fact::GivenUp(reason.to_owned());
        let state = fold(&[Fact::Requested, given_up("first"), given_up("second")]);
        assert_eq!((state.stage, state.given_up.as_deref()), (Stage::Requested, Some("first")));
        assert_eq!(fold(&[Fact::Requested, given_up("first"), Fact::Cleaned]).stage, Stage::Cleaned);
    }
}
