//! Third of a pass: the steps of the plan, in order. How a step becomes calls, and not whether it is right.

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
use super::gather::Pass;
use super::memory::Expectation;
use super::unwritten;
use crate::api::{ApiGateway, Environment, EnvironmentState, ObjectKey, REGISTRY_FINALIZER, Reason, uid_of};
use crate::cache::seen::Part;
use crate::cache::watched::Watched;
use crate::children;
use crate::cluster::answer::Meaning;
use crate::cluster::calls::{CallError, FIELD_MANAGER};
use crate::cluster::events;
use crate::decide::environment as decide_environment;
use crate::decide::observed::{Child, Presence, Repair, Target, Unanswered};
use crate::decide::{Learned, Note, say};
use crate::decide::{Plan, Step, presence};

/// How far the steps came.
#[derive(Debug)]
pub enum Outcome {
    /// All of them succeeded.
    Done,
    /// Those that others have most to do about succeeded. The rest can wait a moment.
    HalfWay,
    /// The cache lags; it will catch up and wake the gateway.
    Behind,
    /// Something was learned that the facts did not say.
    Learned(Learned),
    /// Something could not be written, and somebody is to be told who is away.
    Unanswered(Unanswered, CallError),
    /// Something could not be written, and it is not known yet whether somebody is to be told.
    Unwritten(Target, CallError),
    /// The API server could not be asked.
    Failed(CallError),
}

impl Outcome {
    /// What the status is to say that the facts did not.
    pub fn taught(&self) -> Option<Learned> {
        match self {
            Self::Learned(learned) => Some(learned.clone()),
            Self::Unanswered(unanswered, _) => Some(Learned::Unanswered(unanswered.clone())),
            Self::Done | Self::HalfWay | Self::Behind | Self::Unwritten(..) | Self::Failed(_) => None,
        }
    }
}

/// Carries out a plan's steps. What they leave to be remembered goes into `pass`.
pub async fn carry_out(ctx: &Context, plan: &Plan, pass: &mut Pass<'_>) -> Outcome {
    let outcome = match steps(ctx, plan, pass).await {
        Outcome::Unwritten(what, error) => not_answered(ctx, what, error, pass).await,
        outcome => outcome,
    };
    remember(pass, plan, &outcome);
    outcome
}

/// Remembers that steps were tried, and what refused them. Whatever was sent is a try, answered or not: an outage holds
/// the clock, and nothing else may.
fn remember(pass: &mut Pass<'_>, plan: &Plan, outcome: &Outcome) {
    if plan.moves {
        // What was refused until now says nothing about what a stop deletes.
        if plan.begins_a_stop() {
            pass.remembered.refused(pass.gateway, None);
            pass.remembered.answered();
        }
        return;
    }
    match outcome {
        // The children were written to, whatever the registry did.
        Outcome::Done | Outcome::Learned(Learned::RegistryFailed(_)) => {
            pass.remembered.refused(pass.gateway, None);
            pass.remembered.answered();
        }
        Outcome::Learned(Learned::Refused(refusal)) => {
            pass.remembered.refused(pass.gateway, Some(refusal.clone()));
            pass.remembered.answered();
        }
        Outcome::HalfWay | Outcome::Failed(CallError::NotLeader) => return,
        Outcome::Behind
        | Outcome::Learned(_)
        | Outcome::Unanswered(..)
        | Outcome::Unwritten(..)
        | Outcome::Failed(_) => {}
    }
    if plan.steps.iter().any(|step| step.child().is_some() || *step == Step::ActivateEnvironments) {
        pass.remembered.tried(pass.gateway);
    }
}

/// Something was not written and not refused.
async fn not_answered(ctx: &Context, what: Target, error: CallError, pass: &mut Pass<'_>) -> Outcome {
    let (gateway, now) = (pass.gateway, pass.now);
    let remembered = &mut pass.remembered;
    let has_failed = |what: &Unanswered| remembered.unanswered(gateway, what, now);
    match unwritten::unanswered(ctx, what, &error, now, has_failed).await {
        Some(unanswered) => Outcome::Unanswered(unanswered, error),
        None => Outcome::Failed(error),
    }
}

/// The steps in their order.
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
            Outcome::Unwritten(_, CallError::NotLeader) => return Outcome::Failed(CallError::NotLeader),
            // What was refused is told, although more is wrong.
            Outcome::Unwritten(..) if !is_first => break,
            ended => return ended,
        }
    }
    worst
}

/// Whether a write failed in a way that keeps no other from being tried: it is refused, its webhook is away, a permission is
/// missing for it, or it was the registry's.
fn is_its_own(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Learned(Learned::Refused(_) | Learned::RegistryFailed(_)) => true,
        Outcome::Unwritten(_, error) => {
            matches!(error.meaning(), Some(Meaning::WebhookAway { .. } | Meaning::NotPermitted))
        }
        _ => false,
    }
}

/// One step. A write of a child that hangs ends when the attempt is to be judged.
async fn in_time(ctx: &Context, step: Step, pass: &mut Pass<'_>, judged_at: Option<Instant>) -> Outcome {
    /// A pass that begins just before may do something.
    const AT_LEAST: Duration = Duration::from_secs(1);
    let ends_at = judged_at.map(|at| at.max(Instant::now() + AT_LEAST));
    let Some(child) = step.child() else { return one(ctx, step, pass, ends_at).await };
    match until(ctx, ends_at, pin!(one(ctx, step, pass, ends_at))).await {
        Ok(outcome) => outcome,
        Err(error) => Outcome::Unwritten(Target::Child(child), error),
    }
}

/// What is under way, which ends at a moment.
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

async fn one(ctx: &Context, step: Step, pass: &mut Pass<'_>, ends_at: Option<Instant>) -> Outcome {
    match step {
        Step::Create(child) => with_kind!(child, create(ctx, pass)),
        Step::Update(child) => with_kind!(child, update(ctx, pass)),
        Step::Delete(child) => with_kind!(child, delete(ctx, pass)),
        Step::ActivateEnvironments => switch(ctx, pass, EnvironmentState::Active, ends_at).await,
        Step::DeactivateEnvironments => switch(ctx, pass, EnvironmentState::Inactive, ends_at).await,
        Step::AddFinalizer => keep(ctx, pass).await,
        Step::RemoveFinalizer => let_go(ctx, &pass.gateway.metadata).await,
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

/// Asks the Events of a pod why it is not ready.
async fn read_events(ctx: &Context, pass: &mut Pass<'_>) -> Outcome {
    if let Some(silence) = &pass.observed.pods.silence {
        let complaint = ctx.complaints.about(&ctx.calls, pass.gateway.namespace_or_empty(), silence).await;
        pass.remembered.heard(silence, complaint);
    }
    Outcome::Done
}

/// Keeps a gateway until it was forgotten in the registry.
async fn keep(ctx: &Context, pass: &mut Pass<'_>) -> Outcome {
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

/// Says once that a gateway is kept by a finalizer that looks like ours. Whoever may create gateways may set it.
fn tell_not_let_go(ctx: &Context, meta: &ObjectMeta, error: &CallError) {
    let key = ObjectKey::of_meta(meta);
    let message = format!(
        "the finalizer {REGISTRY_FINALIZER} keeps the deleted ApiGateway {key}: with --registry kubernetes this operator sets none, and          it may not remove this one ({}). Remove it (kubectl patch agw {} -n {} --type=merge -p          '{{\"metadata\":{{\"finalizers\":null}}}}'), or run the operator with the roles of deploy/mongodb.",
        say(&error.to_string()),
        key.name,
        key.namespace,
    );
    tracing::warn!(gateway = %key, "{message}");
    ctx.memory.may_not_let_go(meta);
    let note = Note { warning: true, reason: Reason::OperatorNotPermitted, message };
    ctx.herald.tell(&note, events::about::<ApiGateway>(meta));
}

/// Takes our finalizer from an object that may be unreadable otherwise.
pub async fn let_go(ctx: &Context, meta: &ObjectMeta) -> Outcome {
    let others = meta.finalizers.iter().flatten().filter(|finalizer| *finalizer != REGISTRY_FINALIZER);
    match patch_finalizers(ctx, meta, &others.cloned().collect::<Vec<_>>()).await {
        Ok(_) => Outcome::Done,
        // It is gone.
        Err(error) if error.code() == Some(404) => Outcome::Done,
        Err(error)
            if !ctx.registry.is_external()
                && matches!(error.meaning(), Some(Meaning::NotPermitted | Meaning::Refused)) =>
        {
            tell_not_let_go(ctx, meta, &error);
            Outcome::Learned(Learned::MayNotLetGo)
        }
        Err(error) => failure(Target::Finalizers, error),
    }
}

/// Replaces the finalizers of the version that was read.
async fn patch_finalizers(ctx: &Context, meta: &ObjectMeta, finalizers: &[String]) -> Result<ApiGateway, CallError> {
    let patch = json!({ "metadata": { "resourceVersion": meta.resource_version, "finalizers": finalizers } });
    ctx.calls.merge(&ObjectKey::of_meta(meta), &patch).await
}

async fn create<K: Part>(ctx: &Context, pass: &mut Pass<'_>) -> Outcome {
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

/// Somebody was first: ourselves, as the cache does not know yet, or a stranger.
async fn already_exists<K: Part>(ctx: &Context, gateway: &ApiGateway, desired: &K) -> Outcome {
    match ctx.calls.get::<K>(&ObjectKey::of(gateway)).await {
        Ok(None) => Outcome::Behind,
        Ok(Some(found)) => match presence::of(gateway, Some(desired), Some(&found), None).0 {
            presence if is_in_the_way(&presence) => Outcome::Learned(Learned::Surprise(K::CHILD, presence)),
            _ => Outcome::Behind,
        },
        Err(error) => failure(Target::Child(K::CHILD), error),
    }
}

/// Whether an object of the gateway's name is there that cannot be written.
fn is_in_the_way(presence: &Presence) -> bool {
    matches!(presence, Presence::Stranger(_) | Presence::Predecessor | Presence::Terminating)
}

async fn update<K: Part>(ctx: &Context, pass: &mut Pass<'_>) -> Outcome {
    let Some(desired) = K::desired(pass.desired.children()) else { return Outcome::Done };
    let gateway = pass.gateway;
    let fresh = match ctx.calls.get::<K>(&ObjectKey::of(gateway)).await {
        Ok(Some(fresh)) => fresh,
        Ok(None) => return Outcome::Behind,
        Err(error) => return failure(Target::Child(K::CHILD), error),
    };
    match pass.remembered.accepted.compared(gateway, desired, &fresh).0 {
        Presence::Equal => return Outcome::Done,
        presence if is_in_the_way(&presence) => return Outcome::Learned(Learned::Surprise(K::CHILD, presence)),
        // It has to be made anew, which the cache will show as well.
        Presence::Immutable => return Outcome::Behind,
        _ => {}
    }
    match orphaned_on_purpose(ctx, gateway, fresh.meta()).await {
        Ok(false) => {}
        Ok(true) => return Outcome::Behind,
        Err(error) => return failure(Target::Child(K::CHILD), error),
    }
    let update = match Put::new(&pass.remembered.accepted, gateway, &fresh, desired) {
        Ok(update) => update,
        Err(error) => return Outcome::Failed(CallError::Kube(kube::Error::SerdeError(error))),
    };
    match ctx.calls.replace(&update.body).await {
        Ok(stored) => {
            let version = answered(&mut pass.remembered.accepted, desired, &stored);
            // Admission may turn a write into what is there, and nothing was put right.
            let is_as_before = version == fresh.meta().resource_version;
            if let Some(repair) = update.repair.filter(|_| !is_as_before) {
                pass.remembered.accepted.repaired(repair);
            }
            pass.unheard |= is_as_before;
            Outcome::Done
        }
        Err(error) => failure(Target::Child(K::CHILD), error),
    }
}

/// Takes in what was stored. Returns its version.
fn answered<K: Part>(accepted: &mut Accepted, desired: &K, stored: &str) -> Option<String> {
    let stored: Watched<K> = serde_json::from_str(stored).ok()?;
    let version = stored.meta().resource_version.clone();
    accepted.answered(desired, stored.into());
    version
}

/// An update of a child.
struct Put<K> {
    body: K,
    /// What it puts right, where somebody changed what had been accepted.
    repair: Option<Repair>,
}

impl<K: Part> Put<K> {
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

/// Whether a child without its owner reference is what `kubectl delete --cascade=orphan` leaves
/// behind: the cache may not show yet that the gateway is going, and a child that is given back
/// to it now would be collected with it.
async fn orphaned_on_purpose(ctx: &Context, gateway: &ApiGateway, child: &ObjectMeta) -> Result<bool, CallError> {
    if presence::names_its_owner(child, gateway) {
        return Ok(false);
    }
    let live = ctx.calls.get::<ApiGateway>(&ObjectKey::of(gateway)).await?;
    Ok(live.is_none_or(|live| live.is_being_deleted() || live.uid() != gateway.uid()))
}

async fn delete<K: Part>(ctx: &Context, pass: &mut Pass<'_>) -> Outcome {
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
        return Outcome::Behind;
    }
    match unwritten::refused(what.clone(), &error) {
        Some(refusal) => Outcome::Learned(Learned::Refused(refusal)),
        None => Outcome::Unwritten(what, error),
    }
}

/// How many environments are switched before others have their turn.
const SWITCHED_AT_ONCE: usize = 100;

/// Switches the environments. One that cannot be written does not keep the others from being switched.
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
        // Those that failed would be tried first again.
        if switched == SWITCHED_AT_ONCE && matches!(worst, Outcome::Done) {
            return Outcome::HalfWay;
        }
        switched += 1;
        let status = decide_environment::switched(environment, to, pass.moment.now);
        let next = Environment { status: Some(status), ..Environment::clone(environment) };
        let written = until(ctx, ends_at, pin!(ctx.calls.replace_status(&next))).await.flatten();
        match written.map_err(|error| failure(Target::Environment(facts.name.clone()), error)) {
            Ok(_) => unwritten::environment_is_written(ctx, environment),
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
