//! Who is calling.

use std::sync::Arc;

use catalog::ServiceTier;
use store::{CacheTtl, KeyId, KeyRecord};

use crate::budget::Funding;
use crate::gauge::{Gauge, Limits};
use crate::{glob, tier};

/// What a caller stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A stored key.
    Key(Box<KeyRecord>),
    /// The static key of the settings.
    Master,
    /// No key, where none is required.
    Anonymous,
}

/// An authenticated caller. Made by [`crate::Policy::authenticate`] alone.
#[derive(Clone, Debug)]
pub struct Caller {
    pub(crate) id: KeyId,
    pub(crate) standing: Standing,
    pub(crate) limits: Limits,
    /// Of the key, not of this caller: the next one made of the same record goes on with it.
    pub(crate) gauge: Arc<Gauge>,
    /// What pays its requests, where it has a budget.
    pub(crate) funding: Option<Funding>,
}

impl Caller {
    /// The id its usage is booked under.
    pub fn key_id(&self) -> &KeyId {
        &self.id
    }

    /// What it stands on.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// The user its usage is counted for.
    pub fn user_id(&self) -> &str {
        self.record().map_or(self.id.as_str(), |record| &record.user_id)
    }

    /// The target that it is bound to.
    pub fn target(&self) -> Option<&str> {
        match &self.standing {
            Standing::Key(record) => record.target.as_deref(),
            Standing::Master | Standing::Anonymous => None,
        }
    }

    /// Whether the tokens it uses are limited or paid from a budget, so that it matters how many a request may make.
    pub fn counts_tokens(&self) -> bool {
        self.limits.tokens.is_some() || self.funding.is_some()
    }

    /// The tier that its key decides on for every call.
    pub fn tier(&self) -> Option<ServiceTier> {
        self.record()?.service_tier.map(tier::known)
    }

    /// The TTL that its key forces on every cache marker.
    pub fn cache_ttl(&self) -> Option<CacheTtl> {
        self.record()?.cache_ttl
    }

    fn record(&self) -> Option<&KeyRecord> {
        match &self.standing {
            Standing::Key(record) => Some(record),
            Standing::Master | Standing::Anonymous => None,
        }
    }

    /// Whether its lists allow a base id. Deny wins; an absent list allows everything.
    pub fn may_use(&self, base_id: &str) -> bool {
        let Some(record) = self.record() else { return true };
        let any = |list: &[String]| list.iter().any(|pattern| glob::matches(pattern, base_id));
        let denied = record.denied_models.as_deref().is_some_and(any);
        !denied && record.allowed_models.as_deref().is_none_or(any)
    }
}
