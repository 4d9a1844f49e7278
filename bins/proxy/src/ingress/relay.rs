//! A stream of frames: relayed as they come, ended with an exception frame when it breaks. No pings: the format has
//! none, and the SDKs wait.

use std::time::Instant;

use async_stream::stream;
use bedrock::{EventStream, Frame};
use bytes::Bytes;
use futures::Stream;
use httpd::Abort;
use policy::{Admission, End};
use store::RowStatus;

use super::frames;
use super::reader::Reader;
use super::refused::Refused;
use crate::error::ApiError;
use crate::gateway::{Gateway, Held, Phase};
use crate::messages::failure;
use crate::record::Record;
use crate::stream::{self, GATHER_BYTES};

/// A stream on its way. Dropped before its end, it belongs to a caller that left: the admission books what was used.
pub(super) struct Relay {
    pub(super) gateway: Gateway,
    pub(super) admission: Option<Admission>,
    pub(super) record: Record,
    pub(super) reader: Reader,
    pub(super) input_estimate: u64,
    pub(super) out: Vec<u8>,
    pub(super) _held: Held,
}

impl Relay {
    pub(super) fn run(mut self, mut events: EventStream) -> impl Stream<Item = Result<Bytes, Abort>> + Send {
        stream! {
            let mut phase = self.gateway.shared.phase.clone();
            loop {
                let met = tokio::select! {
                    biased;
                    frame = events.next() => Some(frame),
                    _ = phase.wait_for(|phase| *phase == Phase::Ending) => None,
                };
                let go_on = if let Some(frame) = met {
                    self.take(frame) && self.gather(&mut events)
                } else {
                    self.ending()
                };
                if !self.out.is_empty() {
                    yield Ok(Bytes::from(std::mem::take(&mut self.out)));
                }
                if !go_on {
                    return;
                }
            }
        }
    }

    /// Takes what is there already, so that it leaves in the same write.
    fn gather(&mut self, events: &mut EventStream) -> bool {
        while self.out.len() < GATHER_BYTES {
            match events.next_ready() {
                Some(frame) => {
                    if !self.take(Some(frame)) {
                        return false;
                    }
                }
                None => break,
            }
        }
        true
    }

    /// Takes one frame in; false when the stream is over, with its last bytes in `out`.
    fn take(&mut self, frame: Option<Result<Frame, bedrock::Error>>) -> bool {
        match frame {
            Some(Ok(frame)) => {
                let now = Instant::now();
                if let Some(admission) = &mut self.admission {
                    admission.content(text_bytes(&frame), now);
                }
                self.record.content(now);
                match self.reader.take(&frame, &mut self.out) {
                    Ok(()) => true,
                    Err(error) => self.broken(&error, "internalServerException"),
                }
            }
            Some(Err(error)) => {
                if let Some(admission) = &self.admission {
                    let refused = Refused::new(&error, admission.resolution(), self.input_estimate);
                    refused.frame(&mut self.out);
                    self.fail(&refused.error);
                }
                false
            }
            None => match self.reader.end(&mut self.out) {
                Ok(()) => {
                    let end =
                        End { status: RowStatus::Ok, http_status: 200, error_type: None, stop_reason: None };
                    self.settle(end);
                    false
                }
                Err(error) => self.broken(&error, "internalServerException"),
            },
        }
    }

    fn ending(&mut self) -> bool {
        self.broken(&stream::ending(), "serviceUnavailableException")
    }

    /// Ends the stream with a frame of our own.
    fn broken(&mut self, error: &ApiError, name: &str) -> bool {
        frames::exception(&mut self.out, name, &error.message, None);
        self.fail(error);
        false
    }

    fn fail(&mut self, error: &ApiError) {
        self.gateway.metrics.stream_error("bedrock");
        self.record.failed(error.kind);
        // Its headers went out before.
        self.settle(End { http_status: 200, ..failure(error) });
    }

    fn settle(&mut self, end: End) {
        self.record.ended();
        if let Some(mut admission) = self.admission.take() {
            self.reader.said().note(&mut admission);
            self.record.tokens(admission.settle(end, Instant::now()));
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // The caller left: what the upstream has reported so far is what gets booked.
        if let Some(admission) = &mut self.admission {
            self.reader.said().note(admission);
        }
    }
}

/// About how much text a frame holds; only for the estimate of an answer that nobody counted.
fn text_bytes(frame: &Frame) -> usize {
    const FRAMING: usize = 100;
    let json = if frame.event_type == "chunk" { frame.payload.len() / 4 * 3 } else { frame.payload.len() };
    json.saturating_sub(FRAMING)
}
