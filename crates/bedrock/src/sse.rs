//! [Server-sent events](https://html.spec.whatwg.org/multipage/server-sent-events.html) as the Messages API streams them:
//! found and taken apart without a copy. Lines end with LF or CRLF, which is all that anybody sends.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

use crate::error::{Error, Kind};
use crate::eventstream::{Frame, LARGEST};

/// The length of the event that `bytes` begin with, its empty line included, once that is there. `scanned` says how far
/// earlier looks have come: an event that arrives in many pieces is not searched anew each time.
pub(crate) fn event_length(bytes: &[u8], scanned: &mut usize) -> Result<Option<usize>, Error> {
    while let Some(found) = memchr::memchr(b'\n', bytes.get(*scanned..).unwrap_or_default()) {
        let next = *scanned + found + 1;
        match bytes.get(next..) {
            Some([b'\n', ..]) => return Ok(Some(next + 1)),
            Some([b'\r', b'\n', ..]) => return Ok(Some(next + 2)),
            // What follows the line end decides, and is not here yet.
            Some([] | [b'\r']) | None => {
                *scanned = next - 1;
                return Ok(None);
            }
            Some(_) => *scanned = next,
        }
    }
    *scanned = bytes.len();
    if bytes.len() > LARGEST {
        return Err(Error::new(Kind::Protocol, "Bedrock's stream cannot be read: an event is too long"));
    }
    Ok(None)
}

/// Reads a whole event; nothing where it carries no data, such as a comment that keeps the connection alive.
pub(crate) fn read(event: Bytes) -> Result<Option<Frame>, Error> {
    let mut name: Cow<'static, str> = Cow::Borrowed("");
    let mut data: Vec<Range<usize>> = Vec::with_capacity(1);
    let mut at = 0;
    for line in event.split(|byte| *byte == b'\n') {
        let begin = at;
        at += line.len() + 1;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if let Some(value) = value(line, b"event") {
            name = known(value);
        } else if let Some(value) = value(line, b"data") {
            let start = begin + (line.len() - value.len());
            data.push(start..start + value.len());
        }
    }
    let payload = match data.as_slice() {
        [] => return Ok(None),
        [one] => event.slice(one.clone()),
        several => {
            let lines: Vec<&[u8]> = several.iter().map(|line| &event[line.clone()]).collect();
            Bytes::from(lines.join(&b'\n'))
        }
    };
    if name == "error" {
        return Err(Error::from_error_event(&payload));
    }
    Ok(Some(Frame { event_type: name, payload, whole: event }))
}

/// The value of a line's field. One space behind the colon belongs to the framing, and may be missing.
fn value<'l>(line: &'l [u8], field: &[u8]) -> Option<&'l [u8]> {
    let rest = line.strip_prefix(field)?.strip_prefix(b":")?;
    Some(rest.strip_prefix(b" ").unwrap_or(rest))
}

/// The events of every stream cost no allocation.
fn known(name: &[u8]) -> Cow<'static, str> {
    const KNOWN: &[&str] = &[
        "content_block_delta",
        "content_block_start",
        "content_block_stop",
        "message_start",
        "message_delta",
        "message_stop",
        "ping",
        "error",
    ];
    match KNOWN.iter().find(|known| known.as_bytes() == name) {
        Some(known) => Cow::Borrowed(known),
        None => Cow::Owned(String::from_utf8_lossy(name).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the pieces and returns the names and payloads of what came out.
    fn decode(pieces: &[&[u8]]) -> Result<Vec<(String, String)>, Error> {
        let (mut buffer, mut scanned, mut out) = (Vec::new(), 0, Vec::new());
        for piece in pieces {
            buffer.extend_from_slice(piece);
            while let Some(length) = event_length(&buffer, &mut scanned)? {
                let event: Vec<u8> = buffer.drain(..length).collect();
                scanned = 0;
                if let Some(frame) = read(event.into())? {
                    let payload = String::from_utf8_lossy(&frame.payload).into_owned();
                    out.push((frame.event_type.into_owned(), payload));
                }
            }
        }
        Ok(out)
    }

    const WIRE: &[u8] = b"event: message_start\r\ndata: {\"a\":1}\r\n\r\n: alive\n\nevent:novelty\ndata:{\"b\":\ndata: 2}\n\n\
                          data: {\"c\":3}\nid: 7\n\n";

    #[test]
    fn events_come_out_the_same_wherever_they_are_cut() {
        let whole = decode(&[WIRE]).unwrap();
        let told: Vec<_> = whole.iter().map(|(name, data)| (name.as_str(), data.as_str())).collect();
        assert_eq!(told, [("message_start", "{\"a\":1}"), ("novelty", "{\"b\":\n2}"), ("", "{\"c\":3}")]);
        for first in 0..=WIRE.len() {
            for second in first..=WIRE.len() {
                let pieces = [&WIRE[..first], &WIRE[first..second], &WIRE[second..]];
                assert_eq!(decode(&pieces).unwrap(), whole, "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn an_event_without_its_empty_line_is_not_there_yet() {
        assert!(decode(&[b"event: ping\ndata: {}\n"]).unwrap().is_empty());
    }

    #[test]
    fn an_error_event_is_the_error_it_tells_of() {
        let told = b"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
        let error = decode(&[told]).unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (Kind::ServiceUnavailable, "Overloaded"));
    }
}
