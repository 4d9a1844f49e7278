//! The server over real TCP: deadlines, drain, limits, streaming.
#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use httpd::{Abort, Body, Config, Drain, DrainHandle, Peer, Request, Response, Server, Service};
use outcrop_httpd as httpd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

struct Echo {
    /// Told when a streamed reply is dropped.
    dropped: mpsc::UnboundedSender<()>,
}

struct Told(mpsc::UnboundedSender<()>);

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

impl Service for Echo {
    async fn call(&self, request: Request, peer: Peer) -> Response {
        let path = request.uri().path().to_owned();
        let told = Told(self.dropped.clone());
        match path.as_str() {
            "/body" => match httpd::read_body(request.into_body(), 1000, Duration::from_millis(200)).await {
                Ok(bytes) => Response::new(Body::full(bytes)),
                Err(error) => Response::new(Body::full(format!("{error:?}"))),
            },
            "/stream" => {
                Response::new(Body::stream(futures::stream::unfold((told, 0), |(told, n)| async move {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    Some((Ok(Bytes::from(format!("tick {n}\n"))), (told, n + 1)))
                })))
            }
            "/flood" => Response::new(Body::stream(futures::stream::unfold(told, |told| async move {
                Some((Ok(Bytes::from(vec![b'x'; 65_536])), told))
            }))),
            "/cut" => Response::new(Body::stream(futures::stream::iter([
                Ok(Bytes::from_static(b"part")),
                Err(Abort),
            ]))),
            "/reset" => {
                peer.reset_on_close();
                Response::new(Body::stream(futures::stream::iter([Err(Abort)])))
            }
            "/slow" => {
                tokio::time::sleep(Duration::from_millis(300)).await;
                Response::new(Body::full("slow"))
            }
            _ => Response::new(Body::full(path)),
        }
    }
}

struct Running {
    addr: SocketAddr,
    drain: DrainHandle,
    dropped: mpsc::UnboundedReceiver<()>,
    done: tokio::task::JoinHandle<std::io::Result<()>>,
}

fn start(config: Config) -> Running {
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), config).unwrap();
    let addr = server.local_addr();
    let (drain, listen) = Drain::new();
    let (sender, dropped) = mpsc::unbounded_channel();
    let done = tokio::spawn(server.run(move |_| Echo { dropped: sender.clone() }, listen));
    Running { addr, drain, dropped, done }
}

async fn exchange(addr: SocketAddr, request: &str) -> String {
    let mut tcp = TcpStream::connect(addr).await.unwrap();
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut reply = Vec::new();
    let _ = tcp.read_to_end(&mut reply).await;
    String::from_utf8_lossy(&reply).into_owned()
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
}

#[tokio::test]
async fn threads_and_the_calling_runtime_serve_alike() {
    for workers in [0, 2] {
        let running = start(Config { workers, ..Config::default() });
        for _ in 0..4 {
            assert!(exchange(running.addr, &get("/hello")).await.ends_with("/hello"));
        }
        running.drain.start();
        running.done.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_body_is_read_within_its_limit_whatever_its_framing() {
    let running = start(Config::default());
    let fits = format!(
        "POST /body HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 5\r\n\r\n{}",
        "abcde"
    );
    assert!(exchange(running.addr, &fits).await.ends_with("abcde"));
    let chunks = "POST /body HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    assert!(exchange(running.addr, chunks).await.ends_with("abcde"));
    let announced = "POST /body HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 1001\r\n\r\n";
    assert!(exchange(running.addr, announced).await.ends_with("TooLarge"));
    let hidden = format!(
        "POST /body HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n3e9\r\n{}\r\n0\r\n\r\n",
        "y".repeat(1001)
    );
    assert!(exchange(running.addr, &hidden).await.ends_with("TooLarge"));
    let stalled = "POST /body HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 5\r\n\r\nab";
    assert!(exchange(running.addr, stalled).await.ends_with("Stalled"));
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut_and_an_idle_connection_is_not() {
    let config = Config { header_timeout: Duration::from_millis(150), ..Config::default() };
    let running = start(config);
    // Returns at all only because the server closes.
    assert_eq!(exchange(running.addr, "GET / HT").await, "");
    assert_eq!(exchange(running.addr, "").await, "");

    let mut tcp = TcpStream::connect(running.addr).await.unwrap();
    for _ in 0..2 {
        tcp.write_all(b"GET /idle HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut reply = [0; 1024];
        let read = tcp.read(&mut reply).await.unwrap();
        assert!(String::from_utf8_lossy(&reply[..read]).ends_with("/idle"));
        // Twice the header deadline: an idle connection has another one.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

#[tokio::test]
async fn an_idle_connection_ends_at_its_deadline() {
    let running = start(Config { keep_alive: Duration::from_millis(100), ..Config::default() });
    let reply = exchange(running.addr, "GET /once HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(reply.ends_with("/once"));
}

#[tokio::test]
async fn a_caller_that_leaves_drops_the_stream() {
    let mut running = start(Config::default());
    let mut tcp = TcpStream::connect(running.addr).await.unwrap();
    tcp.write_all(get("/stream").as_bytes()).await.unwrap();
    let mut some = [0; 64];
    let _ = tcp.read(&mut some).await.unwrap();
    drop(tcp);
    running.dropped.recv().await.unwrap();
}

#[tokio::test]
async fn a_caller_that_leaves_before_the_reply_drops_the_handler() {
    let mut running = start(Config::default());
    let mut tcp = TcpStream::connect(running.addr).await.unwrap();
    tcp.write_all(get("/slow").as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(tcp);
    running.dropped.recv().await.unwrap();
}

#[tokio::test]
async fn a_reader_that_stalls_is_dropped_after_the_write_deadline() {
    let mut running = start(Config { write_timeout: Duration::from_millis(200), ..Config::default() });
    let mut tcp = TcpStream::connect(running.addr).await.unwrap();
    tcp.write_all(get("/flood").as_bytes()).await.unwrap();
    // The connection stays open and nobody reads.
    running.dropped.recv().await.unwrap();
    drop(tcp);
}

#[tokio::test]
async fn a_cut_stream_has_no_closing_chunk_and_a_reset_is_a_reset() {
    let running = start(Config::default());
    let reply = exchange(running.addr, &get("/cut")).await;
    assert!(!reply.contains("\r\n0\r\n\r\n"), "{reply}");

    let mut tcp = TcpStream::connect(running.addr).await.unwrap();
    tcp.write_all(get("/reset").as_bytes()).await.unwrap();
    let mut all = Vec::new();
    let error = tcp.read_to_end(&mut all).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_drain_lets_streams_go_on_and_a_cut_ends_them() {
    let running = start(Config { workers: 1, ..Config::default() });
    let mut stream = TcpStream::connect(running.addr).await.unwrap();
    stream.write_all(get("/stream").as_bytes()).await.unwrap();
    let mut some = [0; 256];
    let _ = stream.read(&mut some).await.unwrap();
    running.drain.start();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(stream.read(&mut some).await.unwrap() > 0, "the stream goes on");
    assert!(TcpStream::connect(running.addr).await.is_err(), "nothing new is accepted");
    running.drain.cut();
    running.done.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_connection_above_the_limit_is_told_so() {
    let config = Config {
        max_connections: 1,
        overload_reply: Bytes::from_static(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"),
        ..Config::default()
    };
    let running = start(config);
    let mut first = TcpStream::connect(running.addr).await.unwrap();
    first.write_all(b"GET /one HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut some = [0; 256];
    let _ = first.read(&mut some).await.unwrap();
    assert!(exchange(running.addr, "").await.starts_with("HTTP/1.1 503"));
}
