//! The gateway by orchestrated sagas: one that starts it, and one that stops it.
//!
//! concepts: saga, step, compensation, compensable step, pivot, retriable step, step log, coordinator, lease, fencing by
//! version, idempotent activity, cancellation, alarm and mending

use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::DateTime;

use super::coordinator::{CANCELLED, Coordinator, Ended, Subject};
use super::steps::Saga;
use crate::cluster::{Child, Cluster};
use crate::job::{Failure, Job, Wish};
use crate::store::Store;
use crate::worker::Strategy;

/// One attempt of one gateway.
#[derive(Clone)]
pub struct Gateway {
    store: Store,
    cluster: Arc<Cluster>,
    job: Job,
    began: DateTime,
    coordinator: Arc<Coordinator>,
}

impl Subject for Gateway {
    fn is_cancelled(&self) -> bool {
        self.store.is_cancelled(&self.job.uid)
    }
}

impl Gateway {
    async fn create(self, child: Child) -> Result<(), Failure> {
        self.cluster.create(child, &self.job).await
    }

    async fn delete(self, child: Child) -> Result<(), Failure> {
        self.cluster.delete(child, &self.job).await
    }

    /// The pivot: the gateway serves before the deadline, or everything is undone.
    async fn until_complete(self) -> Result<(), Failure> {
        let passed = DateTime::now().saturating_duration_since(self.began);
        let patience = self.cluster.settings().deadline.saturating_sub(passed).max(Duration::from_millis(100));
        tokio::select! {
            complete = self.cluster.until_complete(&self.job, patience) => complete,
            () = self.store.until_cancelled(&self.job.uid) => Err(Failure::Refused(CANCELLED.to_owned())),
        }
    }

    /// The record of the end, with the reason in the log.
    async fn record_stopped(self) -> Result<(), Failure> {
        let log = self.coordinator.logs().find(&start_id(&self.job)).await?;
        let reason = log.map(|log| log.reason).filter(|reason| !reason.is_empty() && reason != CANCELLED);
        self.store.record_stopped(&self.job, reason.as_deref().unwrap_or("Stopped"), reason.is_some()).await
    }
}

/// The saga that starts a gateway.
pub fn start() -> Saga<Gateway> {
    Saga::begin()
        .compensable(
            "record",
            |gateway: Gateway| async move { gateway.store.record_starting(&gateway.job).await },
            Gateway::record_stopped,
        )
        .compensable(
            "deployment",
            |gateway| gateway.create(Child::Deployment),
            |gateway| gateway.delete(Child::Deployment),
        )
        .compensable("service", |gateway| gateway.create(Child::Service), |gateway| gateway.delete(Child::Service))
        .compensable("ingress", |gateway| gateway.create(Child::Ingress), |gateway| gateway.delete(Child::Ingress))
        .pivot("ready", Gateway::until_complete)
        .retriable(
            "environments",
            |gateway| async move { gateway.store.switch_environments(&gateway.job, "Active").await },
        )
        .retriable("started", |gateway| async move { gateway.store.record_started(&gateway.job).await.map(drop) })
        .end()
}

/// The saga that stops a gateway that serves.
pub fn stop() -> Saga<Gateway> {
    Saga::retriable_only()
        .retriable("ingress", |gateway: Gateway| gateway.delete(Child::Ingress))
        .retriable("environments", |gateway| async move {
            gateway.store.switch_environments(&gateway.job, "Inactive").await
        })
        .retriable("service", |gateway| gateway.delete(Child::Service))
        .retriable("deployment", |gateway| gateway.delete(Child::Deployment))
        .retriable("record", Gateway::record_stopped)
        .end()
}

/// The design.
pub struct Orchestrated {
    store: Store,
    cluster: Arc<Cluster>,
    coordinator: Arc<Coordinator>,
    start: Saga<Gateway>,
    stop: Saga<Gateway>,
}

impl Orchestrated {
    /// A coordinator of the gateways in a store.
    pub fn new(store: Store, cluster: Arc<Cluster>) -> Self {
        let coordinator = Arc::new(Coordinator::new(&store));
        Self { store, cluster, coordinator, start: start(), stop: stop() }
    }
}

impl Strategy for Orchestrated {
    async fn handle(&self, job: Job) -> Result<(), Failure> {
        let (start_id, stop_id) = (start_id(&job), format!("{}:stop", job.run()));
        let log = self.coordinator.logs().find(&start_id).await?;
        let gateway = Gateway {
            store: self.store.clone(),
            cluster: Arc::clone(&self.cluster),
            coordinator: Arc::clone(&self.coordinator),
            began: log.as_ref().map_or_else(DateTime::now, |log| log.began),
            job: job.clone(),
        };
        // A start that has begun is brought to its end, even if it is to be undone. So is a stop that has begun.
        let is_stopping = self.coordinator.logs().find(&stop_id).await?.is_some();
        if !is_stopping && (job.wish == Wish::Run || log.is_some()) {
            match self.coordinator.run(&start_id, &self.start, &gateway).await? {
                Ended::Done if job.wish == Wish::Run => return self.store.record_started(&job).await.map(drop),
                Ended::Done => {}
                // The wish may have changed after the first step's compensation.
                Ended::Undone => return gateway.record_stopped().await,
                Ended::Alarmed | Ended::Theirs => return Ok(()),
            }
        }
        match self.coordinator.run(&stop_id, &self.stop, &gateway).await? {
            // The wish may have changed while the last step recorded the end.
            Ended::Done => gateway.record_stopped().await,
            Ended::Undone | Ended::Alarmed | Ended::Theirs => Ok(()),
        }
    }
}

fn start_id(job: &Job) -> String {
    format!("{}:start", job.run())
}
