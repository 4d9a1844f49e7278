//! What an answer used, as far as it is known.

use protocol::anthropic::response as anthropic;
use protocol::converse::response as converse;

/// Token counts of one upstream call. Figures of a stream are cumulative: the largest seen counts, nothing is added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Uncached input tokens.
    pub input: u64,
    /// Output tokens, thinking included.
    pub output: u64,
    /// Tokens read from the cache.
    pub cache_read: u64,
    /// Tokens written to the cache with the 5-minute TTL.
    pub cache_write_5m: u64,
    /// Tokens written to the cache with the 1-hour TTL.
    pub cache_write_1h: u64,
    /// Thinking tokens, where the upstream tells them apart; part of `output`.
    pub reasoning: u64,
    /// Whether the upstream has reported any figure at all; otherwise the figures must be estimated.
    pub reported: bool,
}

impl Usage {
    /// What Converse reports, in `usage` of a whole answer or in the `metadata` event:
    /// <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_TokenUsage.html>.
    pub fn from_converse(usage: &converse::Usage) -> Self {
        let details = usage.cache_details.as_deref().unwrap_or_default();
        let of = |ttl: &str| details.iter().filter(|it| it.ttl == ttl).map(|it| it.input_tokens).sum();
        Self {
            input: usage.input_tokens.unwrap_or(0),
            output: usage.output_tokens.unwrap_or(0),
            cache_read: usage.cache_read_input_tokens.unwrap_or(0),
            reported: false,
            reasoning: 0,
            ..Self::cache_writes(usage.cache_write_input_tokens, of("5m"), of("1h"))
        }
        .noted()
    }

    /// What a Messages answer reports, in the message or in the events `message_start` and `message_delta`:
    /// <https://platform.claude.com/docs/en/api/messages>.
    pub fn from_anthropic(usage: &anthropic::Usage) -> Self {
        let split = usage.cache_creation.unwrap_or_default();
        Self {
            input: usage.input_tokens.unwrap_or(0),
            output: usage.output_tokens.unwrap_or(0),
            cache_read: usage.cache_read_input_tokens.unwrap_or(0),
            reasoning: usage.output_tokens_details.unwrap_or_default().thinking_tokens,
            reported: false,
            ..Self::cache_writes(
                usage.cache_creation_input_tokens,
                split.ephemeral_5m_input_tokens,
                split.ephemeral_1h_input_tokens,
            )
        }
        .noted()
    }

    /// The same figures for a caller. Both cache figures are always there; thinking only where it was told apart.
    pub fn to_anthropic(self) -> anthropic::Usage {
        let thinking = (self.reasoning > 0)
            .then_some(anthropic::OutputTokensDetails { thinking_tokens: self.reasoning });
        anthropic::Usage {
            input_tokens: Some(self.input),
            cache_creation_input_tokens: Some(self.cache_write()),
            cache_read_input_tokens: Some(self.cache_read),
            cache_creation: Some(anthropic::CacheCreation {
                ephemeral_5m_input_tokens: self.cache_write_5m,
                ephemeral_1h_input_tokens: self.cache_write_1h,
            }),
            output_tokens: Some(self.output),
            output_tokens_details: thinking,
            ..anthropic::Usage::default()
        }
    }

    /// Takes in another report on the same call: of each figure, the larger one.
    ///
    /// Cache writes are one figure of two parts. A report without the parts counts as 5-minute writes, so the parts
    /// cannot be compared one by one: the larger total is kept, and as many 1-hour tokens as any report told apart.
    pub fn merge(&mut self, other: Self) {
        let writes = self.cache_write().max(other.cache_write());
        self.cache_write_1h = self.cache_write_1h.max(other.cache_write_1h);
        self.cache_write_5m = writes.saturating_sub(self.cache_write_1h);
        self.input = self.input.max(other.input);
        self.output = self.output.max(other.output);
        self.cache_read = self.cache_read.max(other.cache_read);
        self.reasoning = self.reasoning.max(other.reasoning);
        self.reported |= other.reported;
    }

    /// Tokens written to the cache, both lifetimes together.
    pub fn cache_write(&self) -> u64 {
        self.cache_write_5m.saturating_add(self.cache_write_1h)
    }

    /// Everything that went in, cached or not.
    pub fn input_total(&self) -> u64 {
        self.input.saturating_add(self.cache_read).saturating_add(self.cache_write())
    }

    fn cache_writes(total: Option<u64>, five_minutes: u64, one_hour: u64) -> Self {
        // What the parts do not explain was written with the default lifetime.
        let rest = total.unwrap_or(0).saturating_sub(five_minutes.saturating_add(one_hour));
        Self {
            cache_write_5m: five_minutes.saturating_add(rest),
            cache_write_1h: one_hour,
            ..Self::default()
        }
    }

    /// A report of nothing but zeros is a placeholder (`message_start` has one), not a figure.
    fn noted(self) -> Self {
        Self { reported: self.input_total() > 0 || self.output > 0, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converse(json: &str) -> Usage {
        Usage::from_converse(&serde_json::from_str(json).unwrap())
    }

    fn anthropic(json: &str) -> Usage {
        Usage::from_anthropic(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn cache_writes_are_told_apart_by_lifetime_and_are_no_input() {
        let usage = converse(
            r#"{"inputTokens":3,"outputTokens":550,"totalTokens":12857,"cacheReadInputTokens":0,"cacheWriteInputTokens":12304,
                "cacheDetails":[{"ttl":"1h","inputTokens":1000},{"ttl":"5m","inputTokens":11304}]}"#,
        );
        assert_eq!((usage.input, usage.cache_write_5m, usage.cache_write_1h), (3, 11304, 1000));
        assert_eq!(usage.input_total(), 12307);
        assert!(usage.reported);
    }

    #[test]
    fn cache_writes_without_details_count_as_five_minute_writes() {
        let bedrock = converse(r#"{"inputTokens":3,"outputTokens":0,"cacheWriteInputTokens":5000}"#);
        assert_eq!((bedrock.cache_write_5m, bedrock.cache_write_1h), (5000, 0));
        let partial = anthropic(
            r#"{"input_tokens":1,"output_tokens":1,"cache_creation_input_tokens":500,
                "cache_creation":{"ephemeral_1h_input_tokens":400}}"#,
        );
        assert_eq!((partial.cache_write_5m, partial.cache_write_1h), (100, 400));
    }

    #[test]
    fn of_several_reports_the_larger_figure_counts_and_none_is_added_up() {
        let mut usage = anthropic(r#"{"input_tokens":2230,"output_tokens":1,"cache_read_input_tokens":7}"#);
        usage.merge(anthropic(r#"{"input_tokens":12284,"output_tokens":90}"#));
        usage.merge(anthropic(r#"{"input_tokens":null,"output_tokens":80}"#));
        assert_eq!((usage.input, usage.output, usage.cache_read), (12284, 90, 7));
    }

    #[test]
    fn a_write_reported_with_and_without_its_lifetime_is_one_write() {
        let with = anthropic(
            r#"{"cache_creation_input_tokens":500,"cache_creation":{"ephemeral_1h_input_tokens":500}}"#,
        );
        let without = anthropic(r#"{"cache_creation_input_tokens":500}"#);
        for (mut first, second) in [(with, without), (without, with)] {
            first.merge(second);
            assert_eq!((first.cache_write_5m, first.cache_write_1h), (0, 500));
        }
        let mut grown = with;
        grown.merge(anthropic(r#"{"cache_creation_input_tokens":600}"#));
        assert_eq!((grown.cache_write_5m, grown.cache_write_1h), (100, 500));
    }

    #[test]
    fn a_placeholder_of_zeros_is_no_report() {
        assert!(!anthropic(r#"{"input_tokens":0,"output_tokens":0}"#).reported);
        assert!(!converse("{}").reported);
        let mut usage = Usage::default();
        usage.merge(converse(r#"{"outputTokens":1}"#));
        usage.merge(Usage::default());
        assert!(usage.reported);
    }

    #[test]
    fn what_a_caller_is_told_reads_back_as_the_same_figures() {
        let usage = Usage {
            input: 1,
            output: 2,
            cache_read: 3,
            cache_write_5m: 4,
            cache_write_1h: 5,
            reasoning: 1,
            reported: true,
        };
        assert_eq!(Usage::from_anthropic(&usage.to_anthropic()), usage);
    }
}
