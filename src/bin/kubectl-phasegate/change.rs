//! `start`, `stop`, `restart`, `retry`, `suspend`, `resume`: what users ask of gateways.

use std::io::{BufRead, IsTerminal, Write, stderr, stdin};
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams};
use phasegate::api::{ApiGateway, Phase, REGISTRY_LABEL, RESTART_ANNOTATION, RETRY_ANNOTATION, State};
use phasegate::config;
use phasegate::decide::conditions::human;
use serde::Serialize;
use serde_json::{Value, json};

use crate::cause;
use crate::cluster::{Cluster, ClusterArguments};
use crate::failure::{FAILED, Failure};
use crate::output::{self, Data};
use crate::progress::Progress;
use crate::selection::{Selection, tell_all, unreadable};
use crate::wait::{self, Goal};

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
    #[arg(long, default_value = "10m", value_parser = config::duration)]
    timeout: Duration,
}

/// What is asked of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Serve.
    Start,
    /// Do not serve.
    Stop,
    /// Replace the pods.
    Restart,
    /// Try once more after a timeout.
    Retry,
    /// Hold the operator's hand.
    Suspend,
    /// Let it go again.
    Resume,
}

/// What a verb means for one gateway as it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Means {
    /// A merge patch, and what is said once it was accepted.
    Patch(Value, &'static str),
    /// Nothing is to be done, since it is so already.
    Nothing(&'static str),
    /// It cannot be done: why, and what can.
    Refused(String, String),
}

impl Verb {
    fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Retry => "retry",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
        }
    }

    fn goal(self) -> Goal {
        match self {
            Self::Stop => Goal::Stopped,
            Self::Restart => Goal::Restarted,
            Self::Start | Self::Retry | Self::Suspend | Self::Resume => Goal::Available,
        }
    }

    /// What the verb means for a gateway. `token` is a value that no annotation has had before.
    pub fn means(self, gateway: &ApiGateway, token: &str) -> Means {
        let key = gateway.key();
        if gateway.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(REGISTRY_LABEL)) {
            return Means::Refused(
                format!("ApiGateway {key} belongs to the platform's documents, and an edit of it is undone"),
                "Change its document instead.".to_owned(),
            );
        }
        let retries = || json!({ RETRY_ANNOTATION: token });
        let runs = gateway.spec.state.asks_to_run();
        let held = is_held_stopped(gateway);
        match self {
            Self::Start if runs && held => {
                Means::Patch(json!({ "metadata": { "annotations": retries() } }), "another try was asked for")
            }
            Self::Start if runs => Means::Nothing("it is asked to run already"),
            // With the retry, since the operator may not have seen it stopped.
            Self::Start if held => Means::Patch(
                json!({ "metadata": { "annotations": retries() }, "spec": { "state": "Running" } }),
                "asked to run",
            ),
            Self::Start => Means::Patch(json!({ "spec": { "state": "Running" } }), "asked to run"),
            Self::Stop if !runs => Means::Nothing("it is asked to be stopped already"),
            Self::Stop => Means::Patch(json!({ "spec": { "state": "Stopped" } }), "asked to stop"),
            Self::Restart | Self::Retry if !runs => Means::Refused(
                format!("ApiGateway {key} is asked to be stopped"),
                format!("Start it: {}", cause::command("start", gateway)),
            ),
            Self::Restart => Means::Patch(
                json!({ "metadata": { "annotations": { RESTART_ANNOTATION: token } } }),
                "a restart was asked for",
            ),
            Self::Retry if held => {
                Means::Patch(json!({ "metadata": { "annotations": retries() } }), "another try was asked for")
            }
            Self::Retry if cause::gave_up(gateway) => Means::Refused(
                format!("ApiGateway {key} serves with its old pods; it is a restart that failed"),
                format!("Restart it: {}", cause::command("restart", gateway)),
            ),
            Self::Retry => Means::Nothing("it has not timed out"),
            Self::Suspend if gateway.spec.suspend => Means::Nothing("it is suspended already"),
            Self::Suspend => Means::Patch(json!({ "spec": { "suspend": true } }), "suspended"),
            Self::Resume if !gateway.spec.suspend => Means::Nothing("it is not suspended"),
            Self::Resume => Means::Patch(json!({ "spec": { "suspend": false } }), "resumed"),
        }
    }
}

/// Whether a timeout holds a gateway stopped that was asked to run.
fn is_held_stopped(gateway: &ApiGateway) -> bool {
    gateway.status.as_ref().is_some_and(|status| {
        status.state == Some(State::Stopped)
            && status.phase != Some(Phase::Deleting)
            && status.handled.as_ref().is_some_and(|handled| handled.state.asks_to_run())
    })
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

#[cfg(test)]
mod tests {
    use phasegate::api::DesiredState;

    use super::*;
    use crate::samples;

    #[derive(Debug, PartialEq)]
    enum Does {
        /// Sets `spec.state`.
        Asks(&'static str),
        /// Sets the retry annotation.
        Retries,
        /// Sets `spec.state` to Running, and the retry annotation.
        AsksAndRetries,
        Restarts,
        Suspends(bool),
        Nothing,
        Refuses,
    }

    fn does(verb: Verb, gateway: &ApiGateway) -> Does {
        let retries = json!({ "annotations": { "phasegate.dev/retry-requested-at": "token" } });
        let restarts = json!({ "metadata": { "annotations": { "phasegate.dev/restart-requested-at": "token" } } });
        let state = |state: &str| json!({ "spec": { "state": state } });
        match verb.means(gateway, "token") {
            Means::Nothing(_) => Does::Nothing,
            Means::Refused(..) => Does::Refuses,
            Means::Patch(patch, _) if patch == state("Running") => Does::Asks("Running"),
            Means::Patch(patch, _) if patch == state("Stopped") => Does::Asks("Stopped"),
            Means::Patch(patch, _) if patch == json!({ "metadata": retries }) => Does::Retries,
            Means::Patch(patch, _) if patch == json!({ "metadata": retries, "spec": { "state": "Running" } }) => {
                Does::AsksAndRetries
            }
            Means::Patch(patch, _) if patch == restarts => Does::Restarts,
            Means::Patch(patch, _) if patch == json!({ "spec": { "suspend": true } }) => Does::Suspends(true),
            Means::Patch(patch, _) if patch == json!({ "spec": { "suspend": false } }) => Does::Suspends(false),
            Means::Patch(patch, _) => panic!("{patch}"),
        }
    }

    #[test]
    fn a_verb_means_what_its_user_means_whatever_the_gateway_does() {
        use Does::{Asks, AsksAndRetries, Nothing, Refuses, Restarts, Retries, Suspends};
        let with = |mut gateway: ApiGateway, change: fn(&mut ApiGateway)| {
            change(&mut gateway);
            gateway
        };
        let suspended = with(samples::started(), |gateway| gateway.spec.suspend = true);
        let restarting = with(samples::started(), |gateway| gateway.spec.state = DesiredState::Restarting);
        // Stopped by its user a moment ago; the operator has not seen that.
        let just_stopped = with(samples::timed_out(), |gateway| gateway.spec.state = DesiredState::Stopped);
        let documents = with(samples::timed_out(), |gateway| {
            gateway.metadata.labels.get_or_insert_default().insert(REGISTRY_LABEL.to_owned(), "mongodb".to_owned());
        });
        // (gateway, start, stop, restart, retry, suspend, resume)
        for (what, gateway, expected) in [
            ("started", samples::started(), [Nothing, Asks("Stopped"), Restarts, Nothing, Suspends(true), Nothing]),
            ("starting", samples::starting(), [Nothing, Asks("Stopped"), Restarts, Nothing, Suspends(true), Nothing]),
            ("asked to restart", restarting, [Nothing, Asks("Stopped"), Restarts, Nothing, Suspends(true), Nothing]),
            ("stopped", samples::stopped(), [Asks("Running"), Nothing, Refuses, Refuses, Suspends(true), Nothing]),
            ("timed out", samples::timed_out(), [Retries, Asks("Stopped"), Restarts, Retries, Suspends(true), Nothing]),
            (
                "timed out and stopped",
                just_stopped,
                [AsksAndRetries, Nothing, Refuses, Refuses, Suspends(true), Nothing],
            ),
            (
                "its restart failed",
                samples::restart_failed(),
                [Nothing, Asks("Stopped"), Restarts, Refuses, Suspends(true), Nothing],
            ),
            ("suspended", suspended, [Nothing, Asks("Stopped"), Restarts, Nothing, Nothing, Suspends(false)]),
            ("the platform's", documents, [Refuses, Refuses, Refuses, Refuses, Refuses, Refuses]),
        ] {
            let verbs = [Verb::Start, Verb::Stop, Verb::Restart, Verb::Retry, Verb::Suspend, Verb::Resume];
            assert_eq!(verbs.map(|verb| does(verb, &gateway)), expected, "{what}");
        }
    }
}
