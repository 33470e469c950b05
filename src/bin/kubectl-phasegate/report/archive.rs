//! A zip file that is written entry by entry and never overwrites an existing file.
//!
//! **Architecture invariant**: every entry's content is [`Redacted`], and an unfinished archive is removed.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::redact::Redacted;
use crate::failure::{FAILED, Failure};

/// An unfinished zip file. It is removed if it is dropped before [`Archive::finish`].
pub struct Archive {
    path: PathBuf,
    writer: Option<ZipWriter<File>>,
}

impl Archive {
    /// Creates the file, readable by its owner only.
    ///
    /// # Errors
    /// The file exists already, or it cannot be created.
    pub fn create(path: &Path) -> Result<Self, Failure> {
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Ok(file) => Ok(Self { path: path.to_owned(), writer: Some(ZipWriter::new(file)) }),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(Failure::new(
                FAILED,
                format!("{} already exists and is not overwritten", path.display()),
                "Choose another file with -o, or remove it.",
            )),
            Err(error) => Err(unwritable(path, &error)),
        }
    }

    /// Begins a file in the archive. All text added from now on belongs to it.
    ///
    /// # Errors
    /// The archive cannot be written.
    pub fn begin(&mut self, name: &str) -> Result<(), Failure> {
        let options = SimpleFileOptions::default().large_file(true);
        self.write(|writer| Ok(writer.start_file(name, options)?))
    }

    /// Adds text to the file that was begun last.
    ///
    /// # Errors
    /// The archive cannot be written.
    pub fn add(&mut self, text: &Redacted) -> Result<(), Failure> {
        self.write(|writer| writer.write_all(text.as_bytes()))
    }

    /// Finishes the archive.
    ///
    /// # Errors
    /// The archive cannot be written.
    pub fn finish(mut self) -> Result<(), Failure> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        let finished = writer.finish().map_err(io::Error::from).and_then(|file| file.sync_all());
        finished.map_err(|error| self.failed(&error))
    }

    fn write(&mut self, act: impl FnOnce(&mut ZipWriter<File>) -> io::Result<()>) -> Result<(), Failure> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        act(writer).map_err(|error| unwritable(&self.path, &error))
    }

    fn failed(&self, error: &io::Error) -> Failure {
        let _ = std::fs::remove_file(&self.path);
        unwritable(&self.path, error)
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        if self.writer.take().is_some() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(FAILED, format!("failed to write {}: {error}", path.display()), "Choose another file with -o.")
}
