//! What a call costs, exactly.

use catalog::{Price, Resolution, ServiceTier};
use store::PicoUsd;

use crate::{Ask, Marks, Tokens};

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

/// The most that a call can cost, as far as it is known before: all of its input at the dearest price that may apply to it,
/// as much output as it may make, and the dearer of the tier it asks for and the one that serves where that is not to be
/// had. `None` where the model has no price.
pub(crate) fn most(resolution: &Resolution, ask: &Ask, caching: Marks) -> Option<PicoUsd> {
    let output = ask.most_output(resolution);
    let input = ask.input_estimate;
    let reads = [Tokens { input, output, ..Tokens::default() }];
    let short = Tokens { cache_write_5m: input, output, ..Tokens::default() };
    let long = Tokens { cache_write_1h: input, output, ..Tokens::default() };
    let writes: &[Tokens] = match caching {
        Marks::None => &[],
        Marks::FiveMinutes => &[short],
        Marks::Hour => &[short, long],
    };
    let tiers = [ask.tier.unwrap_or_default(), ServiceTier::Default];
    let ways = reads.iter().chain(writes).flat_map(|tokens| tiers.map(|tier| cost(resolution, tokens, tier)));
    ways.max().flatten()
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

    fn most_of(model: &str, ask: &Ask) -> Option<u128> {
        most(&resolve(model), ask, ask.caching).map(|most| most.0)
    }

    #[test]
    fn the_most_is_the_input_at_its_dearest_and_all_the_output_that_may_come() {
        let ask = |max_tokens, caching| Ask { input_estimate: 1000, max_tokens, caching, ..Ask::default() };
        let sonnet = |ask: &Ask| most_of("claude-sonnet-4-6", ask).unwrap();
        assert_eq!(sonnet(&ask(Some(100), Marks::None)), 1000 * 3_000_000 + 100 * 15_000_000);
        assert_eq!(sonnet(&ask(Some(100), Marks::FiveMinutes)), 1000 * 3_750_000 + 100 * 15_000_000);
        assert_eq!(sonnet(&ask(Some(100), Marks::Hour)), 1000 * 6_000_000 + 100 * 15_000_000);
        let all = u128::from(resolve("claude-sonnet-4-6").model.max_output) * 15_000_000;
        for none_or_too_many in [None, Some(u64::MAX)] {
            assert_eq!(sonnet(&ask(none_or_too_many, Marks::None)), 1000 * 3_000_000 + all);
        }
        let regional = most_of("us.anthropic.claude-sonnet-4-6", &ask(Some(100), Marks::None));
        assert_eq!(regional, Some((1000 * 3_000_000 + 100 * 15_000_000) * 110 / 100));
        assert_eq!(most_of("some.unknown-model", &ask(Some(1), Marks::None)), None);
    }

    proptest::proptest! {
        #[test]
        fn what_a_call_uses_within_its_estimate_costs_no_more_than_the_most(
            used in 0..150_000_u64, written in 0..100_000_u64, read in 0..100_000_u64, hour in proptest::bool::ANY,
            output in 0..8_192_u64,
        ) {
            let mut tokens = Tokens { input: used, output, cache_read: read, ..Tokens::default() };
            *(if hour { &mut tokens.cache_write_1h } else { &mut tokens.cache_write_5m }) = written;
            let ask = Ask {
                input_estimate: used + written + read,
                max_tokens: Some(8_192),
                caching: Marks::Hour,
                ..Ask::default()
            };
            for model in ["claude-sonnet-4-6", "eu.anthropic.claude-sonnet-4-5", "claude-haiku-5-5"] {
                let resolution = resolve(model);
                for tier in ServiceTier::ALL {
                    let ask = Ask { tier: Some(tier), ..ask.clone() };
                    for served in [tier, ServiceTier::Default] {
                        let cost = cost(&resolution, &tokens, served);
                        proptest::prop_assert!(cost <= most(&resolution, &ask, ask.caching));
                    }
                }
            }
        }
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
