//! Metrics of the external registry.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::labels::{MONGODB, Operation, OperationLabels, OperationNameLabels, RegistryLabels, RegistryOutcome};
use super::{ExponentialBuckets, Histograms, add};

/// The metrics of the external registry. Clones share them.
#[derive(Clone)]
pub struct RegistryMetrics {
    requests: Family<OperationLabels, Counter>,
    duration: Histograms<OperationNameLabels>,
    up: Family<RegistryLabels, Gauge>,
    missing_indexes: Family<RegistryLabels, Gauge>,
}

impl RegistryMetrics {
    pub(super) fn register(all: &mut Registry) -> Self {
        Self {
            requests: add(
                all,
                "registry_requests",
                "Requests to the external registry by operation and result",
                Family::default(),
            ),
            duration: add(
                all,
                "registry_request_duration_seconds",
                "Duration of registry requests, including failed ones",
                Family::new_with_constructor(ExponentialBuckets { buckets: 14 }),
            ),
            up: add(all, "registry_up", "1 if the registry responds, else 0", Family::default()),
            missing_indexes: add(
                all,
                "registry_missing_indexes",
                "Indexes that cannot be created, usually because of duplicates",
                Family::default(),
            ),
        }
    }

    /// Counts a finished request.
    pub fn requested(&self, operation: Operation, outcome: RegistryOutcome, took: Duration) {
        let (registry, operation, result) = (MONGODB, operation.as_str(), outcome.as_str());
        self.requests.get_or_create(&OperationLabels { registry, operation, result }).inc();
        self.duration.get_or_create(&OperationNameLabels { registry, operation }).observe(took.as_secs_f64());
    }

    /// Sets whether the registry answers.
    pub fn is_up(&self, up: bool) {
        self.up.get_or_create(&RegistryLabels { registry: MONGODB }).set(i64::from(up));
    }

    /// Sets the number of missing indexes.
    pub fn misses_indexes(&self, count: usize) {
        let missing = self.missing_indexes.get_or_create(&RegistryLabels { registry: MONGODB });
        missing.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Forgets the registry's state with the loss of leadership.
    pub fn stands_by(&self) {
        self.up.clear();
        self.missing_indexes.clear();
    }
}
