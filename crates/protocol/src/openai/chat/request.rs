//! What a caller sends: `POST /v1/chat/completions`, and the extensions that gateways agree on.

mod content;

use std::borrow::Cow;
use std::num::NonZeroU64;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::anthropic::request::{CacheControl, Thinking};
use crate::openai::tool::{CustomCall, Function, FunctionCall, Tool, ToolChoice};
use crate::raw::{Absent, Fault, Number, Object, Raw, Read, Shape, open_object};

pub use content::{
    AudioPart, Breakpoint, Content, FilePart, FileSource, ImagePart, ImageSpec, ImageUrl, Part, RefusalPart,
    TextPart,
};

open_object! {
    /// A request: <https://platform.openai.com/docs/api-reference/chat/create>.
    Request {
        /// The model, in any form a model may be named in.
        model: Cow<'a, str> = "model",
        /// The conversation.
        messages: Vec<Message<'a>> = "messages",
        /// Most tokens to generate, reasoning included.
        max_completion_tokens: Option<NonZeroU64> = "max_completion_tokens",
        /// The older name of the same.
        max_tokens: Option<NonZeroU64> = "max_tokens",
        /// Randomness, 0 to 2.
        temperature: Option<Number<'a>> = "temperature",
        /// Nucleus sampling, 0 to 1.
        top_p: Option<Number<'a>> = "top_p",
        /// Extension: sample from the most probable so many.
        top_k: Option<Number<'a>> = "top_k",
        /// Texts that end the answer.
        stop: Option<Stop<'a>> = "stop",
        /// Whether to answer as server-sent events.
        stream: Option<bool> = "stream",
        /// How to stream.
        stream_options: Option<StreamOptions<'a>> = "stream_options",
        /// The tools on offer.
        tools: Option<Vec<Tool<'a>>> = "tools",
        /// Which of them to use.
        tool_choice: Option<ToolChoice<'a>> = "tool_choice",
        /// Whether one answer may hold several calls.
        parallel_tool_calls: Option<bool> = "parallel_tool_calls",
        /// Legacy: the functions on offer.
        functions: Option<Vec<Function<'a>>> = "functions",
        /// Legacy: which of them to use.
        function_call: Option<ToolChoice<'a>> = "function_call",
        /// What the answer must look like.
        response_format: Option<ResponseFormat<'a>> = "response_format",
        /// `none`, `minimal`, `low`, `medium`, `high`, `xhigh` or `max`.
        reasoning_effort: Option<Cow<'a, str>> = "reasoning_effort",
        /// Extension: thinking as the Messages API has it; wins over `reasoning_effort`.
        thinking: Option<Thinking<'a>> = "thinking",
        /// `auto`, `default`, `flex`, `priority`, `scale` or `fast`.
        service_tier: Option<Cow<'a, str>> = "service_tier",
        /// Labels.
        metadata: Option<Object<'a>> = "metadata",
        /// The end user, formerly.
        user: Option<Cow<'a, str>> = "user",
        /// The end user.
        safety_identifier: Option<Cow<'a, str>> = "safety_identifier",
        /// How prompts are cached.
        prompt_cache_options: Option<PromptCacheOptions<'a>> = "prompt_cache_options",
        /// Extension: how long cached prefixes live, `5m` or `1h`.
        cache_ttl: Option<Cow<'a, str>> = "cache_ttl",
        /// What requests that share a prefix have in common.
        prompt_cache_key: Option<Cow<'a, str>> = "prompt_cache_key",
        /// `in_memory` or `24h`.
        prompt_cache_retention: Option<Cow<'a, str>> = "prompt_cache_retention",
        /// How many answers.
        n: Option<NonZeroU64> = "n",
        /// Whether to tell probabilities.
        logprobs: Option<bool> = "logprobs",
        /// Of how many tokens.
        top_logprobs: Option<u64> = "top_logprobs",
        /// Kinds of output.
        modalities: Option<Vec<Cow<'a, str>>> = "modalities",
        /// How spoken output sounds.
        audio: Option<Raw<'a>> = "audio",
        /// Search on the web.
        web_search_options: Option<Raw<'a>> = "web_search_options",
        /// Moderation beside the answer.
        moderation: Option<Raw<'a>> = "moderation",
        /// Against repeated tokens.
        frequency_penalty: Option<Number<'a>> = "frequency_penalty",
        /// Against tokens that were there.
        presence_penalty: Option<Number<'a>> = "presence_penalty",
        /// For and against single tokens.
        logit_bias: Option<Object<'a>> = "logit_bias",
        /// A wish for the same answer again.
        seed: Option<Raw<'a>> = "seed",
        /// What the answer will mostly be.
        prediction: Option<Raw<'a>> = "prediction",
        /// Whether the answer is kept.
        store: Option<bool> = "store",
        /// How much is said: `low`, `medium` or `high`.
        verbosity: Option<Cow<'a, str>> = "verbosity",
    }
}

open_object! {
    /// How to stream.
    StreamOptions {
        /// Whether a last chunk tells the usage.
        include_usage: Option<bool> = "include_usage",
        /// Whether chunks are padded.
        include_obfuscation: Option<bool> = "include_obfuscation",
    }
}

open_object! {
    /// How prompts are cached.
    PromptCacheOptions {
        /// `implicit`, or `explicit`: where the caller says so alone.
        mode: Option<Cow<'a, str>> = "mode",
        /// `30m`
        ttl: Option<Cow<'a, str>> = "ttl",
    }
}

open_object! {
    /// What the answer must look like.
    ResponseFormat {
        /// `text`, `json_object` or `json_schema`.
        kind: Cow<'a, str> = "type",
        /// The schema and its name.
        json_schema: Option<JsonSchema<'a>> = "json_schema",
    }
}

open_object! {
    /// A schema that the answer must fit.
    JsonSchema {
        /// Its name.
        name: Option<Cow<'a, str>> = "name",
        /// What it is for.
        description: Option<Cow<'a, str>> = "description",
        /// The schema, as the caller wrote it.
        schema: Option<Object<'a>> = "schema",
        /// Whether the answer is held to it.
        strict: Option<bool> = "strict",
    }
}

/// Texts that end the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop<'a> {
    /// One.
    Text(Cow<'a, str>),
    /// Several.
    List(Vec<Cow<'a, str>>),
}

impl<'a> Read<'a> for Stop<'a> {
    fn from_shape(shape: Shape<'a>) -> Result<Self, Fault> {
        match shape {
            Shape::Text(text) => Ok(Self::Text(text)),
            Shape::List(_) => Vec::from_shape(shape).map(Self::List),
            Shape::Object(_) | Shape::Other(_) => Err(Fault::here("Input should be a valid string or list")),
        }
    }
}

impl Serialize for Stop<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(list) => list.serialize(serializer),
        }
    }
}

impl Absent for Stop<'_> {}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The operator.
    System,
    /// The operator, as newer models call it.
    Developer,
    /// The caller's side.
    User,
    /// The model.
    Assistant,
    /// A tool's result.
    Tool,
    /// Legacy: a function's result.
    Function,
}

const ROLES: &[(&str, Role)] = &[
    ("system", Role::System),
    ("developer", Role::Developer),
    ("user", Role::User),
    ("assistant", Role::Assistant),
    ("tool", Role::Tool),
    ("function", Role::Function),
];

impl<'a> Read<'a> for Role {
    fn from_shape(shape: Shape<'a>) -> Result<Self, Fault> {
        let found = match &shape {
            Shape::Text(text) => ROLES.iter().find(|(name, _)| text == name),
            Shape::Object(_) | Shape::List(_) | Shape::Other(_) => None,
        };
        found.map(|(_, role)| *role).ok_or_else(|| {
            Fault::here("Input should be 'system', 'developer', 'user', 'assistant', 'tool' or 'function'")
        })
    }
}

impl Serialize for Role {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let name = ROLES.iter().find(|(_, role)| role == self).map_or("user", |(name, _)| name);
        serializer.serialize_str(name)
    }
}

impl Absent for Role {}

open_object! {
    /// One message.
    Message {
        /// Who speaks.
        role: Role = "role",
        /// What is said.
        content: Content<'a> = "content",
        /// Who of several; for `function`, which function.
        name: Option<Cow<'a, str>> = "name",
        /// Calls that the model made.
        tool_calls: Option<Vec<ToolCall<'a>>> = "tool_calls",
        /// The call that a tool answers.
        tool_call_id: Option<Cow<'a, str>> = "tool_call_id",
        /// Legacy: the call that the model made.
        function_call: Option<FunctionCall<'a>> = "function_call",
        /// What the model said when it declined.
        refusal: Option<Cow<'a, str>> = "refusal",
        /// Extension: the model's reasoning, echoed from an answer.
        reasoning_content: Option<Cow<'a, str>> = "reasoning_content",
        /// Extension: the same with signatures, echoed from an answer.
        reasoning_details: Option<Vec<ReasoningDetail<'a>>> = "reasoning_details",
        /// Spoken output of an earlier answer.
        audio: Option<Raw<'a>> = "audio",
        /// Citations of an earlier answer.
        annotations: Option<Raw<'a>> = "annotations",
        /// Extension: a cache marker on the end of the message.
        cache_control: Option<CacheControl<'a>> = "cache_control",
    }
}

open_object! {
    /// A call that the model made.
    ToolCall {
        /// Its id.
        id: Option<Cow<'a, str>> = "id",
        /// `function` or `custom`.
        kind: Option<Cow<'a, str>> = "type",
        /// The function.
        function: Option<FunctionCall<'a>> = "function",
        /// The custom tool.
        custom: Option<CustomCall<'a>> = "custom",
        /// Its number in a stream, which some clients echo.
        index: Option<Raw<'a>> = "index",
    }
}

open_object! {
    /// A block of reasoning, or a piece of one: `reasoning.text` or `reasoning.encrypted`.
    ReasoningDetail {
        /// Which.
        kind: Cow<'a, str> = "type",
        /// The text.
        text: Option<Cow<'a, str>> = "text",
        /// What proves it unchanged.
        signature: Option<Cow<'a, str>> = "signature",
        /// The blob.
        data: Option<Cow<'a, str>> = "data",
        /// The block's place in the answer. Pieces of one block have the same.
        index: Option<u64> = "index",
        /// What the signature is of.
        format: Option<Cow<'a, str>> = "format",
        /// An id.
        id: Option<Raw<'a>> = "id",
    }
}

/// Reads the body of `POST /v1/chat/completions`. The fault names the first thing that is wrong.
pub fn parse(body: &str) -> Result<Request<'_>, Fault> {
    let shape = serde_json::from_str(body)
        .map_err(|error| Fault::here(format!("The request body is not valid JSON: {error}")))?;
    let Shape::Object(members) = shape else {
        return Err(Fault::here("The request body must be a JSON object"));
    };
    // Two top-level members of one name would mean different things to different readers; those that the schema
    // knows are noticed when they are read.
    let mut keys: Vec<&str> = members.iter().map(|(key, _)| &**key).collect();
    keys.sort_unstable();
    if let Some(pair) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Fault::here("duplicate key").within(pair[0]));
    }
    Request::from_shape(Shape::Object(members))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(body: &str) -> String {
        parse(body).expect_err("a fault").to_string()
    }

    #[test]
    fn what_is_read_can_be_written_again() {
        let body = r#"{"model":"m","messages":[{"role":"developer","content":"d"},{"role":"user","content":[{"type":"text","text":"t"},{"type":"image_url","image_url":{"url":"u","detail":"low"}},{"type":"image_url","image_url":"u"},{"type":"later","x":1.0}]},{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","content":"r","tool_call_id":"c"}],"temperature":0.70,"stop":["a"],"tools":[{"type":"function","function":{"name":"f","parameters":{"b":1,"a":2}}}],"tool_choice":{"type":"function","function":{"name":"f"}},"later":1}"#;
        let written = serde_json::to_string(&parse(body).unwrap()).unwrap();
        assert_eq!(written, body.replace(r#""content":null,"#, ""));
    }

    #[test]
    fn faults_name_the_parameter() {
        for (body, expected) in [
            (r#"{"messages":[]}"#, "model: Field required"),
            (r#"{"model":"m"}"#, "messages: Field required"),
            (r#"{"model":"m","messages":[],"n":"1"}"#, "n: Input should be a valid integer"),
            (r#"{"model":"m","messages":[],"n":-1}"#, "n: Input should be greater than or equal to 1"),
            (
                r#"{"model":"m","messages":[],"max_tokens":-20}"#,
                "max_tokens: Input should be greater than or equal to 1",
            ),
            (
                r#"{"model":"m","messages":[],"max_tokens":-0.5}"#,
                "max_tokens: Input should be a valid integer",
            ),
            (r#"{"model":"m","messages":[],"x":1,"x":2}"#, "x: duplicate key"),
            (
                r#"{"model":"m","messages":[{"role":"critic","content":""}]}"#,
                "messages.0.role: Input should be 'system', 'developer', 'user', 'assistant', 'tool' or 'function'",
            ),
            (
                r#"{"model":"m","messages":[],"tools":[{"type":"function","function":{"parameters":{}}}]}"#,
                "tools.0.function.name: Field required",
            ),
            ("[]", "The request body must be a JSON object"),
        ] {
            assert_eq!(fault(body), expected);
        }
        assert!(fault("{").starts_with("The request body is not valid JSON"));
    }

    #[test]
    fn nulls_count_as_absent() {
        let body = r#"{"model":"m","messages":[{"role":"assistant","content":null,"tool_calls":null,"refusal":null,"audio":null}],"stop":null,"tools":null,"n":null,"seed":null}"#;
        let request = parse(body).unwrap();
        assert_eq!((request.stop, request.tools, request.n, request.seed), (None, None, None, None));
        assert!(request.messages[0].tool_calls.is_none() && request.messages[0].extra.is_empty());
    }
}
