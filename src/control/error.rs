//! Why a pass has to be done again.

use std::time::Duration;

use crate::cluster::calls::CallError;
use crate::decide::observed::Refusal;
use crate::metrics::labels;
use crate::queue::Next;

/// Why a reconcile has to be done again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused a write. The status says so too.
    #[error("{what} was refused: {message}")]
    Refused {
        /// What was to be written.
        what: String,
        /// The API server's words.
        message: String,
    },
    /// The registry could not be written to. The status says so too.
    #[error("the registry could not be asked: {0}")]
    Registry(String),
    /// The API server did not carry out a call.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused { what: refusal.what.in_words(), message: refusal.message }
    }
}

impl Error {
    /// What follows from a call that did not succeed: whoever wrote first is found by the next look, anything else is a
    /// failure.
    ///
    /// # Errors
    /// Where it is one.
    pub fn again(error: CallError) -> Result<Next, Self> {
        if error.is_stale() {
            tracing::debug!(%error, "the cache is behind the API server");
            return Ok(Next::Behind);
        }
        Err(error.into())
    }

    /// How long the API server asked to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { .. } | Self::Registry(_) => None,
            Self::Call(call) => call.retry_after(),
        }
    }

    /// Whether nobody answered, or somebody who could not do anything.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Refused { .. } | Self::Registry(_) => false,
            Self::Call(call) => call.is_outage(),
        }
    }

    /// What kind of failure it is, for a metric's label.
    pub fn label(&self) -> labels::Outcome {
        match self {
            Self::Refused { .. } => labels::Outcome::Refused,
            Self::Registry(_) => labels::Outcome::Registry,
            Self::Call(CallError::NotLeader) => labels::Outcome::NotLeader,
            Self::Call(_) => labels::Outcome::Failed,
        }
    }
}
