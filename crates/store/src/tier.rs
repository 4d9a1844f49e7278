//! What a key decides about its calls: how urgent they are, and how long their caches live.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// A service tier of Bedrock: <https://docs.aws.amazon.com/bedrock/latest/userguide/service-tiers-inference.html>.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceTier {
    /// What is served where nothing is asked for.
    #[default]
    Default,
    /// Cheaper, and may wait.
    Flex,
    /// Dearer, and served first.
    Priority,
    /// On capacity that the account has reserved.
    Reserved,
}

impl ServiceTier {
    /// Every tier.
    pub const ALL: [Self; 4] = [Self::Default, Self::Flex, Self::Priority, Self::Reserved];

    /// Its name in the database, in JSON and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Flex => "flex",
            Self::Priority => "priority",
            Self::Reserved => "reserved",
        }
    }
}

impl fmt::Display for ServiceTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ServiceTier {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let known = Self::ALL.into_iter().find(|tier| tier.as_str() == text);
        known.ok_or_else(|| Error::invalid("a service tier is default, flex, priority or reserved"))
    }
}

/// How long what is written to the prompt cache lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CacheTtl {
    /// Five minutes.
    #[serde(rename = "5m")]
    FiveMinutes,
    /// One hour.
    #[serde(rename = "1h")]
    OneHour,
    /// Nothing is written: cache markers are taken out.
    #[serde(rename = "none")]
    None,
}

impl CacheTtl {
    /// Every value.
    pub const ALL: [Self; 3] = [Self::FiveMinutes, Self::OneHour, Self::None];

    /// Its name in the database, in JSON and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FiveMinutes => "5m",
            Self::OneHour => "1h",
            Self::None => "none",
        }
    }
}

impl fmt::Display for CacheTtl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for CacheTtl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let known = Self::ALL.into_iter().find(|ttl| ttl.as_str() == text);
        known.ok_or_else(|| Error::invalid("a cache TTL is 5m, 1h or none"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_same_in_json_and_in_text() {
        for tier in ServiceTier::ALL {
            assert_eq!(serde_json::to_value(tier).unwrap(), tier.as_str());
            assert_eq!(tier.to_string().parse::<ServiceTier>().unwrap(), tier);
        }
        for ttl in CacheTtl::ALL {
            assert_eq!(serde_json::to_value(ttl).unwrap(), ttl.as_str());
            assert_eq!(ttl.to_string().parse::<CacheTtl>().unwrap(), ttl);
        }
        assert!("FLEX".parse::<ServiceTier>().is_err() && "2h".parse::<CacheTtl>().is_err());
    }
}
