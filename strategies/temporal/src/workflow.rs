//! The workflow: one for each gateway, from its start until it is stopped. While a gateway serves, its workflow waits
//! for a signal, which may take a year and many workers.
//!
//! **Architecture invariant:** this code is deterministic. It reads no time, no object and no variable; Temporal runs
//! it again from the recorded history after every crash. A change of the order of steps breaks the workflows that
//! run: the tests replay recorded histories.

use std::pin::pin;
use std::time::Duration;

use futures::FutureExt;
use futures::future::FusedFuture;
use phasegate_core::api::{Phase, Reason};
use serde::{Deserialize, Serialize};
use temporalio_common::RetryPolicy;
use temporalio_macros::{workflow, workflow_methods};
use temporalio_sdk::workflows::select;
use temporalio_sdk::{
    ActivityCancellationType, ActivityExecutionError, ActivityOptions, SyncWorkflowContext, TimerOptions,
    WorkflowCancellationToken, WorkflowContext, WorkflowContextView, WorkflowResult,
};

use crate::activities::{Activities, Apply, Record};
use crate::cluster::{Child, GatewayRef};

/// What a workflow is started with.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Job {
    /// The gateway.
    pub gateway: GatewayRef,
    /// How long its start may take.
    pub deadline_seconds: u64,
}

/// How a workflow ended. In both cases nothing of the gateway is left.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It was stopped by the signal.
    Stopped,
    /// The start failed; the text is the cause.
    Failed(String),
}

/// The workflow of a gateway.
#[workflow]
#[derive(Default)]
pub struct Lifecycle {
    stop_requested: bool,
    step: &'static str,
}

#[workflow_methods]
impl Lifecycle {
    /// Starts the gateway, waits for the stop, and cleans up.
    #[run]
    pub async fn run(ctx: &mut WorkflowContext<Self>, job: Job) -> WorkflowResult<End> {
        let attempt = ctx.cancellation_token().child_token();
        let deadline = TimerOptions::builder(Duration::from_secs(job.deadline_seconds))
            .cancellation_token(attempt.clone())
            .build();
        let failed = {
            let mut start = pin!(start(ctx.clone(), job.clone(), attempt.clone()).fuse());
            let mut deadline = ctx.timer(deadline);
            let failed = select! {
                started = start => match started {
                    Ok(()) | Err(ActivityExecutionError::Cancelled(_)) => None,
                    Err(error) => Some((Reason::NameTaken, cause(&error))),
                },
                _ = ctx.wait_condition(|lifecycle| lifecycle.stop_requested) => None,
                _ = deadline => {
                    let missing = ctx.state(|lifecycle| lifecycle.step);
                    let message = format!("the start deadline of {} s passed; missing: {missing}", job.deadline_seconds);
                    Some((Reason::StartDeadlineExceeded, message))
                }
            };
            // The clean-up begins after the last activity of the start has ended: a write after it would leave an
            // object that nothing removes.
            attempt.cancel();
            if !start.is_terminated() {
                let _ = start.await;
            }
            failed
        };
        let stop_requested = ctx.state(|lifecycle| lifecycle.stop_requested);
        if failed.is_none() && !stop_requested && !ctx.cancellation_token().is_cancelled() {
            record(ctx, Record::new(&job.gateway, Phase::Started, Reason::Started)).await?;
            // A cancelled workflow is a stop, too.
            let _ = ctx.wait_condition(|lifecycle| lifecycle.stop_requested).await;
        }
        clean_up(ctx, &job.gateway, failed.clone()).await?;
        Ok(failed.map_or(End::Stopped, |(_, message)| End::Failed(message)))
    }

    /// Requests the stop, in the middle of a start or later.
    #[signal]
    pub fn stop(&mut self, _ctx: &mut SyncWorkflowContext<Self>) {
        self.stop_requested = true;
    }

    /// The step that is in progress.
    #[query]
    pub fn step(&self, _ctx: &WorkflowContextView) -> String {
        self.step.to_owned()
    }
}

/// Everything from Created to what Started needs. The deadline and the stop cancel it by its token.
async fn start(
    ctx: WorkflowContext<Lifecycle>,
    job: Job,
    token: WorkflowCancellationToken,
) -> Result<(), ActivityExecutionError> {
    let Job { gateway, deadline_seconds } = job;
    let enter = |step: &'static str| {
        ctx.state_mut(|lifecycle| lifecycle.step = step);
        step
    };
    let starting = Record::new(&gateway, Phase::Starting, Reason::StartRequested);
    ctx.execute_activity(Activities::record, starting, short(enter("the record"), &token)).await?;
    for child in Child::ALL {
        let apply = Apply { gateway: gateway.clone(), child, deadline_seconds };
        ctx.execute_activity(Activities::apply, apply, short(enter(child.name()), &token)).await?;
    }
    ctx.execute_activity(Activities::await_serving, gateway.clone(), long(enter("available pods"), &token)).await?;
    ctx.execute_activity(Activities::activate, gateway, short(enter("active environments"), &token)).await
}

/// The compensation. The steps are not undone one by one in reverse: one activity removes what it finds, which needs
/// no memory of what was done.
async fn clean_up(
    ctx: &WorkflowContext<Lifecycle>,
    gateway: &GatewayRef,
    failed: Option<(Reason, String)>,
) -> Result<(), ActivityExecutionError> {
    let (reason, failure) = failed.map_or((Reason::StopRequested, None), |(reason, message)| (reason, Some(message)));
    record(ctx, Record { failure, ..Record::new(gateway, Phase::Stopping, reason) }).await?;
    ctx.execute_activity(Activities::clean_up, gateway.clone(), long("no object left", &detached())).await?;
    record(ctx, Record::new(gateway, Phase::Stopped, Reason::Stopped)).await
}

/// Records a transition, even of a workflow that was cancelled.
async fn record(ctx: &WorkflowContext<Lifecycle>, record: Record) -> Result<(), ActivityExecutionError> {
    let options = short(record.phase.as_str(), &detached());
    ctx.execute_activity(Activities::record, record, options).await
}

/// The innermost message of an error, without the layers of Temporal.
fn cause(error: &ActivityExecutionError) -> String {
    let mut failure = error.failure();
    while let Some(inner) = failure.and_then(|failure| failure.cause.as_deref()) {
        failure = Some(inner);
    }
    failure.map_or_else(|| error.to_string(), |failure| failure.message.clone())
}

/// A token that no cancellation of the workflow reaches.
fn detached() -> WorkflowCancellationToken {
    WorkflowCancellationToken::new()
}

/// Options of an activity of a few requests.
fn short(step: &str, token: &WorkflowCancellationToken) -> ActivityOptions {
    options(step, token, Duration::from_secs(10), None)
}

/// Options of an activity that waits. Without a heartbeat for five seconds, its worker counts as dead.
fn long(step: &str, token: &WorkflowCancellationToken) -> ActivityOptions {
    options(step, token, Duration::from_secs(3600), Some(Duration::from_secs(5)))
}

/// An activity is retried without a limit: the deadline ends a start, and a clean-up has to succeed.
fn options(
    step: &str,
    token: &WorkflowCancellationToken,
    close: Duration,
    heartbeat: Option<Duration>,
) -> ActivityOptions {
    let retries = RetryPolicy::builder()
        .initial_interval(Duration::from_millis(200))
        .maximum_interval(Duration::from_secs(5))
        .build();
    let mut options = ActivityOptions::start_to_close_timeout(close);
    // A replay compares an activity's type and id with the history, and not its arguments.
    options.activity_id = Some(step.to_owned());
    options.heartbeat_timeout = heartbeat;
    options.retry_policy = Some(retries);
    options.cancellation_type = ActivityCancellationType::WaitCancellationCompleted;
    options.cancellation_token = Some(token.clone());
    options
}
