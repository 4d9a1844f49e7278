//! A caller that speaks plain HTTP/1.1, one connection a request.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Sends requests with a key.
#[derive(Clone, Debug)]
pub struct Caller {
    addr: SocketAddr,
    headers: Vec<(String, String)>,
}

/// A reply, read to its end.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Status.
    pub status: u16,
    /// Headers in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body without its framing.
    pub body: Vec<u8>,
    /// Whether the body came to its proper end.
    pub complete: bool,
}

impl Reply {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Type and message of an error in the Anthropic envelope, whose parts are checked.
    pub fn error(&self) -> (String, String) {
        let body = self.json();
        assert_eq!(body["type"], "error", "{body}");
        assert_eq!(body["request_id"].as_str(), self.header("request-id"), "{body}");
        let part = |name: &str| body["error"][name].as_str().unwrap_or_default().to_owned();
        (part("type"), part("message"))
    }
}

/// An error in OpenAI's envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenAiError {
    /// HTTP status.
    pub status: u16,
    /// `error.type`.
    pub kind: String,
    /// `error.code`.
    pub code: Option<String>,
    /// `error.param`.
    pub param: Option<String>,
    /// `error.message`.
    pub message: String,
}

impl Reply {
    /// The error in OpenAI's envelope, whose parts are checked.
    pub fn openai_error(&self) -> OpenAiError {
        let body = self.json();
        let error = body["error"].as_object().unwrap_or_else(|| panic!("{body}"));
        let mut names: Vec<_> = error.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["code", "message", "param", "type"], "{body}");
        let part = |name: &str| error[name].as_str().map(str::to_owned);
        OpenAiError {
            status: self.status,
            kind: part("type").unwrap(),
            code: part("code"),
            param: part("param"),
            message: part("message").unwrap(),
        }
    }
}

impl Caller {
    /// A caller that presents its key as OpenAI's clients do.
    pub fn bearer(addr: SocketAddr, key: &str) -> Self {
        Self { addr, headers: vec![("authorization".to_owned(), format!("Bearer {key}"))] }
    }

    /// A caller with a key.
    pub fn new(addr: SocketAddr, key: &str) -> Self {
        Self { addr, headers: vec![("x-api-key".to_owned(), key.to_owned())] }
    }

    /// The same without a key.
    #[must_use]
    pub fn anonymous(mut self) -> Self {
        self.headers.retain(|(name, _)| name != "x-api-key");
        self
    }

    /// The same with one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Posts a Messages request.
    pub async fn messages(&self, body: &Value) -> Reply {
        self.post("/v1/messages", body.to_string().as_bytes()).await
    }

    /// Posts a Messages request to another path.
    pub async fn messages_at(&self, path: &str, body: &Value) -> Reply {
        self.post(path, body.to_string().as_bytes()).await
    }

    /// Posts a request of the OpenAI API: `/v1/…`.
    pub async fn openai(&self, path: &str, body: &Value) -> Reply {
        self.post(path, body.to_string().as_bytes()).await
    }

    /// Posts bytes as JSON.
    pub async fn post(&self, path: &str, body: &[u8]) -> Reply {
        let kind = ("content-type".to_owned(), "application/json".to_owned());
        let own_kind = self.headers.iter().any(|(name, _)| name == "content-type");
        let caller = if own_kind {
            self.clone()
        } else {
            Self { headers: self.headers.iter().cloned().chain([kind]).collect(), ..self.clone() }
        };
        caller.request("POST", path, body).await
    }

    /// Posts a Messages request to a gateway that may be gone: none where no whole head came.
    pub async fn try_messages(&self, body: &Value) -> Option<Reply> {
        let caller = self.clone().header("content-type", "application/json");
        let mut tcp = caller.try_send("POST", "/v1/messages", body.to_string().as_bytes()).await.ok()?;
        let mut raw = Vec::new();
        let _ = tcp.read_to_end(&mut raw).await;
        raw.windows(4).any(|w| w == b"\r\n\r\n").then(|| parse(&raw, "POST"))
    }

    /// Gets a path.
    pub async fn get(&self, path: &str) -> Reply {
        self.request("GET", path, b"").await
    }

    /// Sends a request and reads the whole reply.
    pub async fn request(&self, method: &str, path: &str, body: &[u8]) -> Reply {
        let mut tcp = self.send(method, path, body).await;
        let mut raw = Vec::new();
        // A reset is an end too; what came before it counts.
        let _ = tcp.read_to_end(&mut raw).await;
        parse(&raw, method)
    }

    /// Sends a request and leaves the reply to be read.
    pub async fn send(&self, method: &str, path: &str, body: &[u8]) -> BufReader<TcpStream> {
        self.try_send(method, path, body).await.unwrap()
    }

    /// The same to a gateway that may be gone.
    pub async fn try_send(&self, method: &str, path: &str, body: &[u8]) -> io::Result<BufReader<TcpStream>> {
        let mut tcp = TcpStream::connect(self.addr).await?;
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n");
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if !body.is_empty() || method == "POST" {
            let _ = write!(head, "content-length: {}\r\n", body.len());
        }
        head.push_str("\r\n");
        // The gateway may answer and close before it has read a body that it refuses.
        let _ = tcp.write_all(head.as_bytes()).await;
        let _ = tcp.write_all(body).await;
        Ok(BufReader::new(tcp))
    }
}

fn parse(raw: &[u8], method: &str) -> Reply {
    let end = raw.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4);
    let end = end.unwrap_or_else(|| panic!("no reply: {:?}", String::from_utf8_lossy(raw)));
    let head = String::from_utf8_lossy(&raw[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let find = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    let rest = &raw[end..];
    let (body, complete) = if method == "HEAD" {
        (rest.to_vec(), rest.is_empty())
    } else if find("transfer-encoding") == Some("chunked") {
        dechunk(rest)
    } else {
        let expected = find("content-length").and_then(|text| text.parse::<usize>().ok());
        (rest.to_vec(), expected.is_none_or(|expected| expected == rest.len()))
    };
    Reply { status, headers, body, complete }
}

fn dechunk(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(line) = rest.windows(2).position(|w| w == b"\r\n") {
        let size =
            std::str::from_utf8(&rest[..line]).ok().and_then(|hex| usize::from_str_radix(hex, 16).ok());
        let Some(size) = size else { return (body, false) };
        rest = &rest[line + 2..];
        if size == 0 {
            return (body, true);
        }
        if rest.len() < size + 2 {
            body.extend_from_slice(rest);
            return (body, false);
        }
        body.extend_from_slice(&rest[..size]);
        rest = &rest[size + 2..];
    }
    (body, false)
}

/// The events of a Messages stream: (name, data). Every one must be well formed.
pub fn events(text: &str) -> Vec<(String, Value)> {
    let event = |block: &str| {
        let mut lines = block.lines();
        let name =
            lines.next().and_then(|line| line.strip_prefix("event: ")).unwrap_or_else(|| panic!("{block:?}"));
        let data =
            lines.next().and_then(|line| line.strip_prefix("data: ")).unwrap_or_else(|| panic!("{block:?}"));
        assert_eq!(lines.next(), None, "{block:?}");
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!(data["type"], name, "{block:?}");
        (name.to_owned(), data)
    };
    text.split_terminator("\n\n").map(event).collect()
}

/// The chunks of a chat stream that came to its end, which is checked; comments are passed over.
pub fn chunks(text: &str) -> Vec<Value> {
    let body = text.strip_suffix("data: [DONE]\n\n").unwrap_or_else(|| panic!("no end: {text:?}"));
    let chunk = |line: &str| {
        let data = line.strip_prefix("data: ").unwrap_or_else(|| panic!("{line:?}"));
        let chunk: Value = serde_json::from_str(data).unwrap();
        assert_eq!(chunk["object"], "chat.completion.chunk", "{chunk}");
        chunk
    };
    body.lines().filter(|line| !line.is_empty() && !line.starts_with(':')).map(chunk).collect()
}

/// The events of a stream of the Responses API: each is named as its data says, and they are numbered from 0; comments are
/// passed over.
pub fn response_events(text: &str) -> Vec<Value> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty() && !line.starts_with(':')).collect();
    let event = |(number, pair): (usize, &[&str])| {
        let [name, data] = pair else { panic!("{pair:?}") };
        let name = name.strip_prefix("event: ").unwrap_or_else(|| panic!("{pair:?}"));
        let data = data.strip_prefix("data: ").unwrap_or_else(|| panic!("{pair:?}"));
        let event: Value = serde_json::from_str(data).unwrap();
        assert_eq!((&event["type"], &event["sequence_number"]), (&name.into(), &number.into()), "{event}");
        event
    };
    lines.chunks(2).enumerate().map(event).collect()
}

/// The sum of a metric's lines that have all of these labels; `None` where there are none.
pub fn metric(metrics: &str, name: &str, labels: &[&str]) -> Option<f64> {
    let of = |line: &&str| line.starts_with(name) && labels.iter().all(|label| line.contains(label));
    let values = metrics.lines().filter(of).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.reduce(|sum, value| sum + value)
}
