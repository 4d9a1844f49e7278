//! Why a request may not run.

use std::time::Duration;

use crate::{Gate, Overdrawn, Rates};

/// A refusal of ours. No request that gets one has cost anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// No credential was presented.
    MissingKey,
    /// Unknown, malformed or revoked: one wording for all three tells a guesser nothing.
    InvalidKey,
    /// Its time has passed.
    ExpiredKey,
    /// It may not be used from the caller's address.
    AddressNotAllowed,
    /// Too many wrong keys from this address.
    TooManyFailures {
        /// Until the next try counts.
        wait: Duration,
    },
    /// The store is away, and what is remembered of this does not do.
    StoreAway(Unchecked),
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
    /// A limit of the key has no room for the request at the moment.
    RateLimited {
        /// Which limit.
        gate: Gate,
        /// Until it has room, if nobody else takes it; a guess where that depends on open requests.
        wait: Duration,
        /// How its limits stand.
        rates: Rates,
    },
    /// A budget of the key has no room for what the request may cost.
    BudgetExceeded(Box<Overdrawn>),
    /// Nobody knows what the model costs.
    UnpricedModel {
        /// As the caller typed it.
        model: String,
        /// The id that a price would be kept under.
        base_id: String,
        /// Whether only keys with a budget may not use it; else nobody may.
        budgeted: bool,
    },
}

/// What cannot be known without the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unchecked {
    /// Whether there is such a key.
    Key,
    /// What is left of a limit.
    Limit,
    /// What is left of a budget.
    Budget,
}

impl Denial {
    /// How the caller's limits stand, where one of them refused.
    pub fn rates(&self) -> Option<&Rates> {
        match self {
            Self::RateLimited { rates, .. } => Some(rates),
            Self::MissingKey
            | Self::InvalidKey
            | Self::ExpiredKey
            | Self::AddressNotAllowed
            | Self::TooManyFailures { .. }
            | Self::StoreAway(_)
            | Self::UnknownModel { .. }
            | Self::ModelNotAllowed { .. }
            | Self::BudgetExceeded(_)
            | Self::UnpricedModel { .. } => None,
        }
    }

    /// Metric label.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::MissingKey => "missing_key",
            Self::InvalidKey => "invalid_key",
            Self::ExpiredKey => "expired_key",
            Self::AddressNotAllowed => "address_not_allowed",
            Self::TooManyFailures { .. } => "too_many_failures",
            Self::StoreAway(_) => "store_away",
            Self::UnknownModel { .. } => "unknown_model",
            Self::ModelNotAllowed { .. } => "model_not_allowed",
            Self::RateLimited { gate: Gate::Requests, .. } => "rate_limit",
            Self::RateLimited { gate: Gate::Tokens, .. } => "token_limit",
            Self::RateLimited { gate: Gate::Concurrency, .. } => "concurrency_limit",
            Self::BudgetExceeded(_) => "budget",
            Self::UnpricedModel { .. } => "unpriced_model",
        }
    }
}
