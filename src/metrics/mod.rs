//! Prometheus metrics.
//!
//! Series with a small set of labels are exported from the start, with 0, so that the first failure is an
//! increase that a rule can see. docs/src/reference/metrics.md lists every metric; a test compares it with a
//! scrape.
//!
//! **Architecture invariant:** this module imports only the core and `queue`. Label values come from the enums
//! in [`labels`], or are HTTP status codes.

mod events;
mod fleet;
pub mod labels;
mod process;
mod registry;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use k8s_openapi::jiff::Timestamp;
use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};

use crate::api::{ApiGateway, Guarded, Reason};
use crate::decide::conditions::is_cause;
use crate::queue::{Kind, Load};
pub use events::EventMetrics;
use labels::{
    KindLabels, Outcome, ReasonLabels, ReconcileLabels, RequestLabels, Resource, ResourceLabels, Verb, VerbLabels,
};
pub use registry::RegistryMetrics;

/// The metrics of this process. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    all: Arc<Registry>,
    process_began: SystemTime,
    reconciles: Family<ReconcileLabels, Counter>,
    reconcile_duration: Histograms<KindLabels>,
    requests: Family<RequestLabels, Counter>,
    request_duration: Histograms<VerbLabels>,
    start_attempts: Family<ReasonLabels, Counter>,
    start_duration: Histogram,
    start_timeouts: Family<ReasonLabels, Counter>,
    failures: Family<ReasonLabels, Counter>,
    watch_restarts: Family<ResourceLabels, Counter>,
    /// The metrics of the external registry.
    pub registry: RegistryMetrics,
    /// The metrics of the sink of events.
    pub events: EventMetrics,
}

type Histograms<L> = Family<L, Histogram, ExponentialBuckets>;

/// Buckets from a millisecond on, each twice as wide as the one before.
#[derive(Clone, Copy)]
struct ExponentialBuckets {
    buckets: u16,
}

impl MetricConstructor<Histogram> for ExponentialBuckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(exponential_buckets(0.001, 2.0, self.buckets))
    }
}

/// In seconds. Finer around the minutes that most starts take; up to an hour, since users choose deadlines.
const START_BUCKETS: [f64; 15] =
    [1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 90.0, 120.0, 180.0, 240.0, 300.0, 600.0, 1_800.0, 3_600.0];

/// The reasons for which an attempt begins.
const BEGINNINGS: [Reason; 4] =
    [Reason::StartRequested, Reason::RestartRequested, Reason::RetryScheduled, Reason::Resumed];

/// Data that is gathered at each scrape.
#[derive(Default)]
pub struct Scrape {
    /// Whether this process leads or is on standby.
    pub leads: bool,
    /// The queue; empty on standby.
    pub load: Load,
    /// The gateways, once this process leads and has listed them.
    pub gateways: Option<Vec<Arc<Guarded<ApiGateway>>>>,
    /// The events that wait, if there is a sink: how many, and when the oldest transition of them was recorded.
    pub events: Option<(i64, Option<Timestamp>)>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut all = Registry::with_prefix("phasegate");
        let metrics = Self {
            process_began: SystemTime::now(),
            reconciles: add(&mut all, "reconciles", "Number of reconciles by kind and result", Family::default()),
            reconcile_duration: add(
                &mut all,
                "reconcile_duration_seconds",
                "Duration of a reconcile, including its API requests",
                Family::new_with_constructor(ExponentialBuckets { buckets: 16 }),
            ),
            requests: add(
                &mut all,
                "api_requests",
                "API server requests by verb, resource and HTTP status, or none without a response",
                Family::default(),
            ),
            request_duration: add(
                &mut all,
                "api_request_duration_seconds",
                "Time to the first byte of an API server response, or to the timeout",
                Family::new_with_constructor(ExponentialBuckets { buckets: 15 }),
            ),
            start_attempts: add(
                &mut all,
                "start_attempts",
                "Start and restart attempts begun, by trigger",
                Family::default(),
            ),
            start_duration: add(
                &mut all,
                "start_duration_seconds",
                "Duration of an attempt from its begin to Started",
                Histogram::new(START_BUCKETS),
            ),
            start_timeouts: add(
                &mut all,
                "start_timeouts",
                "Attempts that failed at their deadline, by diagnosed cause",
                Family::default(),
            ),
            failures: add(&mut all, "failures", "Causes that kept a gateway from matching its spec", Family::default()),
            watch_restarts: add(&mut all, "watch_restarts", "Watch restarts by resource", Family::default()),
            registry: RegistryMetrics::register(&mut all),
            events: EventMetrics::register(&mut all),
            all: {
                let version = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
                all.register("build", "Build information: the version of the operator", version);
                Arc::new(all)
            },
        };
        metrics.begin_at_zero();
        metrics
    }
}

/// Registers a metric and returns a handle to it.
fn add<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

impl Metrics {
    fn begin_at_zero(&self) {
        for kind in Kind::ALL.map(Kind::as_str) {
            for result in Outcome::ALL.iter().map(|outcome| outcome.as_str()) {
                drop(self.reconciles.get_or_create(&ReconcileLabels { kind, result }));
            }
            drop(self.reconcile_duration.get_or_create(&KindLabels { kind }));
        }
        for verb in Verb::ALL.iter().map(|verb| verb.as_str()) {
            drop(self.request_duration.get_or_create(&VerbLabels { verb }));
        }
        for reason in BEGINNINGS {
            drop(self.start_attempts.get_or_create(&reason.into()));
        }
        for reason in Reason::ALL.iter().filter(|reason| is_cause(**reason) || **reason == Reason::SlowStart) {
            drop(self.start_timeouts.get_or_create(&(*reason).into()));
            drop(self.failures.get_or_create(&(*reason).into()));
        }
    }

    /// Counts a finished reconcile.
    pub fn reconciled(&self, kind: Kind, outcome: Outcome, took: Duration) {
        let (kind, result) = (kind.as_str(), outcome.as_str());
        self.reconciles.get_or_create(&ReconcileLabels { kind, result }).inc();
        self.reconcile_duration.get_or_create(&KindLabels { kind }).observe(took.as_secs_f64());
    }

    /// Counts a request with its HTTP status, or `none`, and its duration.
    pub fn requested(&self, verb: Verb, resource: Resource, code: &str, took: Duration) {
        let (verb, resource) = (verb.as_str(), resource.as_str());
        self.requests.get_or_create(&RequestLabels { verb, resource, code: code.to_owned() }).inc();
        self.request_duration.get_or_create(&VerbLabels { verb }).observe(took.as_secs_f64());
    }

    /// Counts an attempt.
    pub fn attempt_began(&self, why: Reason) {
        self.start_attempts.get_or_create(&why.into()).inc();
    }

    /// Counts a successful attempt that took `seconds`.
    pub fn started(&self, seconds: f64) {
        self.start_duration.observe(seconds);
    }

    /// Counts an attempt that was given up.
    pub fn timed_out(&self, cause: Reason) {
        self.start_timeouts.get_or_create(&cause.into()).inc();
    }

    /// Exports the restarts of a watch, from 0.
    pub fn watches(&self, resource: Resource) {
        drop(self.watch_restarts.get_or_create(&ResourceLabels { resource: resource.as_str() }));
    }

    /// Counts a cause that became visible.
    pub fn failed(&self, cause: Reason) {
        self.failures.get_or_create(&cause.into()).inc();
    }

    /// Counts an interrupted watch.
    pub fn watch_restarted(&self, resource: Resource) {
        self.watch_restarts.get_or_create(&ResourceLabels { resource: resource.as_str() }).inc();
    }

    /// All metrics in Prometheus' text format.
    ///
    /// # Errors
    /// If they cannot be formatted.
    pub fn text(&self, scrape: &Scrape, now: Timestamp) -> Result<String, std::fmt::Error> {
        let Scrape { leads, load, gateways, events } = scrape;
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.all)?;
        let mut counted = Registry::with_prefix("phasegate");
        counted.register("leader", "1 on the leader, 0 on a standby", ConstGauge::new(i64::from(*leads)));
        counted.register("queue_waiting", "Objects waiting in the queue", gauge(load.waiting));
        counted.register("queue_running", "Objects being reconciled", gauge(load.running));
        counted.register(
            "queue_oldest_wait_seconds",
            "Age of the oldest waiting object in the queue",
            ConstGauge::new(load.oldest_wait.as_secs_f64()),
        );
        if let Some((waiting, oldest)) = events {
            events::register(&mut counted, *waiting, *oldest, now);
        }
        if let Some(gateways) = gateways {
            fleet::register(&mut counted, gateways.iter().map(|gateway| gateway.0.as_ref().ok()), now);
        }
        prometheus_text::encode(&mut text, &counted)?;
        let mut costs = Registry::default();
        process::register(&mut costs, self.process_began);
        prometheus_text::encode(&mut text, &costs)?;
        Ok(text)
    }
}

fn gauge(value: usize) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}
