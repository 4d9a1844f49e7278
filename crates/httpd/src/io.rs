//! A connection's socket with deadlines, and what service and socket tell each other.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// The other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Requests being answered; HTTP/2 has several.
    busy: AtomicUsize,
    /// Requests ever taken: the socket sees by it that a head was complete.
    taken: AtomicUsize,
    reset: AtomicBool,
}

/// One request being answered. The idle deadline stands still while any lives.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Shared>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Peer {
    /// The address of the socket; behind a load balancer this is the balancer.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Lets the connection end with a TCP reset instead of an orderly close. For simulators of dying servers.
    pub fn reset_on_close(&self) {
        self.shared.reset.store(true, Ordering::Relaxed);
    }

    pub(crate) fn busy(&self) -> Busy {
        self.shared.busy.fetch_add(1, Ordering::Relaxed);
        self.shared.taken.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(&self.shared))
    }
}

/// Deadlines of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    pub(crate) header: Duration,
    pub(crate) idle: Duration,
    pub(crate) write: Duration,
}

/// A socket that errors with `TimedOut` when a deadline passes.
///
/// hyper's own header timer also runs while a kept-alive connection is idle, so one value could not serve both. Here
/// a connection is *idle* until a byte comes, then *in a head* until the service is called, then *busy*. There is one
/// timer, and it is lazy: moving a deadline is a store, and only when the timer fires is it set anew.
pub(crate) struct Socket {
    tcp: TcpStream,
    shared: Arc<Shared>,
    deadlines: Deadlines,
    timer: Pin<Box<Sleep>>,
    /// When reading must have come further; none while a request is being answered.
    read_by: Option<Instant>,
    /// Whether bytes of a head have been read since the last request was taken.
    in_head: bool,
    /// `Shared::taken` when it was last looked at.
    taken: usize,
    write_by: Option<Instant>,
}

impl Socket {
    pub(crate) fn new(tcp: TcpStream, addr: SocketAddr, deadlines: Deadlines) -> (Self, Peer) {
        let shared = Arc::new(Shared::default());
        // A fresh connection has something to say: it gets the header deadline, not the idle one.
        let read_by = Instant::now() + deadlines.header;
        let timer = Box::pin(tokio::time::sleep_until(read_by));
        let peer = Peer { addr, shared: Arc::clone(&shared) };
        let socket = Self {
            tcp,
            shared,
            deadlines,
            timer,
            read_by: Some(read_by),
            in_head: true,
            taken: 0,
            write_by: None,
        };
        (socket, peer)
    }

    fn busy(&self) -> bool {
        self.shared.busy.load(Ordering::Relaxed) > 0
    }

    /// Whether a deadline has passed; otherwise the timer is armed for the nearest one.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Some(nearest) = [self.read_by, self.write_by].into_iter().flatten().min() else {
            return Poll::Pending;
        };
        if self.timer.deadline() > nearest {
            self.timer.as_mut().reset(nearest);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= nearest {
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
            self.timer.as_mut().reset(nearest);
        }
        Poll::Pending
    }

    /// Moves the read deadline along with the connection's state, before waiting for bytes.
    fn wait_for_bytes(&mut self) {
        let taken = self.shared.taken.load(Ordering::Relaxed);
        if self.taken != taken {
            self.taken = taken;
            self.in_head = false;
            self.read_by = None;
        }
        if !self.busy() && self.read_by.is_none() {
            self.read_by = Some(Instant::now() + self.deadlines.idle);
        }
    }

    fn bytes_came(&mut self) {
        if !self.in_head && !self.busy() {
            self.in_head = true;
            self.read_by = Some(Instant::now() + self.deadlines.header);
        }
    }

    fn written<T>(&mut self, poll: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.write_by = None;
            return poll;
        }
        if self.write_by.is_none() {
            self.write_by = Some(Instant::now() + self.deadlines.write);
        }
        self.poll_deadline(cx).map(Err)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let poll = Pin::new(&mut this.tcp).poll_read(cx, buf);
        if poll.is_ready() {
            this.bytes_came();
            return poll;
        }
        this.wait_for_bytes();
        this.poll_deadline(cx).map(Err)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let poll = Pin::new(&mut this.tcp).poll_write(cx, buf);
        this.written(poll, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let poll = Pin::new(&mut this.tcp).poll_write_vectored(cx, bufs);
        this.written(poll, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper has asked to read before the reply began and does not ask again after it: the idle time starts here.
        self.wait_for_bytes();
        if let Poll::Ready(error) = self.poll_deadline(cx) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.shared.reset.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.shared.reset.load(Ordering::Relaxed) {
            // Lingering for zero seconds turns the close into a reset.
            let _ = socket2::SockRef::from(&self.tcp).set_linger(Some(Duration::ZERO));
        }
    }
}
