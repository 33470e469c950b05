//! What Prometheus is told. No label carries a tenant's words: every set of values is closed.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, prometheus_text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::api::{ApiGateway, Phase, Reason, State};
use crate::decide::conditions;
use crate::queue::{Kind, Load};
use crate::watch::Guarded;

/// The metrics of this process. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    reconciles: Family<ReconcileLabels, Counter>,
    reconcile_duration: Family<KindLabels, Histogram>,
    requests: Family<RequestLabels, Counter>,
    start_duration: Histogram,
    start_timeouts: Family<ReasonLabels, Counter>,
    failures: Family<ReasonLabels, Counter>,
    watch_restarts: Family<ResourceLabels, Counter>,
    registry_requests: Family<OperationLabels, Counter>,
    registry_duration: Family<OperationNameLabels, Histogram>,
    registry_up: Family<RegistryLabels, Gauge>,
    registry_missing_indexes: Family<RegistryLabels, Gauge>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReconcileLabels {
    kind: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    verb: &'static str,
    resource: &'static str,
    code: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResourceLabels {
    resource: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OperationLabels {
    operation: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OperationNameLabels {
    operation: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RegistryLabels {
    registry: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct GatewayLabels {
    state: &'static str,
    phase: &'static str,
}

/// What is counted at the moment of a scrape.
#[derive(Default)]
pub struct Scrape {
    /// Whether this process works, or stands by.
    pub leads: bool,
    /// The queue, where it works.
    pub load: Option<Load>,
    /// The gateways, where it works.
    pub gateways: Vec<Arc<Guarded<ApiGateway>>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("phasegate");
        let reconciles = Family::default();
        registry.register("reconciles", "Reconciles by kind and result", reconciles.clone());
        let reconcile_duration = Family::<KindLabels, Histogram>::new_with_constructor(|| {
            Histogram::new(exponential_buckets(0.001, 2.0, 16))
        });
        registry.register(
            "reconcile_duration_seconds",
            "How long one reconcile took, its requests included",
            reconcile_duration.clone(),
        );
        let requests = Family::default();
        registry.register(
            "api_requests",
            "Requests to the API server by verb, resource and HTTP status; none: no answer",
            requests.clone(),
        );
        // Up to an hour: deadlines are the users'.
        let start_duration = Histogram::new(exponential_buckets(0.5, 2.0, 14));
        registry.register(
            "start_duration_seconds",
            "From the beginning of an attempt to Started",
            start_duration.clone(),
        );
        let start_timeouts = Family::default();
        registry.register(
            "start_timeouts",
            "Attempts that were given up at their deadline, by the diagnosed cause",
            start_timeouts.clone(),
        );
        let failures = Family::<ReasonLabels, Counter>::default();
        // From zero, or the first of its kind would be no increase.
        for reason in Reason::ALL.iter().filter(|reason| conditions::is_cause(**reason)) {
            drop(failures.get_or_create(&ReasonLabels { reason: reason.as_str() }));
        }
        registry.register(
            "failures",
            "Causes that became visible and kept a gateway from being as asked",
            failures.clone(),
        );
        let watch_restarts = Family::default();
        registry.register("watch_restarts", "Interrupted watches by resource", watch_restarts.clone());
        let registry_requests = Family::default();
        registry.register(
            "registry_requests",
            "Requests to the registry outside Kubernetes by operation and result",
            registry_requests.clone(),
        );
        let registry_duration = Family::<OperationNameLabels, Histogram>::new_with_constructor(|| {
            Histogram::new(exponential_buckets(0.001, 2.0, 14))
        });
        registry.register(
            "registry_request_duration_seconds",
            "How long requests to the registry took, answered or not",
            registry_duration.clone(),
        );
        let registry_up = Family::default();
        registry.register("registry_up", "Whether the registry answers", registry_up.clone());
        let registry_missing_indexes = Family::default();
        registry.register(
            "registry_missing_indexes",
            "Indexes that the platform's data does not allow, duplicates mostly",
            registry_missing_indexes.clone(),
        );
        let version = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The version of the operator", version);
        let registry = Arc::new(registry);
        Self {
            registry,
            reconciles,
            reconcile_duration,
            requests,
            start_duration,
            start_timeouts,
            failures,
            watch_restarts,
            registry_requests,
            registry_duration,
            registry_up,
            registry_missing_indexes,
        }
    }
}

impl Metrics {
    /// A reconcile ended.
    pub fn reconciled(&self, kind: Kind, result: &'static str, took: Duration) {
        let kind = kind.as_str();
        self.reconciles.get_or_create(&ReconcileLabels { kind, result }).inc();
        self.reconcile_duration.get_or_create(&KindLabels { kind }).observe(took.as_secs_f64());
    }

    /// A request was answered with an HTTP status, or with `none`.
    pub fn requested(&self, verb: &'static str, resource: &'static str, code: &str) {
        self.requests.get_or_create(&RequestLabels { verb, resource, code: code.to_owned() }).inc();
    }

    /// An attempt ended in Started after `seconds`.
    pub fn started(&self, seconds: f64) {
        self.start_duration.observe(seconds);
    }

    /// An attempt was given up.
    pub fn timed_out(&self, cause: Reason) {
        self.start_timeouts.get_or_create(&ReasonLabels { reason: cause.as_str() }).inc();
    }

    /// A cause became visible.
    pub fn failed(&self, cause: Reason) {
        self.failures.get_or_create(&ReasonLabels { reason: cause.as_str() }).inc();
    }

    /// A watch was interrupted.
    pub fn watch_restarted(&self, resource: &str) {
        self.watch_restarts.get_or_create(&ResourceLabels { resource: resource.to_owned() }).inc();
    }

    /// A request to the registry came to its end.
    pub fn registry_requested(&self, operation: &'static str, result: &'static str, took: Duration) {
        self.registry_requests.get_or_create(&OperationLabels { operation, result }).inc();
        self.registry_duration.get_or_create(&OperationNameLabels { operation }).observe(took.as_secs_f64());
    }

    /// The registry answers, or does not.
    pub fn registry_is(&self, up: bool) {
        self.registry_up.get_or_create(&MONGODB).set(i64::from(up));
    }

    /// So many indexes are missing.
    pub fn registry_misses_indexes(&self, count: usize) {
        self.registry_missing_indexes.get_or_create(&MONGODB).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// All metrics in Prometheus' text format.
    ///
    /// # Errors
    /// When they cannot be written down.
    pub fn text(&self, scrape: &Scrape) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.registry)?;
        let mut now = Registry::with_prefix("phasegate");
        now.register("leader", "Whether this process works; 0: it stands by", gauge(scrape.leads.into()));
        if let Some(load) = &scrape.load {
            now.register("queue_waiting", "Objects that wait for a reconcile", gauge(load.waiting));
            now.register("queue_running", "Objects that are being reconciled", gauge(load.running));
            now.register(
                "queue_oldest_wait_seconds",
                "How long the object that waits longest has been waiting",
                gauge(usize::try_from(load.oldest_wait.as_secs()).unwrap_or(usize::MAX)),
            );
        }
        let gateways = Family::<GatewayLabels, Gauge>::default();
        let failing = Family::<ReasonLabels, Gauge>::default();
        for gateway in &scrape.gateways {
            gateways.get_or_create(&labels(gateway)).inc();
            let status = gateway.0.as_ref().ok().and_then(|gateway| gateway.status.as_ref());
            if let Some(reason) = status.and_then(conditions::failing) {
                failing.get_or_create(&ReasonLabels { reason: reason.as_str() }).inc();
            }
        }
        now.register("gateways", "ApiGateways by state and phase", gateways);
        now.register("gateways_failing", "ApiGateways that are not as asked, by the cause that is known", failing);
        prometheus_text::encode(&mut text, &now)?;
        Ok(text)
    }
}

const MONGODB: RegistryLabels = RegistryLabels { registry: "mongodb" };

fn gauge(value: usize) -> Gauge {
    let gauge = Gauge::default();
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    gauge
}

fn labels(gateway: &Guarded<ApiGateway>) -> GatewayLabels {
    let Ok(gateway) = &gateway.0 else { return GatewayLabels { state: "Unknown", phase: "Undecodable" } };
    let status = gateway.status.as_ref();
    GatewayLabels {
        state: status.and_then(|status| status.state).map_or("None", state_label),
        phase: match status.and_then(|status| status.phase.as_ref()) {
            None => "None",
            // Whatever it says: a label's values are a closed set.
            Some(Phase::Unknown(_)) => "Unknown",
            Some(Phase::Created) => "Created",
            Some(Phase::Starting) => "Starting",
            Some(Phase::Started) => "Started",
            Some(Phase::Stopping) => "Stopping",
            Some(Phase::Stopped) => "Stopped",
            Some(Phase::Deleting) => "Deleting",
        },
    }
}

fn state_label(state: State) -> &'static str {
    match state {
        State::Running => "Running",
        State::Stopped => "Stopped",
        State::Restarting => "Restarting",
    }
}
