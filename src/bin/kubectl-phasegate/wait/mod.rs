//! `wait`: waits until a gateway is available, stopped or gone, or until it is known that it will not be.
//!
//! It may import the modules for output, the cluster and a gateway's status, and no other command.
//!
//! **Architecture invariant**: a status of an earlier request is ignored (`verdict`), and an unreachable API
//! server does not end the wait.

mod verdict;

use std::time::{Duration, Instant};

use clap::ValueEnum;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::runtime::watcher;
use phasegate::api::ObjectKey;
use phasegate::decide::human;
use serde::Serialize;

use crate::cluster::{Cluster, ClusterArguments};
use crate::failure::{Failure, TOO_LATE};
use crate::live::{Live, LiveEvent};
use crate::output::{self, Data};
use crate::progress::Progress;
use crate::selection::{self, unreadable};
use crate::terminal::Shown;

pub use verdict::Goal;
use verdict::{Verdict, judge};

/// Examples for the help.
pub const EXAMPLES: &str = "Examples:
  kubectl phasegate wait shop --for available               # serving
  kubectl phasegate wait shop --for stopped --timeout 2m
  kubectl phasegate wait shop --for gone                    # deleted, with its children

Exit codes:
  0    the state is reached
  2    the start failed at its deadline; the cause is printed
  3    spec.state is Stopped, with --for available
  4    the gateway does not exist
  124  --timeout passed
  1    any other error

The status of an earlier request is ignored: after a change of the spec or a retry, wait reports the
result of that.";

/// The arguments of `wait`.
#[derive(Debug, clap::Args)]
pub struct Wait {
    /// Name of the gateway
    #[arg(value_parser = selection::name)]
    name: String,

    /// State to wait for
    #[arg(long = "for", value_name = "STATE")]
    goal: Asked,

    /// How long to wait (`90s`, `5m`, `1h30m`)
    #[arg(long, default_value = "10m", value_parser = phasegate::parse::duration)]
    timeout: Duration,

    /// Output format
    #[arg(short, long)]
    output: Option<Data>,
}

/// The output of `-o json`.
#[derive(Debug, Serialize)]
struct Waited<'a> {
    namespace: &'a str,
    name: &'a str,
    /// `available`, `stopped` or `gone`.
    reached: &'a str,
    seconds: u64,
}

/// What can be waited for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Asked {
    Available,
    Stopped,
    Gone,
}

/// Reads and waits.
///
/// # Errors
/// The gateway does not reach the goal, for whatever reason.
pub async fn run(arguments: &Wait, cluster: &ClusterArguments) -> Result<(), Failure> {
    let cluster = Cluster::find(cluster).await?;
    let goal = match arguments.goal {
        Asked::Available => Goal::Available,
        Asked::Stopped => Goal::Stopped,
        Asked::Gone => Goal::Gone,
    };
    let key = cluster.key(&arguments.name);
    let begun = Instant::now();
    until(&cluster, &key, goal, arguments.timeout, &Progress::new()).await?;
    let (reached, lasted) = (goal.words(), begun.elapsed());
    match arguments.output {
        Some(data) => {
            let ObjectKey { namespace, name } = &key;
            output::print(&data.text(&Waited { namespace, name, reached, seconds: lasted.as_secs() })?)
        }
        None => output::print(&Shown::sentence(&format!("{key} is {reached} after {}", human(lasted)))),
    }
}

/// Waits until a gateway reaches the goal.
///
/// # Errors
/// The gateway does not reach it, or not within `timeout`.
pub async fn until(
    cluster: &Cluster,
    key: &ObjectKey,
    goal: Goal,
    timeout: Duration,
    progress: &Progress,
) -> Result<(), Failure> {
    let begun = Instant::now();
    let config = watcher::Config::default().fields(&format!("metadata.name={}", key.name));
    let api = Api::namespaced(cluster.client.clone(), &key.namespace);
    let mut live = Live::follow(cluster, api, config);
    let mut gateway = None;
    let mut words = "no state received yet".to_owned();
    let mut away = None;
    let mut listed = false;
    let mut clock = tokio::time::interval(Duration::from_millis(250));
    loop {
        tokio::select! {
            news = live.next() => match news? {
                LiveEvent::Is(found) => {
                    gateway = Some(found.0.map_err(|error| unreadable(key, &error))?);
                }
                LiveEvent::Gone(_) => gateway = None,
                LiveEvent::Listed => listed = true,
                LiveEvent::Away(trouble) => away = Some(trouble),
                LiveEvent::Back(_) => away = None,
            },
            _ = clock.tick() => {
                let waited = begun.elapsed();
                if waited >= timeout {
                    let seen = away.as_deref().unwrap_or(&words);
                    return Err(too_late(key, goal, timeout, seen));
                }
                let now = away.as_deref().unwrap_or(&words);
                progress.show(&format!("{key} to be {}, {}: {now}", goal.words(), human(waited)));
                continue;
            }
        }
        if listed {
            match judge(goal, key, gateway.as_ref(), Timestamp::now()) {
                Verdict::Reached => return Ok(()),
                Verdict::Failed(failure) => return Err(failure),
                Verdict::Waiting(now) => words = now,
            }
        }
    }
}

fn too_late(key: &ObjectKey, goal: Goal, timeout: Duration, seen: &str) -> Failure {
    let ObjectKey { namespace, name } = key;
    let (goal, timeout) = (goal.words(), human(timeout));
    Failure::new(
        TOO_LATE,
        format!("ApiGateway {key} was not {goal} within {timeout}; last state: {seen}"),
        format!("See kubectl phasegate status {name} -n {namespace}, or wait longer with --timeout."),
    )
}
