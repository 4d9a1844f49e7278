//! OpenAI models on Bedrock.

use super::{ALL_TIERS, CAREFUL, Effort, Family, Model, Sampling, Thinking};

/// GPT-5.4 and later: no sampling, no stop sequences, at least 16 output tokens, no images inside tool results.
/// Their caching is automatic and a cachePoint is refused.
const GPT: Model = Model {
    family: Family::OpenAi,
    prefixes: &["us", "global"],
    on_demand: false,
    context_window: 922_000,
    max_output: 128_000,
    min_output: 16,
    thinking: Thinking::NestedEffort,
    // `max` is not one of OpenAI's levels.
    max_effort: Some(Effort::XHigh),
    sampling: Sampling::Neither,
    stop_sequences: 0,
    forced_tool_choice: true,
    ..CAREFUL
};

/// The open-weight models.
const OSS: Model = Model {
    family: Family::OpenAi,
    context_window: 128_000,
    max_output: 16_384,
    thinking: Thinking::FlatEffort,
    max_effort: Some(Effort::High),
    stop_sequences: 0,
    forced_tool_choice: true,
    vision: false,
    replays_reasoning: true,
    tiers: ALL_TIERS,
    ..CAREFUL
};

pub(super) const ROWS: &[Model] = &[
    Model {
        id: "openai.gpt-6.1-sol",
        display_name: "GPT-6.1 Sol",
        names: &["gpt-6.1-sol"],
        released: "2026-10-01",
        context_window: 1_000_000,
        max_output: 131_072,
        ..GPT
    },
    Model {
        id: "openai.gpt-6.1-terra",
        display_name: "GPT-6.1 Terra",
        names: &["gpt-6.1-terra"],
        released: "2026-10-01",
        ..GPT
    },
    Model {
        id: "openai.gpt-6-astra",
        display_name: "GPT-6 Astra",
        names: &["gpt-6-astra"],
        released: "2026-08-15",
        ..GPT
    },
    Model {
        id: "openai.gpt-6-sol",
        display_name: "GPT-6 Sol",
        names: &["gpt-6-sol"],
        released: "2026-08-15",
        ..GPT
    },
    Model {
        id: "openai.gpt-6-luna",
        display_name: "GPT-6 Luna",
        names: &["gpt-6-luna"],
        released: "2026-08-15",
        ..GPT
    },
    Model {
        id: "openai.gpt-5.6-sol",
        display_name: "GPT-5.6 Sol",
        names: &["gpt-5.6-sol"],
        released: "2026-06-15",
        ..GPT
    },
    Model {
        id: "openai.gpt-5.6-terra",
        display_name: "GPT-5.6 Terra",
        names: &["gpt-5.6-terra"],
        released: "2026-06-15",
        ..GPT
    },
    Model {
        id: "openai.gpt-5.6-luna",
        display_name: "GPT-5.6 Luna",
        names: &["gpt-5.6-luna"],
        released: "2026-06-15",
        ..GPT
    },
    Model {
        id: "openai.gpt-5.5",
        display_name: "GPT-5.5",
        names: &["gpt-5.5"],
        released: "2026-04-24",
        ..GPT
    },
    Model {
        id: "openai.gpt-5.4",
        display_name: "GPT-5.4",
        names: &["gpt-5.4"],
        released: "2026-03-05",
        ..GPT
    },
    Model {
        id: "openai.gpt-oss-120b-1:0",
        display_name: "gpt-oss 120B",
        names: &["gpt-oss-120b"],
        released: "2025-08-05",
        ..OSS
    },
    Model {
        id: "openai.gpt-oss-20b-1:0",
        display_name: "gpt-oss 20B",
        names: &["gpt-oss-20b"],
        released: "2025-08-05",
        ..OSS
    },
];
