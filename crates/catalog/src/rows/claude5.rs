//! Claude 5 and 5.5, Fable and Mythos, and the row of a Claude that nobody has heard of yet.

use super::claude4::CLAUDE_4_7;
use super::{Band, Caching, Effort, Model, Price, Thinking, claude_regional};

const EVERYWHERE: &[&str] = &["us", "eu", "apac", "jp", "au", "global", "us-gov"];
/// The row's minimum is not published: the largest known one only delays automatic markers.
const CACHING: Option<Caching> = Some(Caching { min_tokens: 4096, tools: true, no_1h: false });
const CACHING_1024: Option<Caching> = Some(Caching { min_tokens: 1024, tools: true, no_1h: false });
const CACHING_512: Option<Caching> = Some(Caching { min_tokens: 512, tools: true, no_1h: false });

/// Claude 5: `role: "system"` may stand among the messages, safeguards are taken with their beta, and only profiles
/// exist, so that CountTokens (base ids only) does not know them.
const CLAUDE_5: Model = Model {
    prefixes: EVERYWHERE,
    caching: CACHING,
    mid_system: true,
    countable: false,
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
        "thinking-token-count-2026-05-13",
        "thinking-display-updates-2026-08-18",
        "thinking-binding-controls-2026-08-01",
        "mid-conversation-output-config-2026-07-01",
        "mid-conversation-tool-changes-2026-07-01",
        "dangerous-tool-use-2026-09-03",
    ],
    fields: &["context_management", "safeguards"],
    ..CLAUDE_4_7
};

/// Thinking that cannot be switched off refuses a forced tool choice with it.
const ALWAYS: Model = Model { thinking: Thinking::Always, forced_tool_choice: false, ..CLAUDE_5 };

/// What a new Claude is assumed to be: like the newest ones, with only the flags that every recent one takes.
pub(super) const UNKNOWN: Model = Model {
    id: "anthropic.claude",
    display_name: "Claude",
    released: "2026-11-01",
    max_effort: Some(Effort::High),
    mid_system: false,
    betas: &[
        "fine-grained-tool-streaming-2025-05-14",
        "interleaved-thinking-2025-05-14",
        "context-management-2025-06-27",
        "tool-search-tool-2025-10-19",
        "tool-examples-2025-10-29",
    ],
    fields: &["context_management"],
    ..ALWAYS
};

pub(super) const ROWS: &[Model] = &[
    Model {
        id: "anthropic.claude-opus-5-5",
        display_name: "Claude Opus 5.5",
        names: &["claude-opus-5-5", "claude-opus-5-5-latest"],
        released: "2026-10-15",
        price: Some(claude_regional(4_000_000, 20_000_000, 200_000)),
        ..ALWAYS
    },
    Model {
        id: "anthropic.claude-sonnet-5-5",
        display_name: "Claude Sonnet 5.5",
        names: &["claude-sonnet-5-5", "claude-sonnet-5-5-latest"],
        released: "2026-10-15",
        caching: CACHING_512,
        price: Some(claude_regional(2_000_000, 10_000_000, 100_000)),
        ..ALWAYS
    },
    Model {
        id: "anthropic.claude-haiku-5-5",
        display_name: "Claude Haiku 5.5",
        names: &["claude-haiku-5-5", "claude-haiku-5-5-latest"],
        released: "2026-10-15",
        price: Some(Price {
            band: Some(&Band {
                above_input_tokens: 100_000,
                price: claude_regional(500_000, 2_500_000, 50_000),
            }),
            ..claude_regional(100_000, 500_000, 10_000)
        }),
        ..CLAUDE_5
    },
    Model {
        id: "anthropic.claude-fable-5-1",
        display_name: "Claude Fable 5.1",
        names: &["claude-fable-5-1", "claude-fable-5-1-latest"],
        released: "2026-09-15",
        prefixes: &["us", "eu", "global", "us-gov"],
        caching: CACHING_512,
        price: Some(claude_regional(10_000_000, 50_000_000, 250_000)),
        ..ALWAYS
    },
    Model {
        id: "anthropic.claude-mythos-5-1",
        display_name: "Claude Mythos 5.1",
        names: &["claude-mythos-5-1", "claude-mythos-5-1-latest"],
        released: "2026-09-15",
        prefixes: &["us", "global"],
        caching: CACHING_512,
        price: Some(claude_regional(10_000_000, 50_000_000, 250_000)),
        ..ALWAYS
    },
    Model {
        id: "anthropic.claude-opus-5",
        display_name: "Claude Opus 5",
        names: &["claude-opus-5", "claude-opus-5-latest"],
        released: "2026-08-01",
        caching: CACHING_512,
        price: Some(claude_regional(5_000_000, 25_000_000, 500_000)),
        ..CLAUDE_5
    },
    Model {
        id: "anthropic.claude-sonnet-5",
        display_name: "Claude Sonnet 5",
        names: &["claude-sonnet-5", "claude-sonnet-5-latest"],
        released: "2026-08-01",
        caching: CACHING_1024,
        price: Some(claude_regional(2_000_000, 10_000_000, 200_000)),
        ..CLAUDE_5
    },
    Model {
        id: "anthropic.claude-fable-5",
        display_name: "Claude Fable 5",
        names: &["claude-fable-5", "claude-fable-5-latest"],
        released: "2026-07-01",
        prefixes: &["us", "eu", "apac", "au", "global"],
        caching: CACHING_512,
        price: Some(claude_regional(10_000_000, 50_000_000, 1_000_000)),
        ..ALWAYS
    },
    Model {
        id: "anthropic.claude-mythos-5",
        display_name: "Claude Mythos 5",
        names: &["claude-mythos-5", "claude-mythos-5-latest"],
        released: "2026-07-01",
        // Only the United States profile is listed for it.
        prefixes: &["us"],
        caching: CACHING_512,
        price: Some(claude_regional(10_000_000, 50_000_000, 1_000_000)),
        ..ALWAYS
    },
    Model {
        id: "anthropic.claude-mythos-preview",
        display_name: "Claude Mythos Preview",
        names: &["claude-mythos-preview", "claude-mythos-preview-latest"],
        released: "2026-04-07",
        prefixes: &["us", "apac", "au"],
        mid_system: false,
        // A preview without a public list price.
        price: None,
        ..ALWAYS
    },
];
