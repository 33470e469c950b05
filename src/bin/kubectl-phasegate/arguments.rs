//! The command line as a whole. The arguments of a command are in the command's file.

use clap::{Parser, Subcommand};

use crate::cluster::ClusterArguments;
use crate::{change, completion, get, history, render, report, status, validate, wait};

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
    /// Explain a gateway: what is wrong, its phases, time left, children and Events
    #[command(after_help = status::EXAMPLES)]
    Status(status::Status),
    /// List gateways, once or live
    #[command(after_help = get::EXAMPLES)]
    Get(get::Get),
    /// Wait until a gateway is available, stopped or gone
    #[command(after_help = wait::EXAMPLES)]
    Wait(wait::Wait),
    /// Show the transitions of a gateway and how long each phase lasted
    #[command(after_help = history::EXAMPLES)]
    History(history::History),
    /// Ask gateways to serve
    #[command(after_help = change::START)]
    Start(change::Wave),
    /// Ask gateways to stop
    #[command(after_help = change::STOP)]
    Stop(change::Wave),
    /// Restart gateways without downtime
    #[command(after_help = change::RESTART)]
    Restart(change::Wave),
    /// Try gateways once more that timed out
    #[command(after_help = change::RETRY)]
    Retry(change::Wave),
    /// Hold the operator's hand: nothing is written for these gateways
    #[command(after_help = change::SUSPEND)]
    Suspend(change::Change),
    /// End a suspension
    #[command(after_help = change::RESUME)]
    Resume(change::Change),
    /// Print the children that the operator would create for the gateways of files
    #[command(after_help = render::EXAMPLES)]
    Render(render::Render),
    /// Check gateways and environments of files without a cluster
    #[command(after_help = validate::EXAMPLES)]
    Validate(validate::Validate),
    /// Write what support needs to know to a zip file, secrets left out
    #[command(after_help = report::EXAMPLES)]
    Report(report::Report),
    /// Print a script that lets a shell complete what is typed
    #[command(after_help = completion::EXAMPLES)]
    Completion(completion::Completion),
}
