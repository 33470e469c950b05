//! Carries out a plan's steps, in order.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use crate::api::{ApiGateway, Environment, EnvironmentState, REGISTRY_FINALIZER};
use crate::cache::seen::Part;
use crate::children;
use crate::cluster::calls::{CallError, Object};
use crate::control::context::Context;
use crate::control::desired::{self, Desired};
use crate::control::gather;
use crate::control::memory::Expectation;
use crate::decide::diagnosis::is_quota;
use crate::decide::environment as decide_environment;
use crate::decide::observed::{Child, Observed, Presence, Refusal};
use crate::decide::{Learned, Plan, Step};

/// How far the steps came.
#[derive(Debug)]
pub enum Outcome {
    /// All of them succeeded.
    Done,
    /// Those that others have most to do about succeeded. The rest can wait a moment.
    HalfWay,
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

impl Outcome {
    fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// What belongs into the status of the same pass.
    pub fn taught(&self) -> Option<Learned> {
        match self {
            Self::Surprise(child, presence) => Some(Learned::Surprise(*child, presence.clone())),
            Self::Refused(refusal) => Some(Learned::Refused(refusal.clone())),
            Self::RegistryFailed(words) => Some(Learned::RegistryFailed(words.clone())),
            Self::Done | Self::HalfWay | Self::Stale | Self::Failed(_) => None,
        }
    }
}

/// Carries out the steps of a plan, which was decided from `observed`.
pub async fn carry_out(
    ctx: &Context,
    gateway: &ApiGateway,
    plan: &Plan,
    desired: &Desired<'_>,
    observed: &Observed,
) -> Outcome {
    let mut worst = Outcome::Done;
    for step in &plan.steps {
        match one(ctx, gateway, *step, desired, observed).await {
            Outcome::Done if plan.yields_after == Some(*step) && worst.is_done() => return Outcome::HalfWay,
            Outcome::Done => {}
            // One child that is refused does not keep the others from being repaired, nor does a registry that
            // does not answer.
            failed @ (Outcome::Refused(_) | Outcome::RegistryFailed(_)) => {
                if worst.is_done() {
                    worst = failed;
                }
            }
            ended => return ended,
        }
    }
    worst
}

/// Calls a function for the type of a child.
macro_rules! with_kind {
    ($child:expr, $act:ident($($argument:expr),*)) => {
        match $child {
            Child::Deployment => $act::<Deployment>($($argument),*).await,
            Child::Service => $act::<Service>($($argument),*).await,
            Child::Ingress => $act::<Ingress>($($argument),*).await,
            Child::PodDisruptionBudget => $act::<PodDisruptionBudget>($($argument),*).await,
        }
    };
}

async fn one(ctx: &Context, gateway: &ApiGateway, step: Step, desired: &Desired<'_>, observed: &Observed) -> Outcome {
    match step {
        Step::Create(child) => with_kind!(child, create(ctx, gateway, desired)),
        Step::Update(child) => with_kind!(child, update(ctx, gateway, desired)),
        Step::Delete(child) => with_kind!(child, delete(ctx, gateway, desired)),
        Step::ActivateEnvironments => switch(ctx, desired, EnvironmentState::Active).await,
        Step::DeactivateEnvironments => switch(ctx, desired, EnvironmentState::Inactive).await,
        Step::AddFinalizer => keep(ctx, gateway).await,
        Step::RemoveFinalizer => let_go(ctx, &gateway.metadata).await,
        Step::ReadEvents => {
            read_events(ctx, gateway, observed).await;
            Outcome::Done
        }
        Step::Record | Step::ActivateDocuments | Step::DeactivateDocuments | Step::Report | Step::Forget => {
            match ctx.registry.carry_out(gateway, &gather::environment_views(desired), step).await {
                Ok(()) => Outcome::Done,
                Err(error) => Outcome::RegistryFailed(error.to_string()),
            }
        }
    }
}

/// What cannot be read is as if nothing were said: it only explains.
async fn read_events(ctx: &Context, gateway: &ApiGateway, observed: &Observed) {
    if let Some(silence) = &observed.pods.silence {
        let complaint = ctx.complaints.about(&ctx.calls, gateway.namespace_or_empty(), silence).await;
        ctx.memory.heard(gateway, silence, complaint);
    }
}

/// Keeps a gateway until it was forgotten in the registry.
async fn keep(ctx: &Context, gateway: &ApiGateway) -> Outcome {
    let mut finalizers = gateway.metadata.finalizers.clone().unwrap_or_default();
    finalizers.push(REGISTRY_FINALIZER.to_owned());
    match patch_finalizers(ctx, &gateway.metadata, &finalizers).await {
        Ok(written) => {
            ctx.memory.wrote(gateway, written, false);
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

async fn create<K: Part>(ctx: &Context, gateway: &ApiGateway, desired: &Desired<'_>) -> Outcome {
    let Some(desired) = K::desired(desired.children()) else { return Outcome::Done };
    match ctx.calls.create(desired).await {
        Ok(()) => {
            ctx.memory.expect(gateway, K::CHILD, Expectation::Created);
            Outcome::Done
        }
        Err(error) if error.reason() == Some("AlreadyExists") => already_exists(ctx, gateway, desired).await,
        Err(error) => failure(K::CHILD, error),
    }
}

/// Somebody was first: ourselves, as the cache does not know yet, or a stranger.
async fn already_exists<K: Part>(ctx: &Context, gateway: &ApiGateway, desired: &K) -> Outcome {
    match ctx.calls.get::<K>(gateway.namespace_or_empty(), gateway.name_or_empty()).await {
        Ok(None) => Outcome::Stale,
        Ok(Some(found)) => match desired::presence(gateway, Some(desired), Some(&found)) {
            presence if is_in_the_way(&presence) => Outcome::Surprise(K::CHILD, presence),
            _ => Outcome::Stale,
        },
        Err(error) => failure(K::CHILD, error),
    }
}

/// Whether an object of the gateway's name is there that cannot be written.
fn is_in_the_way(presence: &Presence) -> bool {
    matches!(presence, Presence::Stranger(_) | Presence::Predecessor | Presence::Terminating)
}

async fn update<K: Part>(ctx: &Context, gateway: &ApiGateway, desired: &Desired<'_>) -> Outcome {
    let Some(desired) = K::desired(desired.children()) else { return Outcome::Done };
    let fresh = match ctx.calls.get::<K>(gateway.namespace_or_empty(), gateway.name_or_empty()).await {
        Ok(Some(fresh)) => fresh,
        Ok(None) => return Outcome::Stale,
        Err(error) => return failure(K::CHILD, error),
    };
    match desired::presence(gateway, Some(desired), Some(&fresh)) {
        Presence::Equal => return Outcome::Done,
        presence if is_in_the_way(&presence) => return Outcome::Surprise(K::CHILD, presence),
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
        Ok(()) => Outcome::Done,
        Err(error) => failure(K::CHILD, error),
    }
}

/// Whether a child without its owner reference is what `kubectl delete --cascade=orphan` leaves
/// behind: the cache may not show yet that the gateway is going, and a child that is given back
/// to it now would be collected with it.
async fn orphaned_on_purpose(ctx: &Context, gateway: &ApiGateway, child: &ObjectMeta) -> Result<bool, CallError> {
    if desired::names_its_owner(child, gateway) {
        return Ok(false);
    }
    let live = ctx.calls.get::<ApiGateway>(gateway.namespace_or_empty(), gateway.name_or_empty()).await?;
    Ok(live.is_none_or(|live| live.is_being_deleted() || live.uid() != gateway.uid()))
}

fn merged<K: Object>(fresh: &K, desired: &K) -> Result<K, serde_json::Error> {
    let merged = children::merge(&serde_json::to_value(fresh)?, &serde_json::to_value(desired)?);
    serde_json::from_value(merged)
}

async fn delete<K: Part>(ctx: &Context, gateway: &ApiGateway, desired: &Desired<'_>) -> Outcome {
    let Some(found) = K::found(&desired.found) else { return Outcome::Done };
    let uid = found.uid.clone().unwrap_or_default();
    match ctx.calls.delete::<K>(gateway.namespace_or_empty(), gateway.name_or_empty(), &uid).await {
        Ok(()) => {
            ctx.memory.expect(gateway, K::CHILD, Expectation::Deleted(uid));
            Outcome::Done
        }
        Err(error) => failure(K::CHILD, error),
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

async fn switch(ctx: &Context, desired: &Desired<'_>, to: EnvironmentState) -> Outcome {
    for (environment, facts) in &desired.environments {
        let due = match to {
            EnvironmentState::Active => facts.is_to_be_activated(),
            EnvironmentState::Inactive => facts.active,
        };
        if !due {
            continue;
        }
        let status = decide_environment::switched(environment, to, Timestamp::now());
        let next = Environment { status: Some(status), ..Environment::clone(environment) };
        match ctx.calls.replace_status(&next).await {
            Ok(_) => {}
            Err(error) if error.is_stale() => return Outcome::Stale,
            Err(error) => return Outcome::Failed(error),
        }
    }
    Outcome::Done
}
