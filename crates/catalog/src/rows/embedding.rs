//! Embedding models: they are named and resolved like the others, and no conversation is held with them.

use super::{CAREFUL, Family, Model};

const TITAN: Model = Model {
    family: Family::Titan,
    context_window: 8192,
    max_output: 1,
    stop_sequences: 0,
    tools: false,
    streaming_tools: false,
    system: false,
    vision: false,
    embedding: true,
    ..CAREFUL
};

const EMBED: Model = Model { family: Family::Cohere, context_window: 512, ..TITAN };

pub(super) const ROWS: &[Model] = &[
    Model {
        id: "amazon.titan-embed-text-v2:0",
        display_name: "Titan Text Embeddings V2",
        released: "2024-04-30",
        ..TITAN
    },
    Model {
        id: "amazon.titan-embed-text-v1",
        display_name: "Titan Text Embeddings",
        released: "2023-09-28",
        ..TITAN
    },
    Model {
        id: "cohere.embed-v4:0",
        display_name: "Embed 4",
        released: "2025-04-15",
        prefixes: &["us", "eu", "global"],
        on_demand: true,
        context_window: 128_000,
        ..EMBED
    },
    Model { id: "cohere.embed-english-v3", display_name: "Embed 3 English", released: "2023-11-02", ..EMBED },
    Model {
        id: "cohere.embed-multilingual-v3",
        display_name: "Embed 3 Multilingual",
        released: "2023-11-02",
        ..EMBED
    },
];
