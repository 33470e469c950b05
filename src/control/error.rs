//! Why a reconcile must be repeated.

use std::time::Duration;

use crate::cluster::calls::CallError;
use crate::decide::observed::Refusal;
use crate::metrics::labels;
use crate::queue::Requeue;

/// Why a reconcile must be repeated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused a write. The status reports it.
    #[error("writing {what} was refused: {message}")]
    Refused {
        /// What was written.
        what: String,
        /// The API server's message.
        message: String,
    },
    /// The registry could not be written to. The status reports it.
    #[error("registry request failed: {0}")]
    Registry(String),
    /// An API call failed.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused { what: refusal.what.in_words(), message: refusal.message }
    }
}

impl Error {
    /// Maps a failed call: a conflict means that the cache is behind, which the next pass finds out; anything
    /// else is a failure.
    ///
    /// # Errors
    /// If the call failed for any other reason than a conflict.
    pub fn again(error: CallError) -> Result<Requeue, Self> {
        if error.is_stale() {
            tracing::debug!(%error, "the cache is behind the API server");
            return Ok(Requeue::CacheBehind);
        }
        Err(error.into())
    }

    /// How long the API server asked to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { .. } | Self::Registry(_) => None,
            Self::Call(call) => call.retry_after(),
        }
    }

    /// Whether there was no answer, or one that blames no object.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Refused { .. } | Self::Registry(_) => false,
            Self::Call(call) => call.is_outage(),
        }
    }

    /// The failure as a metric label.
    pub fn label(&self) -> labels::Outcome {
        match self {
            Self::Refused { .. } => labels::Outcome::Refused,
            Self::Registry(_) => labels::Outcome::Registry,
            Self::Call(CallError::NotLeader) => labels::Outcome::NotLeader,
            Self::Call(_) => labels::Outcome::Failed,
        }
    }
}
