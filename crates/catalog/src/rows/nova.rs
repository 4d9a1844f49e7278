//! Amazon Nova. <https://docs.aws.amazon.com/nova/latest/userguide/>

use super::{ALL_TIERS, CAREFUL, Caching, Effort, Family, Model, NO_TIERS, RESERVED_ONLY, Thinking, TopK};

const NOVA: Model = Model {
    family: Family::Nova,
    prefixes: &["us", "eu", "apac"],
    context_window: 300_000,
    max_output: 10_000,
    top_k: TopK::NovaNested,
    stop_sequences: 4,
    // Markers work in system and messages; a cachePoint among the tools is an "extraneous key".
    caching: Some(Caching { min_tokens: 1536, tools: false, no_1h: true }),
    forced_tool_choice: true,
    tool_result_media: true,
    tool_result_status: true,
    documents: true,
    // Not said of Micro and Premier.
    tiers: NO_TIERS,
    ..CAREFUL
};

pub(super) const ROWS: &[Model] = &[
    Model {
        id: "amazon.nova-2-lite-v1:0",
        display_name: "Amazon Nova 2 Lite",
        released: "2025-12-02",
        prefixes: &["us", "eu", "apac", "jp", "global"],
        on_demand: false,
        context_window: 1_000_000,
        max_output: 64_000,
        thinking: Thinking::NovaReasoningConfig,
        max_effort: Some(Effort::High),
        tiers: ALL_TIERS,
        ..NOVA
    },
    Model {
        id: "amazon.nova-premier-v1:0",
        display_name: "Amazon Nova Premier",
        released: "2025-04-30",
        prefixes: &["us"],
        on_demand: false,
        context_window: 1_000_000,
        ..NOVA
    },
    Model {
        id: "amazon.nova-pro-v1:0",
        display_name: "Amazon Nova Pro",
        released: "2024-12-03",
        tiers: ALL_TIERS,
        ..NOVA
    },
    Model {
        id: "amazon.nova-lite-v1:0",
        display_name: "Amazon Nova Lite",
        released: "2024-12-03",
        tiers: RESERVED_ONLY,
        ..NOVA
    },
    Model {
        id: "amazon.nova-micro-v1:0",
        display_name: "Amazon Nova Micro",
        released: "2024-12-03",
        context_window: 128_000,
        tool_result_media: false,
        vision: false,
        documents: false,
        ..NOVA
    },
];
