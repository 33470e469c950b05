//! What became of each gateway.

use serde::Serialize;

use crate::failure::Failure;

/// What became of one gateway, as `-o json` prints it in `results`.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `changed`, `unchanged`, `failed`, or `untouched` after the failure of another.
    pub result: &'static str,
    /// What it did, or why it did not.
    pub message: String,
    /// What is told on stderr, and how the command ends.
    #[serde(skip)]
    pub failure: Option<Failure>,
}

/// What `-o json` prints.
#[derive(Debug, Serialize)]
pub struct Results {
    /// By namespace and name.
    pub results: Vec<Outcome>,
}

impl Outcome {
    /// The outcome of a gateway that was not changed, or did not get there.
    pub fn failed(self, failure: Failure) -> Self {
        Self { result: "failed", message: failure.sentence.clone(), failure: Some(failure), ..self }
    }
}
