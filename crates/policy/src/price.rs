//! What a call costs, exactly.

use catalog::{Price, Resolution, ServiceTier};
use store::{PicoUsd, PriceFigures, PriceRow};

use crate::{Ask, Marks, Tokens};

/// What a model costs, by a row of the store or by the catalogue. Figures are pico-dollars per token.
///
/// A price of N micro-dollars per million tokens is N pico-dollars per token, so nothing is ever rounded but what the region
/// and the tier make of the sum: both at once, up to the next whole pico-dollar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tariff {
    /// What each kind of token costs.
    pub figures: Figures,
    /// More input tokens than these, cached ones included, cost something else.
    pub band: Option<(u64, Figures)>,
    /// Ids of a geography or of the region itself cost so many percent.
    pub regional_percent: u16,
}

/// Pico-dollars per token, by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the tokens")]
pub struct Figures {
    pub input: u64,
    pub output: u64,
    pub cache_read: u64,
    pub cache_write_5m: u64,
    pub cache_write_1h: u64,
}

/// The price of what was used and of the tier that served, in pico-dollars.
pub fn cost(tariff: &Tariff, resolution: &Resolution, tokens: &Tokens, tier: ServiceTier) -> PicoUsd {
    let input = tokens.input + tokens.cache_read + tokens.cache_write_5m + tokens.cache_write_1h;
    let figures = match tariff.band {
        Some((bound, figures)) if input > bound => figures,
        Some(_) | None => tariff.figures,
    };
    charged(tariff, resolution, sum(&figures, tokens), tier)
}

/// The most that a call can cost, as far as it is known before: all of its input at the dearest price that may apply to it,
/// as much output as it may make, and the dearer of the tier it asks for and the one that serves where that is not to be
/// had. A row may make anything the dearest: a read, or what is below its band.
pub(crate) fn most(tariff: &Tariff, resolution: &Resolution, ask: &Ask, caching: Marks) -> PicoUsd {
    let (input, output) = (ask.input_estimate, ask.most_output(resolution));
    let above = tariff.band.filter(|(bound, _)| input > *bound).map(|(_, figures)| figures);
    let all = |each: Figures| {
        let written = match caching {
            Marks::None => 0,
            Marks::FiveMinutes => each.cache_write_5m,
            Marks::Hour => each.cache_write_5m.max(each.cache_write_1h),
        };
        let dearest = each.input.max(each.cache_read).max(written);
        sum(&Figures { input: dearest, ..each }, &Tokens { input, output, ..Tokens::default() })
    };
    let base = all(tariff.figures).max(above.map_or(0, all));
    let wished = charged(tariff, resolution, base, ask.tier.unwrap_or_default());
    wished.max(charged(tariff, resolution, base, ServiceTier::Default))
}

/// What the region and the tier make of a sum at the list price.
fn charged(tariff: &Tariff, resolution: &Resolution, base: u128, tier: ServiceTier) -> PicoUsd {
    let percent = if resolution.is_regional() { u128::from(tariff.regional_percent.max(100)) } else { 100 };
    PicoUsd((base * percent * u128::from(tier.price_percent())).div_ceil(100 * 100))
}

fn sum(each: &Figures, tokens: &Tokens) -> u128 {
    [
        (tokens.input, each.input),
        (tokens.output, each.output),
        (tokens.cache_read, each.cache_read),
        (tokens.cache_write_5m, each.cache_write_5m),
        (tokens.cache_write_1h, each.cache_write_1h),
    ]
    .iter()
    .map(|(count, each)| u128::from(*count) * u128::from(*each))
    .sum()
}

impl From<&Price> for Tariff {
    fn from(price: &Price) -> Self {
        let band = price.band.map(|band| (band.above_input_tokens.into(), figures(&listed(&band.price))));
        Self { figures: figures(&listed(price)), band, regional_percent: price.regional_percent }
    }
}

impl From<&PriceRow> for Tariff {
    fn from(row: &PriceRow) -> Self {
        let band = row.band.map(|band| (band.above_input_tokens.into(), figures(&band.figures)));
        Self { figures: figures(&row.figures), band, regional_percent: row.regional_multiplier }
    }
}

/// The catalogue's figures in the form of a row.
pub fn listed(price: &Price) -> PriceFigures {
    PriceFigures {
        input: price.input,
        output: price.output,
        cache_read: price.cache_read,
        cache_write_5m: price.cache_write_5m,
        cache_write_1h: price.cache_write_1h,
    }
}

/// A model without a cache price charges cached tokens as input.
fn figures(price: &PriceFigures) -> Figures {
    Figures {
        input: price.input,
        output: price.output,
        cache_read: price.cache_read.unwrap_or(price.input),
        cache_write_5m: price.cache_write_5m.unwrap_or(price.input),
        cache_write_1h: price.cache_write_1h.unwrap_or(price.input),
    }
}

#[cfg(test)]
mod tests {
    use catalog::{Catalog, Scope};
    use proptest::prelude::*;

    use super::*;

    const DEFAULT: ServiceTier = ServiceTier::Default;

    fn resolve(name: &str) -> Resolution {
        Catalog::builtin().resolve(name, Scope::Global, "us-east-1", true).unwrap()
    }

    fn tariff(resolution: &Resolution) -> Option<Tariff> {
        resolution.model.price.as_ref().map(Tariff::from)
    }

    fn cost(resolution: &Resolution, tokens: &Tokens, tier: ServiceTier) -> Option<PicoUsd> {
        tariff(resolution).map(|tariff| super::cost(&tariff, resolution, tokens, tier))
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
        let resolution = resolve(model);
        tariff(&resolution).map(|tariff| most(&tariff, &resolution, ask, ask.caching).0)
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

    fn some_figures() -> impl Strategy<Value = Figures> {
        [0..20_000_000_u64, 0..90_000_000, 0..20_000_000, 0..20_000_000, 0..40_000_000].prop_map(
            |[input, output, cache_read, cache_write_5m, cache_write_1h]| Figures {
                input,
                output,
                cache_read,
                cache_write_5m,
                cache_write_1h,
            },
        )
    }

    /// As odd as an operator can make them.
    fn a_tariff() -> impl Strategy<Value = Tariff> {
        let band = proptest::option::of((0..300_000_u64, some_figures()));
        (some_figures(), band, 100..300_u16).prop_map(|(figures, band, regional_percent)| Tariff {
            figures,
            band,
            regional_percent,
        })
    }

    proptest! {
        #[test]
        fn what_a_call_uses_within_its_estimate_costs_no_more_than_the_most(
            used in 0..150_000_u64, written in 0..100_000_u64, read in 0..100_000_u64, hour in proptest::bool::ANY,
            output in 0..8_192_u64, row in a_tariff(),
        ) {
            let mut tokens = Tokens { input: used, output, cache_read: read, ..Tokens::default() };
            *(if hour { &mut tokens.cache_write_1h } else { &mut tokens.cache_write_5m }) = written;
            let ask = Ask {
                input_estimate: used + written + read,
                max_tokens: Some(8_192),
                caching: Marks::Hour,
                ..Ask::default()
            };
            for model in
                ["claude-sonnet-4-6", "eu.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-haiku-5-5"]
            {
                let resolution = resolve(model);
                for tariff in [tariff(&resolution).unwrap(), row] {
                    for tier in ServiceTier::ALL {
                        let ask = Ask { tier: Some(tier), ..ask.clone() };
                        let most = most(&tariff, &resolution, &ask, ask.caching);
                        for served in [tier, ServiceTier::Default] {
                            prop_assert!(super::cost(&tariff, &resolution, &tokens, served) <= most);
                        }
                    }
                }
            }
        }
    }

    /// A million calls of all sizes.
    fn a_million() -> impl Iterator<Item = Tokens> {
        (0..1_000_000_u64).map(|n| Tokens {
            input: n * 7_919 % 20_011,
            output: n * 104_729 % 4_099,
            cache_read: n * 1_299_709 % 150_001,
            cache_write_5m: n * 611_953 % 9_973,
            cache_write_1h: n % 3 * 1_000,
            reasoning: 0,
        })
    }

    /// What they cost one by one, and all of their tokens at once, before region and tier.
    fn summed(tariff: &Tariff, model: &str, tier: ServiceTier) -> (u128, u128) {
        let resolution = resolve(model);
        let (mut rows, mut all) = (0, Tokens::default());
        for tokens in a_million() {
            rows += super::cost(tariff, &resolution, &tokens, tier).0;
            all.input += tokens.input;
            all.output += tokens.output;
            all.cache_read += tokens.cache_read;
            all.cache_write_5m += tokens.cache_write_5m;
            all.cache_write_1h += tokens.cache_write_1h;
        }
        (rows, sum(&tariff.figures, &all))
    }

    #[test]
    fn a_million_rows_sum_to_the_last_digit_of_what_their_tokens_cost() {
        for (model, tier, percent) in [
            ("claude-sonnet-4-6", ServiceTier::Default, 100 * 100),
            ("us.anthropic.claude-sonnet-4-6", ServiceTier::Reserved, 110 * 100),
            ("qwen.qwen3-coder-30b-a3b-v1:0", ServiceTier::Flex, 100 * 50),
            ("qwen.qwen3-coder-30b-a3b-v1:0", ServiceTier::Priority, 100 * 175),
        ] {
            let (rows, tokens) = summed(&tariff(&resolve(model)).unwrap(), model, tier);
            assert_eq!(rows * 100 * 100, tokens * percent, "{model} {tier:?}");
        }
    }

    #[test]
    fn of_odd_prices_a_million_rows_are_less_than_a_micro_dollar_above_the_sum_of_their_tokens() {
        let odd = Figures { input: 7, output: 11, cache_read: 1, cache_write_5m: 13, cache_write_1h: 17 };
        let odd = Tariff { figures: odd, band: None, regional_percent: 113 };
        let (rows, tokens) = summed(&odd, "us.anthropic.claude-sonnet-4-6", ServiceTier::Priority);
        let exact = tokens * 113 * 175;
        assert!(rows * 10_000 >= exact && rows - exact / 10_000 < 1_000_000);
    }

    #[test]
    fn above_its_bound_a_band_applies_to_all_of_the_request() {
        let tokens = Tokens { input: 150_000, cache_read: 50_000, ..Tokens::default() };
        let sonnet = resolve("claude-sonnet-4-5");
        assert_eq!(cost(&sonnet, &tokens, DEFAULT), Some(PicoUsd(150_000 * 3_000_000 + 50_000 * 300_000)));
        let more = Tokens { input: 150_001, ..tokens };
        assert_eq!(cost(&sonnet, &more, DEFAULT), Some(PicoUsd(150_001 * 6_000_000 + 50_000 * 600_000)));
    }

    #[test]
    fn a_model_without_a_price_is_unpriced_and_not_free() {
        assert_eq!(cost(&resolve("some.unknown-model"), &Tokens::default(), DEFAULT), None);
    }

    #[test]
    fn without_a_cache_price_cached_tokens_cost_what_input_costs() {
        let qwen = resolve("qwen.qwen3-coder-480b-a35b-v1:0");
        let all = Tokens { input: 1000, output: 7, ..Tokens::default() };
        let cached = Tokens {
            input: 200,
            output: 7,
            cache_read: 500,
            cache_write_5m: 200,
            cache_write_1h: 100,
            ..all
        };
        assert_eq!(qwen.model.price.and_then(|price| price.cache_read), None);
        assert_eq!(cost(&qwen, &cached, DEFAULT), cost(&qwen, &all, DEFAULT));
    }

    #[test]
    fn the_largest_counts_do_not_overflow() {
        let most = Tokens { input: u64::MAX / 8, output: u64::MAX, ..Tokens::default() };
        assert!(cost(&resolve("claude-opus-4-1"), &most, DEFAULT).is_some());
    }
}
