//! What a call costs, exactly.

use catalog::{Price, Resolution, ServiceTier};
use store::PicoUsd;

use crate::Tokens;

/// The price of what was used and of the tier that served, in pico-dollars; `None` where the model has no price.
///
/// A price of N micro-dollars per million tokens is N pico-dollars per token, so nothing is ever rounded but what the region
/// and the tier make of the sum: both at once, up to the next whole pico-dollar.
pub fn cost(resolution: &Resolution, tokens: &Tokens, tier: ServiceTier) -> Option<PicoUsd> {
    let listed = resolution.model.price?;
    let input = tokens.input + tokens.cache_read + tokens.cache_write_5m + tokens.cache_write_1h;
    let price = match listed.band {
        Some(band) if input > u64::from(band.above_input_tokens) => band.price,
        _ => listed,
    };
    let base = sum(&price, tokens);
    let percent = if resolution.is_regional() { u128::from(listed.regional_percent.max(100)) } else { 100 };
    Some(PicoUsd((base * percent * u128::from(tier.price_percent())).div_ceil(100 * 100)))
}

fn sum(price: &Price, tokens: &Tokens) -> u128 {
    // A model without a cache price charges cached tokens as input.
    let or_input = |listed: Option<u64>| listed.unwrap_or(price.input);
    [
        (tokens.input, price.input),
        (tokens.output, price.output),
        (tokens.cache_read, or_input(price.cache_read)),
        (tokens.cache_write_5m, or_input(price.cache_write_5m)),
        (tokens.cache_write_1h, or_input(price.cache_write_1h)),
    ]
    .iter()
    .map(|(count, each)| u128::from(*count) * u128::from(*each))
    .sum()
}

#[cfg(test)]
mod tests {
    use catalog::{Catalog, Scope};

    use super::*;

    const DEFAULT: ServiceTier = ServiceTier::Default;

    fn resolve(name: &str) -> Resolution {
        Catalog::builtin().resolve(name, Scope::Global, "us-east-1", true).unwrap()
    }

    #[test]
    fn cache_writes_are_counted_once_and_to_the_last_digit() {
        let tokens = Tokens { input: 3, output: 550, cache_write_5m: 12_304, ..Tokens::default() };
        // 3 × $3 + 550 × $15 + 12,304 × $3.75, each per million.
        assert_eq!(cost(&resolve("claude-sonnet-4-6"), &tokens, DEFAULT), Some(PicoUsd(54_399_000_000)));
    }

    #[test]
    fn an_hour_of_cache_costs_twice_the_input_price() {
        let tokens =
            Tokens { cache_write_1h: 1000, cache_write_5m: 500, cache_read: 100, ..Tokens::default() };
        let expected = 1000 * 6_000_000 + 500 * 3_750_000 + 100 * 300_000;
        assert_eq!(cost(&resolve("claude-sonnet-4-6"), &tokens, DEFAULT), Some(PicoUsd(expected)));
    }

    #[test]
    fn a_regional_profile_costs_a_tenth_more() {
        let tokens = Tokens { input: 1, ..Tokens::default() };
        assert_eq!(
            cost(&resolve("us.anthropic.claude-sonnet-4-6"), &tokens, DEFAULT),
            Some(PicoUsd(3_300_000))
        );
    }

    #[test]
    fn the_tier_that_served_is_priced_and_a_started_pico_dollar_is_a_whole_one() {
        let tokens = Tokens { input: 3, output: 550, cache_write_5m: 12_304, ..Tokens::default() };
        for (tier, pico) in [
            (ServiceTier::Flex, 27_199_500_000),
            (ServiceTier::Default, 54_399_000_000),
            (ServiceTier::Priority, 95_198_250_000),
            (ServiceTier::Reserved, 54_399_000_000),
        ] {
            assert_eq!(cost(&resolve("claude-sonnet-4-6"), &tokens, tier), Some(PicoUsd(pico)), "{tier:?}");
        }
        // 1 × $0.075 per million is 75,000 pico-dollars; 110 % and 175 % are taken together.
        let coder = resolve("qwen.qwen3-coder-30b-a3b-v1:0");
        let one = Tokens { input: 1, ..Tokens::default() };
        assert_eq!(cost(&coder, &one, ServiceTier::Priority), Some(PicoUsd(131_250)));
        let regional = resolve("us.anthropic.claude-sonnet-4-6");
        assert_eq!(cost(&regional, &one, ServiceTier::Flex), Some(PicoUsd(1_650_000)));
    }

    #[test]
    fn a_model_without_a_price_is_unpriced_and_not_free() {
        assert_eq!(cost(&resolve("some.unknown-model"), &Tokens::default(), DEFAULT), None);
    }

    #[test]
    fn the_largest_counts_do_not_overflow() {
        let most = Tokens { input: u64::MAX / 8, output: u64::MAX, ..Tokens::default() };
        assert!(cost(&resolve("claude-opus-4-1"), &most, DEFAULT).is_some());
    }
}
