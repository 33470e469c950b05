//! Metrics of the sink of events.

use k8s_openapi::jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::add;
use super::labels::{EventFailure, FailureLabels};

/// The metrics of the sink of events. Clones share them.
#[derive(Clone)]
pub struct EventMetrics {
    delivered: Counter,
    failures: Family<FailureLabels, Counter>,
    missed: Counter,
}

impl EventMetrics {
    pub(super) fn register(all: &mut Registry) -> Self {
        let metrics = Self {
            delivered: add(all, "events_delivered", "Events that the sink took", Counter::default()),
            failures: add(
                all,
                "events_failures",
                "Attempts to deliver an event that failed, by class",
                Family::default(),
            ),
            missed: add(all, "events_missed", "Transitions that were never delivered", Counter::default()),
        };
        for class in EventFailure::ALL.iter().map(|class| class.as_str()) {
            drop(metrics.failures.get_or_create(&FailureLabels { class }));
        }
        metrics
    }

    /// Counts a delivered event.
    pub fn delivered(&self) {
        self.delivered.inc();
    }

    /// Counts a failed attempt.
    pub fn failed(&self, why: EventFailure) {
        self.failures.get_or_create(&FailureLabels { class: why.as_str() }).inc();
    }

    /// Counts transitions that will not be delivered.
    pub fn missed(&self, transitions: i64) {
        self.missed.inc_by(u64::try_from(transitions).unwrap_or_default());
    }
}

/// Registers what is gathered at each scrape.
pub(super) fn register(counted: &mut Registry, waiting: i64, oldest: Option<Timestamp>, now: Timestamp) {
    counted.register("events_waiting", "Transitions that wait for their delivery", ConstGauge::new(waiting));
    let lag = oldest.map_or(0.0, |oldest| now.duration_since(oldest).as_secs_f64().max(0.0));
    counted.register(
        "events_lag_seconds",
        "Age of the oldest transition that waits for its delivery",
        ConstGauge::new(lag),
    );
}
