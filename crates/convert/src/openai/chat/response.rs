//! A Messages answer becomes a chat completion.

use std::borrow::Cow;

use protocol::anthropic::response::{Block, Json, Message, StopReason, ToolUse};
use protocol::openai::chat::response as openai;

use super::Form;
use crate::openai::freeform::Freeform;
use crate::openai::{tool, usage};

/// What an answer carries that the upstream does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// `chatcmpl-…`
    pub id: String,
    /// The model's name, as the caller sent it.
    pub model: String,
    /// When the answer began, in Unix seconds.
    pub created: u64,
    /// What the request decides of it.
    pub form: Form,
}

/// What the signature of a block of reasoning is of, in OpenRouter's words:
/// <https://openrouter.ai/docs/use-cases/reasoning-tokens>.
pub(super) const FORMAT: &str = "anthropic-claude-v1";

/// What a caller reads where the model declined and did not say why.
const DECLINED: &str = "The model declined to answer.";

/// Between the texts of two blocks of reasoning.
pub(super) const BETWEEN: &str = "\n\n";

/// Converts a whole answer to the bytes of the reply.
pub fn response(message: &Message, reply: &Reply) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    protocol::openai::write_json(&mut out, &completion(message, reply));
    out
}

/// Converts a whole answer.
pub fn completion<'m>(message: &'m Message, reply: &'m Reply) -> openai::Completion<'m> {
    let mut said = openai::Message { role: "assistant", ..openai::Message::default() };
    for (index, block) in (0..).zip(&message.content) {
        take(&mut said, index, block, &reply.form);
    }
    let called = !said.tool_calls.is_empty() || said.function_call.is_some();
    said.refusal = refusal(message.stop_reason.as_ref(), message.stop_details.as_ref()).map(Cow::Owned);
    openai::Completion {
        id: &reply.id,
        object: "chat.completion",
        created: reply.created,
        model: &reply.model,
        choices: [openai::Choice {
            index: 0,
            message: said,
            logprobs: None,
            finish_reason: finish_reason(message.stop_reason.as_ref(), called, &reply.form),
        }],
        usage: usage::chat(&message.usage),
        service_tier: usage::tier(&message.usage),
    }
}

/// Adds a block to what was said.
fn take<'m>(said: &mut openai::Message<'m>, index: u32, block: &'m Block, form: &Form) {
    match block {
        Block::Text(text) => append(&mut said.content, &text.text, ""),
        Block::Thinking(thinking) => {
            append(&mut said.reasoning_content, &thinking.thinking, BETWEEN);
            said.reasoning_details.extend(thought(&thinking.thinking, &thinking.signature, index));
        }
        Block::RedactedThinking(redacted) => {
            said.reasoning_details.push(openai::ReasoningDetail::Encrypted {
                data: (&*redacted.data).into(),
                format: FORMAT,
                index,
            });
        }
        Block::ToolUse(call) if form.functions => {
            said.function_call.get_or_insert_with(|| function(call));
        }
        Block::ToolUse(call) => said.tool_calls.push(tool_call(call, form)),
        // What a server runs is none of the caller's calls.
        Block::ServerToolUse(_) | Block::Unknown(_) => {}
    }
}

fn append<'m>(whole: &mut Option<Cow<'m, str>>, text: &'m str, between: &str) {
    if text.is_empty() {
        return;
    }
    match whole {
        None => *whole = Some(Cow::Borrowed(text)),
        Some(whole) => {
            let whole = whole.to_mut();
            whole.push_str(between);
            whole.push_str(text);
        }
    }
}

/// A block of reasoning that can be read; none without text and signature.
pub(super) fn thought<'m>(
    text: &'m str,
    signature: &'m str,
    index: u32,
) -> Option<openai::ReasoningDetail<'m>> {
    let signed = (!signature.is_empty()).then_some(Cow::Borrowed(signature));
    let said = !text.is_empty() || signed.is_some();
    said.then(|| openai::ReasoningDetail::Text {
        text: text.into(),
        format: signed.is_some().then_some(FORMAT),
        signature: signed,
        index,
    })
}

fn tool_call<'m>(call: &'m ToolUse, form: &Form) -> openai::ToolCall<'m> {
    if form.custom.contains(&call.name) {
        let input = Freeform::whole(&tool::arguments(&call.input)).into();
        let custom = openai::CustomCall { name: &call.name, input };
        return openai::ToolCall::Custom { id: &call.id, custom };
    }
    openai::ToolCall::Function { id: &call.id, function: function(call) }
}

fn function(call: &ToolUse) -> openai::FunctionCall<'_> {
    openai::FunctionCall { name: &call.name, arguments: tool::arguments(&call.input) }
}

/// Why an answer ended, in OpenAI's words. A stop reason that nobody knows yet is an end like any other.
pub(super) fn finish_reason(reason: Option<&StopReason>, called: bool, form: &Form) -> &'static str {
    match reason {
        Some(StopReason::MaxTokens | StopReason::ModelContextWindowExceeded) => "length",
        Some(StopReason::Refusal) => "content_filter",
        // The calls decide, and not the word: some models say that they are done beside a call.
        Some(
            StopReason::EndTurn
            | StopReason::StopSequence
            | StopReason::ToolUse
            | StopReason::PauseTurn
            | StopReason::Malformed { .. }
            | StopReason::Unknown(_),
        )
        | None => match (called, form.functions) {
            (true, true) => "function_call",
            (true, false) => "tool_calls",
            (false, _) => "stop",
        },
    }
}

/// What the caller reads of a refusal.
pub(super) fn refusal(reason: Option<&StopReason>, details: Option<&Json>) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Details {
        explanation: Option<String>,
    }
    if reason != Some(&StopReason::Refusal) {
        return None;
    }
    let details = details.and_then(|details| serde_json::from_str::<Details>(details.get()).ok());
    let explained = details.and_then(|details| details.explanation).filter(|text| !text.is_empty());
    Some(explained.unwrap_or_else(|| DECLINED.to_owned()))
}
