//! A key as the store knows it: an id, a hash, a record. Never the key itself.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    BudgetChange, BudgetPlan, ByPeriod, CacheTtl, Cidr, Error, NewKey, Period, Previous, Result, ServiceTier,
    Timestamp, base62,
};

/// The public name of a key: `key_` and 16 base-62 characters. Two names stand for callers without a record:
/// [`KeyId::master`] and [`KeyId::anonymous`]; the store keeps their usage and never a record of theirs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(String);

const MASTER: &str = "master";
const ANONYMOUS: &str = "anonymous";
const ID_PREFIX: &str = "key_";
const ID_RANDOM: usize = 16;

impl KeyId {
    /// A new random id (95 bits).
    pub fn generate(rng: &mut impl rand::CryptoRng) -> Self {
        let mut id = String::from(ID_PREFIX);
        id.extend((0..ID_RANDOM).map(|_| base62::random_char(rng)));
        Self(id)
    }

    /// The caller that holds the master key.
    pub fn master() -> Self {
        Self(MASTER.to_owned())
    }

    /// The caller without a key, where keys are not required.
    pub fn anonymous() -> Self {
        Self(ANONYMOUS.to_owned())
    }

    /// Whether a record may exist under this id.
    pub fn has_record(&self) -> bool {
        self.0 != MASTER && self.0 != ANONYMOUS
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for KeyId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let known = text == MASTER || text == ANONYMOUS;
        let made = text
            .strip_prefix(ID_PREFIX)
            .is_some_and(|random| random.len() == ID_RANDOM && base62::is_base62(random));
        if known || made {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::invalid("a key id is `key_` and 16 letters or digits"))
        }
    }
}

impl Serialize for KeyId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// HMAC-SHA-256 of a key under the installation's hash secret: how a key is found, and no credential.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// From the bytes of the MAC.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes of the MAC.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(..)")
    }
}

/// What is kept of a key. Texts are at most 128 characters where nothing else is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// Its public name.
    pub key_id: KeyId,
    /// Whom its usage is counted for; never empty, never changed.
    pub user_id: String,
    /// What people call it; never empty.
    pub name: String,
    /// Who answers for it.
    #[serde(default)]
    pub owner_name: Option<String>,
    /// The first characters of the key, for display.
    pub prefix: String,
    /// The last four characters of the key, for display.
    pub last4: String,
    /// The switch; off means revoked.
    pub is_active: bool,
    /// Why it was switched off: `revoked` or free text.
    #[serde(default)]
    pub deactivated_reason: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    #[serde(default)]
    pub created_by: Option<String>,
    /// When it was last changed (use is not a change).
    pub updated_at: Timestamp,
    /// When it was last used, within a minute.
    #[serde(default)]
    pub last_used_at: Option<Timestamp>,
    /// From this instant on it is refused; absent = never.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// Counts the changes, from 1; an update names the version it was made from.
    pub version: u64,
    /// Glob patterns on the resolved base model id; absent = every model. An empty list is refused, not stored.
    #[serde(default)]
    pub allowed_models: Option<Vec<String>>,
    /// Glob patterns on the resolved base model id; they win over `allowed_models`.
    #[serde(default)]
    pub denied_models: Option<Vec<String>>,
    /// Requests per `RATE_LIMIT_WINDOW`; 0 = none at all; absent = the gateway's default.
    #[serde(default)]
    pub rate_limit: Option<u32>,
    /// Tokens per minute, at least 1; absent = the gateway's default.
    #[serde(default)]
    pub tpm_limit: Option<u64>,
    /// Requests and streams open at once, at least 1; absent = the gateway's default.
    #[serde(default)]
    pub concurrency_limit: Option<u32>,
    /// The one target of the gateway that it is bound to; absent = any.
    #[serde(default)]
    pub target: Option<String>,
    /// From where it may be used; absent = from everywhere. An empty list is refused, not stored.
    #[serde(default)]
    pub allowed_ips: Option<Vec<Cidr>>,
    /// The service tier of its calls, whatever a request asks for; absent = the request's, or the gateway's default.
    #[serde(default)]
    pub service_tier: Option<ServiceTier>,
    /// The TTL of every cache marker, whatever a request says; absent = the request decides.
    #[serde(default)]
    pub cache_ttl: Option<CacheTtl>,
    /// Micro-dollars that it may spend in all, at least 1; absent = no budget.
    #[serde(default)]
    pub budget_total: Option<u64>,
    /// Micro-dollars that it may spend in a day (UTC), at least 1; absent = no budget.
    #[serde(default)]
    pub budget_daily: Option<u64>,
    /// Micro-dollars that it may spend in a month (UTC calendar), at least 1; absent = no budget.
    #[serde(default)]
    pub budget_monthly: Option<u64>,
    /// Resets of these budgets, and what may be spent beyond them for a time.
    #[serde(default)]
    pub budget_changes: ByPeriod<BudgetChange>,
    /// At most 16 pairs; keys up to 64, values up to 256 characters.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// Older keys of this record, by the time of their rotation. An update does not change them.
    #[serde(default)]
    pub previous: Vec<Previous>,
    /// Not kept: of a record that was found by the hash of an older key, the instant from which on that key is unknown.
    #[serde(skip)]
    pub valid_until: Option<Timestamp>,
}

/// What a record means at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyStatus {
    /// It is accepted.
    Active,
    /// It was switched off.
    Revoked,
    /// Its time has passed.
    Expired,
    /// It would be accepted, but a budget is spent. A record alone does not tell; whoever shows one with its totals does.
    BudgetExceeded,
}

impl KeyStatus {
    /// Every status that a record alone can have.
    pub const ALL: [Self; 3] = [Self::Active, Self::Revoked, Self::Expired];

    /// Its name in JSON and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::BudgetExceeded => "budget_exceeded",
        }
    }
}

impl fmt::Display for KeyStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl KeyRecord {
    /// The record of a key just made: active, for every model, for ever.
    pub fn new(key_id: KeyId, key: &NewKey, user_id: &str, name: &str, now: Timestamp) -> Self {
        Self {
            key_id,
            user_id: user_id.to_owned(),
            name: name.to_owned(),
            owner_name: None,
            prefix: key.prefix().to_owned(),
            last4: key.last4().to_owned(),
            is_active: true,
            deactivated_reason: None,
            created_at: now,
            created_by: None,
            updated_at: now,
            last_used_at: None,
            expires_at: None,
            version: 1,
            allowed_models: None,
            denied_models: None,
            rate_limit: None,
            tpm_limit: None,
            concurrency_limit: None,
            target: None,
            allowed_ips: None,
            service_tier: None,
            cache_ttl: None,
            budget_total: None,
            budget_daily: None,
            budget_monthly: None,
            budget_changes: ByPeriod::default(),
            metadata: BTreeMap::new(),
            previous: Vec::new(),
            valid_until: None,
        }
    }

    /// What the record means at `now`. A revoked key stays revoked when its time passes.
    pub fn status(&self, now: Timestamp) -> KeyStatus {
        if !self.is_active {
            KeyStatus::Revoked
        } else if self.expires_at.is_some_and(|at| at <= now) {
            KeyStatus::Expired
        } else {
            KeyStatus::Active
        }
    }

    /// What it may spend.
    pub fn budgets(&self) -> BudgetPlan {
        let limits =
            ByPeriod { total: self.budget_total, monthly: self.budget_monthly, daily: self.budget_daily };
        BudgetPlan::of_micro(limits, self.budget_changes)
    }

    /// Whether the record keeps the rules of its fields. Every backend asks before it writes one.
    pub fn check(&self) -> Result<()> {
        if !self.key_id.has_record() {
            return Err(Error::invalid("`master` and `anonymous` cannot have a key record"));
        }
        required("user_id", &self.user_id)?;
        required("name", &self.name)?;
        optional("owner_name", self.owner_name.as_deref())?;
        optional("created_by", self.created_by.as_deref())?;
        optional("deactivated_reason", self.deactivated_reason.as_deref())?;
        patterns("allowed_models", self.allowed_models.as_deref())?;
        patterns("denied_models", self.denied_models.as_deref())?;
        optional("target", self.target.as_deref())?;
        addresses(self.allowed_ips.as_deref())?;
        for old in &self.previous {
            optional("idempotency_key", old.idempotency_key.as_deref())?;
        }
        at_least_one("tpm_limit", self.tpm_limit)?;
        at_least_one("concurrency_limit", self.concurrency_limit.map(u64::from))?;
        at_least_one("budget_total", self.budget_total)?;
        at_least_one("budget_daily", self.budget_daily)?;
        at_least_one("budget_monthly", self.budget_monthly)?;
        Period::ALL.iter().try_for_each(|period| self.budget_changes.get(*period).check())?;
        if self.metadata.len() > 16 {
            return Err(Error::invalid("metadata: at most 16 pairs"));
        }
        for (key, value) in &self.metadata {
            text("metadata key", key, 1..=64)?;
            text("metadata value", value, 0..=256)?;
        }
        Ok(())
    }

    /// What an update makes of `self`: all of `new` but identity, older keys and last use, one version on.
    pub(crate) fn updated_with(&self, new: &Self) -> Self {
        Self {
            key_id: self.key_id.clone(),
            user_id: self.user_id.clone(),
            prefix: self.prefix.clone(),
            last4: self.last4.clone(),
            created_at: self.created_at,
            created_by: self.created_by.clone(),
            last_used_at: self.last_used_at,
            previous: self.previous.clone(),
            valid_until: None,
            version: self.version + 1,
            ..new.clone()
        }
    }
}

fn required(field: &str, value: &str) -> Result<()> {
    text(field, value, 1..=128)
}

fn optional(field: &str, value: Option<&str>) -> Result<()> {
    value.map_or(Ok(()), |value| text(field, value, 1..=128))
}

fn patterns(field: &str, list: Option<&[String]>) -> Result<()> {
    let Some(list) = list else { return Ok(()) };
    // An empty list could be read as "none" or as "all"; the second reading would widen a key by a slip.
    if list.is_empty() {
        return Err(Error::invalid(format!("{field}: an empty list is refused; leave the field out")));
    }
    list.iter().try_for_each(|pattern| {
        if pattern.chars().any(char::is_whitespace) {
            return Err(Error::invalid(format!("{field}: a pattern has no blanks")));
        }
        text(field, pattern, 1..=256)
    })
}

fn addresses(list: Option<&[Cidr]>) -> Result<()> {
    match list {
        Some(list) if !(1..=64).contains(&list.len()) => {
            Err(Error::invalid("allowed_ips: 1 to 64 blocks; leave the field out to allow every address"))
        }
        Some(_) | None => Ok(()),
    }
}

/// A zero could be read as "none" or, as in the settings, as "no limit".
fn at_least_one(field: &str, limit: Option<u64>) -> Result<()> {
    /// Tokens beyond any model, or a million dollars; every program of every language can count to it.
    const MOST: u64 = 1_000_000_000_000;
    match limit {
        Some(limit) if !(1..=MOST).contains(&limit) => {
            Err(Error::invalid(format!("{field}: 1 to {MOST}; leave it out for the default")))
        }
        Some(_) | None => Ok(()),
    }
}

fn text(field: &str, value: &str, length: std::ops::RangeInclusive<usize>) -> Result<()> {
    let (least, most) = (length.start(), length.end());
    if !length.contains(&value.chars().count()) {
        return Err(Error::invalid(format!("{field}: {least} to {most} characters")));
    }
    // Control characters would let a name rewrite the terminal or the log line it is shown in.
    if value.chars().any(char::is_control) {
        return Err(Error::invalid(format!("{field}: no control characters")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::sample::record;

    #[test]
    fn a_record_from_before_there_were_limits_targets_and_tiers_has_the_defaults() {
        let mut old = serde_json::to_value(record(1)).unwrap();
        let members = ["rate_limit", "tpm_limit", "concurrency_limit", "target", "allowed_ips", "previous"];
        let more = ["service_tier", "cache_ttl", "budget_total", "budget_daily", "budget_monthly"];
        for member in members.into_iter().chain(more).chain(["budget_changes"]) {
            assert!(old.as_object_mut().unwrap().remove(member).is_some(), "{member}");
        }
        let read: KeyRecord = serde_json::from_value(old).unwrap();
        let expected = KeyRecord {
            rate_limit: None,
            tpm_limit: None,
            concurrency_limit: None,
            target: None,
            allowed_ips: None,
            previous: Vec::new(),
            service_tier: None,
            cache_ttl: None,
            budget_total: None,
            budget_daily: None,
            budget_monthly: None,
            budget_changes: ByPeriod::default(),
            ..record(1)
        };
        assert_eq!(read, expected);
    }
}
