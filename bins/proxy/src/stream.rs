//! A streamed answer: relayed as it comes, kept alive in silence, ended with an error event when it breaks.

use std::future::Future;
use std::pin::{Pin, pin};
use std::time::{Duration, Instant};

use async_stream::stream;
use bedrock::{EventStream, Frame};
use bytes::Bytes;
use convert::converse::Reply;
use futures::Stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use httpd::{Abort, Body, Response};
use policy::{Admission, End};
use store::RowStatus;

use crate::answer::{Answer, Decoder, Said};
use crate::debug::Debug;
use crate::error::{ApiError, Kind};
use crate::gateway::{Gateway, Held};
use crate::handle::Context;
use crate::lane::Prepared;
use crate::messages::{failure, note_failed};
use crate::quiet::{Met, Quiet};
use crate::record::Record;
use crate::refusal::api_error;
use crate::request_id::RequestId;
use crate::tiers;
use crate::upstream::{Answered, Job, Opened};
use crate::voice::{Speaker, Voice};

/// Events that are ready together leave in one write, up to about this size.
pub(crate) const GATHER_BYTES: usize = 32 * 1024;
/// How long the end of an upstream's answer may take once its last event is here.
const READ_OUT: Duration = Duration::from_millis(100);
/// How events that carry content begin, and the bytes of one that frame its text; for the estimate of an answer that nobody
/// counted.
const CONTENT: &[u8] = b"event: content_block_";
const FRAMING_BYTES: usize = 114;

/// A stream that is about to be opened.
pub(crate) struct Opening {
    pub(crate) job: Job,
    pub(crate) prepared: Prepared,
    pub(crate) reply: Reply,
    pub(crate) debug: Option<Debug>,
    pub(crate) voice: Voice,
}

type Pending = Pin<Box<dyn Future<Output = Result<Answered<Opened>, ApiError>> + Send>>;

/// Opens the upstream's stream and answers with it. An upstream that fails within the ping interval is answered with its
/// own status; one that takes longer is waited for under a 200, with pings.
pub(crate) async fn reply(
    gateway: &Gateway,
    context: &Context,
    mut admission: Admission,
    record: &mut Record,
    opening: Opening,
    held: Held,
) -> Result<Response, ApiError> {
    let interval = gateway.shared.settings.listen.ping_interval.0;
    let Opening { job, prepared, reply, debug, voice } = opening;
    let facts = Facts {
        id: context.id,
        gateway: gateway.clone(),
        interval,
        surface: voice.surface(),
        ping: voice.ping(),
        resolution: job.resolution.clone(),
        input_estimate: job.input_estimate,
        _held: held,
    };
    let (first, tier) = (job.first(&prepared), prepared.tier);
    let mut pending: Pending = Box::pin(job.open(prepared));
    let source = match tokio::time::timeout(interval, &mut pending).await {
        Ok(Ok(answered)) => Source::Open(Box::new(answered)),
        Ok(Err(error)) => {
            note_failed(&error, &mut admission, record);
            admission.settle(failure(&error), Instant::now());
            return Err(error);
        }
        Err(_) => Source::Pending(pending),
    };
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    if let Some(debug) = debug {
        match &source {
            Source::Open(answered) => {
                let opened = &answered.reply;
                let tier = tiers::served(opened.headers()).unwrap_or(answered.prepared.tier);
                debug.apply(headers, &answered.served, tier, answered.attempts, opened.request_id());
            }
            Source::Pending(_) => debug.apply(headers, &first, tier, 0, None),
        }
    }
    let relay = Relay {
        facts,
        admission: Some(admission),
        record: record.take_for_stream(),
        reading: Reading::Nothing(reply),
        speaker: voice.speaker(),
        out: Vec::new(),
    };
    *response.body_mut() = Body::stream(relay.run(source));
    Ok(response)
}

enum Source {
    Open(Box<Answered<Opened>>),
    Pending(Pending),
}

/// How far the answer has come.
enum Reading {
    /// Nothing has come: what the machine will need.
    Nothing(Reply),
    /// Events come.
    Events(Decoder),
    /// It came whole.
    Whole(Said),
}

impl Reading {
    fn finished(&self) -> bool {
        match self {
            Self::Nothing(_) => false,
            Self::Events(decoder) => decoder.finished(),
            Self::Whole(_) => true,
        }
    }

    fn said(&self) -> Said {
        match self {
            Self::Nothing(_) => Said::default(),
            Self::Events(decoder) => decoder.said(),
            Self::Whole(said) => said.clone(),
        }
    }
}

/// What stays the same over a stream.
struct Facts {
    id: RequestId,
    gateway: Gateway,
    interval: Duration,
    surface: &'static str,
    ping: &'static [u8],
    resolution: catalog::Resolution,
    input_estimate: u64,
    _held: Held,
}

/// A stream on its way. Dropped before its end, it belongs to a caller that left: the admission books what was used.
struct Relay {
    facts: Facts,
    admission: Option<Admission>,
    record: Record,
    reading: Reading,
    /// For callers who hear the answer in other words than the Messages API's.
    speaker: Option<Box<Speaker>>,
    out: Vec<u8>,
}

impl Relay {
    fn run(mut self, source: Source) -> impl Stream<Item = Result<Bytes, Abort>> + Send {
        stream! {
            let mut quiet = Quiet::new(self.facts.interval, self.facts.gateway.shared.phase.clone());
            let answered = match source {
                Source::Open(answered) => *answered,
                Source::Pending(mut pending) => loop {
                    // The first interval has passed before the headers went out.
                    yield Ok(self.ping());
                    match quiet.during(&mut pending).await {
                        Met::Came(Ok(answered)) => break answered,
                        Met::Came(Err(error)) => {
                            if let Some(admission) = &mut self.admission {
                                note_failed(&error, admission, &mut self.record);
                            }
                            yield Ok(self.failed(&error));
                            return;
                        }
                        Met::Silence => {}
                        Met::Ending => {
                            yield Ok(self.failed(&ending()));
                            return;
                        }
                    }
                },
            };
            let Some(mut events) = self.opened(answered) else {
                yield Ok(self.flush());
                if let Some(end) = self.conclude().await {
                    yield Ok(end);
                }
                return;
            };
            loop {
                let met = quiet.during(pin!(events.next())).await;
                match met {
                    Met::Came(frame) => {
                        let go_on = self.take(frame) && self.gather(&mut events);
                        // What only moved a machine on was heard by nobody.
                        if !self.out.is_empty() {
                            quiet.broken();
                            yield Ok(self.flush());
                        }
                        if !go_on {
                            if let Some(end) = self.conclude().await {
                                yield Ok(end);
                            }
                            if self.reading.finished() {
                                read_out(&mut events).await;
                            }
                            return;
                        }
                    }
                    Met::Silence => yield Ok(self.ping()),
                    Met::Ending => {
                        yield Ok(self.failed(&ending()));
                        return;
                    }
                }
            }
        }
    }

    /// The upstream has answered; nothing more comes where it did so with a whole answer.
    fn opened(&mut self, answered: Answered<Opened>) -> Option<Box<EventStream>> {
        let Answered { reply: opened, mut prepared, served, attempts } = answered;
        if let Some(admission) = &mut self.admission {
            served.note(admission, &mut self.record);
            admission.answered(opened.request_id(), attempts);
            prepared.tier = tiers::answered(&self.facts.gateway, admission, &prepared, opened.headers());
        }
        if let Some(speaker) = &mut self.speaker {
            speaker.served(prepared.tier);
        }
        self.record.attempts(attempts);
        let Reading::Nothing(reply) = &self.reading else { return None };
        match opened {
            Opened::Stream(events) => {
                self.reading = Reading::Events(Decoder::new(prepared, reply.clone()));
                Some(events)
            }
            Opened::Whole(whole) => {
                let (out, speaker) = (&mut self.out, &mut self.speaker);
                let unfolded = Answer::unfolded(&prepared, &whole.body, reply, &mut |event| match speaker {
                    None => event.write_sse(out),
                    Some(speaker) => speaker.say(&event, out),
                });
                match unfolded {
                    Ok(said) => {
                        self.reading = Reading::Whole(said);
                        self.wrote(0);
                        self.complete();
                    }
                    Err(error) => self.fail(&error),
                }
                None
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
        let before = self.out.len();
        let Reading::Events(decoder) = &mut self.reading else { return false };
        let done = match (frame, &mut self.speaker) {
            (Some(Ok(frame)), None) => decoder.on_frame(&frame, &mut self.out).map(|()| decoder.finished()),
            (Some(Ok(frame)), Some(speaker)) => {
                speaker.frame(decoder, &frame, &mut self.out).map(|()| decoder.finished())
            }
            (Some(Err(error)), _) => {
                Err(api_error(&error, &self.facts.resolution, self.facts.input_estimate))
            }
            (None, None) => decoder.on_end(&mut self.out).map(|()| true),
            (None, Some(speaker)) => speaker.end(decoder, &mut self.out).map(|()| true),
        };
        self.wrote(before);
        match done {
            Ok(false) => true,
            Ok(true) => {
                self.complete();
                false
            }
            Err(error) => {
                self.fail(&error);
                false
            }
        }
    }

    /// Notes the content among what was written since `before`.
    fn wrote(&mut self, before: usize) {
        if let Some(speaker) = &mut self.speaker {
            if let Some(text) = speaker.take_content() {
                self.content(text);
            }
            return;
        }
        let mut written = self.out.get(before..).unwrap_or_default();
        if matches!(self.reading, Reading::Whole(_)) {
            // Its first event is none of content.
            let first = memchr::memmem::find(written, CONTENT).unwrap_or(written.len());
            written = written.get(first..).unwrap_or_default();
        }
        if written.starts_with(CONTENT) {
            // Each event is framed by three line ends; those of the text are escaped.
            let events = memchr::memchr_iter(b'\n', written).count() / 3;
            let text = written.len().saturating_sub(events * FRAMING_BYTES);
            self.content(text);
        }
    }

    fn content(&mut self, text: usize) {
        let now = Instant::now();
        if let Some(admission) = &mut self.admission {
            admission.content(text, now);
        }
        self.record.content(now);
    }

    fn complete(&mut self) {
        if let Some(speaker) = &mut self.speaker {
            speaker.complete(&mut self.out);
        }
        let stop_reason = self.reading.said().stop_reason;
        self.settle(End { status: RowStatus::Ok, http_status: 200, error_type: None, stop_reason });
    }

    /// The end of an answer that has to be kept before its caller reads that.
    async fn conclude(&mut self) -> Option<Bytes> {
        self.speaker.as_mut()?.conclude(&self.facts.gateway.shared, &mut self.out).await;
        (!self.out.is_empty()).then(|| self.flush())
    }

    fn fail(&mut self, error: &ApiError) {
        self.facts.gateway.metrics.stream_error(self.facts.surface);
        self.record.failed(error.kind);
        match &mut self.speaker {
            None => error.event(self.facts.id, &mut self.out),
            Some(speaker) => speaker.fail(error, self.facts.id, &mut self.out),
        }
        // Its headers went out before.
        self.settle(End { http_status: 200, ..failure(error) });
    }

    fn settle(&mut self, end: End) {
        self.record.ended();
        if let Some(mut admission) = self.admission.take() {
            self.reading.said().note(&mut admission);
            self.record.tokens(admission.settle(end, Instant::now()));
        }
    }

    fn failed(&mut self, error: &ApiError) -> Bytes {
        self.fail(error);
        self.flush()
    }

    fn ping(&self) -> Bytes {
        self.facts.gateway.metrics.ping(self.facts.surface);
        Bytes::from_static(self.facts.ping)
    }

    fn flush(&mut self) -> Bytes {
        Bytes::from(std::mem::take(&mut self.out))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // The caller left: what the upstream has reported so far is what gets booked.
        if let Some(admission) = &mut self.admission {
            self.reading.said().note(admission);
        }
    }
}

/// Reads what stands behind the message's end, the last chunk of the transport: a connection that is read to its end goes back
/// to the pool, and the next stream needs no new one. The caller has everything already.
async fn read_out(events: &mut EventStream) {
    let rest = async { while let Some(Ok(_)) = events.next().await {} };
    // An upstream that dawdles loses its connection; nobody waits for it.
    let _ = tokio::time::timeout(READ_OUT, rest).await;
}

/// What a stream ends with that outlives the drain.
pub(crate) fn ending() -> ApiError {
    ApiError::new(Kind::Overloaded, "The gateway is shutting down. Try again shortly.")
}
