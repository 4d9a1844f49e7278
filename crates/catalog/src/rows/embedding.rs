//! Embedding models: they are named and resolved like the others, and no conversation is held with them.

use super::{CAREFUL, Embedding, EmbeddingFormat, Family, Model};

const TITAN_V1: Embedding =
    Embedding { format: EmbeddingFormat::Titan, texts: 1, dimensions: 1536, choices: &[] };
const TITAN_V2: Embedding = Embedding { dimensions: 1024, choices: &[256, 512, 1024], ..TITAN_V1 };
const COHERE_V3: Embedding =
    Embedding { format: EmbeddingFormat::Cohere, texts: 96, dimensions: 1024, choices: &[] };
const COHERE_V4: Embedding = Embedding { dimensions: 1536, choices: &[256, 512, 1024, 1536], ..COHERE_V3 };

const TITAN: Model = Model {
    family: Family::Titan,
    context_window: 8192,
    max_output: 1,
    stop_sequences: 0,
    tools: false,
    streaming_tools: false,
    system: false,
    vision: false,
    embedding: Some(TITAN_V1),
    ..CAREFUL
};

const EMBED: Model =
    Model { family: Family::Cohere, context_window: 512, embedding: Some(COHERE_V3), ..TITAN };

pub(super) const ROWS: &[Model] = &[
    Model {
        id: "amazon.titan-embed-text-v2:0",
        display_name: "Titan Text Embeddings V2",
        released: "2024-04-30",
        embedding: Some(TITAN_V2),
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
        embedding: Some(COHERE_V4),
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
