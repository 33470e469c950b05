//! The command line as a whole. The arguments of each command are in the file of the command.

use clap::{Parser, Subcommand};

use crate::cluster::ClusterArguments;
use crate::{change, completion, get, history, render, replay, report, status, validate, wait};

/// Start, stop, watch and explain tenant API gateways.
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
    /// The cluster and namespace.
    #[command(flatten)]
    pub cluster: ClusterArguments,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the plugin does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Explain a gateway: what is wrong, its phases, time left, children and Events
    #[command(after_help = status::EXAMPLES)]
    Status(status::Status),
    /// List or watch gateways
    #[command(after_help = get::EXAMPLES)]
    Get(get::Get),
    /// Wait until a gateway is available, stopped or gone
    #[command(after_help = wait::EXAMPLES)]
    Wait(wait::Wait),
    /// Show the transitions of a gateway and how long each phase lasted
    #[command(after_help = history::EXAMPLES)]
    History(history::History),
    /// Make the recorded decisions about a gateway again, and compare
    #[command(after_help = replay::EXAMPLES)]
    Replay(replay::Replay),
    /// Start gateways (spec.state: Running)
    #[command(after_help = change::START)]
    Start(change::BatchArguments),
    /// Stop gateways (spec.state: Stopped)
    #[command(after_help = change::STOP)]
    Stop(change::BatchArguments),
    /// Restart gateways without downtime
    #[command(after_help = change::RESTART)]
    Restart(change::BatchArguments),
    /// Retry gateways that timed out
    #[command(after_help = change::RETRY)]
    Retry(change::BatchArguments),
    /// Suspend reconciliation of gateways
    #[command(after_help = change::SUSPEND)]
    Suspend(change::Change),
    /// Resume reconciliation of gateways
    #[command(after_help = change::RESUME)]
    Resume(change::Change),
    /// Print the children that the operator would create for gateways in files
    #[command(after_help = render::EXAMPLES)]
    Render(render::Render),
    /// Validate gateways and environments in files, without a cluster
    #[command(after_help = validate::EXAMPLES)]
    Validate(validate::Validate),
    /// Write a support bundle (zip), without secrets
    #[command(after_help = report::EXAMPLES)]
    Report(report::Report),
    /// Print a shell completion script
    #[command(after_help = completion::EXAMPLES)]
    Completion(completion::Completion),
}
