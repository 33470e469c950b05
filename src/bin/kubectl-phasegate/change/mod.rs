//! `start`, `stop`, `restart`, `retry`, `suspend`, `resume`: the selection of gateways, the order of changes,
//! and their outcome.
//!
//! It may import the modules for output, the cluster and a gateway's status, and `wait`.
//!
//! **Architecture invariant**: the changes to all gateways are planned (`plan`, by `verb`) before the first is
//! sent (`carry_out`).

mod carry_out;
mod outcome;
mod plan;
mod verb;

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use crate::cluster::{Cluster, ClusterArguments};
use crate::failure::{FAILED, Failure};
use crate::output::{self, Data};
use crate::progress::Progress;
use crate::selection::{Selection, tell_all};
use crate::terminal::{self, Shown};

use carry_out::ChangeOptions;
pub use carry_out::send;
use outcome::Results;
pub use outcome::{ChangeResult, Outcome};
pub use plan::Plan;
use plan::confirm;
pub use verb::Verb;

/// Examples for the help of `start`.
pub const START: &str = "Examples:
  kubectl phasegate start shop --wait          # exit code 2: not started within its deadline
  kubectl phasegate start -l tier=test --yes

For a gateway that timed out, start is the same as retry.";
/// Examples for the help of `stop`.
pub const STOP: &str = "Examples:
  kubectl phasegate stop shop --wait
  kubectl phasegate stop --all --dry-run       # what would be stopped";
/// Examples for the help of `restart`.
pub const RESTART: &str = "Examples:
  kubectl phasegate restart shop               # without downtime
  kubectl phasegate restart -l tier=prod --max-parallel 2 --yes

With --max-parallel N, at most N restarts run at once. After a failure, no further restart begins.";
/// Examples for the help of `retry`.
pub const RETRY: &str = "Examples:
  kubectl phasegate retry shop --wait          # once the cause is fixed
  kubectl phasegate retry -A --all --max-parallel 5 --yes";
/// Examples for the help of `suspend`.
pub const SUSPEND: &str = "Examples:
  kubectl phasegate suspend shop               # the deadline is paused, too
  kubectl phasegate suspend --all -A --yes     # before maintenance";
/// Examples for the help of `resume`.
pub const RESUME: &str = "Examples:
  kubectl phasegate resume shop
  kubectl phasegate resume --all -A --yes";

/// Which gateways, and how.
#[derive(Debug, clap::Args)]
pub struct Change {
    #[command(flatten)]
    selection: Selection,

    /// All gateways of the namespace; with -A, of all namespaces
    #[arg(long, conflicts_with_all = ["names", "selector"])]
    all: bool,

    /// Do not ask for confirmation when several gateways are changed
    #[arg(short, long)]
    yes: bool,

    /// Send server-side dry-run requests: change nothing
    #[arg(long)]
    dry_run: bool,

    /// Output format
    #[arg(short, long)]
    output: Option<Data>,
}

impl Change {
    /// Omitting all names does not select all gateways.
    fn names_any(&self, verb: Verb) -> Result<(), Failure> {
        if !self.selection.names.is_empty() || self.selection.selector.is_some() || self.all {
            return Ok(());
        }
        Err(Failure::new(
            FAILED,
            format!("no gateway to {}", verb.word()),
            "Name gateways, or select them with -l LABELS or --all.",
        ))
    }
}

/// The same, for what can be waited for.
#[derive(Debug, clap::Args)]
pub struct BatchArguments {
    #[command(flatten)]
    change: Change,

    /// Wait until the change is complete
    #[arg(short, long, conflicts_with = "dry_run")]
    wait: bool,

    /// Change at most N gateways at once (implies --wait)
    #[arg(long, value_name = "N", conflicts_with = "dry_run", value_parser = clap::value_parser!(u16).range(1..))]
    max_parallel: Option<u16>,

    /// How long to wait for each gateway (`90s`, `5m`, `1h30m`)
    #[arg(long, default_value = "10m", value_parser = phasegate::parse::duration)]
    timeout: Duration,
}

/// Applies a verb that can be waited for.
///
/// # Errors
/// A gateway could not be changed, or did not reach the goal.
pub async fn batch(verb: Verb, batch: &BatchArguments, cluster: &ClusterArguments) -> Result<(), Failure> {
    let wait_timeout = (batch.wait || batch.max_parallel.is_some()).then_some(batch.timeout);
    run(verb, &batch.change, wait_timeout, batch.max_parallel, cluster).await
}

/// Applies a verb that takes effect at once.
///
/// # Errors
/// A gateway could not be changed.
pub async fn at_once(verb: Verb, change: &Change, cluster: &ClusterArguments) -> Result<(), Failure> {
    run(verb, change, None, None, cluster).await
}

async fn run(
    verb: Verb,
    change: &Change,
    wait_timeout: Option<Duration>,
    max_parallel: Option<u16>,
    cluster: &ClusterArguments,
) -> Result<(), Failure> {
    change.names_any(verb)?;
    let cluster = Cluster::find(cluster).await?;
    let (found, mut failures) = change.selection.read(&cluster).await?;
    let plan = Plan::of(verb, found, &Timestamp::now().to_string());
    if plan.is_empty() && failures.is_empty() {
        terminal::tell(&Shown::sentence(&format!("No ApiGateways in {}.", change.selection.place(&cluster))));
        return Ok(());
    }
    if plan.patches.len() > 1 && !change.yes && !change.dry_run {
        confirm(verb, &plan.patches)?;
    }
    let Plan { patches, settled: mut outcomes, failures: unreadable } = plan;
    let (dry_run, quiet) = (change.dry_run, change.output.is_some());
    let options = ChangeOptions { verb, dry_run, wait_timeout, max_parallel, quiet, progress: Progress::new() };
    for outcome in &outcomes {
        options.tell(outcome)?;
    }
    outcomes.extend(options.carry_out(&cluster, patches).await?);
    outcomes.sort_by(|one, other| one.key.cmp(&other.key));
    failures.extend(unreadable);
    failures.extend(outcomes.iter().filter_map(|outcome| outcome.failure.clone()));
    if let Some(data) = change.output {
        output::print(&data.text(&Results::of(&outcomes))?)?;
    }
    tell_all(&failures)
}
