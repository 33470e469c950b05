//! `kubectl phasegate`: what a user of gateways asks and tells every day.
//!
//! Each command has a file or folder of its own. What decides and words are functions of plain data and a
//! moment; what reads, writes and prints comes after them.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod arguments;
mod failure;
mod output;
mod times;

mod cluster;
mod live;
mod progress;
mod screen;
mod selection;

mod cause;
mod change;
mod fleet;
mod get;
mod history;
mod status;
mod wait;

mod offline;
mod render;
mod validate;

mod report;

mod completion;

#[cfg(test)]
mod samples;

use std::process::ExitCode;

use clap::Parser;

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
        Command::Completion(arguments) => completion::run(&arguments),
    }
}
