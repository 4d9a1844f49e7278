//! What requests may use: beta flags, prompt caching, switches, media behind URLs, kept responses, limits.

use std::time::Duration;

use catalog::Resolution;
use clap::Args;
use convert::Ttl;

use super::values::{self, BetaMapping, Flag, Hosts, List, Patterns, Percents, Seconds, Tier, TokenWeights};

#[derive(Clone, Debug, Args)]
#[expect(clippy::struct_field_names, reason = "clap knows a setting by its member's name, over all structs")]
#[command(next_help_heading = "Beta flags")]
pub(crate) struct Betas {
    /// JSON object {flag: flag or [flags]}, or @path to a file with one: what a caller's flag becomes upstream.
    #[arg(
        long,
        env = "BETA_HEADER_MAPPING",
        value_name = "JSON",
        default_value = r#"{"advanced-tool-use-2025-11-20":["tool-examples-2025-10-29","tool-search-tool-2025-10-19"]}"#
    )]
    pub(crate) beta_mapping: BetaMapping,
    /// Flags that are never sent, comma-separated.
    #[arg(long, env = "BETA_HEADERS_BLOCKLIST", default_value = "", value_name = "LIST")]
    pub(crate) beta_blocklist: List,
    /// Models that BETA_HEADER_MAPPING applies to: patterns on the Bedrock id, comma-separated; `*` is any text.
    #[arg(long, env = "BETA_HEADER_SUPPORTED_MODELS", default_value = "*claude*", value_name = "LIST")]
    pub(crate) beta_models: Patterns,
    /// What becomes of a flag that no table knows: drop or pass. Bedrock refuses requests with a wrong one.
    #[arg(long, env = "BETA_UNKNOWN", default_value = "drop", value_name = "FATE",
        value_parser = ["drop", "pass"], ignore_case = true)]
    pub(crate) beta_unknown: String,
}

#[derive(Clone, Debug, Args)]
#[expect(clippy::struct_field_names, reason = "clap knows a setting by its member's name, over all structs")]
#[command(next_help_heading = "Prompt caching")]
pub(crate) struct Caching {
    /// Whether cache markers are carried; otherwise all of them are left out (alias ENABLE_PROMPT_CACHING).
    #[arg(long, env = "PROMPT_CACHING_ENABLED", default_value = "true", value_name = "BOOL")]
    pub(crate) caching_enabled: Flag,
    /// Life of what is cached under a marker that names none: 5m or 1h [default: Bedrock's, 5m].
    #[arg(long, env = "DEFAULT_CACHE_TTL", value_name = "TTL", value_parser = ["5m", "1h"])]
    pub(crate) default_cache_ttl: Option<String>,
    /// Whose requests get cache markers that have none: openai (callers of the OpenAI API) or off; Messages callers set their own.
    #[arg(long, env = "PROMPT_CACHE_AUTO", default_value = "openai", value_name = "WHOSE",
        value_parser = ["off", "openai"], ignore_case = true)]
    pub(crate) cache_auto: String,
    /// Tokens before such a marker, at the least [default: what the model asks for].
    #[arg(long, env = "PROMPT_CACHE_MIN_TOKENS", value_name = "N")]
    pub(crate) cache_min_tokens: Option<u32>,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Service tiers")]
pub(crate) struct Tiers {
    /// Service tier of calls for which neither the key nor the request names one: default, flex, priority or reserved.
    #[arg(long, env = "DEFAULT_SERVICE_TIER", default_value = "default", value_name = "TIER")]
    pub(crate) default_service_tier: Tier,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Switches")]
pub(crate) struct Switches {
    /// Whether requests may have tools.
    #[arg(long, env = "ENABLE_TOOL_USE", default_value = "true", value_name = "BOOL")]
    pub(crate) tool_use: Flag,
    /// Whether models may think; otherwise `thinking` is left out of requests.
    #[arg(long, env = "ENABLE_EXTENDED_THINKING", default_value = "true", value_name = "BOOL")]
    pub(crate) thinking: Flag,
    /// Whether requests may hold documents.
    #[arg(long, env = "ENABLE_DOCUMENT_SUPPORT", default_value = "true", value_name = "BOOL")]
    pub(crate) documents: Flag,
    /// Whether requests may hold images.
    #[arg(long, env = "ENABLE_VISION", default_value = "true", value_name = "BOOL")]
    pub(crate) vision: Flag,
}

#[derive(Clone, Debug, Args)]
#[expect(clippy::struct_field_names, reason = "clap knows a setting by its member's name, over all structs")]
#[command(next_help_heading = "Media behind URLs")]
pub(crate) struct Fetching {
    /// Whether the gateway fetches images and documents that requests name by URL; otherwise 400.
    #[arg(long, env = "ENABLE_IMAGE_URL_FETCH", default_value = "false", value_name = "BOOL")]
    pub(crate) fetch_urls: Flag,
    /// Time for all that one request names, redirects included, in seconds.
    #[arg(long, env = "IMAGE_URL_FETCH_TIMEOUT_S", default_value = "30", value_name = "SECONDS")]
    pub(crate) fetch_timeout: Seconds,
    /// Largest one in bytes.
    #[arg(long, env = "IMAGE_URL_FETCH_MAX_BYTES", default_value = "20971520", value_name = "BYTES")]
    pub(crate) fetch_max_bytes: usize,
    /// Hosts to fetch from, comma-separated: `name`, `*.name` or `*`, at public addresses only, or `name:port`, which is
    /// trusted even at a private address [default: any host at a public address].
    #[arg(long, env = "IMAGE_URL_FETCH_ALLOW_HOSTS", default_value = "", value_name = "LIST")]
    pub(crate) fetch_hosts: Hosts,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Kept responses")]
pub(crate) struct Responses {
    /// How long a response of /v1/responses is kept for its key to go on from, in seconds; 0 keeps none.
    #[arg(long, env = "RESPONSE_CONTEXT_TTL_SECONDS", default_value = "3600", value_name = "SECONDS")]
    pub(crate) response_context_ttl: Seconds,
    /// Largest conversation that is kept, in bytes of JSON, at most 3000000.
    #[arg(long, env = "RESPONSE_CONTEXT_MAX_BYTES", default_value = "1048576",
        value_name = "BYTES", value_parser = values::context_bytes)]
    pub(crate) context_max_bytes: usize,
}

impl Responses {
    /// For how long, if at all.
    pub(crate) fn keeps(&self) -> Option<Duration> {
        let Seconds(ttl) = self.response_context_ttl;
        (!ttl.is_zero()).then_some(ttl)
    }
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits of keys")]
pub(crate) struct RateLimits {
    /// Whether requests and tokens are limited by key; CONCURRENCY_LIMIT holds in any case.
    #[arg(long, env = "RATE_LIMIT_ENABLED", default_value = "true", value_name = "BOOL")]
    pub(crate) rate_limit_enabled: Flag,
    /// Requests of a key per RATE_LIMIT_WINDOW, unless its record says otherwise; of all callers without a key together.
    #[arg(long, env = "RATE_LIMIT_REQUESTS", default_value = "1000", value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate_limit_requests: u32,
    /// Time in which an empty bucket of requests fills, 1 to 86400, in seconds.
    #[arg(long, env = "RATE_LIMIT_WINDOW", default_value = "60", value_name = "SECONDS",
        value_parser = values::window)]
    pub(crate) rate_limit_window: Seconds,
    /// Requests of MASTER_API_KEY per RATE_LIMIT_WINDOW; 0 is no limit.
    #[arg(long, env = "MASTER_KEY_RATE_LIMIT", default_value = "10000", value_name = "N")]
    pub(crate) master_key_rate_limit: u32,
    /// Tokens of a key per minute, counted as Bedrock counts them; 0 is no limit.
    #[arg(long, env = "RATE_LIMIT_TOKENS", default_value = "0", value_name = "N",
        value_parser = clap::value_parser!(u64).range(..=1_000_000_000_000))]
    pub(crate) rate_limit_tokens: u64,
    /// JSON object {input, output, cache_read, cache_write}, or @path: what a token counts against a limit of tokens [default: 1, 5 for Claude from 3.7 on and else 1, 0, 1].
    #[arg(long, env = "RATE_LIMIT_TOKEN_WEIGHTS", value_name = "JSON")]
    pub(crate) rate_limit_token_weights: Option<TokenWeights>,
    /// Requests and streams of a key that are open at once; 0 is no limit.
    #[arg(long, env = "CONCURRENCY_LIMIT", default_value = "0", value_name = "N")]
    pub(crate) concurrency_limit: u32,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Budgets of keys")]
pub(crate) struct Budgets {
    /// Percent of what is left of a budget or a limit that a gateway sets aside for itself at a time, 1 to 100.
    #[arg(long, env = "LEASE_SHARE_PERCENT", default_value = "10", value_name = "PERCENT",
        value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) lease_share: u8,
    /// Time after which the others may use what a lost gateway had set aside of a budget, 1 to 3600, in seconds; what is not used goes back after a third of it.
    #[arg(long, env = "LEASE_TTL_SECONDS", default_value = "15", value_name = "SECONDS",
        value_parser = values::lease_ttl)]
    pub(crate) lease_ttl: Seconds,
    /// Shares of a budget in percent, comma-separated: reaching one is a warning in the log and in outcrop_budget_alerts_total, once a period over all gateways.
    #[arg(long, env = "BUDGET_ALERT_PERCENTS", default_value = "80,100", value_name = "LIST")]
    pub(crate) budget_alerts: Percents,
}

impl Budgets {
    /// How limits are shared; what nobody uses goes back after the same time as a lease of a budget.
    pub(crate) fn sharing(&self) -> policy::Sharing {
        policy::Sharing { share_percent: self.lease_share, idle: self.lease_ttl.0 / 3 }
    }

    pub(crate) fn terms(&self, replica: String) -> policy::Terms {
        policy::Terms {
            replica,
            share_percent: self.lease_share,
            ttl: self.lease_ttl.0,
            alert_percents: self.budget_alerts.0.clone(),
            alert: std::sync::Arc::new(crate::metrics::budget_alert),
        }
    }
}

impl RateLimits {
    pub(crate) fn config(&self, shared: Option<policy::Sharing>) -> policy::RateConfig {
        policy::RateConfig {
            enabled: self.rate_limit_enabled.0,
            window: self.rate_limit_window.0,
            requests: self.rate_limit_requests,
            master_requests: self.master_key_rate_limit,
            tokens: self.rate_limit_tokens,
            concurrency: self.concurrency_limit,
            weights: self.rate_limit_token_weights.map(|weights| weights.0).unwrap_or_default(),
            shared,
        }
    }
}

impl Betas {
    /// What flags become in requests to this model.
    pub(crate) fn mapping_for(&self, resolution: &Resolution) -> &[(String, Vec<String>)] {
        let mapped = resolution.fits(|id| self.beta_models.any_matches(id));
        if mapped { &self.beta_mapping.0 } else { &[] }
    }

    pub(crate) fn passes_unknown(&self) -> bool {
        self.beta_unknown.eq_ignore_ascii_case("pass")
    }
}

impl Caching {
    /// Whether requests of the OpenAI API get markers.
    pub(crate) fn is_automatic(&self) -> bool {
        self.caching_enabled.0 && self.cache_auto.eq_ignore_ascii_case("openai")
    }

    /// For markers that name no TTL.
    pub(crate) fn default_ttl(&self) -> Option<Ttl> {
        self.default_cache_ttl.as_deref().map(|ttl| if ttl == "1h" { Ttl::OneHour } else { Ttl::FiveMinutes })
    }
}
