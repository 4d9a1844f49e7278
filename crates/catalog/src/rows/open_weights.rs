//! Qwen, DeepSeek, Kimi, MiniMax and GLM.

use super::{ALL_TIERS, CAREFUL, Effort, Family, Model, Thinking, plain};

/// Reasoning of earlier turns may be replayed without a signature by all of them.
const OPEN: Model =
    Model { forced_tool_choice: true, vision: false, replays_reasoning: true, tiers: ALL_TIERS, ..CAREFUL };

/// The switches that some builds know are not taken by all: none is sent.
const QWEN: Model = Model { family: Family::Qwen, context_window: 262_144, max_output: 16_384, ..OPEN };

const DEEPSEEK: Model = Model {
    family: Family::DeepSeek,
    context_window: 128_000,
    max_output: 8000,
    thinking: Thinking::ConfigString,
    max_effort: Some(Effort::High),
    ..OPEN
};

const KIMI: Model = Model { family: Family::Kimi, context_window: 256_000, max_output: 16_000, ..OPEN };

/// Reasoning is always on and takes no field.
const MINIMAX: Model = Model { family: Family::MiniMax, context_window: 196_000, max_output: 8000, ..OPEN };

const GLM: Model = Model {
    family: Family::Glm,
    context_window: 203_000,
    max_output: 128_000,
    thinking: Thinking::FlatEffort,
    max_effort: Some(Effort::High),
    stop_sequences: 0,
    // The tier table does not name them.
    tiers: super::NO_TIERS,
    ..OPEN
};

pub(super) const ROWS: &[Model] = &[
    Model {
        id: "qwen.qwen3-coder-next",
        display_name: "Qwen3 Coder Next",
        released: "2026-02-03",
        context_window: 256_000,
        max_output: 16_000,
        ..QWEN
    },
    Model {
        id: "qwen.qwen3-next-80b-a3b",
        display_name: "Qwen3 Next 80B A3B",
        released: "2025-09-11",
        context_window: 256_000,
        max_output: 8_000,
        forced_tool_choice: false,
        price: Some(plain(140_000, 1_200_000)),
        ..QWEN
    },
    Model {
        id: "qwen.qwen3-vl-235b-a22b",
        display_name: "Qwen3 VL 235B A22B",
        released: "2025-09-23",
        context_window: 256_000,
        max_output: 8_000,
        forced_tool_choice: false,
        vision: true,
        price: Some(plain(530_000, 1_330_000)),
        ..QWEN
    },
    Model {
        id: "qwen.qwen3-coder-480b-a35b-v1:0",
        display_name: "Qwen3 Coder 480B A35B",
        released: "2025-07-22",
        price: Some(plain(450_000, 900_000)),
        ..QWEN
    },
    Model {
        id: "qwen.qwen3-coder-30b-a3b-v1:0",
        display_name: "Qwen3 Coder 30B A3B",
        released: "2025-07-31",
        price: Some(plain(75_000, 600_000)),
        ..QWEN
    },
    Model {
        id: "qwen.qwen3-235b-a22b-2507-v1:0",
        display_name: "Qwen3 235B A22B 2507",
        released: "2025-07-21",
        max_output: 8_192,
        price: Some(plain(110_000, 880_000)),
        ..QWEN
    },
    Model {
        id: "qwen.qwen3-32b-v1:0",
        display_name: "Qwen3 32B",
        released: "2025-04-28",
        context_window: 32_768,
        max_output: 8_192,
        stop_sequences: 0,
        price: Some(plain(150_000, 600_000)),
        ..QWEN
    },
    Model {
        id: "deepseek.v3.2",
        display_name: "DeepSeek V3.2",
        released: "2025-12-01",
        prefixes: &["us", "eu"],
        context_window: 164_000,
        price: Some(plain(620_000, 1_850_000)),
        ..DEEPSEEK
    },
    Model {
        id: "deepseek.v3-v1:0",
        display_name: "DeepSeek V3.1",
        released: "2025-08-21",
        price: Some(plain(580_000, 1_680_000)),
        ..DEEPSEEK
    },
    Model {
        id: "deepseek.r1-v1:0",
        display_name: "DeepSeek R1",
        released: "2025-01-20",
        prefixes: &["us"],
        on_demand: false,
        max_output: 8_192,
        thinking: Thinking::None,
        max_effort: None,
        tools: false,
        streaming_tools: false,
        forced_tool_choice: false,
        documents: true,
        replays_reasoning: false,
        tiers: super::NO_TIERS,
        ..DEEPSEEK
    },
    Model {
        id: "moonshotai.kimi-k3",
        display_name: "Kimi K3",
        released: "2026-07-15",
        prefixes: &["us", "in", "global"],
        on_demand: false,
        context_window: 1_000_000,
        max_output: 131_072,
        min_output: 16,
        thinking: Thinking::Switch,
        vision: true,
        ..KIMI
    },
    Model {
        id: "moonshotai.kimi-k2.5",
        display_name: "Kimi K2.5",
        released: "2026-01-27",
        thinking: Thinking::Switch,
        vision: true,
        price: Some(plain(600_000, 3_000_000)),
        ..KIMI
    },
    Model {
        id: "moonshot.kimi-k2-thinking",
        display_name: "Kimi K2 Thinking",
        released: "2025-11-06",
        forced_tool_choice: false,
        price: Some(plain(600_000, 2_500_000)),
        ..KIMI
    },
    Model { id: "minimax.minimax-m2.5", display_name: "MiniMax M2.5", released: "2026-02-12", ..MINIMAX },
    Model {
        id: "minimax.minimax-m2.1",
        display_name: "MiniMax M2.1",
        released: "2025-12-23",
        price: Some(plain(300_000, 1_200_000)),
        ..MINIMAX
    },
    Model {
        id: "minimax.minimax-m2",
        display_name: "MiniMax M2",
        released: "2025-10-27",
        context_window: 1_000_000,
        forced_tool_choice: false,
        price: Some(plain(150_000, 600_000)),
        ..MINIMAX
    },
    Model {
        id: "zai.glm-5.3",
        display_name: "GLM-5.3",
        released: "2026-08-20",
        prefixes: &["us", "global"],
        on_demand: false,
        context_window: 1_000_000,
        ..GLM
    },
    Model {
        id: "zai.glm-5",
        display_name: "GLM-5",
        released: "2026-02-11",
        context_window: 200_000,
        price: Some(plain(1_000_000, 3_000_000)),
        ..GLM
    },
    Model {
        id: "zai.glm-4.7",
        display_name: "GLM-4.7",
        released: "2025-12-22",
        price: Some(plain(600_000, 2_200_000)),
        ..GLM
    },
    Model {
        id: "zai.glm-4.7-flash",
        display_name: "GLM-4.7 Flash",
        released: "2026-01-19",
        price: Some(plain(70_000, 400_000)),
        ..GLM
    },
];
