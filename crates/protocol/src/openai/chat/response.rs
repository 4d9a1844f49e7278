//! What a caller gets: the completion, its message, usage, and the parts of a chunk.
//!
//! Borrowed, and written only. Members that OpenAI always sends are always there, `null` included.

use std::borrow::Cow;

use serde::Serialize;

/// A whole answer: <https://platform.openai.com/docs/api-reference/chat/object>.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Completion<'a> {
    /// `chatcmpl-…`
    pub id: &'a str,
    /// Always `chat.completion`.
    pub object: &'static str,
    /// Unix seconds.
    pub created: u64,
    /// The model's name, as the caller gave it.
    pub model: &'a str,
    /// One.
    pub choices: [Choice<'a>; 1],
    /// What was used.
    pub usage: Usage,
    /// The tier that served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<&'a str>,
}

/// The answer among the answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Choice<'a> {
    /// 0
    pub index: u32,
    /// It.
    pub message: Message<'a>,
    /// Never told.
    pub logprobs: Option<()>,
    /// Why it ended.
    pub finish_reason: &'static str,
}

/// What the model said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Message<'a> {
    /// Always `assistant`.
    pub role: &'static str,
    /// Its text; null where there is none.
    pub content: Option<Cow<'a, str>>,
    /// Why it declined; null where it did not.
    pub refusal: Option<Cow<'a, str>>,
    /// Extension: its reasoning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<Cow<'a, str>>,
    /// Extension: the same with what lets it be handed back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasoning_details: Vec<ReasoningDetail<'a>>,
    /// Its calls; absent where there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall<'a>>,
    /// Legacy: its call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function_call: Option<FunctionCall<'a>>,
}

/// A block of reasoning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type")]
pub enum ReasoningDetail<'a> {
    /// One that can be read.
    #[serde(rename = "reasoning.text")]
    Text {
        /// The text; legally empty beside a signature.
        text: Cow<'a, str>,
        /// What proves it unchanged; absent where the model signs nothing.
        #[serde(skip_serializing_if = "Option::is_none")]
        signature: Option<Cow<'a, str>>,
        /// What the signature is of; absent without one.
        #[serde(skip_serializing_if = "Option::is_none")]
        format: Option<&'static str>,
        /// The block's place in the answer.
        index: u32,
    },
    /// One that can only be handed back.
    #[serde(rename = "reasoning.encrypted")]
    Encrypted {
        /// The blob.
        data: Cow<'a, str>,
        /// What the blob is of.
        format: &'static str,
        /// The block's place in the answer.
        index: u32,
    },
}

/// A call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToolCall<'a> {
    /// Of a function.
    Function {
        /// Its id.
        id: &'a str,
        /// The function.
        function: FunctionCall<'a>,
    },
    /// Of a custom tool.
    Custom {
        /// Its id.
        id: &'a str,
        /// The tool.
        custom: CustomCall<'a>,
    },
}

/// A function and its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FunctionCall<'a> {
    /// The function.
    pub name: &'a str,
    /// JSON text, as the model wrote it.
    pub arguments: Cow<'a, str>,
}

/// A custom tool and its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CustomCall<'a> {
    /// The tool.
    pub name: &'a str,
    /// The text.
    pub input: Cow<'a, str>,
}

/// Token counts. The prompt's figure holds everything that went in, cached or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Input, cache reads and cache writes included.
    pub prompt_tokens: u64,
    /// Output, reasoning included.
    pub completion_tokens: u64,
    /// Both.
    pub total_tokens: u64,
    /// Parts of the input; absent where the upstream tells none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tokens_details: Option<PromptDetails>,
    /// Parts of the output.
    pub completion_tokens_details: CompletionDetails,
    /// Extension: input that was written to the cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_creation_input_tokens: Option<u64>,
}

/// Parts of the input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PromptDetails {
    /// Read from the cache.
    pub cached_tokens: u64,
    /// Written to the cache.
    pub cache_write_tokens: u64,
}

/// Parts of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CompletionDetails {
    /// Reasoning.
    pub reasoning_tokens: u64,
}
