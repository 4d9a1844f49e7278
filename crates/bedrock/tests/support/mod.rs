//! An upstream that does what it is told: raw TCP, one script a connection.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use bedrock::{Call, Client, CredentialsSource, Operation, Settings};
use bytes::Bytes;
use outcrop_bedrock as bedrock;

/// One thing that the upstream does on a connection.
#[derive(Clone)]
pub enum Do {
    /// Reads one whole request and records it.
    Read,
    /// Reads a request's head and leaves its body where it is.
    ReadHead,
    /// Writes.
    Send(Vec<u8>),
    /// Writes byte by byte.
    Drip(Vec<u8>),
    /// Does nothing for so many milliseconds.
    Pause(u64),
    /// Ends the connection with RST.
    Reset,
    /// Waits until the client has gone.
    AwaitGone,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub connection: usize,
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} was sent twice");
        value
    }
}

#[derive(Default)]
struct Log {
    connections: usize,
    gone: usize,
    seen: Vec<Seen>,
}

pub struct Upstream {
    pub address: SocketAddr,
    log: Arc<Mutex<Log>>,
}

impl Upstream {
    /// The first connection runs the first script, and so on; a connection without a script is closed at once.
    pub fn start(scripts: impl IntoIterator<Item = Vec<Do>>) -> Self {
        let scripts: Vec<_> = scripts.into_iter().collect();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::new(Mutex::new(Log::default()));
        let shared = Arc::clone(&log);
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let Ok(stream) = stream else { return };
                shared.lock().unwrap().connections += 1;
                let script = scripts.get(number).cloned().unwrap_or_default();
                let log = Arc::clone(&shared);
                thread::spawn(move || {
                    // An error is the client going away, which tests see from the client's side.
                    let _ = run(number, stream, script, &log);
                });
            }
        });
        Self { address, log }
    }

    pub fn settings(&self) -> Settings {
        Settings {
            region: Some("eu-west-1".into()),
            endpoint_url: Some(format!("http://{}", self.address)),
            credentials: CredentialsSource::Static {
                access_key_id: "AKIDEXAMPLE".into(),
                secret_access_key: "wJalrXUtnFEMI/K7MDENG".into(),
                session_token: None,
            },
            retry_base: Duration::from_millis(1),
            first_byte_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(10),
            total_timeout: Duration::from_secs(10),
            ..Settings::default()
        }
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.settings()).await.unwrap()
    }

    pub fn connections(&self) -> usize {
        self.log.lock().unwrap().connections
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.log.lock().unwrap().seen.clone()
    }

    /// Waits until so many scripts have seen their client go.
    pub async fn gone(&self, count: usize) {
        for _ in 0..2000 {
            if self.log.lock().unwrap().gone >= count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the client kept its connection");
    }

    /// Waits until so many requests have come.
    pub async fn heard(&self, count: usize) {
        for _ in 0..2000 {
            if self.log.lock().unwrap().seen.len() >= count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the client sent no request");
    }
}

fn run(number: usize, mut stream: TcpStream, script: Vec<Do>, log: &Mutex<Log>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    for step in script {
        match step {
            Do::Read | Do::ReadHead => {
                let Some(seen) = read(number, &mut stream, matches!(step, Do::Read))? else { return Ok(()) };
                log.lock().unwrap().seen.push(seen);
            }
            Do::Send(bytes) => stream.write_all(&bytes)?,
            Do::Drip(bytes) => {
                for byte in bytes {
                    stream.write_all(&[byte])?;
                }
            }
            Do::Pause(millis) => thread::sleep(Duration::from_millis(millis)),
            Do::Reset => socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?,
            Do::AwaitGone => {
                while !matches!(stream.read(&mut [0; 1024]), Ok(0) | Err(_)) {}
                log.lock().unwrap().gone += 1;
            }
        }
    }
    Ok(())
}

fn read(connection: usize, stream: &mut TcpStream, with_body: bool) -> std::io::Result<Option<Seen>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Ok(None);
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap().split(' ');
    let mut seen = Seen {
        connection,
        method: first.next().unwrap().into(),
        path: first.next().unwrap().into(),
        headers: Vec::new(),
        body: Vec::new(),
    };
    for line in lines.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap();
        seen.headers.push((name.to_ascii_lowercase(), value.trim().into()));
    }
    if with_body {
        let length = seen.header("content-length").unwrap().parse().unwrap();
        seen.body = vec![0; length];
        stream.read_exact(&mut seen.body)?;
    }
    Ok(Some(seen))
}

pub fn converse(body: &'static str) -> Call<'static> {
    call(Operation::Converse, body)
}

pub fn converse_stream() -> Call<'static> {
    call(Operation::ConverseStream, "{}")
}

pub fn call(operation: Operation, body: &'static str) -> Call<'static> {
    Call {
        operation,
        model_id: "amazon.nova-lite-v1:0",
        body: Bytes::from_static(body.as_bytes()),
        headers: &[],
    }
}

/// An answer with a length.
pub fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

pub fn ok(body: &str) -> Vec<u8> {
    answer("200 OK", "content-type: application/json\r\nx-amzn-RequestId: r-1\r\n", body)
}

pub fn exception(status: &str, name: &str, message: &str) -> Vec<u8> {
    let headers = format!(
        "content-type: application/json\r\nx-amzn-RequestId: r-9\r\nx-amzn-ErrorType: {name}:http://internal/\r\n"
    );
    answer(status, &headers, &format!(r#"{{"message":"{message}"}}"#))
}

/// The head of a stream.
pub fn stream_head() -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\n\
      transfer-encoding: chunked\r\nx-amzn-RequestId: s-1\r\n\r\n"
        .to_vec()
}

pub fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// A frame as AWS's own encoder writes it.
pub fn frame(headers: &[(&'static str, &'static str)], payload: &str) -> Vec<u8> {
    let mut message = Message::new(Bytes::copy_from_slice(payload.as_bytes()));
    for (name, value) in headers {
        message = message.add_header(Header::new(*name, HeaderValue::String((*value).into())));
    }
    let mut bytes = Vec::new();
    aws_smithy_eventstream::frame::write_message_to(&message, &mut bytes).unwrap();
    bytes
}

pub fn event(name: &'static str, payload: &str) -> Vec<u8> {
    frame(
        &[(":event-type", name), (":content-type", "application/json"), (":message-type", "event")],
        payload,
    )
}

pub fn exception_frame(name: &'static str, message: &str) -> Vec<u8> {
    let headers = [(":exception-type", name), (":message-type", "exception")];
    frame(&headers, &format!(r#"{{"message":"{message}"}}"#))
}
