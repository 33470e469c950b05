//! The operator's program: parses arguments into a validated configuration, then runs.
//!
//! **Architecture invariant:** this file contains no logic of the operator; it maps errors to exit codes.

use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use phasegate::api;
use phasegate::cluster::client;
use phasegate::service::args::{Arguments, Command, Run};
use phasegate::service::{run, telemetry};
use phasegate::shown;

/// Exit code: the operator failed while running.
const FAILED: u8 = 1;
/// Exit code: an argument or environment variable is unknown or missing.
const USAGE: u8 = 2;
/// Exit code: an argument or environment variable has an invalid value.
const BAD_VALUE: u8 = 3;
/// Exit code: no way to reach the API server is configured.
const NO_CLUSTER: u8 = 4;

/// The longest error message, in characters, since it may quote others.
const LONGEST: usize = 2_000;

// A single thread: see ARCHITECTURE.md, "One thread".
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let outcome = match Arguments::try_parse() {
        Ok(arguments) => carry_out(arguments.command).await,
        Err(error) => refuse(&error),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, sentence)) => {
            eprintln!("phasegate: {}", shown::line(&sentence, LONGEST));
            ExitCode::from(code)
        }
    }
}

type Failure = (u8, String);

async fn carry_out(command: Command) -> Result<(), Failure> {
    match command {
        Command::Crds => {
            for (_, yaml) in api::crds_yaml().map_err(|error| (FAILED, one_line(&error)))? {
                writeln!(std::io::stdout(), "---\n{yaml}").map_err(|error| (FAILED, error.to_string()))?;
            }
            Ok(())
        }
        Command::Run(arguments) => operate(&arguments).await,
    }
}

async fn operate(arguments: &Run) -> Result<(), Failure> {
    telemetry::start(arguments.log_format, &arguments.log).map_err(|sentence| (BAD_VALUE, sentence))?;
    arguments.check().map_err(|sentence| (BAD_VALUE, sentence))?;
    let config = client::client_config(arguments.kubeconfig.as_deref(), arguments.context.clone(), &arguments.identity)
        .await
        .map_err(|error| (NO_CLUSTER, format!("cannot connect to the API server: {}", one_line(&error))))?;
    run::run(arguments, config).await.map_err(|error| (FAILED, one_line(&error)))
}

/// An error with its causes on one line, each once.
fn one_line(error: &anyhow::Error) -> String {
    let mut sentence = String::new();
    for cause in error.chain().map(|cause| joined(&cause.to_string())) {
        if sentence.is_empty() {
            sentence = cause;
        } else if !sentence.contains(&cause) {
            sentence = format!("{sentence}: {cause}");
        }
    }
    sentence
}

fn joined(lines: &str) -> String {
    lines.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

/// Prints clap's output for `--help` and `--version` whole, and its errors as one sentence.
fn refuse(error: &clap::Error) -> Result<(), Failure> {
    let code = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            return error.print().map_err(|error| (FAILED, error.to_string()));
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::InvalidSubcommand => {
            let commands = Arguments::command();
            let commands: Vec<_> = commands.get_subcommands().map(clap::Command::get_name).collect();
            return Err((
                USAGE,
                format!("the first argument must be a command: {} (see --help)", commands.join(" or ")),
            ));
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation | ErrorKind::InvalidUtf8 => BAD_VALUE,
        _ => USAGE,
    };
    let rendered = error.to_string();
    // Usage and tips follow after an empty line.
    let complaint = rendered.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
    Err((code, format!("{} (see --help)", joined(complaint))))
}
