//! The reads and writes of the activities. Each write compares first: an activity whose answer was lost runs again and
//! finds its work done.

use std::fmt::Debug;
use std::time::Duration;

use anyhow::{Context, anyhow};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::conditions::is_deleted;
use kube::runtime::wait::await_condition;
use kube::{Api, Client, Resource, ResourceExt};
use phasegate_core::api::{
    ApiGateway, Environment, EnvironmentState, Failure, HISTORY_LENGTH, Phase, State, Transition,
};
use phasegate_core::children::{self, Children, Owner, RenderContext, is_written_as, owner_of};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use temporalio_sdk::ApplicationFailure;
use temporalio_sdk::activities::ActivityError;

use crate::activities::{Apply, Record};

/// The field manager of all writes.
const MANAGER: &str = "phasegate-temporal";

/// The result of a step. An error is retried, unless it is a non-retryable `ApplicationFailure`.
type Done<T = ()> = Result<T, ActivityError>;

/// A gateway.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct GatewayRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// A kind of child.
#[derive(Serialize, Deserialize, Clone, Copy, Debug)]
pub enum Child {
    /// Runs the pods.
    Deployment,
    /// Gives them an address.
    Service,
    /// Routes the hosts.
    Ingress,
}

impl Child {
    /// All, in their order of creation.
    pub const ALL: [Self; 3] = [Self::Deployment, Self::Service, Self::Ingress];

    /// Its name in histories and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Deployment => "the Deployment",
            Self::Service => "the Service",
            Self::Ingress => "the Ingress",
        }
    }
}

/// The cluster of the gateways.
pub struct Cluster(
    /// Its client.
    pub Client,
);

impl Cluster {
    fn api<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(&self, gateway: &GatewayRef) -> Api<K> {
        Api::namespaced(self.0.clone(), &gateway.namespace)
    }

    async fn gateway(&self, gateway: &GatewayRef) -> Done<Option<ApiGateway>> {
        Ok(self.api(gateway).get_opt(&gateway.name).await?)
    }

    async fn environments(&self, gateway: &GatewayRef) -> Done<Vec<Environment>> {
        let all = self.api::<Environment>(gateway).list(&ListParams::default()).await?;
        Ok(all.into_iter().filter(|environment| environment.spec.gateway_ref.name == gateway.name).collect())
    }

    /// Records a transition by compare-and-swap. A repeated activity finds the phase already recorded.
    pub async fn record(&self, record: &Record) -> Done {
        let Some(mut gateway) = self.gateway(&record.gateway).await? else { return Ok(()) };
        let generation = gateway.metadata.generation;
        let status = gateway.status.get_or_insert_default();
        if status.phase.as_ref() == Some(&record.phase) {
            return Ok(());
        }
        let now = Timestamp::now();
        let state = match record.phase {
            Phase::Stopping | Phase::Stopped => State::Stopped,
            _ => State::Running,
        };
        let since = status.history.last().map_or(now, |last| last.at.0);
        status.history.push(Transition {
            at: MicroTime(now),
            from: status.phase.replace(record.phase.clone()),
            to: record.phase.clone(),
            state,
            reason: record.reason,
            message: record.failure.clone().unwrap_or_default(),
            seconds: now.duration_since(since).as_secs(),
            others: Default::default(),
        });
        let oldest = status.history.len().saturating_sub(HISTORY_LENGTH);
        status.history.drain(..oldest);
        status.state = Some(state);
        status.transitions += 1;
        status.observed_generation = generation;
        if let Some(failure) = &record.failure {
            status.last_failure = Some(Failure {
                reason: record.reason,
                message: failure.clone(),
                hint: String::new(),
                at: MicroTime(now),
                attempt: 1,
                others: Default::default(),
            });
        }
        self.api::<ApiGateway>(&record.gateway)
            .replace_status(&record.gateway.name, &PostParams::default(), &gateway)
            .await?;
        Ok(())
    }

    /// Creates or updates one child.
    pub async fn apply(&self, apply: &Apply) -> Done {
        let Some(gateway) = self.gateway(&apply.gateway).await? else {
            return Err(refusal(anyhow!("the ApiGateway was deleted")));
        };
        let environments = self.environments(&apply.gateway).await?;
        let mut environment_hosts: Vec<String> = environments.into_iter().filter_map(|found| found.spec.host).collect();
        environment_hosts.sort();
        let context = RenderContext {
            start_deadline: Duration::from_secs(apply.deadline_seconds),
            environment_hosts,
            ..RenderContext::default()
        };
        let Children { deployment, service, ingress, .. } = children::render(&gateway, &context);
        match apply.child {
            Child::Deployment => self.write(&apply.gateway, &gateway, Some(deployment)).await,
            Child::Service => self.write(&apply.gateway, &gateway, Some(service)).await,
            Child::Ingress => self.write(&apply.gateway, &gateway, ingress).await,
        }
    }

    /// Creates an object, or applies it to the one that is there and ours.
    async fn write<K>(&self, of: &GatewayRef, gateway: &ApiGateway, desired: Option<K>) -> Done
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Serialize + DeserializeOwned + Clone + Debug,
    {
        let Some(mut desired) = desired else { return Ok(()) };
        let api = self.api::<K>(of);
        let Some(found) = api.get_opt(&of.name).await? else {
            let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
            api.create(&params, &desired).await?;
            return Ok(());
        };
        let kind = K::kind(&());
        match owner_of(found.meta(), gateway) {
            Owner::Ours if is_written_as(&found, &desired) => return Ok(()),
            Owner::Ours => {}
            Owner::Predecessor => {
                return Err(anyhow!("the {kind} of an earlier gateway of this name is being deleted").into());
            }
            Owner::Foreign(owner) => {
                return Err(refusal(anyhow!("{kind} {:?} belongs to {owner}", of.name)));
            }
        }
        // The uid is a precondition: the apply does not create an object that was deleted in between.
        desired.meta_mut().uid = found.uid();
        api.patch(&of.name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&desired)).await?;
        Ok(())
    }

    /// Waits until all pods of the Deployment are available.
    pub async fn await_serving(&self, gateway: &GatewayRef) -> Done {
        let serves = |found: Option<&Deployment>| found.is_some_and(serves);
        await_condition(self.api(gateway), &gateway.name, serves).await.context("the Deployment cannot be watched")?;
        Ok(())
    }

    /// Switches the environments on or off.
    pub async fn switch_environments(&self, gateway: &GatewayRef, on: bool) -> Done {
        let state = if on { EnvironmentState::Active } else { EnvironmentState::Inactive };
        for environment in self.environments(gateway).await? {
            if environment.status.as_ref().map(|status| status.state).unwrap_or_default() == state {
                continue;
            }
            let patch = json!({ "status": { "state": state, "activatedAt": on.then(|| MicroTime(Timestamp::now())) } });
            let api = self.api::<Environment>(gateway);
            api.patch_status(&environment.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await?;
        }
        Ok(())
    }

    /// Removes the children: routes, environments, then what serves. It returns after the last pod is gone.
    pub async fn clean_up(&self, of: &GatewayRef) -> Done {
        // Owner references collect the children of a deleted gateway.
        let Some(gateway) = self.gateway(of).await? else { return Ok(()) };
        self.delete::<Ingress>(of, &gateway).await?;
        self.switch_environments(of, false).await?;
        self.delete::<Service>(of, &gateway).await?;
        self.delete::<Deployment>(of, &gateway).await
    }

    async fn delete<K>(&self, of: &GatewayRef, gateway: &ApiGateway) -> Done
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + DeserializeOwned
            + Clone
            + Debug
            + Send
            + Sync
            + 'static,
    {
        let api = self.api::<K>(of);
        let Some(found) = api.get_opt(&of.name).await? else { return Ok(()) };
        if owner_of(found.meta(), gateway) != Owner::Ours {
            return Ok(());
        }
        let uid = found.uid().unwrap_or_default();
        let params =
            DeleteParams::foreground().preconditions(Preconditions { uid: Some(uid.clone()), resource_version: None });
        api.delete(&of.name, &params).await?;
        await_condition(api, &of.name, is_deleted(&uid)).await.context("the deletion cannot be watched")?;
        Ok(())
    }
}

/// Whether all pods of the current generation are available.
fn serves(deployment: &Deployment) -> bool {
    let desired = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    deployment.status.as_ref().is_some_and(|status| {
        status.observed_generation == deployment.metadata.generation
            && status.updated_replicas.unwrap_or(0) == desired
            && status.available_replicas.unwrap_or(0) == desired
    })
}

/// An error that a retry does not change.
fn refusal(error: anyhow::Error) -> ActivityError {
    ActivityError::application(ApplicationFailure::non_retryable(error))
}
