//! A ConverseStream becomes a Messages stream.
//!
//! [`Machine`] turns events into events and can stand in front of another machine; [`Stream`] is the machine with
//! payloads in and SSE bytes out. Whatever the upstream leaves out, the caller sees one `message_start`, blocks
//! numbered from 0 without gaps, a `message_delta` with a stop reason and all usage, and `message_stop`; or an
//! `error` event at any point, after which nothing follows.
//!
//! Converse keys its deltas by block index, announces only tool calls, and is not followed to the letter by every
//! model: indices skip, several blocks share index 0, stops are missing. Text and thinking are closed as soon as
//! another block begins, because clients expect one open block and a split of prose loses nothing. A tool call stays
//! open until its own stop: calls may be interleaved, and half a call's JSON is worth nothing.

mod block;
mod machine;

use catalog::ServiceTier;
use protocol::anthropic::Event;
use protocol::anthropic::response as anthropic;
use protocol::converse::event::StreamEvent;

use super::response::{self, Fault, Reply};
use crate::Names;
use crate::usage::Usage;

pub use machine::Machine;

/// The machine with Bedrock's payloads in and SSE bytes out.
#[derive(Debug)]
pub struct Stream {
    machine: Machine,
}

impl Stream {
    /// A stream of which nothing has come yet.
    pub fn new(names: Names, reply: Reply) -> Self {
        Self { machine: Machine::new(names, reply) }
    }

    /// See [`Machine::with_tier`].
    #[must_use]
    pub fn with_tier(mut self, tier: ServiceTier) -> Self {
        self.machine = self.machine.with_tier(tier);
        self
    }

    /// Takes an event (`event_type` is the frame's `:event-type`) and appends what the caller gets for it.
    ///
    /// After a fault the answer cannot be continued: end it with [`Self::on_error`].
    pub fn on_event(&mut self, event_type: &str, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        self.on_event_to(event_type, payload, &mut |event: Event<'_>| event.write_sse(out))
    }

    /// The same with the events themselves, for another machine behind this one.
    pub fn on_event_to(
        &mut self,
        event_type: &str,
        payload: &[u8],
        emit: &mut impl FnMut(Event<'_>),
    ) -> Result<(), Fault> {
        match StreamEvent::parse(event_type, payload) {
            Ok(event) => self.machine.on(event, emit),
            Err(error) => {
                let mended = response::mended(payload).ok_or_else(|| Fault::malformed("event", &error))?;
                let event = StreamEvent::parse(event_type, &mended);
                self.machine.on(event.map_err(|error| Fault::malformed("event", &error))?, emit)
            }
        }
    }

    /// The upstream has closed. An answer that is not complete ends with an `error` event, and is a fault.
    pub fn on_end(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        self.machine.on_end(&mut |event: Event<'_>| event.write_sse(out))
    }

    /// The upstream has failed: appends an `error` event, unless the answer is complete.
    pub fn on_error(&mut self, kind: &str, message: &str, out: &mut Vec<u8>) {
        let body = anthropic::ErrorBody::new(kind, message);
        self.machine.on_error(body, &mut |event: Event<'_>| event.write_sse(out));
    }

    /// What lies under the bytes: usage, stop reason, losses.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// See [`Machine::usage`].
    pub fn usage(&self) -> Usage {
        self.machine.usage()
    }

    /// See [`Machine::finished`].
    pub fn finished(&self) -> bool {
        self.machine.finished()
    }
}
