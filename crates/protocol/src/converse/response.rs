//! What Converse answers:
//! <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html#API_runtime_Converse_ResponseSyntax>.
//!
//! Read only. Members that nothing reads (metrics, traces) are left out, members that are new are ignored, and a
//! block that is new is [`Block::Unknown`].

use std::borrow::Cow;

use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// A string that is borrowed from the text it was read from, unless it has escapes.
///
/// serde borrows a bare `Cow`, but not one inside an `Option`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Str<'a>(#[serde(borrow)] pub Cow<'a, str>);

impl Str<'_> {
    /// The string.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A whole answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Response<'a> {
    /// The message.
    #[serde(borrow)]
    pub output: Output<'a>,
    /// Why it ended.
    pub stop_reason: StopReason,
    /// What was used. Required by the service model; a missing one is no reason to lose the answer.
    #[serde(default)]
    pub usage: Option<Usage>,
    /// What was asked for by `additionalModelResponseFieldPaths`.
    #[serde(default)]
    pub additional_model_response_fields: Option<AdditionalFields>,
    /// The tier that served.
    #[serde(default)]
    pub service_tier: Option<ServiceTier>,
}

/// The union around the message.
#[derive(Clone, Debug, Deserialize)]
pub struct Output<'a> {
    /// The message.
    #[serde(borrow)]
    pub message: Message<'a>,
}

/// The message. Its role is always `assistant`.
#[derive(Clone, Debug, Deserialize)]
pub struct Message<'a> {
    /// The blocks, in order.
    #[serde(borrow, default)]
    pub content: Vec<Block<'a>>,
}

/// A block: a JSON object with one member, named for the kind.
#[derive(Clone, Debug)]
pub enum Block<'a> {
    /// Text.
    Text(Cow<'a, str>),
    /// A tool call.
    ToolUse(ToolUse<'a>),
    /// Reasoning.
    Reasoning(Reasoning<'a>),
    /// Text with citations.
    Citations(CitationsContent<'a>),
    /// A block that Outcrop never asks for, or does not know; named by its member.
    Unknown(String),
}

/// A tool call.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolUse<'a> {
    /// The call's id.
    #[serde(borrow)]
    pub tool_use_id: Cow<'a, str>,
    /// The tool's name, as it was sent up.
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    /// The arguments, as the upstream wrote them.
    #[serde(borrow, default)]
    pub input: Option<&'a RawValue>,
    /// `server_tool_use` for a tool that Bedrock ran itself.
    #[serde(borrow, default, rename = "type")]
    pub kind: Option<Str<'a>>,
}

/// Reasoning, a union.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reasoning<'a> {
    /// Text that may be read.
    #[serde(borrow, default)]
    pub reasoning_text: Option<ReasoningText<'a>>,
    /// Encrypted, base64.
    #[serde(borrow, default)]
    pub redacted_content: Option<Str<'a>>,
}

/// Reasoning that may be read.
#[derive(Clone, Debug, Deserialize)]
pub struct ReasoningText<'a> {
    /// The text.
    #[serde(borrow, default)]
    pub text: Option<Str<'a>>,
    /// Only models that check it on the way back send one.
    #[serde(borrow, default)]
    pub signature: Option<Str<'a>>,
}

/// Text with citations.
#[derive(Clone, Debug, Deserialize)]
pub struct CitationsContent<'a> {
    /// The text, in pieces.
    #[serde(borrow, default)]
    pub content: Vec<CitedText<'a>>,
    /// Where it comes from.
    #[serde(default, alias = "citation")]
    pub citations: Vec<Citation>,
}

/// A piece of text.
#[derive(Clone, Debug, Deserialize)]
pub struct CitedText<'a> {
    /// The piece.
    #[serde(borrow, default)]
    pub text: Option<Str<'a>>,
}

/// Where a text comes from.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Citation {
    /// The document's title.
    pub title: Option<String>,
    /// The source of a search result.
    pub source: Option<String>,
    /// The cited text, in pieces.
    pub source_content: Vec<CitationSourceContent>,
    /// Where in the source.
    pub location: Option<CitationLocation>,
}

/// A piece of a cited text.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct CitationSourceContent {
    /// The piece.
    pub text: Option<String>,
}

/// Where in a source, a union. `None` throughout: a location that this build does not know.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CitationLocation {
    /// A page on the web.
    pub web: Option<WebLocation>,
    /// Characters of a document.
    pub document_char: Option<DocumentLocation>,
    /// Pages of a document.
    pub document_page: Option<DocumentLocation>,
    /// Chunks of a document.
    pub document_chunk: Option<DocumentLocation>,
    /// Blocks of a search result.
    pub search_result_location: Option<SearchResultLocation>,
}

/// A page on the web.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct WebLocation {
    /// Its address.
    pub url: Option<String>,
    /// Its domain.
    pub domain: Option<String>,
}

/// `start..end` of a document.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DocumentLocation {
    /// Which of the request's documents.
    pub document_index: u64,
    /// The first.
    pub start: u64,
    /// Past the last.
    pub end: u64,
}

/// `start..end` of a search result.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SearchResultLocation {
    /// Which of the request's search results.
    pub search_result_index: u64,
    /// The first.
    pub start: u64,
    /// Past the last.
    pub end: u64,
}

/// Why an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words are the vendor's and say what they are")]
pub enum StopReason {
    EndTurn,
    ToolUse,
    MaxTokens,
    StopSequence,
    GuardrailIntervened,
    ContentFiltered,
    MalformedModelOutput,
    MalformedToolUse,
    ModelContextWindowExceeded,
    /// A reason that this build does not know.
    Unknown(String),
}

impl From<&str> for StopReason {
    fn from(word: &str) -> Self {
        match word {
            "end_turn" => Self::EndTurn,
            "tool_use" => Self::ToolUse,
            "max_tokens" => Self::MaxTokens,
            "stop_sequence" => Self::StopSequence,
            "guardrail_intervened" => Self::GuardrailIntervened,
            "content_filtered" => Self::ContentFiltered,
            "malformed_model_output" => Self::MalformedModelOutput,
            "malformed_tool_use" => Self::MalformedToolUse,
            "model_context_window_exceeded" => Self::ModelContextWindowExceeded,
            other => Self::Unknown(other.to_owned()),
        }
    }
}

impl<'de> Deserialize<'de> for StopReason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|word| Self::from(word.as_str()))
    }
}

/// Token counts. `inputTokens` holds neither cache reads nor cache writes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Usage {
    /// Uncached input.
    pub input_tokens: Option<u64>,
    /// Output, reasoning included.
    pub output_tokens: Option<u64>,
    /// Input read from the cache.
    pub cache_read_input_tokens: Option<u64>,
    /// Input written to the cache, both lifetimes together.
    pub cache_write_input_tokens: Option<u64>,
    /// Cache writes by lifetime.
    pub cache_details: Option<Vec<CacheDetail>>,
}

/// Cache writes of one lifetime.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CacheDetail {
    /// `5m` or `1h`.
    pub ttl: String,
    /// How many tokens.
    pub input_tokens: u64,
}

/// The tier that served.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ServiceTier {
    /// `default`, `priority`, `flex` or `reserved`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// Members of the model's own answer that Outcrop asks for. Whatever does not fit is ignored: models that do not
/// have the member answer as they like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdditionalFields {
    /// `/stop_sequence`: the sequence that matched.
    pub stop_sequence: Option<String>,
    /// `/usage/output_tokens_details/thinking_tokens`.
    pub thinking_tokens: Option<u64>,
}

impl<'de> Deserialize<'de> for AdditionalFields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The one free-form member: a handful of values, read once an answer.
        let fields = serde_json::Value::deserialize(deserializer)?;
        let thinking = fields.pointer("/usage/output_tokens_details/thinking_tokens");
        Ok(Self {
            stop_sequence: fields.pointer("/stop_sequence").and_then(|it| it.as_str()).map(str::to_owned),
            thinking_tokens: thinking.and_then(serde_json::Value::as_u64),
        })
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Block<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(BlockVisitor)
    }
}

struct BlockVisitor;

impl<'de> Visitor<'de> for BlockVisitor {
    type Value = Block<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a content block")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut block = None;
        let mut unknown = None;
        while let Some(Str(name)) = members.next_key::<Str<'de>>()? {
            // A known member wins over what may come to stand beside it one day.
            match name.as_ref() {
                "text" => block = Some(Block::Text(members.next_value::<Str<'de>>()?.0)),
                "toolUse" => block = Some(Block::ToolUse(members.next_value()?)),
                "reasoningContent" => block = Some(Block::Reasoning(members.next_value()?)),
                "citationsContent" => block = Some(Block::Citations(members.next_value()?)),
                _ => {
                    members.next_value::<IgnoredAny>()?;
                    unknown.get_or_insert_with(|| name.into_owned());
                }
            }
        }
        block
            .or(unknown.map(Block::Unknown))
            .ok_or_else(|| A::Error::custom("a content block without a member"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_that_are_new_are_ignored_and_new_blocks_are_values() {
        let body = r#"{"output":{"message":{"role":"assistant","content":[
            {"text":"a","p":"xx"},{"hologram":{"x":1}},{"toolUse":{"toolUseId":"t","name":"n","input":{"b":1,"a":2}}}],"x":1}},
            "stopReason":"tired","usage":{"inputTokens":1,"outputTokens":2,"totalTokens":3},"metrics":{"latencyMs":1},
            "additionalModelResponseFields":{"stop_sequence":null,"usage":[]},"trace":{}}"#;
        let response: Response<'_> = serde_json::from_str(body).unwrap();
        let content = response.output.message.content;
        assert!(matches!(&content[0], Block::Text(Cow::Borrowed("a"))));
        assert!(matches!(&content[1], Block::Unknown(name) if name == "hologram"));
        assert!(matches!(&content[2], Block::ToolUse(it) if it.input.unwrap().get() == r#"{"b":1,"a":2}"#));
        assert_eq!(response.stop_reason, StopReason::Unknown("tired".into()));
        assert_eq!(response.additional_model_response_fields, Some(AdditionalFields::default()));
    }

    #[test]
    fn a_malformed_known_block_is_an_error() {
        assert!(serde_json::from_str::<Block<'_>>(r#"{"toolUse":{"name":"n"}}"#).is_err());
        assert!(serde_json::from_str::<Block<'_>>(r#"{"text":7}"#).is_err());
        assert!(serde_json::from_str::<Block<'_>>("{}").is_err());
    }
}
