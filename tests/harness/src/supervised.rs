//! Processes that end with this one, however it ends: a supervisor, tests/cluster's program, holds the other end
//! of a pipe.

use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};

use crate::places::{cache, root};

/// A process that ends with us.
pub struct Supervised {
    child: Child,
    // Closing it is what ends the process.
    stdin: Option<ChildStdin>,
}

impl Supervised {
    /// Starts a supervisor: what [`supervised`] returns, or one of our own.
    pub fn start(command: &mut Command) -> Result<Self> {
        let mut child = command.stdin(Stdio::piped()).spawn().with_context(|| format!("{command:?}"))?;
        let stdin = child.stdin.take();
        Ok(Self { child, stdin })
    }

    /// What the process writes to stdout, once, if the command said that it is piped.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Ends the process at once, as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// The process id of the supervisor, whose child the process is.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the process has ended, which it is not asked to.
    pub fn ended(&mut self) -> Result<ExitStatus> {
        Ok(self.child.wait()?)
    }

    /// Asks the process to end, and waits until it has.
    pub fn end(&mut self) -> Result<()> {
        self.stdin = None;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// The command that runs a program which needs no cluster and ends with us; its arguments are to
/// be added.
pub fn supervised(program: &Path) -> Result<Command> {
    Ok(execute(&supervisor()?, program))
}

/// The command that runs a program under this supervisor.
pub(crate) fn execute(supervisor: &Path, program: &Path) -> Command {
    let mut command = Command::new(supervisor);
    command.args(["exec", "--"]).arg(program);
    command
}

/// The module of the supervisor, where its own commands are run.
pub(crate) fn module() -> PathBuf {
    root().join("tests/cluster")
}

/// The supervisor, built once, which Go does in a second when its own cache is warm.
pub(crate) fn supervisor() -> Result<PathBuf> {
    static PROGRAM: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut program = PROGRAM.lock().unwrap_or_else(PoisonError::into_inner);
    match &*program {
        Some(program) => Ok(program.clone()),
        None => Ok(program.insert(build_supervisor()?).clone()),
    }
}

fn build_supervisor() -> Result<PathBuf> {
    let folder = cache()?;
    let program = folder.join("cluster");
    // Built aside and renamed: another run may be using the one that is there.
    let fresh = folder.join(format!("cluster-{}", std::process::id()));
    let mut build = Command::new("go");
    build.args(["build", "-o"]).arg(&fresh).arg(".").current_dir(module()).env("CGO_ENABLED", "0");
    match build.status() {
        Ok(status) => ensure!(status.success(), "{build:?} failed"),
        Err(_) => bail!("the tests need Go 1.26 or newer on the PATH: https://go.dev/dl"),
    }
    std::fs::rename(&fresh, &program)?;
    Ok(program)
}
