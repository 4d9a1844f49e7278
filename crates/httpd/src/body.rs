//! Bodies: replies that are sent whole or streamed, and requests that are read within limits.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::Stream;
use http_body::{Body as _, Frame, SizeHint};

use crate::RequestBody;
use crate::io::Busy;

/// Ends a streamed reply without its closing chunk, so that the caller sees a cut and not an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abort;

impl std::fmt::Display for Abort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the reply was cut on purpose")
    }
}

impl std::error::Error for Abort {}

/// The body of a reply.
pub struct Body {
    kind: Kind,
    /// Held until the last byte is handed over: the connection is busy for as long.
    pub(crate) busy: Option<Busy>,
}

enum Kind {
    Whole(Bytes),
    Stream(Pin<Box<dyn Stream<Item = Result<Bytes, Abort>> + Send>>),
}

impl Body {
    /// Nothing, with `content-length: 0`.
    #[must_use]
    pub fn empty() -> Self {
        Self::full(Bytes::new())
    }

    /// Bytes that are there already.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self { kind: Kind::Whole(bytes.into()), busy: None }
    }

    /// Bytes that come with time. Polled only when the socket takes more; flushed whenever the stream pauses, so
    /// items that are ready together leave together. Dropped when the caller leaves.
    pub fn stream(stream: impl Stream<Item = Result<Bytes, Abort>> + Send + 'static) -> Self {
        Self { kind: Kind::Stream(Box::pin(stream)), busy: None }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.kind {
            Kind::Whole(bytes) => write!(f, "Body({} bytes)", bytes.len()),
            Kind::Stream(_) => f.write_str("Body(stream)"),
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Abort;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        match &mut self.kind {
            Kind::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Kind::Stream(stream) => {
                let item = ready!(stream.as_mut().poll_next(cx));
                Poll::Ready(item.map(|item| item.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.kind, Kind::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Stream(_) => SizeHint::default(),
        }
    }
}

/// Why a request body could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// Longer than the limit, by its announced or by its real length.
    TooLarge,
    /// No byte came for the allowed gap.
    Stalled,
    /// The caller left, or its framing broke.
    Gone,
}

/// Reads a request body of at most `limit` bytes whose bytes come at most `gap` apart.
pub async fn read_body(mut body: RequestBody, limit: usize, gap: Duration) -> Result<Bytes, BodyError> {
    let announced = body.size_hint().exact().unwrap_or(0);
    if announced > limit as u64 {
        return Err(BodyError::TooLarge);
    }
    let mut first: Option<Bytes> = None;
    let mut whole = BytesMut::new();
    let mut timer = None;
    while let Some(frame) = next_frame(&mut body, &mut timer, gap).await? {
        let Ok(data) = frame.into_data() else { continue };
        let so_far = first.as_ref().map_or(whole.len(), Bytes::len);
        if so_far + data.len() > limit {
            return Err(BodyError::TooLarge);
        }
        // A body that came in one piece is passed on as it is; the first copy is made for the second piece.
        match first.take() {
            None if whole.is_empty() => first = Some(data),
            None => whole.extend_from_slice(&data),
            Some(head) => {
                let expected = usize::try_from(announced).unwrap_or(0).max(head.len() + data.len());
                whole.reserve(expected);
                whole.extend_from_slice(&head);
                whole.extend_from_slice(&data);
            }
        }
    }
    Ok(first.unwrap_or_else(|| whole.freeze()))
}

type Timer = Option<Pin<Box<tokio::time::Sleep>>>;

async fn next_frame(
    body: &mut RequestBody,
    timer: &mut Timer,
    gap: Duration,
) -> Result<Option<Frame<Bytes>>, BodyError> {
    let mut waiting = false;
    poll_fn(|cx| {
        if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) {
            return Poll::Ready(frame.transpose().map_err(|_| BodyError::Gone));
        }
        // The timer exists only for bodies that make us wait.
        let deadline = tokio::time::Instant::now() + gap;
        let sleep = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if !std::mem::replace(&mut waiting, true) {
            sleep.as_mut().reset(deadline);
        }
        sleep.as_mut().poll(cx).map(|()| Err(BodyError::Stalled))
    })
    .await
}
