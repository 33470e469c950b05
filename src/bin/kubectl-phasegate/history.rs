//! `history`: every transition that the gateway remembers.

use k8s_openapi::jiff::Timestamp;
use phasegate::api::{ApiGateway, Phase, State, Transition};
use phasegate::decide::Place;
use serde::Serialize;

use crate::cluster::{Cluster, ClusterArguments};
use crate::failure::Failure;
use crate::output::{self, Data, Line, Tone, piece, plain};
use crate::selection;
use crate::times;

/// Examples for the help.
pub const EXAMPLES: &str = "Examples:
  kubectl phasegate history shop           # the last 20 transitions, oldest first
  kubectl phasegate history shop -o yaml";

/// The arguments of `history`.
#[derive(Debug, clap::Args)]
pub struct History {
    /// The gateway
    #[arg(value_parser = selection::name)]
    name: String,

    /// Print it for a program
    #[arg(short, long)]
    output: Option<Data>,
}

/// What `-o json` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    namespace: String,
    name: String,
    /// Oldest first; the API keeps the last 20.
    transitions: Vec<Step>,
}

/// A phase that the gateway was or is in.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Its place among all transitions that there ever were, from 1.
    pub number: i64,
    /// When it began.
    pub at: Timestamp,
    /// The phase.
    pub phase: Phase,
    /// What the operator held the gateway to.
    pub state: State,
    /// Why, in one word.
    pub reason: String,
    /// Why, in a sentence.
    pub message: String,
    /// How long it lasted; for the last one, until now.
    pub seconds: i64,
    /// Whether the gateway is still in it.
    pub current: bool,
}

/// The phases that a gateway remembers, oldest first.
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
    /// Where the gateway was; `None` in a phase of another version.
    pub fn place(&self) -> Option<Place> {
        Place::of(Some(&self.phase), Some(self.state))
    }

    /// How that was.
    pub fn tone(&self) -> Tone {
        match self.place() {
            Some(Place::Started) if self.state == State::Running => Tone::Good,
            Some(Place::Started | Place::TimedOut) => Tone::Bad,
            Some(Place::Stopped) => Tone::Plain,
            _ => Tone::Busy,
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
                piece(step.phase.as_str(), step.tone()),
                plain(step.state.to_string()),
                plain(if step.current { format!("{lasted} so far") } else { lasted }),
                plain(&step.reason),
                piece(&step.message, Tone::Faint),
            ]
        })
        .collect();
    output::table(&["#", "AGO", "PHASE", "STATE", "LASTED", "REASON", "MESSAGE"], &rows)
}

/// Reads and prints.
///
/// # Errors
/// When the gateway cannot be read.
pub async fn run(arguments: &History, cluster: &ClusterArguments) -> Result<(), Failure> {
    let cluster = Cluster::find(cluster).await?;
    let gateway = cluster.gateway(&arguments.name).await?;
    let now = Timestamp::now();
    let transitions = steps(&gateway, now);
    match arguments.output {
        Some(data) => {
            let (namespace, name) = (cluster.namespace, arguments.name.clone());
            output::print(&data.text(&Told { namespace, name, transitions })?)
        }
        None => output::print(&output::text(&lines(&transitions, now), output::colours())),
    }
}
