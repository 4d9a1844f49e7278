//! In whose words an answer is said. Lanes speak the Messages API; callers of the OpenAI API hear it translated, behind
//! whichever lane it was.

use std::sync::Arc;

use bedrock::Frame;
use catalog::ServiceTier;
use convert::openai::responses::compact::Unfit;
use convert::openai::{chat, responses};
use protocol::anthropic::response::Message;
use protocol::anthropic::{Delta, Event};
use protocol::{openai, sse};
use serde::Serialize;

use crate::answer::{Decoder, malformed, unreadable};
use crate::error::{ApiError, Kind};
use crate::gateway::Shared;
use crate::request_id::RequestId;
use crate::route::Dialect;
use crate::turns::Keeping;

/// Who is answered, and what the answer needs of the request.
pub(crate) enum Voice {
    Messages,
    Chat(Box<chat::Reply>),
    Responses(Box<Respondent>),
    /// A summary of a conversation; never streamed.
    Compact(Box<(responses::compact::Compacting, responses::Reply)>),
}

/// What an answer of the Responses API needs.
pub(crate) struct Respondent {
    pub(crate) recall: responses::Recall,
    pub(crate) reply: responses::Reply,
    /// Where the caller may go on from the answer.
    pub(crate) keeping: Option<Arc<Keeping>>,
}

impl Voice {
    /// The label in metrics and usage rows.
    pub(crate) fn surface(&self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Chat(_) => "chat",
            Self::Responses(_) | Self::Compact(_) => "responses",
        }
    }

    /// What fills silence.
    pub(crate) fn ping(&self) -> &'static [u8] {
        match self {
            Self::Messages => sse::PING,
            Self::Chat(_) | Self::Responses(_) | Self::Compact(_) => openai::PING,
        }
    }

    /// A whole answer.
    pub(crate) fn message(&self, message: &Message) -> Result<Vec<u8>, ApiError> {
        match self {
            Self::Messages => written(message),
            Self::Chat(reply) => Ok(chat::response(message, reply)),
            Self::Responses(own) => Ok(responses::response(message, &own.recall, &own.reply)),
            Self::Compact(own) => {
                let (compacting, reply) = &**own;
                written(&compacting.response(message, reply).map_err(no_summary)?)
            }
        }
    }

    /// A whole answer that is one of the Messages API already, and the tier that served where it does not say.
    pub(crate) fn relayed(&self, body: Vec<u8>, tier: ServiceTier) -> Result<Vec<u8>, ApiError> {
        match self {
            Self::Messages => Ok(body),
            Self::Chat(_) | Self::Responses(_) | Self::Compact(_) => {
                let mut message: Message =
                    serde_json::from_slice(&body).map_err(|error| malformed(&error))?;
                message.usage.service_tier.get_or_insert_with(|| tier.reported().to_owned());
                self.message(&message)
            }
        }
    }

    /// Keeps a whole answer that its caller may go on from. False where that failed: from then on, answers say so.
    pub(crate) async fn keep(&mut self, shared: &Shared, answer: &[u8]) -> bool {
        let Self::Responses(own) = self else { return true };
        let Some(keeping) = own.keeping.take() else { return true };
        let kept = match std::str::from_utf8(answer) {
            Ok(response) => keeping.keep(shared, response).await,
            Err(_) => false,
        };
        own.recall.echo.store = kept;
        kept
    }

    /// What says a stream in other words; `None` where the words are the Messages API's.
    pub(crate) fn speaker(&self) -> Option<Box<Speaker>> {
        let machine = match self {
            Self::Messages | Self::Compact(_) => return None,
            Self::Chat(reply) => Machine::Chat(chat::Stream::new(chat::Reply::clone(reply))),
            Self::Responses(own) => {
                let stream = responses::Stream::new(own.recall.clone(), own.reply.clone());
                let stream = if own.keeping.is_some() { stream.holding_its_end() } else { stream };
                Machine::Responses(stream, own.keeping.clone())
            }
        };
        Some(Box::new(Speaker { machine, tier: None, scratch: Vec::new(), content: None }))
    }
}

/// Only where the model might do better is its failure, which SDKs repeat; elsewhere another try costs the same for nothing.
fn no_summary(unfit: Unfit) -> ApiError {
    match unfit {
        Unfit::Silent => unreadable("the answer has no text for a summary"),
        Unfit::CutOff => {
            ApiError::field("max_output_tokens", "the summary was cut off at the limit of tokens; allow more")
        }
        Unfit::WindowFull => ApiError::new(
            Kind::ContextTooLong,
            "The conversation leaves no room for its summary in the model's context window",
        ),
        Unfit::Refused => ApiError::new(Kind::ContentFilter, "The model declined to write the summary"),
    }
}

fn written(answer: &impl Serialize) -> Result<Vec<u8>, ApiError> {
    serde_json::to_vec(answer).map_err(|error| malformed(&error))
}

/// Says the events of the Messages API in other words.
pub(crate) struct Speaker {
    machine: Machine,
    /// The tier that serves, as far as is known before the answer says so itself.
    tier: Option<ServiceTier>,
    scratch: Vec<u8>,
    /// Bytes of text since somebody last asked, where there was content.
    content: Option<usize>,
}

#[expect(clippy::large_enum_variant, reason = "a speaker is boxed as a whole")]
enum Machine {
    Chat(chat::Stream),
    Responses(responses::Stream, Option<Arc<Keeping>>),
}

impl Speaker {
    /// The upstream has answered: this tier serves, unless the answer names another.
    pub(crate) fn served(&mut self, tier: ServiceTier) {
        self.tier = Some(tier);
    }

    /// Says one event.
    pub(crate) fn say(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        if let Event::ContentBlockStart { .. } | Event::ContentBlockDelta { .. } = event {
            *self.content.get_or_insert(0) += text_bytes(event);
        }
        let mut start = None;
        if let (Event::MessageStart { message }, Some(tier)) = (event, self.tier) {
            let mut message = message.clone();
            message.usage.service_tier.get_or_insert_with(|| tier.reported().to_owned());
            start = Some(Event::MessageStart { message });
        }
        let event = start.as_ref().unwrap_or(event);
        match &mut self.machine {
            Machine::Chat(stream) => stream.on_event(event, out),
            Machine::Responses(stream, _) => stream.on_event(event, out),
        }
    }

    /// Says what a frame means.
    pub(crate) fn frame(
        &mut self,
        decoder: &mut Decoder,
        frame: &Frame,
        out: &mut Vec<u8>,
    ) -> Result<(), ApiError> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let said = decoder.on_frame_to(frame, &mut scratch, &mut |event| self.say(&event, out));
        self.scratch = scratch;
        said
    }

    /// The upstream has ended the stream.
    pub(crate) fn end(&mut self, decoder: &mut Decoder, out: &mut Vec<u8>) -> Result<(), ApiError> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let said = decoder.on_end_to(&mut scratch, &mut |event| self.say(&event, out));
        self.scratch = scratch;
        said
    }

    /// The answer is complete: says what stands behind it.
    pub(crate) fn complete(&mut self, out: &mut Vec<u8>) {
        match &mut self.machine {
            Machine::Chat(stream) => stream.on_end(out),
            Machine::Responses(stream, _) => stream.on_end(out),
        }
    }

    /// Keeps a complete answer that its caller may go on from, then tells its end, which has waited for that.
    pub(crate) async fn conclude(&mut self, shared: &Shared, out: &mut Vec<u8>) {
        let Machine::Responses(stream, Some(keeping)) = &mut self.machine else { return };
        if !stream.holds_its_end() {
            return;
        }
        let kept = match serde_json::to_string(&stream.response()) {
            Ok(response) => keeping.keep(shared, &response).await,
            Err(_) => false,
        };
        stream.conclude(kept, out);
    }

    /// It failed.
    pub(crate) fn fail(&mut self, error: &ApiError, id: RequestId, out: &mut Vec<u8>) {
        let json = error.body(Dialect::OpenAi, id);
        match &mut self.machine {
            Machine::Chat(stream) => stream.on_error(&json, out),
            Machine::Responses(stream, _) => stream.on_error(&json, out),
        }
    }

    /// Bytes of text since this was last asked; `None` where there was no content.
    pub(crate) fn take_content(&mut self) -> Option<usize> {
        self.content.take()
    }
}

/// The text of a delta; only for the estimate of an answer that nobody counted.
fn text_bytes(event: &Event<'_>) -> usize {
    match event {
        Event::ContentBlockDelta { delta, .. } => match delta {
            Delta::TextDelta { text } => text.len(),
            Delta::InputJsonDelta { partial_json } => partial_json.len(),
            Delta::ThinkingDelta { thinking } => thinking.len(),
            Delta::SignatureDelta { .. } | Delta::CitationsDelta { .. } | Delta::Unknown(_) => 0,
        },
        Event::MessageStart { .. }
        | Event::ContentBlockStart { .. }
        | Event::ContentBlockStop { .. }
        | Event::MessageDelta { .. }
        | Event::MessageStop
        | Event::Ping
        | Event::Error { .. }
        | Event::Unknown(_) => 0,
    }
}
