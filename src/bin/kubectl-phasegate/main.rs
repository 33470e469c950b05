//! `kubectl phasegate`: what a user of gateways asks and tells every day.
//!
//! Each command has a file or folder of its own. What decides and words are functions of plain data and a
//! moment; what reads, writes and prints comes after them.
//!
//! May import the core, and of the operator's crate the way to the API server (`phasegate::cluster`). A module
//! imports only its own group below and those before it, and no two import each other. Invariant: the API server sees
//! a user like any other, and nothing is diagnosed here that a status or a child does not say.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]
// What is printed is printed in `terminal`.
#![deny(clippy::print_stdout, clippy::print_stderr)]

// What is said, and how.
mod failure;
mod output;
mod progress;
mod screen;
mod terminal;
mod times;

// What the API server is asked.
mod cluster;
mod live;
mod selection;

// What a gateway says of itself.
mod cause;
mod fleet;
#[cfg(test)]
mod samples;

// What files say.
mod offline;

// The commands.
mod change;
mod completion;
mod get;
mod history;
mod render;
mod report;
mod status;
mod validate;
mod wait;

// All of them, as one command line.
mod arguments;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use arguments::{Arguments, Command};
use change::Verb;
use failure::Failure;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
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
        Command::Start(arguments) => change::wave(Verb::Start, &arguments, &cluster).await,
        Command::Stop(arguments) => change::wave(Verb::Stop, &arguments, &cluster).await,
        Command::Restart(arguments) => change::wave(Verb::Restart, &arguments, &cluster).await,
        Command::Retry(arguments) => change::wave(Verb::Retry, &arguments, &cluster).await,
        Command::Suspend(arguments) => change::at_once(Verb::Suspend, &arguments, &cluster).await,
        Command::Resume(arguments) => change::at_once(Verb::Resume, &arguments, &cluster).await,
        Command::Render(arguments) => render::run(&arguments, &cluster),
        Command::Validate(arguments) => validate::run(&arguments),
        Command::Report(arguments) => report::run(&arguments, &cluster).await,
        Command::Completion(arguments) => completion::run(&arguments, Arguments::command()),
    }
}
