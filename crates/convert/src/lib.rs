//! Pure conversion between the Messages API and Bedrock: no IO, no clock, no randomness, no AWS crate.

pub mod converse;
pub mod fold;
pub mod native;
pub mod outcome;
pub mod usage;

pub use outcome::{Converted, Loss, Names, Refusal};
