//! Choreographed sagas: each service consumes the former's event. Nothing knows the whole.

use std::collections::HashSet;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use mongodb::bson::{DateTime, Document, doc};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::job::{Failure, backoff, until_answered};
use crate::outbox::{Commit, Event, Outbox, Part};
use crate::store::Store;

type Act<C> = Box<dyn Fn(C, Event) -> BoxFuture<'static, Result<(), Failure>> + Send + Sync>;

/// How often a refused compensation is repeated before the alarm. It is repeated after the alarm, too.
const TRIES: u32 = 4;

/// A service: what it does on which event, and how it undoes that on which other event.
pub struct Service<C> {
    name: &'static str,
    on: &'static str,
    action: Act<C>,
    then: &'static str,
    undo: Option<Undo<C>>,
}

struct Undo<C> {
    on: &'static str,
    compensation: Act<C>,
    then: &'static str,
}

impl<C> Service<C> {
    /// A service that acts on an event, and publishes another.
    pub fn new<F>(
        name: &'static str,
        on: &'static str,
        action: impl Fn(C, Event) -> F + Send + Sync + 'static,
        then: &'static str,
    ) -> Self
    where
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        Self { name, on, action: Box::new(move |context, event| action(context, event).boxed()), then, undo: None }
    }

    /// Adds what undoes it. A service whose action is refused publishes `then` as well.
    #[must_use]
    pub fn undone_on<F>(
        mut self,
        on: &'static str,
        compensation: impl Fn(C, Event) -> F + Send + Sync + 'static,
        then: &'static str,
    ) -> Self
    where
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let compensation: Act<C> = Box::new(move |context, event| compensation(context, event).boxed());
        self.undo = Some(Undo { on, compensation, then });
        self
    }
}

/// Services that work in one process. Each could have one of its own.
pub struct Choreography<C> {
    outbox: Outbox,
    alarms: mongodb::Collection<Document>,
    services: Vec<Service<C>>,
    context: C,
}

impl<C: Clone + Send + Sync + 'static> Choreography<C> {
    /// Services on a store.
    pub fn new(store: &Store, services: Vec<Service<C>>, context: C) -> Self {
        Self { outbox: Outbox::new(store), alarms: store.collection("alarms"), services, context }
    }

    /// The outbox of the services.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Delivers an event to its consumers, and acknowledges it.
    ///
    /// # Errors
    /// The database fails. The event is delivered again.
    pub async fn deliver(&self, event: &Event) -> Result<(), Failure> {
        for service in &self.services {
            if service.on == event.kind {
                self.act(service, event).await?;
            }
            if let Some(undo) = service.undo.as_ref().filter(|undo| undo.on == event.kind) {
                self.undo(service.name, undo, event).await?;
            }
        }
        self.outbox.acknowledge(event).await
    }

    async fn act(&self, service: &Service<C>, event: &Event) -> Result<(), Failure> {
        match (self.outbox.look(service.name, event).await?, &service.undo) {
            (None, _) => {}
            // A crash may have left what this event did before the part was undone.
            (Some(Commit::Superseded), Some(undo)) => return self.compensate(undo, event).await,
            (Some(_), _) => return Ok(()),
        }
        let refused = match until_answered(|| (service.action)(self.context.clone(), event.clone())).await {
            Ok(()) => {
                let next = Event::new(&event.correlation, service.name, service.then, event.payload.clone());
                match self.outbox.commit(service.name, event, Part::Done, &next).await? {
                    Commit::Changed | Commit::Duplicate => return Ok(()),
                    // The part was undone while it was done.
                    Commit::Superseded => None,
                }
            }
            Err(failure) => Some(failure),
        };
        let Some(undo) = &service.undo else { return refused.map_or(Ok(()), Err) };
        self.compensate(undo, event).await?;
        let Some(refused) = refused else { return Ok(()) };
        let mut payload = event.payload.clone();
        payload.insert("reason", refused.message());
        let next = Event::new(&event.correlation, service.name, undo.then, payload);
        self.outbox.commit(service.name, event, Part::Undone, &next).await.map(drop)
    }

    async fn undo(&self, service: &str, undo: &Undo<C>, event: &Event) -> Result<(), Failure> {
        if self.outbox.look(service, event).await? == Some(Commit::Duplicate) {
            return Ok(());
        }
        self.outbox.mark_undone(service, event).await?;
        self.compensate(undo, event).await?;
        let next = Event::new(&event.correlation, service, undo.then, event.payload.clone());
        self.outbox.commit(service, event, Part::Undone, &next).await.map(drop)
    }

    /// Compensates, with an alarm while the compensation is refused.
    async fn compensate(&self, undo: &Undo<C>, event: &Event) -> Result<(), Failure> {
        let mut tries = 0;
        while let Err(failure) = until_answered(|| (undo.compensation)(self.context.clone(), event.clone())).await {
            tries += 1;
            if tries == TRIES {
                let alarm = doc! { "$set": { "step": undo.then, "message": failure.message(), "at": DateTime::now() } };
                self.alarms.update_one(doc! { "_id": &event.id }, alarm).upsert(true).await?;
            }
            tokio::time::sleep(backoff(tries)).await;
        }
        if tries >= TRIES {
            self.alarms.delete_one(doc! { "_id": &event.id }).await?;
        }
        Ok(())
    }

    /// Relays and delivers for ever: after each change where the database has change streams, and at this interval.
    pub async fn run(self: Arc<Self>, poll: Duration) {
        let changed = Arc::new(Notify::new());
        let (outbox, notify) = (self.outbox.clone(), Arc::clone(&changed));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            loop {
                outbox.follow(|| notify.notify_one()).await;
                tokio::time::sleep(poll).await;
            }
        });
        let busy = Arc::new(Mutex::new(HashSet::new()));
        loop {
            // A database that is down is asked again.
            let _ = self.outbox.relay().await;
            for event in self.outbox.pending().await.unwrap_or_default() {
                if !lock(&busy).insert(event.id.clone()) {
                    continue;
                }
                let (services, busy) = (Arc::clone(&self), Arc::clone(&busy));
                tasks.spawn(async move {
                    // An event that was not acknowledged is still pending.
                    let _ = services.deliver(&event).await;
                    lock(&busy).remove(&event.id);
                });
            }
            let _ = tokio::time::timeout(poll, changed.notified()).await;
            while tasks.try_join_next().is_some() {}
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
