//! Answers in Claude's own form: the message of InvokeModel, and its events.
//! <https://platform.claude.com/docs/en/build-with-claude/streaming>

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::answer::{Answer, Part};
use crate::frames::padding;
use crate::json::{self, put, quote, quoted};
use crate::play::Event;
use crate::render_converse::fragments;
use crate::usage::Usage;

/// What an answer says of itself.
pub(crate) struct Head<'h> {
    /// Claude's name for the model.
    pub(crate) model: &'h str,
    /// `msg_bdrk_…`.
    pub(crate) id: &'h str,
    pub(crate) latency_ms: u128,
}

/// Claude has no word for some of Converse's reasons.
fn reason(stop: &'static str) -> &'static str {
    match stop {
        "content_filtered" => "refusal",
        "guardrail_intervened" | "malformed_model_output" | "malformed_tool_use" => "end_turn",
        stop => stop,
    }
}

fn stop_members(out: &mut String, answer: &Answer) {
    put!(out, "\"stop_reason\":\"{}\",\"stop_sequence\":", reason(answer.stop));
    match &answer.stop_sequence {
        Some(stop) => quote(out, stop),
        None => out.push_str("null"),
    }
}

fn usage_members(out: &mut String, usage: &Usage, output: usize) {
    put!(
        out,
        "\"input_tokens\":{},\"cache_creation_input_tokens\":{},\"cache_read_input_tokens\":{},\"cache_creation\":\
         {{\"ephemeral_5m_input_tokens\":{},\"ephemeral_1h_input_tokens\":{}}},\"output_tokens\":{output}",
        usage.input,
        usage.write(),
        usage.read,
        usage.write_5m,
        usage.write_1h
    );
}

/// The whole message.
pub(crate) fn unary(answer: &Answer, usage: &Usage, head: &Head<'_>) -> String {
    let mut out = String::with_capacity(1_024);
    put!(
        out,
        "{{\"model\":\"{}\",\"id\":\"{}\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[",
        head.model,
        head.id
    );
    for (index, part) in answer.parts.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        match part {
            Part::Text(pieces) => {
                out.push_str("{\"type\":\"text\",\"text\":");
                quote(&mut out, &pieces.concat());
                out.push('}');
            }
            Part::Thinking { text, signature } => {
                out.push_str("{\"type\":\"thinking\",\"thinking\":");
                quote(&mut out, text);
                put!(out, ",\"signature\":\"{}\"}}", signature.as_deref().unwrap_or_default());
            }
            Part::Redacted(data) => {
                put!(out, "{{\"type\":\"redacted_thinking\",\"data\":\"{data}\"}}");
            }
            Part::Tool { id, name, input } => {
                put!(out, "{{\"type\":\"tool_use\",\"id\":\"{id}\",\"name\":\"{name}\",\"input\":{input}}}");
            }
        }
    }
    out.push_str("],");
    stop_members(&mut out, answer);
    out.push_str(",\"usage\":{");
    usage_members(&mut out, usage, usage.output);
    out.push_str("}}");
    out
}

/// The events, each as the data of a server-sent event. The name is the event's type.
pub(crate) fn stream(answer: &Answer, usage: &Usage, head: &Head<'_>) -> Vec<Event> {
    let mut events = Events(Vec::with_capacity(16));
    events.push("message_start", |out| {
        put!(
            out,
            ",\"message\":{{\"model\":\"{}\",\"id\":\"{}\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[],\
             \"stop_reason\":null,\"stop_sequence\":null,\"usage\":{{",
            head.model, head.id
        );
        usage_members(out, usage, 1);
        out.push_str("}}");
    });
    for (index, part) in answer.parts.iter().enumerate() {
        events.part(index, part);
        events.push("content_block_stop", |out| put!(out, ",\"index\":{index}"));
    }
    events.push("message_delta", |out| {
        out.push_str(",\"delta\":{");
        stop_members(out, answer);
        put!(out, "}},\"usage\":{{\"output_tokens\":{}}}", usage.output);
    });
    events.push("message_stop", |out| {
        put!(
            out,
            ",\"amazon-bedrock-invocationMetrics\":{{\"inputTokenCount\":{},\"outputTokenCount\":{},\
             \"invocationLatency\":{},\"firstByteLatency\":{}",
            usage.input,
            usage.output,
            head.latency_ms,
            head.latency_ms
        );
        if usage.read + usage.write() > 0 {
            put!(
                out,
                ",\"cacheReadInputTokenCount\":{},\"cacheWriteInputTokenCount\":{}",
                usage.read,
                usage.write()
            );
        }
        out.push('}');
    });
    events.0
}

struct Events(Vec<Event>);

impl Events {
    fn push(&mut self, name: &'static str, write: impl FnOnce(&mut String)) {
        let mut payload = String::with_capacity(160);
        payload.push_str("{\"type\":\"");
        payload.push_str(name);
        payload.push('"');
        write(&mut payload);
        payload.push('}');
        self.0.push(Event { name, payload });
    }

    fn start(&mut self, index: usize, block: &str) {
        self.push("content_block_start", |out| {
            put!(out, ",\"index\":{index},\"content_block\":{block}");
        });
    }

    fn delta(&mut self, index: usize, kind: &str, member: &str, text: &str) {
        self.push("content_block_delta", |out| {
            out.push_str(",\"index\":");
            json::index(out, index);
            out.extend([",\"delta\":{\"type\":\"", kind, "\",\"", member, "\":"]);
            quote(out, text);
            out.push('}');
        });
    }

    fn part(&mut self, index: usize, part: &Part) {
        match part {
            Part::Text(pieces) => {
                self.start(index, "{\"type\":\"text\",\"text\":\"\"}");
                for piece in pieces {
                    self.delta(index, "text_delta", "text", piece);
                }
            }
            Part::Thinking { text, signature } => {
                self.start(index, "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}");
                if !text.is_empty() {
                    self.delta(index, "thinking_delta", "thinking", text);
                }
                self.delta(index, "signature_delta", "signature", signature.as_deref().unwrap_or_default());
            }
            Part::Redacted(data) => {
                self.start(index, &format!("{{\"type\":\"redacted_thinking\",\"data\":\"{data}\"}}"));
            }
            Part::Tool { id, name, input } => {
                let name = quoted(name);
                self.start(
                    index,
                    &format!("{{\"type\":\"tool_use\",\"id\":\"{id}\",\"name\":{name},\"input\":{{}}}}"),
                );
                for fragment in fragments(input) {
                    self.delta(index, "input_json_delta", "partial_json", fragment);
                }
            }
        }
    }
}

/// Puts each event into the `chunk` that InvokeModelWithResponseStream sends.
pub(crate) fn chunks(events: &mut [Event]) {
    for (index, event) in events.iter_mut().enumerate() {
        let mut payload = String::with_capacity(event.payload.len() * 4 / 3 + 96);
        payload.push_str("{\"bytes\":\"");
        STANDARD.encode_string(&event.payload, &mut payload);
        payload.push_str("\",\"p\":\"");
        payload.push_str(padding(index));
        payload.push_str("\"}");
        event.name = "chunk";
        event.payload = payload;
    }
}
