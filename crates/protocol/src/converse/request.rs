//! What Converse and ConverseStream are sent:
//! <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html>.
//!
//! Members are written in one fixed order: tools, system, messages, then settings, which is the order in which
//! prompt caches read them. Numbers, schemas and tool inputs are raw text: what the caller wrote is what is sent.

use std::borrow::Cow;

use serde::Serialize;

use crate::raw::{Extra, Number, Raw};

mod settings;

pub use settings::{
    Empty, GuardrailConfig, InferenceConfig, InputSchema, OutputConfig, Pairs, PerformanceConfig,
    ServiceTier, Structure, TextFormat, Tool, ToolChoice, ToolConfig, ToolSpec,
};

/// The body of a Converse call.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Request<'a> {
    /// Tools and the choice among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_config: Option<ToolConfig<'a>>,
    /// The system prompt.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub system: Vec<SystemBlock<'a>>,
    /// The conversation, users and assistants in turn.
    pub messages: Vec<Message<'a>>,
    /// Limits and sampling.
    #[serde(skip_serializing_if = "InferenceConfig::is_empty")]
    pub inference_config: InferenceConfig<'a>,
    /// Members of the model's own request.
    #[serde(skip_serializing_if = "Extra::is_empty")]
    pub additional_model_request_fields: Extra<'a>,
    /// JSON pointers into the model's own answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub additional_model_response_field_paths: Vec<&'static str>,
    /// A guardrail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guardrail_config: Option<GuardrailConfig>,
    /// Effort and output format.
    #[serde(skip_serializing_if = "OutputConfig::is_empty")]
    pub output_config: OutputConfig<'a>,
    /// Service tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<Typed<ServiceTier>>,
    /// Latency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub performance_config: Option<PerformanceConfig>,
    /// Labels in the invocation log: 1 to 16.
    #[serde(skip_serializing_if = "Pairs::is_empty")]
    pub request_metadata: Pairs<'a>,
}

/// A struct of one member, `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Typed<T> {
    /// The type.
    #[serde(rename = "type")]
    pub kind: T,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are Bedrock's own")]
pub enum Role {
    User,
    Assistant,
}

/// One turn.
#[derive(Clone, Debug, Serialize)]
pub struct Message<'a> {
    /// Who speaks.
    pub role: Role,
    /// What is said; never empty.
    pub content: Vec<ContentBlock<'a>>,
}

/// A content block: an object of exactly one member.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are Bedrock's own")]
pub enum ContentBlock<'a> {
    Text(Cow<'a, str>),
    Image(ImageBlock<'a>),
    Document(Box<DocumentBlock<'a>>),
    ToolUse(ToolUseBlock<'a>),
    ToolResult(ToolResultBlock<'a>),
    CachePoint(CachePoint),
    ReasoningContent(Reasoning<'a>),
    SearchResult(SearchResult<'a>),
}

/// An image.
#[derive(Clone, Debug, Serialize)]
pub struct ImageBlock<'a> {
    /// `png`, `jpeg`, `gif` or `webp`.
    pub format: &'static str,
    /// The bytes.
    pub source: Bytes<'a>,
}

/// Bytes in base64, as the caller encoded them.
#[derive(Clone, Debug, Serialize)]
pub struct Bytes<'a> {
    /// Base64.
    pub bytes: Cow<'a, str>,
}

/// A document.
#[derive(Clone, Debug, Serialize)]
pub struct DocumentBlock<'a> {
    /// `pdf`, `txt`, `docx` and so on.
    pub format: &'static str,
    /// Unique in the request; letters, digits, single spaces, hyphens, brackets.
    pub name: String,
    /// The content.
    pub source: DocumentSource<'a>,
    /// What the model should know of it, beside its content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<Cow<'a, str>>,
    /// Whether the answer may cite it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub citations: Option<Citations>,
}

/// A document's content.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum DocumentSource<'a> {
    /// Base64.
    Bytes(Cow<'a, str>),
    /// Text, for citations.
    Text(Cow<'a, str>),
    /// Chunks of text, for citations.
    Content(Vec<TextChunk<'a>>),
}

/// A chunk of text.
#[derive(Clone, Debug, Serialize)]
pub struct TextChunk<'a> {
    /// The text.
    pub text: Cow<'a, str>,
}

/// Whether the answer may cite.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Citations {
    /// It may.
    pub enabled: bool,
}

/// A search result.
#[derive(Clone, Debug, Serialize)]
pub struct SearchResult<'a> {
    /// Where it comes from.
    pub source: Cow<'a, str>,
    /// Its title.
    pub title: Cow<'a, str>,
    /// Its text.
    pub content: Vec<TextChunk<'a>>,
    /// Whether the answer may cite it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub citations: Option<Citations>,
}

/// A tool call.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolUseBlock<'a> {
    /// `[a-zA-Z0-9_.:-]{1,64}`.
    pub tool_use_id: Cow<'a, str>,
    /// `[a-zA-Z0-9_-]{1,64}`.
    pub name: Cow<'a, str>,
    /// A JSON object.
    pub input: Raw<'a>,
}

/// A tool's result.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolResultBlock<'a> {
    /// The call it answers.
    pub tool_use_id: Cow<'a, str>,
    /// What came back.
    pub content: Vec<ToolResultContent<'a>>,
    /// `error` where the tool failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<&'static str>,
}

/// Content of a tool's result.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are Bedrock's own")]
pub enum ToolResultContent<'a> {
    Text(Cow<'a, str>),
    Image(ImageBlock<'a>),
    Document(Box<DocumentBlock<'a>>),
    SearchResult(SearchResult<'a>),
}

/// Reasoning of an earlier turn.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Reasoning<'a> {
    /// Shown.
    ReasoningText(ReasoningText<'a>),
    /// Encrypted.
    RedactedContent(Cow<'a, str>),
}

/// Reasoning that was shown.
#[derive(Clone, Debug, Serialize)]
pub struct ReasoningText<'a> {
    /// The text.
    pub text: Cow<'a, str>,
    /// What proves it unchanged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<Cow<'a, str>>,
}

/// A prompt-cache checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CachePoint {
    /// `default`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// `1h`; absent means 5 minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<&'static str>,
}

/// A block of the system prompt.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are Bedrock's own")]
pub enum SystemBlock<'a> {
    Text(Cow<'a, str>),
    CachePoint(CachePoint),
}

impl<'a> From<&'a Number<'_>> for Raw<'a> {
    fn from(number: &'a Number<'_>) -> Self {
        number.raw()
    }
}
