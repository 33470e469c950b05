//! Whether a coordinator is alive: one document for each, renewed by a heartbeat. Sagas name their coordinator, so that
//! one write every two seconds is enough for all of them.

use std::time::Duration;

use mongodb::Collection;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{DateTime, Document, doc};
use tokio::task::JoinHandle;

use crate::job::Failure;
use crate::store::Store;

/// The time after which a silent coordinator's sagas are taken over.
const LASTS: Duration = Duration::from_secs(6);
/// The pause between two renewals.
const EVERY: Duration = Duration::from_secs(2);

/// The identity of this coordinator, while it is alive.
#[derive(Debug)]
pub struct Lease {
    /// Its name in logs.
    pub owner: String,
    coordinators: Collection<Document>,
    beating: JoinHandle<()>,
}

impl Lease {
    /// Begins to renew the lease of a new coordinator.
    pub fn begin(store: &Store) -> Self {
        let coordinators: Collection<Document> = store.collection("coordinators");
        let owner = ObjectId::new().to_hex();
        let beating = tokio::spawn(beat(coordinators.clone(), owner.clone()));
        Self { owner, coordinators, beating }
    }

    /// Whether another coordinator has renewed its lease lately. A coordinator that never has, has just begun: it
    /// counts from the log's last change.
    ///
    /// # Errors
    /// The database fails.
    pub async fn is_alive(&self, owner: &str, changed: DateTime) -> Result<bool, Failure> {
        let found = self.coordinators.find_one(doc! { "_id": owner }).await?;
        let seen = found.and_then(|found| found.get_datetime("seenAt").ok().copied()).unwrap_or(changed);
        Ok(DateTime::now().saturating_duration_since(seen) < LASTS)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.beating.abort();
    }
}

async fn beat(coordinators: Collection<Document>, owner: String) {
    let mut every = tokio::time::interval(EVERY);
    loop {
        every.tick().await;
        let seen = doc! { "$set": { "seenAt": DateTime::now() } };
        // A lease that is not renewed expires; the logs' versions protect what another then takes over.
        let _ = coordinators.update_one(doc! { "_id": &owner }, seen).upsert(true).await;
    }
}
