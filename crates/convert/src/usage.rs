//! What an answer used, as far as it is known.

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
