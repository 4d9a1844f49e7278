//! Accepting connections and dealing them to workers.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use crate::conn::Protocol;
use crate::drain::Phase;
use crate::{Config, Drain, Service};

/// Connections that wait for `accept`.
const BACKLOG: i32 = 4096;
/// After an accept error such as "too many open files": connections must end before another can begin.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// A bound listener.
#[derive(Debug)]
pub struct Server {
    listener: StdListener,
    addr: SocketAddr,
    config: Config,
}

impl Server {
    /// Binds `addr`; port 0 asks the system for one.
    pub fn bind(addr: SocketAddr, config: Config) -> io::Result<Self> {
        let socket = socket2::Socket::new(socket2::Domain::for_address(addr), socket2::Type::STREAM, None)?;
        // A restarted gateway must not wait for the old one's TIME_WAIT connections.
        socket.set_reuse_address(true)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        let listener = StdListener::from(socket);
        let addr = listener.local_addr()?;
        Ok(Self { listener, addr, config })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until the drain is over: no connection accepted, none open. `make` is called once a worker.
    ///
    /// With `workers` = 0 everything runs on the calling runtime; else each worker is a thread with a current-thread
    /// runtime, and a connection stays on the worker it was dealt to.
    pub async fn run<S: Service>(self, mut make: impl FnMut(usize) -> S, drain: Drain) -> io::Result<()> {
        let open = Open::new();
        let protocol = Protocol::new(&self.config);
        let workers = if self.config.workers == 0 {
            vec![Worker::here(make(0), protocol, drain.clone())]
        } else {
            let threads = 0..self.config.workers;
            threads
                .map(|n| Worker::thread(n, make(n), protocol.clone(), drain.clone()))
                .collect::<io::Result<_>>()?
        };
        let listener = TcpListener::from_std(self.listener)?;
        let mut accepting = drain.clone();
        let mut cut = drain;
        tokio::select! {
            () = accept(&listener, &workers, &open, &self.config) => {}
            () = accepting.reached(Phase::Draining) => {}
        }
        // New connections are refused from here on, not left in the backlog.
        drop(listener);
        tokio::select! {
            () = open.none() => {}
            () = cut.reached(Phase::Cut) => open.none().await,
        }
        for worker in workers {
            worker.stop();
        }
        Ok(())
    }
}

async fn accept(listener: &TcpListener, workers: &[Worker], open: &Open, config: &Config) {
    loop {
        match listener.accept().await {
            Ok((tcp, addr)) => {
                if open.count() >= config.max_connections {
                    refuse(tcp, config).await;
                    continue;
                }
                if let Some(worker) = workers.iter().min_by_key(|worker| worker.open.load(Ordering::Relaxed))
                {
                    worker.take(tcp, addr, open.one(worker));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

/// Tells a connection above the limit so, without letting a slow one hold up the others.
async fn refuse(mut tcp: TcpStream, config: &Config) {
    let write = tcp.write_all(&config.overload_reply);
    let _ = tokio::time::timeout(Duration::from_millis(10), write).await;
}

/// The connections of all workers.
#[derive(Clone)]
struct Open(Arc<watch::Sender<usize>>);

/// One open connection, counted for the server and for its worker until it is dropped.
struct One {
    all: Arc<watch::Sender<usize>>,
    of_worker: Arc<AtomicUsize>,
}

impl Open {
    fn new() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }

    fn count(&self) -> usize {
        *self.0.borrow()
    }

    fn one(&self, worker: &Worker) -> One {
        self.0.send_modify(|count| *count += 1);
        worker.open.fetch_add(1, Ordering::Relaxed);
        One { all: Arc::clone(&self.0), of_worker: Arc::clone(&worker.open) }
    }

    async fn none(&self) {
        // The sender is ours: the channel cannot close.
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.of_worker.fetch_sub(1, Ordering::Relaxed);
        self.all.send_modify(|count| *count -= 1);
    }
}

type Dealt = (StdStream, SocketAddr, One);

struct Worker {
    /// Its open connections: the next one goes to the worker with the fewest.
    open: Arc<AtomicUsize>,
    dealt: mpsc::UnboundedSender<Dealt>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Worker {
    fn here<S: Service>(service: S, protocol: Protocol, drain: Drain) -> Self {
        let (dealt, receiver) = mpsc::unbounded_channel();
        tokio::spawn(work(receiver, Arc::new(service), protocol, drain));
        Self { open: Arc::default(), dealt, thread: None }
    }

    fn thread<S: Service>(n: usize, service: S, protocol: Protocol, drain: Drain) -> io::Result<Self> {
        let (dealt, receiver) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new()
            .name(format!("worker-{n}"))
            .spawn(move || runtime.block_on(work(receiver, Arc::new(service), protocol, drain)))?;
        Ok(Self { open: Arc::default(), dealt, thread: Some(thread) })
    }

    fn take(&self, tcp: TcpStream, addr: SocketAddr, one: One) {
        // The socket leaves this runtime's reactor; the worker registers it with its own.
        match tcp.into_std() {
            Ok(tcp) => {
                if self.dealt.send((tcp, addr, one)).is_err() {
                    tracing::error!("a worker is gone; its connection is dropped");
                }
            }
            Err(error) => tracing::warn!(%error, "a connection could not be handed over"),
        }
    }

    fn stop(self) {
        drop(self.dealt);
        if let Some(thread) = self.thread
            && thread.join().is_err()
        {
            tracing::error!("a worker thread ended with a panic");
        }
    }
}

async fn work<S: Service>(
    mut dealt: mpsc::UnboundedReceiver<Dealt>,
    service: Arc<S>,
    protocol: Protocol,
    drain: Drain,
) {
    while let Some((tcp, addr, one)) = dealt.recv().await {
        match TcpStream::from_std(tcp) {
            Ok(tcp) => {
                let served = protocol.clone().serve(tcp, addr, Arc::clone(&service), drain.clone());
                tokio::spawn(async move {
                    served.await;
                    drop(one);
                });
            }
            Err(error) => tracing::warn!(%error, "a connection could not be registered"),
        }
    }
}
