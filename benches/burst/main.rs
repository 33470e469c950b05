//! `make bench`: phasegate beside a tuned raw client and beside its ancestor's loop, on a control
//! plane of its own. docs/src/operations/benchmarks.md says how to read what it prints.
//!
//! N is the number of gateways (300), RUNS the number of pairs (3), AT_ONCE the raw
//! client's concurrency (found by trying); RAW=0 leaves out the raw client, FLEET=0 what comes after
//! the bursts, ANCESTOR=0 the ancestor. A target that is missed is reported; only what broke fails the program.

mod ancestor;
mod observer;
mod operator;
mod platform;
mod raw;
mod registries;
mod report;
mod requests;
mod settings;
mod stage;
mod user;

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::future;
use tokio::sync::mpsc;

use observer::{Observer, Seen};
use operator::Operator;
use raw::Raw;
use report::{Ancestor, Burst, Cost, Fleet, Results};
use requests::Requests;
use settings::{Registry, Settings};
use stage::Stage;

/// The longest that a fleet may take to come to anything: the deadline, and the stop after it.
const DEADLINE: Duration = Duration::from_secs(900);
/// For how long the fleet is left alone.
const QUIET: Duration = Duration::from_secs(60);
/// The ancestor starts no more than this in its five minutes, so a larger burst says nothing else.
const ANCESTORS_BURST: usize = 300;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // `cargo bench` passes flags that are meant for the standard harness.
    match bench().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nthe benchmark broke: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn bench() -> Result<()> {
    let settings = Settings::from_env()?;
    println!("phasegate {}, {}", env!("CARGO_PKG_VERSION"), machine());
    let stage = Stage::set().await?;
    match settings.registry {
        Registry::Kubernetes => beside_the_raw_client(&stage, &settings).await?,
        Registry::MongoDb => registries::compare(&stage, &settings).await?,
    }
    operator::forget_log();
    Ok(())
}

/// The operator's bursts and the raw client's, and what comes after.
async fn beside_the_raw_client(stage: &Stage, settings: &Settings) -> Result<()> {
    let at_once = match settings.at_once {
        0 if settings.raw => tune(stage, settings.gateways).await?,
        given => given,
    };

    let mut pairs = Vec::new();
    let mut costs = Vec::new();
    let mut last = None;
    for left in (0..settings.runs).rev() {
        // Who is first changes from pair to pair; the last burst's fleet is needed afterwards.
        let raw_is_first = left % 2 == 0;
        let mut raw = None;
        if settings.raw && raw_is_first {
            raw = Some(raw_burst(stage, &format!("raw-{left}"), settings.gateways, at_once).await?);
        }
        let namespace = format!("phasegate-{left}");
        let (operator, observer, burst, cost) = operator_burst(stage, &namespace, settings.gateways).await?;
        if left == 0 {
            last = Some((operator, observer, namespace));
        } else {
            operator.end()?;
            stage.clear(&namespace).await?;
        }
        if settings.raw && !raw_is_first {
            raw = Some(raw_burst(stage, &format!("raw-{left}"), settings.gateways, at_once).await?);
        }
        pairs.push((raw, burst));
        costs.push(cost);
    }
    let Some((operator, observer, namespace)) = last else { return Ok(()) };
    let fleet = match settings.fleet {
        true => Some(afterwards(stage, operator, observer, &namespace, settings.gateways).await?),
        false => {
            operator.end()?;
            None
        }
    };
    stage.clear(&namespace).await?;
    let ancestor = match settings.ancestor {
        true => Some(ancestors_burst(stage, settings.gateways.min(ANCESTORS_BURST)).await?),
        false => None,
    };

    Results { gateways: settings.gateways, pairs, costs, fleet, ancestor }.print();
    Ok(())
}

fn say(line: &str) {
    eprintln!("== {line}");
}

/// The machine's size and what else it did a moment ago.
fn machine() -> String {
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let field = |file: &str, name: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let model = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned());
    let memory = field("/proc/meminfo", "MemTotal").unwrap_or_default();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!(
        "{processors} processors ({model}), {memory} of memory, which the control plane shares; load before: {}",
        load.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
    )
}

/// Finds the raw client's concurrency by trying.
async fn tune(stage: &Stage, gateways: usize) -> Result<usize> {
    let gateways = gateways.min(100);
    let mut best = (64, Duration::MAX);
    let mut tried = Vec::new();
    for at_once in [16, 32, 64, 128] {
        let burst = raw_burst(stage, &format!("tune-{at_once}"), gateways, at_once).await?;
        tried.push(format!("{at_once}: {:.1} s", burst.took.as_secs_f64()));
        if burst.took < best.1 {
            best = (at_once, burst.took);
        }
    }
    println!("the raw client's concurrency, tried on {gateways} gateways: {}; {} is kept", tried.join(", "), best.0);
    Ok(best.0)
}

async fn raw_burst(stage: &Stage, namespace: &str, gateways: usize, at_once: usize) -> Result<Burst> {
    stage.open(namespace).await?;
    let mut observer = Observer::start(&stage.user, namespace).await?;
    let raw = Raw::ready(&stage.contestant, namespace, gateways, at_once).await?;
    let (created, to_start) = mpsc::unbounded_channel();

    let begun = Instant::now();
    let creation = user::create(&stage.user, namespace, gateways, Some(created));
    let (created_at, ()) = future::try_join(creation, raw.start_all(to_start)).await?;
    let seen = observer.until(DEADLINE, |seen| seen.running == gateways).await?;

    let burst = timed(begun, &created_at, &seen)?;
    say(&format!("{namespace}: {}", burst.line("raw client")));
    drop((raw, observer));
    stage.clear(namespace).await?;
    Ok(burst)
}

async fn operator_burst(stage: &Stage, namespace: &str, gateways: usize) -> Result<(Operator, Observer, Burst, Cost)> {
    stage.open(namespace).await?;
    let mut observer = Observer::start(&stage.user, namespace).await?;
    let operator = Operator::start(stage).await?;
    operator.until_settled().await?;
    let requests = Requests::read(&stage.user).await?;
    let before = operator.usage()?;

    let begun = Instant::now();
    let created_at = user::create(&stage.user, namespace, gateways, None).await?;
    let seen = observer.until(DEADLINE, |seen| seen.running + seen.stopped == gateways).await?;

    let burst = timed(begun, &created_at, &seen)?;
    say(&format!("{namespace}: {}", burst.line("phasegate")));
    let events = events_of(stage, namespace, gateways).await?;
    let requests = Requests::read(&stage.user).await?.since(&requests).of_the_operator(events);
    let after = operator.usage()?;
    let cost = Cost { requests, cpu: after.cpu - before.cpu, before, after };
    Ok((operator, observer, burst, cost))
}

/// Events are told in the background; every gateway that starts gets one.
async fn events_of(stage: &Stage, namespace: &str, gateways: usize) -> Result<usize> {
    let begun = Instant::now();
    let mut every = tokio::time::interval(Duration::from_millis(500));
    loop {
        every.tick().await;
        let events = user::events(&stage.user, namespace).await?;
        if events >= gateways || begun.elapsed() > Duration::from_secs(60) {
            return Ok(events);
        }
    }
}

fn timed(begun: Instant, created_at: &HashMap<String, Instant>, seen: &Seen) -> Result<Burst> {
    let mut waits: Vec<Duration> = seen
        .started
        .iter()
        .filter_map(|(name, started)| Some(started.saturating_duration_since(*created_at.get(name)?)))
        .collect();
    waits.sort();
    let last = seen.started.values().max();
    ensure!(last.is_some(), "no gateway was started");
    let took = last.map_or(Duration::ZERO, |last| *last - begun);
    Ok(Burst { took, waits, timed_out: seen.timed_out })
}

/// What becomes of a fleet that has started.
async fn afterwards(
    stage: &Stage,
    operator: Operator,
    mut observer: Observer,
    namespace: &str,
    gateways: usize,
) -> Result<Fleet> {
    say("a minute of quiet");
    Requests::until_quiet(&stage.user, Duration::from_secs(35)).await?;
    let before = Requests::read(&stage.user).await?;
    tokio::time::sleep(QUIET).await;
    let quiet = Requests::read(&stage.user).await?.since(&before);
    say(&format!("{} writes, {} reads in it", quiet.writes(), quiet.reads()));

    say("the operator is killed and started again");
    operator.kill().await?;
    let before = Requests::read(&stage.user).await?;
    let begun = Instant::now();
    let operator = Operator::start(stage).await?;
    operator.until_listed().await?;
    let listed = begun.elapsed();
    let settled = operator.until_settled().await?;
    let restart = Requests::read(&stage.user).await?.since(&before);
    let restarted = operator.usage()?;
    // What comes next takes long for a large fleet, and may break.
    say(&format!("at rest after {settled:.2?}, {} writes", restart.writes()));

    say("all are stopped, started again and deleted");
    let begun = Instant::now();
    user::ask(&stage.user, namespace, gateways, "Stopped").await?;
    observer.until(DEADLINE, |seen| seen.stopped == gateways).await?;
    let stop = begun.elapsed();
    say(&format!("all stopped after {stop:.1?}"));
    Requests::until_quiet(&stage.user, Duration::from_secs(4)).await?;

    let begun = Instant::now();
    user::ask(&stage.user, namespace, gateways, "Running").await?;
    observer.until(DEADLINE, |seen| seen.running == gateways).await?;
    let start_again = begun.elapsed();
    say(&format!("all started again after {start_again:.1?}"));
    Requests::until_quiet(&stage.user, Duration::from_secs(4)).await?;

    let delete = user::delete_all(&stage.user, namespace, gateways).await?;
    operator.end()?;
    Ok(Fleet { quiet, quiet_for: QUIET, restart, listed, settled, restarted, stop, start_again, delete })
}

async fn ancestors_burst(stage: &Stage, gateways: usize) -> Result<Ancestor> {
    let namespace = "ancestor";
    say("the ancestor's loop, for five minutes");
    stage.open(namespace).await?;
    let (created, mut asked) = mpsc::unbounded_channel();
    user::create(&stage.user, namespace, gateways, Some(created)).await?;
    let mut fleet = Vec::new();
    while let Some(gateway) = asked.recv().await {
        fleet.push(gateway);
    }
    let begun = Instant::now();
    let started = ancestor::work(&stage.contestant, namespace, fleet).await?;
    let took = begun.elapsed();
    stage.clear(namespace).await?;
    Ok(Ancestor { gateways, started, took })
}
