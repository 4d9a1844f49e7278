//! The rows: one file a group of makers, each with its family's defaults.
//!
//! Limits and profile prefixes are those that the vendors' model pages list
//! (<https://docs.aws.amazon.com/bedrock/latest/userguide/models-supported.html>,
//! <https://docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-support.html>). Where a page is silent, the
//! row says the careful thing: what is left out costs a feature, what is sent wrongly costs the request.

mod claude3;
mod claude4;
mod claude5;
mod embedding;
mod nova;
mod open_weights;
mod openai;
mod others;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use crate::model::{
    Band, Caching, Effort, Embedding, EmbeddingFormat, Family, Lane, Model, Price, Route, Sampling, Thinking,
    ToolIds, TopK,
};
use crate::tier::Tiers;

/// Every row, group by group.
pub(crate) static GROUPS: &[&[Model]] = &[
    claude5::ROWS,
    claude4::ROWS,
    claude3::ROWS,
    openai::ROWS,
    nova::ROWS,
    open_weights::ROWS,
    others::ROWS,
    embedding::ROWS,
];

/// Public names that fix a profile and not only a model.
pub(crate) static FIXED: &[(&str, &str)] = &[("claude-fable-5-us", "us.anthropic.claude-fable-5")];

/// Every flag that some row takes.
pub(crate) static BETAS: LazyLock<BTreeSet<&'static str>> = LazyLock::new(|| {
    GROUPS.iter().flat_map(|group| group.iter()).flat_map(|model| model.betas).copied().collect()
});

/// A model that no row knows.
pub(crate) static UNKNOWN: Model = Model { id: "unknown", display_name: "Unknown model", ..CAREFUL };

/// A Claude that is newer than this table: as the newest ones behave, with the fewest flags.
pub(crate) static UNKNOWN_CLAUDE: Model = claude5::UNKNOWN;

const NO_TIERS: Tiers = Tiers { flex: false, priority: false, reserved: false };
const RESERVED_ONLY: Tiers = Tiers { flex: false, priority: false, reserved: true };
const ALL_TIERS: Tiers = Tiers { flex: true, priority: true, reserved: true };

/// What may be assumed of any Converse model; the root of every struct update below.
const CAREFUL: Model = Model {
    id: "",
    display_name: "",
    names: &[],
    family: Family::Unknown,
    lane: Lane::Converse,
    routes: &[Route::InvokeModel],
    prefixes: &[],
    on_demand: true,
    prefer_base: false,
    released: "2024-01-01",
    // Both limits only clamp what is asked for: an unknown model is asked for what the caller wants.
    context_window: 1_000_000,
    max_output: 131_072,
    min_output: 1,
    thinking: Thinking::None,
    max_effort: None,
    no_xhigh: false,
    effort_needs_beta: false,
    sampling: Sampling::Both,
    top_k: TopK::Refused,
    stop_sequences: 4,
    prefill: false,
    caching: None,
    tools: true,
    streaming_tools: true,
    forced_tool_choice: false,
    tool_result_media: false,
    tool_result_status: false,
    strip_schema_keyword: true,
    tool_ids: ToolIds::Converse,
    system: true,
    mid_system: false,
    vision: true,
    documents: false,
    structured_output: false,
    strict_tools: false,
    replays_reasoning: false,
    embedding: None,
    countable: false,
    betas: &[],
    fields: &[],
    output_weight: 1,
    tiers: NO_TIERS,
    price: None,
};

/// A price without cache figures and bands; arguments in micro-dollars per million tokens.
const fn plain(input: u64, output: u64) -> Price {
    Price {
        input,
        output,
        cache_read: None,
        cache_write_5m: None,
        cache_write_1h: None,
        band: None,
        regional_percent: 100,
    }
}

/// A Claude price: cache writes are 1.25 and 2 times the input price.
/// <https://platform.claude.com/docs/en/about-claude/pricing>
const fn claude(input: u64, output: u64, cache_read: u64) -> Price {
    Price {
        cache_read: Some(cache_read),
        cache_write_5m: Some(input / 4 * 5),
        cache_write_1h: Some(input * 2),
        ..plain(input, output)
    }
}

/// The same where geo and in-region ids cost ten percent more (Claude ≥ 4.5).
const fn claude_regional(input: u64, output: u64, cache_read: u64) -> Price {
    Price { regional_percent: 110, ..claude(input, output, cache_read) }
}
