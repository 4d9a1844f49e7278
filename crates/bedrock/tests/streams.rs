//! Streams of frames, over real TCP.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

mod support;

use std::time::Duration;

use bedrock::{Client, Error, EventStream, Frame, Kind, Operation, Settings};
use outcrop_bedrock as bedrock;
use support::{
    Do, LAST_CHUNK, Upstream, answer, call, chunk, converse_stream, event, exception, exception_frame, frame,
    ok, stream_head,
};

/// Reads to the end: the events' names and payloads, and the error if that was the end.
async fn drain(stream: &mut EventStream) -> (Vec<String>, Option<Error>) {
    let mut events = Vec::new();
    while let Some(next) = stream.next().await {
        match next {
            Ok(Frame { event_type, payload, .. }) => {
                events.push(format!("{event_type} {}", String::from_utf8_lossy(&payload)));
            }
            Err(error) => {
                assert!(stream.next().await.is_none(), "an error is the last thing");
                return (events, Some(error));
            }
        }
    }
    assert!(stream.next().await.is_none() && stream.next_ready().is_none(), "the end stays the end");
    (events, None)
}

fn three() -> Vec<u8> {
    [
        event("messageStart", r#"{"role":"assistant"}"#),
        event("contentBlockDelta", r#"{"delta":{"text":"héllo"},"p":"abcd"}"#),
        event("novelty", "{}"),
    ]
    .concat()
}

fn as_read() -> Vec<String> {
    [
        r#"messageStart {"role":"assistant"}"#,
        r#"contentBlockDelta {"delta":{"text":"héllo"},"p":"abcd"}"#,
        "novelty {}",
    ]
    .map(String::from)
    .to_vec()
}

async fn one_attempt(upstream: &Upstream) -> Client {
    Client::connect(Settings { max_attempts: 1, ..upstream.settings() }).await.unwrap()
}

#[tokio::test]
async fn frames_are_the_same_however_they_are_cut() {
    let frames = three();
    let whole = [stream_head(), chunk(&frames), LAST_CHUNK.to_vec()].concat();
    for size in [1, 3, 12, 100] {
        let chunks: Vec<u8> = frames.chunks(size).flat_map(chunk).collect();
        let wire = [stream_head(), chunks, LAST_CHUNK.to_vec()].concat();
        let upstream =
            Upstream::start([vec![Do::Read, Do::Drip(wire.clone())], vec![Do::Read, Do::Send(wire)]]);
        for _ in 0..2 {
            let mut stream = upstream.client().await.stream(&converse_stream()).await.unwrap();
            assert_eq!(drain(&mut stream).await.0, as_read(), "chunks of {size}");
        }
    }
    for first in (1..whole.len()).step_by(7) {
        let upstream = Upstream::start([vec![
            Do::Read,
            Do::Send(whole[..first].to_vec()),
            Do::Pause(1),
            Do::Send(whole[first..].to_vec()),
        ]]);
        let mut stream = upstream.client().await.stream(&converse_stream()).await.unwrap();
        let (events, error) = drain(&mut stream).await;
        assert_eq!(events, as_read(), "cut at {first}");
        assert!(error.is_none());
    }
}

#[tokio::test]
async fn a_long_frame_comes_whole() {
    let payload = format!(r#"{{"p":"{}"}}"#, "x".repeat(3_000_000));
    let frames = [event("chunk", &payload), event("chunk", "{}")].concat();
    let chunks: Vec<u8> = frames.chunks(60_000).flat_map(chunk).collect();
    let upstream =
        Upstream::start([vec![Do::Read, Do::Send([stream_head(), chunks, LAST_CHUNK.to_vec()].concat())]]);
    let call = call(Operation::InvokeModelWithResponseStream, "{}");
    let mut stream = upstream.client().await.stream(&call).await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap().payload, payload.as_bytes());
    assert_eq!(&stream.next().await.unwrap().unwrap().payload[..], b"{}");
    assert!(stream.next().await.is_none());
    assert_eq!(upstream.seen()[0].path, "/model/amazon.nova-lite-v1%3A0/invoke-with-response-stream");
}

#[tokio::test]
async fn a_stream_read_to_its_end_gives_the_connection_back() {
    let whole = [stream_head(), chunk(&three()), LAST_CHUNK.to_vec()].concat();
    let upstream = Upstream::start([vec![Do::Read, Do::Send(whole.clone()), Do::Read, Do::Send(whole)]]);
    let client = upstream.client().await;
    for _ in 0..2 {
        let mut stream = client.stream(&converse_stream()).await.unwrap();
        assert_eq!((stream.request_id(), stream.attempts()), (Some("s-1"), 1));
        assert_eq!(drain(&mut stream).await.0.len(), 3);
    }
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn a_stream_that_is_dropped_closes_its_connection() {
    let begun = [stream_head(), chunk(&three())].concat();
    let upstream = Upstream::start([vec![Do::Read, Do::Send(begun), Do::AwaitGone]]);
    let client = upstream.client().await;
    let mut stream = client.stream(&converse_stream()).await.unwrap();
    stream.next().await.unwrap().unwrap();
    drop(stream);
    upstream.gone(1).await;
}

#[tokio::test]
async fn a_caller_that_leaves_before_the_first_frame_closes_it_too() {
    let upstream = Upstream::start([vec![Do::Read, Do::Send(stream_head()), Do::AwaitGone]]);
    let client = upstream.client().await;
    let task = tokio::spawn(async move { client.stream(&converse_stream()).await.map(|_| ()) });
    upstream.heard(1).await;
    task.abort();
    upstream.gone(1).await;
}

#[tokio::test]
async fn a_refusal_of_a_stream_is_an_error_and_never_frames() {
    let upstream = Upstream::start([vec![
        Do::Read,
        Do::Drip(exception("400 Bad Request", "ValidationException", "The text field is blank.")),
        Do::Read,
        Do::Send(ok("{}")),
    ]]);
    let client = upstream.client().await;
    let error = client.stream(&converse_stream()).await.unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (Kind::Validation, "The text field is blank."));
    assert_eq!((error.status, error.attempts), (Some(400), 1));
    assert_eq!(error.request_id.as_deref(), Some("r-9"));
    client.send(&support::converse("{}")).await.unwrap();
    assert_eq!(upstream.connections(), 1, "a refusal leaves the connection good");
}

#[tokio::test]
async fn a_success_that_is_no_stream_is_not_read_as_one() {
    let named =
        answer("200 OK", "content-type: application/json\r\n", r#"{"__type":"a#UnknownOperationException"}"#);
    for (wire, kind) in [(ok("{}"), Kind::Protocol), (named, Kind::NotFound)] {
        let upstream = Upstream::start([vec![Do::Read, Do::Send(wire)]]);
        assert_eq!(upstream.client().await.stream(&converse_stream()).await.unwrap_err().kind, kind);
    }
}

#[tokio::test]
async fn an_exception_as_the_first_frame_is_retried() {
    let refused =
        [stream_head(), chunk(&exception_frame("throttlingException", "slow down")), LAST_CHUNK.to_vec()];
    let good = [stream_head(), chunk(&three()), LAST_CHUNK.to_vec()].concat();
    let upstream =
        Upstream::start([vec![Do::Read, Do::Send(refused.concat())], vec![Do::Read, Do::Send(good)]]);
    let mut stream = upstream.client().await.stream(&converse_stream()).await.unwrap();
    assert_eq!(stream.attempts(), 2);
    assert_eq!(drain(&mut stream).await.0, as_read());
}

#[tokio::test]
async fn a_first_frame_that_will_fail_again_is_not_retried() {
    let refused = [stream_head(), chunk(&exception_frame("validationException", "no"))].concat();
    let upstream = Upstream::start([vec![Do::Read, Do::Send(refused), Do::AwaitGone]]);
    let error = upstream.client().await.stream(&converse_stream()).await.unwrap_err();
    assert_eq!((error.kind, error.attempts, error.request_id.as_deref()), (Kind::Validation, 1, Some("s-1")));
}

#[tokio::test]
async fn an_exception_after_the_first_frame_ends_the_stream_and_is_not_retried() {
    for (name, kind) in [
        ("modelStreamErrorException", Kind::ModelStream),
        ("internalServerException", Kind::InternalServer),
        ("serviceUnavailableException", Kind::ServiceUnavailable),
    ] {
        let wire =
            [stream_head(), chunk(&three()), chunk(&exception_frame(name, "sorry")), LAST_CHUNK.to_vec()];
        let upstream = Upstream::start([vec![Do::Read, Do::Send(wire.concat())]]);
        let mut stream = upstream.client().await.stream(&converse_stream()).await.unwrap();
        let (events, error) = drain(&mut stream).await;
        let error = error.unwrap();
        assert_eq!(events.len(), 3);
        assert_eq!((error.kind, error.message.as_str(), error.attempts), (kind, "sorry", 1));
        assert_eq!(error.request_id.as_deref(), Some("s-1"));
        assert_eq!(upstream.connections(), 1);
    }
}

#[tokio::test]
async fn an_upstream_that_dies_in_a_stream_is_told_from_one_that_ends() {
    let frames = three();
    let inside = chunk(&frames[..frames.len() - 1]);
    let without_last_chunk = chunk(&frames);
    let inside_but_ended = [inside.clone(), LAST_CHUNK.to_vec()].concat();
    for (rest, count) in [(inside, 2), (without_last_chunk, 3), (inside_but_ended, 2)] {
        let upstream = Upstream::start([vec![Do::Read, Do::Send([stream_head(), rest].concat())]]);
        let mut stream = upstream.client().await.stream(&converse_stream()).await.unwrap();
        let (events, error) = drain(&mut stream).await;
        assert_eq!((events.len(), error.unwrap().kind), (count, Kind::Reset));
    }
}

#[tokio::test]
async fn a_stream_that_resets_before_its_first_frame_is_tried_again() {
    let good = [stream_head(), chunk(&three()), LAST_CHUNK.to_vec()].concat();
    let upstream = Upstream::start([
        vec![Do::Read, Do::Send(stream_head())],
        vec![Do::Read, Do::Send(stream_head()), Do::Pause(5), Do::Reset],
        vec![Do::Read, Do::Send(good)],
    ]);
    let mut stream = upstream.client().await.stream(&converse_stream()).await.unwrap();
    assert_eq!(stream.attempts(), 3);
    assert_eq!(drain(&mut stream).await.0.len(), 3);
}

#[tokio::test]
async fn a_broken_checksum_ends_the_stream() {
    let mut bad = event("chunk", "{}");
    let last = bad.len() - 1;
    bad[last] ^= 1;
    let wire = [stream_head(), chunk(&three()), chunk(&bad)].concat();
    let upstream = Upstream::start([vec![Do::Read, Do::Send(wire), Do::AwaitGone]]);
    let mut stream = upstream.client().await.stream(&converse_stream()).await.unwrap();
    let (events, error) = drain(&mut stream).await;
    assert_eq!((events.len(), error.unwrap().kind), (3, Kind::Protocol));
    upstream.gone(1).await;
}

#[tokio::test]
async fn an_unmodelled_error_frame_keeps_its_words() {
    let headers =
        [(":message-type", "error"), (":error-code", "internalFailure"), (":error-message", "oh no")];
    let wire = [stream_head(), chunk(&three()), chunk(&frame(&headers, ""))].concat();
    let upstream = Upstream::start([vec![Do::Read, Do::Send(wire)]]);
    let mut stream = upstream.client().await.stream(&converse_stream()).await.unwrap();
    let error = drain(&mut stream).await.1.unwrap();
    assert_eq!((error.kind, error.message.as_str()), (Kind::InternalServer, "oh no"));
}

#[tokio::test]
async fn events_that_are_there_can_be_gathered_without_waiting() {
    let more = chunk(&event("metadata", "{}"));
    let upstream = Upstream::start([vec![
        Do::Read,
        Do::Send([stream_head(), chunk(&three())].concat()),
        Do::Read,
        Do::Send([more, LAST_CHUNK.to_vec()].concat()),
    ]]);
    let client = upstream.client().await;
    let mut stream = client.stream(&converse_stream()).await.unwrap();
    stream.next().await.unwrap().unwrap();
    assert_eq!(stream.next_ready().unwrap().unwrap().event_type, "contentBlockDelta");
    assert_eq!(stream.next_ready().unwrap().unwrap().event_type, "novelty");
    assert!(stream.next_ready().is_none(), "nothing more is there, and it does not wait");
}

#[tokio::test]
async fn next_may_be_given_up_and_asked_again() {
    let frames = three();
    let upstream = Upstream::start([vec![
        Do::Read,
        Do::Send([stream_head(), chunk(&frames[..130])].concat()),
        Do::Pause(60),
        Do::Send(chunk(&frames[130..])),
        Do::Send(LAST_CHUNK.to_vec()),
    ]]);
    let mut stream = upstream.client().await.stream(&converse_stream()).await.unwrap();
    let (mut events, mut given_up) = (0, 0);
    loop {
        tokio::select! {
            next = stream.next() => match next {
                Some(frame) => { frame.unwrap(); events += 1; }
                None => break,
            },
            () = tokio::time::sleep(Duration::from_millis(5)) => {
                given_up += 1;
                let _ = stream.next_ready().map(|frame| { frame.unwrap(); events += 1; });
            }
        }
    }
    assert_eq!(events, 3);
    assert!(given_up > 0);
}

#[tokio::test]
async fn silence_counts_over_all_waits_together() {
    let upstream =
        Upstream::start([vec![Do::Read, Do::Send([stream_head(), chunk(&three())].concat()), Do::AwaitGone]]);
    let settings = Settings { idle_timeout: Duration::from_millis(60), ..upstream.settings() };
    let mut stream = Client::connect(settings).await.unwrap().stream(&converse_stream()).await.unwrap();
    // Not asking is not waiting.
    tokio::time::sleep(Duration::from_millis(100)).await;
    for _ in 0..3 {
        stream.next().await.unwrap().unwrap();
    }
    let error = loop {
        tokio::select! {
            next = stream.next() => break next.unwrap().unwrap_err(),
            () = tokio::time::sleep(Duration::from_millis(10)) => {}
        }
    };
    assert_eq!(error.kind, Kind::IdleTimeout);
    upstream.gone(1).await;
}

#[tokio::test]
async fn a_stream_that_does_not_begin_in_time_is_given_up() {
    for silent in [vec![Do::Read, Do::AwaitGone], vec![Do::Read, Do::Send(stream_head()), Do::AwaitGone]] {
        let upstream = Upstream::start([silent]);
        let settings = Settings {
            first_byte_timeout: Duration::from_millis(50),
            max_attempts: 1,
            ..upstream.settings()
        };
        let error = Client::connect(settings).await.unwrap().stream(&converse_stream()).await.unwrap_err();
        assert_eq!((error.kind, error.attempts), (Kind::FirstByteTimeout, 1));
        upstream.gone(1).await;
    }
}

#[tokio::test]
async fn the_idle_timeout_does_not_apply_before_the_first_frame_nor_the_total_to_a_stream() {
    let upstream = Upstream::start([vec![
        Do::Read,
        Do::Send(stream_head()),
        Do::Pause(80),
        Do::Send(chunk(&three())),
        Do::Send(LAST_CHUNK.to_vec()),
    ]]);
    let short = Duration::from_millis(30);
    let settings = Settings { idle_timeout: short, total_timeout: short, ..upstream.settings() };
    let mut stream = Client::connect(settings).await.unwrap().stream(&converse_stream()).await.unwrap();
    assert!(drain(&mut stream).await.1.is_none());
}

#[tokio::test]
async fn an_empty_stream_ends_cleanly() {
    let upstream = Upstream::start([vec![Do::Read, Do::Send([stream_head(), LAST_CHUNK.to_vec()].concat())]]);
    let mut stream = one_attempt(&upstream).await.stream(&converse_stream()).await.unwrap();
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn a_stream_holds_its_place_until_it_ends() {
    let whole = [stream_head(), chunk(&three()), LAST_CHUNK.to_vec()].concat();
    let upstream = Upstream::start([vec![Do::Read, Do::Send(whole.clone()), Do::Read, Do::Send(whole)]]);
    let settings =
        Settings { max_concurrency: 1, connect_timeout: Duration::from_millis(50), ..upstream.settings() };
    let client = Client::connect(settings).await.unwrap();
    let mut stream = client.stream(&converse_stream()).await.unwrap();
    assert_eq!(client.stream(&converse_stream()).await.unwrap_err().kind, Kind::ServiceUnavailable);
    drain(&mut stream).await;
    drop(stream);
    client.stream(&converse_stream()).await.unwrap();
}
