//! Llama, Mistral, Gemma, Nemotron, Grok, Palmyra, Jamba and Command: taken, but without list prices of ours.

use super::{CAREFUL, Effort, Family, Model, RESERVED_ONLY, Sampling, Thinking, ToolIds, TopK};

/// Llama 3.x: tools, but not while streaming, and no forced choice.
/// <https://docs.aws.amazon.com/bedrock/latest/userguide/conversation-inference-supported-models-features.html>
const LLAMA_3: Model = Model {
    family: Family::Llama,
    prefixes: &["us"],
    on_demand: false,
    context_window: 128_000,
    max_output: 4096,
    streaming_tools: false,
    vision: false,
    documents: true,
    ..CAREFUL
};

const LLAMA_4: Model = Model { max_output: 8192, streaming_tools: true, vision: true, ..LLAMA_3 };

/// Replayed tool-use ids must be nine alphanumeric characters.
const MISTRAL: Model = Model {
    family: Family::Mistral,
    context_window: 128_000,
    max_output: 8000,
    stop_sequences: 10,
    tool_ids: ToolIds::NineAlphanumeric,
    ..CAREFUL
};

const GEMMA: Model = Model { family: Family::Gemma, context_window: 128_000, max_output: 8000, ..CAREFUL };

const NEMOTRON: Model =
    Model { family: Family::Nemotron, context_window: 128_000, max_output: 8000, vision: false, ..CAREFUL };

/// Sampling, documents, stop sequences and cachePoint are refused.
const GROK: Model = Model {
    family: Family::Grok,
    prefixes: &["us", "global"],
    on_demand: false,
    context_window: 500_000,
    max_output: 500_000,
    min_output: 16,
    thinking: Thinking::NestedEffort,
    max_effort: Some(Effort::XHigh),
    sampling: Sampling::Neither,
    stop_sequences: 0,
    forced_tool_choice: true,
    tiers: RESERVED_ONLY,
    ..CAREFUL
};

const PALMYRA: Model = Model {
    family: Family::Palmyra,
    prefixes: &["us"],
    on_demand: false,
    context_window: 128_000,
    max_output: 8192,
    vision: false,
    ..CAREFUL
};

const JAMBA: Model = Model {
    family: Family::Jamba,
    context_window: 256_000,
    max_output: 4096,
    vision: false,
    documents: true,
    ..CAREFUL
};

const COMMAND: Model = Model {
    family: Family::Cohere,
    context_window: 128_000,
    max_output: 4096,
    top_k: TopK::Cohere,
    vision: false,
    documents: true,
    ..CAREFUL
};

pub(super) const ROWS: &[Model] = &[
    Model {
        id: "meta.llama4-maverick-17b-instruct-v1:0",
        display_name: "Llama 4 Maverick 17B",
        released: "2025-04-05",
        context_window: 1_000_000,
        ..LLAMA_4
    },
    Model {
        id: "meta.llama4-scout-17b-instruct-v1:0",
        display_name: "Llama 4 Scout 17B",
        released: "2025-04-05",
        context_window: 10_000_000,
        ..LLAMA_4
    },
    Model {
        id: "meta.llama3-3-70b-instruct-v1:0",
        display_name: "Llama 3.3 70B",
        released: "2024-12-06",
        ..LLAMA_3
    },
    Model {
        id: "meta.llama3-2-90b-instruct-v1:0",
        display_name: "Llama 3.2 90B",
        released: "2024-09-25",
        vision: true,
        ..LLAMA_3
    },
    Model {
        id: "meta.llama3-2-11b-instruct-v1:0",
        display_name: "Llama 3.2 11B",
        released: "2024-09-25",
        vision: true,
        ..LLAMA_3
    },
    Model {
        id: "meta.llama3-2-3b-instruct-v1:0",
        display_name: "Llama 3.2 3B",
        released: "2024-09-25",
        prefixes: &["us", "eu"],
        tools: false,
        ..LLAMA_3
    },
    Model {
        id: "meta.llama3-2-1b-instruct-v1:0",
        display_name: "Llama 3.2 1B",
        released: "2024-09-25",
        prefixes: &["us", "eu"],
        tools: false,
        ..LLAMA_3
    },
    Model {
        id: "meta.llama3-1-405b-instruct-v1:0",
        display_name: "Llama 3.1 405B",
        released: "2024-07-23",
        on_demand: true,
        ..LLAMA_3
    },
    Model {
        id: "meta.llama3-1-70b-instruct-v1:0",
        display_name: "Llama 3.1 70B",
        released: "2024-07-23",
        on_demand: true,
        ..LLAMA_3
    },
    Model {
        id: "meta.llama3-1-8b-instruct-v1:0",
        display_name: "Llama 3.1 8B",
        released: "2024-07-23",
        on_demand: true,
        ..LLAMA_3
    },
    Model {
        id: "meta.llama3-70b-instruct-v1:0",
        display_name: "Llama 3 70B",
        released: "2024-04-18",
        prefixes: &[],
        on_demand: true,
        context_window: 8_192,
        max_output: 2_048,
        tools: false,
        ..LLAMA_3
    },
    Model {
        id: "meta.llama3-8b-instruct-v1:0",
        display_name: "Llama 3 8B",
        released: "2024-04-18",
        prefixes: &[],
        on_demand: true,
        context_window: 8_192,
        max_output: 2_048,
        tools: false,
        ..LLAMA_3
    },
    Model {
        id: "mistral.devstral-2-123b",
        display_name: "Devstral 2 123B",
        released: "2025-12-09",
        context_window: 256_000,
        max_output: 32_000,
        forced_tool_choice: true,
        vision: false,
        ..MISTRAL
    },
    Model {
        id: "mistral.mistral-large-3-675b-instruct",
        display_name: "Mistral Large 3",
        released: "2025-12-02",
        context_window: 256_000,
        max_output: 32_000,
        forced_tool_choice: true,
        ..MISTRAL
    },
    Model {
        id: "mistral.ministral-3-14b-instruct",
        display_name: "Ministral 3 14B",
        released: "2025-12-02",
        ..MISTRAL
    },
    Model {
        id: "mistral.ministral-3-8b-instruct",
        display_name: "Ministral 3 8B",
        released: "2025-12-02",
        ..MISTRAL
    },
    Model {
        id: "mistral.ministral-3-3b-instruct",
        display_name: "Ministral 3 3B",
        released: "2025-12-02",
        ..MISTRAL
    },
    Model {
        id: "mistral.magistral-small-2509",
        display_name: "Magistral Small 2509",
        released: "2025-09-17",
        max_output: 40_000,
        ..MISTRAL
    },
    Model {
        id: "mistral.voxtral-small-24b-2507",
        display_name: "Voxtral Small 24B",
        released: "2025-07-15",
        context_window: 32_768,
        max_output: 8_192,
        tools: false,
        vision: false,
        ..MISTRAL
    },
    Model {
        id: "mistral.voxtral-mini-3b-2507",
        display_name: "Voxtral Mini 3B",
        released: "2025-07-15",
        context_window: 32_768,
        max_output: 8_192,
        tools: false,
        vision: false,
        ..MISTRAL
    },
    Model {
        id: "mistral.pixtral-large-2502-v1:0",
        display_name: "Pixtral Large",
        released: "2025-02-25",
        prefixes: &["us", "eu"],
        on_demand: false,
        max_output: 16_384,
        ..MISTRAL
    },
    Model { id: "google.gemma-3-27b-it", display_name: "Gemma 3 27B", released: "2025-03-12", ..GEMMA },
    Model { id: "google.gemma-3-12b-it", display_name: "Gemma 3 12B", released: "2025-03-12", ..GEMMA },
    Model {
        id: "google.gemma-3-4b-it",
        display_name: "Gemma 3 4B",
        released: "2025-03-12",
        tools: false,
        ..GEMMA
    },
    Model {
        id: "nvidia.nemotron-super-3-120b",
        display_name: "Nemotron Super 3 120B",
        released: "2026-03-11",
        context_window: 256_000,
        max_output: 32_000,
        forced_tool_choice: true,
        ..NEMOTRON
    },
    Model {
        id: "nvidia.nemotron-nano-3-30b",
        display_name: "Nemotron Nano 3 30B",
        released: "2025-12-15",
        context_window: 256_000,
        forced_tool_choice: true,
        ..NEMOTRON
    },
    Model {
        id: "nvidia.nemotron-nano-12b-v2",
        display_name: "Nemotron Nano 12B v2",
        released: "2025-10-28",
        vision: true,
        ..NEMOTRON
    },
    Model {
        id: "nvidia.nemotron-nano-9b-v2",
        display_name: "Nemotron Nano 9B v2",
        released: "2025-08-18",
        ..NEMOTRON
    },
    Model {
        id: "xai.grok-4.7",
        display_name: "Grok 4.7",
        released: "2026-09-01",
        context_window: 524_288,
        max_output: 524_288,
        ..GROK
    },
    Model {
        id: "xai.grok-4.6",
        display_name: "Grok 4.6",
        released: "2026-06-01",
        prefixes: &["us", "global", "us-gov"],
        ..GROK
    },
    Model {
        id: "writer.palmyra-x5-v1:0",
        display_name: "Palmyra X5",
        released: "2025-04-28",
        context_window: 1_000_000,
        ..PALMYRA
    },
    Model { id: "writer.palmyra-x4-v1:0", display_name: "Palmyra X4", released: "2025-04-28", ..PALMYRA },
    Model {
        id: "ai21.jamba-1-5-large-v1:0",
        display_name: "Jamba 1.5 Large",
        released: "2024-08-22",
        ..JAMBA
    },
    Model { id: "ai21.jamba-1-5-mini-v1:0", display_name: "Jamba 1.5 Mini", released: "2024-08-22", ..JAMBA },
    Model { id: "cohere.command-r-plus-v1:0", display_name: "Command R+", released: "2024-04-04", ..COMMAND },
    Model { id: "cohere.command-r-v1:0", display_name: "Command R", released: "2024-03-11", ..COMMAND },
];
