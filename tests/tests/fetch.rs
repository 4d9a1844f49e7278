//! Images and documents behind URLs: fetched when that is allowed, from where that is allowed, and within limits.
#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use outcrop_tests::{CLAUDE, Gateway, Options, Reply, hello};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

/// A model of the Converse lane that sees.
const NOVA: &str = "amazon.nova-pro-v1:0";
/// A picture of one point.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89\0\0\0\rIDATx\xdacd\xf8\xcfP\x0f\0\x03\x86\x01\x80Z4}k\0\0\0\0IEND\xaeB`\x82";
const PNG_BASE64: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const PDF: &[u8] = b"%PDF-1.4\n%%EOF\n";

/// A server that answers each path in its own way, and counts.
struct Server {
    addr: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            loop {
                let Ok((tcp, _)) = listener.accept().await else { return };
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let mut tcp = BufReader::new(tcp);
                    let mut first = String::new();
                    let mut line = String::new();
                    let _ = tcp.read_line(&mut first).await;
                    while tcp.read_line(&mut line).await.is_ok_and(|read| read > 2) {
                        line.clear();
                    }
                    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
                    if path == "/silent" {
                        return std::future::pending().await;
                    }
                    let _ = tcp.write_all(&answer(&path, addr)).await;
                    let _ = tcp.shutdown().await;
                });
            }
        });
        Self { addr, asked }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// The setting that trusts this server.
    fn trusted(&self) -> String {
        format!("--image-url-fetch-allow-hosts={}", self.addr)
    }
}

fn answer(path: &str, addr: SocketAddr) -> Vec<u8> {
    let sized = |body: &[u8]| {
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n", body.len());
        [head.as_bytes(), body].concat()
    };
    let to = |location: &str| format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\n\r\n").into_bytes();
    match path {
        "/a.png" => sized(PNG),
        "/a.pdf" => sized(PDF),
        "/long.pdf" => sized(&[PDF, &b" ".repeat(40_000)].concat()),
        "/until-end.png" => [b"HTTP/1.0 200 OK\r\n\r\n", PNG].concat(),
        "/chunked.png" => {
            let (one, two) = PNG.split_at(20);
            let mut out = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n14;x=y\r\n".to_vec();
            out.extend_from_slice(one);
            out.extend_from_slice(format!("\r\n{:x}\r\n", two.len()).as_bytes());
            out.extend_from_slice(two);
            out.extend_from_slice(b"\r\n0\r\n\r\n");
            out
        }
        "/page.html" => sized(b"<html>not a picture</html>"),
        "/large" => sized(&[PNG, &[0; 4000][..]].concat()),
        "/large-unsaid" => [b"HTTP/1.0 200 OK\r\n\r\n", PNG, &[0; 4000][..]].concat(),
        "/lying" => [&b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n"[..], PNG].concat(),
        "/relative" => to("a.png"),
        "/one" => to("/two"),
        "/two" => to("/three"),
        "/three" => to("/a.png"),
        "/four" => to("/one"),
        "/inside" => to("http://169.254.169.254/latest/meta-data/"),
        "/other-port" => to(&format!("http://127.0.0.1:{}/a.png", addr.port() ^ 1)),
        "/file" => to("file:///etc/passwd"),
        _ => b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec(),
    }
}

fn asking(model: &str, kind: &str, url: &str) -> Value {
    let mut body = hello(model, "", false);
    body["messages"] = json!([{ "role": "user", "content": [
        { "type": "text", "text": "What is this?" },
        { "type": kind, "source": { "type": "url", "url": url } },
    ] }]);
    body
}

async fn gateway(settings: &[&str]) -> Gateway {
    let on = ["--enable-image-url-fetch=true"];
    Gateway::with(Options::with(&[&on[..], settings].concat())).await
}

fn sent(gateway: &Gateway) -> Value {
    serde_json::from_slice(&gateway.sim.requests().last().unwrap().body).unwrap()
}

/// The message of a refusal, which must be the caller's fault and must not have gone upstream.
fn refusal(gateway: &Gateway, reply: &Reply) -> String {
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert!(gateway.sim.requests().is_empty());
    let (kind, message) = reply.error();
    assert_eq!(kind, "invalid_request_error");
    message
}

#[tokio::test]
async fn urls_are_not_fetched_unless_that_is_switched_on() {
    let server = Server::start().await;
    let gateway = Gateway::with(Options::with(&[&server.trusted()])).await;
    for model in [CLAUDE, NOVA] {
        let reply = gateway.caller().messages(&asking(model, "image", &server.url("/a.png"))).await;
        let message = refusal(&gateway, &reply);
        assert!(message.contains("ENABLE_IMAGE_URL_FETCH=true"), "{message}");
    }
    assert_eq!(server.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn what_was_fetched_goes_upstream_in_either_lane_named_by_its_bytes() {
    let server = Server::start().await;
    let gateway = gateway(&[&server.trusted()]).await;
    for path in ["/a.png", "/until-end.png", "/chunked.png", "/relative", "/one"] {
        let reply = gateway.caller().messages(&asking(CLAUDE, "image", &server.url(path))).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        let source = json!({ "type": "base64", "media_type": "image/png", "data": PNG_BASE64 });
        assert_eq!(sent(&gateway)["messages"][0]["content"][1]["source"], source, "{path}");
    }
    let reply = gateway.caller().messages(&asking(NOVA, "image", &server.url("/a.png"))).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let image = json!({ "format": "png", "source": { "bytes": PNG_BASE64 } });
    assert_eq!(sent(&gateway)["messages"][0]["content"][1]["image"], image);
    for model in [CLAUDE, NOVA] {
        let reply = gateway.caller().messages(&asking(model, "document", &server.url("/a.pdf"))).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert!(sent(&gateway).to_string().contains("JVBERi0xLjQKJSVFT0YK"));
    }
}

#[tokio::test]
async fn one_url_named_twice_is_fetched_once_and_tool_input_is_left_alone() {
    let server = Server::start().await;
    let gateway = gateway(&[&server.trusted()]).await;
    let source = json!({ "type": "url", "url": server.url("/a.png") });
    let image = json!({ "type": "image", "source": source });
    let mut body = hello(CLAUDE, "", false);
    body["messages"] = json!([
        { "role": "user", "content": [{ "type": "text", "text": "Look." }, image] },
        { "role": "assistant", "content": [{ "type": "tool_use", "id": "a", "name": "look", "input": image }] },
        { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "a", "content": [image] }] },
    ]);
    body["tools"] = json!([{ "name": "look", "input_schema": { "type": "object" } }]);
    let reply = gateway.caller().messages(&body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let sent = sent(&gateway);
    assert_eq!(sent["messages"][0]["content"][1]["source"]["data"], PNG_BASE64);
    assert_eq!(sent["messages"][1]["content"][0]["input"], image);
    assert_eq!(sent["messages"][2]["content"][0]["content"][0]["source"]["data"], PNG_BASE64);
    assert_eq!(server.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_is_private_is_refused_unless_host_and_port_are_listed() {
    let server = Server::start().await;
    let port = server.addr.port();
    for listed in ["", "*", "127.0.0.1", "localhost", "example.com"] {
        let gateway = gateway(&[&format!("--image-url-fetch-allow-hosts={listed}")]).await;
        for host in
            ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "127.1", "0177.0.0.1"]
        {
            let url = format!("http://{host}:{port}/a.png");
            let reply = gateway.caller().messages(&asking(CLAUDE, "image", &url)).await;
            let message = refusal(&gateway, &reply);
            assert!(message.contains(host), "{message}");
        }
    }
    assert_eq!(server.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn each_hop_of_a_redirect_is_judged_and_there_are_three_at_most() {
    let server = Server::start().await;
    let gateway = gateway(&[&server.trusted()]).await;
    for (path, reason) in [
        ("/inside", "IMAGE_URL_FETCH_ALLOW_HOSTS"),
        ("/other-port", "IMAGE_URL_FETCH_ALLOW_HOSTS"),
        ("/file", "only http and https"),
        ("/four", "more than 3 times"),
    ] {
        let reply = gateway.caller().messages(&asking(CLAUDE, "image", &server.url(path))).await;
        let message = refusal(&gateway, &reply);
        assert!(message.contains(reason), "{path}: {message}");
    }
}

#[tokio::test]
async fn size_time_and_kind_are_limited_and_the_limit_is_named() {
    let server = Server::start().await;
    let settings =
        [&*server.trusted(), "--image-url-fetch-max-bytes=3000", "--image-url-fetch-timeout-s=0.3"];
    let gateway = gateway(&settings).await;
    for (kind, path, reason) in [
        ("image", "/large", "IMAGE_URL_FETCH_MAX_BYTES"),
        ("image", "/large-unsaid", "IMAGE_URL_FETCH_MAX_BYTES"),
        ("image", "/silent", "IMAGE_URL_FETCH_TIMEOUT_S"),
        ("image", "/page.html", "no PNG, JPEG, GIF, WebP or PDF"),
        ("image", "/lying", "ended early"),
        ("image", "/missing", "status 404"),
        ("image", "/a.pdf", "leads to a document"),
        ("document", "/a.png", "leads to an image"),
    ] {
        let reply = gateway.caller().messages(&asking(CLAUDE, kind, &server.url(path))).await;
        let message = refusal(&gateway, &reply);
        assert!(message.contains(reason), "{path}: {message}");
    }
}

#[tokio::test]
async fn urls_that_are_no_plain_ones_are_refused_and_secrets_in_them_are_not_repeated() {
    let gateway = gateway(&[]).await;
    for url in ["file:///etc/passwd", "http://user:word@example.com/", "gopher://example.com/", "", "/a.png"]
    {
        let reply = gateway.caller().messages(&asking(CLAUDE, "image", url)).await;
        refusal(&gateway, &reply);
    }
    let url = "http://10.0.0.1/a.png?signature=hush";
    let reply = gateway.caller().messages(&asking(CLAUDE, "image", url)).await;
    let message = refusal(&gateway, &reply);
    assert!(message.contains("http://10.0.0.1/a.png") && !message.contains("hush"), "{message}");
}

#[tokio::test]
async fn nothing_is_fetched_for_callers_without_a_key() {
    let server = Server::start().await;
    let gateway = gateway(&[&server.trusted()]).await;
    let body = asking(CLAUDE, "image", &server.url("/a.png"));
    assert_eq!(gateway.caller().anonymous().messages(&body).await.status, 401);
    assert_eq!(server.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn what_a_count_names_by_url_is_fetched_or_refused_as_for_a_message() {
    let server = Server::start().await;
    let path = "/v1/messages/count_tokens";
    let shut = Gateway::with(Options::with(&[&server.trusted()])).await;
    // Counted upstream, estimated in the native lane, estimated in the Converse lane.
    let models = [(CLAUDE, "exact"), ("claude-opus-5", "estimated"), (NOVA, "estimated")];
    for (model, _) in models {
        let reply = shut.caller().messages_at(path, &asking(model, "image", &server.url("/a.png"))).await;
        let message = refusal(&shut, &reply);
        assert!(message.contains("ENABLE_IMAGE_URL_FETCH=true"), "{message}");
    }
    assert_eq!(server.asked.load(Ordering::SeqCst), 0);

    let open = gateway(&[&server.trusted()]).await;
    for (model, how) in models {
        let reply = open.caller().messages_at(path, &asking(model, "image", &server.url("/a.png"))).await;
        assert_eq!(reply.status, 200, "{model}: {}", reply.text());
        assert_eq!(reply.header("x-outcrop-token-count"), Some(how), "{model}");
    }
    let counted: Value = sent(&open)["input"]["invokeModel"]["body"].clone();
    let counted = base64::engine::general_purpose::STANDARD.decode(counted.as_str().unwrap()).unwrap();
    assert!(String::from_utf8(counted).unwrap().contains(PNG_BASE64), "what was fetched is what is counted");
    // An estimate is made of what was fetched, not of its address.
    let tokens = |reply: Reply| reply.json()["input_tokens"].as_u64().unwrap();
    let short = asking(NOVA, "document", &server.url("/a.pdf"));
    let long = asking(NOVA, "document", &server.url("/long.pdf"));
    let short = tokens(open.caller().messages_at(path, &short).await);
    let long = tokens(open.caller().messages_at(path, &long).await);
    assert!(long > short + 1000, "{short} {long}");
    let missing = open.caller().messages_at(path, &asking(NOVA, "image", &server.url("/missing"))).await;
    assert_eq!((missing.status, missing.error().0.as_str()), (400, "invalid_request_error"));
}
