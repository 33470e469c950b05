//! The gateway by a choreographed saga: seven services, each of which knows its events only.
//!
//! concepts: saga, service, event, subscription, compensation, outbox, relay, at-least-once delivery, inbox, idempotent
//! consumer, correlation id, tombstone of a part, cancellation, alarm

use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::oid::ObjectId;
use mongodb::bson::{DateTime, Document, doc};

use super::choreography::{Choreography, Service};
use crate::cluster::{Child, Cluster};
use crate::job::{Failure, Job, Wish};
use crate::outbox::Event;
use crate::store::Store;
use crate::worker::{Strategy, work};

/// The reason of a stop that the user wanted.
const STOPPED: &str = "Stopped";

/// What the services share in this process.
#[derive(Clone)]
pub struct Context {
    store: Store,
    cluster: Arc<Cluster>,
}

impl Context {
    async fn record(self, event: Event) -> Result<(), Failure> {
        self.store.record_starting(&job(&event)?).await
    }

    async fn create(self, event: Event, child: Child) -> Result<(), Failure> {
        self.cluster.create(child, &job(&event)?).await
    }

    async fn delete(self, event: Event, child: Child) -> Result<(), Failure> {
        self.cluster.delete(child, &job(&event)?).await
    }

    async fn until_complete(self, event: Event) -> Result<(), Failure> {
        let job = job(&event)?;
        let began = event.payload.get_datetime("began").copied().unwrap_or_else(|_| DateTime::now());
        let passed = DateTime::now().saturating_duration_since(began);
        let patience = self.cluster.settings().deadline.saturating_sub(passed).max(Duration::from_millis(100));
        tokio::select! {
            complete = self.cluster.until_complete(&job, patience) => complete,
            () = self.store.until_cancelled(&job.uid) => Err(Failure::Refused(STOPPED.to_owned())),
        }
    }

    async fn switch(self, event: Event, state: &str) -> Result<(), Failure> {
        self.store.switch_environments(&job(&event)?, state).await
    }

    async fn started(self, event: Event) -> Result<(), Failure> {
        self.store.record_started(&job(&event)?).await.map(drop)
    }

    async fn stopped(self, event: Event) -> Result<(), Failure> {
        let reason = event.payload.get_str("reason").unwrap_or(STOPPED);
        self.store.record_stopped(&job(&event)?, reason, reason != STOPPED).await
    }
}

/// The services.
pub fn services() -> Vec<Service<Context>> {
    vec![
        Service::new("record", "StartRequested", Context::record, "StartRecorded").undone_on(
            "DeploymentDeleted",
            Context::stopped,
            "Stopped",
        ),
        Service::new(
            "deployment",
            "StartRecorded",
            |at: Context, event| at.create(event, Child::Deployment),
            "DeploymentCreated",
        )
        .undone_on(
            "ServiceDeleted",
            |at: Context, event| at.delete(event, Child::Deployment),
            "DeploymentDeleted",
        ),
        Service::new(
            "service",
            "DeploymentCreated",
            |at: Context, event| at.create(event, Child::Service),
            "ServiceCreated",
        )
        .undone_on("IngressDeleted", |at: Context, event| at.delete(event, Child::Service), "ServiceDeleted"),
        Service::new(
            "ingress",
            "ServiceCreated",
            |at: Context, event| at.create(event, Child::Ingress),
            "IngressCreated",
        )
        .undone_on("NotServing", |at: Context, event| at.delete(event, Child::Ingress), "IngressDeleted"),
        Service::new("readiness", "IngressCreated", Context::until_complete, "Serving").undone_on(
            "EnvironmentsDeactivated",
            |_, _| async { Ok(()) },
            "NotServing",
        ),
        Service::new(
            "environments",
            "Serving",
            |at: Context, event| at.switch(event, "Active"),
            "EnvironmentsActivated",
        )
        .undone_on(
            "StopRequested",
            |at: Context, event| at.switch(event, "Inactive"),
            "EnvironmentsDeactivated",
        ),
        Service::new("announcement", "EnvironmentsActivated", Context::started, "Started"),
    ]
}

/// The design: it turns documents into the first events.
pub struct Choreographed {
    services: Arc<Choreography<Context>>,
}

impl Choreographed {
    /// Services for the gateways in a store.
    pub fn new(store: Store, cluster: Arc<Cluster>) -> Self {
        let context = Context { store: store.clone(), cluster };
        Self { services: Arc::new(Choreography::new(&store, services(), context)) }
    }

    /// Runs the services, and turns documents into events, for ever.
    pub async fn run(self, store: Store, poll: Duration) {
        let services = Arc::clone(&self.services);
        futures::future::join(services.run(poll), work(Arc::new(self), store, poll)).await;
    }
}

impl Strategy for Choreographed {
    async fn handle(&self, job: Job) -> Result<(), Failure> {
        let kind = if job.wish == Wish::Run { "StartRequested" } else { "StopRequested" };
        self.services.outbox().begin(Event::new(&job.run(), "user", kind, payload(&job)?)).await
    }
}

fn payload(job: &Job) -> Result<Document, Failure> {
    let id = ObjectId::parse_str(&job.uid).map_err(|error| Failure::Refused(error.to_string()))?;
    Ok(doc! {
        "_id": id, "gatewayId": &job.name, "state": job.wish.word(), "spec": { "image": &job.image },
        "attempt": job.attempt, "began": DateTime::now(),
    })
}

fn job(event: &Event) -> Result<Job, Failure> {
    Job::read(&event.payload).ok_or_else(|| Failure::Refused(format!("{} has no gateway", event.id)))
}
