//! What Outcrop knows of Bedrock's models, as data.

mod model;

pub use model::{
    Band, Caching, Effort, Family, Lane, Model, Price, Sampling, Thinking, Tiers, ToolIds, TopK,
};
