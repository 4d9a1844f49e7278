//! Pure conversion between the Anthropic Messages API, the OpenAI API in front of it and AWS Bedrock behind it.
//!
//! No IO, no clock, no randomness, no logging and no AWS crate: bytes and types in, bytes and types out. The same input
//! gives the same output in every process, which prompt caches depend on.
//!
//! # The two lanes
//!
//! * [`converse`]: every model but Claude. A Messages request becomes a Converse request, a Converse answer or stream
//!   becomes a Messages answer or stream.
//! * [`native`]: Claude speaks the Messages format on Bedrock too, so that the caller's bytes travel and only what
//!   must change is edited.
//!
//! # The OpenAI API
//!
//! The Messages API is the hub. [`openai`] turns a chat completion, or a request of the Responses API, into the bytes of a
//! Messages body, whatever the model, which goes on through either lane; and what comes back from there, whole or as
//! events, into OpenAI's answer.
//!
//! ```
//! use outcrop_convert::openai::chat;
//!
//! let body = r#"{"model": "qwen3-coder", "messages": [{"role": "system", "content": "Be brief."},
//!                {"role": "user", "content": "Hello"}], "max_completion_tokens": 64, "seed": 7}"#;
//! let asked = chat::request(body, &chat::Options::default())?;
//! let messages = protocol::anthropic::parse(std::str::from_utf8(&asked.body)?)?;
//! assert_eq!(messages.max_tokens, Some(64));
//! assert_eq!(asked.losses[0].path, "seed");
//! // What a lane says of the Messages body is said to the caller in its own words.
//! assert_eq!(asked.paths.caller("max_tokens"), "max_completion_tokens");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # From a request to what is sent
//!
//! Three things are needed: the caller's body, the catalogue's row of the model (every per-model rule is a member
//! there), and the [`Options`](converse::request::Options) that your settings decide.
//!
//! ```
//! use catalog::Catalog;
//! use outcrop_convert::converse::request::{Options, request};
//!
//! let body = r#"{"model": "qwen3-coder", "max_tokens": 64, "temperature": 0.7,
//!                "messages": [{"role": "user", "content": "Hello"}], "top_k": 5}"#;
//! let parsed = protocol::anthropic::parse(body)?;
//! let catalog = Catalog::builtin();
//! let rules = catalog.find("qwen.qwen3-coder-480b-a35b-v1:0").ok_or("no such row")?;
//! let options = Options::default();
//!
//! let converted = request(&parsed, rules, &options)?;
//! assert_eq!(
//!     serde_json::to_string(&converted.value)?,
//!     r#"{"messages":[{"role":"user","content":[{"text":"Hello"}]}],"inferenceConfig":{"maxTokens":64,"temperature":0.7}}"#
//! );
//! // What could not be carried is told, not hidden.
//! assert_eq!(converted.losses[0].path, "top_k");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What a conversion can say
//!
//! * [`Converted`]: the value, and beside it the [`Loss`]es (path and reason of everything that was left out) and the
//!   [`Names`] that the answer's side needs to give the caller its own tool names back.
//! * [`Refusal`]: the request asks for something that must not be ignored. Answer it with a 400; its `Display` is the
//!   message that clients of the Messages API know (`tools.0.name: …`).
//!
//! The example `convert_both_ways` goes all the way: `cargo run -p outcrop-convert --example convert_both_ways`.

pub mod converse;
pub mod fold;
pub mod native;
pub mod openai;
pub mod outcome;
mod structured;
mod tier;
pub mod unfold;
pub mod usage;

pub use outcome::{Converted, Loss, Names, Refusal, Ttl};
