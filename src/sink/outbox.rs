//! The handle to the deliveries that the watch, the sender and scrapes share.
//!
//! **Architecture invariant:** without a sink nothing is kept.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use kube::core::{Selector, SelectorExt};
use tokio::sync::Notify;

use crate::api::{ApiGateway, ApiGatewayStatus, Guarded, ObjectKey, uid_of};
use crate::metrics::EventMetrics;
use crate::outbox::Deliveries;

/// The outbox of this process. Clones share it.
#[derive(Clone, Default)]
pub struct Outbox(Option<Arc<Inner>>);

pub(super) struct Inner {
    deliveries: Mutex<Deliveries>,
    changed: Notify,
    selector: Selector,
    metrics: EventMetrics,
}

impl Outbox {
    /// An outbox for the gateways of this operator.
    pub fn new(selector: Selector, metrics: EventMetrics) -> Self {
        let deliveries = Mutex::default();
        Self(Some(Arc::new(Inner { deliveries, changed: Notify::new(), selector, metrics })))
    }

    /// Learns of a gateway. One that belongs to another operator is forgotten.
    pub fn saw(&self, gateway: &ApiGateway) {
        let Some(inner) = &self.0 else { return };
        let uid = uid_of(&gateway.metadata);
        if !inner.selector.matches(gateway.metadata.labels.as_ref().unwrap_or(&std::collections::BTreeMap::new())) {
            inner.lock().gone(uid, None);
            return;
        }
        let none = ApiGatewayStatus::default();
        let status = gateway.status.as_ref().unwrap_or(&none);
        inner.lock().saw(uid, &ObjectKey::of(gateway), status, Instant::now());
        inner.changed.notify_one();
    }

    /// Learns of a deletion, with the last version of the gateway.
    pub fn deleted(&self, gateway: &Guarded<ApiGateway>) {
        let Ok(gateway) = &gateway.0 else { return };
        self.saw(gateway);
        self.lost(uid_of(gateway.meta()), gateway.status.as_ref());
    }

    /// Learns that a gateway is gone, without its last version unless [`Self::deleted`] had it.
    pub fn gone(&self, uid: &str) {
        self.lost(uid, None);
    }

    fn lost(&self, uid: &str, last: Option<&ApiGatewayStatus>) {
        let Some(inner) = &self.0 else { return };
        let missed = inner.lock().gone(uid, last);
        if missed > 0 {
            inner.metrics.missed(missed);
            tracing::warn!(uid, missed, "a deleted ApiGateway has transitions that are not delivered");
        }
    }

    /// Takes the transitions that are there now as older than this operator's work.
    pub fn begin(&self) {
        if let Some(inner) = &self.0 {
            inner.lock().begin();
        }
    }

    /// How many transitions wait, and when the oldest was recorded. `None` without a sink.
    pub fn backlog(&self) -> Option<(i64, Option<Timestamp>)> {
        Some(self.0.as_ref()?.lock().backlog())
    }

    pub(super) fn inner(&self) -> Option<Arc<Inner>> {
        self.0.clone()
    }
}

impl Inner {
    /// Waits until the outbox learned something.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Deliveries> {
        // A panic elsewhere leaves positions that are at most too low.
        self.deliveries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
