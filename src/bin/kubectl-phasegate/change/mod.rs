//! `start`, `stop`, `restart`, `retry`, `suspend`, `resume`: whom they are asked of, in which order, and what is said.

mod verb;

use std::io::{BufRead, IsTerminal, Write, stderr, stdin};
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams};
use phasegate::api::ApiGateway;
use phasegate::decide::human;
use serde::Serialize;
use serde_json::Value;

use crate::cluster::{Cluster, ClusterArguments};
use crate::failure::{FAILED, Failure};
use crate::output::{self, Data};
use crate::progress::Progress;
use crate::selection::{Selection, tell_all, unreadable};
use crate::wait;

use verb::Means;
pub use verb::Verb;

/// Who writes, for the managed fields and the audit log.
const FIELD_MANAGER: &str = "kubectl-phasegate";

/// How many gateways are written or waited for at the same time where nothing else is asked.
const AT_ONCE: usize = 8;

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

/// What became of one gateway, as `-o json` prints it in `results`.
#[derive(Clone, Debug, Serialize)]
struct Outcome {
    namespace: String,
    name: String,
    /// `changed`, `unchanged`, `failed`, or `untouched` after the failure of another.
    result: &'static str,
    message: String,
    #[serde(skip)]
    failure: Option<Failure>,
}

#[derive(Debug, Serialize)]
struct Results {
    results: Vec<Outcome>,
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
    if change.selection.names.is_empty() && change.selection.selector.is_none() && !change.all {
        return Err(Failure::new(
            FAILED,
            format!("no gateway was named to {}", verb.word()),
            "Name gateways, or choose them with -l LABELS, or all of the namespace with --all.",
        ));
    }
    let cluster = Cluster::find(cluster).await?;
    let (found, mut failures) = change.selection.read(&cluster).await?;
    let token = Timestamp::now().to_string();
    let mut outcomes = Vec::new();
    let mut patches = Vec::new();
    for guarded in found {
        let (namespace, name) = crate::selection::key(&guarded);
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        let outcome = |result, message: &str| Outcome {
            namespace: namespace.clone(),
            name: name.clone(),
            result,
            message: message.to_owned(),
            failure: None,
        };
        let gateway = match guarded.0 {
            Ok(gateway) => gateway,
            Err(error) => {
                failures.push(unreadable(&namespace, &name, &error));
                continue;
            }
        };
        match verb.means(&gateway, &token) {
            Means::Patch(patch, done) => {
                patches.push(Patching { outcome: outcome("changed", done), patch, suspended: gateway.spec.suspend })
            }
            Means::Nothing(why) => outcomes.push(outcome("unchanged", why)),
            Means::Refused(sentence, advice) => {
                let failure = Failure::new(FAILED, sentence, advice);
                outcomes.push(Outcome { failure: Some(failure.clone()), ..outcome("failed", &failure.sentence) });
            }
        }
    }
    if outcomes.is_empty() && patches.is_empty() && failures.is_empty() {
        eprintln!("No ApiGateways in {}.", change.selection.place(&cluster));
        return Ok(());
    }
    if patches.len() > 1 && !change.yes && !change.dry_run {
        confirm(verb, &patches)?;
    }
    let how = How {
        verb,
        dry_run: change.dry_run,
        patience,
        max_parallel,
        quiet: change.output.is_some(),
        progress: Progress::new(),
    };
    for outcome in &outcomes {
        how.tell(outcome)?;
    }
    outcomes.extend(how.carry_out(&cluster, patches).await?);
    outcomes.sort_by(|one, other| (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name)));
    failures.extend(outcomes.iter().filter_map(|outcome| outcome.failure.clone()));
    if let Some(data) = change.output {
        output::print(&data.text(&Results { results: outcomes })?)?;
    }
    tell_all(&failures)
}

/// A gateway that is to be changed.
struct Patching {
    outcome: Outcome,
    patch: Value,
    suspended: bool,
}

fn confirm(verb: Verb, patches: &[Patching]) -> Result<(), Failure> {
    const NAMED: usize = 10;
    let count = patches.len();
    let keys = patches.iter().take(NAMED).map(|patch| format!("{}/{}", patch.outcome.namespace, patch.outcome.name));
    let mut keys = keys.collect::<Vec<_>>().join(", ");
    if count > NAMED {
        keys = format!("{keys} and {} more", count - NAMED);
    }
    if !stdin().is_terminal() {
        return Err(Failure::new(
            FAILED,
            format!("{count} gateways would be asked to {}: {keys}", verb.word()),
            "Add --yes if this is meant; --dry-run shows what would be done.",
        ));
    }
    let mut out = stderr().lock();
    write!(out, "{} {count} gateways: {keys}? [y/N] ", verb.word())?;
    out.flush()?;
    let mut answer = String::new();
    stdin().lock().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Failure::new(FAILED, "nothing was changed", "Answer y to go on."))
}

/// How patches are carried out.
struct How {
    verb: Verb,
    dry_run: bool,
    patience: Option<Duration>,
    max_parallel: Option<u16>,
    quiet: bool,
    progress: Progress,
}

impl How {
    fn tell(&self, outcome: &Outcome) -> Result<(), Failure> {
        if self.quiet || outcome.failure.is_some() {
            return Ok(());
        }
        let Outcome { namespace, name, result, message, .. } = outcome;
        self.progress.clear();
        let result = if *result == "changed" { String::new() } else { format!("{result}: ") };
        output::print(&format!("{namespace}/{name} {result}{message}\n"))
    }

    /// Changes the gateways. With a wave, none begins after one has failed; without one, all are asked before any is
    /// waited for.
    async fn carry_out(&self, cluster: &Cluster, patches: Vec<Patching>) -> Result<Vec<Outcome>, Failure> {
        let failed = std::cell::Cell::new(false);
        let failed = &failed;
        let in_wave = self.max_parallel.is_some();
        let at_once = self.max_parallel.map_or(AT_ONCE, usize::from);
        let asked = stream::iter(patches).map(|patching| async move {
            if in_wave && failed.get() {
                let message = "left alone after the failure of another".to_owned();
                return Outcome { result: "untouched", message, ..patching.outcome };
            }
            let asked = self.ask(cluster, patching).await;
            let done = if in_wave { self.wait(cluster, asked).await } else { asked };
            if done.failure.is_some() {
                failed.set(true);
            }
            done
        });
        let mut done = Vec::new();
        let mut asked = asked.buffer_unordered(at_once);
        while let Some(outcome) = asked.next().await {
            if in_wave || self.patience.is_none() {
                self.tell(&outcome)?;
            }
            done.push(outcome);
        }
        drop(asked);
        if in_wave || self.patience.is_none() {
            return Ok(done);
        }
        let mut waited = stream::iter(done).map(|outcome| self.wait(cluster, outcome)).buffer_unordered(at_once);
        let mut done = Vec::new();
        while let Some(outcome) = waited.next().await {
            self.tell(&outcome)?;
            done.push(outcome);
        }
        Ok(done)
    }

    async fn ask(&self, cluster: &Cluster, patching: Patching) -> Outcome {
        let Patching { mut outcome, patch, suspended } = patching;
        let api: Api<ApiGateway> = Api::namespaced(cluster.client.clone(), &outcome.namespace);
        let params = PatchParams {
            dry_run: self.dry_run,
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        if let Err(error) = api.patch(&outcome.name, &params, &Patch::Merge(&patch)).await {
            let what = format!("ApiGateway {}/{} cannot be changed", outcome.namespace, outcome.name);
            return outcome.failed(cluster.refused(&what, &error));
        }
        if suspended && self.verb != Verb::Resume {
            outcome.message = format!("{}; it is suspended, and nothing happens until it is resumed", outcome.message);
        }
        if self.dry_run {
            outcome.message = format!("{} (dry run)", outcome.message);
        }
        outcome
    }

    async fn wait(&self, cluster: &Cluster, mut outcome: Outcome) -> Outcome {
        let (Some(timeout), None) = (self.patience, &outcome.failure) else { return outcome };
        let (goal, begun) = (self.verb.goal(), Instant::now());
        match wait::until(cluster, &outcome.namespace, &outcome.name, goal, timeout, &self.progress).await {
            Ok(()) => {
                outcome.message = format!("{} after {}", goal.words(), human(begun.elapsed()));
                outcome
            }
            Err(failure) => outcome.failed(failure),
        }
    }
}

impl Outcome {
    fn failed(self, failure: Failure) -> Self {
        Self { result: "failed", message: failure.sentence.clone(), failure: Some(failure), ..self }
    }
}
