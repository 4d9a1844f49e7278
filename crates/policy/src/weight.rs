//! What a call counts against a limit of tokens.

use catalog::Model;

use crate::Tokens;

/// What a token of each kind counts, in thousandths. What is absent counts as Bedrock's quotas count it: input and cache writes
/// 1, cache reads nothing, output as the model's row says.
/// <https://docs.aws.amazon.com/bedrock/latest/userguide/quotas-token-burndown.html>
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weights {
    /// Uncached input.
    pub input: Option<u32>,
    /// Output, thinking included.
    pub output: Option<u32>,
    /// Read from the cache.
    pub cache_read: Option<u32>,
    /// Written to it, for either TTL.
    pub cache_write: Option<u32>,
}

const ONE: u32 = 1000;

impl Weights {
    /// The sum, a started token counted as a whole one.
    pub fn count(&self, model: &Model, tokens: &Tokens) -> u64 {
        let output = u32::from(model.output_weight) * ONE;
        let sum: u128 = [
            (tokens.input, self.input.unwrap_or(ONE)),
            (tokens.output, self.output.unwrap_or(output)),
            (tokens.cache_read, self.cache_read.unwrap_or(0)),
            (tokens.cache_write_5m, self.cache_write.unwrap_or(ONE)),
            (tokens.cache_write_1h, self.cache_write.unwrap_or(ONE)),
        ]
        .iter()
        .map(|(count, each)| u128::from(*count) * u128::from(*each))
        .sum();
        u64::try_from(sum.div_ceil(ONE.into())).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use catalog::{Catalog, Scope};

    use super::*;

    const USED: Tokens = Tokens {
        input: 2000,
        output: 100,
        cache_read: 8000,
        cache_write_5m: 30,
        cache_write_1h: 4,
        reasoning: 50,
    };

    fn count(name: &str, weights: Weights, tokens: &Tokens) -> u64 {
        let resolution = Catalog::builtin().resolve(name, Scope::Global, "us-east-1", true).unwrap();
        weights.count(resolution.model, tokens)
    }

    #[test]
    fn what_counts_is_what_counts_at_bedrock() {
        let weights = Weights::default();
        assert_eq!(count("claude-sonnet-4-6", weights, &USED), 2000 + 5 * 100 + 34);
        assert_eq!(count("claude-3-5-sonnet", weights, &USED), 2000 + 100 + 34);
        assert_eq!(count("qwen.qwen3-coder-480b-a35b-v1:0", weights, &USED), 2000 + 100 + 34);
    }

    #[test]
    fn the_operators_weights_win_and_parts_of_tokens_are_rounded_up_once() {
        let weights = Weights { cache_read: Some(100), output: Some(1500), ..Weights::default() };
        let tokens = Tokens { input: 1, output: 1, cache_read: 1, ..Tokens::default() };
        assert_eq!(count("claude-sonnet-4-6", weights, &tokens), 3, "1 + 1.5 + 0.1");
        let most = Tokens { input: u64::MAX, output: u64::MAX, ..Tokens::default() };
        assert_eq!(count("claude-sonnet-4-6", weights, &most), u64::MAX);
    }
}
