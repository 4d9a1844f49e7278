//! A stream of events, read as they come.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::BytesMut;
use http::HeaderMap;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};

use crate::error::{Error, Kind};
use crate::eventstream::{self, Frame};
use crate::http1::{Body, Connection, Head, reset};
use crate::pool::Pool;
use crate::sse;

/// How the events of a stream are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// `application/vnd.amazon.eventstream`.
    EventStream,
    /// `text/event-stream`.
    Sse,
}

impl Framing {
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::EventStream => "application/vnd.amazon.eventstream",
            Self::Sse => "text/event-stream",
        }
    }

    /// The framing that a content type stands for.
    pub(crate) fn of(content_type: &[u8]) -> Option<Self> {
        let names = |framing: &Self| {
            let name = framing.media_type().as_bytes();
            content_type.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
        };
        [Self::EventStream, Self::Sse].into_iter().find(names)
    }
}

/// An answer that streams. Dropping it closes the upstream connection at once; reading it to its end gives the
/// connection back.
pub struct EventStream {
    /// Gone after the end and after an error.
    connection: Option<Connection>,
    body: Body,
    keep_alive: bool,
    framing: Framing,
    /// How far the undecided part of the buffer was searched for the end of an event.
    scanned: usize,
    pool: Arc<Pool>,
    /// The first frame, which was read to see that the stream is good.
    peeked: Option<Frame>,
    silence: Silence,
    request_id: Option<String>,
    headers: HeaderMap,
    pub(crate) attempts: u32,
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

impl EventStream {
    pub(crate) fn new(
        connection: Connection,
        head: Head,
        framing: Framing,
        pool: Arc<Pool>,
        idle: Duration,
    ) -> Self {
        Self {
            connection: Some(connection),
            body: head.body,
            keep_alive: head.keep_alive,
            framing,
            scanned: 0,
            pool,
            peeked: None,
            silence: Silence { limit: idle, since: None, alarm: None },
            request_id: head.request_id,
            headers: head.headers,
            attempts: 0,
            permit: None,
        }
    }

    /// `x-amzn-RequestId`.
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// How many attempts it took to begin.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The `x-amzn-bedrock-*` headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The next frame; none after a clean end. An error is the last thing that comes.
    ///
    /// Cancel-safe: nothing is lost when the future is dropped, so it may stand in a `select!` beside a timer. Silence
    /// counts from the first call that found nothing, over all calls until something comes.
    pub async fn next(&mut self) -> Option<Result<Frame, Error>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The next frame if it can be had without waiting: for gathering what is there before one write.
    ///
    /// None says that nothing is ready now, or that the stream has ended; [`next`](Self::next) tells which.
    pub fn next_ready(&mut self) -> Option<Result<Frame, Error>> {
        // The task is not to be woken for this; `next` puts its own waker in place again.
        let mut cx = Context::from_waker(Waker::noop());
        match self.poll_frame(&mut cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => None,
        }
    }

    /// Waits for the first frame without a limit of its own. An exception there is as good as a refusal.
    pub(crate) async fn peek(&mut self) -> Result<(), Error> {
        if let Some(connection) = &mut self.connection {
            // What came along with the head.
            self.body.advance(&mut connection.buffer).map_err(|error| self.named(error))?;
        }
        if let Some(first) = poll_fn(|cx| self.poll_frame(cx)).await {
            self.peeked = Some(first?);
        }
        Ok(())
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Error>>> {
        if let Poll::Ready(frame) = self.poll_frame(cx) {
            self.silence.since = None;
            return Poll::Ready(frame);
        }
        ready!(self.silence.poll_too_long(cx));
        self.connection = None;
        Poll::Ready(Some(Err(self.named(Error::new(Kind::IdleTimeout, "Bedrock's stream fell silent.")))))
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Error>>> {
        if let Some(frame) = self.peeked.take() {
            return Poll::Ready(Some(Ok(frame)));
        }
        let outcome = ready!(self.poll_outcome(cx));
        match &outcome {
            Some(Ok(_)) => {}
            Some(Err(_)) => self.connection = None,
            None => {
                if let Some(connection) = self.connection.take()
                    && self.keep_alive
                {
                    self.pool.put(connection);
                }
            }
        }
        Poll::Ready(outcome.map(|frame| frame.map_err(|error| self.named(error))))
    }

    fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Error>>> {
        let Some(connection) = &mut self.connection else { return Poll::Ready(None) };
        loop {
            let found = find(&mut self.body, &mut connection.buffer, self.framing, &mut self.scanned);
            let missing = match found {
                Ok(Found::Frame(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(Found::End) => return Poll::Ready(None),
                Ok(Found::Missing(bytes)) => bytes,
                Ok(Found::Comment) => {
                    self.silence.since = None;
                    continue;
                }
                Err(error) => return Poll::Ready(Some(Err(error))),
            };
            let filled = match ready!(connection.poll_fill(cx, missing)) {
                // An end that the framing does not know of is a death, whatever came before.
                Ok(0) if !self.body.close() => Err(reset(&std::io::ErrorKind::UnexpectedEof.into())),
                Ok(0) => continue,
                Ok(_) => self.body.advance(&mut connection.buffer),
                Err(error) => Err(reset(&error)),
            };
            self.silence.since = None;
            if let Err(error) = filled {
                return Poll::Ready(Some(Err(error)));
            }
        }
    }

    fn named(&self, mut error: Error) -> Error {
        error.request_id.clone_from(&self.request_id);
        error.attempts = self.attempts;
        error
    }
}

/// What stands at the beginning of what was read.
pub(crate) enum Found {
    Frame(Frame),
    /// The upstream lives, and that is all it says.
    Comment,
    /// The body has ended, and with it the stream.
    End,
    /// So many bytes are known to be missing.
    Missing(u64),
}

/// Takes the next frame off the buffer, if all of it is there.
#[inline]
pub(crate) fn find(
    body: &mut Body,
    buffer: &mut BytesMut,
    framing: Framing,
    scanned: &mut usize,
) -> Result<Found, Error> {
    let ready = &buffer[..body.ready()];
    let known = match framing {
        Framing::EventStream => eventstream::frame_length(ready)?,
        Framing::Sse => sse::event_length(ready, scanned)?,
    };
    if let Some(length) = known.filter(|length| *length <= ready.len()) {
        *scanned = 0;
        let frame = body.take(buffer, length);
        return match framing {
            Framing::EventStream => eventstream::read(frame).map(Found::Frame),
            Framing::Sse => Ok(sse::read(frame)?.map_or(Found::Comment, Found::Frame)),
        };
    }
    if !body.is_whole() {
        return Ok(Found::Missing(known.map_or(0, |length| length - ready.len()) as u64));
    }
    match ready.len() {
        0 => Ok(Found::End),
        _ => Err(Error::new(Kind::Reset, "Bedrock's stream ended inside an event.")),
    }
}

impl std::fmt::Debug for EventStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventStream")
            .field("request_id", &self.request_id)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

/// The idle timeout. The alarm is set once and moved only when it rings: events come far more often than it does.
struct Silence {
    limit: Duration,
    since: Option<Instant>,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Silence {
    /// Ready when nothing came for the whole limit.
    fn poll_too_long(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        let since = *self.since.get_or_insert_with(Instant::now);
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(since + limit)));
        loop {
            ready!(alarm.as_mut().poll(cx));
            let due = since + limit;
            if Instant::now() >= due {
                return Poll::Ready(());
            }
            alarm.as_mut().reset(due);
        }
    }
}
