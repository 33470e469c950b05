//! The command line as a whole. The arguments of a command are in the command's file.

use clap::{Parser, Subcommand};

use crate::cluster::ClusterArguments;
use crate::history;

/// Starts, stops, follows and explains tenant API gateways.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl-phasegate",
    bin_name = "kubectl phasegate",
    version,
    max_term_width = 100,
    disable_help_subcommand = true,
    after_help = "Why is a gateway not up?  kubectl phasegate status NAME"
)]
pub struct Arguments {
    /// Which cluster, and which namespace of it.
    #[command(flatten)]
    pub cluster: ClusterArguments,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the plugin does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the transitions of a gateway and how long each phase lasted
    #[command(after_help = history::EXAMPLES)]
    History(history::History),
}
