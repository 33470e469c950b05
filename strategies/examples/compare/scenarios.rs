//! The faults, the same for all contestants.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use phasegate_harness::Fault;
use serde_json::json;

use crate::contestant::Contestant;
use crate::gate::When;
use crate::settings::Settings;
use crate::stage::{Leftovers, Spent, Stage};

const GOOD: &str = "acme/gateway:1";
const STARTED: Option<(&str, &str)> = Some(("Started", "Running"));
const STOPPED: Option<(&str, &str)> = Some(("Stopped", "Stopped"));
/// The deadline where no gateway is to reach it.
const LONG: Duration = Duration::from_secs(300);

/// What went wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    Burst,
    MissingImage,
    Quota,
    Crashes,
    DatabaseAway,
    ApiServerAway,
    Stop,
    Delete,
    TwoAtOnce,
}

pub const ALL: [Scenario; 9] = [
    Scenario::Burst,
    Scenario::MissingImage,
    Scenario::Quota,
    Scenario::Crashes,
    Scenario::DatabaseAway,
    Scenario::ApiServerAway,
    Scenario::Stop,
    Scenario::Delete,
    Scenario::TwoAtOnce,
];

/// What happened.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub gateways: usize,
    /// From the document to its wanted end, for each gateway that came there.
    pub took: Vec<Duration>,
    pub left: Leftovers,
    pub spent: Spent,
    /// From the end of the fault until all gateways were where they belong.
    pub recovery: Option<Duration>,
}

impl Scenario {
    pub fn name(self) -> &'static str {
        match self {
            Self::Burst => "burst",
            Self::MissingImage => "missing image",
            Self::Quota => "quota",
            Self::Crashes => "crash at every write",
            Self::DatabaseAway => "database away",
            Self::ApiServerAway => "API server away",
            Self::Stop => "stopped in the middle",
            Self::Delete => "deleted in the middle",
            Self::TwoAtOnce => "two processes",
        }
    }

    pub async fn run(self, contestant: Contestant, settings: &Settings) -> Result<Outcome> {
        let deadline = match self {
            Self::MissingImage | Self::Quota => settings.deadline,
            _ => LONG,
        };
        let short = format!("{self:?}").to_lowercase();
        let mut stage = Stage::set(contestant, &short[..short.len().min(8)], deadline).await?;
        stage.enter().await?;
        stage.warm_up().await?;
        let mut outcome = match self {
            Self::Burst => burst(&stage, settings).await,
            Self::MissingImage => give_up(&stage, settings, "acme/unpullable:1").await,
            Self::Quota => {
                stage.world.quota("none", json!({ "pods": "0" })).await;
                give_up(&stage, settings, GOOD).await
            }
            Self::Crashes => crashes(&mut stage, settings).await,
            Self::DatabaseAway => outage(&stage, settings, Outage::Database).await,
            Self::ApiServerAway => outage(&stage, settings, Outage::ApiServer).await,
            Self::Stop => middle(&stage, settings, "Stopped").await,
            Self::Delete => middle(&stage, settings, "Deleted").await,
            Self::TwoAtOnce => two(&mut stage, settings).await,
        }?;
        outcome.left = stage.leftovers().await?;
        outcome.spent = stage.spent()?;
        // The next contestant finds the control plane as this one did.
        stage.clear(outcome.gateways).await?;
        Ok(outcome)
    }
}

fn name(number: usize) -> String {
    format!("gateway-{number}")
}

async fn insert(stage: &Stage, count: usize, image: &str) -> Result<Instant> {
    let begun = Instant::now();
    for number in 0..count {
        stage.insert(&name(number), image).await?;
    }
    Ok(begun)
}

fn took(begun: Instant, came: Vec<Instant>) -> Vec<Duration> {
    came.into_iter().map(|at| at.saturating_duration_since(begun)).collect()
}

async fn burst(stage: &Stage, settings: &Settings) -> Result<Outcome> {
    let begun = insert(stage, settings.burst, GOOD).await?;
    let came = stage.until(STARTED, settings.burst, LONG).await?;
    Ok(Outcome { gateways: settings.burst, took: took(begun, came), ..Outcome::default() })
}

async fn give_up(stage: &Stage, settings: &Settings, image: &str) -> Result<Outcome> {
    let begun = insert(stage, settings.gateways, image).await?;
    let came = stage.until(STOPPED, settings.gateways, settings.deadline + settings.patience).await?;
    Ok(Outcome { gateways: settings.gateways, took: took(begun, came), ..Outcome::default() })
}

enum Outage {
    Database,
    ApiServer,
}

async fn outage(stage: &Stage, settings: &Settings, away: Outage) -> Result<Outcome> {
    let cut = match away {
        Outage::Database => {
            stage.gate.set_away(true);
            None
        }
        Outage::ApiServer => Some(stage.proxy.when(Fault::Cut, |_| true)),
    };
    let begun = insert(stage, settings.gateways, GOOD).await?;
    tokio::time::sleep(settings.outage).await;
    stage.gate.set_away(false);
    drop(cut);
    let back = Instant::now();
    let came = stage.until(STARTED, settings.gateways, LONG).await?;
    let recovery = (came.len() == settings.gateways).then(|| back.elapsed());
    Ok(Outcome { gateways: settings.gateways, took: took(begun, came), recovery, ..Outcome::default() })
}

async fn middle(stage: &Stage, settings: &Settings, wish: &str) -> Result<Outcome> {
    insert(stage, settings.gateways, "acme/never-ready:1").await?;
    let begun = Instant::now();
    while stage.children().await? < 3 * settings.gateways && begun.elapsed() < settings.patience {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stage.wish(wish).await?;
    let begun = Instant::now();
    let wanted = if wish == "Deleted" { None } else { STOPPED };
    let came = stage.until(wanted, settings.gateways, settings.patience).await?;
    Ok(Outcome { gateways: settings.gateways, took: took(begun, came), ..Outcome::default() })
}

async fn two(stage: &mut Stage, settings: &Settings) -> Result<Outcome> {
    stage.enter().await?;
    let begun = insert(stage, settings.gateways, GOOD).await?;
    let came = stage.until(STARTED, settings.gateways, settings.patience).await?;
    let took = took(begun, came);
    stage.wish("Deleted").await?;
    stage.until(None, settings.gateways, settings.patience).await?;
    Ok(Outcome { gateways: settings.gateways, took, ..Outcome::default() })
}

/// One gateway for each write and moment, until a start has no write of that number. The process that takes over is the
/// next to crash.
async fn crashes(stage: &mut Stage, settings: &Settings) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut slowest = Duration::ZERO;
    for place in [Outage::ApiServer, Outage::Database] {
        let moments = (0..settings.crashes).flat_map(|number| [(number, When::Before), (number, When::After)]);
        for moment in moments {
            let gateway = name(outcome.gateways);
            if !crash(stage, settings, &place, moment, &gateway).await? {
                // A write after the start may have met the fault since, and hang.
                stage.kill()?;
                stage.enter().await?;
                stage.clear(1).await?;
                break;
            }
            outcome.gateways += 1;
            let killed = Instant::now();
            stage.enter().await?;
            let came = stage.until(STARTED, 1, settings.patience).await?;
            outcome.took.extend(took(killed, came));
            slowest = slowest.max(killed.elapsed());
            stage.clear(1).await?;
            stage.quiet().await;
        }
    }
    outcome.recovery = Some(slowest);
    Ok(outcome)
}

/// Kills the contestant at a write of a start. Returns whether the start had that write.
async fn crash(
    stage: &mut Stage,
    settings: &Settings,
    place: &Outage,
    (number, when): (usize, When),
    gateway: &str,
) -> Result<bool> {
    // The rule lasts until the process is dead: a process whose held request ends would repeat it.
    let mut rule = None;
    let held = match place {
        Outage::ApiServer => {
            let fault = if when == When::Before { Fault::Hang } else { Fault::HangAfterwards };
            let (count, prefix) = (AtomicUsize::new(0), gateway.to_owned());
            let caught = rule.insert(stage.proxy.when(fault, move |asked| {
                asked.is_write() && asked.name.starts_with(&prefix) && count.fetch_add(1, Ordering::Relaxed) == number
            }));
            stage.insert(gateway, GOOD).await?;
            tokio::select! {
                () = caught.caught(1) => {
                    // The proxy has the request; the API server may not have answered yet.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    true
                }
                came = stage.until(STARTED, 1, settings.patience) => came?.is_empty(),
            }
        }
        Outage::Database => {
            stage.gate.hold(number, when).await;
            stage.insert(gateway, GOOD).await?;
            tokio::select! {
                () = stage.gate.held() => true,
                came = stage.until(STARTED, 1, settings.patience) => came?.is_empty(),
            }
        }
    };
    if held {
        stage.kill()?;
    }
    drop(rule);
    stage.gate.release().await;
    Ok(held)
}
