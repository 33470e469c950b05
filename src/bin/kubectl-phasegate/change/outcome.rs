//! What became of each gateway.

use phasegate::api::ObjectKey;
use serde::Serialize;

use crate::failure::Failure;

/// What became of one gateway.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Which gateway.
    pub key: ObjectKey,
    /// In one word.
    pub result: ChangeResult,
    /// What it did, or why it did not.
    pub message: String,
    /// What is told on stderr, and how the command ends.
    pub failure: Option<Failure>,
}

/// What became of one gateway, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeResult {
    /// It was changed, or would be.
    Changed,
    /// Nothing was to be done.
    Unchanged,
    /// It was not changed, or did not get there.
    Failed,
    /// It was left alone after the failure of another.
    Untouched,
}

impl ChangeResult {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Failed => "failed",
            Self::Untouched => "untouched",
        }
    }
}

impl Outcome {
    /// The outcome of a gateway that was not changed, or did not get there.
    pub fn failed(self, failure: Failure) -> Self {
        Self { result: ChangeResult::Failed, message: failure.sentence.clone(), failure: Some(failure), ..self }
    }
}

/// What `-o json` prints.
#[derive(Debug, Serialize)]
pub struct Results<'a> {
    /// By namespace and name.
    results: Vec<Told<'a>>,
}

/// What `-o json` prints of an outcome.
#[derive(Debug, Serialize)]
struct Told<'a> {
    namespace: &'a str,
    name: &'a str,
    result: &'static str,
    message: &'a str,
}

impl<'a> Results<'a> {
    /// What is printed of these outcomes.
    pub fn of(outcomes: &'a [Outcome]) -> Self {
        let told = |outcome: &'a Outcome| Told {
            namespace: &outcome.key.namespace,
            name: &outcome.key.name,
            result: outcome.result.as_str(),
            message: &outcome.message,
        };
        Self { results: outcomes.iter().map(told).collect() }
    }
}
