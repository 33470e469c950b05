//! `status`: one gateway, with everything that explains it.
//!
//! It may import the modules for output, the cluster and a gateway's status, and `history`.
//!
//! **Architecture invariant**: only `facts` sends requests. The output (`report`, then `lines`) is a function
//! of the facts and the current time.

pub mod attempt;
pub mod children;
pub mod events;
mod facts;
mod lines;
mod pods;
pub mod report;
#[cfg(test)]
mod tests;

use k8s_openapi::jiff::Timestamp;
use phasegate::api::ApiGateway;

use crate::cluster::{Cluster, ClusterArguments};
use crate::failure::Failure;
use crate::output::{self, Data};
use crate::selection;

use report::Report;

/// Examples for the help.
pub const EXAMPLES: &str = "Examples:
  kubectl phasegate status shop
  kubectl phasegate status shop -o json | jq .cause    # null: no known problem

Objects that you may not read are listed as such; the rest is shown.";

/// The arguments of `status`.
#[derive(Debug, clap::Args)]
pub struct Status {
    /// Name of the gateway
    #[arg(value_parser = selection::name)]
    name: String,

    /// Output format
    #[arg(short, long)]
    output: Option<Data>,
}

/// Everything that explains a gateway of the cluster's namespace.
pub async fn explain(cluster: &Cluster, gateway: ApiGateway, now: Timestamp) -> Report {
    report::of(&facts::read(cluster, gateway).await, now)
}

/// The report of a gateway of which nothing else is known.
#[cfg(test)]
pub fn bare(gateway: ApiGateway, now: Timestamp) -> Report {
    report::of(&facts::Facts::bare(gateway), now)
}

/// Reads and prints.
///
/// # Errors
/// The gateway cannot be read.
pub async fn run(arguments: &Status, cluster: &ClusterArguments) -> Result<(), Failure> {
    let cluster = Cluster::find(cluster).await?;
    let gateway = cluster.gateway(&arguments.name).await?;
    let facts = facts::read(&cluster, gateway).await;
    let now = Timestamp::now();
    let report = report::of(&facts, now);
    match arguments.output {
        Some(data) => output::print(&data.text(&report)?),
        None => output::print(&output::for_stdout(&lines::of(&report, now))),
    }
}
