//! A Messages stream becomes a stream of response events.
//!
//! Whatever comes, the caller sees `response.created` and `response.in_progress`; items that are announced and done in
//! pairs, at places numbered from 0 without gaps; and one of `response.completed`, `response.incomplete` and
//! `response.failed`, after which nothing follows. Events are numbered from 0 without gaps.
//!
//! An item is told as done when the next one begins, or the answer ends: only then is it known whether it was cut off,
//! and whether more text belongs to a message. Calls of tools may be interleaved; such a one stays open until its own end.

mod tell;

use std::borrow::Cow;

use protocol::anthropic::response::{Block, StopReason, Usage as Reported};
use protocol::anthropic::{Delta, Event as In};
use protocol::openai::responses::event::Event;
use protocol::openai::responses::response::{Error, OutputPart, Response, Status};
use protocol::openai::{ErrorBody, ErrorDetail};

use super::building::{Building, Kind, Said};
use super::response::{Ending, Outcome, Recall, Reply};
use crate::fold;
use crate::openai::error;
use crate::usage::Usage;
use tell::emit;

/// Messages events in, SSE bytes out.
#[derive(Debug)]
pub struct Stream {
    recall: Recall,
    reply: Reply,
    phase: Phase,
    /// Whether the last event of a complete answer waits for [`Stream::conclude`].
    holds: bool,
    items: Vec<Building>,
    /// The blocks that are open, by their index, and the items that they went into.
    blocks: Vec<(u32, Option<usize>)>,
    /// The number of the next event.
    number: u64,
    usage: Reported,
    stop: Option<StopReason>,
    error: Option<Error>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// `response.created` is still to be sent.
    Waiting,
    Streaming,
    /// The last event was sent.
    Over,
}

impl Stream {
    /// A stream of which nothing has come yet.
    pub fn new(recall: Recall, reply: Reply) -> Self {
        Self {
            recall,
            reply,
            phase: Phase::Waiting,
            holds: false,
            items: Vec::new(),
            blocks: Vec::new(),
            number: 0,
            usage: Reported::default(),
            stop: None,
            error: None,
        }
    }

    /// Holds back the last event of a complete answer until [`Self::conclude`]: by the time the caller reads it, the turn has
    /// to be kept.
    #[must_use]
    pub fn holding_its_end(self) -> Self {
        Self { holds: true, ..self }
    }

    /// Whether the answer is complete and its end is held back.
    pub fn holds_its_end(&self) -> bool {
        self.holds && self.finished() && self.error.is_none()
    }

    /// Tells the end that was held back, if there is one, and whether the turn was kept.
    pub fn conclude(&mut self, kept: bool, out: &mut Vec<u8>) {
        if self.holds_its_end() {
            self.holds = false;
            self.recall.echo.store = kept;
            self.tell_end(out);
        }
    }

    /// Takes an event and appends what the caller gets for it.
    pub fn on_event(&mut self, event: &In<'_>, out: &mut Vec<u8>) {
        if self.finished() {
            return;
        }
        match event {
            In::MessageStart { message } => {
                fold::merge(&mut self.usage, message.usage.clone());
                self.start(out);
            }
            In::ContentBlockStart { index, content_block } => self.block_start(*index, content_block, out),
            In::ContentBlockDelta { index, delta } => self.delta(*index, delta, out),
            In::ContentBlockStop { index } => self.block_stop(*index, out),
            In::MessageDelta { delta, usage } => {
                fold::merge(&mut self.usage, Reported::clone(usage));
                self.stop = delta.stop_reason.clone().or(self.stop.take());
            }
            In::MessageStop => self.finish(out),
            In::Error { error, .. } => {
                self.fail(error::body(error), out);
            }
            In::Ping | In::Unknown(_) => {}
        }
    }

    /// The upstream has closed. An answer that is not complete fails.
    pub fn on_end(&mut self, out: &mut Vec<u8>) {
        if self.stop.is_some() {
            self.finish(out);
        }
        self.fail(error::unfinished(), out);
    }

    /// The upstream has failed: ends the response with this error (`{"error": {…}}` as OpenAI has it), unless it is
    /// complete.
    pub fn on_error(&mut self, error_json: &str, out: &mut Vec<u8>) {
        let body = serde_json::from_str(error_json);
        self.fail(body.unwrap_or_else(|_| ErrorBody::new("server_error", "the upstream failed")), out);
    }

    /// Whether everything was emitted, but for an end that is held back.
    pub fn finished(&self) -> bool {
        self.phase == Phase::Over
    }

    /// The best figures so far.
    pub fn usage(&self) -> Usage {
        Usage::from_anthropic(&self.usage)
    }

    /// Why the answer ended; `None` until that is known.
    pub fn stop_reason(&self) -> Option<&StopReason> {
        self.stop.as_ref()
    }

    /// The response by now: once the stream is finished, as its last event tells it.
    pub fn response<'s>(&'s self) -> Response<'s> {
        let ending = match (&self.error, self.phase) {
            (Some(error), _) => Ending::Failed(error.clone()),
            (None, Phase::Over) => Ending::of(self.stop.as_ref()),
            (None, Phase::Waiting | Phase::Streaming) => Ending::Open,
        };
        let output = |item: &'s Building| match &item.done {
            Some(done) => Cow::Borrowed(done),
            None => Cow::Owned(item.output(ending.last_item())),
        };
        let output = self.items.iter().map(output).collect();
        Outcome { ending, output, usage: &self.usage }.response(&self.recall, &self.reply)
    }

    fn emit(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        emit(&mut self.number, event, out);
    }

    fn start(&mut self, out: &mut Vec<u8>) {
        if self.phase != Phase::Waiting {
            return;
        }
        self.phase = Phase::Streaming;
        let mut number = self.number;
        let response = self.response();
        emit(&mut number, &Event::Created { response: &response }, out);
        emit(&mut number, &Event::InProgress { response: &response }, out);
        self.number = number;
    }

    fn block_start(&mut self, index: u32, block: &Block, out: &mut Vec<u8>) {
        self.start(out);
        self.blocks.retain(|(open, _)| *open != index);
        let item = Kind::begun(block, &self.recall).map(|kind| self.begin(kind, out));
        self.blocks.push((index, item));
        // Blocks begin empty; should one not, what it holds counts as its first delta.
        match block {
            Block::Text(block) if !block.text.is_empty() => {
                self.delta(index, &Delta::TextDelta { text: Cow::Borrowed(&block.text) }, out);
            }
            Block::Thinking(block) => {
                if !block.thinking.is_empty() {
                    self.delta(
                        index,
                        &Delta::ThinkingDelta { thinking: Cow::Borrowed(&block.thinking) },
                        out,
                    );
                }
                if !block.signature.is_empty() {
                    let signature = Cow::Borrowed(&*block.signature);
                    self.delta(index, &Delta::SignatureDelta { signature }, out);
                }
            }
            Block::ToolUse(call) if call.input.get() != "{}" => {
                let partial_json = Cow::Borrowed(call.input.get());
                self.delta(index, &Delta::InputJsonDelta { partial_json }, out);
            }
            Block::Text(_)
            | Block::RedactedThinking(_)
            | Block::ToolUse(_)
            | Block::ServerToolUse(_)
            | Block::Unknown(_) => {}
        }
    }

    fn delta(&mut self, index: u32, delta: &Delta<'_>, out: &mut Vec<u8>) {
        let at = match delta {
            // Of text, the first piece opens a message: an empty one says nothing and could not be sent back.
            Delta::TextDelta { text } if text.is_empty() => return,
            Delta::TextDelta { .. } | Delta::CitationsDelta { .. } => Some(self.message(index, out)),
            Delta::InputJsonDelta { .. }
            | Delta::ThinkingDelta { .. }
            | Delta::SignatureDelta { .. }
            | Delta::Unknown(_) => {
                self.blocks.iter().find(|(open, _)| *open == index).and_then(|(_, item)| *item)
            }
        };
        let Some(at) = at else { return };
        let Some(item) = self.items.get_mut(at) else { return };
        tell::more(&mut self.number, at, item, delta, out);
    }

    /// The message that a block's text goes into: its own, or else the last item, if it is one.
    fn message(&mut self, index: u32, out: &mut Vec<u8>) -> usize {
        if let Some((_, Some(own))) = self.blocks.iter().find(|(open, _)| *open == index) {
            return *own;
        }
        let last = self.items.len().wrapping_sub(1);
        let at = if let Some(item @ Building { kind: Kind::Message(_), done: None, .. }) =
            self.items.get_mut(last)
        {
            item.ended = false;
            last
        } else {
            let at = self.begin(Kind::Message(Said::default()), out);
            let part = OutputPart::OutputText { annotations: Vec::new(), logprobs: [], text: String::new() };
            let item_id = &*self.items[at].id;
            let event = Event::PartAdded { item_id, output_index: at, content_index: 0, part: &part };
            emit(&mut self.number, &event, out);
            at
        };
        if let Some((_, item)) = self.blocks.iter_mut().find(|(open, _)| *open == index) {
            *item = Some(at);
        }
        at
    }

    /// Begins an item; those whose blocks have ended are done.
    fn begin(&mut self, kind: Kind, out: &mut Vec<u8>) -> usize {
        for at in 0..self.items.len() {
            if self.items[at].ended {
                self.close(at, Status::Completed, out);
            }
        }
        let output_index = self.items.len();
        let item = Building::new(kind, output_index, &self.reply);
        self.emit(&Event::ItemAdded { output_index, item: &item.announced() }, out);
        self.items.push(item);
        output_index
    }

    fn block_stop(&mut self, index: u32, out: &mut Vec<u8>) {
        let Some(found) = self.blocks.iter().position(|(open, _)| *open == index) else { return };
        let (_, Some(output_index)) = self.blocks.remove(found) else { return };
        let Some(Building { id, kind, ended, .. }) = self.items.get_mut(output_index) else { return };
        *ended = true;
        if let Kind::Message(said) = kind {
            let before = said.annotations.len();
            for (annotation_index, annotation) in (before..).zip(said.end_block()) {
                let event = Event::AnnotationAdded {
                    item_id: id,
                    output_index,
                    content_index: 0,
                    annotation_index,
                    annotation,
                };
                emit(&mut self.number, &event, out);
            }
        }
    }

    /// Tells an item as done, once.
    fn close(&mut self, output_index: usize, status: Status, out: &mut Vec<u8>) {
        let Some(item) = self.items.get_mut(output_index) else { return };
        if item.done.is_some() {
            return;
        }
        let number = &mut self.number;
        // What only the end of a call's input can tell.
        match &mut item.kind {
            Kind::Function { arguments, .. } if arguments.is_empty() => {
                arguments.push_str("{}");
                emit(number, &Event::ArgumentsDelta { item_id: &item.id, output_index, delta: "{}" }, out);
            }
            Kind::Custom { json, input, .. } => {
                let before = input.len();
                json.finish(input);
                let delta = &input[before..];
                if !delta.is_empty() {
                    emit(number, &Event::InputDelta { item_id: &item.id, output_index, delta }, out);
                }
            }
            Kind::Message(_) | Kind::Thinking { .. } | Kind::Redacted(_) | Kind::Function { .. } => {}
        }
        let done = item.output(status);
        tell::done(number, output_index, &done, out);
        item.done = Some(done);
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        if self.finished() {
            return;
        }
        self.start(out);
        let ending = Ending::of(self.stop.as_ref());
        if let Ending::Failed(error) = ending {
            self.failed(error, None, out);
            return;
        }
        for at in 0..self.items.len() {
            let last = at + 1 == self.items.len();
            self.close(at, if last { ending.last_item() } else { Status::Completed }, out);
        }
        self.phase = Phase::Over;
        if !self.holds {
            self.tell_end(out);
        }
    }

    fn tell_end(&mut self, out: &mut Vec<u8>) {
        let ending = Ending::of(self.stop.as_ref());
        let mut number = self.number;
        let response = &self.response();
        let event = match ending {
            Ending::Incomplete(_) => Event::Incomplete { response },
            Ending::Open | Ending::Completed | Ending::Failed(_) => Event::Completed { response },
        };
        emit(&mut number, &event, out);
        self.number = number;
    }

    /// Ends the response by failure, unless it has ended. Items stay open, as the model left them.
    fn fail(&mut self, body: ErrorBody, out: &mut Vec<u8>) {
        if self.finished() {
            return;
        }
        self.start(out);
        let ErrorDetail { message, kind, param, code } = body.error;
        self.failed(Error { code: code.unwrap_or(kind), message }, param.as_deref(), out);
    }

    fn failed(&mut self, error: Error, param: Option<&str>, out: &mut Vec<u8>) {
        let event = Event::Error { code: Some(&error.code), message: &error.message, param };
        self.emit(&event, out);
        self.error = Some(error);
        self.phase = Phase::Over;
        // What failed is not kept.
        self.recall.echo.store = false;
        let mut number = self.number;
        emit(&mut number, &Event::Failed { response: &self.response() }, out);
        self.number = number;
    }
}
