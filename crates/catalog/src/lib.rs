//! What Outcrop knows of Bedrock's models, as data, and how a name becomes one of them.
//!
//! A row ([`Model`]) states what one model takes, refuses and costs. A name is resolved by [`Catalog::resolve`]: the
//! operator's mapping first, then the rows, then the id as it was given.

mod model;
pub mod name;
mod resolve;
mod rows;
mod tier;

pub use model::{
    Band, Caching, Effort, Embedding, EmbeddingFormat, Family, Lane, Model, Price, Route, Sampling, Thinking,
    ToolIds, TopK,
};
pub use resolve::{Catalog, Resolution, Scope, Unresolved, is_known, is_known_beta};
pub use tier::{ServiceTier, Tiers};
