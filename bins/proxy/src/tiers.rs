//! Service tiers: which one a call is sent for, and which ones were refused within the last hour.
//! <https://docs.aws.amazon.com/bedrock/latest/userguide/service-tiers-inference.html>

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use catalog::{Resolution, ServiceTier};
use http::{HeaderMap, HeaderName, HeaderValue};
use policy::Admission;

use crate::gateway::Gateway;
use crate::lane::Prepared;
use crate::record::model_label;

/// What InvokeModel is told of the tier, and tells.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-amzn-bedrock-service-tier");

/// How long a refusal is remembered: models learn tiers, and accounts get reservations.
const REMEMBERED: Duration = Duration::from_hours(1);
/// More would be names that callers made up.
const MOST: usize = 1024;

/// Tiers that the upstream refused, each for a model in a region.
#[derive(Debug, Default)]
pub(crate) struct RefusedTiers(RwLock<HashMap<(String, String, ServiceTier), Instant>>);

impl RefusedTiers {
    /// The tier to send where this one is wished for: it, or the default where the model is known not to take it.
    fn granted(&self, wish: ServiceTier, resolution: &Resolution, region: &str, now: Instant) -> ServiceTier {
        if is_wish_for(resolution, wish) && !self.refused(wish, &resolution.base_id, region, now) {
            wish
        } else {
            ServiceTier::Default
        }
    }

    fn refused(&self, tier: ServiceTier, model: &str, region: &str, now: Instant) -> bool {
        let until = self.0.read().unwrap_or_else(PoisonError::into_inner);
        !until.is_empty()
            && until.get(&(model.to_owned(), region.to_owned(), tier)).is_some_and(|until| now < *until)
    }

    /// The upstream has refused it.
    fn note(&self, tier: ServiceTier, model: &str, region: &str, now: Instant) {
        tracing::info!(
            model,
            region,
            tier = tier.name(),
            "the service tier was refused; it is left out for an hour"
        );
        let mut until = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if until.len() >= MOST {
            until.retain(|_, until| now < *until);
        }
        if until.len() < MOST {
            until.insert((model.to_owned(), region.to_owned(), tier), now + REMEMBERED);
        }
    }
}

/// Whether a tier is wished for that the model may take. Of a model that is in no table, the upstream knows more.
pub(crate) fn is_wish_for(resolution: &Resolution, wish: ServiceTier) -> bool {
    wish != ServiceTier::Default
        && (resolution.model.tiers.take(wish) || !catalog::is_known(resolution.model))
}

/// The tier to send to a target, in whose region it may have been refused.
pub(crate) fn granted(
    gateway: &Gateway,
    target: usize,
    resolution: &Resolution,
    wish: ServiceTier,
) -> ServiceTier {
    let region = &gateway.targets.get(target).place.region;
    gateway.shared.refused_tiers.granted(wish, resolution, region, Instant::now())
}

/// Whether this target has just refused the tier that was sent; it is remembered then.
pub(crate) fn learnt(
    gateway: &Gateway,
    target: usize,
    resolution: &Resolution,
    sent: ServiceTier,
    error: &bedrock::Error,
) -> bool {
    let refused = sent != ServiceTier::Default && is_refusal(error);
    if refused {
        let region = &gateway.targets.get(target).place.region;
        gateway.shared.refused_tiers.note(sent, &resolution.base_id, region, Instant::now());
    }
    refused
}

/// Whether the upstream refused the tier and nothing else.
fn is_refusal(error: &bedrock::Error) -> bool {
    const WORDS: [&str; 3] =
        ["service tier is not supported", "service tier provided is invalid", "Reservation not found"];
    error.kind == bedrock::Kind::Validation && WORDS.iter().any(|words| error.message.contains(words))
}

/// For InvokeModel; the default is not sent.
pub(crate) fn header(tier: ServiceTier) -> Option<(HeaderName, HeaderValue)> {
    (tier != ServiceTier::Default).then(|| (HEADER, HeaderValue::from_static(tier.name())))
}

/// Notes with what a call was sent that is being answered, and returns the tier that served as far as headers tell. A call that
/// was sent for less than what was wished for it is counted.
pub(crate) fn answered(
    gateway: &Gateway,
    admission: &mut Admission,
    sent: &Prepared,
    headers: &HeaderMap,
) -> ServiceTier {
    let served = served(headers).unwrap_or(sent.tier);
    admission.sent(served, sent.cache_ttl);
    fell_back(gateway, admission, sent.tier);
    served
}

/// The tier that an answer's headers say it was served by.
pub(crate) fn served(headers: &HeaderMap) -> Option<ServiceTier> {
    ServiceTier::from_reported(headers.get(HEADER)?.to_str().ok()?)
}

/// Counts a call that was sent for less than what was wished for it.
pub(crate) fn fell_back(gateway: &Gateway, admission: &Admission, sent: ServiceTier) {
    let wish = admission.tier();
    if sent != wish {
        gateway.metrics.tier_fallback(model_label(admission.resolution()), wish.name());
    }
}

#[cfg(test)]
mod tests {
    use catalog::{Catalog, Scope};

    use super::*;

    fn resolve(name: &str) -> Resolution {
        Catalog::builtin().resolve(name, Scope::Global, "us-east-1", true).unwrap()
    }

    fn error(kind: bedrock::Kind, message: &str) -> bedrock::Error {
        bedrock::Error::new(kind, message)
    }

    #[test]
    fn a_tier_that_the_row_does_not_take_is_not_sent_and_an_unknown_model_is_asked() {
        let tiers = RefusedTiers::default();
        let now = Instant::now();
        let granted = |model: &str, wish| tiers.granted(wish, &resolve(model), "us-east-1", now);
        for (model, flex, reserved) in [
            ("claude-sonnet-4-6", false, true),
            ("qwen.qwen3-coder-480b-a35b-v1:0", true, true),
            ("amazon.nova-lite-v1:0", false, true),
            ("some.unknown-model", true, true),
        ] {
            let sent = |wish, taken| if taken { wish } else { ServiceTier::Default };
            assert_eq!(granted(model, ServiceTier::Flex), sent(ServiceTier::Flex, flex), "{model}");
            assert_eq!(granted(model, ServiceTier::Priority), sent(ServiceTier::Priority, flex), "{model}");
            assert_eq!(
                granted(model, ServiceTier::Reserved),
                sent(ServiceTier::Reserved, reserved),
                "{model}"
            );
        }
    }

    #[test]
    fn a_refusal_is_remembered_for_an_hour_for_its_model_region_and_tier_alone() {
        let tiers = RefusedTiers::default();
        let (qwen, kimi) = (resolve("qwen.qwen3-coder-480b-a35b-v1:0"), resolve("moonshotai.kimi-k2.5"));
        let start = Instant::now();
        let (flex, priority, default) = (ServiceTier::Flex, ServiceTier::Priority, ServiceTier::Default);
        tiers.note(flex, &qwen.base_id, "us-east-1", start);
        let almost = start + REMEMBERED.saturating_sub(Duration::from_millis(1));
        for now in [start, almost] {
            assert_eq!(tiers.granted(flex, &qwen, "us-east-1", now), default);
            assert_eq!(tiers.granted(priority, &qwen, "us-east-1", now), priority);
            assert_eq!(tiers.granted(flex, &qwen, "eu-west-1", now), flex);
            assert_eq!(tiers.granted(flex, &kimi, "us-east-1", now), flex);
        }
        let later = start + REMEMBERED;
        assert_eq!(tiers.granted(flex, &qwen, "us-east-1", later), flex, "it is tried again");
        tiers.note(flex, &qwen.base_id, "us-east-1", later);
        assert_eq!(tiers.granted(flex, &qwen, "us-east-1", later), default);
    }

    #[test]
    fn only_the_three_refusals_of_a_tier_are_ones() {
        let validation = bedrock::Kind::Validation;
        for message in [
            "The provided service tier is not supported for this model.",
            "service tier provided is invalid",
            "Reservation not found.",
        ] {
            assert!(is_refusal(&error(validation, message)), "{message}");
            assert!(!is_refusal(&error(bedrock::Kind::Throttling, message)), "{message}");
        }
        for message in ["max_tokens: must be positive", "This model doesn't support the serviceTier field."] {
            assert!(!is_refusal(&error(validation, message)), "{message}");
        }
    }
}
