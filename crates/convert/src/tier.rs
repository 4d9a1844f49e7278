//! The word that a request says about its service tier. It is no member upstream: a tier that is asked for travels in
//! [`Options::service_tier`](crate::converse::request::Options::service_tier), or beside the body as a header.

use catalog::ServiceTier;

/// Whether the word is a tier's or asks for nothing, so that leaving it out loses nothing. Whether the tier is granted is
/// the caller's to say.
pub(crate) fn is_understood(word: &str) -> bool {
    let nothing = ["auto", "standard_only", "standard", "scale"];
    nothing.contains(&word) || ServiceTier::from_name(word).is_some()
}
