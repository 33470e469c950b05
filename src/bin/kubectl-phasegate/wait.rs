//! `wait`: until a gateway is available, stopped or gone, or is known not to get there.

use std::time::{Duration, Instant};

use clap::ValueEnum;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::runtime::watcher;
use phasegate::api::{ApiGateway, Phase, Reason, State, condition};
use phasegate::config;
use phasegate::decide::conditions::human;
use phasegate::decide::requests::Requests;

use crate::cause;
use crate::cluster::{Cluster, ClusterArguments};
use crate::failure::{self, Failure, NOT_FOUND, STOPPED, TIMED_OUT, TOO_LATE};
use crate::live::{Live, News};
use crate::output;
use crate::progress::Progress;
use crate::selection::unreadable;

/// Examples for the help.
pub const EXAMPLES: &str = "Examples:
  kubectl phasegate wait shop --for available               # it serves
  kubectl phasegate wait shop --for stopped --timeout 2m
  kubectl phasegate wait shop --for gone                    # deleted, children and all

Exit codes:
  0    it is as waited for
  2    it did not start within its deadline; the cause is printed
  3    it is asked to be stopped, where it was to become available
  4    there is no such gateway
  124  --timeout passed
  1    anything else

A status that speaks of an earlier request is not believed: after a change of the spec or a retry, wait sees what
became of that.";

/// The arguments of `wait`.
#[derive(Debug, clap::Args)]
pub struct Wait {
    /// The gateway
    name: String,

    /// What is waited for
    #[arg(long = "for", value_name = "STATE")]
    goal: Asked,

    /// How long (`90s`, `5m`, `1h30m`)
    #[arg(long, default_value = "10m", value_parser = config::duration)]
    timeout: Duration,
}

/// What can be waited for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Asked {
    /// It serves
    Available,
    /// Nothing of it runs
    Stopped,
    /// It is deleted
    Gone,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// It serves.
    Available,
    /// It serves, and the last restart has succeeded.
    Restarted,
    /// Nothing of it runs.
    Stopped,
    /// It is deleted.
    Gone,
}

impl Goal {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Restarted => "restarted",
            Self::Stopped => "stopped",
            Self::Gone => "gone",
        }
    }
}

/// Where a gateway is, seen from a goal.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// There.
    Reached,
    /// It will not get there by itself.
    Failed(Failure),
    /// On its way, or not yet begun: in words.
    Waiting(String),
}

/// Judges a gateway as it is now, or that there is none.
pub fn judge(goal: Goal, namespace: &str, name: &str, gateway: Option<&ApiGateway>, now: Timestamp) -> Verdict {
    let Some(gateway) = gateway else {
        return if goal == Goal::Gone {
            Verdict::Reached
        } else {
            Verdict::Failed(failure::not_found(namespace, name))
        };
    };
    let waiting = || Verdict::Waiting(progress(gateway, now));
    match goal {
        Goal::Gone => waiting(),
        _ if gateway.is_being_deleted() => Verdict::Failed(Failure::new(
            NOT_FOUND,
            format!("ApiGateway {namespace}/{name} is being deleted"),
            "Apply it again once it is gone.",
        )),
        Goal::Stopped => {
            let stopped = place(gateway) == (Some(Phase::Stopped), Some(State::Stopped));
            if stopped && is_current(gateway) { Verdict::Reached } else { waiting() }
        }
        Goal::Available | Goal::Restarted if !gateway.spec.state.asks_to_run() => Verdict::Failed(Failure::new(
            STOPPED,
            format!("ApiGateway {namespace}/{name} is asked to be stopped"),
            format!("Start it: kubectl phasegate start {name} -n {namespace}"),
        )),
        Goal::Available | Goal::Restarted if !is_current(gateway) => waiting(),
        Goal::Available | Goal::Restarted => {
            let serves = cause::is(gateway, condition::AVAILABLE)
                && place(gateway) == (Some(Phase::Started), Some(State::Running));
            let restart_failed = cause::condition_of(gateway, condition::STALLED)
                .is_some_and(|stalled| stalled.reason == Reason::RestartDeadlineExceeded.as_str());
            if serves && (goal == Goal::Available || !restart_failed) {
                Verdict::Reached
            } else if cause::gave_up(gateway) {
                Verdict::Failed(timed_out(gateway, now))
            } else {
                waiting()
            }
        }
    }
}

/// Whether the status speaks of what is asked now: the newest spec, restart and retry.
pub fn is_current(gateway: &ApiGateway) -> bool {
    let requests = Requests::of(gateway);
    let observed = gateway.status.as_ref().and_then(|status| status.observed_generation);
    observed == gateway.metadata.generation && !requests.start && !requests.restart
}

fn place(gateway: &ApiGateway) -> (Option<Phase>, Option<State>) {
    gateway.status.as_ref().map_or((None, None), |status| (status.phase.clone(), status.state))
}

fn timed_out(gateway: &ApiGateway, now: Timestamp) -> Failure {
    let cause = cause::of(gateway, now);
    let words = cause.as_ref().map_or_else(String::new, |cause| format!(": {}", cause.message));
    let what = if cause::reason_of(gateway) == Reason::RestartDeadlineExceeded.as_str() { "restart" } else { "start" };
    let hint = cause.and_then(|cause| cause.hint);
    Failure::new(
        TIMED_OUT,
        format!("ApiGateway {} did not {what} within its deadline{words}", gateway.key()),
        hint.unwrap_or_else(|| format!("See kubectl phasegate status {}.", gateway.name_or_empty())),
    )
}

/// How far a gateway is, in words.
fn progress(gateway: &ApiGateway, now: Timestamp) -> String {
    let phase = match place(gateway) {
        _ if gateway.is_being_deleted() => "being deleted".to_owned(),
        (None, _) => "not looked at by an operator yet".to_owned(),
        (Some(phase), _) => phase.to_string(),
    };
    if gateway.spec.suspend {
        return format!("{phase}, and suspended (kubectl phasegate resume {})", gateway.name_or_empty());
    }
    if !is_current(gateway) && place(gateway).0.is_some() {
        return format!("{phase}; the operator has not taken up the last request yet");
    }
    match cause::of(gateway, now) {
        Some(cause) => format!("{phase}: {}", cause.message),
        None => phase,
    }
}

/// Reads and waits.
///
/// # Errors
/// When the gateway does not get there, in whatever way.
pub async fn run(arguments: &Wait, cluster: &ClusterArguments) -> Result<(), Failure> {
    let cluster = Cluster::find(cluster).await?;
    let goal = match arguments.goal {
        Asked::Available => Goal::Available,
        Asked::Stopped => Goal::Stopped,
        Asked::Gone => Goal::Gone,
    };
    let (namespace, name) = (cluster.namespace.as_str(), arguments.name.as_str());
    let begun = Instant::now();
    until(&cluster, namespace, name, goal, arguments.timeout, &Progress::new()).await?;
    let lasted = human(begun.elapsed());
    output::print(&format!("{namespace}/{name} is {} after {lasted}\n", goal.words()))
}

/// Waits until a gateway is as it is to be.
///
/// # Errors
/// When it does not get there, or not within `timeout`.
pub async fn until(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    goal: Goal,
    timeout: Duration,
    progress: &Progress,
) -> Result<(), Failure> {
    let begun = Instant::now();
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let api = Api::namespaced(cluster.client.clone(), namespace);
    let mut live = Live::follow(cluster, api, config);
    let mut gateway = None;
    let mut words = "nothing is known of it yet".to_owned();
    let mut away = None;
    let mut listed = false;
    let mut clock = tokio::time::interval(Duration::from_millis(250));
    loop {
        tokio::select! {
            news = live.next() => match news? {
                News::Is(found) => {
                    gateway = Some(found.0.map_err(|error| unreadable(namespace, name, &error))?);
                }
                News::Gone(_) => gateway = None,
                News::Listed => listed = true,
                News::Away(trouble) => away = Some(trouble),
                News::Back(_) => away = None,
            },
            _ = clock.tick() => {
                let waited = begun.elapsed();
                if waited >= timeout {
                    return Err(too_late(&format!("{namespace}/{name}"), goal, timeout, away.as_deref().unwrap_or(&words)));
                }
                let now = away.as_deref().unwrap_or(&words);
                progress.show(&format!("{namespace}/{name} to be {}, {}: {now}", goal.words(), human(waited)));
                continue;
            }
        }
        if listed {
            match judge(goal, namespace, name, gateway.as_ref(), Timestamp::now()) {
                Verdict::Reached => return Ok(()),
                Verdict::Failed(failure) => return Err(failure),
                Verdict::Waiting(now) => words = now,
            }
        }
    }
}

fn too_late(key: &str, goal: Goal, timeout: Duration, words: &str) -> Failure {
    Failure::new(
        TOO_LATE,
        format!("ApiGateway {key} was not {} within {}; last seen: {words}", goal.words(), human(timeout)),
        "See kubectl phasegate status, or wait for longer with --timeout.",
    )
}
