//! A Converse answer becomes a Messages answer.
//!
//! What both APIs have is carried; what only Converse has (images, results of tools that Bedrock runs) is never
//! asked for, and is a [`Loss`] should it come.

use std::fmt;

use protocol::anthropic::response as anthropic;
use protocol::converse::response as converse;

use crate::usage::Usage;
use crate::{Loss, Names, structured};

/// What an answer carries that the upstream does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// `msg_…`
    pub id: String,
    /// The model's name, as the caller sent it.
    pub model: String,
}

/// The upstream did not answer as its API says. Never quotes the answer: it is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong, for people.
    pub message: String,
}

impl Fault {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }

    pub(super) fn malformed(what: &str, error: &serde_json::Error) -> Self {
        // The error's own text may quote a completion; its place does not.
        Self::new(format!(
            "the upstream sent a malformed {what} (line {}, column {})",
            error.line(),
            error.column()
        ))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

/// A converted answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// For the caller.
    pub message: anthropic::Message,
    /// What could not be carried; paths are those of the Converse answer.
    pub losses: Vec<Loss>,
}

/// Converts a whole answer, without its losses.
pub fn response(body: &[u8], names: &Names, reply: &Reply) -> Result<anthropic::Message, Fault> {
    answer(body, names, reply).map(|answer| answer.message)
}

/// Converts a whole answer.
pub fn answer(body: &[u8], names: &Names, reply: &Reply) -> Result<Answer, Fault> {
    match serde_json::from_slice(body) {
        Ok(response) => Ok(converted(response, names, reply)),
        Err(error) => {
            let mended = mended(body).ok_or_else(|| Fault::malformed("answer", &error))?;
            let response =
                serde_json::from_slice(&mended).map_err(|error| Fault::malformed("answer", &error))?;
            Ok(converted(response, names, reply))
        }
    }
}

fn converted(response: converse::Response<'_>, names: &Names, reply: &Reply) -> Answer {
    let mut losses = Vec::new();
    let mut content = Vec::with_capacity(response.output.message.content.len());
    for (at, block) in response.output.message.content.into_iter().enumerate() {
        blocks(block, names, &mut content, &mut |reason| {
            losses.push(Loss { path: format!("output.message.content.{at}"), reason });
        });
    }
    let called = content.iter().any(|block| matches!(block, anthropic::Block::ToolUse(_)));
    let stop_reason = stop_reason(&response.stop_reason, called, &mut losses);
    let additional = response.additional_model_response_fields.unwrap_or_default();
    let mut usage = response.usage.as_ref().map(Usage::from_converse).unwrap_or_default();
    usage.reasoning = additional.thinking_tokens.unwrap_or(0);
    let message = anthropic::Message {
        id: reply.id.clone(),
        kind: anthropic::MessageKind::Message,
        role: anthropic::AssistantRole::Assistant,
        model: reply.model.clone(),
        content,
        stop_reason: Some(stop_reason),
        stop_sequence: additional.stop_sequence,
        stop_details: None,
        container: None,
        context_management: None,
        usage: anthropic::Usage {
            service_tier: response.service_tier.map(|tier| service_tier(tier.kind)),
            ..usage.to_anthropic()
        },
    };
    Answer { message, losses }
}

fn blocks(
    block: converse::Block<'_>,
    names: &Names,
    content: &mut Vec<anthropic::Block>,
    lose: &mut impl FnMut(&'static str),
) {
    match block {
        // An empty block says nothing and cannot be sent back: both APIs refuse it in a history.
        converse::Block::Text(text) if text.is_empty() => {}
        converse::Block::Text(text) => content.push(text_block(text.into_owned(), Vec::new())),
        converse::Block::ToolUse(call) => content.push(tool_use(&call, names)),
        converse::Block::Reasoning(reasoning) => reasoning_blocks(reasoning, content),
        converse::Block::Citations(cited) => {
            let text: String =
                cited.content.iter().filter_map(|it| it.text.as_ref()).map(converse::Str::as_str).collect();
            let citations: Vec<_> = cited
                .citations
                .into_iter()
                .filter_map(|it| {
                    let converted = citation(it);
                    if converted.is_none() {
                        lose(loss::CITATION);
                    }
                    converted
                })
                .collect();
            if !(text.is_empty() && citations.is_empty()) {
                content.push(text_block(text, citations));
            }
        }
        converse::Block::Unknown(_) => lose(loss::BLOCK),
    }
}

fn text_block(text: String, citations: Vec<anthropic::Citation>) -> anthropic::Block {
    let citations = (!citations.is_empty()).then_some(citations);
    anthropic::Block::Text(anthropic::Text { text, citations })
}

fn tool_use(call: &converse::ToolUse<'_>, names: &Names) -> anthropic::Block {
    let input = call.input.filter(|input| !structured::is_no_input(input.get()));
    let input = input.map_or_else(anthropic::Json::empty_object, anthropic::Json::from);
    if names.structured_output.as_deref() == Some(&*call.name) {
        return text_block(input.get().to_owned(), Vec::new());
    }
    let block = anthropic::ToolUse {
        id: call.tool_use_id.clone().into_owned(),
        name: tool_name(names, &call.name).to_owned(),
        input,
        caller: None,
        toolset_name: None,
    };
    if runs_upstream(call.kind.as_ref().map(converse::Str::as_str)) {
        anthropic::Block::ServerToolUse(block)
    } else {
        anthropic::Block::ToolUse(block)
    }
}

fn reasoning_blocks(reasoning: converse::Reasoning<'_>, content: &mut Vec<anthropic::Block>) {
    let string = |it: Option<converse::Str<'_>>| it.map(|it| it.0.into_owned()).unwrap_or_default();
    if let Some(readable) = reasoning.reasoning_text {
        let (thinking, signature) = (string(readable.text), string(readable.signature));
        // Adaptive models sign empty text and want the block back; only a block with neither is none.
        if !(thinking.is_empty() && signature.is_empty()) {
            content.push(anthropic::Block::Thinking(anthropic::Thinking { thinking, signature }));
        }
    }
    let data = string(reasoning.redacted_content);
    if !data.is_empty() {
        // Both sides write the blob as base64 text; the text itself travels, here and on the way back up.
        content.push(anthropic::Block::RedactedThinking(anthropic::RedactedThinking { data }));
    }
}

/// Reasons of losses on the way down.
pub(super) mod loss {
    pub(in crate::converse) const BLOCK: &str = "no counterpart in the Messages API";
    pub(in crate::converse) const CITATION: &str = "citation without a location";
    pub(in crate::converse) const STOP_REASON: &str = "unknown stop reason";
    pub(in crate::converse) const MALFORMED: &str = "malformed model output";
}

/// The caller's name of a tool.
pub(super) fn tool_name<'a>(names: &'a Names, upstream: &'a str) -> &'a str {
    names.tools.iter().find(|(sent, _)| sent == upstream).map_or(upstream, |(_, caller)| caller)
}

/// Whether a call is of a tool that Bedrock runs itself (`type: server_tool_use`).
pub(super) fn runs_upstream(kind: Option<&str>) -> bool {
    kind == Some("server_tool_use")
}

/// The caller's word for the tier that served; `default` is the one that is called otherwise.
pub(super) fn service_tier(kind: String) -> String {
    if kind == "default" { "standard".to_owned() } else { kind }
}

/// Why the answer ended. `called` tells whether it holds calls of the caller's tools: open models say `end_turn`
/// beside a call, and `tool_use` is said of the structured-output tool that the caller never sees.
pub(super) fn stop_reason(
    reason: &converse::StopReason,
    called: bool,
    losses: &mut Vec<Loss>,
) -> anthropic::StopReason {
    let turn = if called { anthropic::StopReason::ToolUse } else { anthropic::StopReason::EndTurn };
    let mut lose = |reason| losses.push(Loss { path: "stopReason".to_owned(), reason });
    match reason {
        converse::StopReason::EndTurn | converse::StopReason::ToolUse => turn,
        converse::StopReason::MaxTokens => anthropic::StopReason::MaxTokens,
        converse::StopReason::StopSequence => anthropic::StopReason::StopSequence,
        converse::StopReason::ContentFiltered | converse::StopReason::GuardrailIntervened => {
            anthropic::StopReason::Refusal
        }
        converse::StopReason::ModelContextWindowExceeded => anthropic::StopReason::ModelContextWindowExceeded,
        // What was generated is delivered, and billed.
        converse::StopReason::MalformedModelOutput | converse::StopReason::MalformedToolUse => {
            lose(loss::MALFORMED);
            anthropic::StopReason::Malformed { called }
        }
        converse::StopReason::Unknown(_) => {
            lose(loss::STOP_REASON);
            turn
        }
    }
}

/// A citation, unless it lacks the location that every citation of the Messages API has:
/// <https://platform.claude.com/docs/en/build-with-claude/citations>.
pub(super) fn citation(citation: converse::Citation) -> Option<anthropic::Citation> {
    let converse::Citation { title, source, source_content, location } = citation;
    let cited_text: String = source_content.into_iter().filter_map(|it| it.text).collect();
    let location = location?;
    if let Some(it) = location.document_char {
        return Some(anthropic::Citation::CharLocation(anthropic::CharLocation {
            cited_text,
            document_index: it.document_index,
            document_title: title,
            start_char_index: it.start,
            end_char_index: it.end,
            file_id: None,
        }));
    }
    if let Some(it) = location.document_page {
        return Some(anthropic::Citation::PageLocation(anthropic::PageLocation {
            cited_text,
            document_index: it.document_index,
            document_title: title,
            start_page_number: it.start,
            end_page_number: it.end,
            file_id: None,
        }));
    }
    if let Some(it) = location.document_chunk {
        return Some(anthropic::Citation::ContentBlockLocation(anthropic::ContentBlockLocation {
            cited_text,
            document_index: it.document_index,
            document_title: title,
            start_block_index: it.start,
            end_block_index: it.end,
            file_id: None,
        }));
    }
    if let Some(it) = location.search_result_location {
        return Some(anthropic::Citation::SearchResultLocation(anthropic::SearchResultLocation {
            cited_text,
            search_result_index: it.search_result_index,
            source: source.unwrap_or_default(),
            title,
            start_block_index: it.start,
            end_block_index: it.end,
        }));
    }
    let url = location.web?.url?;
    // The index is Anthropic's own and opaque; a page found by Bedrock has none.
    Some(anthropic::Citation::WebSearchResultLocation(anthropic::WebSearchResultLocation {
        cited_text,
        url,
        title,
        encrypted_index: String::new(),
    }))
}

/// The same JSON text with each lone surrogate replaced by U+FFFD; `None` if there is none.
///
/// Models emit halves of characters, and JSON can spell them (`\ud83d`) where UTF-8 cannot.
pub(crate) fn mended(json: &[u8]) -> Option<Vec<u8>> {
    let unit = |at: usize| {
        let digits = json.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut out: Option<Vec<u8>> = None;
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'\\', json.get(at..).unwrap_or_default()) {
        at += found;
        match unit(at) {
            Some(0xD800..=0xDBFF) if matches!(unit(at + 6), Some(0xDC00..=0xDFFF)) => at += 12,
            Some(0xD800..=0xDFFF) => {
                out.get_or_insert_with(|| json.to_vec()).get_mut(at..at + 6)?.copy_from_slice(b"\\ufffd");
                at += 6;
            }
            Some(_) => at += 6,
            None => at += 2,
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lone_surrogates_are_replaced_and_nothing_else_is() {
        let mend = |text: &str| mended(text.as_bytes()).map(|it| String::from_utf8(it).unwrap());
        assert_eq!(mend(r#""\ud83d""#).unwrap(), r#""\ufffd""#);
        assert_eq!(mend(r#""\uDE00x\ud83d\ud83d\ude00\""#).unwrap(), r#""\ufffdx\ufffd\ud83d\ude00\""#);
        assert_eq!(mend(r#""\\ud83d \u00e9 \n \ud83d\ude00""#), None);
        assert_eq!(mend("\"\\"), None);
        assert_eq!(mend("\"\\u12"), None);
    }

    #[test]
    fn a_fault_does_not_quote_the_answer() {
        let body = br#"{"output":{"message":{"content":[{"text":["secret"]}]}},"stopReason":"end_turn"}"#;
        let reply = Reply { id: "msg_1".into(), model: "m".into() };
        let fault = response(body, &Names::default(), &reply).unwrap_err();
        assert!(!fault.message.contains("secret"), "{fault}");
        assert!(fault.message.contains("column"), "{fault}");
    }
}
