//! What a caller gets: the message, its blocks, usage, errors:
//! <https://platform.claude.com/docs/en/api/messages>.
//!
//! Everything here is owned, is written as Anthropic writes it and can be read back, so that answers of the native
//! lane and converted ones look the same to whoever comes next. Stop reasons, blocks and citations that this build
//! does not know are kept ([`StopReason::Unknown`], [`Block::Unknown`]); a known block that is malformed is an error.

mod citation;
mod usage;

use std::borrow::Cow;
use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

pub use citation::{
    CharLocation, Citation, ContentBlockLocation, PageLocation, SearchResultLocation, WebSearchResultLocation,
};
pub use usage::{CacheCreation, OutputTokensDetails, Usage};

/// JSON text that is kept as it came, owned. Equal when the text is equal.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Json(Box<RawValue>);

impl Json {
    /// `{}`
    #[expect(clippy::expect_used, clippy::missing_panics_doc, reason = "an empty object is JSON")]
    pub fn empty_object() -> Self {
        Self::parse("{}".to_owned()).expect("an empty object is JSON")
    }

    /// Takes text that must be one JSON value.
    pub fn parse(text: String) -> Result<Self, serde_json::Error> {
        RawValue::from_string(text).map(Self)
    }

    /// The text.
    pub fn get(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for Json {}

impl From<&RawValue> for Json {
    fn from(raw: &RawValue) -> Self {
        Self(raw.to_owned())
    }
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `msg_…`
    pub id: String,
    /// Always `message`.
    #[serde(rename = "type", default)]
    pub kind: MessageKind,
    /// Always `assistant`.
    #[serde(default)]
    pub role: AssistantRole,
    /// The model's name, as the caller gave it.
    pub model: String,
    /// The blocks, in order.
    #[serde(default)]
    pub content: Vec<Block>,
    /// Why it ended; `null` in `message_start` only. Always sent.
    #[serde(default)]
    pub stop_reason: Option<StopReason>,
    /// The stop sequence that matched. Always sent, `null` included.
    #[serde(default)]
    pub stop_sequence: Option<String>,
    /// Details of a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_details: Option<Json>,
    /// The container that code ran in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Json>,
    /// What context management did (beta).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_management: Option<Json>,
    /// What was used.
    #[serde(default)]
    pub usage: Usage,
}

/// The `type` of a [`Message`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageKind {
    /// `message`
    #[default]
    Message,
}

/// The `role` of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AssistantRole {
    /// `assistant`
    #[default]
    Assistant,
}

/// One block of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Block {
    /// Text, with citations where documents were cited.
    Text(Text),
    /// Reasoning that the caller may read.
    Thinking(Thinking),
    /// Reasoning that the caller may only hand back.
    RedactedThinking(RedactedThinking),
    /// A call of one of the caller's tools.
    ToolUse(ToolUse),
    /// A call of a tool that the server runs.
    ServerToolUse(ToolUse),
    /// A block that this build does not know, whole.
    #[serde(untagged)]
    Unknown(Json),
}

/// A text block.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// The text.
    pub text: String,
    /// Where it comes from; absent when nothing was cited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub citations: Option<Vec<Citation>>,
}

/// A thinking block.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thinking {
    /// The text; legally empty beside a signature.
    pub thinking: String,
    /// What lets the block be handed back; empty where the model signs nothing.
    #[serde(default)]
    pub signature: String,
}

/// A redacted thinking block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedactedThinking {
    /// Opaque; travels unchanged.
    pub data: String,
}

/// A tool call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolUse {
    /// The call's id.
    pub id: String,
    /// The tool's name, as the caller gave it.
    pub name: String,
    /// The arguments: the model's own text.
    #[serde(default = "Json::empty_object")]
    pub input: Json,
    /// Who called: the model itself, or code that it wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<Json>,
    /// The toolset that the tool belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toolset_name: Option<String>,
}

/// The `type` member of an object.
pub(crate) fn tag(object: &str) -> Result<Cow<'_, str>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Tag<'a> {
        #[serde(rename = "type", borrow)]
        kind: Cow<'a, str>,
    }
    serde_json::from_str::<Tag<'_>>(object).map(|tag| tag.kind)
}

impl Block {
    fn parse(object: &RawValue) -> Result<Self, serde_json::Error> {
        let text = object.get();
        Ok(match tag(text)?.as_ref() {
            "text" => Self::Text(serde_json::from_str(text)?),
            "thinking" => Self::Thinking(serde_json::from_str(text)?),
            "redacted_thinking" => Self::RedactedThinking(serde_json::from_str(text)?),
            "tool_use" => Self::ToolUse(serde_json::from_str(text)?),
            "server_tool_use" => Self::ServerToolUse(serde_json::from_str(text)?),
            _ => Self::Unknown(object.into()),
        })
    }
}

impl<'de> Deserialize<'de> for Block {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Through raw text, and not through serde's tags: those buffer the members and lose raw numbers and order.
        let object = Box::<RawValue>::deserialize(deserializer)?;
        Self::parse(&object).map_err(D::Error::custom)
    }
}

/// Why an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The model was done.
    EndTurn,
    /// The limit of output tokens.
    MaxTokens,
    /// One of the caller's stop sequences.
    StopSequence,
    /// The model waits for tool results.
    ToolUse,
    /// A long turn was paused; send it back to go on.
    PauseTurn,
    /// The model, or a filter, declined.
    Refusal,
    /// The context window is full.
    ModelContextWindowExceeded,
    /// What the model wrote is not well-formed. The API has no word for that: on the wire it is an end like any other, or
    /// waits for results where the answer holds a call.
    Malformed {
        /// Whether it holds a call.
        called: bool,
    },
    /// A reason that this build does not know.
    Unknown(String),
}

impl StopReason {
    /// The word on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::EndTurn | Self::Malformed { called: false } => "end_turn",
            Self::MaxTokens => "max_tokens",
            Self::StopSequence => "stop_sequence",
            Self::ToolUse | Self::Malformed { called: true } => "tool_use",
            Self::PauseTurn => "pause_turn",
            Self::Refusal => "refusal",
            Self::ModelContextWindowExceeded => "model_context_window_exceeded",
            Self::Unknown(word) => word,
        }
    }
}

impl From<&str> for StopReason {
    fn from(word: &str) -> Self {
        match word {
            "end_turn" => Self::EndTurn,
            "max_tokens" => Self::MaxTokens,
            "stop_sequence" => Self::StopSequence,
            "tool_use" => Self::ToolUse,
            "pause_turn" => Self::PauseTurn,
            "refusal" => Self::Refusal,
            "model_context_window_exceeded" => Self::ModelContextWindowExceeded,
            other => Self::Unknown(other.to_owned()),
        }
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for StopReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for StopReason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|word| Self::from(word.as_str()))
    }
}

/// The body of a failed request, and the data of an `error` event:
/// <https://platform.claude.com/docs/en/api/errors>.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// Always `error`.
    #[serde(rename = "type", default)]
    pub kind: ErrorKind,
    /// What went wrong.
    pub error: ErrorDetail,
    /// The id of the request, as in the `request-id` header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl ErrorBody {
    /// An error of type `kind`, such as `api_error`.
    pub fn new(kind: impl Into<String>, message: impl Into<String>) -> Self {
        let error = ErrorDetail { kind: kind.into(), message: message.into(), details: None };
        Self { kind: ErrorKind::Error, error, request_id: None }
    }
}

/// The `type` of an [`ErrorBody`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// `error`
    #[default]
    Error,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// `api_error`, `overloaded_error`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// For people, and for clients that match on the vendor's wording.
    #[serde(default)]
    pub message: String,
    /// An error code and more, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Json>,
}
