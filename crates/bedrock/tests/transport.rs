//! One exchange after another, over real TCP.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

mod support;

use std::time::Duration;

use bedrock::{Call, Client, Kind, Operation, Settings};
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use outcrop_bedrock as bedrock;
use support::{Do, Upstream, answer, chunk, converse, exception, ok};

#[tokio::test]
async fn the_bytes_arrive_as_they_were_given() {
    let upstream = Upstream::start([vec![Do::Read, Do::Send(ok(r#"{"a":1}"#))]]);
    let tier = (HeaderName::from_static("x-amzn-bedrock-service-tier"), HeaderValue::from_static("flex"));
    let call = Call {
        operation: Operation::InvokeModel,
        model_id: "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        body: Bytes::from_static(b"{ \"z\" :0.7,\"a\":[ ] }"),
        headers: &[tier],
    };
    let reply = upstream.client().await.send(&call).await.unwrap();
    assert_eq!((reply.status, &reply.body[..], reply.attempts), (200, &br#"{"a":1}"#[..], 1));
    assert_eq!(reply.request_id.as_deref(), Some("r-1"));

    let seen = &upstream.seen()[0];
    assert_eq!(seen.method, "POST");
    assert_eq!(seen.path, "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke");
    assert_eq!(seen.body, b"{ \"z\" :0.7,\"a\":[ ] }");
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(seen.header("accept-encoding"), Some("identity"));
    assert_eq!(seen.header("x-amzn-bedrock-service-tier"), Some("flex"));
    assert!(seen.header("authorization").unwrap().contains("x-amzn-bedrock-service-tier"), "it is signed");
}

#[tokio::test]
async fn a_bearer_token_takes_the_signatures_place() {
    let upstream = Upstream::start([vec![Do::Read, Do::Send(ok("{}"))]]);
    let settings = Settings { bearer_token: Some("ABSKcanary".into()), ..upstream.settings() };
    Client::connect(settings).await.unwrap().send(&converse("{}")).await.unwrap();
    let seen = &upstream.seen()[0];
    assert_eq!(seen.header("authorization"), Some("Bearer ABSKcanary"));
    assert_eq!(seen.header("x-amz-date"), None);
}

#[tokio::test]
async fn an_answer_is_read_however_it_is_framed_and_cut() {
    let chunked = [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
        chunk(b"{\"hel"),
        chunk(b"lo\":1}"),
        b"0\r\ntrailer: x\r\n\r\n".to_vec(),
    ]
    .concat();
    let until_close = b"HTTP/1.1 200 OK\r\n\r\n{\"hello\":1}".to_vec();
    let interim = [b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n".to_vec(), ok("{\"hello\":1}")].concat();
    for wire in [ok("{\"hello\":1}"), chunked, until_close, interim] {
        for step in [Do::Send(wire.clone()), Do::Drip(wire.clone())] {
            let upstream = Upstream::start([vec![Do::Read, step]]);
            let reply = upstream.client().await.send(&converse("{}")).await.unwrap();
            assert_eq!(&reply.body[..], b"{\"hello\":1}", "{}", String::from_utf8_lossy(&wire));
            assert_eq!(reply.attempts, 1);
        }
    }
}

#[tokio::test]
async fn a_connection_is_used_again_after_a_whole_answer() {
    let again = vec![
        Do::Read,
        Do::Send(ok("1")),
        Do::Read,
        Do::Send(exception("400 Bad", "ValidationException", "no")),
    ];
    let upstream = Upstream::start([[again.clone(), vec![Do::Read, Do::Send(ok("3"))]].concat(), again]);
    let client = upstream.client().await;
    client.send(&converse("{}")).await.unwrap();
    client.send(&converse("{}")).await.unwrap_err();
    assert_eq!(&client.send(&converse("{}")).await.unwrap().body[..], b"3");
    assert_eq!(upstream.connections(), 1);

    client.for_worker().send(&converse("{}")).await.unwrap();
    assert_eq!(upstream.connections(), 2, "a worker has connections of its own");
}

#[tokio::test]
async fn a_connection_that_is_to_close_is_not_used_again() {
    let closing = answer("200 OK", "Connection: close\r\n", "{}");
    let old = b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}".to_vec();
    let extra = [ok("{}"), b"HTTP/1.1 200 OK\r\n".to_vec()].concat();
    for first in [closing, old, extra] {
        let upstream = Upstream::start([
            vec![Do::Read, Do::Send(first), Do::AwaitGone],
            vec![Do::Read, Do::Send(ok("{}"))],
        ]);
        let client = upstream.client().await;
        client.send(&converse("{}")).await.unwrap();
        client.send(&converse("{}")).await.unwrap();
        assert_eq!(upstream.connections(), 2);
    }
}

#[tokio::test]
async fn an_idle_connection_that_was_closed_costs_no_attempt() {
    // Closed in the open, and closed when the next request is already under way.
    for end in [vec![], vec![Do::Read], vec![Do::Read, Do::Reset]] {
        let first = [vec![Do::Read, Do::Send(ok("1"))], end].concat();
        let upstream = Upstream::start([first, vec![Do::Read, Do::Send(ok("2"))]]);
        let client = Client::connect(Settings { max_attempts: 1, ..upstream.settings() }).await.unwrap();
        client.send(&converse("{}")).await.unwrap();
        let reply = client.send(&converse("{}")).await.unwrap();
        assert_eq!((&reply.body[..], reply.attempts), (&b"2"[..], 1));
    }
}

#[tokio::test]
async fn a_new_connection_that_dies_unanswered_is_a_failed_attempt() {
    for end in [vec![Do::Read], vec![Do::Read, Do::Reset]] {
        let upstream = Upstream::start([end.clone(), end]);
        let client = Client::connect(Settings { max_attempts: 2, ..upstream.settings() }).await.unwrap();
        let error = client.send(&converse("{}")).await.unwrap_err();
        assert_eq!((error.kind, error.attempts), (Kind::Reset, 2));
        assert_eq!(upstream.connections(), 2);
    }
}

#[tokio::test]
async fn an_answer_cut_anywhere_is_a_dead_upstream() {
    let whole = ok("{\"hello\":1}");
    for length in [1, 10, 40, whole.len() - 1] {
        let cut = vec![Do::Read, Do::Send(whole[..length].to_vec())];
        let upstream = Upstream::start([cut]);
        let client = Client::connect(Settings { max_attempts: 1, ..upstream.settings() }).await.unwrap();
        assert_eq!(client.send(&converse("{}")).await.unwrap_err().kind, Kind::Reset, "after {length} bytes");
    }
}

#[tokio::test]
async fn a_refusal_in_the_middle_of_a_large_body_is_heard() {
    let upstream = Upstream::start([
        vec![Do::ReadHead, Do::Send(answer("413 Too Large", "", r#"{"message":"too big"}"#)), Do::AwaitGone],
        vec![Do::Read, Do::Send(ok("{}"))],
    ]);
    let client = upstream.client().await;
    let large = Call { body: vec![b' '; 30_000_000].into(), ..converse("") };
    let error = client.send(&large).await.unwrap_err();
    assert_eq!((error.kind, error.message.as_str(), error.attempts), (Kind::TooLarge, "too big", 1));
    upstream.gone(1).await;
    client.send(&converse("{}")).await.unwrap();
    assert_eq!(upstream.connections(), 2, "the half-written connection is not used again");
}

#[tokio::test]
async fn bytes_that_are_no_answer_are_named_so() {
    let long = [b"HTTP/1.1 200 OK\r\nx: ".to_vec(), vec![b'a'; 70_000]].concat();
    let many = [b"HTTP/1.1 200 OK\r\n".to_vec(), b"x: y\r\n".repeat(101), b"\r\n".to_vec()].concat();
    let two_lengths = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab".to_vec();
    let packed = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 1\r\n\r\na".to_vec();
    for wire in [b"SSH-2.0-OpenSSH\r\n".to_vec(), long, many, two_lengths, packed] {
        let upstream = Upstream::start([vec![Do::Read, Do::Send(wire), Do::AwaitGone]]);
        let error = upstream.client().await.send(&converse("{}")).await.unwrap_err();
        assert_eq!((error.kind, error.attempts), (Kind::Protocol, 1), "{error}");
    }
}

#[tokio::test]
async fn a_refused_connection_is_a_connect_error() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let upstream = Upstream::start([]);
    let settings = Settings { endpoint_url: Some(url), ..upstream.settings() };
    let error = Client::connect(settings).await.unwrap().send(&converse("{}")).await.unwrap_err();
    assert_eq!((error.kind, error.attempts), (Kind::Connect, 3));
}

#[tokio::test]
async fn a_whole_call_ends_in_its_time_whatever_the_upstream_does() {
    let silent = vec![Do::Read, Do::AwaitGone];
    let stuck = vec![Do::Read, Do::Send(ok("{}")[..30].to_vec()), Do::AwaitGone];
    for script in [silent, stuck] {
        let upstream = Upstream::start([script]);
        let settings = Settings { total_timeout: Duration::from_millis(100), ..upstream.settings() };
        let error = Client::connect(settings).await.unwrap().send(&converse("{}")).await.unwrap_err();
        assert_eq!((error.kind, error.attempts), (Kind::TotalTimeout, 1));
        upstream.gone(1).await;
    }
}

#[tokio::test]
async fn an_answer_that_falls_silent_is_an_idle_timeout() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{".to_vec();
    let upstream = Upstream::start([vec![Do::Read, Do::Send(head), Do::AwaitGone]]);
    let settings = Settings { idle_timeout: Duration::from_millis(50), ..upstream.settings() };
    let error = Client::connect(settings).await.unwrap().send(&converse("{}")).await.unwrap_err();
    assert_eq!((error.kind, error.attempts), (Kind::IdleTimeout, 1));
}

#[tokio::test]
async fn the_first_byte_of_an_unstreamed_answer_may_take_as_long_as_the_call() {
    let upstream = Upstream::start([vec![Do::Read, Do::Pause(100), Do::Send(ok("{}"))]]);
    let short = Duration::from_millis(10);
    let settings = Settings { first_byte_timeout: short, idle_timeout: short, ..upstream.settings() };
    Client::connect(settings).await.unwrap().send(&converse("{}")).await.unwrap();
}

#[tokio::test]
async fn a_caller_that_leaves_takes_the_connection_along() {
    let upstream = Upstream::start([vec![Do::Read, Do::AwaitGone]]);
    let client = upstream.client().await;
    let task = tokio::spawn(async move { client.send(&converse("{}")).await.map(|_| ()) });
    upstream.heard(1).await;
    task.abort();
    upstream.gone(1).await;
}

#[tokio::test]
async fn calls_beyond_the_concurrency_limit_wait_and_then_fail() {
    let upstream = Upstream::start([vec![Do::Read, Do::AwaitGone], vec![Do::Read, Do::Send(ok("{}"))]]);
    let settings =
        Settings { max_concurrency: 1, connect_timeout: Duration::from_millis(200), ..upstream.settings() };
    let client = Client::connect(settings).await.unwrap();
    let first = tokio::spawn({
        let client = client.clone();
        async move { client.send(&converse("{}")).await.map(|_| ()) }
    });
    upstream.heard(1).await;
    let error = client.for_worker().send(&converse("{}")).await.unwrap_err();
    assert_eq!((error.kind, error.attempts), (Kind::ServiceUnavailable, 0));
    first.abort();
    upstream.gone(1).await;
    client.send(&converse("{}")).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_sent_as_meant_never_leaves() {
    let upstream = Upstream::start([]);
    let client = upstream.client().await;
    let cookie = (HeaderName::from_static("cookie"), HeaderValue::from_static("a=b"));
    let error = client.send(&Call { headers: &[cookie], ..converse("{}") }).await.unwrap_err();
    assert_eq!(error.kind, Kind::Validation);
    let error = client.send(&Call { model_id: "..", ..converse("{}") }).await.unwrap_err();
    assert_eq!((error.kind, error.attempts), (Kind::Validation, 0));
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn a_client_prints_without_its_secrets() {
    let upstream = Upstream::start([]);
    let settings = Settings { bearer_token: Some("ABSKcanary".into()), ..upstream.settings() };
    let printed = format!("{:?}", Client::connect(settings).await.unwrap());
    assert!(!printed.contains("canary") && !printed.contains("wJalr"), "{printed}");
}
