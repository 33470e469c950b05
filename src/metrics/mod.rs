//! What Prometheus is told. No label carries a tenant's words: every set of values is closed.
//!
//! What has a small set of labels is there from the beginning, with 0: the first failure is then an increase
//! that a rule can see. README.md's table has every metric; a test compares it with a scrape.
//!
//! May import the core and `queue`. Invariant: a label's values are an enum in [`labels`], or an HTTP status.

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
    /// Of the registry outside Kubernetes.
    pub registry: RegistryMetrics,
}

type Histograms<L> = Family<L, Histogram, Doubling>;

/// Buckets from a millisecond on, each twice as wide as the one before it.
#[derive(Clone, Copy)]
struct Doubling {
    buckets: u16,
}

impl MetricConstructor<Histogram> for Doubling {
    fn new_metric(&self) -> Histogram {
        Histogram::new(exponential_buckets(0.001, 2.0, self.buckets))
    }
}

/// Seconds. Finer about the minutes that most starts are given; up to an hour, for deadlines are the users'.
const START_BUCKETS: [f64; 15] =
    [1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 90.0, 120.0, 180.0, 240.0, 300.0, 600.0, 1_800.0, 3_600.0];

/// Why an attempt begins.
const BEGINNINGS: [Reason; 4] =
    [Reason::StartRequested, Reason::RestartRequested, Reason::RetryScheduled, Reason::Resumed];

/// What is counted at the moment of a scrape.
#[derive(Default)]
pub struct Scrape {
    /// Whether this process works, or stands by.
    pub leads: bool,
    /// The queue; that of a process that stands by is empty.
    pub load: Load,
    /// The gateways, where this process works and has listed them.
    pub gateways: Option<Vec<Arc<Guarded<ApiGateway>>>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut all = Registry::with_prefix("phasegate");
        let metrics = Self {
            process_began: SystemTime::now(),
            reconciles: add(&mut all, "reconciles", "Reconciles by kind and result", Family::default()),
            reconcile_duration: add(
                &mut all,
                "reconcile_duration_seconds",
                "How long one reconcile took, its requests included",
                Family::new_with_constructor(Doubling { buckets: 16 }),
            ),
            requests: add(
                &mut all,
                "api_requests",
                "Requests to the API server by verb, resource and HTTP status; none: no answer",
                Family::default(),
            ),
            request_duration: add(
                &mut all,
                "api_request_duration_seconds",
                "How long the API server took to begin its answer, or was waited for",
                Family::new_with_constructor(Doubling { buckets: 15 }),
            ),
            start_attempts: add(
                &mut all,
                "start_attempts",
                "Attempts to start or restart that began, by what asked for them",
                Family::default(),
            ),
            start_duration: add(
                &mut all,
                "start_duration_seconds",
                "From the beginning of an attempt to Started",
                Histogram::new(START_BUCKETS),
            ),
            start_timeouts: add(
                &mut all,
                "start_timeouts",
                "Attempts that were given up at their deadline, by the diagnosed cause",
                Family::default(),
            ),
            failures: add(
                &mut all,
                "failures",
                "Causes that became visible and kept a gateway from being as asked",
                Family::default(),
            ),
            watch_restarts: add(&mut all, "watch_restarts", "Interrupted watches by resource", Family::default()),
            registry: RegistryMetrics::register(&mut all),
            all: {
                let version = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
                all.register("build", "The version of the operator", version);
                Arc::new(all)
            },
        };
        metrics.begin_at_zero();
        metrics
    }
}

/// Registers a metric, and keeps a handle to it.
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

    /// A reconcile ended.
    pub fn reconciled(&self, kind: Kind, outcome: Outcome, took: Duration) {
        let (kind, result) = (kind.as_str(), outcome.as_str());
        self.reconciles.get_or_create(&ReconcileLabels { kind, result }).inc();
        self.reconcile_duration.get_or_create(&KindLabels { kind }).observe(took.as_secs_f64());
    }

    /// A request was answered with an HTTP status, or with `none`, after so long.
    pub fn requested(&self, verb: Verb, resource: Resource, code: &str, took: Duration) {
        let (verb, resource) = (verb.as_str(), resource.as_str());
        self.requests.get_or_create(&RequestLabels { verb, resource, code: code.to_owned() }).inc();
        self.request_duration.get_or_create(&VerbLabels { verb }).observe(took.as_secs_f64());
    }

    /// An attempt began.
    pub fn attempt_began(&self, why: Reason) {
        self.start_attempts.get_or_create(&why.into()).inc();
    }

    /// An attempt ended in Started after `seconds`.
    pub fn started(&self, seconds: f64) {
        self.start_duration.observe(seconds);
    }

    /// An attempt was given up.
    pub fn timed_out(&self, cause: Reason) {
        self.start_timeouts.get_or_create(&cause.into()).inc();
    }

    /// A watch begins; none of its interruptions are known yet.
    pub fn watches(&self, resource: Resource) {
        drop(self.watch_restarts.get_or_create(&ResourceLabels { resource: resource.as_str() }));
    }

    /// A cause became visible.
    pub fn failed(&self, cause: Reason) {
        self.failures.get_or_create(&cause.into()).inc();
    }

    /// A watch was interrupted.
    pub fn watch_restarted(&self, resource: Resource) {
        self.watch_restarts.get_or_create(&ResourceLabels { resource: resource.as_str() }).inc();
    }

    /// All metrics in Prometheus' text format.
    ///
    /// # Errors
    /// When they cannot be written down.
    pub fn text(&self, scrape: &Scrape, now: Timestamp) -> Result<String, std::fmt::Error> {
        let Scrape { leads, load, gateways } = scrape;
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.all)?;
        let mut counted = Registry::with_prefix("phasegate");
        counted.register("leader", "Whether this process works; 0: it stands by", ConstGauge::new(i64::from(*leads)));
        counted.register("queue_waiting", "Objects that wait for a reconcile", gauge(load.waiting));
        counted.register("queue_running", "Objects that are being reconciled", gauge(load.running));
        counted.register(
            "queue_oldest_wait_seconds",
            "How long the object that waits longest has been waiting",
            ConstGauge::new(load.oldest_wait.as_secs_f64()),
        );
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
