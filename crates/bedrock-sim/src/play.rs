//! Plays a stream: events become bytes, faults become what goes wrong with them.
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::StreamExt as _;
use httpd::{Abort, Body, Peer};

use crate::fault::{Fault, Place};
use crate::frames::{self, Kind};
use crate::json::quoted;

/// One event: its name and its payload.
pub(crate) struct Event {
    pub(crate) name: &'static str,
    pub(crate) payload: String,
}

/// How events stand on the wire.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    /// `application/vnd.amazon.eventstream`.
    Frames,
    /// `text/event-stream`, of the native Messages route.
    Sse,
}

/// What happens next on the connection.
enum Step {
    Write(Bytes),
    Wait(Duration),
    Reset,
}

/// How to play.
pub(crate) struct Pace {
    /// Between events.
    pub(crate) delay: Duration,
    /// All events that need no waiting in one write.
    pub(crate) gather: bool,
}

/// Makes the body of a streamed answer.
pub(crate) fn body(events: Vec<Event>, wire: Wire, faults: &[Fault], pace: &Pace, peer: Peer) -> Body {
    if faults.is_empty() && pace.delay.is_zero() {
        return plain(&events, wire, pace.gather);
    }
    let steps = steps(&reshaped(events, faults), wire, faults, pace);
    Body::stream(futures::stream::iter(steps).filter_map(move |step| {
        let peer = peer.clone();
        async move {
            match step {
                Step::Write(bytes) => Some(Ok(bytes)),
                Step::Wait(time) => {
                    tokio::time::sleep(time).await;
                    None
                }
                Step::Reset => {
                    peer.reset_on_close();
                    Some(Err(Abort))
                }
            }
        }
    }))
}

fn plain(events: &[Event], wire: Wire, gather: bool) -> Body {
    let mut out = BytesMut::with_capacity(events.iter().map(|event| event.payload.len() + 112).sum());
    if gather {
        for event in events {
            encode(&mut out, event, wire);
        }
        return Body::stream(futures::stream::iter([Ok(out.freeze())]));
    }
    let pieces: Vec<Result<Bytes, Abort>> = events
        .iter()
        .map(|event| {
            encode(&mut out, event, wire);
            Ok(out.split().freeze())
        })
        .collect();
    Body::stream(futures::stream::iter(pieces))
}

fn encode(out: &mut BytesMut, event: &Event, wire: Wire) {
    match wire {
        Wire::Frames => frames::write(out, Kind::Event(event.name), event.payload.as_bytes()),
        Wire::Sse => {
            out.put_slice(b"event: ");
            out.put_slice(event.name.as_bytes());
            out.put_slice(b"\ndata: ");
            out.put_slice(event.payload.as_bytes());
            out.put_slice(b"\n\n");
        }
    }
}

/// Faults that change what the events are.
fn reshaped(mut events: Vec<Event>, faults: &[Fault]) -> Vec<Event> {
    for fault in faults {
        match fault {
            Fault::EmptyStart => {
                let start = r#"{"contentBlockIndex":0,"start":{},"p":"ab"}"#.to_owned();
                events.insert(1.min(events.len()), Event { name: "contentBlockStart", payload: start });
            }
            Fault::UnknownEvent => {
                let payload = r#"{"news":{"of":["tomorrow"]},"p":"ab"}"#.to_owned();
                events.insert(1.min(events.len()), Event { name: "somethingNew", payload });
            }
            Fault::UnknownMember => {
                for event in &mut events {
                    event.payload.insert_str(1, r#""somethingNew":{"of":["tomorrow"]},"#);
                }
            }
            Fault::EmptyToolInput => {
                events.retain(|event| {
                    !event.payload.contains("\"toolUse\":{\"input\":")
                        && !event.payload.contains("input_json_delta")
                });
            }
            Fault::NoMetadata => events.retain(|event| event.name != "metadata"),
            Fault::Error { .. }
            | Fault::Html
            | Fault::MidStream { .. }
            | Fault::Reset(_)
            | Fault::Truncate(_)
            | Fault::Stall(..)
            | Fault::OneByteWrites
            | Fault::SplitUtf8
            | Fault::WrongChecksum(_) => {}
        }
    }
    events
}

/// Faults of one place in the stream, and how writes are cut.
fn steps(events: &[Event], wire: Wire, faults: &[Fault], pace: &Pace) -> Vec<Step> {
    let mut out = Vec::with_capacity(events.len());
    let count = events.len();
    for (index, event) in events.iter().enumerate() {
        let last_chance = |at: usize| at == index;
        if interrupt(&mut out, faults, wire, last_chance) {
            return cut(out, faults);
        }
        if index > 0 && !pace.delay.is_zero() {
            out.push(Step::Wait(pace.delay));
        }
        let mut bytes = BytesMut::new();
        encode(&mut bytes, event, wire);
        let wrong = |fault: &Fault| matches!(fault, Fault::WrongChecksum(at) if *at == index);
        if faults.iter().any(wrong)
            && let Some(last) = bytes.last_mut()
        {
            *last ^= 0xff;
        }
        out.push(Step::Write(bytes.freeze()));
    }
    interrupt(&mut out, faults, wire, |at| at >= count);
    cut(out, faults)
}

/// Adds what happens at this place; true when the stream ends there.
fn interrupt(out: &mut Vec<Step>, faults: &[Fault], wire: Wire, here: impl Fn(usize) -> bool) -> bool {
    for fault in faults {
        match fault {
            Fault::Stall(Place::Events(at), time) if here(*at) => out.push(Step::Wait(*time)),
            Fault::MidStream { exception, message, after } if here(*after) => {
                out.push(Step::Write(exception_frame(exception, message, wire)));
                return true;
            }
            Fault::Reset(Some(at)) if here(*at) => {
                // A reset overtakes what the peer has not read yet; the pause lets it read the events before.
                out.push(Step::Wait(Duration::from_millis(20)));
                out.push(Step::Reset);
                return true;
            }
            Fault::Truncate(at) if here(*at) => return true,
            Fault::Stall(..)
            | Fault::MidStream { .. }
            | Fault::Reset(_)
            | Fault::Truncate(_)
            | Fault::Error { .. }
            | Fault::Html
            | Fault::OneByteWrites
            | Fault::SplitUtf8
            | Fault::EmptyStart
            | Fault::UnknownEvent
            | Fault::UnknownMember
            | Fault::EmptyToolInput
            | Fault::NoMetadata
            | Fault::WrongChecksum(_) => {}
        }
    }
    false
}

fn exception_frame(exception: &str, message: &str, wire: Wire) -> Bytes {
    let mut out = BytesMut::new();
    match wire {
        Wire::Frames => {
            let payload = format!("{{\"message\":{}}}", quoted(message));
            frames::write(&mut out, Kind::Exception(exception), payload.as_bytes());
        }
        Wire::Sse => {
            let message = quoted(message);
            out.put_slice(
                format!("event: error\ndata: {{\"type\":\"error\",\"error\":{{\"type\":\"api_error\",\"message\":{message}}}}}\n\n")
                    .as_bytes(),
            );
        }
    }
    out.freeze()
}

/// Cuts the writes into the pieces that a fault asks for.
fn cut(steps: Vec<Step>, faults: &[Fault]) -> Vec<Step> {
    let single = faults.contains(&Fault::OneByteWrites);
    if !single && !faults.contains(&Fault::SplitUtf8) {
        return steps;
    }
    let mut out = Vec::with_capacity(steps.len() * 4);
    for step in steps {
        let Step::Write(bytes) = step else {
            out.push(step);
            continue;
        };
        let mut rest = bytes;
        while !rest.is_empty() {
            // 10xxxxxx continues a character, so a write that begins with it has cut one.
            let inside =
                rest.iter().skip(1).position(|byte| byte & 0xc0 == 0x80).map_or(rest.len(), |at| at + 1);
            let length = if single { 1 } else { inside };
            out.push(Step::Write(rest.split_to(length)));
        }
    }
    out
}
