//! One billable upstream call.

use serde::{Deserialize, Serialize};

use crate::{CacheTtl, KeyId, PicoUsd, ServiceTier, Timestamp};

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowStatus {
    /// The answer was complete.
    Ok,
    /// The caller left; what was used until then is in the row.
    ClientClosed,
    /// The upstream failed, before or amid its answer.
    UpstreamError,
}

impl RowStatus {
    /// Its name in the database and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::ClientClosed => "client_closed",
            Self::UpstreamError => "upstream_error",
        }
    }

    /// From its name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Ok, Self::ClientClosed, Self::UpstreamError].into_iter().find(|status| status.as_str() == name)
    }
}

/// One row per billable upstream call, unique by `(request_id, round)`, written once and never changed.
///
/// Counts above `i64::MAX` are kept as `i64::MAX`. Texts are kept as they are, NUL included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRow {
    /// Whose key.
    pub key_id: KeyId,
    /// The user of that key.
    pub user_id: String,
    /// When the request was admitted; decides the day and month it is counted in.
    pub ts: Timestamp,
    /// Our id of the request.
    pub request_id: String,
    /// Which upstream call of that request: 0, 1, …
    pub round: u32,
    /// The route that was called: `messages`, `count_tokens`, …
    pub surface: String,
    /// The model as the caller typed it.
    pub requested_model: String,
    /// The model id or profile that was called.
    pub resolved_model: String,
    /// Its base id: the one that is priced and counted by.
    pub base_model: String,
    /// `native` or `converse`.
    pub lane: String,
    /// The name of the upstream target.
    pub target: String,
    /// Its region.
    pub region: String,
    /// Whether the caller asked for a stream.
    pub stream: bool,
    /// Tokens of input, without cached ones.
    #[serde(default)]
    pub input_tokens: u64,
    /// Tokens of output, reasoning included.
    #[serde(default)]
    pub output_tokens: u64,
    /// Tokens read from the prompt cache.
    #[serde(default)]
    pub cache_read_tokens: u64,
    /// Tokens written to the prompt cache for five minutes.
    #[serde(default)]
    pub cache_write_5m_tokens: u64,
    /// Tokens written to the prompt cache for an hour.
    #[serde(default)]
    pub cache_write_1h_tokens: u64,
    /// Of the output, how many were reasoning, where the upstream says so.
    #[serde(default)]
    pub reasoning_tokens: Option<u64>,
    /// The service tier that was wished for, by the key, the request or the gateway's default.
    #[serde(default)]
    pub tier_requested: ServiceTier,
    /// The one that served, and is priced.
    #[serde(default)]
    pub tier_served: ServiceTier,
    /// The longest TTL of the cache markers as they were sent; absent where none was.
    #[serde(default)]
    pub cache_ttl: Option<CacheTtl>,
    /// What it cost; absent when the model has no price ("unpriced"), which is not the same as free.
    #[serde(default)]
    pub cost_pico_usd: Option<PicoUsd>,
    /// Whether the counts were estimated because the upstream reported none.
    #[serde(default)]
    pub estimated: bool,
    /// How it ended.
    pub status: RowStatus,
    /// The status that the caller got, 200 of a stream whatever came of it; 499 where it had left.
    #[serde(default)]
    pub http_status: u16,
    /// The kind of error, where there was one.
    #[serde(default)]
    pub error_type: Option<String>,
    /// Why the model stopped.
    #[serde(default)]
    pub stop_reason: Option<String>,
    /// How many times the upstream was called for this row.
    #[serde(default)]
    pub attempts: u32,
    /// From admission to the last byte, in milliseconds.
    #[serde(default)]
    pub latency_ms: u64,
    /// From admission to the first event of content, in milliseconds.
    #[serde(default)]
    pub ttft_ms: Option<u64>,
    /// The upstream's id of the request.
    #[serde(default)]
    pub upstream_request_id: Option<String>,
    /// The caller's session, where it names one.
    #[serde(default)]
    pub session: Option<String>,
}

impl UsageRow {
    /// Whether the model had no price.
    pub fn is_unpriced(&self) -> bool {
        self.cost_pico_usd.is_none()
    }

    /// The row as every backend keeps it: counts within `i64`.
    pub(crate) fn clamped(&self) -> Self {
        let limit = |count: u64| count.min(i64::MAX as u64);
        Self {
            input_tokens: limit(self.input_tokens),
            output_tokens: limit(self.output_tokens),
            cache_read_tokens: limit(self.cache_read_tokens),
            cache_write_5m_tokens: limit(self.cache_write_5m_tokens),
            cache_write_1h_tokens: limit(self.cache_write_1h_tokens),
            reasoning_tokens: self.reasoning_tokens.map(limit),
            latency_ms: limit(self.latency_ms),
            ttft_ms: self.ttft_ms.map(limit),
            ..self.clone()
        }
    }
}

/// Which rows of a key: `since` ≤ `ts` < `until`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageQuery {
    /// Whose rows.
    pub key_id: KeyId,
    /// The first instant that counts.
    pub since: Timestamp,
    /// The first instant that counts no more.
    pub until: Timestamp,
}
