//! Tools that scripts of the project build once and keep in the cache.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::Result;

use crate::command::output;
use crate::paths::root;

/// A tool built by a script. The script runs at most once in a process.
pub(crate) struct BuiltTool {
    script: &'static str,
    asking: Mutex<()>,
    path: OnceLock<PathBuf>,
}

impl BuiltTool {
    /// The tool that this script builds. The script prints its path.
    pub(crate) const fn by(script: &'static str) -> Self {
        Self { script, asking: Mutex::new(()), path: OnceLock::new() }
    }

    /// Its path. The first caller waits until it is built.
    pub(crate) fn path(&self) -> Result<&Path> {
        let _asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = self.path.get() {
            return Ok(path);
        }
        // The script reports its progress on stderr.
        let said = output(Command::new(root().join(self.script)).stderr(Stdio::inherit()))?;
        Ok(self.path.get_or_init(|| PathBuf::from(said.trim())))
    }
}

/// The program that checks alerts and metrics.
pub fn promtool() -> Result<&'static Path> {
    static PROMTOOL: BuiltTool = BuiltTool::by("tests/promtool/build");
    PROMTOOL.path()
}

/// Helm, which the tests render and install the chart with.
pub fn helm() -> Result<&'static Path> {
    static HELM: BuiltTool = BuiltTool::by("tests/helm/build");
    HELM.path()
}

/// The program that checks the workflows.
pub fn actionlint() -> Result<&'static Path> {
    static ACTIONLINT: BuiltTool = BuiltTool::by("tests/actionlint/build");
    ACTIONLINT.path()
}

/// Temporal's command line, which has the server in it.
pub fn temporal() -> Result<&'static Path> {
    static TEMPORAL: BuiltTool = BuiltTool::by("tests/temporal/build");
    TEMPORAL.path()
}
