//! `POST /v1/embeddings`: <https://platform.openai.com/docs/api-reference/embeddings>. Requests are read from their tape by
//! the converter; here is what is answered.

use serde::Serialize;
use serde_json::value::RawValue;

/// The answer to one request.
#[derive(Clone, Debug, Serialize)]
pub struct Response<'a> {
    /// `list`.
    pub object: &'static str,
    /// One vector an input, in the order of the inputs.
    pub data: Vec<Embedding<'a>>,
    /// The model as the caller named it.
    pub model: &'a str,
    /// What was read.
    pub usage: Usage,
}

/// The vector of one input.
#[derive(Clone, Debug, Serialize)]
pub struct Embedding<'a> {
    /// `embedding`.
    pub object: &'static str,
    /// The place of its input.
    pub index: usize,
    /// The vector itself.
    pub embedding: Vector<'a>,
}

/// A vector in the format that was asked for.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Vector<'a> {
    /// The list of numbers, as the model's maker wrote them.
    Numbers(&'a RawValue),
    /// Little-endian 32-bit floats in base64.
    Base64(String),
}

/// Tokens of all inputs.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Usage {
    /// Read.
    pub prompt_tokens: u64,
    /// The same: nothing is written.
    pub total_tokens: u64,
}
