//! How an answer is read, whole or frame by frame, and what it says of itself.

use bedrock::Frame;
use catalog::{Lane, Route, ServiceTier};
use convert::Names;
use convert::converse::{self, Reply};
use convert::native::{self, Relay};
use convert::unfold::unfold;
use convert::usage::Usage;
use policy::{Admission, Tokens};
use protocol::anthropic;

use crate::error::{ApiError, Kind};
use crate::lane::Prepared;
use crate::voice::Voice;
use crate::ways::Way;

/// The machine that reads a streamed answer.
pub(crate) enum Decoder {
    /// Events in frames of InvokeModel.
    Invoked(Box<Relay>),
    /// Events as they are.
    Addressed(Box<Relay>),
    Converse(Box<converse::Stream>),
}

impl Decoder {
    /// For the answer to what was sent.
    pub(crate) fn new(sent: Prepared, reply: Reply) -> Self {
        let hour = sent.hour_writes();
        let relay =
            |names: Names| Box::new(Relay::new(&reply.model).with_hour_writes(hour).with_names(names));
        match sent.way {
            Way::Native(Route::InvokeModel) | Way::Count => Self::Invoked(relay(sent.names)),
            Way::Native(Route::Messages | Route::Mantle) => Self::Addressed(relay(sent.names)),
            Way::Converse => {
                Self::Converse(Box::new(converse::Stream::new(sent.names, reply).with_tier(sent.tier)))
            }
        }
    }

    /// Appends what a frame means to `out`, framed for the caller.
    pub(crate) fn on_frame(&mut self, frame: &Frame, out: &mut Vec<u8>) -> Result<(), ApiError> {
        match self {
            // An event that is no chunk is none of the model's: newer ones are not for the caller.
            Self::Invoked(_) if frame.event_type != "chunk" => Ok(()),
            Self::Invoked(relay) => {
                relay.on_chunk(&frame.payload, out).map_err(|fault| unreadable(&fault.message))
            }
            Self::Addressed(relay) => {
                relay.on_event(&frame.payload, out).map_err(|fault| unreadable(&fault.message))
            }
            Self::Converse(stream) => stream
                .on_event(&frame.event_type, &frame.payload, out)
                .map_err(|fault| unreadable(&fault.message)),
        }
    }

    /// The same as events, for those who say them in other words. `scratch` is whatever it was.
    pub(crate) fn on_frame_to(
        &mut self,
        frame: &Frame,
        scratch: &mut Vec<u8>,
        emit: &mut impl FnMut(anthropic::Event<'_>),
    ) -> Result<(), ApiError> {
        match self {
            Self::Converse(stream) => stream
                .on_event_to(&frame.event_type, &frame.payload, emit)
                .map_err(|fault| unreadable(&fault.message)),
            // The relay edits bytes: what it would send is read again.
            Self::Invoked(_) | Self::Addressed(_) => {
                scratch.clear();
                self.on_frame(frame, scratch)?;
                read_events(scratch, emit)
            }
        }
    }

    /// The same where the upstream has ended the stream.
    pub(crate) fn on_end_to(
        &mut self,
        scratch: &mut Vec<u8>,
        emit: &mut impl FnMut(anthropic::Event<'_>),
    ) -> Result<(), ApiError> {
        scratch.clear();
        self.on_end(scratch)?;
        read_events(scratch, emit)
    }

    /// The upstream has ended the stream. An answer that is not complete is an error.
    pub(crate) fn on_end(&mut self, out: &mut Vec<u8>) -> Result<(), ApiError> {
        match self {
            Self::Invoked(relay) | Self::Addressed(relay) if relay.finished() => Ok(()),
            Self::Invoked(_) | Self::Addressed(_) => {
                Err(unreadable("the stream ended before the message did"))
            }
            Self::Converse(stream) => {
                let before = out.len();
                stream.on_end(out).map_err(|fault| {
                    // The machine has said so in its own words; ours carry the request id.
                    out.truncate(before);
                    unreadable(&fault.message)
                })
            }
        }
    }

    pub(crate) fn finished(&self) -> bool {
        match self {
            Self::Invoked(relay) | Self::Addressed(relay) => relay.finished(),
            Self::Converse(stream) => stream.finished(),
        }
    }

    /// What the upstream has said so far.
    pub(crate) fn said(&self) -> Said {
        match self {
            Self::Invoked(relay) | Self::Addressed(relay) => {
                Said { tokens: tokens(relay.usage()), ..Said::default() }
            }
            Self::Converse(stream) => {
                let machine = stream.machine();
                Said {
                    tokens: tokens(machine.usage()),
                    tier: machine.service_tier().and_then(ServiceTier::from_reported),
                    stop_reason: machine.stop_reason().map(|reason| reason.as_str().to_owned()),
                }
            }
        }
    }
}

/// Reads events as the Messages API frames them: one line of data each.
fn read_events(sse: &[u8], emit: &mut impl FnMut(anthropic::Event<'_>)) -> Result<(), ApiError> {
    for line in sse.split(|byte| *byte == b'\n') {
        let Some(data) = line.strip_prefix(b"data: ") else { continue };
        let text = std::str::from_utf8(data).map_err(|_| unreadable("event is not UTF-8"))?;
        emit(anthropic::Event::parse(text).map_err(|error| malformed(&error))?);
    }
    Ok(())
}

/// What an answer says of itself.
#[derive(Clone, Default)]
pub(crate) struct Said {
    pub(crate) tokens: Option<Tokens>,
    /// The tier that served, where the answer itself names it; elsewhere headers do.
    pub(crate) tier: Option<ServiceTier>,
    pub(crate) stop_reason: Option<String>,
}

impl Said {
    /// Tells the admission what was used and which tier served.
    pub(crate) fn note(&self, admission: &mut Admission) {
        if let Some(tokens) = self.tokens {
            admission.used(tokens);
        }
        if let Some(tier) = self.tier {
            admission.served(tier);
        }
    }
}

/// A whole answer for the caller.
pub(crate) struct Answer {
    /// An answer that cannot be said in the caller's words is billed all the same.
    pub(crate) body: Result<Vec<u8>, ApiError>,
    pub(crate) said: Said,
}

impl Answer {
    /// Reads the answer to what was sent, and writes it as the caller speaks.
    pub(crate) fn new(sent: &Prepared, body: &[u8], reply: &Reply, voice: &Voice) -> Self {
        let read = match sent.way.lane() {
            Lane::Native => native::message(body, &reply.model, sent.hour_writes(), &sent.names)
                .map_err(|fault| unreadable(&fault.message))
                .map(|message| {
                    // Its usage is the upstream's, and tells of a tier where the upstream does.
                    let said = Said { tokens: tokens(message.usage), ..Said::default() };
                    Self { body: voice.relayed(message.body, sent.tier), said }
                }),
            Lane::Converse => Self::converted(sent, body, reply)
                .map(|(message, said)| Self { body: voice.message(&message), said }),
        };
        read.unwrap_or_else(|error| Self { body: Err(error), said: Said::default() })
    }

    /// A whole Converse answer as the events of the stream that was asked for, for models that do not stream what they do.
    pub(crate) fn unfolded(
        sent: &Prepared,
        body: &[u8],
        reply: &Reply,
        emit: &mut impl FnMut(anthropic::Event<'_>),
    ) -> Result<Said, ApiError> {
        let (message, said) = Self::converted(sent, body, reply)?;
        unfold(message, emit);
        Ok(said)
    }

    fn converted(
        sent: &Prepared,
        body: &[u8],
        reply: &Reply,
    ) -> Result<(anthropic::response::Message, Said), ApiError> {
        let mut message =
            converse::response(body, &sent.names, reply).map_err(|fault| unreadable(&fault.message))?;
        let stop_reason = message.stop_reason.as_ref().map(|reason| reason.as_str().to_owned());
        let tokens = tokens(Usage::from_anthropic(&message.usage));
        let served = message.usage.service_tier.get_or_insert_with(|| sent.tier.reported().to_owned());
        let tier = ServiceTier::from_reported(served);
        Ok((message, Said { tokens, tier, stop_reason }))
    }
}

pub(crate) fn tokens(usage: Usage) -> Option<Tokens> {
    usage.reported.then_some(Tokens {
        input: usage.input,
        output: usage.output,
        cache_read: usage.cache_read,
        cache_write_5m: usage.cache_write_5m,
        cache_write_1h: usage.cache_write_1h,
        reasoning: usage.reasoning,
    })
}

pub(crate) fn unreadable(message: &str) -> ApiError {
    tracing::warn!(message, "the upstream's answer could not be read");
    ApiError::new(Kind::BadGateway, "The upstream's answer could not be read")
}

/// An answer that is not of the form that it should have.
pub(crate) fn malformed(error: &serde_json::Error) -> ApiError {
    unreadable(&place(error))
}

/// Where it is not. The error's own text may quote the answer, which is not for logs.
fn place(error: &serde_json::Error) -> String {
    format!("{:?} error at line {}, column {}", error.classify(), error.line(), error.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_logged_of_a_malformed_answer_quotes_none_of_it() {
        let event = r#"{"type":"message_start","message":"heliotrope"}"#;
        let error = anthropic::Event::parse(event).unwrap_err();
        assert!(error.to_string().contains("heliotrope"));
        assert_eq!(place(&error), "Data error at line 1, column 46");
    }
}
