//! The activities: what a workflow does outside itself. Temporal runs each at least once, so that each may be repeated
//! at any point.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use phasegate_core::api::{Phase, Reason};
use serde::{Deserialize, Serialize};
use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};

use crate::cluster::{Child, Cluster, GatewayRef};

/// How often an activity that waits reports that it is alive.
const BEAT: Duration = Duration::from_secs(1);

/// A transition to record.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Record {
    /// The gateway.
    pub gateway: GatewayRef,
    /// The new phase.
    pub phase: Phase,
    /// Its reason.
    pub reason: Reason,
    /// Why the start failed, if it did.
    pub failure: Option<String>,
}

impl Record {
    /// A transition without a failure.
    pub fn new(gateway: &GatewayRef, phase: Phase, reason: Reason) -> Self {
        Self { gateway: gateway.clone(), phase, reason, failure: None }
    }
}

/// A child to create or update.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Apply {
    /// The gateway.
    pub gateway: GatewayRef,
    /// The child.
    pub child: Child,
    /// The start deadline, from which the startup probe follows.
    pub deadline_seconds: u64,
}

/// The activities, with what they need.
pub struct Activities(
    /// The cluster of the gateways.
    pub Cluster,
);

#[activities]
impl Activities {
    /// Records a transition in the gateway's status.
    #[activity]
    pub async fn record(self: Arc<Self>, _ctx: ActivityContext, record: Record) -> Result<(), ActivityError> {
        self.0.record(&record).await
    }

    /// Creates or updates one child.
    #[activity]
    pub async fn apply(self: Arc<Self>, _ctx: ActivityContext, apply: Apply) -> Result<(), ActivityError> {
        self.0.apply(&apply).await
    }

    /// Waits until all pods of the Deployment are available.
    #[activity]
    pub async fn await_serving(
        self: Arc<Self>,
        ctx: ActivityContext,
        gateway: GatewayRef,
    ) -> Result<(), ActivityError> {
        with_heartbeats(&ctx, self.0.await_serving(&gateway)).await
    }

    /// Switches the gateway's environments on.
    #[activity]
    pub async fn activate(self: Arc<Self>, _ctx: ActivityContext, gateway: GatewayRef) -> Result<(), ActivityError> {
        self.0.switch_environments(&gateway, true).await
    }

    /// Removes all children and waits until the pods are gone.
    #[activity]
    pub async fn clean_up(self: Arc<Self>, ctx: ActivityContext, gateway: GatewayRef) -> Result<(), ActivityError> {
        with_heartbeats(&ctx, self.0.clean_up(&gateway)).await
    }
}

/// Reports that the activity is alive while it works, and ends it if it is cancelled. The answer to a heartbeat is also
/// how a worker learns of a cancellation.
async fn with_heartbeats(
    ctx: &ActivityContext,
    work: impl Future<Output = Result<(), ActivityError>>,
) -> Result<(), ActivityError> {
    let mut work = pin!(work);
    let mut beat = tokio::time::interval(BEAT);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = ctx.cancelled() => return Err(ActivityError::cancelled()),
            _ = beat.tick() => ctx.record_heartbeat(()).await?,
        }
    }
}
