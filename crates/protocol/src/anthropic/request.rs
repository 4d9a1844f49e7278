//! What a caller sends: `POST /v1/messages`, generally available and beta fields alike.
//!
//! Everything borrows from the body. Optional members that are null count as absent. What the schema does not
//! know stays in `extra`, or is an `Unknown` variant; what it knows must fit, or [`parse`] says where it does not.

mod config;
mod content;
mod tool;

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeMap, Serializer};

pub use crate::raw::Fault;
use crate::raw::{Absent, Members, Number, Raw, Read, Shape, Slot, open_object};
pub use config::{
    Adaptive, BetweenTools, CacheControl, Container, ContainerSpec, Disabled, Enabled, JsonSchema, Metadata,
    OutputConfig, OutputFormat, Thinking,
};
pub use content::{
    Base64Source, Block, CitationsConfig, Content, ContentSource, DocumentBlock, DocumentSource, FileSource,
    ImageBlock, ImageSource, RedactedThinkingBlock, SearchResultBlock, ServerToolUseBlock, System, TextBlock,
    TextSource, ThinkingBlock, ToolReferenceBlock, ToolResultBlock, ToolSearchResultBlock, ToolUseBlock,
    UrlSource,
};
pub use tool::{ChoiceAny, ChoiceAuto, ChoiceNone, ChoiceTool, CustomTool, Tool, ToolChoice, TypedTool};

open_object! {
    /// A Messages request: <https://platform.claude.com/docs/en/api/messages>.
    Request {
        /// The model, in any form a model may be named in. Empty where the URL names it.
        model: Cow<'a, str> = "model",
        /// Most tokens to generate. Absent for count_tokens; 0 warms the cache.
        max_tokens: Option<u64> = "max_tokens",
        /// The system prompt.
        system: Option<System<'a>> = "system",
        /// The tools on offer.
        tools: Option<Vec<Tool<'a>>> = "tools",
        /// Which of them to use.
        tool_choice: Option<ToolChoice<'a>> = "tool_choice",
        /// The conversation.
        messages: Vec<Message<'a>> = "messages",
        /// Whether to answer as server-sent events.
        stream: Option<bool> = "stream",
        /// Texts that end the answer.
        stop_sequences: Option<Vec<Cow<'a, str>>> = "stop_sequences",
        /// Randomness, 0 to 1.
        temperature: Option<Number<'a>> = "temperature",
        /// Nucleus sampling, 0 to 1.
        top_p: Option<Number<'a>> = "top_p",
        /// Sample from the most probable so many.
        top_k: Option<Number<'a>> = "top_k",
        /// Extended thinking.
        thinking: Option<Thinking<'a>> = "thinking",
        /// Effort and output format.
        output_config: Option<OutputConfig<'a>> = "output_config",
        /// Older place of `output_config.format`.
        output_format: Option<OutputFormat<'a>> = "output_format",
        /// Who asks.
        metadata: Option<Metadata<'a>> = "metadata",
        /// One marker for the whole request: the last block that can be cached carries it.
        cache_control: Option<CacheControl<'a>> = "cache_control",
        /// `auto` or `standard_only`.
        service_tier: Option<Cow<'a, str>> = "service_tier",
        /// The container of server-run code.
        container: Option<Container<'a>> = "container",
        /// Edits that the upstream makes to the history.
        context_management: Option<Raw<'a>> = "context_management",
        /// MCP servers that the upstream would call.
        mcp_servers: Option<Raw<'a>> = "mcp_servers",
        /// Classifiers that Claude Code asks for in its auto mode.
        safeguards: Option<Raw<'a>> = "safeguards",
        /// Labels that Claude Code adds.
        tags: Option<Raw<'a>> = "tags",
        /// What the answer is compared with to explain cache misses.
        diagnostics: Option<Raw<'a>> = "diagnostics",
        /// `standard` or `fast`.
        speed: Option<Cow<'a, str>> = "speed",
        /// Where inference may run.
        inference_geo: Option<Cow<'a, str>> = "inference_geo",
        /// Models to try when this one is overloaded.
        fallbacks: Option<Raw<'a>> = "fallbacks",
    }
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The caller's side; tool results too.
    User,
    /// The model.
    Assistant,
    /// The operator, anywhere in the conversation.
    System,
}

impl Role {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::System => "system",
        }
    }
}

impl Serialize for Role {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Absent for Role {}

impl<'a> Read<'a> for Role {
    fn from_shape(shape: Shape<'a>) -> Result<Self, Fault> {
        match shape {
            Shape::Text(text) if text == "user" => Ok(Self::User),
            Shape::Text(text) if text == "assistant" => Ok(Self::Assistant),
            Shape::Text(text) if text == "system" => Ok(Self::System),
            Shape::Text(_) | Shape::Object(_) | Shape::List(_) | Shape::Other(_) => {
                Err(Fault::here("Input should be 'user', 'assistant' or 'system'"))
            }
        }
    }
}

open_object! {
    /// One message.
    Message {
        /// Who speaks.
        role: Role = "role",
        /// What is said. Absent or empty is legal for `system` alone.
        content: Content<'a> = "content",
        /// Effort from this message on.
        output_config: Option<OutputConfig<'a>> = "output_config",
    }
}

/// Reads the body of `POST /v1/messages`.
///
/// The fault names the first thing that is wrong, in Anthropic's wording: `max_tokens: Field required`.
pub fn parse(body: &str) -> Result<Request<'_>, Fault> {
    with_limit(parse_for_count(body)?)
}

/// Reads the body of `POST /v1/messages/count_tokens`, which has no `max_tokens`.
pub fn parse_for_count(body: &str) -> Result<Request<'_>, Fault> {
    read(members(body)?)
}

/// Reads the body of Bedrock's InvokeModel, where the URL names the model: it is empty here.
pub fn parse_for_invoke(body: &str) -> Result<Request<'_>, Fault> {
    let mut members = members(body)?;
    if members.iter().all(|(key, _)| key != "model") {
        members.push((Cow::Borrowed("model"), Slot::Open(Shape::Text(Cow::Borrowed("")))));
    }
    with_limit(read(members)?)
}

fn with_limit(request: Request<'_>) -> Result<Request<'_>, Fault> {
    if request.max_tokens.is_none() {
        return Err(Fault::here("Field required").within("max_tokens"));
    }
    Ok(request)
}

fn members(body: &str) -> Result<Members<'_>, Fault> {
    let shape = serde_json::from_str(body)
        .map_err(|error| Fault::here(format!("The request body is not valid JSON: {error}")))?;
    let Shape::Object(members) = shape else {
        return Err(Fault::here("The request body must be a JSON object"));
    };
    unique_keys(&members)?;
    Ok(members)
}

fn read(members: Members<'_>) -> Result<Request<'_>, Fault> {
    let request = Request::from_shape(Shape::Object(members))?;
    for (index, message) in request.messages.iter().enumerate() {
        if message.content.is_absent() && message.role != Role::System {
            let fault = Fault::here("Field required").within("content").within(index);
            return Err(fault.within("messages"));
        }
    }
    Ok(request)
}

/// Two top-level members of one name would mean different things to different readers.
fn unique_keys(members: &Members<'_>) -> Result<(), Fault> {
    let mut keys: Vec<&str> = members.iter().map(|(key, _)| &**key).collect();
    keys.sort_unstable();
    match keys.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Fault::here("duplicate key").within(pair[0])),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(body: &str) -> String {
        parse(body).expect_err("a fault").to_string()
    }

    fn with_message(message: &str) -> String {
        format!(r#"{{"model":"m","max_tokens":1,"messages":[{{"role":"user","content":"hi"}},{message}]}}"#)
    }

    #[test]
    fn a_missing_max_tokens_is_named() {
        assert_eq!(fault(r#"{"model":"m","messages":[]}"#), "max_tokens: Field required");
        assert!(parse_for_count(r#"{"model":"m","messages":[]}"#).is_ok());
    }

    #[test]
    fn a_body_of_invoke_model_needs_no_model() {
        let body = r#"{"anthropic_version":"bedrock-2023-05-31","max_tokens":1,"messages":[]}"#;
        assert_eq!(parse_for_invoke(body).unwrap().model, "");
        assert_eq!(fault(body), "model: Field required");
    }

    #[test]
    fn faults_carry_the_path_and_anthropics_wording() {
        let cases = [
            (
                r#"{"role":"tool","content":""}"#,
                "messages.1.role: Input should be 'user', 'assistant' or 'system'",
            ),
            (r#"{"role":"user"}"#, "messages.1.content: Field required"),
            (r#"{"role":"user","content":7}"#, "messages.1.content: Input should be a valid string or list"),
            (r#"{"role":"user","content":[{"text":"a"}]}"#, "messages.1.content.0.type: Field required"),
            (r#"{"role":"user","content":[{"type":"text"}]}"#, "messages.1.content.0.text: Field required"),
            (
                r#"{"role":"user","content":[{"type":"text","text":1}]}"#,
                "messages.1.content.0.text: Input should be a valid string",
            ),
            (
                r#"{"role":"user","content":["a"]}"#,
                "messages.1.content.0: Input should be a valid dictionary",
            ),
            (
                r#"{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"n","input":[]}]}"#,
                "messages.1.content.0.input: Input should be a valid dictionary",
            ),
            (
                r#"{"role":"user","content":[{"type":"text","text":"a","text":"b"}]}"#,
                "messages.1.content.0.text: duplicate key",
            ),
            (
                r#"{"role":"user","content":[{"type":"image","source":{"type":"url"}}]}"#,
                "messages.1.content.0.source.url: Field required",
            ),
        ];
        for (message, expected) in cases {
            assert_eq!(fault(&with_message(message)), expected);
        }
    }

    #[test]
    fn top_level_faults_are_named() {
        assert_eq!(
            fault(r#"{"model":"m","max_tokens":"1","messages":[]}"#),
            "max_tokens: Input should be a valid integer"
        );
        assert_eq!(
            fault(r#"{"model":"m","max_tokens":1,"messages":{}}"#),
            "messages: Input should be a valid list"
        );
        assert_eq!(fault(r#"{"model":"m","x":1,"max_tokens":1,"x":2,"messages":[]}"#), "x: duplicate key");
        assert_eq!(
            fault(r#"{"model":"m","max_tokens":1,"messages":[],"tools":[{"name":"a"}]}"#),
            "tools.0.input_schema: Field required"
        );
        assert_eq!(fault("[1]"), "The request body must be a JSON object");
        assert!(fault("{").starts_with("The request body is not valid JSON"));
    }

    #[test]
    fn null_members_count_as_absent() {
        let body = r#"{"model":"m","max_tokens":1,"messages":[],"system":null,"tools":null,"later":null}"#;
        let request = parse(body).unwrap();
        assert_eq!(request.system, None);
        assert_eq!(request.tools, None);
        assert!(request.extra.is_empty());
    }

    #[test]
    fn unknown_members_and_blocks_are_kept_in_order() {
        let body = with_message(
            r#"{"role":"assistant","content":[{"b":1,"type":"later","a":{"z":1,"y":2}}],"n":[1]}"#,
        );
        let request = parse(&body).unwrap();
        assert_eq!(request.messages[1].extra.get("n").unwrap().get(), "[1]");
        let Content::Blocks(blocks) = &request.messages[1].content else { panic!("blocks") };
        let Block::Unknown(unknown) = &blocks[0] else { panic!("unknown") };
        assert_eq!(serde_json::to_string(unknown).unwrap(), r#"{"b":1,"type":"later","a":{"z":1,"y":2}}"#);
    }

    #[test]
    fn a_system_message_may_be_empty_or_have_no_content() {
        for message in
            [r#"{"role":"system","content":[],"output_config":{"effort":"low"}}"#, r#"{"role":"system"}"#]
        {
            assert!(parse(&with_message(message)).is_ok());
        }
    }

    #[test]
    fn what_is_read_can_be_written_again() {
        let body = r#"{"model":"m","max_tokens":9,"system":[{"type":"text","text":"s"}],"tools":[{"name":"t","input_schema":{"b":1,"a":2}}],"messages":[{"role":"user","content":[{"type":"document","source":{"type":"text","media_type":"text/plain","data":"d"},"title":"x"}]}],"temperature":0.70,"later":1}"#;
        assert_eq!(serde_json::to_string(&parse(body).unwrap()).unwrap(), body);
    }

    #[test]
    fn deep_nesting_is_refused_without_recursion() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        for body in [
            format!(r#"{{"model":"m","max_tokens":1,"messages":[],"x":{deep}}}"#),
            format!(r#"{{"model":"m","max_tokens":1,"messages":{deep}}}"#),
            with_message(&format!(r#"{{"role":"user","content":[{{"type":"q","x":{deep}}}]}}"#)),
        ] {
            assert!(parse(&body).is_err());
        }
    }

    #[test]
    fn a_lone_surrogate_is_named() {
        let found = fault(&with_message(r#"{"role":"user","content":"\ud800"}"#));
        assert!(found.contains("hex escape"), "{found}");
    }
}
