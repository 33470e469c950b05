//! Commands that run to their end.

use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Runs a command to its end, and fails with what it said.
pub fn run(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

/// The same, and returns what it wrote to stdout.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed: {said}");
    Ok(String::from_utf8(output.stdout)?)
}
