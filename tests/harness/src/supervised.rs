//! Child processes that end with this process, however it ends: their supervisor, the program of tests/cluster,
//! watches a pipe that this process holds open.

use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};

use crate::paths::{cache, root};

/// A process that ends with this one.
pub struct Supervised {
    child: Child,
    // The pipe. Closing it ends the process.
    stdin: Option<ChildStdin>,
}

impl Supervised {
    /// Starts a supervisor: the command that [`supervised`] returns, or one of the harness.
    pub fn start(command: &mut Command) -> Result<Self> {
        let mut child = command.stdin(Stdio::piped()).spawn().with_context(|| format!("{command:?}"))?;
        let stdin = child.stdin.take();
        Ok(Self { child, stdin })
    }

    /// The process's stdout, once, if the command pipes it.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Kills the process, as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// The process ID of the supervisor, the process's parent.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the process exits without being stopped.
    pub fn ended(&mut self) -> Result<ExitStatus> {
        Ok(self.child.wait()?)
    }

    /// Stops the process, and waits until it has exited.
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

/// The command that runs a supervised program without a cluster. The caller adds its arguments.
pub fn supervised(program: &Path) -> Result<Command> {
    Ok(execute(&supervisor()?, program))
}

/// The command that runs a program under this supervisor.
pub(crate) fn execute(supervisor: &Path, program: &Path) -> Command {
    let mut command = Command::new(supervisor);
    command.args(["exec", "--"]).arg(program);
    command
}

/// The Go module of the supervisor, in which its own commands run.
pub(crate) fn module() -> PathBuf {
    root().join("tests/cluster")
}

/// The supervisor. It is built once, in about a second if Go's cache is warm.
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
    // The build is written to a temporary file and renamed, because another run may be using the existing one.
    let fresh = folder.join(format!("cluster-{}", std::process::id()));
    let mut build = Command::new("go");
    build.args(["build", "-o"]).arg(&fresh).arg(".").current_dir(module()).env("CGO_ENABLED", "0");
    match build.status() {
        Ok(status) => ensure!(status.success(), "{build:?} failed"),
        Err(cause) => bail!("{build:?}: {cause}; the tests need Go 1.26 or newer on the PATH: https://go.dev/dl"),
    }
    std::fs::rename(&fresh, &program)?;
    Ok(program)
}
