//! `status`: one gateway, with all that explains it.
//!
//! May import the modules of what is said, of the cluster and of a gateway's own words, and `history`. Invariant: only
//! `facts` reads; what is made of it (`report`, then `lines`) is a function of the facts and a moment.

mod attempt;
mod children;
mod events;
mod facts;
mod lines;
mod pods;
mod report;
#[cfg(test)]
mod tests;

use k8s_openapi::jiff::Timestamp;

use crate::cluster::{Cluster, ClusterArguments};
use crate::failure::Failure;
use crate::output::{self, Data};
use crate::selection;

/// Examples for the help.
pub const EXAMPLES: &str = "Examples:
  kubectl phasegate status shop
  kubectl phasegate status shop -o json | jq .cause    # null: nothing is known to be wrong

What you may not read is said in its place, and the rest is shown.";

/// The arguments of `status`.
#[derive(Debug, clap::Args)]
pub struct Status {
    /// The gateway
    #[arg(value_parser = selection::name)]
    name: String,

    /// Print it for a program
    #[arg(short, long)]
    output: Option<Data>,
}

/// Reads and prints.
///
/// # Errors
/// When the gateway cannot be read.
pub async fn run(arguments: &Status, cluster: &ClusterArguments) -> Result<(), Failure> {
    let cluster = Cluster::find(cluster).await?;
    let gateway = cluster.gateway(&arguments.name).await?;
    let facts = facts::read(&cluster, gateway).await;
    let now = Timestamp::now();
    let report = report::of(&facts, now);
    match arguments.output {
        Some(data) => output::print(&data.text(&report)?),
        None => output::print(&output::text(&lines::of(&report, now), output::colours())),
    }
}
