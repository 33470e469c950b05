//! The paths of the project, its programs and its caches.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The project's folder.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The operator's program. Cargo builds it before any test, example or benchmark of its package, one folder
/// above them.
pub fn operator_program() -> Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("../phasegate");
    program.canonicalize().with_context(|| format!("{} is not built", program.display()))
}

/// A folder for test files, below Cargo's target folder.
pub fn scratch(name: &str) -> Result<PathBuf> {
    let folder = std::env::current_exe()?.with_file_name("../scratch").join(name);
    std::fs::create_dir_all(&folder)?;
    Ok(folder.canonicalize()?)
}

/// A file in such a folder, readable by its owner only.
pub fn file(folder: &str, name: &str, content: &str) -> Result<PathBuf> {
    let path = scratch(folder)?.join(name);
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&path)?;
    file.write_all(content.as_bytes())?;
    Ok(path)
}

/// The folder of programs that are built once for all runs.
pub fn cache() -> Result<PathBuf> {
    let folder = match std::env::var_os("PHASEGATE_CACHE") {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?).join(".cache/phasegate"),
    };
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}
