//! Carries out a plan's steps, in order.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;

use serde_json::json;

use crate::api::{ApiGateway, Environment, EnvironmentState, REGISTRY_FINALIZER};
use crate::calls::{CallError, Object};
use crate::context::Context;
use crate::decide::Step;
use crate::decide::diagnosis::is_quota;
use crate::decide::environment as decide_environment;
use crate::decide::observed::{Child, Presence, Refusal};
use crate::memory::Expectation;
use crate::observe::{self, Found};
use crate::resources::{self, Children};

/// How far the steps came.
#[derive(Debug)]
pub enum Outcome {
    /// All of them succeeded.
    Done,
    /// An object was not as the cache had it: what it is.
    Surprise(Child, Presence),
    /// The cache lags; it will catch up and wake the gateway.
    Stale,
    /// The API server refused.
    Refused(Refusal),
    /// The API server could not be asked.
    Failed(CallError),
    /// The registry could not be written to: why.
    RegistryFailed(String),
}

/// Carries out `steps` for a gateway.
pub async fn carry_out(
    ctx: &Context,
    gateway: &ApiGateway,
    steps: &[Step],
    desired: &Children,
    found: &Found,
) -> Outcome {
    let mut worst = Outcome::Done;
    for step in steps {
        match one(ctx, gateway, *step, desired, found).await {
            Outcome::Done => {}
            // One child that is refused does not keep the others from being repaired, nor does a registry that
            // does not answer.
            failed @ (Outcome::Refused(_) | Outcome::RegistryFailed(_)) => {
                if matches!(worst, Outcome::Done) {
                    worst = failed;
                }
            }
            ended => return ended,
        }
    }
    worst
}

async fn one(ctx: &Context, gateway: &ApiGateway, step: Step, desired: &Children, found: &Found) -> Outcome {
    let Children { deployment, service, ingress, disruption_budget } = desired;
    match step {
        Step::Create(child) => match child {
            Child::Deployment => create(ctx, gateway, child, Some(deployment)).await,
            Child::Service => create(ctx, gateway, child, Some(service)).await,
            Child::Ingress => create(ctx, gateway, child, ingress.as_ref()).await,
            Child::PodDisruptionBudget => create(ctx, gateway, child, disruption_budget.as_ref()).await,
        },
        Step::Update(child) => match child {
            Child::Deployment => update(ctx, gateway, child, Some(deployment)).await,
            Child::Service => update(ctx, gateway, child, Some(service)).await,
            Child::Ingress => update(ctx, gateway, child, ingress.as_ref()).await,
            Child::PodDisruptionBudget => update(ctx, gateway, child, disruption_budget.as_ref()).await,
        },
        Step::Delete(child) => match child {
            Child::Deployment => delete(ctx, gateway, child, found.deployment.as_deref()).await,
            Child::Service => delete(ctx, gateway, child, found.service.as_deref()).await,
            Child::Ingress => delete(ctx, gateway, child, found.ingress.as_deref()).await,
            Child::PodDisruptionBudget => delete(ctx, gateway, child, found.disruption_budget.as_deref()).await,
        },
        Step::ActivateEnvironments => switch(ctx, gateway, EnvironmentState::Active).await,
        Step::DeactivateEnvironments => switch(ctx, gateway, EnvironmentState::Inactive).await,
        Step::AddFinalizer => keep(ctx, gateway).await,
        Step::RemoveFinalizer => let_go(ctx, &gateway.metadata).await,
        Step::Record | Step::ActivateDocuments | Step::DeactivateDocuments | Step::Report | Step::Forget => {
            match ctx.registry.carry_out(gateway, &observe::environment_views(ctx, gateway), step).await {
                Ok(()) => Outcome::Done,
                Err(error) => Outcome::RegistryFailed(error.to_string()),
            }
        }
    }
}

/// Keeps a gateway until it was forgotten in the registry.
async fn keep(ctx: &Context, gateway: &ApiGateway) -> Outcome {
    let mut finalizers = gateway.metadata.finalizers.clone().unwrap_or_default();
    finalizers.push(REGISTRY_FINALIZER.to_owned());
    match patch_finalizers(ctx, &gateway.metadata, &finalizers).await {
        Ok(written) => {
            ctx.memory.wrote(gateway, written);
            Outcome::Done
        }
        Err(error) if error.is_stale() => Outcome::Stale,
        Err(error) => Outcome::Failed(error),
    }
}

/// Takes our finalizer from an object that may be unreadable otherwise.
pub async fn let_go(ctx: &Context, meta: &ObjectMeta) -> Outcome {
    let others = meta.finalizers.iter().flatten().filter(|finalizer| *finalizer != REGISTRY_FINALIZER);
    match patch_finalizers(ctx, meta, &others.cloned().collect::<Vec<_>>()).await {
        Ok(_) => Outcome::Done,
        // It is gone.
        Err(error) if error.code() == Some(404) => Outcome::Done,
        Err(error) if error.is_stale() => Outcome::Stale,
        Err(error) => Outcome::Failed(error),
    }
}

/// Replaces the finalizers of the version that was read.
async fn patch_finalizers(ctx: &Context, meta: &ObjectMeta, finalizers: &[String]) -> Result<ApiGateway, CallError> {
    let patch = json!({ "metadata": { "resourceVersion": meta.resource_version, "finalizers": finalizers } });
    let (namespace, name) = (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default());
    ctx.calls.merge(namespace, name, &patch).await
}

async fn create<K: Object>(ctx: &Context, gateway: &ApiGateway, child: Child, desired: Option<&K>) -> Outcome {
    let Some(desired) = desired else { return Outcome::Done };
    match ctx.calls.create(desired).await {
        Ok(_) => {
            ctx.memory.expect(gateway, child, Expectation::Created);
            Outcome::Done
        }
        Err(error) if error.reason() == Some("AlreadyExists") => already_exists(ctx, gateway, child, desired).await,
        Err(error) => failure(child, error),
    }
}

/// Somebody was first: ourselves, as the cache does not know yet, or a stranger.
async fn already_exists<K: Object>(ctx: &Context, gateway: &ApiGateway, child: Child, desired: &K) -> Outcome {
    match ctx.calls.get::<K>(gateway.namespace_or_empty(), gateway.name_or_empty()).await {
        Ok(None) => Outcome::Stale,
        Ok(Some(found)) => match observe::presence(gateway, Some(desired), Some(&found)) {
            presence if is_in_the_way(&presence) => Outcome::Surprise(child, presence),
            _ => Outcome::Stale,
        },
        Err(error) => failure(child, error),
    }
}

/// Whether an object of the gateway's name is there that cannot be written.
fn is_in_the_way(presence: &Presence) -> bool {
    matches!(presence, Presence::Stranger(_) | Presence::Predecessor | Presence::Terminating)
}

async fn update<K: Object>(ctx: &Context, gateway: &ApiGateway, child: Child, desired: Option<&K>) -> Outcome {
    let Some(desired) = desired else { return Outcome::Done };
    let fresh = match ctx.calls.get::<K>(gateway.namespace_or_empty(), gateway.name_or_empty()).await {
        Ok(Some(fresh)) => fresh,
        Ok(None) => return Outcome::Stale,
        Err(error) => return failure(child, error),
    };
    match observe::presence(gateway, Some(desired), Some(&fresh)) {
        Presence::Equal => return Outcome::Done,
        presence if is_in_the_way(&presence) => return Outcome::Surprise(child, presence),
        _ => {}
    }
    match orphaned_on_purpose(ctx, gateway, fresh.meta()).await {
        Ok(false) => {}
        Ok(true) => return Outcome::Stale,
        Err(error) => return Outcome::Failed(error),
    }
    let merged = match merged(&fresh, desired) {
        Ok(merged) => merged,
        Err(error) => return Outcome::Failed(CallError::Kube(kube::Error::SerdeError(error))),
    };
    match ctx.calls.replace(&merged).await {
        Ok(_) => Outcome::Done,
        Err(error) => failure(child, error),
    }
}

/// Whether a child without its owner reference is what `kubectl delete --cascade=orphan` leaves
/// behind: the cache may not show yet that the gateway is going, and a child that is given back
/// to it now would be collected with it.
async fn orphaned_on_purpose(ctx: &Context, gateway: &ApiGateway, child: &ObjectMeta) -> Result<bool, CallError> {
    if observe::names_its_owner(child, gateway) {
        return Ok(false);
    }
    let live = ctx.calls.get::<ApiGateway>(gateway.namespace_or_empty(), gateway.name_or_empty()).await?;
    Ok(live.is_none_or(|live| live.is_being_deleted() || live.uid() != gateway.uid()))
}

fn merged<K: Object>(fresh: &K, desired: &K) -> Result<K, serde_json::Error> {
    let merged = resources::merge(&serde_json::to_value(fresh)?, &serde_json::to_value(desired)?);
    serde_json::from_value(merged)
}

async fn delete<K: Object>(ctx: &Context, gateway: &ApiGateway, child: Child, found: Option<&K>) -> Outcome {
    let Some(found) = found else { return Outcome::Done };
    match ctx.calls.delete(found).await {
        Ok(()) => {
            let uid = found.meta().uid.clone().unwrap_or_default();
            ctx.memory.expect(gateway, child, Expectation::Deleted(uid));
            Outcome::Done
        }
        Err(error) => failure(child, error),
    }
}

fn failure(child: Child, error: CallError) -> Outcome {
    if error.is_stale() {
        Outcome::Stale
    } else if error.is_refusal() {
        let message = error.to_string();
        Outcome::Refused(Refusal {
            child,
            quota: is_quota(&message),
            immutable: error.names_an_immutable_field(),
            message,
        })
    } else {
        Outcome::Failed(error)
    }
}

async fn switch(ctx: &Context, gateway: &ApiGateway, to: EnvironmentState) -> Outcome {
    for (environment, facts) in observe::environments(ctx, gateway) {
        let due = match to {
            EnvironmentState::Active => facts.is_to_be_activated(),
            EnvironmentState::Inactive => facts.active,
        };
        if !due {
            continue;
        }
        let status = decide_environment::switched(&environment, to, Timestamp::now());
        let next = Environment { status: Some(status), ..Environment::clone(&environment) };
        match ctx.calls.replace_status(&next).await {
            Ok(_) => {}
            Err(error) if error.is_stale() => return Outcome::Stale,
            Err(error) => return Outcome::Failed(error),
        }
    }
    Outcome::Done
}
