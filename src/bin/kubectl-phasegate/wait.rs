//! `wait`: until a gateway is available, stopped or gone, or is known not to get there.

use std::time::{Duration, Instant};

use clap::ValueEnum;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::runtime::watcher;
use phasegate::api::{ApiGateway, Phase, Reason, State, condition};
use phasegate::decide::human;
use phasegate::decide::requests::Requests;
use serde::Serialize;

use crate::cause;
use crate::cluster::{Cluster, ClusterArguments};
use crate::failure::{self, Failure, NOT_FOUND, STOPPED, TIMED_OUT, TOO_LATE};
use crate::live::{Live, News};
use crate::output::{self, Data};
use crate::progress::Progress;
use crate::selection::{self, unreadable};

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

A status that speaks of an earlier request is not believed: after a change of the spec or a retry,
wait sees what became of that.";

/// The arguments of `wait`.
#[derive(Debug, clap::Args)]
pub struct Wait {
    /// The gateway
    #[arg(value_parser = selection::name)]
    name: String,

    /// What is waited for
    #[arg(long = "for", value_name = "STATE")]
    goal: Asked,

    /// How long (`90s`, `5m`, `1h30m`)
    #[arg(long, default_value = "10m", value_parser = phasegate::parse::duration)]
    timeout: Duration,

    /// Print for a program that it was reached
    #[arg(short, long)]
    output: Option<Data>,
}

/// What `-o json` prints.
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
            format!("Start it: {}", cause::command("start", gateway)),
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
        hint.unwrap_or_else(|| format!("See {}", cause::command("status", gateway))),
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
        return format!("{phase}, and suspended ({})", cause::command("resume", gateway));
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
    let (reached, lasted) = (goal.words(), begun.elapsed());
    match arguments.output {
        Some(data) => output::print(&data.text(&Waited { namespace, name, reached, seconds: lasted.as_secs() })?),
        None => output::print(&format!("{namespace}/{name} is {reached} after {}\n", human(lasted))),
    }
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
                    let seen = away.as_deref().unwrap_or(&words);
                    return Err(too_late(namespace, name, goal, timeout, seen));
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

fn too_late(namespace: &str, name: &str, goal: Goal, timeout: Duration, seen: &str) -> Failure {
    let (goal, timeout) = (goal.words(), human(timeout));
    Failure::new(
        TOO_LATE,
        format!("ApiGateway {namespace}/{name} was not {goal} within {timeout}; last seen: {seen}"),
        format!("See kubectl phasegate status {name} -n {namespace}, or wait for longer with --timeout."),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::samples::{self, NOW, shop};

    #[derive(Debug, PartialEq)]
    enum End {
        Reached,
        Failed(u8),
        Waits,
    }

    fn end(goal: Goal, gateway: Option<&ApiGateway>) -> End {
        match judge(goal, "tenants", "shop", gateway, NOW) {
            Verdict::Reached => End::Reached,
            Verdict::Failed(failure) => End::Failed(failure.code),
            Verdict::Waiting(_) => End::Waits,
        }
    }

    #[test]
    fn a_goal_is_reached_or_given_up_by_what_the_gateway_says_of_the_last_request() {
        use End::{Failed, Reached, Waits};
        use Goal::{Available, Gone, Restarted, Stopped};
        let retried = |mut gateway: ApiGateway| {
            let annotations = gateway.metadata.annotations.get_or_insert_default();
            annotations.insert("phasegate.dev/retry-requested-at".to_owned(), "now".to_owned());
            gateway
        };
        let asked = |mut gateway: ApiGateway, state| {
            gateway.spec.state = state;
            gateway.metadata.generation = Some(2);
            gateway
        };
        let mended = |mut gateway: ApiGateway| {
            gateway.spec.image = "acme/gateway:2".to_owned();
            gateway.metadata.generation = Some(2);
            gateway
        };
        // The operator saw the new generation, and has not begun the attempt yet.
        let seen = |mut gateway: ApiGateway| {
            gateway.status.as_mut().unwrap().observed_generation = Some(2);
            gateway
        };
        let deleted = |mut gateway: ApiGateway| {
            gateway.metadata.deletion_timestamp = gateway.metadata.creation_timestamp.clone();
            gateway
        };
        let run = phasegate::api::DesiredState::Running;
        let stop = phasegate::api::DesiredState::Stopped;
        let bare = shop(json!({}), serde_json::Value::Null);
        // (what it is, the gateway, what becomes of waiting for Available, Restarted, Stopped, Gone)
        for (what, gateway, expected) in [
            ("none", None, [Failed(4), Failed(4), Failed(4), Reached]),
            ("not looked at yet", Some(bare), [Waits, Waits, Waits, Waits]),
            ("starting", Some(samples::starting()), [Waits, Waits, Waits, Waits]),
            ("started", Some(samples::started()), [Reached, Reached, Waits, Waits]),
            ("started, and to stop", Some(asked(samples::started(), stop)), [Failed(3), Failed(3), Waits, Waits]),
            ("started, and its spec changed", Some(mended(samples::started())), [Waits, Waits, Waits, Waits]),
            ("restarting", Some(samples::restarting()), [Waits, Waits, Waits, Waits]),
            ("its restart failed", Some(samples::restart_failed()), [Reached, Failed(2), Waits, Waits]),
            (
                "stopping after a timeout",
                Some(samples::stopping_after_a_timeout()),
                [Failed(2), Failed(2), Waits, Waits],
            ),
            ("timed out", Some(samples::timed_out()), [Failed(2), Failed(2), Reached, Waits]),
            ("timed out, retried", Some(retried(samples::timed_out())), [Waits, Waits, Waits, Waits]),
            ("timed out, mended", Some(mended(samples::timed_out())), [Waits, Waits, Waits, Waits]),
            ("timed out, mended, seen", Some(seen(mended(samples::timed_out()))), [Waits, Waits, Waits, Waits]),
            ("timed out, tried again by itself", Some(samples::retry_scheduled()), [Waits, Waits, Reached, Waits]),
            ("stopped", Some(samples::stopped()), [Failed(3), Failed(3), Reached, Waits]),
            ("stopped, and to start", Some(asked(samples::stopped(), run)), [Waits, Waits, Waits, Waits]),
            ("being deleted", Some(deleted(samples::started())), [Failed(4), Failed(4), Failed(4), Waits]),
        ] {
            let found = [Available, Restarted, Stopped, Gone].map(|goal| end(goal, gateway.as_ref()));
            assert_eq!(found, expected, "{what}");
        }
    }

    #[test]
    fn a_timeout_is_told_with_its_cause_and_what_to_do() {
        let Verdict::Failed(failure) = judge(Goal::Available, "tenants", "shop", Some(&samples::timed_out()), NOW)
        else {
            panic!("it has not failed");
        };
        assert_eq!(
            failure.sentence,
            "ApiGateway tenants/shop did not start within its deadline: pod shop-1: image \"acme/gateway:1\" cannot be pulled"
        );
        assert_eq!(
            failure.advice,
            "Check spec.image. Then change the spec, or: kubectl phasegate retry shop -n tenants"
        );
    }

    #[test]
    fn what_is_waited_for_names_what_keeps_it() {
        let mut suspended = samples::starting();
        suspended.spec.suspend = true;
        let words = |gateway: &ApiGateway| progress(gateway, NOW);
        assert_eq!(words(&samples::starting()), "Starting");
        assert_eq!(words(&suspended), "Starting, and suspended (kubectl phasegate resume shop -n tenants)");
        assert_eq!(
            words(&samples::failing()),
            "Starting: pod shop-1: image \"acme/gateway:1\" cannot be pulled. Check spec.image."
        );
    }
}
