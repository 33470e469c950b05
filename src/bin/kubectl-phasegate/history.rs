//! `history`: the transitions in the status of a gateway.
//!
//! **Architecture invariant**: the durations follow from the recorded transitions and the current time alone.

use k8s_openapi::jiff::Timestamp;
use phasegate::api::{ApiGateway, Phase, State, Transition};
use phasegate::decide::Place;
use serde::Serialize;

use crate::cluster::{Cluster, ClusterArguments};
use crate::failure::Failure;
use crate::output::{self, Data, Line, Style, piece, plain};
use crate::selection;
use crate::times;

/// Examples for the help.
pub const EXAMPLES: &str = "Examples:
  kubectl phasegate history shop           # the last 20 transitions, oldest first
  kubectl phasegate history shop -o yaml";

/// The arguments of `history`.
#[derive(Debug, clap::Args)]
pub struct History {
    /// Name of the gateway
    #[arg(value_parser = selection::name)]
    name: String,

    /// Output format
    #[arg(short, long)]
    output: Option<Data>,
}

/// The output of `-o json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryOutput {
    namespace: String,
    name: String,
    /// Oldest first. The status keeps the last 20.
    transitions: Vec<Step>,
}

/// A phase that the gateway was or is in.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Its number among all transitions of the gateway, from 1.
    pub number: i64,
    /// When it began.
    pub at: Timestamp,
    /// The phase.
    pub phase: Phase,
    /// The operator's state for the gateway (`status.state`).
    pub state: State,
    /// The reason, in one word.
    pub reason: String,
    /// The reason, as a sentence.
    pub message: String,
    /// How long it lasted, in seconds. The last one lasts until now.
    pub seconds: i64,
    /// Whether the gateway is still in this phase.
    pub current: bool,
}

/// The recorded phases of a gateway, oldest first.
pub fn steps(gateway: &ApiGateway, now: Timestamp) -> Vec<Step> {
    let Some(status) = &gateway.status else { return Vec::new() };
    let count = i64::try_from(status.history.len()).unwrap_or_default();
    let next = status.history.iter().skip(1).map(Some).chain([None]);
    let numbers = status.transitions - count + 1..;
    let told = |((step, next), number): ((&Transition, Option<&Transition>), i64)| Step {
        number,
        at: step.at.0,
        phase: step.to.clone(),
        state: step.state,
        reason: step.reason.to_string(),
        message: step.message.clone(),
        seconds: next.map_or_else(|| whole_seconds(step.at.0, now), |next| next.seconds),
        current: next.is_none(),
    };
    status.history.iter().zip(next).zip(numbers).map(told).collect()
}

fn whole_seconds(at: Timestamp, now: Timestamp) -> i64 {
    i64::try_from(times::since(at, now).as_secs()).unwrap_or(i64::MAX)
}

impl Step {
    /// The place in the state diagram. `None` for a phase of another version.
    pub fn place(&self) -> Option<Place> {
        Place::of(Some(&self.phase), Some(self.state))
    }

    /// The style of the phase.
    pub fn style(&self) -> Style {
        match self.place() {
            Some(Place::Started) if self.state == State::Running => Style::Good,
            Some(Place::Started | Place::TimedOut) => Style::Bad,
            Some(Place::Stopped) => Style::Plain,
            _ => Style::Busy,
        }
    }
}

/// The table.
pub fn lines(steps: &[Step], now: Timestamp) -> Vec<Line> {
    let rows: Vec<_> = steps
        .iter()
        .map(|step| {
            let lasted = times::seconds(step.seconds);
            vec![
                plain(step.number.to_string()),
                plain(times::age(times::since(step.at, now))),
                piece(step.phase.as_str(), step.style()),
                plain(step.state.to_string()),
                plain(if step.current { format!("{lasted} so far") } else { lasted }),
                plain(&step.reason),
                piece(&step.message, Style::Faint),
            ]
        })
        .collect();
    output::table(&["#", "AGO", "PHASE", "STATE", "LASTED", "REASON", "MESSAGE"], &rows)
}

/// Reads and prints.
///
/// # Errors
/// The gateway cannot be read.
pub async fn run(arguments: &History, cluster: &ClusterArguments) -> Result<(), Failure> {
    let cluster = Cluster::find(cluster).await?;
    let gateway = cluster.gateway(&arguments.name).await?;
    let now = Timestamp::now();
    let transitions = steps(&gateway, now);
    match arguments.output {
        Some(data) => {
            let (namespace, name) = (cluster.namespace, arguments.name.clone());
            output::print(&data.text(&HistoryOutput { namespace, name, transitions })?)
        }
        None => output::print(&output::for_stdout(&lines(&transitions, now))),
    }
}
