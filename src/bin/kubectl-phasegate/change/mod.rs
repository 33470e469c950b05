//! `start`, `stop`, `restart`, `retry`, `suspend`, `resume`: whom they are asked of, in which order, and what is said.
//!
//! May import the modules of what is said, of the cluster and of a gateway's own words, and `wait`. Invariant: what is to
//! be done is planned for all (`plan`, by `verb`) before anything is asked of one (`carry_out`).

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

use carry_out::How;
use outcome::Results;
use plan::{Plan, confirm};
pub use verb::Verb;

/// Examples for the help of `start`.
pub const START: &str = "Examples:
  kubectl phasegate start shop --wait          # exit code 2: it did not start within its deadline
  kubectl phasegate start -l tier=test --yes

A gateway that timed out is asked to run already; start gives it another try, as retry does.";
/// Examples for the help of `stop`.
pub const STOP: &str = "Examples:
  kubectl phasegate stop shop --wait
  kubectl phasegate stop --all --dry-run       # what would be stopped";
/// Examples for the help of `restart`.
pub const RESTART: &str = "Examples:
  kubectl phasegate restart shop               # without downtime
  kubectl phasegate restart -l tier=prod --max-parallel 2 --yes

With --max-parallel the next one begins when one before it has restarted, and none begins after one
that failed.";
/// Examples for the help of `retry`.
pub const RETRY: &str = "Examples:
  kubectl phasegate retry shop --wait          # once the cause is mended
  kubectl phasegate retry -A --all --max-parallel 5 --yes";
/// Examples for the help of `suspend`.
pub const SUSPEND: &str = "Examples:
  kubectl phasegate suspend shop               # the operator writes nothing for it, and its clock is held
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

    /// All gateways of the namespace, or with -A of all namespaces
    #[arg(long, conflicts_with_all = ["names", "selector"])]
    all: bool,

    /// Do not ask before more than one gateway is changed
    #[arg(short, long)]
    yes: bool,

    /// Let the API server judge what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,

    /// Print the results for a program
    #[arg(short, long)]
    output: Option<Data>,
}

impl Change {
    /// Nobody changes all gateways by leaving out their names.
    fn names_any(&self, verb: Verb) -> Result<(), Failure> {
        if !self.selection.names.is_empty() || self.selection.selector.is_some() || self.all {
            return Ok(());
        }
        Err(Failure::new(
            FAILED,
            format!("no gateway was named to {}", verb.word()),
            "Name gateways, or choose them with -l LABELS, or all of the namespace with --all.",
        ))
    }
}

/// The same, for what can be waited for.
#[derive(Debug, clap::Args)]
pub struct Wave {
    #[command(flatten)]
    change: Change,

    /// Wait until it is done
    #[arg(short, long, conflicts_with = "dry_run")]
    wait: bool,

    /// At most so many at a time: the next one begins when one before it is done (implies --wait)
    #[arg(long, value_name = "N", conflicts_with = "dry_run", value_parser = clap::value_parser!(u16).range(1..))]
    max_parallel: Option<u16>,

    /// How long each gateway is waited for (`90s`, `5m`, `1h30m`)
    #[arg(long, default_value = "10m", value_parser = phasegate::parse::duration)]
    timeout: Duration,
}

/// Asks gateways for what can be waited for.
///
/// # Errors
/// When one of them could not be asked, or did not do it.
pub async fn wave(verb: Verb, wave: &Wave, cluster: &ClusterArguments) -> Result<(), Failure> {
    let patience = (wave.wait || wave.max_parallel.is_some()).then_some(wave.timeout);
    run(verb, &wave.change, patience, wave.max_parallel, cluster).await
}

/// Asks gateways for what is done at once.
///
/// # Errors
/// When one of them could not be asked.
pub async fn at_once(verb: Verb, change: &Change, cluster: &ClusterArguments) -> Result<(), Failure> {
    run(verb, change, None, None, cluster).await
}

async fn run(
    verb: Verb,
    change: &Change,
    patience: Option<Duration>,
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
    let how = How { verb, dry_run, patience, max_parallel, quiet, progress: Progress::new() };
    for outcome in &outcomes {
        how.tell(outcome)?;
    }
    outcomes.extend(how.carry_out(&cluster, patches).await?);
    outcomes.sort_by(|one, other| one.key.cmp(&other.key));
    failures.extend(unreadable);
    failures.extend(outcomes.iter().filter_map(|outcome| outcome.failure.clone()));
    if let Some(data) = change.output {
        output::print(&data.text(&Results::of(&outcomes))?)?;
    }
    tell_all(&failures)
}
