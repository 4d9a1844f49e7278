//! Why a request may not run.

use std::time::Duration;

/// A refusal of ours. No request that gets one has cost anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// No credential was presented.
    MissingKey,
    /// Unknown, malformed or revoked: one wording for all three tells a guesser nothing.
    InvalidKey,
    /// Its time has passed.
    ExpiredKey,
    /// Too many wrong keys from this address.
    TooManyFailures {
        /// Until the next try counts.
        wait: Duration,
    },
    /// The store is away and the key is not remembered.
    StoreAway,
    /// Nothing knows this name, and unknown names are not let through.
    UnknownModel {
        /// As the caller typed it.
        model: String,
    },
    /// The key's lists do not allow the model that the name resolves to.
    ModelNotAllowed {
        /// As the caller typed it.
        model: String,
    },
}

impl Denial {
    /// Metric label.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::MissingKey => "missing_key",
            Self::InvalidKey => "invalid_key",
            Self::ExpiredKey => "expired_key",
            Self::TooManyFailures { .. } => "too_many_failures",
            Self::StoreAway => "store_away",
            Self::UnknownModel { .. } => "unknown_model",
            Self::ModelNotAllowed { .. } => "model_not_allowed",
        }
    }
}
