//! What Prometheus is told of the registry outside Kubernetes.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::labels::{MONGODB, Operation, OperationLabels, OperationNameLabels, RegistryLabels, RegistryOutcome};
use super::{Doubling, Histograms, add};

/// The metrics of the registry outside Kubernetes. Clones share them.
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
                "Requests to the registry outside Kubernetes by operation and result",
                Family::default(),
            ),
            duration: add(
                all,
                "registry_request_duration_seconds",
                "How long requests to the registry took, answered or not",
                Family::new_with_constructor(Doubling { buckets: 14 }),
            ),
            up: add(all, "registry_up", "Whether the registry answers", Family::default()),
            missing_indexes: add(
                all,
                "registry_missing_indexes",
                "Indexes that the platform's data does not allow, duplicates mostly",
                Family::default(),
            ),
        }
    }

    /// A request came to its end.
    pub fn requested(&self, operation: Operation, outcome: RegistryOutcome, took: Duration) {
        let (registry, operation, result) = (MONGODB, operation.as_str(), outcome.as_str());
        self.requests.get_or_create(&OperationLabels { registry, operation, result }).inc();
        self.duration.get_or_create(&OperationNameLabels { registry, operation }).observe(took.as_secs_f64());
    }

    /// The registry answers, or does not.
    pub fn is_up(&self, up: bool) {
        self.up.get_or_create(&RegistryLabels { registry: MONGODB }).set(i64::from(up));
    }

    /// So many indexes are missing.
    pub fn misses_indexes(&self, count: usize) {
        let missing = self.missing_indexes.get_or_create(&RegistryLabels { registry: MONGODB });
        missing.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// This process has lost its leadership: how the registry is, it does not know any more.
    pub fn stands_by(&self) {
        self.up.clear();
        self.missing_indexes.clear();
    }
}
