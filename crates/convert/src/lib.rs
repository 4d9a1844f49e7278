//! Pure conversion between the Messages API and Bedrock: no IO, no clock, no AWS crate.
