//! [Event-stream frames](https://smithy.io/2.0/aws/amazon-eventstream.html): found, checked and split without a copy.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

use crate::error::{Error, Kind};

/// Two lengths and their checksum.
const PRELUDE: usize = 12;
/// The prelude and the checksum at the end.
const SMALLEST: usize = PRELUDE + 4;
/// As the SDKs cap them.
pub(crate) const LARGEST: usize = 24 * 1024 * 1024;
const LARGEST_HEADERS: usize = 128 * 1024;

/// One event of a stream. Prints without its payload.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// `:event-type`, the name of the union's member: `messageStart`, `chunk`; in a stream of SSE the event's name, empty
    /// where it has none. Known names cost no allocation.
    pub event_type: Cow<'static, str>,
    /// The payload, JSON, byte for byte.
    pub payload: Bytes,
    /// The whole frame as it came, for those who relay it unread. The payload is a part of it.
    pub whole: Bytes,
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("event_type", &self.event_type)
            .field("payload_length", &self.payload.len())
            .finish_non_exhaustive()
    }
}

fn unreadable(why: &str) -> Error {
    Error::new(Kind::Protocol, format!("Bedrock's stream cannot be read: {why}"))
}

fn length(bytes: &[u8], at: usize) -> Option<usize> {
    let word = bytes.get(at..at + 4)?.first_chunk()?;
    usize::try_from(u32::from_be_bytes(*word)).ok()
}

fn checksum(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.first_chunk().map(|word| u32::from_be_bytes(*word))
}

/// The length of the frame that `bytes` begin with, once its prelude is there. The prelude's own checksum is looked at
/// first: text that is no frame (`{"me` would be 2 GB) is not waited for.
pub(crate) fn frame_length(bytes: &[u8]) -> Result<Option<usize>, Error> {
    let (Some(total), Some(headers), Some(sum)) = (length(bytes, 0), length(bytes, 4), checksum(bytes, 8))
    else {
        return Ok(None);
    };
    if crc32fast::hash(&bytes[..8]) != sum {
        return Err(unreadable("a prelude's checksum is wrong"));
    }
    if !(SMALLEST..=LARGEST).contains(&total) || headers > LARGEST_HEADERS || headers > total - SMALLEST {
        return Err(unreadable("a frame's length is out of bounds"));
    }
    Ok(Some(total))
}

/// Reads a whole frame: an event, or the error that an exception frame stands for.
pub(crate) fn read(frame: Bytes) -> Result<Frame, Error> {
    let Some((headers, end)) = length(&frame, 4).zip(frame.len().checked_sub(4)) else {
        return Err(unreadable("a frame is too short"));
    };
    if checksum(&frame, end) != Some(crc32fast::hash(&frame[..end])) {
        return Err(unreadable("a frame's checksum is wrong"));
    }
    let block =
        frame.get(PRELUDE..PRELUDE + headers).ok_or_else(|| unreadable("a frame's headers are cut"))?;
    let names = Names::read(block)?;
    let payload = PRELUDE + headers..end;
    match names.message_type {
        b"event" => {
            let event_type = event_name(names.event_type)?;
            Ok(Frame { event_type, payload: frame.slice(payload), whole: frame })
        }
        b"exception" => Err(Error::from_exception(text(names.exception_type)?, &frame[payload])),
        b"error" => Err(Error::from_error_frame(text(names.error_code)?, text(names.error_message)?)),
        _ => Err(unreadable("a frame's type is unknown")),
    }
}

fn text(bytes: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(bytes).map_err(|_| unreadable("a frame's header is not UTF-8"))
}

fn event_name(bytes: &[u8]) -> Result<Cow<'static, str>, Error> {
    Ok(Cow::Borrowed(match bytes {
        b"chunk" => "chunk",
        b"contentBlockDelta" => "contentBlockDelta",
        b"contentBlockStart" => "contentBlockStart",
        b"contentBlockStop" => "contentBlockStop",
        b"messageStart" => "messageStart",
        b"messageStop" => "messageStop",
        b"metadata" => "metadata",
        b"" => return Err(unreadable("an event has no type")),
        other => return Ok(Cow::Owned(text(other)?.to_owned())),
    }))
}

/// The headers that say what a frame is; empty where they are absent.
#[derive(Default)]
struct Names<'a> {
    message_type: &'a [u8],
    event_type: &'a [u8],
    exception_type: &'a [u8],
    error_code: &'a [u8],
    error_message: &'a [u8],
}

impl<'a> Names<'a> {
    fn read(mut block: &'a [u8]) -> Result<Self, Error> {
        let mut names = Self::default();
        while !block.is_empty() {
            let (name, value, rest) =
                header(block).ok_or_else(|| unreadable("a frame's headers are malformed"))?;
            block = rest;
            let Some(value) = value else { continue };
            match name {
                b":message-type" => names.message_type = value,
                b":event-type" => names.event_type = value,
                b":exception-type" => names.exception_type = value,
                b":error-code" => names.error_code = value,
                b":error-message" => names.error_message = value,
                _ => {}
            }
        }
        Ok(names)
    }
}

/// A header's name, its value if that is a string, and what follows.
type Header<'a> = (&'a [u8], Option<&'a [u8]>, &'a [u8]);

fn header(block: &[u8]) -> Option<Header<'_>> {
    const STRING: u8 = 7;
    let (&name_length, rest) = block.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(name_length))?;
    let (&kind, rest) = rest.split_first()?;
    let (skip, length) = match kind {
        0 | 1 => (0, 0),
        2 => (0, 1),
        3 => (0, 2),
        4 => (0, 4),
        5 | 8 => (0, 8),
        9 => (0, 16),
        6 | STRING => (2, usize::from(u16::from_be_bytes(*rest.first_chunk()?))),
        _ => return None,
    };
    let (value, rest) = rest.get(skip..)?.split_at_checked(length)?;
    Some((name, (kind == STRING).then_some(value), rest))
}

#[cfg(test)]
mod tests;
