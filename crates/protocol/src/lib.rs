//! Wire schemas of the Anthropic Messages API, of the OpenAI API and of Bedrock Converse, and SSE framing.
//!
//! Schemas only: no logic, no IO. Requests borrow from the body they were read from, and what a schema does not
//! know is kept as raw text ([`raw::Extra`], `Unknown` variants), so that tomorrow's fields survive today's build.

pub mod anthropic;
pub mod converse;
pub mod embedding;
pub mod openai;
pub mod raw;
pub mod sse;
