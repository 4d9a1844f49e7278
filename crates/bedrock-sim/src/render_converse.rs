//! Answers as Converse and ConverseStream write them.
//! <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html>

use crate::answer::{Answer, Part};
use crate::frames::padding;
use crate::json::{self, put, quote};
use crate::play::Event;
use crate::usage::Usage;

/// What goes with the answer.
pub(crate) struct Extras {
    pub(crate) latency_ms: u128,
    pub(crate) tier: Option<String>,
    /// Whether the caller asked for `/stop_sequence` in `additionalModelResponseFieldPaths`.
    pub(crate) stop_sequence: bool,
}

/// Converse has names of its own for two of Claude's reasons.
fn reason(stop: &'static str) -> &'static str {
    match stop {
        "refusal" => "content_filtered",
        "pause_turn" => "end_turn",
        stop => stop,
    }
}

/// The whole answer.
pub(crate) fn unary(answer: &Answer, usage: &Usage, extras: &Extras) -> String {
    let mut out = String::with_capacity(1_024);
    out.push_str("{\"metrics\":{\"latencyMs\":");
    put!(out, "{}}},\"output\":{{\"message\":{{\"content\":[", extras.latency_ms);
    for (index, part) in answer.parts.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        block(&mut out, part);
    }
    put!(out, "],\"role\":\"assistant\"}}}},\"stopReason\":\"{}\"", reason(answer.stop));
    stop_fields(&mut out, answer, extras);
    tail(&mut out, usage, extras);
    out.push('}');
    out
}

fn block(out: &mut String, part: &Part) {
    match part {
        Part::Text(pieces) => {
            out.push_str("{\"text\":");
            quote(out, &pieces.concat());
            out.push('}');
        }
        Part::Thinking { text, signature } => {
            out.push_str("{\"reasoningContent\":{\"reasoningText\":{\"text\":");
            quote(out, text);
            if let Some(signature) = signature {
                out.push_str(",\"signature\":");
                quote(out, signature);
            }
            out.push_str("}}}");
        }
        Part::Redacted(data) => {
            put!(out, "{{\"reasoningContent\":{{\"redactedContent\":\"{data}\"}}}}");
        }
        Part::Tool { id, name, input } => {
            put!(out, "{{\"toolUse\":{{\"toolUseId\":\"{id}\",\"name\":\"{name}\",\"input\":{input}}}}}");
        }
    }
}

fn stop_fields(out: &mut String, answer: &Answer, extras: &Extras) {
    if let Some(stop) = answer.stop_sequence.as_deref().filter(|_| extras.stop_sequence) {
        out.push_str(",\"additionalModelResponseFields\":{\"stop_sequence\":");
        quote(out, stop);
        out.push('}');
    }
}

fn tail(out: &mut String, usage: &Usage, extras: &Extras) {
    put!(
        out,
        ",\"usage\":{{\"inputTokens\":{},\"outputTokens\":{},\"totalTokens\":{},\"cacheReadInputTokens\":{},\
         \"cacheWriteInputTokens\":{}",
        usage.input,
        usage.output,
        usage.prompt() + usage.output,
        usage.read,
        usage.write()
    );
    if usage.write() > 0 {
        out.push_str(",\"cacheDetails\":[");
        let mut first = true;
        for (ttl, tokens) in [("5m", usage.write_5m), ("1h", usage.write_1h)] {
            if tokens > 0 {
                let comma = if std::mem::take(&mut first) { "" } else { "," };
                put!(out, "{comma}{{\"inputTokens\":{tokens},\"ttl\":\"{ttl}\"}}");
            }
        }
        out.push(']');
    }
    out.push('}');
    if let Some(tier) = &extras.tier {
        put!(out, ",\"serviceTier\":{{\"type\":\"{tier}\"}}");
    }
}

/// The events of the answer. Text and reasoning have no contentBlockStart; metadata comes last.
pub(crate) fn stream(answer: &Answer, usage: &Usage, extras: &Extras) -> Vec<Event> {
    let mut events = Events(Vec::with_capacity(16));
    events.push("messageStart", |out| out.push_str("\"role\":\"assistant\""));
    for (index, part) in answer.parts.iter().enumerate() {
        match part {
            Part::Text(pieces) => {
                for piece in pieces {
                    events.delta(index, |out| {
                        out.push_str("\"text\":");
                        quote(out, piece);
                    });
                }
            }
            Part::Thinking { text, signature } => {
                if !text.is_empty() {
                    events.delta(index, |out| {
                        out.push_str("\"reasoningContent\":{\"text\":");
                        quote(out, text);
                        out.push('}');
                    });
                }
                if let Some(signature) = signature {
                    events.delta(index, |out| {
                        put!(out, "\"reasoningContent\":{{\"signature\":\"{signature}\"}}");
                    });
                }
            }
            Part::Redacted(data) => events.delta(index, |out| {
                put!(out, "\"reasoningContent\":{{\"redactedContent\":\"{data}\"}}");
            }),
            Part::Tool { id, name, input } => {
                events.push("contentBlockStart", |out| {
                    put!(
                        out,
                        "\"contentBlockIndex\":{index},\"start\":{{\"toolUse\":{{\"name\":\"{name}\",\"toolUseId\":\"{id}\"}}}}"
                    );
                });
                for fragment in fragments(input) {
                    events.delta(index, |out| {
                        out.push_str("\"toolUse\":{\"input\":");
                        quote(out, fragment);
                        out.push('}');
                    });
                }
            }
        }
        events.push("contentBlockStop", |out| put!(out, "\"contentBlockIndex\":{index}"));
    }
    events.push("messageStop", |out| {
        put!(out, "\"stopReason\":\"{}\"", reason(answer.stop));
        stop_fields(out, answer, extras);
    });
    events.push("metadata", |out| {
        put!(out, "\"metrics\":{{\"latencyMs\":{}}}", extras.latency_ms);
        tail(out, usage, extras);
    });
    events.0
}

/// The input of a call in pieces, the first of them empty, as the service sends them.
pub(crate) fn fragments(input: &str) -> Vec<&str> {
    let mut out = vec![""];
    let mut rest = input;
    while !rest.is_empty() {
        let at = (16..=rest.len()).find(|at| rest.is_char_boundary(*at)).unwrap_or(rest.len());
        let (piece, tail) = rest.split_at(at);
        out.push(piece);
        rest = tail;
    }
    out
}

struct Events(Vec<Event>);

impl Events {
    fn push(&mut self, name: &'static str, write: impl FnOnce(&mut String)) {
        let mut payload = String::with_capacity(160);
        payload.push('{');
        write(&mut payload);
        payload.push_str(",\"p\":\"");
        payload.push_str(padding(self.0.len()));
        payload.push_str("\"}");
        self.0.push(Event { name, payload });
    }

    fn delta(&mut self, index: usize, write: impl FnOnce(&mut String)) {
        self.push("contentBlockDelta", |out| {
            out.push_str("\"contentBlockIndex\":");
            json::index(out, index);
            out.push_str(",\"delta\":{");
            write(out);
            out.push('}');
        });
    }
}
