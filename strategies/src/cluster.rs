//! The cluster: the steps of the job as idempotent calls, with the operator's own renderers.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use futures::TryStreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::Ingress;
use kube::api::{Api, DeleteParams, PostParams, Preconditions};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, Resource, ResourceExt};
use phasegate_core::api::ApiGateway;
use phasegate_core::children::{Children, RenderContext, UID_LABEL, render};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::job::{Failure, Job, Settings};

/// A namespace in which gateways start, with one watch of its Deployments.
pub struct Cluster {
    client: Client,
    settings: Settings,
    complete: watch::Receiver<BTreeMap<String, bool>>,
    watching: JoinHandle<()>,
}

/// A kind of child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Child {
    /// Runs the pods.
    Deployment,
    /// Gives the pods an address.
    Service,
    /// Routes the host.
    Ingress,
}

impl Cluster {
    /// Starts the watch.
    pub fn new(client: Client, settings: Settings) -> Self {
        let deployments: Api<Deployment> = Api::namespaced(client.clone(), &settings.namespace);
        let (sender, complete) = watch::channel(BTreeMap::new());
        let watching = tokio::spawn(follow(deployments, sender));
        Self { client, settings, complete, watching }
    }

    /// What the gateways have in common.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Creates a child. A child that exists is left as it is.
    ///
    /// # Errors
    /// The API server fails or refuses, or the name belongs to another.
    pub async fn create(&self, child: Child, job: &Job) -> Result<(), Failure> {
        let Children { deployment, service, ingress, http_route: _, disruption_budget: _ } = self.children(job)?;
        match child {
            Child::Deployment => self.create_object(deployment, job).await,
            Child::Service => self.create_object(service, job).await,
            Child::Ingress => match ingress {
                Some(ingress) => self.create_object(ingress, job).await,
                None => Ok(()),
            },
        }
    }

    /// Deletes a child. A child that is gone, or another's, is no failure.
    ///
    /// # Errors
    /// The API server fails or refuses.
    pub async fn delete(&self, child: Child, job: &Job) -> Result<(), Failure> {
        match child {
            Child::Deployment => self.delete_object::<Deployment>(job).await,
            Child::Service => self.delete_object::<Service>(job).await,
            Child::Ingress => self.delete_object::<Ingress>(job).await,
        }
    }

    /// Waits until the Deployment of a gateway is complete.
    ///
    /// # Errors
    /// It is not complete after `patience`.
    pub async fn until_complete(&self, job: &Job, patience: Duration) -> Result<(), Failure> {
        match tokio::time::timeout(patience, self.completion(&job.name)).await {
            Ok(()) => Ok(()),
            Err(_) => Err(Failure::Refused("StartDeadlineExceeded".to_owned())),
        }
    }

    /// The watch may be behind: what it shows as complete is read once more.
    async fn completion(&self, name: &str) {
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), &self.settings.namespace);
        let mut complete = self.complete.clone();
        while complete.wait_for(|all| all.get(name).copied().unwrap_or_default()).await.is_ok() {
            if deployments.get_opt(name).await.is_ok_and(|found| found.as_ref().is_some_and(is_complete)) {
                return;
            }
            tokio::time::sleep(self.settings.poll).await;
        }
    }

    fn children(&self, job: &Job) -> Result<Children, Failure> {
        let Settings { namespace, domain, deadline, poll: _ } = &self.settings;
        let gateway: ApiGateway = serde_json::from_value(json!({
            "apiVersion": "phasegate.dev/v1alpha1",
            "kind": "ApiGateway",
            "metadata": { "name": job.name, "namespace": namespace, "uid": job.uid },
            "spec": { "image": job.image, "host": format!("{}.{domain}", job.name) },
        }))?;
        Ok(render(&gateway, &RenderContext { start_deadline: *deadline, ..RenderContext::default() }))
    }

    async fn create_object<K>(&self, mut object: K, job: &Job) -> Result<(), Failure>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Serialize,
    {
        // The record is in the database. The garbage collector would not find the owner, and delete the child.
        object.meta_mut().owner_references = None;
        let api: Api<K> = Api::namespaced(self.client.clone(), &self.settings.namespace);
        match api.create(&PostParams::default(), &object).await {
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => {
                match api.get_metadata_opt(&job.name).await? {
                    Some(found) if found.labels().get(UID_LABEL) != Some(&job.uid) => {
                        Err(Failure::Refused(format!("{} exists and belongs to another", job.name)))
                    }
                    Some(found) if found.metadata.deletion_timestamp.is_none() => Ok(()),
                    // It is about to go, or has gone since.
                    _ => Err(Failure::Transient(format!("{} is being deleted", job.name))),
                }
            }
            created => Ok(created.map(drop)?),
        }
    }

    async fn delete_object<K>(&self, job: &Job) -> Result<(), Failure>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), &self.settings.namespace);
        let Some(found) = api.get_metadata_opt(&job.name).await? else { return Ok(()) };
        if found.labels().get(UID_LABEL) != Some(&job.uid) {
            return Ok(());
        }
        let preconditions = Some(Preconditions { uid: found.metadata.uid, resource_version: None });
        match api.delete(&job.name, &DeleteParams { preconditions, ..DeleteParams::background() }).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            deleted => Ok(deleted.map(drop)?),
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

/// Keeps which Deployments are complete. A watch that breaks is opened again.
async fn follow(deployments: Api<Deployment>, complete: watch::Sender<BTreeMap<String, bool>>) {
    let mut events = Box::pin(watcher(deployments, watcher::Config::default()).default_backoff());
    loop {
        match events.try_next().await {
            Ok(Some(Event::Init)) => {
                complete.send_replace(BTreeMap::new());
            }
            Ok(Some(Event::Apply(deployment) | Event::InitApply(deployment))) => {
                complete.send_modify(|all| {
                    all.insert(deployment.name_any(), is_complete(&deployment));
                });
            }
            Ok(Some(Event::Delete(deployment))) => {
                complete.send_modify(|all| {
                    all.remove(&deployment.name_any());
                });
            }
            Ok(Some(Event::InitDone)) | Err(_) => {}
            Ok(None) => return,
        }
    }
}

fn is_complete(deployment: &Deployment) -> bool {
    let desired = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    deployment.metadata.deletion_timestamp.is_none()
        && deployment.status.as_ref().is_some_and(|status| {
            status.observed_generation >= deployment.metadata.generation
                && [status.replicas, status.updated_replicas, status.available_replicas] == [Some(desired); 3]
        })
}
