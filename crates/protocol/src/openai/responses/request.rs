//! What a caller sends: `POST /v1/responses`.
//!
//! Everything borrows from the body. Optional members that are null count as absent, and what the schema does not know
//! stays in `extra`.

use std::borrow::Cow;
use std::num::NonZeroU64;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::item::Item;
use super::tool::Tool;
use crate::openai::chat::request::{PromptCacheOptions, StreamOptions};
use crate::openai::tool::ToolChoice;
use crate::raw::{Absent, Fault, Number, Object, Raw, Read, Shape, Slot, open_object, tagged_union};

open_object! {
    /// A request: <https://developers.openai.com/api/reference/resources/responses/methods/create>.
    Request {
        /// The model, in any form a model may be named in.
        model: Cow<'a, str> = "model",
        /// What is new in this turn.
        input: Option<Input<'a>> = "input",
        /// The system prompt of this turn; it does not outlive it.
        instructions: Option<Cow<'a, str>> = "instructions",
        /// The tools on offer.
        tools: Option<Vec<Tool<'a>>> = "tools",
        /// Which of them to use.
        tool_choice: Option<ToolChoice<'a>> = "tool_choice",
        /// Whether one answer may hold several calls; true when absent.
        parallel_tool_calls: Option<bool> = "parallel_tool_calls",
        /// Most calls of tools that the server runs.
        max_tool_calls: Option<u64> = "max_tool_calls",
        /// How much to reason, and what to show of it.
        reasoning: Option<Reasoning<'a>> = "reasoning",
        /// What the text must look like.
        text: Option<TextConfig<'a>> = "text",
        /// Most tokens to generate, reasoning included.
        max_output_tokens: Option<NonZeroU64> = "max_output_tokens",
        /// Randomness, 0 to 2.
        temperature: Option<Number<'a>> = "temperature",
        /// Nucleus sampling, 0 to 1.
        top_p: Option<Number<'a>> = "top_p",
        /// How many alternatives of each token to tell.
        top_logprobs: Option<u64> = "top_logprobs",
        /// Whether to answer as server-sent events.
        stream: Option<bool> = "stream",
        /// `include_obfuscation`.
        stream_options: Option<StreamOptions<'a>> = "stream_options",
        /// Whether the turn is kept; true when absent.
        store: Option<bool> = "store",
        /// Whether to answer at once and work on behind it.
        background: Option<bool> = "background",
        /// The turn that this one follows.
        previous_response_id: Option<Cow<'a, str>> = "previous_response_id",
        /// The conversation that this turn belongs to.
        conversation: Option<Raw<'a>> = "conversation",
        /// A prompt that is kept by the vendor.
        prompt: Option<Raw<'a>> = "prompt",
        /// What else the answer is to hold.
        include: Option<Vec<Cow<'a, str>>> = "include",
        /// `auto` or `disabled`: what becomes of a prompt that is too long.
        truncation: Option<Cow<'a, str>> = "truncation",
        /// `auto`, `default`, `flex`, `priority`, …
        service_tier: Option<Cow<'a, str>> = "service_tier",
        /// Who asks, in the older place.
        user: Option<Cow<'a, str>> = "user",
        /// Who asks, as an opaque id.
        safety_identifier: Option<Cow<'a, str>> = "safety_identifier",
        /// What requests with the same beginning have in common.
        prompt_cache_key: Option<Cow<'a, str>> = "prompt_cache_key",
        /// Whether the caller sets its cache markers itself.
        prompt_cache_options: Option<PromptCacheOptions<'a>> = "prompt_cache_options",
        /// Extension: how long a cached prefix lives, `5m` or `1h`.
        cache_ttl: Option<Cow<'a, str>> = "cache_ttl",
        /// `in_memory` or `24h`.
        prompt_cache_retention: Option<Cow<'a, str>> = "prompt_cache_retention",
        /// Labels of the caller's.
        metadata: Option<Object<'a>> = "metadata",
    }
}

/// What is new in this turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// One user message.
    Text(Cow<'a, str>),
    /// Items.
    Items(Vec<Item<'a>>),
}

impl<'a> Read<'a> for Input<'a> {
    fn from_shape(shape: Shape<'a>) -> Result<Self, Fault> {
        match shape {
            Shape::Text(text) => Ok(Self::Text(text)),
            Shape::List(_) => Read::from_shape(shape).map(Self::Items),
            Shape::Object(_) | Shape::Other(_) => Err(Fault::here("Input should be a valid string or list")),
        }
    }
}

impl Serialize for Input<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => text.serialize(serializer),
            Self::Items(items) => items.serialize(serializer),
        }
    }
}

impl Absent for Input<'_> {}

open_object! {
    /// How much to reason, and what to show of it.
    Reasoning {
        /// `none`, `minimal`, `low`, `medium`, `high`, `xhigh` or `max`.
        effort: Option<Cow<'a, str>> = "effort",
        /// `auto`, `concise` or `detailed`; nothing is shown when absent.
        summary: Option<Cow<'a, str>> = "summary",
        /// Older name of `summary`.
        generate_summary: Option<Cow<'a, str>> = "generate_summary",
    }
}

open_object! {
    /// What the text must look like.
    TextConfig {
        /// Its form; plain text when absent.
        format: Option<Format<'a>> = "format",
        /// `low`, `medium` or `high`.
        verbosity: Option<Cow<'a, str>> = "verbosity",
    }
}

tagged_union! {
    /// The form of the text.
    Format {
        /// Any text.
        Text(FormatText<'a>) = "text",
        /// Some JSON.
        JsonObject(FormatObject<'a>) = "json_object",
        /// JSON that fits a schema.
        JsonSchema(FormatSchema<'a>) = "json_schema",
    }
}

open_object! {
    /// Any text.
    FormatText tag "text" {}
}

open_object! {
    /// Some JSON.
    FormatObject tag "json_object" {}
}

open_object! {
    /// JSON that fits a schema.
    FormatSchema tag "json_schema" {
        /// The schema's name.
        name: Option<Cow<'a, str>> = "name",
        /// What it is for.
        description: Option<Cow<'a, str>> = "description",
        /// The schema, as the caller wrote it.
        schema: Object<'a> = "schema",
        /// Whether the text is held to it.
        strict: Option<bool> = "strict",
    }
}

/// Reads the body of `POST /v1/responses`. The fault names the first thing that is wrong.
pub fn parse(body: &str) -> Result<Request<'_>, Fault> {
    let shape = serde_json::from_str(body)
        .map_err(|error| Fault::here(format!("The request body is not valid JSON: {error}")))?;
    let Shape::Object(members) = shape else {
        return Err(Fault::here("The request body must be a JSON object"));
    };
    unique_keys(&members)?;
    Request::from_shape(Shape::Object(members))
}

/// Two top-level members of one name would mean different things to different readers.
fn unique_keys(members: &[(Cow<'_, str>, Slot<'_>)]) -> Result<(), Fault> {
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

    #[test]
    fn what_is_read_can_be_written_again() {
        let body = r#"{"model":"m","input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"a"}]},{"type":"function_call","id":"fc_1","call_id":"c","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":"o"},{"type":"tomorrow","x":[1.0]}],"tools":[{"type":"function","name":"f","description":"d","parameters":{"b":1,"a":2},"strict":true},{"type":"namespace","name":"s","tools":[{"type":"function","name":"g"}]},{"type":"web_search","external_web_access":false}],"tool_choice":{"type":"function","name":"f"},"text":{"format":{"type":"json_schema","name":"n","schema":{"type":"object"},"strict":true},"verbosity":"low"},"client_metadata":{"z":1}}"#;
        assert_eq!(serde_json::to_string(&parse(body).unwrap()).unwrap(), body);
    }

    #[test]
    fn faults_carry_the_path() {
        let cases = [
            (r#"{"input":"x"}"#, "model: Field required"),
            (r#"{"model":"m","input":7}"#, "input: Input should be a valid string or list"),
            (r#"{"model":"m","input":[{"content":"x"}]}"#, "input.0.type: Field required"),
            (
                r#"{"model":"m","input":[{"role":"tool","content":"x"}]}"#,
                "input.0.role: Input should be 'user', 'assistant', 'system' or 'developer'",
            ),
            (
                r#"{"model":"m","input":[{"type":"function_call_output","output":""}]}"#,
                "input.0.call_id: Field required",
            ),
            (r#"{"model":"m","tools":[{"type":"namespace"}]}"#, "tools.0.name: Field required"),
            (r#"{"model":"m","store":"yes"}"#, "store: Input should be a valid boolean"),
            (
                r#"{"model":"m","max_output_tokens":-1}"#,
                "max_output_tokens: Input should be greater than or equal to 1",
            ),
            (r#"{"model":"m","metadata":true}"#, "metadata: Input should be a valid dictionary"),
            (r#"{"model":"m","stream_options":7}"#, "stream_options: Input should be a valid dictionary"),
            (r#"{"model":"m","input":"a","input":"b"}"#, "input: duplicate key"),
            ("[]", "The request body must be a JSON object"),
        ];
        for (body, expected) in cases {
            assert_eq!(fault(body), expected);
        }
    }

    #[test]
    fn a_message_and_a_reference_need_no_type() {
        let body = r#"{"model":"m","input":[{"role":"user","content":"x"},{"id":"msg_1"},{"type":null,"id":"msg_2"}]}"#;
        let Some(Input::Items(items)) = parse(body).unwrap().input else { panic!("items") };
        assert!(
            matches!(&items[..], [Item::Message(_), Item::Reference(a), Item::Reference(b)] if a.id == "msg_1" && b.id == "msg_2")
        );
    }
}
