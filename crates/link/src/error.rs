//! What can go wrong between the planes.

use std::{error::Error, sync::Arc, time::Duration};

/// Why a question to the other plane, or to Redis, has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LinkError {
    /// Nobody answered: refused, reset, no such name, not ready.
    #[error("{peer} cannot be reached")]
    Unreachable {
        /// Who was asked, such as `control API`.
        peer: &'static str,
        /// What the transport said.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// No answer in time.
    #[error("{peer} did not answer within {} ms", after.as_millis())]
    TimedOut {
        /// Who was asked.
        peer: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// The answer was no: an unknown, revoked or foreign certificate, or no right to ask this.
    #[error("{peer} refused: {reason}")]
    Refused {
        /// Who was asked.
        peer: &'static str,
        /// In its words.
        reason: String,
    },
    /// The position asked about is not part of the log's history: read everything anew.
    #[error("the position is not part of the log's history")]
    UnknownPosition,
    /// The other side failed while it worked on the answer.
    #[error("{peer} failed: {reason}")]
    Failed {
        /// Who was asked.
        peer: &'static str,
        /// In its words.
        reason: String,
    },
    /// The answer cannot be read.
    #[error("{peer} sent what cannot be read: {reason}")]
    Unreadable {
        /// Who was asked.
        peer: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The other side is set up in a way that would lose facts, such as a Redis that evicts.
    #[error("{peer} is not fit for use: {reason}")]
    Unfit {
        /// Who.
        peer: &'static str,
        /// What to change.
        reason: String,
    },
}

impl LinkError {
    /// [`LinkError::Unreachable`] from whatever the transport said.
    pub fn unreachable(peer: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unreachable { peer, source: Arc::from(source.into()) }
    }
    /// [`LinkError::Failed`] from an error, with its sources.
    pub fn failed(peer: &'static str, error: &dyn Error) -> Self {
        Self::Failed { peer, reason: chain(error) }
    }
    /// The same, with the keys that it is about.
    pub(crate) fn about(self, keys: &str) -> Self {
        match self {
            Self::Unfit { peer, reason } => Self::Unfit { peer, reason: format!("{reason}, for the keys `{keys}`") },
            other => other,
        }
    }
    /// Whether nobody answered: asking again later may help.
    pub const fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::TimedOut { .. })
    }
    /// [`LinkError::Unreadable`] from whatever could not read it.
    pub fn unreadable(peer: &'static str, reason: impl ToString) -> Self {
        Self::Unreadable { peer, reason: reason.to_string() }
    }
}

/// An error and its sources on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
