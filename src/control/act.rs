//! Act, the third stage of a pass: carries out the plan's steps in order.
//!
//! **Architecture invariant:** this module turns steps into API calls. It does not decide whether a step is
//! right.

use std::pin::{Pin, pin};
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde_json::json;
use tokio::time::Instant;

use super::accepted::Accepted;
use super::context::Context;
use super::failed_writes;
use super::gather::Pass;
use super::memory::Expectation;
use crate::api::{ApiGateway, Environment, EnvironmentState, ObjectKey, REGISTRY_FINALIZER, Reason, uid_of};
use crate::cache::child::ChildKind;
use crate::cache::watched::Watched;
use crate::children::{self, HttpRoute};
use crate::cluster::calls::{CallError, FIELD_MANAGER};
use crate::cluster::error_kind::ErrorKind;
use crate::cluster::events;
use crate::decide::environment as decide_environment;
use crate::decide::observed::{Child, Presence, Repair, Target, Tried, Unanswered};
use crate::decide::{Learned, PlannedEvent, say};
use crate::decide::{Plan, Step, presence};

/// How far the steps came.
#[derive(Debug)]
pub enum Outcome {
    /// All steps succeeded.
    Done,
    /// The slow steps succeeded; the rest can wait a moment.
    HalfWay,
    /// The cache is behind; it will catch up and requeue the gateway.
    CacheBehind,
    /// A step taught something that the facts did not contain.
    Learned(Learned),
    /// A write failed without a refusal, for long enough to report the missing dependency.
    Unanswered(Unanswered, CallError),
    /// A write failed without a refusal; it is not known yet whether to report it.
    WriteFailed(Target, CallError),
    /// The API server could not be reached.
    Failed(CallError),
}

impl Outcome {
    /// What the status must reflect in addition to the facts.
    pub fn taught(&self) -> Option<Learned> {
        match self {
            Self::Learned(learned) => Some(learned.clone()),
            Self::Unanswered(unanswered, _) => Some(Learned::Unanswered(unanswered.clone())),
            Self::Done | Self::HalfWay | Self::CacheBehind | Self::WriteFailed(..) | Self::Failed(_) => None,
        }
    }
}

/// Carries out a plan's steps. What the pass must remember goes into `pass`.
pub async fn carry_out(ctx: &Context, plan: &Plan, pass: &mut Pass<'_>) -> Outcome {
    let outcome = match steps(ctx, plan, pass).await {
        Outcome::WriteFailed(what, error) => not_answered(ctx, what, error, pass).await,
        outcome => outcome,
    };
    remember(pass, plan, &outcome);
    outcome
}

/// Remembers that steps were tried, and what refused them. Everything that was sent counts as tried, answered
/// or not: only an outage holds the clock.
fn remember(pass: &mut Pass<'_>, plan: &Plan, outcome: &Outcome) {
    if plan.moves {
        // Earlier refusals say nothing about what a stop deletes.
        if plan.begins_a_stop() {
            pass.remembered.refused(pass.gateway, None);
            pass.remembered.answered();
        }
        return;
    }
    match outcome {
        // The children were written, whatever the registry did.
        Outcome::Done | Outcome::Learned(Learned::RegistryFailed(_)) => {
            pass.remembered.refused(pass.gateway, None);
            pass.remembered.answered();
        }
        Outcome::Learned(Learned::Refused(refusal)) => {
            pass.remembered.refused(pass.gateway, Some(refusal.clone()));
            pass.remembered.answered();
        }
        Outcome::HalfWay | Outcome::Failed(CallError::NotLeader) => return,
        Outcome::CacheBehind
        | Outcome::Learned(_)
        | Outcome::Unanswered(..)
        | Outcome::WriteFailed(..)
        | Outcome::Failed(_) => {}
    }
    if plan.steps.iter().any(|step| step.child().is_some() || *step == Step::ActivateEnvironments) {
        let is_late = pass.judged_at().is_some_and(|due| due <= pass.now.monotonic);
        pass.remembered.tried(pass.gateway, if is_late { Tried::Late } else { Tried::InTime });
    }
}

/// Handles a write that was neither carried out nor refused.
async fn not_answered(ctx: &Context, what: Target, error: CallError, pass: &mut Pass<'_>) -> Outcome {
    let (gateway, now) = (pass.gateway, pass.now);
    let remembered = &mut pass.remembered;
    let has_failed = |what: &Unanswered| remembered.unanswered(gateway, what, now);
    match failed_writes::unanswered(ctx, what, &error, now, has_failed).await {
        Some(unanswered) => Outcome::Unanswered(unanswered, error),
        None => Outcome::Failed(error),
    }
}

/// Runs the steps in order.
async fn steps(ctx: &Context, plan: &Plan, pass: &mut Pass<'_>) -> Outcome {
    let judged_at = pass.judged_at();
    let mut worst = Outcome::Done;
    for step in &plan.steps {
        let is_first = matches!(worst, Outcome::Done);
        match in_time(ctx, *step, pass, judged_at).await {
            Outcome::Done if plan.yields_after == Some(*step) && is_first => return Outcome::HalfWay,
            Outcome::Done => {}
            failed if is_its_own(&failed) => {
                if is_first {
                    worst = failed;
                }
            }
            Outcome::WriteFailed(_, CallError::NotLeader) => return Outcome::Failed(CallError::NotLeader),
            // A refusal is reported even if later steps fail as well.
            Outcome::WriteFailed(..) if !is_first => break,
            ended => return ended,
        }
    }
    worst
}

/// Whether a failure concerns only one write, so that others are still tried: a refusal, an unavailable
/// webhook, a missing permission, or a registry failure.
fn is_its_own(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Learned(Learned::Refused(_) | Learned::RegistryFailed(_)) => true,
        Outcome::WriteFailed(_, error) => {
            matches!(error.error_kind(), Some(ErrorKind::WebhookUnavailable { .. } | ErrorKind::NotPermitted))
        }
        _ => false,
    }
}

/// Runs one step. A child's write that hangs is abandoned when the attempt is due to be judged.
async fn in_time(ctx: &Context, step: Step, pass: &mut Pass<'_>, judged_at: Option<Instant>) -> Outcome {
    /// The least time of a write, for a pass that begins just before.
    const AT_LEAST: Duration = Duration::from_secs(1);
    let ends_at = judged_at.map(|at| at.max(Instant::now() + AT_LEAST));
    let Some(child) = step.child() else { return one(ctx, step, pass, ends_at).await };
    match until(ctx, ends_at, pin!(one(ctx, step, pass, ends_at))).await {
        Ok(outcome) => outcome,
        Err(error) => Outcome::WriteFailed(Target::Child(child), error),
    }
}

/// Runs a future until a deadline.
async fn until<T>(
    ctx: &Context,
    ends_at: Option<Instant>,
    act: Pin<&mut impl Future<Output = T>>,
) -> Result<T, CallError> {
    let Some(at) = ends_at else { return Ok(act.await) };
    let began = Instant::now();
    tokio::time::timeout_at(at, act).await.map_err(|_| {
        let waited = Duration::from_secs_f64(began.elapsed().as_secs_f64().round());
        ctx.outages.unanswered(waited);
        CallError::TimedOut(waited)
    })
}

/// Calls a generic function with the type of a child.
macro_rules! with_kind {
    ($child:expr, $act:ident($($argument:expr),*)) => {
        match $child {
            Child::Deployment => $act::<Deployment>($($argument),*).await,
            Child::Service => $act::<Service>($($argument),*).await,
            Child::Ingress => $act::<Ingress>($($argument),*).await,
            Child::HttpRoute => $act::<HttpRoute>($($argument),*).await,
            Child::PodDisruptionBudget => $act::<PodDisruptionBudget>($($argument),*).await,
        }
    };
}

async fn one(ctx: &Context, step: Step, pass: &mut Pass<'_>, ends_at: Option<Instant>) -> Outcome {
    match step {
        Step::Create(child) => with_kind!(child, create(ctx, pass)),
        Step::Update(child) => with_kind!(child, update(ctx, pass)),
        Step::Delete(child) => with_kind!(child, delete(ctx, pass)),
        Step::ActivateEnvironments => switch(ctx, pass, EnvironmentState::Active, ends_at).await,
        Step::DeactivateEnvironments => switch(ctx, pass, EnvironmentState::Inactive, ends_at).await,
        Step::AddFinalizer => add_finalizer(ctx, pass).await,
        Step::RemoveFinalizer => remove_finalizer(ctx, &pass.gateway.metadata).await,
        Step::ReadEvents => read_events(ctx, pass).await,
        Step::Record | Step::ActivateDocuments | Step::DeactivateDocuments | Step::Report | Step::Forget => {
            let views = pass.desired.environment_views();
            match ctx.registry.carry_out(pass.gateway, &views, step).await {
                Ok(()) => Outcome::Done,
                Err(error) => Outcome::Learned(Learned::RegistryFailed(error.to_string())),
            }
        }
    }
}

/// Reads the Events of a pod for why it is not ready.
async fn read_events(ctx: &Context, pass: &mut Pass<'_>) -> Outcome {
    if let Some(unexplained) = &pass.observed.pods.unexplained {
        let pod_event = ctx.pod_events.about(&ctx.calls, pass.gateway.namespace_or_empty(), unexplained).await;
        pass.remembered.events_read(unexplained, pod_event);
    }
    Outcome::Done
}

/// Adds our finalizer.
async fn add_finalizer(ctx: &Context, pass: &mut Pass<'_>) -> Outcome {
    let meta = &pass.gateway.metadata;
    let finalizers = meta.finalizers.iter().flatten().cloned().chain([REGISTRY_FINALIZER.to_owned()]);
    match patch_finalizers(ctx, meta, &finalizers.collect::<Vec<_>>()).await {
        Ok(written) => {
            pass.written = Some(written);
            Outcome::Done
        }
        Err(error) => failure(Target::Finalizers, error),
    }
}

/// Reports once that our finalizer holds a gateway and cannot be removed. Whoever may create gateways may set
/// it.
fn report_kept_finalizer(ctx: &Context, meta: &ObjectMeta, error: &CallError) {
    let key = ObjectKey::of_meta(meta);
    let message = format!(
        "finalizer {REGISTRY_FINALIZER} blocks the deletion of ApiGateway {key}. With --registry kubernetes the \
         operator does not set it and may not remove it ({}). Remove it (kubectl patch agw {} -n {} --type=merge -p \
         '{{\"metadata\":{{\"finalizers\":null}}}}'), or run the operator with the roles of deploy/mongodb.",
        say(&error.to_string()),
        key.name,
        key.namespace,
    );
    tracing::warn!(gateway = %key, "{message}");
    ctx.memory.may_not_remove_finalizer(meta);
    let event = PlannedEvent { warning: true, reason: Reason::OperatorNotPermitted, message };
    ctx.recorder.record(&event, events::about::<ApiGateway>(meta));
}

/// Removes our finalizer from an object, which may be unreadable otherwise.
pub async fn remove_finalizer(ctx: &Context, meta: &ObjectMeta) -> Outcome {
    let others = meta.finalizers.iter().flatten().filter(|finalizer| *finalizer != REGISTRY_FINALIZER);
    match patch_finalizers(ctx, meta, &others.cloned().collect::<Vec<_>>()).await {
        Ok(_) => Outcome::Done,
        // The object is gone.
        Err(error) if error.code() == Some(404) => Outcome::Done,
        Err(error)
            if !ctx.registry.is_external()
                && matches!(error.error_kind(), Some(ErrorKind::NotPermitted | ErrorKind::Refused)) =>
        {
            report_kept_finalizer(ctx, meta, &error);
            Outcome::Learned(Learned::MayNotRemoveFinalizer)
        }
        Err(error) => failure(Target::Finalizers, error),
    }
}

/// Replaces the finalizers of the version that was read.
async fn patch_finalizers(ctx: &Context, meta: &ObjectMeta, finalizers: &[String]) -> Result<ApiGateway, CallError> {
    let patch = json!({ "metadata": { "resourceVersion": meta.resource_version, "finalizers": finalizers } });
    ctx.calls.merge(&ObjectKey::of_meta(meta), &patch).await
}

async fn create<K: ChildKind>(ctx: &Context, pass: &mut Pass<'_>) -> Outcome {
    let Some(desired) = K::desired(pass.desired.children()) else { return Outcome::Done };
    match ctx.calls.create(desired).await {
        Ok(stored) => {
            pass.remembered.expect(K::CHILD, Expectation::Created);
            let accepted = &mut pass.remembered.accepted;
            if accepted.is_known(desired) {
                accepted.repaired(Repair { child: K::CHILD, path: String::new(), manager: None });
            }
            answered(accepted, desired, &stored);
            Outcome::Done
        }
        Err(error) if error.reason() == Some("AlreadyExists") => already_exists(ctx, pass.gateway, desired).await,
        Err(error) => failure(Target::Child(K::CHILD), error),
    }
}

/// The child exists already: created by us with the cache behind, or foreign.
async fn already_exists<K: ChildKind>(ctx: &Context, gateway: &ApiGateway, desired: &K) -> Outcome {
    match ctx.calls.get::<K>(&ObjectKey::of(gateway)).await {
        Ok(None) => Outcome::CacheBehind,
        Ok(Some(found)) => match presence::of(gateway, Some(desired), Some(&found), None).0 {
            presence if is_in_the_way(&presence) => Outcome::Learned(Learned::Surprise(K::CHILD, presence)),
            _ => Outcome::CacheBehind,
        },
        Err(error) => failure(Target::Child(K::CHILD), error),
    }
}

/// Whether the child's name is occupied by an object that must not be written.
fn is_in_the_way(presence: &Presence) -> bool {
    matches!(presence, Presence::Foreign(_) | Presence::Predecessor | Presence::Terminating)
}

async fn update<K: ChildKind>(ctx: &Context, pass: &mut Pass<'_>) -> Outcome {
    let Some(desired) = K::desired(pass.desired.children()) else { return Outcome::Done };
    let gateway = pass.gateway;
    let fresh = match ctx.calls.get::<K>(&ObjectKey::of(gateway)).await {
        Ok(Some(fresh)) => fresh,
        Ok(None) => return Outcome::CacheBehind,
        Err(error) => return failure(Target::Child(K::CHILD), error),
    };
    match pass.remembered.accepted.compared(gateway, desired, &fresh).0 {
        Presence::Equal => return Outcome::Done,
        presence if is_in_the_way(&presence) => return Outcome::Learned(Learned::Surprise(K::CHILD, presence)),
        // It must be recreated; the cache will show that as well.
        Presence::Immutable => return Outcome::CacheBehind,
        _ => {}
    }
    match orphaned_on_purpose(ctx, gateway, fresh.meta()).await {
        Ok(false) => {}
        Ok(true) => return Outcome::CacheBehind,
        Err(error) => return failure(Target::Child(K::CHILD), error),
    }
    let update = match Put::new(&pass.remembered.accepted, gateway, &fresh, desired) {
        Ok(update) => update,
        Err(error) => return Outcome::Failed(CallError::Kube(kube::Error::SerdeError(error))),
    };
    match ctx.calls.replace(&update.body).await {
        Ok(stored) => {
            let version = answered(&mut pass.remembered.accepted, desired, &stored);
            // Admission may reduce a write to what is stored already. Then nothing was repaired.
            let is_as_before = version == fresh.meta().resource_version;
            if let Some(repair) = update.repair.filter(|_| !is_as_before) {
                pass.remembered.accepted.repaired(repair);
            }
            pass.without_event |= is_as_before;
            Outcome::Done
        }
        Err(error) => failure(Target::Child(K::CHILD), error),
    }
}

/// Records the stored object. Returns its version.
fn answered<K: ChildKind>(accepted: &mut Accepted, desired: &K, stored: &str) -> Option<String> {
    let stored: Watched<K> = serde_json::from_str(stored).ok()?;
    let version = stored.meta().resource_version.clone();
    accepted.answered(desired, stored.into());
    version
}

/// An update of a child (PUT).
struct Put<K> {
    body: K,
    /// The repair that it makes, if somebody changed the accepted form.
    repair: Option<Repair>,
}

impl<K: ChildKind> Put<K> {
    fn new(accepted: &Accepted, gateway: &ApiGateway, fresh: &K, desired: &K) -> Result<Self, serde_json::Error> {
        let stored = accepted.stored_as(desired, uid_of(fresh.meta())).map(serde_json::to_value).transpose()?;
        let (found, wanted) = (serde_json::to_value(fresh)?, serde_json::to_value(desired)?);
        let path = children::drift(&wanted, stored.as_ref(), &found).filter(|_| accepted.is_known(desired));
        let repair = path.map(|path| Repair {
            child: K::CHILD,
            manager: children::last_manager(fresh.meta(), &path, FIELD_MANAGER),
            path,
        });
        let mut body = children::merge(&found, &wanted, stored.as_ref());
        if stored.is_none() && accepted.nothing_filled_in::<K>(gateway) {
            body = children::with_nothing_filled_in(K::CHILD.kind(), &wanted, body);
        }
        Ok(Self { body: serde_json::from_value(body)?, repair })
    }
}

/// Whether a child without its owner reference was orphaned by `kubectl delete --cascade=orphan`. The cache may
/// not show yet that the gateway is deleted; adopting the child again now would have it collected with the
/// gateway.
async fn orphaned_on_purpose(ctx: &Context, gateway: &ApiGateway, child: &ObjectMeta) -> Result<bool, CallError> {
    if presence::names_its_owner(child, gateway) {
        return Ok(false);
    }
    let live = ctx.calls.get::<ApiGateway>(&ObjectKey::of(gateway)).await?;
    Ok(live.is_none_or(|live| live.is_being_deleted() || live.uid() != gateway.uid()))
}

async fn delete<K: ChildKind>(ctx: &Context, pass: &mut Pass<'_>) -> Outcome {
    let Some(found) = K::found(&pass.desired.found) else { return Outcome::Done };
    let uid = found.uid.clone();
    match ctx.calls.delete::<K>(&ObjectKey::of(pass.gateway), &uid).await {
        Ok(()) => {
            pass.remembered.expect(K::CHILD, Expectation::Deleted(uid));
            pass.remembered.accepted.forget::<K>();
            Outcome::Done
        }
        Err(error) => failure(Target::Child(K::CHILD), error),
    }
}

fn failure(what: Target, error: CallError) -> Outcome {
    if error.is_stale() {
        return Outcome::CacheBehind;
    }
    match failed_writes::refused(what.clone(), &error) {
        Some(refusal) => Outcome::Learned(Learned::Refused(refusal)),
        None => Outcome::WriteFailed(what, error),
    }
}

/// The most environments to switch before the gateway yields its slot.
const SWITCHED_AT_ONCE: usize = 100;

/// Switches the environments. A failed write does not keep the others from being switched.
async fn switch(ctx: &Context, pass: &Pass<'_>, to: EnvironmentState, ends_at: Option<Instant>) -> Outcome {
    let mut switched = 0;
    let mut worst = Outcome::Done;
    for (environment, facts) in &pass.desired.environments {
        let due = match to {
            EnvironmentState::Active => facts.is_to_be_activated(),
            EnvironmentState::Inactive | EnvironmentState::Unknown(_) => facts.active,
        };
        if !due {
            continue;
        }
        // Otherwise those that failed would be tried first again.
        if switched == SWITCHED_AT_ONCE && matches!(worst, Outcome::Done) {
            return Outcome::HalfWay;
        }
        switched += 1;
        let status = decide_environment::switched(environment, to, pass.moment.now);
        let next = Environment { status: Some(status), ..Environment::clone(environment) };
        let written = until(ctx, ends_at, pin!(ctx.calls.replace_status(&next))).await.flatten();
        match written.map_err(|error| failure(Target::Environment(facts.name.clone()), error)) {
            Ok(_) => failed_writes::environment_is_written(ctx, environment),
            Err(failed) if is_its_own(&failed) => {
                if matches!(worst, Outcome::Done) {
                    worst = failed;
                }
            }
            Err(ended) => return ended,
        }
    }
    worst
}
