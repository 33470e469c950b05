//! The outcome of a change for each gateway.

use phasegate::api::ObjectKey;
use serde::Serialize;

use crate::failure::Failure;

/// The outcome for one gateway.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The gateway.
    pub key: ObjectKey,
    /// The result, in one word.
    pub result: ChangeResult,
    /// What changed, or why nothing did.
    pub message: String,
    /// The failure that is printed on stderr and determines the exit code.
    pub failure: Option<Failure>,
}

/// The result for one gateway, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeResult {
    /// It was changed, or would be.
    Changed,
    /// No change was necessary.
    Unchanged,
    /// It was not changed, or did not reach the goal.
    Failed,
    /// It was skipped after the failure of another gateway.
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
    /// The outcome for a gateway that was not changed, or did not reach the goal.
    pub fn failed(self, failure: Failure) -> Self {
        Self { result: ChangeResult::Failed, message: failure.sentence.clone(), failure: Some(failure), ..self }
    }
}

/// The output of `-o json`.
#[derive(Debug, Serialize)]
pub struct Results<'a> {
    /// Ordered by namespace and name.
    results: Vec<ResultOutput<'a>>,
}

/// An outcome in the output of `-o json`.
#[derive(Debug, Serialize)]
struct ResultOutput<'a> {
    namespace: &'a str,
    name: &'a str,
    result: &'static str,
    message: &'a str,
}

impl<'a> Results<'a> {
    /// The output for these outcomes.
    pub fn of(outcomes: &'a [Outcome]) -> Self {
        let told = |outcome: &'a Outcome| ResultOutput {
            namespace: &outcome.key.namespace,
            name: &outcome.key.name,
            result: outcome.result.as_str(),
            message: &outcome.message,
        };
        Self { results: outcomes.iter().map(told).collect() }
    }
}
