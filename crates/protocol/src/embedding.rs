//! Bodies of InvokeModel for embedding models.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A request to Titan:
/// <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html>.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TitanRequest<'a> {
    /// The text.
    pub input_text: &'a str,
    /// Length of the vector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<u16>,
}

/// Titan's answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TitanAnswer {
    /// The vector.
    pub embedding: Box<RawValue>,
    /// Tokens of the text.
    #[serde(default)]
    pub input_text_token_count: Option<u64>,
}

/// A request to Cohere's models:
/// <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-embed.html>.
#[derive(Clone, Debug, Serialize)]
pub struct CohereRequest<'a> {
    /// The texts.
    pub texts: Vec<&'a str>,
    /// What the vectors are for.
    pub input_type: &'a str,
    /// Kinds of vector; a list, also of one.
    pub embedding_types: [&'static str; 1],
    /// Length of the vectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_dimension: Option<u16>,
}

/// Cohere's answer.
#[derive(Clone, Debug, Deserialize)]
pub struct CohereAnswer<'a> {
    /// A list of vectors, one a text; or a [`CohereByType`], where kinds were asked for.
    #[serde(borrow)]
    pub embeddings: &'a RawValue,
}

/// Lists of vectors by kind.
#[derive(Clone, Debug, Deserialize)]
pub struct CohereByType {
    /// Of numbers.
    pub float: Vec<Box<RawValue>>,
}
