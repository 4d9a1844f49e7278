//! The events of a Messages answer become the chunks of a chat completion.
//!
//! * The first chunk says the role. Text, reasoning and arguments are sent as they come, each fragment a chunk.
//! * Calls are counted from 0 whatever stands between them; id and name are said once a call.
//! * `reasoning_details` come whole at the end of their block, so that a caller who only gathers them has what it must give
//!   back.
//! * The usage has a chunk of its own, without choices, where it was asked for; `[DONE]` ends a complete answer alone.

use protocol::anthropic::response::{Block, Json, StopReason, ToolUse, Usage};
use protocol::anthropic::{Delta, Event};
use protocol::openai::chat::response::{CustomCall, FunctionCall, ReasoningDetail};
use protocol::openai::{DONE, write_data, write_json};
use serde::Serialize;

use super::response::{BETWEEN, FORMAT, Reply, finish_reason, refusal, thought};
use crate::fold;
use crate::openai::freeform::Freeform;
use crate::openai::{error, usage};

/// The machine of one answer.
#[derive(Debug)]
pub struct Stream {
    reply: Reply,
    /// A chunk up to its delta.
    head: Vec<u8>,
    started: bool,
    finished: bool,
    /// Blocks that are open, by their index; few at a time.
    open: Vec<(u32, Open)>,
    /// Calls so far.
    calls: u32,
    /// Whether reasoning was sent, which the next block of it is kept apart from.
    reasoned: bool,
    stop_reason: Option<StopReason>,
    stop_details: Option<Json>,
    usage: Usage,
}

/// A block that is open.
#[derive(Debug)]
enum Open {
    Text,
    Thinking {
        text: String,
        signature: String,
    },
    Redacted(String),
    Call(Call),
    /// Nothing that a chat caller is told.
    Other,
}

/// A call whose arguments are coming.
#[derive(Debug)]
struct Call {
    /// Its number among the calls.
    number: u32,
    /// What it began with, for a call whose arguments never come in pieces.
    input: Json,
    /// Whether a piece came.
    pieces: bool,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Function,
    Legacy,
    Custom(Freeform),
}

/// What comes behind the delta of a chunk that is not the last.
const TAIL: &[u8] = br#","logprobs":null,"finish_reason":null}]}"#;

impl Stream {
    /// A machine that has sent nothing.
    pub fn new(reply: Reply) -> Self {
        let mut head = b"data: ".to_vec();
        opening(&reply, &mut head);
        head.extend_from_slice(br#","choices":[{"index":0,"delta":"#);
        Self {
            reply,
            head,
            started: false,
            finished: false,
            open: Vec::new(),
            calls: 0,
            reasoned: false,
            stop_reason: None,
            stop_details: None,
            usage: Usage::default(),
        }
    }

    /// Takes an event and appends what the caller gets for it. Pings are the proxy's to send ([`protocol::openai::PING`]).
    pub fn on_event(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        if self.finished {
            return;
        }
        match event {
            Event::MessageStart { message } => {
                fold::merge(&mut self.usage, message.usage.clone());
                self.start(out);
            }
            Event::ContentBlockStart { index, content_block } => self.block(*index, content_block, out),
            Event::ContentBlockDelta { index, delta } => self.delta(*index, delta, out),
            Event::ContentBlockStop { index } => self.stop(*index, out),
            Event::MessageDelta { delta, usage } => {
                fold::merge(&mut self.usage, (**usage).clone());
                self.stop_reason = delta.stop_reason.clone().or(self.stop_reason.take());
                self.stop_details = delta.stop_details.clone().or(self.stop_details.take());
            }
            Event::MessageStop => self.end(out),
            Event::Error { error, .. } => {
                write_data(out, &error::body(error));
                self.finished = true;
            }
            Event::Ping | Event::Unknown(_) => {}
        }
    }

    /// The upstream has closed. An answer that is not complete ends with an error.
    pub fn on_end(&mut self, out: &mut Vec<u8>) {
        if !self.finished {
            write_data(out, &error::unfinished());
            self.finished = true;
        }
    }

    /// The upstream has failed: appends `body`, an error in OpenAI's form as one line of JSON, unless the answer is complete.
    pub fn on_error(&mut self, body: &str, out: &mut Vec<u8>) {
        if !self.finished {
            out.extend_from_slice(b"data: ");
            // JSON strings hold neither byte unescaped, so that only white space is touched.
            out.extend(body.bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
            out.extend_from_slice(b"\n\n");
            self.finished = true;
        }
    }

    /// Whether the answer has ended, well or not: nothing follows.
    pub fn finished(&self) -> bool {
        self.finished
    }

    fn start(&mut self, out: &mut Vec<u8>) {
        if !self.started {
            self.started = true;
            self.chunk(out, |out| out.extend_from_slice(br#"{"role":"assistant","content":null}"#));
        }
    }

    /// A chunk whose delta `write` appends.
    fn chunk(&self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        out.extend_from_slice(&self.head);
        write(out);
        out.extend_from_slice(TAIL);
        out.extend_from_slice(b"\n\n");
    }

    /// A chunk whose delta is one text.
    fn text(&self, before: &[u8], text: &str, after: &[u8], out: &mut Vec<u8>) {
        self.chunk(out, |out| {
            out.extend_from_slice(before);
            write_json(out, text);
            out.extend_from_slice(after);
        });
    }

    fn block(&mut self, index: u32, block: &Block, out: &mut Vec<u8>) {
        self.start(out);
        let open = match block {
            Block::Text(text) => {
                self.content(&text.text, out);
                Open::Text
            }
            Block::Thinking(thinking) => {
                self.reasoning(true, &thinking.thinking, out);
                Open::Thinking { text: thinking.thinking.clone(), signature: thinking.signature.clone() }
            }
            Block::RedactedThinking(redacted) => Open::Redacted(redacted.data.clone()),
            Block::ToolUse(call) => self.call(call, out),
            Block::ServerToolUse(_) | Block::Unknown(_) => Open::Other,
        };
        self.open.retain(|(other, _)| *other != index);
        self.open.push((index, open));
    }

    fn call(&mut self, call: &ToolUse, out: &mut Vec<u8>) -> Open {
        #[derive(Serialize)]
        struct Named<'a> {
            index: u32,
            id: &'a str,
            #[serde(rename = "type")]
            kind: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            function: Option<FunctionCall<'a>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            custom: Option<CustomCall<'a>>,
        }
        let number = self.calls;
        self.calls += 1;
        let function = FunctionCall { name: &call.name, arguments: "".into() };
        let kind = if self.reply.form.functions {
            if number > 0 {
                return Open::Other;
            }
            self.chunk(out, |out| {
                out.extend_from_slice(br#"{"function_call":"#);
                write_json(out, &function);
                out.push(b'}');
            });
            Kind::Legacy
        } else {
            let custom = self.reply.form.custom.contains(&call.name);
            let named = Named {
                index: number,
                id: &call.id,
                kind: if custom { "custom" } else { "function" },
                function: (!custom).then_some(function),
                custom: custom.then(|| CustomCall { name: &call.name, input: "".into() }),
            };
            self.chunk(out, |out| {
                out.extend_from_slice(br#"{"tool_calls":["#);
                write_json(out, &named);
                out.extend_from_slice(b"]}");
            });
            if custom { Kind::Custom(Freeform::default()) } else { Kind::Function }
        };
        Open::Call(Call { number, input: call.input.clone(), pieces: false, kind })
    }

    fn delta(&mut self, index: u32, delta: &Delta<'_>, out: &mut Vec<u8>) {
        self.start(out);
        let Some(at) = self.open.iter().position(|(open, _)| *open == index) else { return };
        match delta {
            Delta::TextDelta { text } => {
                if matches!(self.open[at].1, Open::Text) {
                    self.content(text, out);
                }
            }
            Delta::ThinkingDelta { thinking } => {
                if let Open::Thinking { text, .. } = &mut self.open[at].1 {
                    let first = text.is_empty();
                    text.push_str(thinking);
                    self.reasoning(first, thinking, out);
                }
            }
            Delta::SignatureDelta { signature: whole } => {
                if let Open::Thinking { signature, .. } = &mut self.open[at].1 {
                    (**whole).clone_into(signature);
                }
            }
            Delta::InputJsonDelta { partial_json } => {
                if let Open::Call(call) = &mut self.open[at].1 {
                    call.pieces |= !partial_json.is_empty();
                    let (number, text) = (call.number, call.kind.text(partial_json));
                    let legacy = matches!(call.kind, Kind::Legacy);
                    let custom = matches!(call.kind, Kind::Custom(_));
                    self.arguments(number, legacy, custom, &text, out);
                }
            }
            Delta::CitationsDelta { .. } | Delta::Unknown(_) => {}
        }
    }

    fn content(&self, text: &str, out: &mut Vec<u8>) {
        if !text.is_empty() {
            self.text(br#"{"content":"#, text, b"}", out);
        }
    }

    /// More of a block of reasoning; `first`: nothing of it was sent.
    fn reasoning(&mut self, first: bool, piece: &str, out: &mut Vec<u8>) {
        if piece.is_empty() {
            return;
        }
        if first && self.reasoned {
            self.text(br#"{"reasoning_content":"#, BETWEEN, b"}", out);
        }
        self.reasoned = true;
        self.text(br#"{"reasoning_content":"#, piece, b"}", out);
    }

    /// More of a call's arguments, or of a custom tool's text.
    fn arguments(&self, number: u32, legacy: bool, custom: bool, text: &str, out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        if legacy {
            return self.text(br#"{"function_call":{"arguments":"#, text, b"}}", out);
        }
        self.chunk(out, |out| {
            out.extend_from_slice(br#"{"tool_calls":[{"index":"#);
            write_json(out, &number);
            let member: &[u8] =
                if custom { br#","custom":{"input":"# } else { br#","function":{"arguments":"# };
            out.extend_from_slice(member);
            write_json(out, text);
            out.extend_from_slice(b"}}]}");
        });
    }

    fn stop(&mut self, index: u32, out: &mut Vec<u8>) {
        let Some(at) = self.open.iter().position(|(open, _)| *open == index) else { return };
        let (_, open) = self.open.remove(at);
        match open {
            Open::Text | Open::Other => {}
            Open::Thinking { text, signature } => {
                self.detail(thought(&text, &signature, index).as_ref(), out);
            }
            Open::Redacted(data) => {
                let detail = ReasoningDetail::Encrypted { data: data.into(), format: FORMAT, index };
                self.detail(Some(&detail), out);
            }
            Open::Call(call) => self.called(call, out),
        }
    }

    fn detail(&self, detail: Option<&ReasoningDetail<'_>>, out: &mut Vec<u8>) {
        let Some(detail) = detail else { return };
        self.chunk(out, |out| {
            out.extend_from_slice(br#"{"reasoning_details":["#);
            write_json(out, detail);
            out.extend_from_slice(b"]}");
        });
    }

    /// A call is complete: what it began with, where no piece of its arguments came, and what was held back.
    fn called(&self, call: Call, out: &mut Vec<u8>) {
        let Call { number, input, pieces, mut kind } = call;
        let mut text = if pieces { String::new() } else { kind.text(input.get()) };
        let (legacy, custom) = (matches!(kind, Kind::Legacy), matches!(kind, Kind::Custom(_)));
        if let Kind::Custom(reader) = &mut kind {
            reader.finish(&mut text);
        }
        self.arguments(number, legacy, custom, &text, out);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.start(out);
        while let Some(&(index, _)) = self.open.first() {
            self.stop(index, out);
        }
        if let Some(text) = refusal(self.stop_reason.as_ref(), self.stop_details.as_ref()) {
            self.text(br#"{"refusal":"#, &text, b"}", out);
        }
        out.extend_from_slice(&self.head);
        out.extend_from_slice(br#"{},"logprobs":null,"finish_reason":"#);
        write_json(out, finish_reason(self.stop_reason.as_ref(), self.calls > 0, &self.reply.form));
        out.extend_from_slice(b"}]");
        self.tier(out);
        out.extend_from_slice(b"}\n\n");
        if self.reply.form.include_usage {
            out.extend_from_slice(b"data: ");
            opening(&self.reply, out);
            out.extend_from_slice(br#","choices":[],"usage":"#);
            write_json(out, &usage::chat(&self.usage));
            self.tier(out);
            out.extend_from_slice(b"}\n\n");
        }
        out.extend_from_slice(DONE);
        self.finished = true;
    }

    fn tier(&self, out: &mut Vec<u8>) {
        if let Some(tier) = usage::tier(&self.usage) {
            out.extend_from_slice(br#","service_tier":"#);
            write_json(out, tier);
        }
    }
}

impl Kind {
    /// What a piece of the arguments says to the caller.
    fn text(&mut self, piece: &str) -> String {
        match self {
            Self::Function | Self::Legacy => piece.to_owned(),
            Self::Custom(reader) => {
                let mut text = String::new();
                reader.push(piece, &mut text);
                text
            }
        }
    }
}

/// The members that every chunk begins with.
fn opening(reply: &Reply, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"id":"#);
    write_json(out, &reply.id);
    out.extend_from_slice(br#","object":"chat.completion.chunk","created":"#);
    write_json(out, &reply.created);
    out.extend_from_slice(br#","model":"#);
    write_json(out, &reply.model);
}
