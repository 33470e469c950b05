//! The tuned raw client: what remains when the operator is left out.
//!
//! The same requests with the same bodies as the operator's for a start that goes well: status
//! Starting, Deployment, Service, Ingress, and status Started when the Deployment is complete. It
//! keeps no cache, compares nothing, repeats nothing and tells no Event. The Deployments are waited
//! for by one watch, and nobody holds a place in the queue while waiting.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::{Stream, StreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, PostParams};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt};
use phasegate::api::ApiGateway;
use phasegate::children::{self, Children, RenderContext};
use phasegate::decide::decide;
use phasegate::decide::observed::{Moment, Observed, Pods, Presence, Rollout, Settings, Tried};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use crate::user;

/// The start deadline that the operator has by default.
pub const DEADLINE: Duration = Duration::from_secs(300);

/// A client that is ready to start gateways.
pub struct Raw {
    client: Client,
    namespace: String,
    at_once: Arc<Semaphore>,
    /// Told once for each gateway whose Deployment is complete.
    complete: Arc<HashMap<String, Notify>>,
    watch: JoinHandle<()>,
}

impl Raw {
    /// Starts the watch, which an operator has before a burst begins, too.
    pub async fn ready(client: &Client, namespace: &str, gateways: usize, at_once: usize) -> Result<Self> {
        let complete: Arc<HashMap<String, Notify>> =
            Arc::new((0..gateways).map(|number| (user::name(number), Notify::new())).collect());
        let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
        let events = Box::pin(watcher(deployments, watcher::Config::default()));
        let (listed, ready) = oneshot::channel();
        let watch = tokio::spawn(tell_of_complete(events, listed, Arc::clone(&complete)));
        ready.await.context("the raw client has no watch")?;
        Ok(Self {
            client: client.clone(),
            namespace: namespace.to_owned(),
            at_once: Arc::new(Semaphore::new(at_once)),
            complete,
            watch,
        })
    }

    /// Starts every gateway that it is handed.
    pub async fn start_all(&self, mut created: UnboundedReceiver<ApiGateway>) -> Result<()> {
        let mut starts = JoinSet::new();
        while let Some(gateway) = created.recv().await {
            let start = Start {
                gateways: Api::namespaced(self.client.clone(), &self.namespace),
                client: self.client.clone(),
                namespace: self.namespace.clone(),
                at_once: Arc::clone(&self.at_once),
                complete: Arc::clone(&self.complete),
            };
            starts.spawn(start.carry_out(gateway));
        }
        while let Some(ended) = starts.join_next().await {
            ended??;
        }
        Ok(())
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

/// Tells whoever waits for a Deployment that it is complete; `listed` is told once the watch is there.
async fn tell_of_complete(
    mut events: impl Stream<Item = watcher::Result<Event<Deployment>>> + Unpin,
    listed: oneshot::Sender<()>,
    complete: Arc<HashMap<String, Notify>>,
) {
    let mut listed = Some(listed);
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(deployment)) if is_complete(&deployment) => {
                if let Some(notify) = complete.get(&deployment.name_any()) {
                    notify.notify_one();
                }
            }
            Ok(Event::InitDone) => {
                if let Some(listed) = listed.take() {
                    let _ = listed.send(());
                }
            }
            Ok(_) => {}
            Err(error) => eprintln!("the raw client's watch was interrupted: {error}"),
        }
    }
}

struct Start {
    gateways: Api<ApiGateway>,
    client: Client,
    namespace: String,
    at_once: Arc<Semaphore>,
    complete: Arc<HashMap<String, Notify>>,
}

impl Start {
    async fn carry_out(self, gateway: ApiGateway) -> Result<()> {
        let name = gateway.name_any();
        let post = PostParams::default();

        let place = self.at_once.acquire().await?;
        let starting = self.gateways.replace_status(&name, &post, &moved(&gateway, &nothing_yet())?).await?;
        let Children { deployment, service, ingress, http_route: _, disruption_budget: _ } = children(&starting);
        Api::namespaced(self.client.clone(), &self.namespace).create(&post, &deployment).await?;
        Api::namespaced(self.client.clone(), &self.namespace).create(&post, &service).await?;
        if let Some(ingress) = ingress {
            Api::namespaced(self.client.clone(), &self.namespace).create(&post, &ingress).await?;
        }
        drop(place);

        self.complete.get(&name).context("a gateway that nobody waits for")?.notified().await;

        let _place = self.at_once.acquire().await?;
        self.gateways.replace_status(&name, &post, &moved(&starting, &all_ready())?).await?;
        Ok(())
    }
}

/// The children of a gateway, as the operator renders them.
pub fn children(gateway: &ApiGateway) -> Children {
    children::render(gateway, &RenderContext { start_deadline: DEADLINE, ..RenderContext::default() })
}

/// When the operator, too, takes a Deployment for complete.
pub fn is_complete(deployment: &Deployment) -> bool {
    let desired = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    deployment.status.as_ref().is_some_and(|status| {
        status.observed_generation >= deployment.metadata.generation
            && [status.replicas, status.updated_replicas, status.available_replicas] == [Some(desired); 3]
    })
}

/// The gateway with the status that the operator would write.
fn moved(gateway: &ApiGateway, observed: &Observed) -> Result<ApiGateway> {
    let settings = Settings { start_deadline: DEADLINE, ..Settings::default() };
    let moment = Moment::at(Timestamp::now());
    let status = decide(gateway, observed, &moment, &settings).status;
    Ok(ApiGateway { status: Some(status.context("nothing is to be recorded")?), ..gateway.clone() })
}

fn nothing_yet() -> Observed {
    Observed { ingress: Presence::Missing, ..Observed::nothing() }
}

fn all_ready() -> Observed {
    Observed {
        deployment: Presence::Equal,
        service: Presence::Equal,
        ingress: Presence::Equal,
        rollout: Rollout { complete: true, desired: 1, replicas: 1, ready: 1, available: 1, ..Rollout::default() },
        pods: Pods { total: 1, ..Pods::default() },
        tried: Tried::Late,
        ..nothing_yet()
    }
}
