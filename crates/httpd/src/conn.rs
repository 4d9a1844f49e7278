//! One connection, from its first byte to its close.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;

use crate::drain::Phase;
use crate::io::{Deadlines, Socket};
use crate::{Config, Drain, Service};

/// Parallel requests on one HTTP/2 connection, and how much unread data of each is taken in.
const H2_STREAMS: u32 = 256;
const H2_WINDOW: u32 = 256 * 1024;

/// How connections of a server are spoken to: HTTP/1.1, or HTTP/2 with prior knowledge.
#[derive(Clone)]
pub(crate) struct Protocol {
    builder: auto::Builder<TokioExecutor>,
    deadlines: Deadlines,
}

impl Protocol {
    pub(crate) fn new(config: &Config) -> Self {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            // `Socket` has the deadlines: hyper's header timer would also end idle connections.
            .header_read_timeout(None)
            .max_buf_size(config.max_header_bytes.max(8192));
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(H2_STREAMS)
            .initial_stream_window_size(H2_WINDOW)
            .max_header_list_size(u32::try_from(config.max_header_bytes).unwrap_or(u32::MAX))
            .max_send_buf_size(64 * 1024);
        let deadlines =
            Deadlines { header: config.header_timeout, idle: config.keep_alive, write: config.write_timeout };
        Self { builder, deadlines }
    }

    /// Serves one connection until it closes, the drain has emptied it, or the cut drops it.
    pub(crate) async fn serve<S: Service>(
        self,
        tcp: TcpStream,
        addr: SocketAddr,
        service: Arc<S>,
        mut drain: Drain,
    ) {
        // Without it a small reply waits 40 ms for the caller's delayed ACK.
        let _ = tcp.set_nodelay(true);
        let (socket, peer) = Socket::new(tcp, addr, self.deadlines);
        let handler = hyper::service::service_fn(move |request| {
            let service = Arc::clone(&service);
            let peer = peer.clone();
            async move {
                let busy = peer.busy();
                let mut response = service.call(request, peer).await;
                response.body_mut().busy = Some(busy);
                Ok::<_, Infallible>(response)
            }
        });
        let mut connection = pin!(self.builder.serve_connection(TokioIo::new(socket), handler));
        let mut draining = false;
        loop {
            let next = if draining { Phase::Cut } else { Phase::Draining };
            tokio::select! {
                biased;
                result = connection.as_mut() => {
                    if let Err(error) = result {
                        tracing::debug!(%error, "connection ended early");
                    }
                    return;
                }
                () = drain.reached(next) => {
                    if draining {
                        return;
                    }
                    draining = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}
