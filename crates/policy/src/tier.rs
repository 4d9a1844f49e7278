//! Service tiers as they are kept, and as the catalogue knows them.

use catalog::ServiceTier;

/// The tier of the catalogue that a stored name means.
pub(crate) fn known(stored: store::ServiceTier) -> ServiceTier {
    match stored {
        store::ServiceTier::Default => ServiceTier::Default,
        store::ServiceTier::Flex => ServiceTier::Flex,
        store::ServiceTier::Priority => ServiceTier::Priority,
        store::ServiceTier::Reserved => ServiceTier::Reserved,
    }
}

/// Its name in a usage row.
pub(crate) fn stored(tier: ServiceTier) -> store::ServiceTier {
    match tier {
        ServiceTier::Default => store::ServiceTier::Default,
        ServiceTier::Flex => store::ServiceTier::Flex,
        ServiceTier::Priority => store::ServiceTier::Priority,
        ServiceTier::Reserved => store::ServiceTier::Reserved,
    }
}
