//! Events in, events out.

use std::borrow::Cow;

use catalog::ServiceTier as ServedTier;
use protocol::anthropic::response as anthropic;
use protocol::anthropic::{Delta, Event, event};
use protocol::converse::event as converse;
use protocol::converse::event::StreamEvent;
use protocol::converse::response::{AdditionalFields, ServiceTier, StopReason};

use super::block::{Kind, Open, empty_text, joined};
use crate::converse::response::{self, Fault, Reply, loss};
use crate::usage::Usage;
use crate::{Loss, Names};

/// Events in, events out.
#[derive(Debug)]
pub struct Machine {
    names: Names,
    reply: Reply,
    phase: Phase,
    /// The next index on the caller's side.
    next: u32,
    /// Open blocks, in order. Nearly always one.
    open: Vec<Open>,
    /// Whether a tool of the caller's was called.
    called: bool,
    usage: Usage,
    service_tier: Option<String>,
    /// Whether `metadata` has come: with it, nothing more is to be waited for.
    metadata: bool,
    stop: Option<(StopReason, AdditionalFields)>,
    stop_reason: Option<anthropic::StopReason>,
    losses: Vec<Loss>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// `message_start` is still to be sent.
    Waiting,
    Streaming,
    /// `message_stop` or `error` was sent.
    Over,
}

impl Machine {
    /// A machine that has seen nothing.
    pub fn new(names: Names, reply: Reply) -> Self {
        Self {
            names,
            reply,
            phase: Phase::Waiting,
            next: 0,
            open: Vec::new(),
            called: false,
            usage: Usage::default(),
            service_tier: None,
            metadata: false,
            stop: None,
            stop_reason: None,
            losses: Vec::new(),
        }
    }

    /// Says which tier the request was sent for: the one that served, where the upstream does not say.
    #[must_use]
    pub fn with_tier(mut self, tier: ServedTier) -> Self {
        self.service_tier = Some(tier.reported().to_owned());
        self
    }

    /// The best figures so far.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// The tier that served, in the caller's words, once it is known.
    pub fn service_tier(&self) -> Option<&str> {
        self.service_tier.as_deref()
    }

    /// Why the answer ended; `None` until it is complete, and for good when it failed.
    pub fn stop_reason(&self) -> Option<&anthropic::StopReason> {
        self.stop_reason.as_ref()
    }

    /// Whether everything was emitted: `message_stop`, or an `error`.
    pub fn finished(&self) -> bool {
        self.phase == Phase::Over
    }

    /// What could not be carried so far, each kind once.
    pub fn losses(&self) -> &[Loss] {
        &self.losses
    }

    /// Takes an event. After a fault the answer cannot be continued: end it with [`Self::on_error`].
    pub fn on(&mut self, event: StreamEvent<'_>, emit: &mut impl FnMut(Event<'_>)) -> Result<(), Fault> {
        if self.finished() || matches!(event, StreamEvent::Unknown) {
            return Ok(());
        }
        self.start(emit);
        match event {
            StreamEvent::ContentBlockDelta { index, delta } => self.delta(index, delta, emit)?,
            StreamEvent::ContentBlockStart { index, start } => self.block_start(index, start, emit),
            StreamEvent::ContentBlockStop { index } => self.close(index, emit),
            StreamEvent::MessageStop { stop_reason, additional } => {
                self.close_all(emit);
                self.stop.get_or_insert((stop_reason, additional.unwrap_or_default()));
                if self.metadata {
                    self.finish(emit);
                }
            }
            StreamEvent::Metadata { usage, service_tier } => {
                if let Some(usage) = usage {
                    self.usage.merge(Usage::from_converse(&usage));
                }
                if let Some(ServiceTier { kind }) = service_tier {
                    self.service_tier = Some(response::service_tier(kind));
                }
                self.metadata = true;
                self.finish(emit);
            }
            StreamEvent::MessageStart | StreamEvent::Unknown => {}
        }
        Ok(())
    }

    /// The upstream has closed. Complete content is delivered even if its usage never came; anything less is an
    /// error to the caller, and a fault.
    pub fn on_end(&mut self, emit: &mut impl FnMut(Event<'_>)) -> Result<(), Fault> {
        self.finish(emit);
        if self.finished() {
            return Ok(());
        }
        let fault = Fault::new("the upstream ended the stream before the answer was complete");
        self.on_error(anthropic::ErrorBody::new("api_error", fault.message.clone()), emit);
        Err(fault)
    }

    /// The upstream has failed: emits the error, unless the answer is complete. Open blocks stay open.
    pub fn on_error(&mut self, body: anthropic::ErrorBody, emit: &mut impl FnMut(Event<'_>)) {
        if !self.finished() {
            self.phase = Phase::Over;
            emit(Event::Error { error: body.error, request_id: body.request_id });
        }
    }

    fn start(&mut self, emit: &mut impl FnMut(Event<'_>)) {
        if self.phase != Phase::Waiting {
            return;
        }
        self.phase = Phase::Streaming;
        let message = anthropic::Message {
            id: self.reply.id.clone(),
            kind: anthropic::MessageKind::Message,
            role: anthropic::AssistantRole::Assistant,
            model: self.reply.model.clone(),
            content: Vec::new(),
            stop_reason: None,
            stop_sequence: None,
            stop_details: None,
            container: None,
            context_management: None,
            // Converse tells no figure before the end; the last `message_delta` has them all.
            usage: Usage::default().to_anthropic(),
        };
        emit(Event::MessageStart { message: Box::new(message) });
    }

    fn block_start(&mut self, upstream: u32, start: converse::Start, emit: &mut impl FnMut(Event<'_>)) {
        self.close(upstream, emit);
        let call = match start {
            converse::Start::ToolUse(call) => call,
            // Some models announce text like this; its first delta tells.
            converse::Start::Empty => return,
            converse::Start::Unknown(name) => {
                return self.lose(&format!("contentBlockStart.{name}"), loss::BLOCK);
            }
        };
        if self.names.structured_output.as_deref() == Some(&*call.name) {
            self.begin(upstream, Kind::Structured, empty_text(), emit);
            return;
        }
        let block = anthropic::ToolUse {
            name: response::tool_name(&self.names, &call.name).to_owned(),
            id: call.tool_use_id,
            input: anthropic::Json::empty_object(),
            caller: None,
            toolset_name: None,
        };
        let block = if response::runs_upstream(call.kind.as_deref()) {
            anthropic::Block::ServerToolUse(block)
        } else {
            self.called = true;
            anthropic::Block::ToolUse(block)
        };
        self.begin(upstream, Kind::Tool, block, emit);
    }

    fn delta(
        &mut self,
        upstream: u32,
        delta: converse::Delta<'_>,
        emit: &mut impl FnMut(Event<'_>),
    ) -> Result<(), Fault> {
        match delta {
            // An empty piece opens nothing: an empty block says nothing and cannot be sent back.
            converse::Delta::Text(text) if text.is_empty() => {}
            converse::Delta::Text(text) => {
                let index = self.prose(upstream, Kind::Text, emit).index;
                emit(Event::ContentBlockDelta { index, delta: Delta::TextDelta { text } });
            }
            converse::Delta::ToolUse(input) => return self.tool_input(upstream, input, emit),
            converse::Delta::Reasoning(reasoning) => self.reasoning(upstream, reasoning, emit),
            converse::Delta::Citation(citation) => match response::citation(*citation) {
                Some(citation) => {
                    let index = self.prose(upstream, Kind::Text, emit).index;
                    emit(Event::ContentBlockDelta { index, delta: Delta::CitationsDelta { citation } });
                }
                None => self.lose("contentBlockDelta.citation", loss::CITATION),
            },
            converse::Delta::Unknown(name) => self.lose(&format!("contentBlockDelta.{name}"), loss::BLOCK),
        }
        Ok(())
    }

    fn tool_input(
        &mut self,
        upstream: u32,
        input: Cow<'_, str>,
        emit: &mut impl FnMut(Event<'_>),
    ) -> Result<(), Fault> {
        let open = self.open.iter_mut().find(|open| open.upstream == upstream && !open.kind.is_prose());
        match open {
            Some(Open { index, kind: Kind::Structured, wrote, .. }) => {
                if !input.is_empty() {
                    *wrote = true;
                    emit(Event::ContentBlockDelta { index: *index, delta: Delta::TextDelta { text: input } });
                }
            }
            Some(Open { index, .. }) => {
                let delta = Delta::InputJsonDelta { partial_json: input };
                emit(Event::ContentBlockDelta { index: *index, delta });
            }
            None if input.is_empty() => {}
            // Neither a name nor an id: whatever the caller did with it, it would be a call that nobody made.
            None => {
                return Err(Fault::new("the upstream sent the input of a tool call that it did not begin"));
            }
        }
        Ok(())
    }

    fn reasoning(
        &mut self,
        upstream: u32,
        delta: converse::ReasoningDelta<'_>,
        emit: &mut impl FnMut(Event<'_>),
    ) {
        // Adaptive models sign empty text and want the block back: text or signature makes a block, neither none.
        if let Some(text) = delta.text.filter(|it| !it.0.is_empty()) {
            let index = self.prose(upstream, Kind::Thinking, emit).index;
            emit(Event::ContentBlockDelta { index, delta: Delta::ThinkingDelta { thinking: text.0 } });
        }
        if let Some(part) = delta.signature.filter(|it| !it.0.is_empty()) {
            self.prose(upstream, Kind::Thinking, emit).signature.push_str(part.as_str());
        }
        if let Some(part) = delta.redacted_content.filter(|it| !it.0.is_empty()) {
            self.prose(upstream, Kind::Redacted, emit).redacted.push(part.0.into_owned());
        }
    }

    /// The open block of this kind at the upstream's index; begun if there is none.
    fn prose(&mut self, upstream: u32, kind: Kind, emit: &mut impl FnMut(Event<'_>)) -> &mut Open {
        let found = self.open.iter().position(|open| open.upstream == upstream && open.kind == kind);
        let at = found.unwrap_or_else(|| {
            // A change of kind at one index is a new block.
            self.close(upstream, emit);
            let block = match kind {
                Kind::Thinking => anthropic::Block::Thinking(anthropic::Thinking::default()),
                Kind::Text | Kind::Redacted | Kind::Tool | Kind::Structured => empty_text(),
            };
            self.begin(upstream, kind, block, emit);
            self.open.len() - 1
        });
        &mut self.open[at]
    }

    fn begin(
        &mut self,
        upstream: u32,
        kind: Kind,
        content_block: anthropic::Block,
        emit: &mut impl FnMut(Event<'_>),
    ) {
        while let Some(at) = self.open.iter().position(|open| open.kind.is_prose()) {
            let open = self.open.remove(at);
            self.end(open, emit);
        }
        let index = self.next;
        if kind != Kind::Redacted {
            self.next += 1;
            emit(Event::ContentBlockStart { index, content_block });
        }
        self.open.push(Open {
            upstream,
            index,
            kind,
            signature: String::new(),
            redacted: Vec::new(),
            wrote: false,
        });
    }

    fn close(&mut self, upstream: u32, emit: &mut impl FnMut(Event<'_>)) {
        if let Some(at) = self.open.iter().position(|open| open.upstream == upstream) {
            let open = self.open.remove(at);
            self.end(open, emit);
        }
    }

    fn close_all(&mut self, emit: &mut impl FnMut(Event<'_>)) {
        for open in std::mem::take(&mut self.open) {
            self.end(open, emit);
        }
    }

    fn end(&mut self, open: Open, emit: &mut impl FnMut(Event<'_>)) {
        let mut index = open.index;
        match open.kind {
            Kind::Text | Kind::Tool => {}
            Kind::Thinking if open.signature.is_empty() => {}
            Kind::Thinking => {
                let delta = Delta::SignatureDelta { signature: open.signature.into() };
                emit(Event::ContentBlockDelta { index, delta });
            }
            Kind::Redacted => {
                index = self.next;
                self.next += 1;
                let block = anthropic::RedactedThinking { data: joined(&open.redacted) };
                let content_block = anthropic::Block::RedactedThinking(block);
                emit(Event::ContentBlockStart { index, content_block });
            }
            Kind::Structured if open.wrote => {}
            // No input is the empty object: the caller expects JSON.
            Kind::Structured => {
                let delta = Delta::TextDelta { text: Cow::Borrowed("{}") };
                emit(Event::ContentBlockDelta { index, delta });
            }
        }
        emit(Event::ContentBlockStop { index });
    }

    /// Ends the message, if the upstream has.
    fn finish(&mut self, emit: &mut impl FnMut(Event<'_>)) {
        let Some((reason, additional)) = self.stop.take_if(|_| self.phase == Phase::Streaming) else {
            return;
        };
        self.close_all(emit);
        self.usage.reasoning = self.usage.reasoning.max(additional.thinking_tokens.unwrap_or(0));
        let stop_reason = response::stop_reason(&reason, self.called, &mut self.losses);
        self.stop_reason = Some(stop_reason.clone());
        let delta = event::MessageDelta {
            stop_reason: Some(stop_reason),
            stop_sequence: additional.stop_sequence,
            ..event::MessageDelta::default()
        };
        let usage = anthropic::Usage { service_tier: self.service_tier.clone(), ..self.usage.to_anthropic() };
        emit(Event::MessageDelta { delta, usage: Box::new(usage) });
        emit(Event::MessageStop);
        self.phase = Phase::Over;
    }

    fn lose(&mut self, path: &str, reason: &'static str) {
        // Once each: a block that is not carried has a delta for every few bytes.
        if !self.losses.iter().any(|loss| loss.path == path && loss.reason == reason) {
            self.losses.push(Loss { path: path.to_owned(), reason });
        }
    }
}
