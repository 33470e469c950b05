//! `replay`: makes the recorded decisions about a gateway again, with the machine of this plugin.
//!
//! **Architecture invariant**: the core decides. Nothing is read but the gateway or the log.

mod lines;
mod log;

use std::path::PathBuf;

use k8s_openapi::jiff::Timestamp;
use phasegate::api::{ObjectKey, Phase, State};
use phasegate::decide::replay::{self, Recorded, Replayed, Verdict};
use serde::Serialize;

use crate::cluster::{Cluster, ClusterArguments};
use crate::failure::{DIFFERENT, FAILED, Failure};
use crate::output::{self, Data, Line};
use crate::selection;
use crate::times;

/// Examples for the help.
pub const EXAMPLES: &str = "Examples:
  kubectl phasegate replay shop                               # the last 20 decisions
  kubectl phasegate replay shop --at 2026-01-01T10:00:30Z     # what held at a moment, and why
  kubectl logs -n phasegate-system deploy/phasegate | kubectl phasegate replay shop --log -

Makes each recorded decision again, with the machine of this version, and compares phase, state, reason and attempt. \
Exit code 5: this version decides differently, or an entry does not follow from the one before.

The history does not record what was observed (children, pods, hosts, answers of the API server). It is taken from the \
recorded reason; NOT RECORDED lists it. The log of an operator with --log-format json has more than 20 transitions, and \
records requests and deadlines.";

/// The arguments of `replay`.
#[derive(Debug, clap::Args)]
pub struct Replay {
    /// Name of the gateway. Default with --log: all gateways of the log
    #[arg(value_parser = selection::name, required_unless_present = "log")]
    name: Option<String>,

    /// Log of the operator, with --log-format json; - is stdin. Default: the history in the status
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,

    /// Only the last decision until this moment (RFC 3339), and what held then
    #[arg(long, value_name = "TIME", value_parser = moment)]
    at: Option<Timestamp>,

    /// Output format
    #[arg(short, long)]
    output: Option<Data>,
}

fn moment(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| "must be a time such as 2026-01-01T10:00:30Z".to_owned())
}

/// A gateway with its recorded transitions, in order.
#[derive(Debug)]
pub struct Subject {
    key: ObjectKey,
    /// From a log.
    uid: Option<String>,
    recorded: Vec<Recorded>,
}

/// What held at a moment.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    at: Timestamp,
    phase: Phase,
    state: State,
    attempt: Option<i64>,
    /// How long it had lasted.
    seconds: i64,
}

/// The output of `-o json` for a gateway.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ReplayOutput<'a> {
    namespace: &'a str,
    name: &'a str,
    uid: Option<&'a str>,
    held: Option<Held>,
    decisions: Vec<DecisionOutput<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DecisionOutput<'a> {
    number: i64,
    at: Timestamp,
    from: Option<&'a Phase>,
    seconds: i64,
    attempt: Option<i64>,
    deadline_seconds: Option<f64>,
    paused_seconds: Option<i64>,
    asked: Option<AskedOutput<'a>>,
    recorded: ResultOutput<'a>,
    decided: Option<ResultOutput<'a>>,
    row: Option<&'static str>,
    verdict: &'static str,
    why: Option<&'a str>,
    not_recorded: &'a [&'static str],
}

#[derive(Debug, Serialize)]
struct AskedOutput<'a> {
    state: &'static str,
    start: bool,
    restart: bool,
    generation: Option<i64>,
    retry_token: Option<&'a str>,
    restart_token: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct ResultOutput<'a> {
    phase: &'a Phase,
    state: &'static str,
    reason: &'static str,
}

impl<'a> DecisionOutput<'a> {
    fn of(replayed: &'a Replayed<'a>) -> Self {
        let recorded = replayed.recorded;
        let (verdict, why) = match &replayed.verdict {
            Verdict::Same => ("same", None),
            Verdict::Different(why) => ("different", Some(why.as_str())),
            Verdict::Undecidable => ("undecidable", None),
        };
        Self {
            number: recorded.number,
            at: recorded.at,
            from: recorded.from.as_ref(),
            seconds: recorded.seconds,
            attempt: recorded.attempt,
            deadline_seconds: recorded.deadline.map(|deadline| deadline.as_secs_f64()),
            paused_seconds: recorded.paused,
            asked: recorded.asked.as_ref().map(|asked| AskedOutput {
                state: asked.state.as_str(),
                start: asked.requests.start,
                restart: asked.requests.restart,
                generation: asked.generation,
                retry_token: asked.retry.as_deref(),
                restart_token: asked.restart.as_deref(),
            }),
            recorded: ResultOutput {
                phase: &recorded.to,
                state: recorded.state.as_str(),
                reason: recorded.reason.as_str(),
            },
            decided: replayed.decided.as_ref().map(|decided| ResultOutput {
                phase: &decided.phase,
                state: decided.state.as_str(),
                reason: decided.reason.as_str(),
            }),
            row: replayed.row.map(|row| row.name()),
            verdict,
            why,
            not_recorded: &replayed.assumed,
        }
    }
}

/// Reads, decides again and prints.
///
/// # Errors
/// Nothing can be read, or a decision differs.
pub async fn run(arguments: &Replay, cluster: &ClusterArguments) -> Result<(), Failure> {
    let subjects = match (&arguments.log, &arguments.name) {
        (Some(path), name) => {
            let wanted = log::Wanted { namespace: cluster.namespace.as_deref(), name: name.as_deref() };
            log::read(path, &wanted)?
        }
        (None, name) => vec![in_cluster(name.as_deref().unwrap_or_default(), cluster).await?],
    };
    let replayed = subjects.iter().map(|subject| (subject, replay::replay(&subject.recorded)));
    let replayed: Vec<_> = match arguments.at {
        Some(at) => {
            replayed.filter_map(|(subject, replayed)| Some((subject, vec![last_until(at, replayed)?]))).collect()
        }
        None => replayed.collect(),
    };
    if let (Some(at), true) = (arguments.at, replayed.is_empty()) {
        return Err(Failure::new(
            FAILED,
            format!("no transition is recorded until {at}"),
            "The status keeps the last 20 transitions. Pass the operator's log with --log.",
        ));
    }
    match arguments.output {
        Some(data) => {
            let outputs: Vec<_> = replayed.iter().map(|(subject, of)| output_of(subject, of, arguments.at)).collect();
            // A log has many gateways, a status is one gateway's.
            match outputs.as_slice() {
                [one] if arguments.log.is_none() => output::print(&data.text(one)?)?,
                all => output::print(&data.text(&all)?)?,
            }
        }
        None => {
            let now = Timestamp::now();
            let lines: Vec<Line> =
                replayed.iter().flat_map(|(subject, of)| lines_of(subject, of, arguments, now)).collect();
            output::print(&output::for_stdout(&lines))?;
        }
    }
    judge(&replayed)
}

async fn in_cluster(name: &str, cluster: &ClusterArguments) -> Result<Subject, Failure> {
    let cluster = Cluster::find(cluster).await?;
    let gateway = cluster.gateway(name).await?;
    Ok(Subject { key: cluster.key(name), uid: None, recorded: replay::history(&gateway) })
}

/// The last decision until a moment. The numbers order the decisions, since a clock may be set back.
fn last_until(at: Timestamp, replayed: Vec<Replayed<'_>>) -> Option<Replayed<'_>> {
    replayed.into_iter().rev().find(|replayed| replayed.recorded.at <= at)
}

fn held(at: Timestamp, replayed: &[Replayed<'_>]) -> Option<Held> {
    let recorded = replayed.last()?.recorded;
    Some(Held {
        at,
        phase: recorded.to.clone(),
        state: recorded.state,
        attempt: recorded.attempt,
        seconds: i64::try_from(times::since(recorded.at, at).as_secs()).unwrap_or(i64::MAX),
    })
}

fn output_of<'a>(subject: &'a Subject, replayed: &'a [Replayed<'a>], at: Option<Timestamp>) -> ReplayOutput<'a> {
    ReplayOutput {
        namespace: &subject.key.namespace,
        name: &subject.key.name,
        uid: subject.uid.as_deref(),
        held: at.and_then(|at| held(at, replayed)),
        decisions: replayed.iter().map(DecisionOutput::of).collect(),
    }
}

fn lines_of(subject: &Subject, replayed: &[Replayed<'_>], arguments: &Replay, now: Timestamp) -> Vec<Line> {
    let mut lines = Vec::new();
    if arguments.log.is_some() {
        lines.push(lines::title(subject));
    }
    if let Some(held) = arguments.at.and_then(|at| held(at, replayed)) {
        lines.push(lines::held(&held));
    }
    lines.extend(lines::table(replayed, now));
    lines
}

/// Succeeds if no decision differs.
///
/// # Errors
/// How many differ, and the first of them.
fn judge(replayed: &[(&Subject, Vec<Replayed<'_>>)]) -> Result<(), Failure> {
    let all = replayed.iter().flat_map(|(subject, of)| of.iter().map(move |replayed| (subject, replayed)));
    let differing: Vec<_> = all.clone().filter(|(_, replayed)| replayed.verdict.differs()).collect();
    let Some((subject, first)) = differing.first() else { return Ok(()) };
    let (number, key) = (first.recorded.number, &subject.key);
    Err(Failure::new(
        DIFFERENT,
        format!(
            "{} of {} recorded decisions differ in this version: ApiGateway {key}, first #{number}",
            differing.len(),
            all.count()
        ),
        "Check whether the record was edited, and which version of the operator wrote it.",
    ))
}
