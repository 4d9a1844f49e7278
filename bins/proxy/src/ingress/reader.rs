//! The frames of one stream on their way: relayed as they came and read in passing, or translated.

use bedrock::{Frame, Operation};
use catalog::ServiceTier;
use convert::native;
use convert::usage::Usage;

use super::{frames, usage};
use crate::answer::{self, Decoder, Said};
use crate::error::ApiError;

/// What stands between the upstream's frames and the caller's.
pub(super) enum Reader {
    /// Messages events in chunks. The relay only reads here; what it writes is dropped.
    Messages { relay: Box<native::Relay>, unused: Vec<u8> },
    /// Chunks of another format: only Bedrock's own count is read.
    Chunks(Usage),
    /// Converse.
    Converse { usage: Usage, tier: Option<ServiceTier>, stopped: bool },
    /// A Messages body for a model that is spoken to through Converse: its events become chunks.
    Translated { decoder: Box<Decoder>, events: Vec<u8> },
}

impl Reader {
    /// For frames that are relayed. `messages` says that the body was one of the Messages API.
    pub(super) fn relaying(operation: Operation, messages: bool, hour_writes: bool) -> Self {
        match operation {
            Operation::Converse | Operation::ConverseStream => {
                Self::Converse { usage: Usage::default(), tier: None, stopped: false }
            }
            Operation::InvokeModel
            | Operation::InvokeModelWithResponseStream
            | Operation::Messages { .. }
                if messages =>
            {
                Self::Messages {
                    relay: Box::new(native::Relay::new("").with_hour_writes(hour_writes)),
                    unused: Vec::new(),
                }
            }
            Operation::InvokeModel
            | Operation::InvokeModelWithResponseStream
            | Operation::Messages { .. }
            | Operation::CountTokens => Self::Chunks(Usage::default()),
        }
    }

    pub(super) fn translating(decoder: Decoder) -> Self {
        Self::Translated { decoder: Box::new(decoder), events: Vec::new() }
    }

    /// Takes a frame in and appends the caller's to `out`.
    pub(super) fn take(&mut self, frame: &Frame, out: &mut Vec<u8>) -> Result<(), ApiError> {
        match self {
            Self::Messages { relay, unused } => {
                out.extend_from_slice(&frame.whole);
                unused.clear();
                // What cannot be read has been relayed all the same.
                if frame.event_type == "chunk" && relay.on_chunk(&frame.payload, unused).is_err() {
                    tracing::debug!("a chunk of a relayed stream could not be read");
                }
                Ok(())
            }
            Self::Chunks(seen) => {
                out.extend_from_slice(&frame.whole);
                if let Some(said) = usage::chunk(&frame.payload) {
                    *seen = said;
                }
                Ok(())
            }
            Self::Converse { usage: seen, tier, stopped } => {
                out.extend_from_slice(&frame.whole);
                *stopped |= frame.event_type == "messageStop";
                if frame.event_type == "metadata"
                    && let Some((used, served)) = usage::metadata(&frame.payload)
                {
                    seen.merge(used);
                    *tier = served.or(*tier);
                }
                Ok(())
            }
            Self::Translated { decoder, events } => {
                events.clear();
                decoder.on_frame(frame, events)?;
                reframe(events, out);
                Ok(())
            }
        }
    }

    /// The upstream has ended the stream: whether it had said everything.
    pub(super) fn end(&mut self, out: &mut Vec<u8>) -> Result<(), ApiError> {
        let whole = match self {
            Self::Messages { relay, .. } => relay.finished(),
            Self::Chunks(_) => true,
            Self::Converse { stopped, .. } => *stopped,
            Self::Translated { decoder, events } => {
                events.clear();
                decoder.on_end(events)?;
                reframe(events, out);
                true
            }
        };
        if whole { Ok(()) } else { Err(answer::unreadable("the stream ended before the message did")) }
    }

    /// What the upstream has said so far.
    pub(super) fn said(&self) -> Said {
        match self {
            Self::Messages { relay, .. } => Said { tokens: answer::tokens(relay.usage()), ..Said::default() },
            Self::Chunks(usage) => Said { tokens: answer::tokens(*usage), ..Said::default() },
            Self::Converse { usage, tier, .. } => {
                Said { tokens: answer::tokens(*usage), tier: *tier, ..Said::default() }
            }
            Self::Translated { decoder, .. } => decoder.said(),
        }
    }
}

/// Server-sent events as chunks: the data of each is one event.
fn reframe(events: &[u8], out: &mut Vec<u8>) {
    let text = String::from_utf8_lossy(events);
    for line in text.lines() {
        if let Some(data) = line.strip_prefix("data: ") {
            frames::chunk(out, data.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_becomes_a_chunk_of_its_own() {
        let mut out = Vec::new();
        reframe(b"event: a\ndata: {\"x\":1}\n\nevent: b\ndata: {}\n\n", &mut out);
        let text = String::from_utf8_lossy(&out);
        assert_eq!(text.matches("chunk").count(), 2);
        assert!(text.contains(r#"{"bytes":"eyJ4IjoxfQ=="}"#) && text.contains(r#"{"bytes":"e30="}"#));
    }
}
