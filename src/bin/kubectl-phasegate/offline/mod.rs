//! What can be told of files without a cluster. Nothing here asks anybody.
//!
//! May import the core's definitions and the modules of what is said. Invariant: what is wrong with an object depends on the object and the
//! definitions alone, and is said in the words of the API server.

mod advice;
mod check;
mod fault;
mod manifests;
mod schema;

use std::path::PathBuf;

use serde_json::Value;

pub use advice::Advice;
pub use check::{Definitions, Verdict};
pub use fault::Fault;
pub use manifests::{Manifest, Place};

use crate::failure::{FAILED, Failure};
use crate::terminal::{self, Shown};

/// Which files to read.
#[derive(Clone, Debug, clap::Args)]
pub struct Files {
    /// A file with objects, a folder of such files, or - for stdin. May be repeated
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true)]
    filename: Vec<PathBuf>,

    /// Read folders in folders, too
    #[arg(short = 'R', long)]
    recursive: bool,
}

/// An object of a file, and what came of its check.
#[derive(Debug)]
pub struct Checked {
    /// Where it was found.
    pub place: Place,
    /// The object as it is in the file.
    pub object: Value,
    /// What came of its check.
    pub verdict: Verdict,
}

impl Checked {
    /// What the object is called, such as `ApiGateway tenants/shop`.
    pub fn title(&self) -> String {
        let metadata = &self.object["metadata"];
        let kind = self.object["kind"].as_str().unwrap_or("object");
        let name = metadata["name"].as_str().or(metadata["generateName"].as_str()).unwrap_or("without a name");
        match metadata["namespace"].as_str() {
            Some(namespace) => format!("{kind} {namespace}/{name}"),
            None => format!("{kind} {name}"),
        }
    }

    /// What of an object that is valid will not come out as it is written.
    pub fn advice(&self) -> Vec<Advice> {
        match &self.verdict {
            Verdict::Checked { faults, object, .. } if faults.is_empty() => advice::of(object),
            Verdict::Checked { .. } | Verdict::NotOurs { .. } => Vec::new(),
        }
    }

    /// What is wrong with the object.
    pub fn faults(&self) -> &[Fault] {
        match &self.verdict {
            Verdict::Checked { faults, .. } => faults,
            Verdict::NotOurs { .. } => &[],
        }
    }
}

impl Files {
    /// Reads the files, and checks each object in them.
    ///
    /// # Errors
    /// When a file cannot be read, or there is no gateway and no environment in any.
    pub fn checked(&self, definitions: &Definitions) -> Result<Vec<Checked>, Failure> {
        let manifests = manifests::read(&self.filename, self.recursive, std::io::stdin())
            .map_err(|sentence| Failure::new(FAILED, sentence, "Correct the file, or name another with -f."))?;
        let checked: Vec<Checked> = manifests
            .into_iter()
            .map(|Manifest { place, object }| Checked { verdict: definitions.check(&object), place, object })
            .collect();
        if checked.iter().all(|checked| matches!(checked.verdict, Verdict::NotOurs { .. })) {
            let files: Vec<String> = self.filename.iter().map(|file| file.display().to_string()).collect();
            return Err(Failure::new(
                FAILED,
                format!("there is no ApiGateway or Environment in {}", files.join(", ")),
                "Name a file that holds one with -f; -R reads folders in folders, too.",
            ));
        }
        Ok(checked)
    }
}

/// The definitions that this program was built with.
///
/// # Errors
/// When they cannot be written as JSON; this would be a fault of this program.
pub fn definitions() -> Result<Definitions, Failure> {
    Definitions::new()
        .map_err(|error| Failure::new(FAILED, format!("the definitions cannot be read: {error}"), "Report it."))
}

/// Says on stderr what is no failure and should be known.
pub fn note(text: &str) {
    terminal::tell(&Shown::sentence(&format!("note: {text}")));
}
