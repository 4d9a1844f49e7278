//! Service tiers: <https://docs.aws.amazon.com/bedrock/latest/userguide/service-tiers-inference.html>.

/// How urgent a call is, and what that costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
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

    /// Bedrock's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Flex => "flex",
            Self::Priority => "priority",
            Self::Reserved => "reserved",
        }
    }

    /// The tier with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tier| tier.name() == name)
    }

    /// What a request that says this word asks for. `auto`, `default`, `scale`, `standard_only` and `standard`, like words
    /// that nobody knows, ask for nothing.
    pub fn wished(word: &str) -> Option<Self> {
        Self::from_name(word).filter(|tier| *tier != Self::Default)
    }

    /// In `usage.service_tier` of a Messages answer, where the default has another name.
    pub fn reported(self) -> &'static str {
        match self {
            Self::Default => "standard",
            Self::Flex | Self::Priority | Self::Reserved => self.name(),
        }
    }

    /// The tier that an answer says it was served by, in Bedrock's words or in those of a Messages answer.
    pub fn from_reported(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tier| tier.name() == word || tier.reported() == word)
    }

    /// What a token costs, in percent of the list price.
    pub fn price_percent(self) -> u16 {
        match self {
            Self::Flex => 50,
            Self::Default | Self::Reserved => 100,
            Self::Priority => 175,
        }
    }
}

/// Service tiers that a model takes beside `default`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are Bedrock's own")]
pub struct Tiers {
    pub flex: bool,
    pub priority: bool,
    pub reserved: bool,
}

impl Tiers {
    /// Whether the model takes this one.
    pub fn take(self, tier: ServiceTier) -> bool {
        match tier {
            ServiceTier::Default => true,
            ServiceTier::Flex => self.flex,
            ServiceTier::Priority => self.priority,
            ServiceTier::Reserved => self.reserved,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_three_words_are_wishes() {
        for word in ["auto", "default", "scale", "standard_only", "standard", "", "FLEX", "turbo"] {
            assert_eq!(ServiceTier::wished(word), None, "{word}");
        }
        for tier in [ServiceTier::Flex, ServiceTier::Priority, ServiceTier::Reserved] {
            assert_eq!(ServiceTier::wished(tier.name()), Some(tier));
        }
    }

    #[test]
    fn the_tier_that_served_is_known_by_either_name() {
        for tier in ServiceTier::ALL {
            assert_eq!(ServiceTier::from_reported(tier.name()), Some(tier));
            assert_eq!(ServiceTier::from_reported(tier.reported()), Some(tier));
        }
        assert_eq!(ServiceTier::from_reported("batch"), None);
    }
}
