//! `make bench REGISTRY=mongodb`: phasegate with the MongoDB registry beside phasegate with Kubernetes
//! alone.
//!
//! A user creates N ApiGateways with an Environment each; a platform inserts N gateway documents with an
//! environment's each, which become the same objects. Every burst has a fresh namespace, a fresh
//! operator and a fresh database; the database server lasts as long as the benchmark.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::observer::{Observer, Seen};
use crate::operator::Operator;
use crate::platform::{Documents, Metrics, Platform};
use crate::report::{Cost, Quiet, Recorded, Registries, Told};
use crate::requests::Requests;
use crate::settings::Settings;
use crate::stage::Stage;
use crate::{DEADLINE, QUIET, events_of, say, timed, user};

/// Before anything is measured, so many gateways are started with each: what comes first would find API
/// server and database cold.
const WARM_UP: usize = 50;

/// How long documents may lag behind the cluster.
const LAG: Duration = Duration::from_secs(60);

/// A fleet with MongoDB that has started.
struct Fleet {
    namespace: String,
    operator: Operator,
    metrics: Metrics,
    documents: Documents,
}

/// Measures the pairs, and the last fleet at rest.
pub async fn compare(stage: &Stage, settings: &Settings) -> Result<()> {
    let gateways = settings.gateways;
    let platform = Platform::start(stage).await?;
    say("a warm-up of each");
    kubernetes(stage, "warm-kubernetes", gateways.min(WARM_UP)).await?;
    let (_, fleet) = mongodb(stage, &platform, "warm-mongodb", gateways.min(WARM_UP)).await?;
    fleet.clear(stage).await?;

    let mut pairs = Vec::new();
    let mut quiet = None;
    for left in (0..settings.runs).rev() {
        // Who is first changes from pair to pair; the last burst's fleet is needed afterwards.
        let [one, other] = ["kubernetes", "mongodb"].map(|name| format!("{name}-{left}"));
        let mut first = None;
        if left % 2 == 0 {
            first = Some(kubernetes(stage, &one, gateways).await?);
        }
        let (mut recorded, fleet) = mongodb(stage, &platform, &other, gateways).await?;
        if left == 0 && settings.fleet {
            quiet = Some(fleet.left_alone(stage).await?);
        }
        let deleted = fleet.clear(stage).await?;
        if let Some(told) = &mut recorded.told {
            told.delete = Some(deleted);
        }
        let first = match first {
            Some(first) => first,
            None => kubernetes(stage, &one, gateways).await?,
        };
        pairs.push((first, recorded));
    }
    Registries { gateways, pairs, quiet }.print();
    platform.forget_log();
    Ok(())
}

async fn kubernetes(stage: &Stage, namespace: &str, gateways: usize) -> Result<Recorded> {
    stage.open(namespace).await?;
    let mut observer = Observer::start(&stage.user, namespace).await?;
    let metrics = Metrics::reserve()?;
    let arguments = ["run", "--http-bind", &metrics.address];
    let operator = Operator::start_as(stage, &stage.cluster.operator_kubeconfig(), &arguments).await?;
    operator.until_settled().await?;
    let (asked, _) = metrics.read().await?;
    let before = operator.usage()?;

    let begun = Instant::now();
    let created_at = user::create_with_environments(&stage.user, namespace, gateways).await?;
    let seen = observer.until(DEADLINE, |seen| has_settled(seen, gateways)).await?;

    let burst = timed(begun, &created_at, &seen)?;
    // They are switched before their gateway is Started, unless they came later.
    user::until_active(&stage.user, namespace, seen.running).await?;
    events_of(stage, namespace, gateways).await?;
    let after = operator.usage()?;
    let requests = metrics.read().await?.0.since(&asked);
    let recorded = Recorded { burst, told: None, cost: Cost { requests, cpu: after.cpu - before.cpu, before, after } };
    say(&format!("{namespace}: {}", recorded.line()));
    operator.end()?;
    stage.clear(namespace).await?;
    Ok(recorded)
}

async fn mongodb(stage: &Stage, platform: &Platform, namespace: &str, gateways: usize) -> Result<(Recorded, Fleet)> {
    stage.open(namespace).await?;
    let mut observer = Observer::start(&stage.user, namespace).await?;
    let mut documents = platform.open(namespace).await?;
    let metrics = Metrics::reserve()?;
    let operator = platform.operator(stage, namespace, &metrics).await?;
    operator.until_settled().await?;
    let (asked, asked_of_registry) = metrics.read().await?;
    let before = operator.usage()?;

    let begun = Instant::now();
    let created_at = documents.insert(gateways).await?;
    let seen = observer.until(DEADLINE, |seen| has_settled(seen, gateways)).await?;
    let said = documents.gateways.until(LAG, |seen| has_settled(seen, gateways)).await?;
    let switched = documents.environments.until(LAG, |seen| seen.running >= said.running).await?;

    let burst = timed(begun, &created_at, &seen)?;
    let last = said.started.values().chain(switched.started.values()).max();
    ensure!(last.is_some(), "no document says Started");
    let took = last.map_or(Duration::ZERO, |last| *last - begun);
    let active = switched.running;
    user::until_active(&stage.user, namespace, active).await?;
    events_of(stage, namespace, gateways).await?;
    let after = operator.usage()?;
    let (requests, registry) = metrics.read().await?;
    let told = Told {
        took,
        writes: documents.changes().map(|changes| changes.saturating_sub(gateways)),
        requests: registry.since(&asked_of_registry),
        delete: None,
    };
    let cost = Cost { requests: requests.since(&asked), cpu: after.cpu - before.cpu, before, after };
    let recorded = Recorded { burst, told: Some(told), cost };
    say(&format!("{namespace}: {}", recorded.line()));
    Ok((recorded, Fleet { namespace: namespace.to_owned(), operator, metrics, documents }))
}

/// Whether everything has come to rest that was asked to run.
fn has_settled(seen: &Seen, gateways: usize) -> bool {
    seen.running + seen.stopped == gateways
}

impl Fleet {
    /// What happens while nobody asks for anything.
    async fn left_alone(&self, stage: &Stage) -> Result<Quiet> {
        say("a minute of quiet");
        Requests::until_quiet(&stage.user, Duration::from_secs(35)).await?;
        let before = Requests::read(&stage.user).await?;
        let changes = self.documents.changes();
        let (_, asked) = self.metrics.read().await?;
        tokio::time::sleep(QUIET).await;
        let all = Requests::read(&stage.user).await?.since(&before);
        let [gateways, environments] = self.documents.changes();
        let changes = [gateways - changes[0], environments - changes[1]];
        let registry = self.metrics.read().await?.1.since(&asked);
        Ok(Quiet { lasted: QUIET, all, changes, registry })
    }

    /// Lets the platform delete everything, since gateways wait for the operator to forget them, and
    /// ends the operator. Returns how long the deletion took.
    async fn clear(self, stage: &Stage) -> Result<Duration> {
        let Self { namespace, operator, metrics: _, documents } = self;
        let took = documents.delete_all(stage, &namespace).await?;
        operator.end()?;
        documents.drop().await?;
        stage.clear(&namespace).await?;
        Ok(took)
    }
}
