//! `kubectl phasegate`: the everyday commands for users of gateways.
//!
//! Each command has a file or folder of its own. Functions of plain data and a moment decide and word the
//! output; the code that reads, writes and prints comes after them.
//!
//! The plugin may import the core, and of the operator's crate the connection to the API server
//! (`phasegate::cluster`). A module imports only its own group below and the groups before it, and no two
//! modules import each other.
//!
//! **Architecture invariant**: the plugin has no access beyond the user's own, and diagnoses nothing that no
//! status or child says.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]
// All output goes through `terminal`.
#![deny(clippy::print_stdout, clippy::print_stderr)]

// Output and its wording.
mod failure;
mod live_display;
mod output;
mod progress;
mod terminal;
mod times;

// Requests to the API server.
mod cluster;
mod live;
mod selection;

// The status of a gateway.
mod cause;
mod fleet;
#[cfg(test)]
mod samples;

// The contents of files.
mod offline;

// The commands.
mod change;
mod completion;
mod get;
mod history;
mod render;
mod replay;
mod report;
mod status;
mod validate;
mod wait;

// The command line with all of them.
mod arguments;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use arguments::{Arguments, Command};
use change::Verb;
use failure::Failure;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    terminal::report_panics();
    let outcome = match Arguments::try_parse() {
        Ok(arguments) => carry_out(arguments).await,
        Err(error) => Err(failure::of_usage(&error)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(),
    }
}

async fn carry_out(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { cluster, command } = arguments;
    match command {
        Command::Status(arguments) => status::run(&arguments, &cluster).await,
        Command::Get(arguments) => get::run(&arguments, &cluster).await,
        Command::Wait(arguments) => wait::run(&arguments, &cluster).await,
        Command::History(arguments) => history::run(&arguments, &cluster).await,
        Command::Replay(arguments) => replay::run(&arguments, &cluster).await,
        Command::Start(arguments) => change::batch(Verb::Start, &arguments, &cluster).await,
        Command::Stop(arguments) => change::batch(Verb::Stop, &arguments, &cluster).await,
        Command::Restart(arguments) => change::batch(Verb::Restart, &arguments, &cluster).await,
        Command::Retry(arguments) => change::batch(Verb::Retry, &arguments, &cluster).await,
        Command::Suspend(arguments) => change::at_once(Verb::Suspend, &arguments, &cluster).await,
        Command::Resume(arguments) => change::at_once(Verb::Resume, &arguments, &cluster).await,
        Command::Render(arguments) => render::run(&arguments, &cluster),
        Command::Validate(arguments) => validate::run(&arguments),
        Command::Report(arguments) => report::run(&arguments, &cluster).await,
        Command::Completion(arguments) => completion::run(&arguments, Arguments::command()),
    }
}
