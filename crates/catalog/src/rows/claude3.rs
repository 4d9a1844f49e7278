//! Claude 3 to 3.7.

use super::{CAREFUL, Caching, Family, Lane, Model, RESERVED_ONLY, Sampling, Thinking, TopK, claude};

/// What all Claude models share; later generations override it.
pub(super) const CLAUDE: Model = Model {
    family: Family::Claude,
    lane: Lane::Native,
    on_demand: false,
    context_window: 200_000,
    max_output: 64_000,
    top_k: TopK::Plain,
    stop_sequences: 2500,
    prefill: true,
    forced_tool_choice: true,
    tool_result_media: true,
    tool_result_status: true,
    strip_schema_keyword: false,
    documents: true,
    output_weight: 5,
    tiers: RESERVED_ONLY,
    ..CAREFUL
};

const CLAUDE_3: Model = Model {
    prefixes: &["us"],
    on_demand: true,
    prefer_base: true,
    max_output: 4096,
    thinking: Thinking::None,
    sampling: Sampling::Both,
    // The third generation was never made generally available with prompt caching on Bedrock.
    caching: None,
    output_weight: 1,
    ..CLAUDE
};

pub(super) const ROWS: &[Model] = &[
    Model {
        id: "anthropic.claude-3-7-sonnet-20250219-v1:0",
        display_name: "Claude Sonnet 3.7",
        names: &["claude-3-7-sonnet", "claude-3-7-sonnet-20250219", "claude-3-7-sonnet-latest"],
        released: "2025-02-24",
        prefixes: &["us", "eu", "apac"],
        prefer_base: false,
        max_output: 8192,
        output_weight: 5,
        thinking: Thinking::Budget,
        caching: Some(Caching { min_tokens: 1024, tools: true, no_1h: true }),
        countable: true,
        betas: &["computer-use-2025-01-24", "output-128k-2025-02-19", "token-efficient-tools-2025-02-19"],
        price: Some(claude(3_000_000, 15_000_000, 300_000)),
        ..CLAUDE_3
    },
    Model {
        id: "anthropic.claude-3-5-haiku-20241022-v1:0",
        display_name: "Claude Haiku 3.5",
        names: &["claude-3-5-haiku", "claude-3-5-haiku-20241022", "claude-3-5-haiku-latest"],
        released: "2024-10-22",
        prefer_base: false,
        max_output: 8192,
        vision: false,
        caching: Some(Caching { min_tokens: 2048, tools: true, no_1h: true }),
        countable: true,
        price: Some(claude(800_000, 4_000_000, 80_000)),
        ..CLAUDE_3
    },
    Model {
        id: "anthropic.claude-3-5-sonnet-20241022-v2:0",
        display_name: "Claude Sonnet 3.5 (October 2024)",
        names: &["claude-3-5-sonnet", "claude-3-5-sonnet-20241022", "claude-3-5-sonnet-latest"],
        released: "2024-10-22",
        prefixes: &["us", "eu", "apac"],
        max_output: 8192,
        countable: true,
        price: Some(claude(3_000_000, 15_000_000, 300_000)),
        ..CLAUDE_3
    },
    Model {
        id: "anthropic.claude-3-5-sonnet-20240620-v1:0",
        display_name: "Claude Sonnet 3.5 (June 2024)",
        names: &["claude-3-5-sonnet-20240620"],
        released: "2024-06-20",
        prefixes: &["us", "eu", "apac"],
        countable: true,
        price: Some(claude(3_000_000, 15_000_000, 300_000)),
        ..CLAUDE_3
    },
    Model {
        id: "anthropic.claude-3-opus-20240229-v1:0",
        display_name: "Claude Opus 3",
        names: &["claude-3-opus-20240229", "claude-3-opus", "claude-3-opus-latest"],
        released: "2024-02-29",
        price: Some(claude(15_000_000, 75_000_000, 1_500_000)),
        ..CLAUDE_3
    },
    Model {
        id: "anthropic.claude-3-sonnet-20240229-v1:0",
        display_name: "Claude Sonnet 3",
        names: &["claude-3-sonnet-20240229", "claude-3-sonnet", "claude-3-sonnet-latest"],
        released: "2024-02-29",
        price: Some(claude(3_000_000, 15_000_000, 300_000)),
        ..CLAUDE_3
    },
    Model {
        id: "anthropic.claude-3-haiku-20240307-v1:0",
        display_name: "Claude Haiku 3",
        names: &["claude-3-haiku-20240307", "claude-3-haiku", "claude-3-haiku-latest"],
        released: "2024-03-07",
        price: Some(super::Price {
            // Anthropic's list rounds these two up; they are not multiples of the input price.
            cache_write_5m: Some(300_000),
            ..claude(250_000, 1_250_000, 30_000)
        }),
        ..CLAUDE_3
    },
];
