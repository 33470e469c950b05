//! `kubectl phasegate`: what a user of gateways asks and tells every day.
//!
//! Each command has a file of its own, whose upper half decides and words, as functions of plain data and a
//! moment, and whose lower half reads, writes and prints.

mod arguments;
mod cluster;
mod failure;
mod history;
mod output;
mod times;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command};
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
        Command::History(arguments) => history::run(&arguments, &cluster).await,
    }
}
