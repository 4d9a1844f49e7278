//! Claude 4 to 4.8.

use super::claude3::CLAUDE;
use super::{Band, Caching, Effort, Model, Price, Sampling, Thinking, TopK, claude, claude_regional};

/// Claude 4 and 4.1 on Bedrock:
/// <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages.html>
const CLAUDE_4: Model = Model {
    prefixes: &["us"],
    max_output: 32_000,
    thinking: Thinking::Budget,
    caching: Some(Caching { min_tokens: 1024, tools: true, no_1h: true }),
    countable: true,
    betas: &[
        "computer-use-2025-01-24",
        "fine-grained-tool-streaming-2025-05-14",
        "interleaved-thinking-2025-05-14",
        "context-management-2025-06-27",
    ],
    fields: &["context_management"],
    ..CLAUDE
};

const CLAUDE_4_5: Model = Model {
    max_output: 64_000,
    sampling: Sampling::OneOf,
    // Two vendor pages disagree for some of these (1024 or 4096); the larger one only delays automatic markers.
    caching: Some(Caching { min_tokens: 4096, tools: true, no_1h: false }),
    structured_output: true,
    strict_tools: true,
    betas: &[
        "computer-use-2025-01-24",
        "fine-grained-tool-streaming-2025-05-14",
        "interleaved-thinking-2025-05-14",
        "context-management-2025-06-27",
        "tool-search-tool-2025-10-19",
        "tool-examples-2025-10-29",
    ],
    ..CLAUDE_4
};

const CLAUDE_4_6: Model = Model {
    prefixes: &["us", "eu", "au", "global"],
    context_window: 1_000_000,
    max_output: 128_000,
    thinking: Thinking::BudgetOrAdaptive,
    max_effort: Some(Effort::Max),
    no_xhigh: true,
    prefill: false,
    betas: &[
        "computer-use-2025-01-24",
        "computer-use-2025-11-24",
        "context-1m-2025-08-07",
        "effort-2025-11-24",
        "fine-grained-tool-streaming-2025-05-14",
        "interleaved-thinking-2025-05-14",
        "context-management-2025-06-27",
        "compact-2026-01-12",
        "tool-search-tool-2025-10-19",
        "tool-examples-2025-10-29",
    ],
    ..CLAUDE_4_5
};

/// From 4.7 on: adaptive thinking only, no sampling, no structured output on Bedrock.
pub(super) const CLAUDE_4_7: Model = Model {
    prefixes: &["us", "eu", "apac", "jp", "au", "global"],
    thinking: Thinking::Adaptive,
    no_xhigh: false,
    sampling: Sampling::Neither,
    top_k: TopK::Refused,
    structured_output: false,
    strict_tools: false,
    betas: &[
        "computer-use-2025-01-24",
        "computer-use-2025-11-24",
        "context-1m-2025-08-07",
        "effort-2025-11-24",
        "fine-grained-tool-streaming-2025-05-14",
        "interleaved-thinking-2025-05-14",
        "context-management-2025-06-27",
        "compact-2026-01-12",
        "tool-search-tool-2025-10-19",
        "tool-examples-2025-10-29",
        "thinking-display-updates-2026-08-18",
        "thinking-binding-controls-2026-08-01",
    ],
    ..CLAUDE_4_6
};

pub(super) const ROWS: &[Model] = &[
    Model {
        id: "anthropic.claude-opus-4-8",
        display_name: "Claude Opus 4.8",
        names: &["claude-opus-4-8", "claude-opus-4-8-latest"],
        released: "2026-06-01",
        prefixes: &["us", "eu", "apac", "jp", "au", "global", "us-gov"],
        caching: Some(Caching { min_tokens: 1024, tools: true, no_1h: false }),
        price: Some(claude_regional(5_000_000, 25_000_000, 500_000)),
        ..CLAUDE_4_7
    },
    Model {
        id: "anthropic.claude-opus-4-7",
        display_name: "Claude Opus 4.7",
        names: &["claude-opus-4-7", "claude-opus-4-7-latest"],
        released: "2026-04-16",
        price: Some(claude_regional(5_000_000, 25_000_000, 500_000)),
        ..CLAUDE_4_7
    },
    Model {
        id: "anthropic.claude-sonnet-4-6",
        display_name: "Claude Sonnet 4.6",
        names: &["claude-sonnet-4-6", "claude-sonnet-4-6-latest"],
        released: "2026-02-17",
        prefixes: &["us", "eu", "apac", "jp", "au", "global"],
        max_output: 64_000,
        caching: Some(Caching { min_tokens: 1024, tools: true, no_1h: false }),
        price: Some(claude_regional(3_000_000, 15_000_000, 300_000)),
        ..CLAUDE_4_6
    },
    Model {
        id: "anthropic.claude-opus-4-6-v1",
        display_name: "Claude Opus 4.6",
        names: &["claude-opus-4-6", "claude-opus-4-6-latest"],
        released: "2026-02-05",
        price: Some(claude_regional(5_000_000, 25_000_000, 500_000)),
        ..CLAUDE_4_6
    },
    Model {
        id: "anthropic.claude-opus-4-5-20251101-v1:0",
        display_name: "Claude Opus 4.5",
        names: &["claude-opus-4-5", "claude-opus-4-5-20251101", "claude-opus-4-5-latest"],
        released: "2025-11-24",
        prefixes: &["us", "eu", "global"],
        max_effort: Some(Effort::High),
        effort_needs_beta: true,
        betas: &[
            "computer-use-2025-01-24",
            "computer-use-2025-11-24",
            "effort-2025-11-24",
            "fine-grained-tool-streaming-2025-05-14",
            "interleaved-thinking-2025-05-14",
            "context-management-2025-06-27",
            "tool-search-tool-2025-10-19",
            "tool-examples-2025-10-29",
        ],
        price: Some(claude_regional(5_000_000, 25_000_000, 500_000)),
        ..CLAUDE_4_5
    },
    Model {
        id: "anthropic.claude-haiku-4-5-20251001-v1:0",
        display_name: "Claude Haiku 4.5",
        names: &["claude-haiku-4-5", "claude-haiku-4-5-20251001", "claude-haiku-4-5-latest"],
        released: "2025-10-15",
        prefixes: &["us", "eu", "apac", "jp", "au", "global"],
        // No interleaved thinking.
        betas: &[
            "computer-use-2025-01-24",
            "fine-grained-tool-streaming-2025-05-14",
            "context-management-2025-06-27",
            "tool-search-tool-2025-10-19",
            "tool-examples-2025-10-29",
        ],
        price: Some(claude_regional(1_000_000, 5_000_000, 100_000)),
        ..CLAUDE_4_5
    },
    Model {
        id: "anthropic.claude-sonnet-4-5-20250929-v1:0",
        display_name: "Claude Sonnet 4.5",
        names: &["claude-sonnet-4-5", "claude-sonnet-4-5-20250929", "claude-sonnet-4-5-latest"],
        released: "2025-09-29",
        prefixes: &["us", "eu", "jp", "au", "global", "us-gov"],
        betas: &[
            "computer-use-2025-01-24",
            "context-1m-2025-08-07",
            "fine-grained-tool-streaming-2025-05-14",
            "interleaved-thinking-2025-05-14",
            "context-management-2025-06-27",
            "tool-search-tool-2025-10-19",
            "tool-examples-2025-10-29",
        ],
        price: Some(Price {
            band: Some(&Band {
                above_input_tokens: 200_000,
                price: Price {
                    cache_read: Some(600_000),
                    cache_write_5m: Some(7_500_000),
                    cache_write_1h: Some(12_000_000),
                    ..claude_regional(6_000_000, 22_500_000, 600_000)
                },
            }),
            ..claude_regional(3_000_000, 15_000_000, 300_000)
        }),
        ..CLAUDE_4_5
    },
    Model {
        id: "anthropic.claude-opus-4-1-20250805-v1:0",
        display_name: "Claude Opus 4.1",
        names: &["claude-opus-4-1", "claude-opus-4-1-20250805", "claude-opus-4-1-latest"],
        released: "2025-08-05",
        prefixes: &["us", "eu"],
        sampling: Sampling::OneOf,
        price: Some(claude(15_000_000, 75_000_000, 1_500_000)),
        ..CLAUDE_4
    },
    Model {
        id: "anthropic.claude-opus-4-20250514-v1:0",
        display_name: "Claude Opus 4",
        names: &["claude-opus-4", "claude-opus-4-20250514", "claude-opus-4-0", "claude-opus-4-latest"],
        released: "2025-05-22",
        price: Some(claude(15_000_000, 75_000_000, 1_500_000)),
        ..CLAUDE_4
    },
    Model {
        id: "anthropic.claude-sonnet-4-20250514-v1:0",
        display_name: "Claude Sonnet 4",
        names: &[
            "claude-sonnet-4",
            "claude-sonnet-4-20250514",
            "claude-sonnet-4-0",
            "claude-sonnet-4-latest",
        ],
        released: "2025-05-22",
        prefixes: &["us", "eu", "apac", "global"],
        on_demand: true,
        max_output: 64_000,
        betas: &[
            "computer-use-2025-01-24",
            "context-1m-2025-08-07",
            "fine-grained-tool-streaming-2025-05-14",
            "interleaved-thinking-2025-05-14",
            "context-management-2025-06-27",
        ],
        price: Some(claude(3_000_000, 15_000_000, 300_000)),
        ..CLAUDE_4
    },
];
