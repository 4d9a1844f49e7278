//! A plain HTTP/1.1 client over one connection, so that the tests see the bytes.
use std::io;

use aws_smithy_eventstream::frame::{DecodedFrame, MessageFrameDecoder};
use outcrop_bedrock_sim::{Config, Sim};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub(crate) const TOKEN: &str = "test-token";
pub(crate) const SONNET: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
pub(crate) const OPUS46: &str = "us.anthropic.claude-opus-4-6-v1";
pub(crate) const OPUS5: &str = "us.anthropic.claude-opus-5";
pub(crate) const OPUS55: &str = "us.anthropic.claude-opus-5-5";
pub(crate) const QWEN: &str = "qwen.qwen3-coder-480b-a35b-v1:0";
pub(crate) const NOVA: &str = "amazon.nova-lite-v1:0";

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
    /// The text of a refusal.
    pub(crate) fn message(&self) -> String {
        let json = self.json();
        let text = json.get("message").or(json.get("Message")).and_then(|text| text.as_str());
        text.unwrap_or_else(|| panic!("no message in {json}")).to_owned()
    }
    /// The exception's name, without what follows the colon.
    pub(crate) fn kind(&self) -> &str {
        self.header("x-amzn-errortype").and_then(|kind| kind.split(':').next()).unwrap_or_default()
    }
    /// The frames of an event stream: type and payload, judged by AWS's own decoder.
    pub(crate) fn events(&self) -> Vec<(String, serde_json::Value)> {
        events(&self.body).expect("good frames")
    }
}

/// Decodes frames; an error where a checksum is wrong.
pub(crate) fn events(bytes: &[u8]) -> Result<Vec<(String, serde_json::Value)>, String> {
    let mut decoder = MessageFrameDecoder::new();
    let mut rest = bytes;
    let mut out = Vec::new();
    while !rest.is_empty() {
        match decoder.decode_frame(&mut rest).map_err(|error| error.to_string())? {
            DecodedFrame::Incomplete => return Err("trailing bytes".to_owned()),
            DecodedFrame::Complete(message) => {
                let header = |name: &str| {
                    let found = message.headers().iter().find(|header| header.name().as_str() == name);
                    found
                        .and_then(|header| header.value().as_string().ok())
                        .map(|value| value.as_str().to_owned())
                };
                assert_eq!(header(":content-type").as_deref(), Some("application/json"));
                let kind = match header(":message-type").as_deref() {
                    Some("event") => header(":event-type"),
                    Some("exception") => header(":exception-type"),
                    other => panic!("message type {other:?}"),
                };
                let payload = serde_json::from_slice(message.payload()).expect("JSON payload");
                out.push((kind.expect("a name"), payload));
            }
        }
    }
    Ok(out)
}

pub(crate) async fn sim() -> Sim {
    sim_with(Config::default()).await
}

pub(crate) async fn sim_with(config: Config) -> Sim {
    Sim::start(Config { bearer_tokens: vec![TOKEN.to_owned()], ..config }).await.expect("starts")
}

/// Sends a request with the Bearer token.
pub(crate) async fn post(sim: &Sim, path: &str, body: &str) -> Reply {
    send(sim, "POST", path, &[("authorization", &format!("Bearer {TOKEN}"))], body.as_bytes()).await
}

pub(crate) async fn get(sim: &Sim, path: &str) -> Reply {
    send(sim, "GET", path, &[("authorization", &format!("Bearer {TOKEN}"))], b"").await
}

pub(crate) async fn send(
    sim: &Sim,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Reply {
    try_send(sim, method, path, headers, body).await.expect("an answer")
}

/// Sends a request; an error where the connection breaks.
pub(crate) async fn try_send(
    sim: &Sim,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Reply> {
    let (head, rest, ended) = exchange(sim, method, path, headers, body).await?;
    ended?;
    parse(&head, &rest)
}

/// Sends a request and reads until the connection ends: the head, what follows, and how it ended.
pub(crate) async fn exchange(
    sim: &Sim,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<(String, Vec<u8>, io::Result<()>)> {
    let mut stream = TcpStream::connect(sim.addr()).await?;
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", sim.addr());
    for (name, value) in headers {
        text.extend([name, ": ", value, "\r\n"]);
    }
    text.extend(["content-length: ", &body.len().to_string(), "\r\n\r\n"]);
    stream.write_all(text.as_bytes()).await?;
    stream.write_all(body).await?;
    let mut all = Vec::new();
    let ended = loop {
        match stream.read_buf(&mut all).await {
            Ok(0) => break Ok(()),
            Ok(_) => {}
            Err(error) => break Err(error),
        }
    };
    let at = all.windows(4).position(|window| window == b"\r\n\r\n").map_or(all.len(), |at| at + 4);
    let rest = all.split_off(at);
    Ok((String::from_utf8_lossy(&all).into_owned(), rest, ended))
}

pub(crate) fn parse(head: &str, rest: &[u8]) -> io::Result<Reply> {
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| io::Error::other("no status line"))?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let body = if chunked { dechunk(rest).0 } else { rest.to_vec() };
    Ok(Reply { status, headers, body })
}

/// The content of a chunked body, its chunks one by one, and whether it ended properly.
pub(crate) fn dechunk(mut rest: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>, bool) {
    let mut body = Vec::new();
    let mut chunks = Vec::new();
    loop {
        let Some(at) = rest.windows(2).position(|window| window == b"\r\n") else {
            return (body, chunks, false);
        };
        let size = usize::from_str_radix(&String::from_utf8_lossy(&rest[..at]), 16).expect("a chunk size");
        if size == 0 {
            return (body, chunks, true);
        }
        let end = (at + 2 + size).min(rest.len());
        body.extend_from_slice(&rest[at + 2..end]);
        chunks.push(rest[at + 2..end].to_vec());
        rest = rest.get(end + 2..).unwrap_or_default();
    }
}

/// A Claude body with these messages and more members.
pub(crate) fn claude(messages: &str, more: &str) -> String {
    let more = if more.is_empty() { String::new() } else { format!(",{more}") };
    format!(r#"{{"anthropic_version":"bedrock-2023-05-31","max_tokens":1024,"messages":{messages}{more}}}"#)
}

pub(crate) fn path(id: &str, operation: &str) -> String {
    format!("/model/{id}/{operation}")
}
