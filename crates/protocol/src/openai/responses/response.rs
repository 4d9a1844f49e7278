//! What a caller gets: the response, its items, usage.
//!
//! Optional members that OpenAI writes as null are written as null: clients read them without asking.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::anthropic::response::Json;

/// A response, finished or not: <https://developers.openai.com/api/reference/resources/responses>.
#[derive(Clone, Debug, Serialize)]
pub struct Response<'a> {
    /// `resp_…`
    pub id: &'a str,
    /// Always `response`.
    pub object: ObjectKind,
    /// Unix seconds.
    pub created_at: u64,
    /// How far it is.
    pub status: Status,
    /// Why it failed.
    pub error: Option<Error>,
    /// Why it is not whole.
    pub incomplete_details: Option<IncompleteDetails>,
    /// The model's name, as the caller sent it.
    pub model: &'a str,
    /// What the model gave, in order.
    pub output: Vec<Cow<'a, OutputItem>>,
    /// What was used; null until it is known.
    pub usage: Option<Usage>,
    /// The tier that served, or that was asked for.
    pub service_tier: Option<Cow<'a, str>>,
    /// What the caller asked for.
    #[serde(flatten)]
    pub echo: &'a Echo,
}

/// The `object` of a [`Response`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectKind {
    /// `response`
    #[default]
    Response,
}

/// A conversation that was compacted: <https://developers.openai.com/api/reference/resources/responses/methods/compact>.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Compacted {
    /// `resp_…`
    pub id: String,
    /// Always `response.compaction`.
    pub object: CompactedKind,
    /// Unix seconds.
    pub created_at: u64,
    /// The items that the conversation goes on from.
    pub output: Vec<Json>,
    /// What was used.
    pub usage: Usage,
}

/// The `object` of a [`Compacted`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CompactedKind {
    /// `response.compaction`
    #[default]
    #[serde(rename = "response.compaction")]
    Compaction,
}

/// How far a response, or an item of it, is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// More is to come.
    InProgress,
    /// All is there.
    Completed,
    /// It was cut off.
    Incomplete,
    /// It ended by failure.
    Failed,
}

/// What of the request a response repeats, with the values that hold where the caller said nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the members are the vendor's, and the request's say what they are")]
pub struct Echo {
    pub background: bool,
    pub instructions: Option<String>,
    pub max_output_tokens: Option<u64>,
    pub max_tool_calls: Option<u64>,
    pub metadata: Json,
    pub parallel_tool_calls: bool,
    pub previous_response_id: Option<String>,
    pub prompt_cache_key: Option<String>,
    pub reasoning: ReasoningEcho,
    pub safety_identifier: Option<String>,
    pub store: bool,
    pub temperature: Json,
    pub text: Json,
    pub tool_choice: Json,
    pub tools: Json,
    pub top_logprobs: u64,
    pub top_p: Json,
    pub truncation: String,
    pub user: Option<String>,
}

/// `reasoning`, repeated. It has no `mode`: clients take a null for a fault.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the members are the vendor's, and the request's say what they are")]
pub struct ReasoningEcho {
    pub effort: Option<String>,
    pub summary: Option<String>,
}

/// Why a response failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// `server_error`, `rate_limit_exceeded`, …
    pub code: String,
    /// For people, and for clients that match on wordings.
    pub message: String,
}

/// Why a response is not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncompleteDetails {
    /// The reason.
    pub reason: IncompleteReason,
}

/// Why a response is not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncompleteReason {
    /// The limit of tokens.
    MaxOutputTokens,
    /// The model, or a filter, declined.
    ContentFilter,
}

/// One item that the model gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the members are the vendor's; those of the input's items say what they are")]
pub enum OutputItem {
    /// What it said.
    Message { id: String, status: Status, role: AssistantRole, content: Vec<OutputPart> },
    /// What it thought.
    Reasoning {
        id: String,
        summary: Vec<SummaryPart>,
        #[serde(skip_serializing_if = "Option::is_none")]
        encrypted_content: Option<String>,
    },
    /// A call of a function.
    FunctionCall {
        id: String,
        status: Status,
        call_id: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<String>,
        name: String,
        arguments: String,
    },
    /// A call of a tool that takes text.
    CustomToolCall {
        id: String,
        status: Status,
        call_id: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<String>,
        name: String,
        input: String,
    },
    /// What stands for an earlier part of the conversation.
    Compaction { id: String, encrypted_content: String },
}

/// The `role` of what the model said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AssistantRole {
    /// `assistant`
    #[default]
    Assistant,
}

/// A part of what the model said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum OutputPart {
    /// Text.
    OutputText {
        /// Where it comes from.
        annotations: Vec<Annotation>,
        /// Always empty: Bedrock tells none.
        logprobs: [(); 0],
        /// The text.
        text: String,
    },
}

/// Where a stretch of text comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Annotation {
    /// A page on the web.
    UrlCitation {
        /// The first character, counted in Unicode scalar values.
        start_index: usize,
        /// The character after the last.
        end_index: usize,
        /// The page.
        url: String,
        /// Its title.
        title: String,
    },
}

/// A part of what the caller may read of a thought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SummaryPart {
    /// Text.
    SummaryText {
        /// The text.
        text: String,
    },
}

/// Token counts. The details are always there: clients read them without asking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Everything that went in, cached or not.
    pub input_tokens: u64,
    /// What part of it the cache had to do with.
    pub input_tokens_details: InputDetails,
    /// Everything that came out, reasoning included.
    pub output_tokens: u64,
    /// What part of it was reasoning.
    pub output_tokens_details: OutputDetails,
    /// Both together.
    pub total_tokens: u64,
}

/// What the cache had to do with the input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputDetails {
    /// Read from the cache.
    pub cached_tokens: u64,
    /// Written to it.
    #[serde(default)]
    pub cache_write_tokens: u64,
}

/// What part of the output was reasoning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputDetails {
    /// Reasoning tokens.
    pub reasoning_tokens: u64,
}
