//! What scripts of the project make once and keep in the cache.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::Result;

use crate::command::output;
use crate::places::root;

/// What a script has made. It is asked once in a process.
pub(crate) struct Made {
    script: &'static str,
    asking: Mutex<()>,
    path: OnceLock<PathBuf>,
}

impl Made {
    /// What this script of the project makes, and prints the path of.
    pub(crate) const fn by(script: &'static str) -> Self {
        Self { script, asking: Mutex::new(()), path: OnceLock::new() }
    }

    /// Where it is. The first to ask waits until it is there.
    pub(crate) fn path(&self) -> Result<&Path> {
        let _asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = self.path.get() {
            return Ok(path);
        }
        // It shows how far it is.
        let said = output(Command::new(root().join(self.script)).stderr(Stdio::inherit()))?;
        Ok(self.path.get_or_init(|| PathBuf::from(said.trim())))
    }
}

/// The program that checks alerts and metrics.
pub fn promtool() -> Result<&'static Path> {
    static PROMTOOL: Made = Made::by("tests/promtool/build");
    PROMTOOL.path()
}
