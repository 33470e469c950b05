//! Checks and renders files without a cluster.
//!
//! It may import the core's definitions and the modules for output.
//!
//! **Architecture invariant**: nothing here sends a request. The faults of an object depend on the object and
//! the definitions alone, and are worded as the API server words them.

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
    /// A file, a directory, or - for stdin. Repeatable
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true)]
    filename: Vec<PathBuf>,

    /// Read subdirectories
    #[arg(short = 'R', long)]
    recursive: bool,
}

/// An object of a file with the result of its check.
#[derive(Debug)]
pub struct Checked {
    /// Its location.
    pub place: Place,
    /// The object as it is in the file.
    pub object: Value,
    /// The result of its check.
    pub verdict: Verdict,
}

impl Checked {
    /// The object's kind and name, such as `ApiGateway tenants/shop`.
    pub fn title(&self) -> String {
        let metadata = &self.object["metadata"];
        let kind = self.object["kind"].as_str().unwrap_or("object");
        let name = metadata["name"].as_str().or(metadata["generateName"].as_str()).unwrap_or("without a name");
        match metadata["namespace"].as_str() {
            Some(namespace) => format!("{kind} {namespace}/{name}"),
            None => format!("{kind} {name}"),
        }
    }

    /// Fields of a valid object that will be stored or rendered differently.
    pub fn advice(&self) -> Vec<Advice> {
        match &self.verdict {
            Verdict::Checked { faults, object, .. } if faults.is_empty() => advice::of(object),
            Verdict::Checked { .. } | Verdict::NotOurs { .. } => Vec::new(),
        }
    }

    /// The faults of the object.
    pub fn faults(&self) -> &[Fault] {
        match &self.verdict {
            Verdict::Checked { faults, .. } => faults,
            Verdict::NotOurs { .. } => &[],
        }
    }
}

impl Files {
    /// Reads the files and checks each object.
    ///
    /// # Errors
    /// A file cannot be read, or no file contains a gateway or an environment.
    pub fn checked(&self, definitions: &Definitions) -> Result<Vec<Checked>, Failure> {
        let manifests = manifests::read(&self.filename, self.recursive, std::io::stdin())
            .map_err(|sentence| Failure::new(FAILED, sentence, "Correct the file, or choose another with -f."))?;
        let checked: Vec<Checked> = manifests
            .into_iter()
            .map(|Manifest { place, object }| Checked { verdict: definitions.check(&object), place, object })
            .collect();
        if checked.iter().all(|checked| matches!(checked.verdict, Verdict::NotOurs { .. })) {
            let files: Vec<String> = self.filename.iter().map(|file| file.display().to_string()).collect();
            return Err(Failure::new(
                FAILED,
                format!("no ApiGateway or Environment found in {}", files.join(", ")),
                "Choose a file that has one with -f; -R reads subdirectories.",
            ));
        }
        Ok(checked)
    }
}

/// The definitions that this program was built with.
///
/// # Errors
/// They cannot be written as JSON. This is a fault of this program.
pub fn definitions() -> Result<Definitions, Failure> {
    Definitions::new().map_err(|error| {
        Failure::new(FAILED, format!("failed to load the CustomResourceDefinitions: {error}"), "Report it.")
    })
}

/// Prints a remark on stderr that is not a failure.
pub fn note(text: &str) {
    terminal::tell(&Shown::sentence(&format!("note: {text}")));
}
