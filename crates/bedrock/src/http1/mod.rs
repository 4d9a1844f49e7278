//! HTTP/1.1 towards one upstream: one exchange at a time on a connection, no task and no channel beside it.
//!
//! The general clients run a task for each connection and keep two buffers of 8 KiB or more; a gateway that waits on
//! thousands of silent streams pays for that. Here a connection is a socket and one buffer of 4 KiB, polled by the call
//! that uses it, and dropping the call drops the connection.

mod body;
mod head;

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::endpoint::Endpoint;
use crate::error::{Error, Kind};

pub(crate) use body::Body;
pub(crate) use head::{Head, Outgoing, Signer};

/// What an idle stream holds: enough for several events, small enough for thousands of streams.
const READ: usize = 4096;
/// The most that is read at once where a body is known to be long.
const READ_LONG: usize = 256 * 1024;
/// An answer that is not streamed may be this long; Bedrock's own limit for requests is 25 MB.
const LONGEST_BODY: usize = 64 * 1024 * 1024;

/// How connections are made: shared by all workers.
#[derive(Clone)]
pub(crate) struct Connector {
    pub(crate) endpoint: Arc<Endpoint>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    limit: Duration,
}

/// Whose certificates are believed. Kept once for all endpoints: the authorities of a system take megabytes.
#[derive(Clone)]
pub(crate) struct Trust(TlsConnector);

impl Trust {
    /// In the system's certificate authorities.
    pub(crate) fn native() -> Result<Self, Error> {
        let mut roots = rustls::RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if added == 0 {
            return Err(Error::new(
                Kind::Connect,
                "This system has no certificate authorities to check Bedrock's certificate with.",
            ));
        }
        Self::of(roots)
    }

    fn of(roots: rustls::RootCertStore) -> Result<Self, Error> {
        Ok(Self(TlsConnector::from(Arc::new(tls_config(roots)?))))
    }
}

impl Connector {
    /// `trust` may be absent where the endpoint needs none.
    pub(crate) fn new(endpoint: Endpoint, limit: Duration, trust: Option<&Trust>) -> Result<Self, Error> {
        let tls = match trust.filter(|_| endpoint.tls) {
            Some(Trust(connector)) => {
                let name = ServerName::try_from(endpoint.host.clone())
                    .map_err(|_| Error::new(Kind::Connect, "The Bedrock endpoint's host is not a name."))?;
                Some((connector.clone(), name))
            }
            None => None,
        };
        Ok(Self { endpoint: Arc::new(endpoint), tls, limit })
    }

    /// A new connection. The addresses are looked up each time: the upstream moves.
    pub(crate) async fn connect(&self) -> Result<Connection, Error> {
        match timeout(self.limit, self.open()).await {
            Ok(Ok(io)) => Ok(Connection { io, buffer: BytesMut::new(), grown: false, used: false }),
            Ok(Err(error)) => Err(Error::new(
                Kind::Connect,
                format!("The connection to Bedrock could not be made: {error}"),
            )),
            Err(_) => Err(Error::new(Kind::Connect, "The connection to Bedrock could not be made in time.")),
        }
    }

    async fn open(&self) -> io::Result<Io> {
        let found: Vec<_> =
            tokio::net::lookup_host((self.endpoint.host.as_str(), self.endpoint.port)).await?.collect();
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        let mut tcp = None;
        for (tried, address) in (0_u32..).zip(&found) {
            // An address that swallows packets must leave time for the others.
            let left = u32::try_from(found.len()).unwrap_or(u32::MAX).saturating_sub(tried).max(1);
            match timeout(self.limit / left, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    tcp = Some(stream);
                    break;
                }
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        let Some(tcp) = tcp else { return Err(last) };
        tcp.set_nodelay(true)?;
        match &self.tls {
            None => Ok(Io::Plain(tcp)),
            Some((connector, name)) => {
                let tls = connector.connect(name.clone(), tcp).await?;
                Ok(Io::Tls(Box::new(tls)))
            }
        }
    }
}

/// Ring, and HTTP/1.1 alone: a connection of its own for each call costs less than sharing one.
fn tls_config(roots: rustls::RootCertStore) -> Result<rustls::ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(Kind::Connect, format!("TLS could not be set up: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_read(cx, buf),
            Self::Tls(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl Io {
    fn poll_write(&mut self, cx: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(io) => Pin::new(io).poll_write_vectored(cx, parts),
            Self::Tls(io) => Pin::new(io).poll_write_vectored(cx, parts),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(io) => Pin::new(io).poll_flush(cx),
        }
    }
}

/// One connection and what was read from it and not yet used.
pub(crate) struct Connection {
    io: Io,
    pub(crate) buffer: BytesMut,
    /// Whether the buffer has grown beyond what a waiting connection may keep.
    grown: bool,
    /// Whether an earlier exchange used it.
    pub(crate) used: bool,
}

/// Why an exchange failed before there was an answer.
pub(crate) enum Broken {
    /// The connection ended before the first byte of an answer: on a used connection, the ordinary end of keep-alive.
    Unanswered(io::Error),
    /// Anything later.
    Failed(Error),
}

impl Broken {
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Unanswered(error) => reset(&error),
            Self::Failed(error) => error,
        }
    }
}

/// The upstream died.
pub(crate) fn reset(error: &io::Error) -> Error {
    Error::new(Kind::Reset, format!("The connection to Bedrock broke: {error}"))
}

impl Connection {
    /// Sends a request and reads the head of its answer.
    pub(crate) async fn exchange(&mut self, outgoing: &Outgoing<'_>) -> Result<Head, Broken> {
        let mut sent = 0;
        let sending = poll_fn(|cx| self.poll_send(cx, outgoing, &mut sent)).await;
        let answered = self.read_head().await;
        match (sending, answered) {
            (Ok(Sent::Whole), answered) => answered,
            // The upstream refuses without hearing us out, with 413 for one: its answer counts, its connection is spent.
            (Ok(Sent::Early) | Err(_), Ok(head)) => Ok(Head { keep_alive: false, ..head }),
            (Err(error), Err(Broken::Unanswered(_))) => Err(Broken::Unanswered(error)),
            (Ok(Sent::Early) | Err(_), Err(broken)) => Err(broken),
        }
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        outgoing: &Outgoing<'_>,
        sent: &mut usize,
    ) -> Poll<io::Result<Sent>> {
        let (head, body) = (&outgoing.head[..], outgoing.body);
        loop {
            let written = if *sent < head.len() + body.len() {
                let parts = [
                    io::IoSlice::new(&head[head.len().min(*sent)..]),
                    io::IoSlice::new(&body[sent.saturating_sub(head.len())..]),
                ];
                self.io.poll_write(cx, &parts)
            } else {
                match self.io.poll_flush(cx) {
                    Poll::Ready(Ok(())) => return Poll::Ready(Ok(Sent::Whole)),
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                    Poll::Pending => Poll::Pending,
                }
            };
            match written {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(length)) => *sent += length,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => break,
            }
        }
        match ready!(self.poll_fill(cx, 0))? {
            0 => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            _ => Poll::Ready(Ok(Sent::Early)),
        }
    }

    async fn read_head(&mut self) -> Result<Head, Broken> {
        let mut seen = 0;
        loop {
            // A head only ends at a line's end; not parsing before spares slow senders' bytes being read over and over.
            if memchr::memchr(b'\n', &self.buffer[seen.min(self.buffer.len())..]).is_some()
                && let Some(head) = Head::take(&mut self.buffer).map_err(Broken::Failed)?
            {
                return Ok(head);
            }
            seen = self.buffer.len();
            if seen > head::LONGEST {
                return Err(Broken::Failed(head::unreadable("its head is too long")));
            }
            let broken = match poll_fn(|cx| self.poll_fill(cx, 0)).await {
                Ok(0) => io::ErrorKind::UnexpectedEof.into(),
                Ok(_) => continue,
                Err(error) => error,
            };
            return Err(if seen == 0 { Broken::Unanswered(broken) } else { Broken::Failed(reset(&broken)) });
        }
    }

    /// Reads a body to its end; `idle` bounds each silence in it.
    pub(crate) async fn read_whole(&mut self, body: &mut Body, idle: Duration) -> Result<Bytes, Error> {
        body.advance(&mut self.buffer)?;
        while !body.is_whole() {
            let expected = body.expected();
            if expected.max(body.ready() as u64) > LONGEST_BODY as u64 {
                return Err(Error::new(Kind::Protocol, "Bedrock's answer is too long."));
            }
            match timeout(idle, poll_fn(|cx| self.poll_fill(cx, expected))).await {
                Err(_) => return Err(Error::new(Kind::IdleTimeout, "Bedrock's answer fell silent.")),
                Ok(Err(error)) => return Err(reset(&error)),
                Ok(Ok(0)) if body.close() => {}
                Ok(Ok(0)) => return Err(reset(&io::ErrorKind::UnexpectedEof.into())),
                Ok(Ok(_)) => body.advance(&mut self.buffer)?,
            }
        }
        Ok(body.take(&mut self.buffer, usize::MAX))
    }

    /// Reads what there is; 0 is the end. `expected` says how much is known to come.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>, expected: u64) -> Poll<io::Result<usize>> {
        if expected == 0 {
            self.shrink();
        }
        let buffer = &mut self.buffer;
        let wanted = usize::try_from(expected).unwrap_or(READ_LONG).clamp(READ / 4, READ_LONG);
        if buffer.capacity() - buffer.len() < wanted {
            buffer.reserve(wanted.max(READ));
            self.grown |= buffer.capacity() > 4 * READ;
        }
        pin!(self.io.read_buf(buffer)).poll(cx)
    }

    /// Gives up the room of something long that came by: what waits must not keep it.
    pub(crate) fn shrink(&mut self) {
        if self.grown && self.buffer.is_empty() {
            self.buffer = BytesMut::new();
            self.grown = false;
        }
    }

    /// Whether an idle connection is still open and silent, as far as is known without waiting.
    pub(crate) fn is_usable(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.buffer.is_empty() && self.poll_fill(&mut cx, 0).is_pending()
    }
}

/// How far a request got.
enum Sent {
    Whole,
    /// The answer began before the request was through.
    Early,
}

#[cfg(test)]
mod tests;
