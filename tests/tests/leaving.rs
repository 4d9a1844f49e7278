//! Callers that disappear, at every stage; and a gateway that stops while streams run.

use std::time::Duration;

use bedrock_sim::{Fault, Place};
use outcrop_tests::{CLAUDE, Gateway, LANES, Options, events, hello};
use store::RowStatus;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test]
async fn a_caller_that_leaves_mid_stream_is_booked_as_gone() {
    let gateway = Gateway::with(Options { delay: Duration::from_millis(30), ..Options::default() }).await;
    for (n, model) in LANES.iter().enumerate() {
        let body = hello(model, "sim:words=500", true).to_string();
        let mut reply = gateway.caller().send("POST", "/v1/messages", body.as_bytes()).await;
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains("content_block_delta") {
            let mut buffer = [0; 4096];
            let read = reply.read(&mut buffer).await.unwrap();
            seen.extend_from_slice(&buffer[..read]);
        }
        drop(reply);
        let rows = gateway.rows(n + 1).await;
        let row = rows.iter().find(|row| row.requested_model == *model).unwrap();
        assert_eq!((row.status, row.http_status), (RowStatus::ClientClosed, 499));
        assert!(row.estimated && row.input_tokens > 0 && row.output_tokens > 0, "{row:?}");
        assert!(row.output_tokens < 400, "the upstream was stopped: {row:?}");
    }
}

#[tokio::test]
async fn a_caller_that_leaves_before_the_answer_cancels_it() {
    let gateway = Gateway::start().await;
    for (n, stream) in [false, true].into_iter().enumerate() {
        gateway.sim.script("", vec![Fault::Stall(Place::Headers, Duration::from_mins(1))]);
        let body = hello(CLAUDE, "Hi", stream).to_string();
        let reply = gateway.caller().send("POST", "/v1/messages", body.as_bytes()).await;
        while gateway.sim.requests().len() <= n {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(reply);
        let rows = gateway.rows(n + 1).await;
        assert_eq!(rows[n].status, RowStatus::ClientClosed);
    }
}

#[tokio::test]
async fn a_caller_that_leaves_amid_its_own_request_costs_nothing() {
    let gateway = Gateway::start().await;
    let key = outcrop_tests::MASTER;
    let head =
        format!("POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ncontent-length: 1000\r\n\r\n");
    for cut in [1, 20, head.len() - 1, head.len()] {
        let mut tcp = tokio::net::TcpStream::connect(gateway.addr).await.unwrap();
        tcp.write_all(&head.as_bytes()[..cut]).await.unwrap();
        drop(tcp);
    }
    let mut tcp = tokio::net::TcpStream::connect(gateway.addr).await.unwrap();
    tcp.write_all(format!("{head}{{\"model\":").as_bytes()).await.unwrap();
    drop(tcp);
    assert_eq!(gateway.caller().messages(&hello(CLAUDE, "Hi", false)).await.status, 200);
    assert_eq!(gateway.sim.requests().len(), 1);
    assert_eq!(gateway.rows(1).await.len(), 1);
}

#[tokio::test]
async fn many_aborts_at_random_points_leave_nothing_behind() {
    let gateway = Gateway::with(Options { delay: Duration::from_millis(2), ..Options::default() }).await;
    for round in 0..60_u64 {
        let model = LANES[usize::try_from(round).unwrap() % 2];
        let body = hello(model, "sim:words=60", true).to_string();
        let mut reply = gateway.caller().send("POST", "/v1/messages", body.as_bytes()).await;
        let mut buffer = vec![0; 1 + usize::try_from(round * 37).unwrap()];
        let _ = tokio::time::timeout(Duration::from_millis(round), reply.read_exact(&mut buffer)).await;
    }
    // Every slot is free again: the gateway drains at once.
    let store = gateway.ended().await;
    drop(store);
}

#[tokio::test]
async fn a_drain_lets_streams_finish_and_refuses_what_is_new() {
    let mut gateway = Gateway::with(Options { delay: Duration::from_millis(20), ..Options::default() }).await;
    let body = hello(CLAUDE, "sim:words=30", true).to_string();
    let mut reply = gateway.caller().send("POST", "/v1/messages", body.as_bytes()).await;
    let mut start = [0; 512];
    let read = reply.read(&mut start).await.unwrap();
    gateway.terminate();
    let mut rest = start[..read].to_vec();
    reply.read_to_end(&mut rest).await.unwrap();
    let text = String::from_utf8_lossy(&rest);
    assert!(text.contains("message_stop") && !text.contains("event: error"), "{text}");
    let addr = gateway.addr;
    gateway.ended().await;
    assert!(tokio::net::TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn readiness_turns_at_once_and_requests_are_served_in_the_grace_period() {
    let mut gateway = Gateway::with(Options::with(&["--drain-grace-seconds=1"])).await;
    gateway.terminate();
    let caller = gateway.caller();
    loop {
        let ready = caller.get("/health/ready").await;
        if ready.status == 503 {
            assert_eq!(ready.json()["reason"], "draining");
            break;
        }
    }
    assert_eq!(caller.messages(&hello(CLAUDE, "Hi", false)).await.status, 200);
    gateway.ended().await;
}

#[tokio::test]
async fn what_still_streams_at_the_end_of_the_drain_gets_an_error_event() {
    let mut gateway = Gateway::with(Options {
        delay: Duration::from_millis(50),
        ..Options::with(&["--drain-timeout-seconds=0.3"])
    })
    .await;
    let body = hello(CLAUDE, "sim:words=10000", true);
    let caller = gateway.caller();
    let streaming = tokio::spawn(async move { caller.messages(&body).await });
    while gateway.sim.requests().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    gateway.terminate();
    let reply = streaming.await.unwrap();
    let stream = events(&reply.text());
    assert_eq!(stream.last().unwrap().1["error"]["type"], "overloaded_error");
    assert!(reply.complete);
    gateway.ended().await;
}

#[tokio::test]
async fn a_slow_reader_holds_the_upstream_back_and_is_dropped_in_the_end() {
    let gateway = Gateway::with(Options::with(&["--client-write-timeout-seconds=0.5"])).await;
    let mut request = hello(CLAUDE, "sim:words=60000", true);
    request["max_tokens"] = serde_json::json!(64_000);
    let body = request.to_string();
    let key = outcrop_tests::MASTER;
    let length = body.len();
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ncontent-length: {length}\r\n\r\n"
    );
    // A small window: the kernel's usual ones would swallow the whole answer.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut reply = socket.connect(gateway.addr).await.unwrap();
    reply.write_all((head + &body).as_bytes()).await.unwrap();
    // Nobody reads: the row comes only because the gateway gives up.
    let rows = gateway.rows(1).await;
    assert_eq!(rows[0].status, RowStatus::ClientClosed);
    drop(reply);
}
